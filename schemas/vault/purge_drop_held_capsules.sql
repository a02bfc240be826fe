ALTER TABLE held_capsules DROP PARTITION ({hold:String}, {day:Date})
