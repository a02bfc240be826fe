SELECT DISTINCT tenant FROM mail_domains_daily WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
