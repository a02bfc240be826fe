ALTER TABLE mail_hourly DROP PARTITION {day:Date}
