ALTER TABLE mail_keys DROP PARTITION {day:Date}
