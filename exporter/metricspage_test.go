package exporter_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	// Whatever is said of a value in brackets, and after the list, names no value.
	asides = regexp.MustCompile(`\([^()]*\)|\. .*|: who .*`)
)

func quotedIn(s string) (all []string) {
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		all = append(all, m[1])
	}
	return all
}

// values returns those that a page names for a label, "- `LABEL`: `VALUE`, ..." with the lines that go on it, or in the table
// "| `LABEL` | `VALUE`, ... |".
func values(text, label string) []string {
	item := regexp.MustCompile("(?m)^- `" + label + "`: (.*(?:\n  \\S.*)*)").FindStringSubmatch(text)
	if item == nil {
		item = regexp.MustCompile("(?m)^\\| `" + label + "` \\| (.*) \\|$").FindStringSubmatch(text)
	}
	if item == nil {
		return nil
	}
	return quotedIn(asides.ReplaceAllString(strings.ReplaceAll(item[1], "\n", " "), ""))
}

// A metric that docs/metrics.md does not have, or has and the exporter does not, turns this red; and so does another kind, help text, label, or value
// of a label that is a closed set, and a metric without a query. The queries are checked by make expressions.
func TestMetricsPage(t *testing.T) {
	c := newCatalogue(t)
	data, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	sections := map[string]string{}
	for _, part := range strings.Split(page, "\n### ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		sections[name] = text
	}
	for name, m := range c {
		if !strings.HasPrefix(name, "pushdoctor_") {
			continue
		}
		text, ok := sections[name]
		if !ok {
			t.Errorf("no section ### %s", name)
			continue
		}
		delete(sections, name)
		flat := strings.Join(strings.Fields(text), " ")
		head, said, _ := strings.Cut(flat, ". ")
		kind, labels, _ := strings.Cut(head, "; ")
		if got, want := strings.ToLower(kind), m.kind; got != want {
			t.Errorf("%s is said to be a %s, and is a %s", name, got, want)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(m.labels)), slices.Sorted(slices.Values(quotedIn(labels)))); diff != "" {
			t.Errorf("%s: labels (-want +got)\n%s", name, diff)
		}
		if !strings.HasPrefix(said, m.help) {
			t.Errorf("%s: the page begins %.80q, and the help text is %q", name, said, m.help)
		}
		for label, want := range m.labels {
			if want == nil {
				continue
			}
			got := values(text, label)
			if got == nil {
				got = values(page[:strings.Index(page, "\n### ")], label)
			}
			if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
				t.Errorf("%s: values of %s (-want +got)\n%s", name, label, diff)
			}
		}
		asked := false
		for line := range strings.Lines(text) {
			if query, ok := strings.CutPrefix(line, "    "); ok {
				asked = asked || strings.Contains(query, name)
			}
		}
		if !asked {
			t.Errorf("%s: no query", name)
		}
	}
	for name := range sections {
		t.Errorf("there is no metric %s", name)
	}
}
