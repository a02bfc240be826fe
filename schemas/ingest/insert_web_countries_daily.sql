INSERT INTO web_countries_daily (day, mark, tenant, population, unit, country, requests, blocked, bytes_in, bytes_out, people_tokens, slot_tokens, next, begun_at)
