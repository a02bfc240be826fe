-- Some of the ciphertext of a day's capsules, to look for on disk when they are gone: key, and 16 bytes from a random place.
SELECT lower(hex(key)) AS id, lower(hex(substring(capsule, 1 + rand() % greatest(1, toInt64(length(capsule)) - 15), 16))) AS sample
FROM web_capsules
WHERE day = {day:Date} AND mark = 0 AND length(capsule) >= 16 AND key NOT IN (SELECT key FROM held_capsules WHERE kind = 'web' AND day = {day:Date})
ORDER BY rand() LIMIT {samples:UInt32}
