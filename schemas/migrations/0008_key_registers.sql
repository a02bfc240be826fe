-- Which register of holders a data key was sealed under: a role's key may go only when no row was sealed to it, and only the
-- rows can say that, whatever a clock or the newest register says.

ALTER TABLE web_keys ADD COLUMN IF NOT EXISTS register UInt32 COMMENT 'number of the register whose keys sealed the shares; 0: not known';
ALTER TABLE mail_keys ADD COLUMN IF NOT EXISTS register UInt32 COMMENT 'number of the register whose keys sealed the shares; 0: not known';
ALTER TABLE held_keys ADD COLUMN IF NOT EXISTS register UInt32 COMMENT 'number of the register whose keys sealed the shares; 0: not known';
