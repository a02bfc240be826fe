package ingest

import (
	"testing"

	"tillsyn/ingest/ingesttest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/synthetic"
)

func compareTruth(t testing.TB, db *clickhouse.DB, truth *synthetic.Truth) {
	t.Helper()
	ingesttest.CompareTruth(t, db, truth)
}

func linesIn(t testing.TB, db *clickhouse.DB) (events, rejects, kept uint64) {
	t.Helper()
	return ingesttest.LinesIn(t, db)
}
