-- For each day: whether a batch is half in, and a digest of which batches are in, which changes when one comes in.
SELECT day, max(toUInt8(b.next > l.next)), groupBitXor(cityHash64(b.block_table, b.mark, b.next))
FROM
(
    SELECT 'web_hourly' AS block_table, day, mark, max(next) AS next
    FROM web_hourly WHERE mark > 0 AND day BETWEEN {from:Date} AND {to:Date} GROUP BY day, mark
    UNION ALL
    SELECT 'web_domains_daily' AS block_table, day, mark, max(next) AS next
    FROM web_domains_daily WHERE mark > 0 AND day BETWEEN {from:Date} AND {to:Date} GROUP BY day, mark
    UNION ALL
    SELECT 'web_countries_daily' AS block_table, day, mark, max(next) AS next
    FROM web_countries_daily WHERE mark > 0 AND day BETWEEN {from:Date} AND {to:Date} GROUP BY day, mark
    UNION ALL
    SELECT 'mail_hourly' AS block_table, day, mark, max(next) AS next
    FROM mail_hourly WHERE mark > 0 AND day BETWEEN {from:Date} AND {to:Date} GROUP BY day, mark
    UNION ALL
    SELECT 'mail_domains_daily' AS block_table, day, mark, max(next) AS next
    FROM mail_domains_daily WHERE mark > 0 AND day BETWEEN {from:Date} AND {to:Date} GROUP BY day, mark
) AS b
LEFT JOIN (SELECT mark, max(next) AS next FROM ledger GROUP BY mark) AS l ON b.mark = l.mark
GROUP BY day
ORDER BY day
