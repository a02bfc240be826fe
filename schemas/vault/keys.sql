-- The data keys of some people on some days, live and held: what an approver opens shares of. Rows that are equal are one.
SELECT DISTINCT kind, day, population, unit, tag, key, manager, hr, security, gate
FROM
(
    SELECT 'web' AS kind, day, tenant, population, unit, tag, key, manager, hr, security, gate FROM web_keys
    WHERE has({kinds:Array(String)}, 'web') AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
        AND tag IN (SELECT toFixedString(unhex(arrayJoin({tags:Array(String)})), 16))
    UNION ALL
    SELECT 'mail' AS kind, day, tenant, population, unit, tag, key, manager, hr, security, gate FROM mail_keys
    WHERE has({kinds:Array(String)}, 'mail') AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
        AND tag IN (SELECT toFixedString(unhex(arrayJoin({tags:Array(String)})), 16))
    UNION ALL
    SELECT kind, day, tenant, population, unit, tag, key, manager, hr, security, gate FROM held_keys
    WHERE has({kinds:Array(String)}, kind) AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
        AND tag IN (SELECT toFixedString(unhex(arrayJoin({tags:Array(String)})), 16))
)
ORDER BY day, kind, tag, key
