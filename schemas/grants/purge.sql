-- Purge drops partitions. ALTER DELETE is what DROP PARTITION needs; the tables hold statistics, rejects and ciphertext.
-- These settings hold expressions that read columns, whatever the grants say.
CREATE ROLE IF NOT EXISTS tillsyn_purge SETTINGS additional_table_filters READONLY,
    additional_result_filter READONLY,
    parallel_replicas_custom_key READONLY;
GRANT SHOW TABLES, SHOW COLUMNS ON tillsyn.* TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.web_hourly TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.web_domains_daily TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.web_countries_daily TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.rejects TO tillsyn_purge;
GRANT SELECT ON tillsyn.schema_migrations TO tillsyn_purge;
GRANT SELECT ON system.parts TO tillsyn_purge;
GRANT SELECT ON system.detached_parts TO tillsyn_purge;
-- Whether the files of a disk show what it has.
GRANT SELECT ON system.disks TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.mail_hourly TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.mail_domains_daily TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.web_keys TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.mail_keys TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.web_capsules TO tillsyn_purge;
GRANT SELECT, ALTER DELETE ON tillsyn.mail_capsules TO tillsyn_purge;
-- A hold copies sealed rows before their day goes.
GRANT SELECT, INSERT, ALTER DELETE ON tillsyn.held_keys TO tillsyn_purge;
GRANT SELECT, INSERT, ALTER DELETE ON tillsyn.held_capsules TO tillsyn_purge;
GRANT SELECT, INSERT, ALTER DELETE ON tillsyn.holds TO tillsyn_purge;
-- The newest batch says that the clock is not behind; and the nightly check of closed days asks whether statistics and ledger agree.
GRANT SELECT ON tillsyn.ledger TO tillsyn_purge;
GRANT SELECT ON tillsyn.sources TO tillsyn_purge;
