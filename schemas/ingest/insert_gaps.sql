INSERT INTO gaps (mark, first, next, found_at, accepted_at, reason)
