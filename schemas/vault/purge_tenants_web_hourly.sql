SELECT DISTINCT tenant FROM web_hourly WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
