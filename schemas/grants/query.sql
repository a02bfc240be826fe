-- Reports and pages read the disclosure-safe views, and how far ingest has come. No statistics table.
CREATE ROLE IF NOT EXISTS tillsyn_query SETTINGS readonly = 2;
GRANT SELECT ON tillsyn.web_by_* TO tillsyn_query;
GRANT SELECT ON tillsyn.web_guest_volume TO tillsyn_query;
GRANT SELECT ON tillsyn.sources TO tillsyn_query;
GRANT SELECT ON tillsyn.ledger TO tillsyn_query;
GRANT SELECT ON tillsyn.gaps TO tillsyn_query;
GRANT SELECT ON tillsyn.schema_migrations TO tillsyn_query;
GRANT SELECT ON tillsyn.mail_by_* TO tillsyn_query;
