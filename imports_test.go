package pushdoctor_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/akkospace/pushdoctor"

// packages says for each package what it may import: packages of ours, and other
// modules. A module in one row only has one owner. A pure package turns values into
// values, and may not touch the world either.
var packages = map[string]struct {
	ours, modules []string
	pure          bool
}{
	".":          {pure: true},
	"redact":     {pure: true},
	"parser":     {ours: []string{"."}, pure: true},
	"classifier": {ours: []string{".", "parser", "redact"}, modules: []string{"github.com/goccy/go-yaml"}, pure: true},
	"remedy":     {ours: []string{"."}, modules: []string{"github.com/distribution/reference", "github.com/goccy/go-yaml"}, pure: true},
	"configs":    {modules: []string{"github.com/go-viper/mapstructure", "github.com/prometheus/common", "github.com/spf13/viper", "go.yaml.in/yaml"}},
	"actions": {
		ours:    []string{".", "redact"},
		modules: []string{"github.com/bradleyfalzon/ghinstallation", "github.com/golang-jwt/jwt", "github.com/google/go-github"},
	},
	"store": {ours: []string{"."}, modules: []string{"go.etcd.io/bbolt"}},
	"exporter": {
		ours:    []string{".", "store"},
		modules: []string{"github.com/go-logr/logr", "github.com/prometheus/client_golang", "github.com/prometheus/client_model", "go.opentelemetry.io/contrib/bridges/prometheus", "go.opentelemetry.io/otel"},
	},
	"web": {
		ours:    []string{".", "redact", "remedy", "store"},
		modules: []string{"github.com/prometheus/common", "github.com/prometheus/exporter-toolkit"},
	},
	"samples":             {pure: true},
	"internal/fakegithub": {ours: []string{"."}},
	"cmd/collector": {
		ours: []string{
			".", "actions", "classifier", "configs", "exporter", "internal/fakegithub", "parser", "redact", "remedy", "samples", "store", "web",
		},
		modules: []string{"github.com/prometheus/common", "github.com/spf13/cobra", "golang.org/x/sync"},
	},
}

// world holds what a pure package must not import, with all below it but for innocent.
var (
	world    = []string{"crypto/rand", "log", "math/rand", "net", "os", "syscall"}
	innocent = []string{"net/netip", "net/url"}
)

// clock holds the functions of package time that read the clock or wait.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// A package that imports what its row does not name turns this red, and so do a pure
// package that reads the clock or starts a goroutine, a package without a row, and a
// row whose package is gone. Tests are free: they need real files and servers.
//
// The files are read here and not by go list: the test cache knows what this process
// opens, not what a child of it does, and would go on to pass after a bad import.
func TestImports(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && file != "." && (name == "testdata" || name[0] == '.' || name[0] == '_') {
			return fs.SkipDir // as the go command does
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		seen[pkg] = true
		row, ok := packages[pkg]
		if !ok {
			t.Errorf("%s: package %s has no row", file, pkg)
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !mayImport(imp, row.ours, row.modules, row.pure) {
				t.Errorf("%s: package %s may not import %s", fset.Position(spec.Pos()), pkg, imp)
			}
		}
		if row.pure {
			ast.Inspect(f, func(n ast.Node) bool {
				if what := impure(n); what != "" {
					t.Errorf("%s: package %s is pure and %s", fset.Position(n.Pos()), pkg, what)
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		if !seen[pkg] {
			t.Errorf("package %s has a row and no files", pkg)
		}
	}
}

func mayImport(imp string, ours, modules []string, pure bool) bool {
	within := func(root string) bool { return strings.HasPrefix(imp+"/", root+"/") }
	first, _, _ := strings.Cut(imp, "/")
	switch {
	case within(module):
		return slices.Contains(ours, path.Clean(strings.TrimPrefix(imp+"/", module+"/")))
	case strings.Contains(first, "."): // not of the standard library
		return slices.ContainsFunc(modules, within)
	}
	return !pure || !slices.ContainsFunc(world, within) || slices.Contains(innocent, imp)
}

// impure says what makes n impure, and "" of nearly every node.
func impure(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
			return "calls time." + n.Sel.Name
		}
	}
	return ""
}
