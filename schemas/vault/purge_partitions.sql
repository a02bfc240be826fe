-- Every partition of the tables that can be purged, also of parts that the server has yet to remove.
SELECT p.table, p.partition_id, any(p.partition) AS name, sumIf(p.rows, p.active) AS live_rows, sum(p.bytes_on_disk) AS all_bytes, countIf(p.active) AS live_parts, count() AS all_parts
FROM system.parts AS p
WHERE p.database = currentDatabase() AND p.table IN {tables:Array(String)}
GROUP BY p.table, p.partition_id
ORDER BY p.table, p.partition_id
