-- What lives on of a day and kind under holds.
SELECT sum(keys) AS keys, sum(capsules) AS capsules
FROM
(
    SELECT uniqExact(key) AS keys, 0 AS capsules FROM held_keys WHERE kind = {kind:String} AND day = {day:Date}
    UNION ALL SELECT 0, uniqExact(key, left(capsule, 12)) FROM held_capsules WHERE kind = {kind:String} AND day = {day:Date}
)
