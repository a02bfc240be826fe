-- Of the batches that a day's rows are of: how many were begun before a time, and how many there are.
SELECT countIf(begun_at < {since:DateTime}) AS before, count() AS batches FROM web_capsules WHERE day = {day:Date} AND mark > 0
