SELECT count() > 0 AS known
FROM sources
WHERE mark = {mark:UInt64}
