INSERT INTO ledger (mark, first, next, records, gaps, events, rejects, skipped, begun_at)
