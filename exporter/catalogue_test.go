package exporter_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
)

// A catalogue holds the metrics of a service, by name.
type catalogue map[string]*metric

type metric struct {
	kind, help string
	labels     map[string][]string // with all their values, where these are a closed set; nil else
}

// closed are the labels whose values are a closed set, of which a service tells all.
var closed = []string{"cause", "category", "lasting", "registry", "result", "event"}

// newCatalogue returns the catalogue of everything, with the metrics of the Go runtime, of the process and of promhttp.
func newCatalogue(t *testing.T) catalogue {
	t.Helper()
	s := everything(t)
	s.page(t, "") // registers promhttp's
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := exporter.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	c := catalogue{}
	for _, f := range slices.Concat(families, runtime) {
		m := &metric{kind: strings.ToLower(f.GetType().String()), help: f.GetHelp(), labels: map[string][]string{}}
		c[f.GetName()] = m
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				m.add(l.GetName(), l.GetValue())
			}
		}
		if !strings.HasPrefix(f.GetName(), "pushdoctor_") {
			continue
		}
		for label := range m.labels {
			switch label {
			case "cause":
				m.labels[label] = words(pushdoctor.Causes)
			case "registry":
				m.labels[label] = words(pushdoctor.Registries)
			}
		}
	}
	return c
}

func (m *metric) add(label, value string) {
	if !slices.Contains(closed, label) {
		m.labels[label] = nil
	} else if !slices.Contains(m.labels[label], value) {
		m.labels[label] = append(m.labels[label], value)
	}
}

func words[T ~string](set []T) (out []string) {
	for _, v := range set {
		out = append(out, string(v))
	}
	return out
}

// find returns the metric of a name in an expression, which may be a part of a histogram.
func (c catalogue) find(name string) *metric {
	if m := c[name]; m != nil && m.kind != "histogram" {
		return m
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, part)
		if m := c[base]; ok && m != nil && m.kind == "histogram" {
			if part != "_bucket" {
				return m
			}
			with := &metric{labels: maps.Clone(m.labels)}
			with.labels["le"] = nil
			return with
		}
	}
	return nil
}

// target are the labels that Prometheus puts on whatever it scrapes.
var target = []string{"job", "instance"}

// faults says what in an expression no series can fit.
func (c catalogue) faults(expr string) (faults []string) {
	e, err := promql(expr)
	if err != nil {
		return []string{err.Error()}
	}
	known := slices.Clone(target)
	for _, s := range e.selectors {
		m := c.find(s.metric)
		if m == nil {
			faults = append(faults, "there is no metric "+s.metric)
			continue
		}
		known = slices.AppendSeq(known, maps.Keys(m.labels))
		for _, match := range s.matchers {
			if slices.Contains(target, match.label) {
				continue
			}
			values, ok := m.labels[match.label]
			if !ok {
				faults = append(faults, fmt.Sprintf("%s has no label %s", s.metric, match.label))
			}
			for value := range strings.SplitSeq(match.value, "|") {
				if values != nil && !slices.Contains(values, value) && !strings.ContainsAny(value, "$.*") {
					faults = append(faults, fmt.Sprintf("%s has no %s %s", s.metric, match.label, strconv.Quote(value)))
				}
			}
		}
	}
	for _, l := range e.labels {
		if !slices.Contains(known, l) {
			faults = append(faults, "no metric in it has the label "+l)
		}
	}
	return faults
}

// record adds what a recording rule makes: it may have each label of what it is made of.
func (c catalogue) record(name, expr string) {
	m := &metric{kind: "recorded", labels: map[string][]string{}}
	e, err := promql(expr)
	if err != nil {
		return // faults tells it
	}
	for _, s := range e.selectors {
		if from := c.find(s.metric); from != nil {
			maps.Copy(m.labels, from.labels)
		}
	}
	c[name] = m
}

// An expression that asks for what no series has must be told.
func TestCatalogue(t *testing.T) {
	c := newCatalogue(t)
	c.record("job:pushes:sum", `sum by (job, registry) (pushdoctor_pushes_total)`)
	for _, test := range []struct {
		expr string
		want []string
	}{
		{`sum by (cause) (rate(pushdoctor_push_failures_total{registry=~"ghcr|quay", repository="octo-lab/api"}[5m]))`, nil},
		{`histogram_quantile(0.9, sum by (le) (rate(pushdoctor_diagnose_duration_seconds_bucket[5m])))`, nil},
		{`job:pushes:sum{registry="ghcr"} and on (job) up_total`, []string{"there is no metric up_total"}},
		{`pushdoctor_push_failure_total`, []string{"there is no metric pushdoctor_push_failure_total"}},
		{`pushdoctor_diagnose_duration_seconds`, []string{"there is no metric pushdoctor_diagnose_duration_seconds"}},
		{`pushdoctor_push_broken{status="403"}`, []string{"pushdoctor_push_broken has no label status"}},
		{`pushdoctor_push_broken{cause=~"timeout|rate_limit"}`, []string{`pushdoctor_push_broken has no cause "rate_limit"`}},
		{`job:pushes:sum{registry="docker"}`, []string{`job:pushes:sum has no registry "docker"`}},
		{`sum by (repo) (pushdoctor_push_broken)`, []string{"no metric in it has the label repo"}},
	} {
		if got := c.faults(test.expr); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.expr, got, test.want)
		}
	}
}
