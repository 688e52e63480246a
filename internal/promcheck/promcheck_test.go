// Package promcheck_test holds every expression that is given to users, in dashboards, in rules and on the page of metrics, against
// Prometheus' own parser and against the metrics and labels of docs/metrics.md, which a test of the exporter holds against the program.
// It is a module of its own, so that Prometheus stays out of the program's go.mod, and is run by make expressions.
package promcheck_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const root = "../../"

// prometheus parses as Debian's Prometheus 2.42 does: without what is experimental.
var prometheus = parser.NewParser(parser.Options{})

// A catalogue is what may stand in an expression: metrics with their labels and, where these are a closed set, their values; nil else.
// Those that Prometheus adds to all are not in it.
type catalogue map[string]map[string][]string

// foreign are the metrics that rules and dashboards need of others: Prometheus, client_golang.
func foreign() catalogue {
	return catalogue{
		"up":                                   nil,
		"scrape_duration_seconds":              nil,
		"scrape_samples_scraped":               nil,
		"process_start_time_seconds":           nil,
		"process_cpu_seconds_total":            nil,
		"process_resident_memory_bytes":        nil,
		"go_memstats_heap_alloc_bytes":         nil,
		"promhttp_metric_handler_errors_total": {"cause": {"gathering", "encoding"}},
	}
}

var (
	metricSection = regexp.MustCompile(`(?m)^### (pushdoctor_\w+)\n\n(Counter|Gauge|Histogram); ([^.]*)\.`)
	quoted        = regexp.MustCompile("`([^`]+)`")
)

// read returns the text of a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// metrics returns what docs/metrics.md says that there is.
func metrics(t *testing.T) catalogue {
	t.Helper()
	page := read(t, "docs/metrics.md")
	head, _, _ := strings.Cut(page, "\n### ")
	known := foreign()
	for part := range strings.SplitSeq(page, "\n### ") {
		m := metricSection.FindStringSubmatch("### " + part)
		if m == nil {
			continue
		}
		name, kind, of := m[1], m[2], map[string][]string{}
		for _, q := range quoted.FindAllStringSubmatch(m[3], -1) {
			of[q[1]] = values(head, part, q[1])
		}
		known[name] = of
		if kind == "Histogram" {
			delete(known, name) // Debian's Prometheus has no native histograms unless it is told to
			known[name+"_count"], known[name+"_sum"], known[name+"_bucket"] = of, of, maps.Clone(of)
			known[name+"_bucket"]["le"] = nil
		}
	}
	if len(known) < 30 {
		t.Fatalf("docs/metrics.md: %d metrics found", len(known))
	}
	return known
}

// values returns those of a label whose values are a closed set: a list in the metric's section has them, or the table in the head of the page.
func values(head, section, label string) (all []string) {
	text := regexp.MustCompile("(?m)^- `" + label + "`: .*(\n  \\S.*)*").FindString(section)
	if text == "" && (label == "cause" || label == "registry") {
		text = regexp.MustCompile("(?m)^\\| `" + label + "` \\|.*").FindString(head)
	}
	for i, q := range quoted.FindAllStringSubmatch(text, -1) {
		if i > 0 { // the first is the label
			all = append(all, q[1])
		}
	}
	return all
}

// check returns what is wrong with an expression, and the labels that may be on its result.
func (known catalogue) check(expr string) (result map[string][]string, faults []string) {
	parsed, err := prometheus.ParseExpr(expr)
	if err != nil {
		return nil, []string{err.Error()}
	}
	return known.within(parsed, &faults), faults
}

// within returns the labels that may be on a node's result, and adds to faults.
func (known catalogue) within(node parser.Node, faults *[]string) map[string][]string {
	has := map[string][]string{}
	for child := range parser.ChildrenIter(node) {
		maps.Copy(has, known.within(child, faults))
	}
	want := func(names []string, what string, among map[string][]string) {
		for _, n := range names {
			if _, ok := among[n]; !ok {
				*faults = append(*faults, fmt.Sprintf("%s: no label %s in %s", what, n, node))
			}
		}
	}
	switch n := node.(type) {
	case *parser.VectorSelector:
		of, ok := known[n.Name]
		if !ok {
			*faults = append(*faults, fmt.Sprintf("no metric %q", n.Name))
			return has
		}
		maps.Copy(has, of)
		for _, l := range []string{"job", "instance", "__name__"} {
			has[l] = nil
		}
		for _, m := range n.LabelMatchers {
			want([]string{m.Name}, "matcher", has)
			*faults = append(*faults, unlikely(m, has[m.Name])...)
		}
	case *parser.AggregateExpr:
		want(n.Grouping, "grouping", has)
		switch {
		case n.Op == parser.TOPK || n.Op == parser.BOTTOMK:
		case n.Without:
			maps.DeleteFunc(has, func(l string, _ []string) bool { return slices.Contains(n.Grouping, l) })
		default:
			maps.DeleteFunc(has, func(l string, _ []string) bool { return !slices.Contains(n.Grouping, l) })
		}
	case *parser.BinaryExpr:
		if n.VectorMatching == nil {
			break
		}
		var ignore []string
		left, right := known.within(n.LHS, &ignore), known.within(n.RHS, &ignore)
		want(n.VectorMatching.MatchingLabels, "left of on", left)
		want(n.VectorMatching.MatchingLabels, "right of on", right)
		switch n.VectorMatching.Card {
		case parser.CardManyToOne:
			want(n.VectorMatching.Include, "group_left", right)
			has = left
			for _, l := range n.VectorMatching.Include {
				has[l] = right[l]
			}
		case parser.CardManyToMany:
			if n.Op != parser.LOR {
				has = left
			}
		}
	}
	return has
}

// unlikely tells the values that a matcher asks for and no series has. Those with a variable or an expression in them may be any.
func unlikely(m *labels.Matcher, values []string) (faults []string) {
	if values == nil {
		return nil
	}
	for value := range strings.SplitSeq(m.Value, "|") {
		if !slices.Contains(values, value) && !strings.ContainsAny(value, "$.*") {
			faults = append(faults, fmt.Sprintf("no %s %q in %s", m.Name, value, m))
		}
	}
	return faults
}

// Red where check takes anything.
func TestCheck(t *testing.T) {
	known := metrics(t)
	for _, test := range []struct{ expr, want string }{
		{`sum by (cause) (increase(pushdoctor_push_failures_total{job="x", status="403", registry=~"ghcr|quay"}[1h]))`, ""},
		{`pushdoctor_push_failures`, `no metric "pushdoctor_push_failures"`},
		{`sum by (image) (pushdoctor_push_broken)`, `grouping: no label image in sum by (image) (pushdoctor_push_broken)`},
		{`pushdoctor_registry_incident{cause="timeout"}`, `matcher: no label cause in pushdoctor_registry_incident{cause="timeout"}`},
		{`pushdoctor_push_broken{cause=~"timeout|rate_limit"}`, `no cause "rate_limit" in cause=~"timeout|rate_limit"`},
		{`pushdoctor_pushes_total{result="retry"}`, `no result "retry" in result="retry"`},
		{`sum by (le) (sum(pushdoctor_time_to_recovery_seconds_bucket))`, `grouping: no label le in sum by (le) (sum(pushdoctor_time_to_recovery_seconds_bucket))`},
		{`pushdoctor_time_to_recovery_seconds`, `no metric "pushdoctor_time_to_recovery_seconds"`},
		{
			`pushdoctor_push_broken * on (cause) group_left (name) pushdoctor_cause_info`,
			`group_left: no label name in pushdoctor_push_broken * on (cause) group_left (name) pushdoctor_cause_info`,
		},
		{`rate(pushdoctor_runs_total)`, `1:6: parse error: expected type range vector in call to function "rate", got instant vector`},
	} {
		_, faults := known.check(test.expr)
		if got := strings.Join(faults, "\n"); got != test.want {
			t.Errorf("%s\n got: %s\nwant: %s", test.expr, got, test.want)
		}
	}
}

// Red where a query on a page cannot be read or asks for what is not there.
func TestPages(t *testing.T) {
	known := metrics(t)
	for _, name := range []string{"docs/metrics.md", "docs/groups.md", "docs/history.md"} {
		found := 0
		for line := range strings.Lines(read(t, name)) {
			query, ok := strings.CutPrefix(line, "    ")
			if query = strings.TrimSpace(query); !ok || !strings.Contains(query, "pushdoctor_") {
				continue
			}
			found++
			_, faults := known.check(query)
			for _, fault := range faults {
				t.Errorf("%s: %s: %s", name, query, fault)
			}
		}
		if found == 0 {
			t.Errorf("%s: no query found", name)
		}
	}
}
