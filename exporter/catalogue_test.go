package exporter_test

import (
	"slices"
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
