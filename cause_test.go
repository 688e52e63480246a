package pushdoctor_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
	"unicode"

	"github.com/akkospace/pushdoctor"
)

// Red where a constant is no member of the closed set, or a cause is told to people by no words, or by those of another one.
func TestCauses(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "cause.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Cause" {
			return true
		}
		declared++
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if c := pushdoctor.Cause(value); !c.Valid() {
			t.Errorf("%s is not one of Causes", c)
		}
		return true
	})
	if declared != len(pushdoctor.Causes) {
		t.Errorf("%d causes declared, %d in Causes", declared, len(pushdoctor.Causes))
	}
	var titles []string
	for _, c := range pushdoctor.Causes {
		title := []rune(c.Title())
		if len(title) < 5 || !unicode.IsUpper(title[0]) || unicode.IsUpper(title[1]) || title[len(title)-1] == '.' || slices.Contains(titles, c.Title()) {
			t.Errorf("the title of %s is %q", c, c.Title())
		}
		titles = append(titles, c.Title())
		if c.Category() == "" || (c.Category() == pushdoctor.CategoryUnknown) != (c == pushdoctor.CauseUnknown) {
			t.Errorf("%s is of the category %q", c, c.Category())
		}
	}
	if c := pushdoctor.Cause("no_such"); c.Valid() || c.Lasting() || c.Title() != pushdoctor.CauseUnknown.Title() {
		t.Errorf("a cause that is none: valid %t, lasting %t, title %q", c.Valid(), c.Lasting(), c.Title())
	}
}
