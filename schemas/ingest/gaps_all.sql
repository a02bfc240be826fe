-- Every lost stretch of every source partition, with what became of it: standing until an operator accepts it, accepted
-- until ingest has crossed it.
SELECT s.mark AS mark, s.cluster AS cluster, s.topic AS topic, s.epoch AS epoch, s.partition AS partition, g.first AS first, g.next AS next,
    g.found_at AS found_at, g.accepted_at AS accepted_at, g.reason AS reason, l.next > g.first AS crossed
FROM
(
    SELECT mark, first, if(max(gaps.accepted_at) > toDateTime(0, 'UTC'), argMax(gaps.next, gaps.accepted_at), max(gaps.next)) AS next,
        min(gaps.found_at) AS found_at, max(gaps.accepted_at) AS accepted_at, argMax(gaps.reason, gaps.accepted_at) AS reason
    FROM gaps
    GROUP BY mark, first
) AS g
INNER JOIN (SELECT mark, any(cluster) AS cluster, any(topic) AS topic, any(epoch) AS epoch, any(partition) AS partition FROM sources GROUP BY mark) AS s
    ON s.mark = g.mark
LEFT JOIN (SELECT mark, max(next) AS next FROM ledger GROUP BY mark) AS l ON l.mark = g.mark
ORDER BY topic, partition, epoch, first
