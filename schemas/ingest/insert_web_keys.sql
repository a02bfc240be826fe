INSERT INTO web_keys (day, tenant, population, unit, tag, key, manager, hr, security, gate, register)
