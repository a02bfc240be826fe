-- The owner migrates, and the views read with its rights: nobody signs in as the owner in daily use.
CREATE ROLE IF NOT EXISTS tillsyn_owner;
GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, DROP VIEW, DROP DICTIONARY ON tillsyn.* TO tillsyn_owner;
GRANT TABLE ENGINE ON * TO tillsyn_owner;
-- CREATE OR REPLACE VIEW drops the view that it has put aside.
GRANT DROP TABLE ON tillsyn._tmp_replace_* TO tillsyn_owner;
