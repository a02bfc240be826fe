-- Dashboards read the disclosure-safe views, and nothing else.
CREATE ROLE IF NOT EXISTS tillsyn_dashboards SETTINGS readonly = 2;
GRANT SELECT ON tillsyn.web_by_* TO tillsyn_dashboards;
GRANT SELECT ON tillsyn.web_guest_volume TO tillsyn_dashboards;
GRANT SELECT ON tillsyn.mail_by_* TO tillsyn_dashboards;
