-- Copies what a hold keeps of a day's capsules, as sealed as they are. A capsule is known by its key and nonce: what is there
-- already is not copied again.
INSERT INTO held_capsules (hold, kind, day, tenant, unit, tag, key, first, last, count, capsule)
SELECT {hold:String}, 'web', day, tenant, unit, tag, key, first, last, count, capsule
FROM web_capsules
WHERE day = {day:Date} AND mark = 0
  AND (  (tenant, tag) IN (SELECT tenant, tag FROM holds WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date} AND tag != toFixedString('', 16))
      OR (tenant, unit) IN (SELECT tenant, unit FROM holds WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date} AND unit != '')
      OR tenant IN (SELECT tenant FROM holds WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date} AND unit = '' AND tag = toFixedString('', 16)))
  AND (key, left(capsule, 12)) NOT IN (SELECT key, left(capsule, 12) FROM held_capsules WHERE hold = {hold:String} AND kind = 'web' AND day = {day:Date})
