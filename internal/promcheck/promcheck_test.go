// Package promcheck_test holds every expression that is given to users, in dashboards and in rules, against Prometheus' own parser and
// against the metrics and labels that the exporter has. It is run by make, not by go test ./... of the program.
package promcheck_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
)

// histograms are those of the exporter with buckets for everybody.
var histograms = []string{
	"pushdoctor_diagnose_duration_seconds", "pushdoctor_github_request_duration_seconds", "pushdoctor_time_to_recovery_seconds",
}

// A catalogue is what may stand in an expression: metrics with their labels, without those that Prometheus adds.
type catalogue map[string][]string

// A recorder is a prometheus.Registerer that keeps what is registered.
type recorder struct{ all []prometheus.Collector }

// Register implements prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	r.all = append(r.all, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *recorder) MustRegister(all ...prometheus.Collector) { r.all = append(r.all, all...) }

// Unregister implements prometheus.Registerer.
func (r *recorder) Unregister(prometheus.Collector) bool { return false }

var (
	described   = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", .*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	constLabels = regexp.MustCompile(`(\w+)="`)
)

// metrics returns what a real exporter describes, the metrics of its process, and those that Prometheus makes of each scrape.
func metrics(t *testing.T) catalogue {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "pushdoctor.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	known := catalogue{"up": nil, "scrape_duration_seconds": nil, "scrape_samples_scraped": nil}
	families, err := exporter.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		known[f.GetName()] = nil // their labels are of no use here
	}

	var r recorder
	exporter.New(&r, db, exporter.Options{})
	for _, c := range r.all {
		descs := make(chan *prometheus.Desc)
		go func() {
			c.Describe(descs)
			close(descs)
		}()
		for d := range descs {
			m := described.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("client_golang describes a metric in another way: %s", d)
			}
			var names []string
			for _, l := range constLabels.FindAllStringSubmatch(m[2], -1) {
				names = append(names, l[1])
			}
			if m[3] != "" {
				names = append(names, strings.Split(m[3], ",")...)
			}
			known[m[1]] = names
		}
	}
	for _, h := range histograms {
		of, ok := known[h]
		if !ok {
			t.Fatalf("the exporter has no %s", h)
		}
		known[h+"_bucket"] = append([]string{"le"}, of...)
		known[h+"_count"], known[h+"_sum"] = of, of
		delete(known, h) // Debian's Prometheus has no native histograms unless it is told to
	}
	return known
}

// check returns what is wrong with an expression, and the labels that may be on its result.
func (known catalogue) check(expr string) (result []string, faults []string) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, []string{err.Error()}
	}
	had := known.within(parsed, &faults)
	return slices.Sorted(maps.Keys(had)), faults
}

// within returns the labels that may be on a node's result, and adds to faults.
func (known catalogue) within(node parser.Node, faults *[]string) map[string]bool {
	has := map[string]bool{}
	for child := range parser.ChildrenIter(node) {
		maps.Copy(has, known.within(child, faults))
	}
	want := func(names []string, what string, among map[string]bool) {
		for _, n := range names {
			if !among[n] {
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
		for _, l := range append([]string{"job", "instance", "__name__"}, of...) {
			has[l] = true
		}
		for _, m := range n.LabelMatchers {
			want([]string{m.Name}, "matcher", has)
		}
	case *parser.AggregateExpr:
		want(n.Grouping, "grouping", has)
		switch {
		case n.Op == parser.TOPK || n.Op == parser.BOTTOMK:
		case n.Without:
			maps.DeleteFunc(has, func(l string, _ bool) bool { return slices.Contains(n.Grouping, l) })
		default:
			maps.DeleteFunc(has, func(l string, _ bool) bool { return !slices.Contains(n.Grouping, l) })
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
				has[l] = true
			}
		case parser.CardManyToMany:
			if n.Op != parser.LOR {
				has = left
			}
		}
	}
	return has
}

// Red where check takes anything.
func TestCheck(t *testing.T) {
	known := metrics(t)
	for _, test := range []struct{ expr, want string }{
		{`sum by (cause) (increase(pushdoctor_push_failures_total{job="x", status="403"}[1h]))`, ""},
		{`pushdoctor_push_failures`, `no metric "pushdoctor_push_failures"`},
		{`sum by (image) (pushdoctor_push_broken)`, `grouping: no label image in sum by (image) (pushdoctor_push_broken)`},
		{`pushdoctor_registry_incident{cause="timeout"}`, `matcher: no label cause in pushdoctor_registry_incident{cause="timeout"}`},
		{`sum by (le) (sum(pushdoctor_time_to_recovery_seconds_bucket))`, `grouping: no label le in sum by (le) (sum(pushdoctor_time_to_recovery_seconds_bucket))`},
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
