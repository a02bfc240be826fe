package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const module = "tillsyn"

// arrows says which rooms of ours a room may import; who is not here may not exist. Package main may import all.
func arrows() map[string][]string {
	return map[string][]string{
		"ingest": {"ingest/parse", "ingest/sensitive", "ingest/resolve", "ingest/category", "ingest/kafka", "aggregate", "internal/vault", "internal/seal",
			"internal/clickhouse", "internal/durable", "schemas"},
		"ingest/parse":     {},
		"ingest/sensitive": {},
		"ingest/resolve":   {},
		"ingest/category":  {"internal/durable"},
		"ingest/kafka":     {},
		"aggregate":        {"internal/clickhouse", "internal/seal", "schemas"},
		"query":            {"query/casework", "aggregate"},
		"query/casework":   {"internal/vault", "internal/seal", "internal/audit", "internal/durable"},
		"schemas":          {},
		"deploy":           {},

		"internal/vault":      {"internal/seal", "internal/clickhouse", "internal/audit", "internal/durable", "schemas"},
		"internal/seal":       {},
		"internal/audit":      {"internal/durable"},
		"internal/clickhouse": {"schemas"},
		"internal/engine":     {"internal/durable"},
		"internal/durable":    {},
		"internal/synthetic":  {},

		// Only tests import these, so they may import what they set up.
		"ingest/ingesttest":          {"internal/clickhouse", "internal/seal", "internal/synthetic", "internal/vault"},
		"ingest/kafka/kafkatest":     {"ingest/kafka"},
		"internal/engine/enginetest": {"internal/engine"},
	}
}

// doors says which rooms alone may import a module or package, and what is under it, outside of tests.
func doors() map[string][]string {
	return map[string][]string{
		"github.com/segmentio/kafka-go":        {"ingest/kafka"},
		"github.com/ClickHouse/clickhouse-go":  {"internal/clickhouse"},
		"github.com/ClickHouse/ch-go":          {"internal/clickhouse"},
		"github.com/ebitengine/purego":         {"internal/engine"},
		"github.com/oschwald/geoip2-golang":    {"ingest/resolve"},
		"github.com/oschwald/maxminddb-golang": {"ingest/resolve"},
		"github.com/maxmind/mmdbwriter":        {"internal/synthetic"},
		"github.com/twmb/franz-go":             {"", "ingest/kafka/kafkatest"},
		"filippo.io/age":                       {"", "query/casework"},
		"github.com/urfave/cli":                {""},
		"github.com/goccy/go-yaml":             {""},
		"testing":                              {"ingest/ingesttest", "ingest/kafka/kafkatest", "internal/engine/enginetest"},
		"github.com/transparency-dev":          {"internal/audit"},
		"k8s.io/klog":                          {"internal/audit"},
		"golang.org/x/mod/sumdb/tlog":          {"internal/audit"},
		"golang.org/x/mod/sumdb/note":          {"internal/audit", "internal/seal"},
		"golang.org/x/tools":                   {},
		"github.com/rogpeppe/go-internal":      {},
	}
}

// exits are the functions outside main.go that may end the process: the engine's child has no main of its own to return
// to, and its watchdog must end a process in which a foreign library holds the main thread.
func exits() []string {
	return []string{"internal/engine/child.go", "internal/engine/enginetest/enginetest.go"}
}

func rooms(t *testing.T) map[string]*packages.Package {
	t.Helper()
	list, err := packages.Load(&packages.Config{
		Mode:    packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
		Context: t.Context(),
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*packages.Package{}
	for _, p := range list {
		for _, e := range p.Errors {
			t.Errorf("%s: %v", p.PkgPath, e)
		}
		all[strings.TrimPrefix(strings.TrimPrefix(p.PkgPath, module), "/")] = p
	}
	if len(all) < 5 || all[""] == nil {
		t.Fatalf("only %d packages were found", len(all))
	}
	return all
}

func TestHouse(t *testing.T) {
	all := rooms(t)
	names := slices.Sorted(maps.Keys(all))
	t.Run("arrows", func(t *testing.T) {
		for _, name := range names {
			may, known := arrows()[name]
			if !known && name != "" {
				t.Errorf("the house has no room %s: see arrows in house_test.go", name)
				continue
			}
			for path := range all[name].Imports {
				to, ours := strings.CutPrefix(path, module+"/")
				if ours && name != "" && !slices.Contains(may, to) {
					t.Errorf("%s imports %s, which it may not", name, to)
				}
				if ours && strings.HasSuffix(to, "test") {
					t.Errorf("%s imports %s, which is for tests", name, to)
				}
				if path == "log" {
					t.Errorf("%s imports log; use log/slog, handed over", name)
				}
				for door, only := range doors() {
					if (path == door || strings.HasPrefix(path, door+"/")) && !slices.Contains(only, name) {
						t.Errorf("%s imports %s; only %q may", name, path, only)
					}
				}
			}
		}
	})
	t.Run("names", func(t *testing.T) {
		for _, name := range names {
			if drawer := filepath.Base(name); slices.Contains([]string{"util", "utils", "common", "helpers", "types", "models"}, drawer) {
				t.Errorf("%s is a drawer, not a room", name)
			}
		}
	})
	t.Run("doc.go", func(t *testing.T) {
		for _, name := range names {
			if name == "" {
				continue
			}
			found := 0
			for i, file := range all[name].Syntax {
				if file.Doc == nil {
					continue
				}
				if filepath.Base(all[name].GoFiles[i]) != "doc.go" {
					t.Errorf("%s: the package comment is in %s", name, filepath.Base(all[name].GoFiles[i]))
				} else if strings.HasPrefix(file.Doc.Text(), "Package "+all[name].Name+" ") {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s has no doc.go with a package comment", name)
			}
		}
	})
	t.Run("exits", func(t *testing.T) {
		for _, name := range names {
			p := all[name]
			for id, object := range p.TypesInfo.Uses {
				f, ok := object.(*types.Func)
				if !ok || f.Pkg() == nil {
					continue
				}
				at := place(p, name, id.Pos())
				switch full := f.FullName(); {
				case full == "os.Exit" || full == "syscall.Exit" || full == "runtime.Goexit" || strings.HasPrefix(full, "log.Fatal") || strings.HasPrefix(full, "log.Panic"):
					if at != "main.go" && !slices.Contains(exits(), at) {
						t.Errorf("%s calls %s; only main.go ends the process", at, full)
					}
				case full == "log/slog.SetDefault":
					t.Errorf("%s calls %s: a logger is handed over", at, full)
				}
			}
		}
	})
	t.Run("no package state", func(t *testing.T) {
		for _, name := range names {
			p := all[name]
			for _, file := range p.Syntax {
				for _, d := range file.Decls {
					if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
						t.Errorf("%s has an init function", place(p, name, f.Pos()))
					}
				}
			}
			for _, fault := range packageState(p.Syntax, p.Types, p.TypesInfo) {
				t.Errorf("%s: %s", place(p, name, fault.at), fault.text)
			}
		}
	})
}

func place(p *packages.Package, room string, at token.Pos) string {
	return filepath.ToSlash(filepath.Join(room, filepath.Base(p.Fset.Position(at).Filename)))
}

type stateFault struct {
	at   token.Pos
	text string
}

// packageState finds package variables that are state. A variable may be an error, an embedded file, a compiled regular
// expression or a replacer, which nobody can change; or a number, text, array or struct of such, if nothing assigns to it
// or takes its address.
func packageState(files []*ast.File, pkg *types.Package, info *types.Info) []stateFault {
	embedded := map[types.Object]bool{}
	for _, file := range files {
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR && strings.Contains(commentText(g.Doc), "//go:embed") {
				for _, spec := range g.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names {
						embedded[info.Defs[id]] = true
					}
				}
			}
		}
	}
	var faults []stateFault
	for _, name := range pkg.Scope().Names() {
		v, ok := pkg.Scope().Lookup(name).(*types.Var)
		if !ok {
			continue
		}
		if !embedded[v] && !unchangeable(v.Type(), pkg) {
			faults = append(faults, stateFault{v.Pos(), name + " is package state: a " + v.Type().String()})
		}
	}
	isState := func(e ast.Expr) bool {
		for {
			switch x := e.(type) {
			case *ast.ParenExpr:
				e = x.X
			case *ast.SelectorExpr:
				if id, ok := x.X.(*ast.Ident); ok {
					if _, isPackage := info.Uses[id].(*types.PkgName); isPackage {
						e = x.Sel
						continue
					}
				}
				if _, pointer := info.TypeOf(x.X).Underlying().(*types.Pointer); pointer {
					return false
				}
				e = x.X
			case *ast.IndexExpr:
				if _, array := info.TypeOf(x.X).Underlying().(*types.Array); !array {
					return false
				}
				e = x.X
			case *ast.Ident:
				v, ok := info.Uses[x].(*types.Var)
				return ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope()
			default:
				return false
			}
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			change := func(e ast.Expr) {
				if isState(e) {
					faults = append(faults, stateFault{e.Pos(), types.ExprString(e) + " is changed, or its address taken, but it is a package variable"})
				}
			}
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						change(e)
					}
				}
			case *ast.IncDecStmt:
				change(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					for _, e := range []ast.Expr{n.Key, n.Value} {
						if e != nil {
							change(e)
						}
					}
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					change(n.X)
				}
			case *ast.SelectorExpr:
				// A method with a pointer receiver takes the address too.
				if s := info.Selections[n]; s != nil && s.Kind() == types.MethodVal {
					if _, pointer := s.Obj().(*types.Func).Signature().Recv().Type().(*types.Pointer); pointer {
						if _, already := s.Recv().(*types.Pointer); !already {
							change(n.X)
						}
					}
				}
			case *ast.SliceExpr:
				// A slice of an array is a way to write into it; of an array that is only read, iterate or index it.
				if _, array := info.TypeOf(n.X).Underlying().(*types.Array); array && !readOnlyUse(file, n, info) {
					change(n.X)
				}
			}
			return true
		})
	}
	return faults
}

// readOnlyUse says whether slice is an argument of a function of package slices or strings that only reads.
func readOnlyUse(file *ast.File, slice *ast.SliceExpr, info *types.Info) bool {
	only := []string{"slices.Contains", "slices.Index", "slices.Clone", "slices.Equal", "slices.BinarySearch", "slices.Values", "slices.Concat",
		"slices.IndexFunc", "slices.ContainsFunc", "strings.Join"}
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !slices.Contains(call.Args, ast.Expr(slice)) {
			return true
		}
		if s, ok := call.Fun.(*ast.SelectorExpr); ok {
			if f, ok := info.Uses[s.Sel].(*types.Func); ok {
				found = found || slices.Contains(only, f.FullName())
			}
		}
		return true
	})
	return found
}

func commentText(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text + "\n")
	}
	return b.String()
}

// unchangeable says whether nobody who holds a value of type t, seen from pkg, can change it for others.
func unchangeable(t types.Type, pkg *types.Package) bool {
	switch t.String() {
	case "error", "embed.FS", "*regexp.Regexp", "*strings.Replacer":
		return true
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return true
	case *types.Array:
		return unchangeable(u.Elem(), pkg)
	case *types.Struct:
		// A struct of another package may hide a lock or a counter behind its methods.
		if n, ok := t.(*types.Named); ok && n.Obj().Pkg() != pkg && !strings.HasPrefix(n.Obj().Pkg().Path(), module+"/") {
			return n.String() == "time.Time" || n.String() == "net/netip.Addr" || n.String() == "net/netip.Prefix"
		}
		for field := range u.Fields() {
			if !unchangeable(field.Type(), pkg) {
				return false
			}
		}
		return true
	}
	return false
}

func TestPackageStateIsFound(t *testing.T) {
	for source, want := range map[string]int{
		`var a = map[string]int{}`:                     1,
		`var a []int`:                                  1,
		`var a = &struct{ n int }{}`:                   1,
		`var a func()`:                                 1,
		`var a any = 1`:                                1,
		`var a chan int`:                               1,
		`import "sync"; var a sync.Mutex`:              1,
		`import "sync/atomic"; var a atomic.Int64`:     1,
		`var a int; func f() { a = 1 }`:                1,
		`var a int; func f() { a++ }`:                  1,
		`var a int; func f() *int { return &a }`:       1,
		`var a [2]int; func f() { a[0] = 1 }`:          1,
		`var a [2]int; func f() []int { return a[:] }`: 1,
		`var a struct{ n int }; func f() { a.n = 1 }`:  1,
		`var a int; func f() { for a = range 3 { } }`:  1,
		`type T struct{ n int }; func (t *T) f() { t.n++ }; var a T; func g() { a.f() }`: 1,
		`var a [2][]int`: 1,
		`import "errors"; var a = errors.New("x")`:                                0,
		`import "regexp"; var a = regexp.MustCompile("x")`:                        0,
		`import "slices"; var a = [2]int{1, 2}; var b = slices.Contains(a[:], 1)`: 0,
		`var a = [2]string{"x"}; func f() string { return a[1] }`:                 0,
		`const a = 1; func f() { b := 1; b++; c := []int{1}; c[0] = 2; _ = &b }`:  0,
		`type T struct{ n int }; func (t T) f() {}; var a T; func g() { a.f() }`:  0,
		`var a int; func f() { a := 1; a++ }`:                                     0,
	} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "x.go", "package x; "+source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{},
			Selections: map[*ast.SelectorExpr]*types.Selection{}}
		pkg, err := (&types.Config{Importer: importer.ForCompiler(fset, "source", nil), Error: func(error) {}}).Check("x", fset, []*ast.File{file}, info)
		if err != nil && !strings.Contains(err.Error(), "declared and not used") {
			t.Fatalf("%s: %v", source, err)
		}
		if got := packageState([]*ast.File{file}, pkg, info); len(got) != want {
			t.Errorf("%s: %v, want %d faults", source, got, want)
		}
	}
}
