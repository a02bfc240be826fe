-- Some of the ciphertext of a day's keys, to look for on disk when they are gone: key, and 16 bytes from a random place.
SELECT lower(hex(key)) AS id, lower(hex(substring(hr, 1 + rand() % greatest(1, toInt64(length(hr)) - 15), 16))) AS sample
FROM web_keys
WHERE day = {day:Date} AND length(hr) >= 16 AND key NOT IN (SELECT key FROM held_keys WHERE kind = 'web' AND day = {day:Date})
ORDER BY rand() LIMIT {samples:UInt32}
