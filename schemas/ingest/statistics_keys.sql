-- The keys that people have been counted with.
SELECT month, check
FROM statistics_keys
GROUP BY month, check
ORDER BY month, check
