INSERT INTO holds (hold, salt, tenant, kind, day, unit, tag, begun) VALUES
