ALTER TABLE web_hourly DROP PARTITION {day:Date}
