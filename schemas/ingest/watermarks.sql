-- The blocks of a source partition that are in beyond its last closed batch: what an interrupted batch left behind.
SELECT 'web_hourly' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM web_hourly WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'web_domains_daily' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM web_domains_daily WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'web_countries_daily' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM web_countries_daily WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'rejects' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM rejects WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'mail_hourly' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM mail_hourly WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'mail_domains_daily' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM mail_domains_daily WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'web_capsules' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM web_capsules WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
UNION ALL
SELECT 'mail_capsules' AS block_table, day, max(next) AS next, max(begun_at) AS begun_at
FROM mail_capsules WHERE mark = {mark:UInt64} GROUP BY day HAVING next > {next:UInt64}
