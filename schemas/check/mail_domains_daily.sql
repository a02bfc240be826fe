-- The same of mail_domains_daily: see mail_hourly.
SELECT day, tenant, population, level, max(messages), sum(messages)
FROM
(
    SELECT day, tenant, population, if(unit = '' AND direction = '', 'domains', '') AS level,
        length(maxMap(mail_domains_daily.messages).1) AS messages
    FROM mail_domains_daily
    WHERE mark = 0 AND day BETWEEN {from:Date} AND {to:Date}
    GROUP BY day, tenant, population, unit, direction, category, domain
)
WHERE level != ''
GROUP BY day, tenant, population, level
ORDER BY day, tenant, population, level
