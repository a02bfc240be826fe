ALTER TABLE web_capsules DROP PARTITION {day:Date}
