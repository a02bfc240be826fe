-- When the last batch that held a record of a source partition was begun. No row: none did.
SELECT max(begun_at) AS begun_at
FROM ledger
WHERE mark = {mark:UInt64} AND records > 0
HAVING count() > 0
