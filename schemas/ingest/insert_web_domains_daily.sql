INSERT INTO web_domains_daily (day, mark, tenant, population, unit, domain, category, requests, blocked, bytes_in, bytes_out, people_tokens, slot_tokens, next, begun_at)
