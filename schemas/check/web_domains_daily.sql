-- What each level of web_domains_daily adds up to, for each closed day and population: the same as web_hourly.
SELECT day, tenant, population, if(unit = '', 'domains', 'units and domains') AS level,
    sum(requests), sum(blocked), sum(bytes_in), sum(bytes_out)
FROM web_domains_daily
WHERE mark = 0 AND day BETWEEN {from:Date} AND {to:Date}
GROUP BY day, tenant, population, level
ORDER BY day, tenant, population, level
