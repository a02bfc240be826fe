-- Rows of the ledger that do not begin where the one before ended, or whose counts do not add up: of a Kafka partition each offset
-- is a record or a gap, and each record at least an event, a reject or one that holds no line.
SELECT s.cluster, s.topic, s.partition, l.first, l.next,
    multiIf(l.first > l.before, 'hole', l.first < l.before, 'overlap', 'counts')
FROM
(
    SELECT mark, first, next, records, gaps, events, rejects, skipped,
        lagInFrame(next, 1, first) OVER (PARTITION BY mark ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before
    FROM ledger FINAL
) AS l
LEFT JOIN (SELECT mark, cluster, topic, partition FROM sources FINAL) AS s ON l.mark = s.mark
WHERE l.first != l.before OR l.next < l.first OR l.records > l.events + l.rejects + l.skipped
    OR (s.cluster != 'file' AND l.next - l.first != l.records + l.gaps)
ORDER BY s.cluster, s.topic, s.partition, l.first
LIMIT 1000
