ALTER TABLE web_domains_daily DROP PARTITION {day:Date}
