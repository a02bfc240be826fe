-- The files that have been imported.
SELECT topic, epoch
FROM sources
WHERE cluster = 'file'
GROUP BY topic, epoch
