-- Copies what a hold keeps of a day's keys, as sealed as it is. What is there already is not copied again.
INSERT INTO held_keys (hold, kind, day, tenant, population, unit, tag, key, manager, hr, security, gate, register)
SELECT {hold:String}, 'web', day, tenant, population, unit, tag, key, manager, hr, security, gate, register
FROM web_keys
WHERE day = {day:Date}
  AND (  (tenant, tag) IN (SELECT tenant, tag FROM holds WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date} AND tag != toFixedString('', 16))
      OR (tenant, unit) IN (SELECT tenant, unit FROM holds WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date} AND unit != '')
      OR tenant IN (SELECT tenant FROM holds WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date} AND unit = '' AND tag = toFixedString('', 16)))
  AND key NOT IN (SELECT key FROM held_keys WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date})
LIMIT 1 BY tenant, tag, key
