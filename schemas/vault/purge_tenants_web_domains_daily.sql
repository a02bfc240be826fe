SELECT DISTINCT tenant FROM web_domains_daily WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
