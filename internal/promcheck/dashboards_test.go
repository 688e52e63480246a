package promcheck_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Grafana's variables as Prometheus would get them. Those in quotes may stand as they are.
var grafana = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m")

var (
	labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	legendParts = regexp.MustCompile(`{{\s*(\w+)\s*}}`)
)

// A query is what a panel, an annotation or a variable asks.
type query struct {
	expr   string
	labels []string // which it is shown by
}

// queries finds all in a part of a dashboard, however deep.
func queries(part any) (all []query) {
	switch part := part.(type) {
	case []any:
		for _, p := range part {
			all = append(all, queries(p)...)
		}
	case map[string]any:
		legend, _ := part["legendFormat"].(string)
		if target, ok := part["target"].(map[string]any); ok { // of an annotation
			title, _ := part["titleFormat"].(string)
			text, _ := part["textFormat"].(string)
			target["legendFormat"] = title + text
		}
		if expr, ok := part["expr"].(string); ok {
			q := query{expr: expr}
			for _, m := range legendParts.FindAllStringSubmatch(legend, -1) {
				q.labels = append(q.labels, m[1])
			}
			all = append(all, q)
		}
		if text, ok := part["query"].(string); ok {
			if m := labelValues.FindStringSubmatch(text); m != nil {
				all = append(all, query{m[1], []string{m[2]}})
			}
		}
		for _, p := range part {
			all = append(all, queries(p)...)
		}
	}
	return all
}

// Red where a dashboard asks for a metric or a label that the exporter does not have, names its series by one, or where Prometheus cannot read an expression.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob(root + "configs/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	known := metrics(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard any
		if err := json.Unmarshal(data, &dashboard); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all := queries(dashboard)
		if len(all) < 10 {
			t.Errorf("%s: %d queries found", file, len(all))
		}
		for _, q := range all {
			result, faults := known.check(grafana.Replace(q.expr))
			for _, fault := range faults {
				t.Errorf("%s: %s: %s", filepath.Base(file), q.expr, fault)
			}
			for _, l := range q.labels {
				if _, ok := result[l]; !ok {
					t.Errorf("%s: %s: it is shown by %s, and has %q", filepath.Base(file), q.expr, l, slices.Sorted(maps.Keys(result)))
				}
			}
		}
	}
}
