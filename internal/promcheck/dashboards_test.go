package promcheck_test

import (
	"encoding/json"
	"maps"
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
	linkParts   = regexp.MustCompile(`\.labels\.(\w+)`)
)

// A dashboard is what of one depends on the metrics' labels.
type dashboard struct {
	Panels []struct {
		Type            string
		Targets         []target
		Transformations []struct {
			Options struct {
				Include struct{ Names []string }
			}
		}
		FieldConfig struct {
			Defaults  struct{ Links []struct{ URL string } }
			Overrides []struct{ Matcher struct{ Options string } }
		}
	}
	Annotations struct {
		List []struct {
			Target                  *target
			TitleFormat, TextFormat string
		}
	}
	Templating struct {
		List []struct{ Query any }
	}
}

type target struct{ Expr, LegendFormat string }

// A query is what a panel, an annotation or a variable asks.
type query struct {
	expr   string
	labels []string // which are shown of it, or made a link of
	series []string // which have a colour of their own, by the last of labels
}

// parts are the names that a pattern finds in a text.
func parts(of *regexp.Regexp, text string) (all []string) {
	for _, m := range of.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func (d dashboard) queries() (all []query) {
	for _, p := range d.Panels {
		var shown, coloured []string
		for _, tr := range p.Transformations { // columns of a table
			shown = append(shown, slices.DeleteFunc(tr.Options.Include.Names, func(n string) bool { return strings.HasPrefix(n, "Value") })...)
		}
		for _, l := range p.FieldConfig.Defaults.Links {
			shown = append(shown, parts(linkParts, l.URL)...)
		}
		if p.Type == "timeseries" {
			for _, o := range p.FieldConfig.Overrides {
				coloured = append(coloured, o.Matcher.Options)
			}
		}
		for _, q := range p.Targets {
			all = append(all, query{q.Expr, slices.Concat(shown, parts(legendParts, q.LegendFormat)), coloured})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Target != nil && a.Target.Expr != "" {
			all = append(all, query{expr: a.Target.Expr, labels: parts(legendParts, a.TitleFormat+a.TextFormat)})
		}
	}
	for _, v := range d.Templating.List {
		if of, ok := v.Query.(map[string]any); ok {
			m := labelValues.FindStringSubmatch(of["query"].(string))
			all = append(all, query{expr: m[1], labels: m[2:]})
		}
	}
	return all
}

// Red where a dashboard asks for a metric or a label that the exporter does not have, where Prometheus cannot read an expression, where series, columns or
// links are named by a label that a query does not give, and where a series has a colour that there cannot be.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob(root + "configs/grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	known := metrics(t)
	for _, file := range files {
		name := filepath.Base(file)
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, "configs/grafana/dashboards/"+name)), &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all := d.queries()
		if len(all) < 10 {
			t.Errorf("%s: %d queries found", name, len(all))
		}
		for _, q := range all {
			result, faults := known.check(grafana.Replace(q.expr))
			for _, fault := range faults {
				t.Errorf("%s: %s: %s", name, q.expr, fault)
			}
			for _, l := range q.labels {
				if _, ok := result[l]; !ok {
					t.Errorf("%s: %s: it is shown by %s, and has %q", name, q.expr, l, slices.Sorted(maps.Keys(result)))
				}
			}
			for _, s := range q.series {
				if values := result[q.labels[len(q.labels)-1]]; values != nil && !slices.Contains(values, s) {
					t.Errorf("%s: %s: a colour for %s, and there is %q", name, q.expr, s, values)
				}
			}
		}
	}
}
