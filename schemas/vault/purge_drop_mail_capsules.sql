ALTER TABLE mail_capsules DROP PARTITION {day:Date}
