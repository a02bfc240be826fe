-- Reports and pages read the disclosure-safe views, how far ingest has come, and sealed rows. No statistics table.
-- Settings are closed but for the limits of a query: with additional_table_filters a reader would look beneath the views.
CREATE ROLE IF NOT EXISTS tillsyn_query SETTINGS readonly = 1,
    max_execution_time CHANGEABLE_IN_READONLY,
    max_memory_usage CHANGEABLE_IN_READONLY;
GRANT SELECT ON tillsyn.web_by_* TO tillsyn_query;
GRANT SELECT ON tillsyn.web_guest_volume TO tillsyn_query;
GRANT SELECT ON tillsyn.sources TO tillsyn_query;
GRANT SELECT ON tillsyn.ledger TO tillsyn_query;
GRANT SELECT ON tillsyn.gaps TO tillsyn_query;
GRANT SELECT ON tillsyn.schema_migrations TO tillsyn_query;
GRANT SELECT ON tillsyn.mail_by_* TO tillsyn_query;
-- Sealed rows: whoever reads them without the keys of four roles has ciphertext.
GRANT SELECT ON tillsyn.web_keys TO tillsyn_query;
GRANT SELECT ON tillsyn.mail_keys TO tillsyn_query;
GRANT SELECT ON tillsyn.web_capsules TO tillsyn_query;
GRANT SELECT ON tillsyn.mail_capsules TO tillsyn_query;
GRANT SELECT ON tillsyn.held_keys TO tillsyn_query;
GRANT SELECT ON tillsyn.held_capsules TO tillsyn_query;
