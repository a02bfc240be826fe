-- Every partition of the tables that can be purged, also of parts that the server has yet to remove.
SELECT table, partition_id AS id, any(partition) AS partition, sumIf(rows, active) AS rows, sum(bytes_on_disk) AS bytes, countIf(active) AS active, count() AS parts, any(path) AS path
FROM system.parts
WHERE database = currentDatabase() AND table IN {tables:Array(String)}
GROUP BY table, partition_id
ORDER BY table, partition_id
