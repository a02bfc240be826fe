-- Where a source partition's closed batches end. No row: it was never read.
SELECT max(next) AS next
FROM ledger
WHERE mark = {mark:UInt64}
HAVING count() > 0
