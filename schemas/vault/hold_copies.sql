-- What is copied for each hold.
SELECT hold, sum(keys) AS keys, sum(capsules) AS capsules
FROM
(
    SELECT hold, uniqExact(kind, key) AS keys, 0 AS capsules FROM held_keys GROUP BY hold
    UNION ALL SELECT hold, 0, uniqExact(kind, key, left(capsule, 12)) FROM held_capsules GROUP BY hold
)
GROUP BY hold
ORDER BY hold
