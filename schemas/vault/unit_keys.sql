-- The data keys of everybody of one unit on some days, live and held.
SELECT DISTINCT kind, day, population, unit, tag, key, manager, hr, security, gate
FROM
(
    SELECT 'web' AS kind, day, tenant, population, unit, tag, key, manager, hr, security, gate FROM web_keys
    WHERE has({kinds:Array(String)}, 'web') AND tenant = {tenant:String} AND unit = {unit:String} AND day BETWEEN {from:Date} AND {to:Date}
    UNION ALL
    SELECT 'mail' AS kind, day, tenant, population, unit, tag, key, manager, hr, security, gate FROM mail_keys
    WHERE has({kinds:Array(String)}, 'mail') AND tenant = {tenant:String} AND unit = {unit:String} AND day BETWEEN {from:Date} AND {to:Date}
    UNION ALL
    SELECT kind, day, tenant, population, unit, tag, key, manager, hr, security, gate FROM held_keys
    WHERE has({kinds:Array(String)}, kind) AND tenant = {tenant:String} AND unit = {unit:String} AND day BETWEEN {from:Date} AND {to:Date}
)
ORDER BY day, kind, tag, key
