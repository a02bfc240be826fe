SELECT DISTINCT tenant FROM mail_keys WHERE day = {day:Date} ORDER BY tenant
