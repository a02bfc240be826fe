-- Data keys of a tenant, live and held, that were sealed under one of some registers, from the one that brought a role's key to the
-- one before it was replaced, or under one that is not known: while there are any, that role's key must stay.
SELECT sum(n), max(latest)
FROM
(
    SELECT count() AS n, max(day) AS latest FROM web_keys WHERE tenant = {tenant:String} AND (register = 0 OR register >= {from:UInt32} AND register < {replaced:UInt32})
    UNION ALL SELECT count() AS n, max(day) AS latest FROM mail_keys WHERE tenant = {tenant:String} AND (register = 0 OR register >= {from:UInt32} AND register < {replaced:UInt32})
    UNION ALL SELECT count() AS n, max(day) AS latest FROM held_keys WHERE tenant = {tenant:String} AND (register = 0 OR register >= {from:UInt32} AND register < {replaced:UInt32})
)
