-- Parts that somebody has put aside: no query sees them, no DROP PARTITION removes them.
SELECT table, ifNull(partition_id, '') AS id, name, path
FROM system.detached_parts
WHERE database = currentDatabase() AND table IN {tables:Array(String)}
ORDER BY table, name
