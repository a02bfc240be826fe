ALTER TABLE mail_domains_daily DROP PARTITION {day:Date}
