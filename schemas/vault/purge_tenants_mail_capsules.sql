SELECT DISTINCT tenant FROM mail_capsules WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
