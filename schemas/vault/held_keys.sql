-- The data keys that one hold keeps: also of days whose lookup key is forgotten, so that nobody can be asked for by tag.
SELECT DISTINCT kind, day, population, unit, tag, key, manager, hr, security, gate
FROM held_keys
WHERE hold = {hold:String} AND has({kinds:Array(String)}, kind) AND tenant = {tenant:String} AND day BETWEEN {from:Date} AND {to:Date}
ORDER BY day, kind, tag, key
