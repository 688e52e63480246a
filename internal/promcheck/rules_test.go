package promcheck_test

import (
	"testing"

	"github.com/goccy/go-yaml"
)

// Red where a rule asks for a metric, a label or a value of one that the exporter does not have, for it would be silent for ever; and where a test of
// the rules stands on a series that no exporter has, for it would pass for nothing.
func TestRules(t *testing.T) {
	known := metrics(t)
	var rules struct {
		Groups []struct {
			Rules []struct{ Record, Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "configs/prometheus/rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			result, faults := known.check(rule.Expr)
			for _, fault := range faults {
				t.Errorf("%s%s: %s", rule.Record, rule.Alert, fault)
			}
			if rule.Record != "" {
				known[rule.Record] = result
			}
		}
	}

	var tests struct {
		Tests []struct {
			Name        string
			InputSeries []struct{ Series string } `yaml:"input_series"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "configs/prometheus/rules_test.yaml")), &tests); err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, test := range tests.Tests {
		for _, in := range test.InputSeries {
			series++
			_, faults := known.check(in.Series)
			for _, fault := range faults {
				t.Errorf("%s: %s", test.Name, fault)
			}
		}
	}
	if len(rules.Groups) == 0 || series < 40 {
		t.Errorf("%d groups of rules, %d series of their tests found", len(rules.Groups), series)
	}
}
