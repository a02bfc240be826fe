-- The topic id under which a source partition was first read. No row: it never was.
SELECT argMin(topic_id, first_seen) AS topic_id
FROM sources
WHERE mark = {mark:UInt64}
HAVING count() > 0
