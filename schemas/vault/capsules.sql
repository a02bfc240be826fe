-- The capsules of some people on some days, live and held, in the order of their first events.
SELECT kind, held, day, unit, tag, key, first, last, count, capsule
FROM
(
    SELECT 'web' AS kind, 0 AS held, day, unit, tag, key, first, last, count, capsule FROM web_capsules
    WHERE has({kinds:Array(String)}, 'web') AND mark = 0 AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
        AND tag IN (SELECT toFixedString(unhex(arrayJoin({tags:Array(String)})), 16))
    UNION ALL
    SELECT 'mail' AS kind, 0 AS held, day, unit, tag, key, first, last, count, capsule FROM mail_capsules
    WHERE has({kinds:Array(String)}, 'mail') AND mark = 0 AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
        AND tag IN (SELECT toFixedString(unhex(arrayJoin({tags:Array(String)})), 16))
    UNION ALL
    SELECT kind, 1 AS held, day, unit, tag, key, first, last, count, capsule FROM held_capsules
    WHERE has({kinds:Array(String)}, kind) AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
        AND tag IN (SELECT toFixedString(unhex(arrayJoin({tags:Array(String)})), 16))
)
ORDER BY day, first, held
