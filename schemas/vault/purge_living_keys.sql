-- Which of some keys still have rows by right on a day: under a hold, or because only a copy was removed.
SELECT DISTINCT lower(hex(key)) AS id
FROM
(
    SELECT key FROM held_keys WHERE day = {day:Date}
    UNION ALL SELECT key FROM held_capsules WHERE day = {day:Date}
    UNION ALL SELECT key FROM web_keys WHERE day = {day:Date}
    UNION ALL SELECT key FROM mail_keys WHERE day = {day:Date}
    UNION ALL SELECT key FROM web_capsules WHERE day = {day:Date}
    UNION ALL SELECT key FROM mail_capsules WHERE day = {day:Date}
)
WHERE lower(hex(key)) IN {keys:Array(String)}
