-- What a hold keeps: what its digest in the record is made of.
SELECT lower(hex(salt)) AS salt, tenant, kind, day, unit, lower(hex(tag)) AS tag
FROM holds
WHERE hold = {hold:String}
ORDER BY kind, day, tenant, unit, tag
LIMIT 1 BY kind, day, tenant, unit, tag
