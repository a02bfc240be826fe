-- Dashboards read the disclosure-safe views, whose names begin with safe_, and nothing else.
CREATE ROLE IF NOT EXISTS tillsyn_dashboards SETTINGS readonly = 2;
GRANT SELECT ON tillsyn.safe_* TO tillsyn_dashboards;
