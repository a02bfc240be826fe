-- How many keys a hold keeps of a day, and how many of them are not among its copies, byte for byte.
SELECT uniqExact(key) AS rows,
    uniqExactIf(key, (tenant, tag, key, sipHash128(population, unit, manager, hr, security, gate, register)) NOT IN
        (SELECT tenant, tag, key, sipHash128(population, unit, manager, hr, security, gate, register) FROM held_keys WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date})) AS missing
FROM mail_keys
WHERE day = {day:Date}
  AND (  (tenant, tag) IN (SELECT tenant, tag FROM holds WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date} AND tag != toFixedString('', 16))
      OR (tenant, unit) IN (SELECT tenant, unit FROM holds WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date} AND unit != '')
      OR tenant IN (SELECT tenant FROM holds WHERE hold = {hold:String} AND kind = 'mail' AND day = {day:Date} AND unit = '' AND tag = toFixedString('', 16)))
