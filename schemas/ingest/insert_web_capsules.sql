INSERT INTO web_capsules (day, mark, tenant, unit, tag, key, first, last, count, capsule, next, begun_at)
