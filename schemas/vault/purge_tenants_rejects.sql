SELECT DISTINCT tenant FROM rejects WHERE day = {day:Date} AND mark = 0 ORDER BY tenant
