INSERT INTO web_hourly (day, mark, tenant, population, unit, category, hour, requests, blocked, bytes_in, bytes_out, people_tokens, slot_tokens, next, begun_at)
