-- The holds whose scope is here, and since when.
SELECT hold, max(begun) AS begun, uniqExact(kind, day, tenant, unit, tag) AS rows
FROM holds
GROUP BY hold
ORDER BY hold
