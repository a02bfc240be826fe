-- Where the tables are, and whether they are replicated.
SELECT name, engine, data_paths
FROM system.tables
WHERE database = currentDatabase() AND name IN {tables:Array(String)}
ORDER BY name
