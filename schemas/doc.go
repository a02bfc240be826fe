// Package schemas carries the SQL of tillsyn inside the binary: migrations, queries and grants, as files that can be opened,
// run and explained. It knows nothing of ClickHouse; internal/clickhouse runs what it hands out.
//
// migrations/NNNN_name.sql are applied in order by 'tillsyn migrate' and never changed afterwards. Table names carry no
// database: the connection's own is meant. Every statement may be repeated (CREATE ... IF NOT EXISTS, CREATE OR REPLACE VIEW,
// ALTER ... IF [NOT] EXISTS); every table and column has a COMMENT. A view that others may read says
// DEFINER = CURRENT_USER SQL SECURITY DEFINER: it reads with the rights of the user who migrates, so its reader needs no grant
// on the tables behind it.
//
// FOLDER/NAME.sql hold one query or insert each, with values as {name:Type} only; FOLDER is the room that asks.
//
// grants/ROLE.sql say what one kind of user may do, and which settings it may change, and nothing else may: valid SQL for a
// server, and the source of the users of the embedded engine. A server must have settings_constraints_replace_previous on.
package schemas
