SELECT DISTINCT tenant FROM web_keys WHERE day = {day:Date} ORDER BY tenant
