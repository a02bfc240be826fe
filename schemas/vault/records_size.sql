-- How much a hold keeps: capsules, events in them, bytes of ciphertext. Nothing is opened.
SELECT count() AS capsules, sum(toUInt64(count)) AS events, sum(toUInt64(length(capsule))) AS bytes
FROM held_capsules FINAL
WHERE hold = {hold:String}
