SELECT DISTINCT tenant FROM web_capsules WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
