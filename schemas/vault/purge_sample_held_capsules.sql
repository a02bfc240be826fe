-- Some of the ciphertext of copied capsules, to look for on disk when they are gone: key, and 16 bytes from a random place.
SELECT lower(hex(key)) AS id, lower(hex(substring(capsule, 1 + rand() % greatest(1, toInt64(length(capsule)) - 15), 16))) AS sample
FROM held_capsules
WHERE hold = {hold:String} AND day = {day:Date} AND length(capsule) >= 16
ORDER BY rand() LIMIT {samples:UInt32}
