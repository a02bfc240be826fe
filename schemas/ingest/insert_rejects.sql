INSERT INTO rejects (day, mark, tenant, topic, format, reason, field, shape, lines, next, begun_at)
