-- The files that have been imported. One that held no event yet, such as a mere header, does not name those that begin
-- like it.
SELECT topic, epoch
FROM sources
WHERE cluster = 'file' AND mark IN (SELECT mark FROM ledger WHERE events > 0)
GROUP BY topic, epoch
