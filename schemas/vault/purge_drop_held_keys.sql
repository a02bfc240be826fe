ALTER TABLE held_keys DROP PARTITION ({hold:String}, {day:Date})
