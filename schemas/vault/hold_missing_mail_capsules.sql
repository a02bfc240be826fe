-- How many capsules a hold keeps of a day, and how many of them are not among its copies, byte for byte.
SELECT uniqExact(key, left(capsule, 12)) AS rows,
    uniqExactIf((key, left(capsule, 12)), (tenant, tag, key, sipHash128(unit, first, last, count, capsule)) NOT IN
        (SELECT tenant, tag, key, sipHash128(unit, first, last, count, capsule) FROM held_capsules WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date})) AS missing
FROM mail_capsules
WHERE day = {day:Date} AND mark = 0
  AND (  (tenant, tag) IN (SELECT tenant, tag FROM holds WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date} AND tag != toFixedString('', 16))
      OR (tenant, unit) IN (SELECT tenant, unit FROM holds WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date} AND unit != '')
      OR tenant IN (SELECT tenant FROM holds WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date} AND unit = '' AND tag = toFixedString('', 16)))
