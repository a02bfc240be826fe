package ingest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tillsyn/aggregate"
	"tillsyn/ingest/ingesttest"
	"tillsyn/ingest/parse"
)

// What may only be known of an event to the vault is named in one file, so that one look at it says what becomes of it.
func TestOnlyCapsulesSeeTheRest(t *testing.T) {
	// Fields of parse.Event, and where else than in capsules.go they may be read.
	only := map[string][]string{
		"Path": nil, "Query": nil, "Referrer": nil, "UserAgent": nil, "SourcePort": nil, "Method": nil, "MIME": nil, "Duration": nil, "NetworkID": nil, "Code": nil,
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	seen := 0
	for _, file := range files {
		if ok, _ := filepath.Match("*_test.go", file); ok {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, ok := s.X.(*ast.Ident)
			if !ok || of.Name != "e" {
				return true
			}
			elsewhere, known := only[s.Sel.Name]
			if known && file == "capsules.go" {
				seen++
			} else if known && !slices.Contains(elsewhere, file) {
				t.Errorf("%s reads %s of an event", file, s.Sel.Name)
			}
			return true
		})
	}
	if seen < len(only) {
		t.Errorf("capsules.go reads %d of %d fields", seen, len(only))
	}
}

// Not one column of any block has a byte of who it was or what was asked for, of web and mail, in clear.
func TestBlocksHaveNothingInClear(t *testing.T) {
	b := newBatch(t, "squid_native")
	roles := ingesttest.NewRoles(t)
	b.capsules = newCapsules(roles.Writer(t, func() time.Time { return noon }, "norrbo"))
	var needles []string
	plant := func(s string) []byte {
		needles = append(needles, s)
		return []byte(s)
	}
	e := web("anna", "10.1.77.12", "planted-host.example.org", noon)
	e.Path, e.Query, e.Referrer, e.UserAgent = plant("/planted/path"), plant("planted=query"), plant("planted-referrer"), plant("planted-agent")
	needles = append(needles, "anna", "10.1.77.12", "planted-host")
	b.event(e)
	b.event(web("planted.stranger", "10.1.77.13", "example.org", noon))
	needles = append(needles, "planted.stranger", "10.1.77.13")
	m := &parse.Event{}
	m.Reset()
	m.Kind, m.Time, m.MessageID, m.Subject = parse.Mail, noon.UnixMilli(), plant("planted-message@id"), plant("planted subject")
	m.From, m.To = []byte("anna@norrbo.example"), [][]byte{[]byte("bo@norrbo.example"), []byte("planted.friend@paper.example")}
	m.QueueID, m.Code, m.NetworkID = plant("PLANTEDQUEUE"), plant("planted-code"), plant("planted-network")
	needles = append(needles, "anna@norrbo.example", "bo@norrbo.example", "planted.friend")
	b.event(m)
	blocks, err := b.Blocks(aggregate.Watermark{Mark: 1, Next: 1, BegunAt: noon})
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]int{}
	for _, block := range blocks {
		tables[block.Table] = block.Rows
		for i, column := range block.Columns {
			var text []byte
			switch c := column.(type) {
			case []string:
				for _, s := range c {
					text = append(append(text, s...), '\n')
				}
			case [][]byte:
				text = bytes.Join(c, []byte("\n"))
			}
			for _, n := range needles {
				if bytes.Contains(bytes.ToLower(text), bytes.ToLower([]byte(n))) {
					t.Errorf("%s, column %d has %q", block.Table, i, n)
				}
			}
		}
	}
	for table, rows := range map[string]int{"web_keys": 2, "web_capsules": 3, "mail_keys": 2, "mail_capsules": 3} {
		if tables[table] != rows {
			t.Errorf("%s has %d rows, want %d: %v", table, tables[table], rows, tables)
		}
	}
	if text := fmt.Sprintf("%v %+v", b.capsules.Collector, b.capsules.event); bytes.Contains([]byte(text), []byte("planted")) {
		t.Error("a collector prints what it holds")
	}
}
