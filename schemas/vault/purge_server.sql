-- What the server says of itself.
SELECT now() AS now, (SELECT max(begun_at) FROM ledger) AS ledger
