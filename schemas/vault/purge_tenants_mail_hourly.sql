SELECT DISTINCT tenant FROM mail_hourly WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
