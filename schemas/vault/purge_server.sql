-- What time it is on the server, and when the newest batch was begun.
SELECT now() AS now, max(begun_at) AS ledger FROM ledger
