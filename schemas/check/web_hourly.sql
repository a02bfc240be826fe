-- What each level of web_hourly adds up to, for each closed day and population: they must agree.
SELECT day, tenant, population,
    multiIf(unit = '' AND category = '', 'all', unit = '', 'categories', category = '', 'units', 'units and categories') AS level,
    sum(requests), sum(blocked), sum(bytes_in), sum(bytes_out)
FROM web_hourly
WHERE mark = 0 AND day BETWEEN {from:Date} AND {to:Date}
GROUP BY day, tenant, population, level
ORDER BY day, tenant, population, level
