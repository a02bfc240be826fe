-- The lines that are in: a batch that was closed twice counts once.
SELECT sum(events + rejects) AS lines
FROM ledger FINAL
