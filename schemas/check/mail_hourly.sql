-- How many distinct messages the cells of each level of mail_hourly have, for each closed day and population: a message may be in
-- several cells, so those of all are no fewer than in the largest cell, and no more than in all cells together.
SELECT day, tenant, population, level, max(messages), sum(messages)
FROM
(
    SELECT day, tenant, population,
        multiIf(unit = '' AND direction = '' AND category = '', 'all', unit = '' AND direction = '', 'categories',
            unit = '' AND category = '', 'directions', direction = '' AND category = '', 'units', '') AS level,
        length(maxMap(mail_hourly.messages).1) AS messages
    FROM mail_hourly
    WHERE mark = 0 AND day BETWEEN {from:Date} AND {to:Date}
    GROUP BY day, tenant, population, unit, direction, category
)
WHERE level != ''
GROUP BY day, tenant, population, level
ORDER BY day, tenant, population, level
