-- Data keys of a tenant, live and held, of days up to one: while there are any, the role keys of those days must stay.
SELECT sum(n)
FROM
(
    SELECT count() AS n FROM web_keys WHERE tenant = {tenant:String} AND day <= {until:Date}
    UNION ALL SELECT count() AS n FROM mail_keys WHERE tenant = {tenant:String} AND day <= {until:Date}
    UNION ALL SELECT count() AS n FROM held_keys WHERE tenant = {tenant:String} AND day <= {until:Date}
)
