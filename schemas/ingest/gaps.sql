-- The lost stretches of a source partition that start at or after an offset, and whether their loss has been accepted.
SELECT first, argMax(next, accepted_at) AS next, max(accepted_at) > toDateTime(0, 'UTC') AS accepted
FROM gaps
WHERE mark = {mark:UInt64} AND first >= {first:UInt64}
GROUP BY first
ORDER BY first
