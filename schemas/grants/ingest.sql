-- Ingest writes blocks. Of what it wrote it can read watermarks and the ledger only, never a statistic.
-- These settings hold expressions that read columns, whatever the grants say.
CREATE ROLE IF NOT EXISTS tillsyn_ingest SETTINGS additional_table_filters READONLY,
    additional_result_filter READONLY,
    parallel_replicas_custom_key READONLY;
GRANT INSERT ON tillsyn.web_hourly TO tillsyn_ingest;
GRANT INSERT ON tillsyn.web_domains_daily TO tillsyn_ingest;
GRANT INSERT ON tillsyn.web_countries_daily TO tillsyn_ingest;
GRANT INSERT ON tillsyn.rejects TO tillsyn_ingest;
GRANT INSERT ON tillsyn.sources TO tillsyn_ingest;
GRANT INSERT ON tillsyn.ledger TO tillsyn_ingest;
GRANT INSERT ON tillsyn.gaps TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.web_hourly TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.web_domains_daily TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.web_countries_daily TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.rejects TO tillsyn_ingest;
GRANT SELECT ON tillsyn.sources TO tillsyn_ingest;
GRANT SELECT ON tillsyn.ledger TO tillsyn_ingest;
GRANT SELECT ON tillsyn.gaps TO tillsyn_ingest;
GRANT SELECT ON tillsyn.schema_migrations TO tillsyn_ingest;
-- KILL QUERY reads system.processes, which shows a user no query but its own.
GRANT SELECT ON system.processes TO tillsyn_ingest;
GRANT INSERT ON tillsyn.mail_hourly TO tillsyn_ingest;
GRANT INSERT ON tillsyn.mail_domains_daily TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.mail_hourly TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.mail_domains_daily TO tillsyn_ingest;
GRANT INSERT, SELECT ON tillsyn.statistics_keys TO tillsyn_ingest;
GRANT INSERT ON tillsyn.web_keys TO tillsyn_ingest;
GRANT INSERT ON tillsyn.mail_keys TO tillsyn_ingest;
GRANT INSERT ON tillsyn.web_capsules TO tillsyn_ingest;
GRANT INSERT ON tillsyn.mail_capsules TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.web_capsules TO tillsyn_ingest;
GRANT SELECT(day, mark, next, begun_at) ON tillsyn.mail_capsules TO tillsyn_ingest;
