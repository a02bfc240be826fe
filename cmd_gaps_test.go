package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"tillsyn/ingest"
	"tillsyn/internal/clickhouse"
	"tillsyn/internal/engine/enginetest"
	"tillsyn/schemas"
)

// inProcess runs a command as main would, and answers what it printed and its exit code.
func inProcess(t *testing.T, args ...string) (out, faults string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	app := newApp()
	app.Writer, app.ErrWriter = &o, &e
	code = run(t.Context(), app, append([]string{"tillsyn"}, args...))
	return o.String(), e.String(), code
}

func TestGaps(t *testing.T) {
	w := &testTown{cfg: DefaultConfig(), dir: t.TempDir()}
	w.cfg.Engine.DataDir, w.cfg.Kafka.Cluster = enginetest.Config(t, nil).DataDir, "demo"
	file := w.write(t, "gaps")
	gaps := func(args ...string) (string, string, int) {
		return inProcess(t, append([]string{"--config", file, "gaps"}, args...)...)
	}
	e, err := startEngine(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	if _, errOut, code := gaps("list"); code != exitFault || !strings.Contains(errOut, "migrate") {
		t.Errorf("without a schema: exit %d, %s", code, errOut)
	}
	if err := migrateEmbedded(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	db, err := w.database(schemas.RoleIngest)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := ingest.NewStore(db, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := gaps("list"); code != exitOK || out != "Nothing was lost.\n" {
		t.Errorf("nothing lost: exit %d, %s%s", code, out, errOut)
	}

	ctx := t.Context()
	at := time.Now().Add(-time.Minute)
	lose := func(id ingest.Identity, stretches ...[2]int64) {
		t.Helper()
		if _, err := store.Recover(ctx, id); err != nil {
			t.Fatal(err)
		}
		for _, s := range stretches {
			if err := store.Lost(ctx, id, s[0], s[1], at); err != nil {
				t.Fatal(err)
			}
		}
	}
	proxy := ingest.Identity{Cluster: "demo", Topic: "proxy", Epoch: "a", Partition: 3}
	lose(proxy, [2]int64{10, 30}, [2]int64{10, 50}, [2]int64{10, 50}) // found again and again, and growing
	lose(ingest.Identity{Cluster: "demo", Topic: "proxy", Epoch: "a", Partition: 4}, [2]int64{7, 8})
	lose(ingest.Identity{Cluster: "other", Topic: "proxy", Epoch: "a", Partition: 3}, [2]int64{1, 2})

	out, _, code := gaps("list", "--json")
	var got struct{ Gaps []gapLine }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || len(got.Gaps) != 3 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	for _, g := range got.Gaps {
		if g.State != ingest.GapStanding || g.AcceptedAt != nil || g.Reason != "" || g.Cluster == "demo" && g.Partition == 3 && (g.First != 10 || g.Next != 50) {
			t.Errorf("%+v", g)
		}
	}

	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no flags", nil, exitUsage, "--topic is missing\n--partition must be a number from 0\n--reason"},
		{"no reason", []string{"--topic", "proxy", "--partition", "3"}, exitUsage, "--reason"},
		{"an empty reason", []string{"--topic", "proxy", "--partition", "3", "--reason", " "}, exitUsage, "--reason"},
		{"a reason of two lines", []string{"--topic", "proxy", "--partition", "3", "--reason", "a\nb"}, exitUsage, "--reason"},
		{"a long reason", []string{"--topic", "proxy", "--partition", "3", "--reason", strings.Repeat("a", 1001)}, exitUsage, "--reason"},
		{"a large partition", []string{"--topic", "proxy", "--partition", "2147483648", "--reason", "x"}, exitUsage, "--partition"},
		{"another topic", []string{"--topic", "other", "--partition", "3", "--reason", "x"}, exitRefused, "no loss stands"},
		{"another partition", []string{"--topic", "proxy", "--partition", "0", "--reason", "x"}, exitRefused, "no loss stands"},
	} {
		if out, errOut, code := gaps(append([]string{"accept"}, c.args...)...); code != c.code || !strings.Contains(errOut, c.says) || out != "" {
			t.Errorf("%s: exit %d, %s%s", c.name, code, out, errOut)
		}
	}

	out, errOut, code := gaps("accept", "--topic", "proxy", "--partition", "3", "--reason", "the disk was full; case 17")
	if code != exitOK || !strings.Contains(out, "the disk was full; case 17") || strings.Count(out, "\n") != 2 {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	t.Logf("\n%s", out)
	if _, errOut, code := gaps("accept", "--topic", "proxy", "--partition", "3", "--reason", "again"); code != exitRefused {
		t.Errorf("accepted twice: exit %d, %s", code, errOut)
	}
	rec, err := store.Recover(ctx, proxy)
	if err != nil || len(rec.Gaps) != 1 || rec.Gaps[0] != (ingest.Gap{First: 10, Next: 50, Accepted: true}) {
		t.Errorf("what ingest sees: %+v, %v", rec.Gaps, err)
	}
	// An ingester that had not heard of it says again that it is lost: it stays accepted, and so does its reason.
	lose(proxy, [2]int64{10, 70})
	if rec, err = store.Recover(ctx, proxy); err != nil || rec.Gaps[0] != (ingest.Gap{First: 10, Next: 50, Accepted: true}) {
		t.Errorf("after that: %+v, %v", rec.Gaps, err)
	}
	if err := store.Close(ctx, proxy, ingest.LedgerRow{First: 10, Next: 50, Gaps: 40, BegunAt: at}); err != nil {
		t.Fatal(err)
	}
	all, err := store.Gaps(ctx)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for _, g := range all {
		states[g.State]++
		if g.Source == proxy && (g.State != ingest.GapCrossed || g.Reason != "the disk was full; case 17" || g.Next != 50) {
			t.Errorf("%+v", g)
		}
	}
	if states[ingest.GapStanding] != 2 || states[ingest.GapCrossed] != 1 {
		t.Error(states)
	}
	var tried int
	err = db.Query(ctx, "SELECT sum(requests) AS n FROM web_hourly", clickhouse.Params{}, func(clickhouse.Row) error { tried++; return nil })
	if clickhouse.Code(err) != 497 || tried != 0 {
		t.Errorf("the role of this command reads statistics: %v", err)
	}
}
