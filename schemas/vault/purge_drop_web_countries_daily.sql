ALTER TABLE web_countries_daily DROP PARTITION {day:Date}
