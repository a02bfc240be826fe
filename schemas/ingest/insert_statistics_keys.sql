INSERT INTO statistics_keys (month, check, first_seen)
