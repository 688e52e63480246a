// Package prometheus_test looks at the rules and their tests as text. That Prometheus can read the expressions, and that the exporter has what is in
// them, is the matter of make expressions; that alerts fire and resolve, of make alerts.
package prometheus_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/akkospace/pushdoctor"
)

const (
	rulesFile     = "rules.yaml"
	rulesTestFile = "rules_test.yaml"
	root          = "../../"
	repository    = "https://github.com/akkospace/pushdoctor/blob/main/"
)

// A rule is one of configs/prometheus/rules.yaml.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name, Interval string
			Rules          []rule
		}
	}
	load(t, rulesFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no rule", rulesFile)
	}
	return all
}

// load reads a YAML file and refuses keys that v does not have.
func load(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(data, v, yaml.DisallowUnknownField()); err != nil {
		t.Fatalf("%s:\n%v", file, err)
	}
}

// anchors returns the anchors of the headings of a page, as GitHub makes them.
func anchors(t *testing.T, file string) (found []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	drop := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for line := range strings.Lines(string(data)) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			found = append(found, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), ""), " ", "-"))
		}
	}
	return found
}

// An alert that does not say how bad it is, what is wrong and where to read on turns this red, and so does one whose page is not there.
func TestRules(t *testing.T) {
	labelUsed := regexp.MustCompile(`\$labels\.(\w+)`)
	page := regexp.MustCompile(`^` + regexp.QuoteMeta(repository) + `(docs/[a-z]+\.md)#(.+)$`)
	severities := []string{"critical", "info", "warning"}
	sections := anchors(t, root+"docs/operations.md")
	var names []string
	for _, r := range rules(t) {
		if r.Record != "" {
			continue
		}
		names = append(names, strings.ToLower(r.Alert))
		if !strings.HasPrefix(r.Alert, "Pushdoctor") || r.For == "" || !slices.Contains(severities, r.Labels["severity"]) {
			t.Errorf("alert %q, for %q, severity %q", r.Alert, r.For, r.Labels["severity"])
		}
		if got, want := slices.Sorted(maps.Keys(r.Annotations)), []string{"description", "runbook_url", "summary"}; !slices.Equal(got, want) {
			t.Errorf("%s: annotations %q, want %q", r.Alert, got, want)
		}
		if !slices.Contains(sections, strings.ToLower(r.Alert)) {
			t.Errorf("docs/operations.md has no section %s", r.Alert)
		}
		for _, cause := range pushdoctor.Causes {
			url := strings.ReplaceAll(r.Annotations["runbook_url"], "{{ $labels.cause }}", string(cause))
			m := page.FindStringSubmatch(url)
			if m == nil || !slices.Contains(anchors(t, root+m[1]), m[2]) {
				t.Errorf("%s: %s is not there", r.Alert, url)
				break
			}
		}
		for _, text := range r.Annotations {
			for _, m := range labelUsed.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(firingLabels(t, r.Alert), m[1]) {
					t.Errorf("%s speaks of the label %s, which it never has when it fires in %s", r.Alert, m[1], rulesTestFile)
				}
			}
		}
	}
	for _, s := range sections {
		if strings.HasPrefix(s, "pushdoctor") && !slices.Contains(names, s) {
			t.Errorf("docs/operations.md has a section %s, and there is no such alert", s)
		}
	}
	example, err := os.ReadFile("../alertmanager/alertmanager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`Pushdoctor\w+`).FindAllString(string(example), -1) {
		if !slices.Contains(names, strings.ToLower(name)) {
			t.Errorf("the example for Alertmanager names %s, and there is no such alert", name)
		}
	}
}

type ruleTest struct {
	Name, Interval string
	InputSeries    []struct{ Series, Values string } `yaml:"input_series"`
	AlertRuleTest  []struct {
		Alertname string
		EvalTime  string `yaml:"eval_time"`
		ExpAlerts []struct {
			Labels      map[string]string `yaml:"exp_labels"`
			Annotations map[string]string `yaml:"exp_annotations"`
		} `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

func ruleTests(t *testing.T) []ruleTest {
	t.Helper()
	var file struct {
		Rules    []string   `yaml:"rule_files"`
		Interval string     `yaml:"evaluation_interval"`
		Tests    []ruleTest `yaml:"tests"`
	}
	load(t, rulesTestFile, &file)
	return file.Tests
}

// firingLabels returns the labels that an alert has where its tests expect it to fire.
func firingLabels(t *testing.T, alert string) (labels []string) {
	t.Helper()
	for _, test := range ruleTests(t) {
		for _, check := range test.AlertRuleTest {
			for _, a := range check.ExpAlerts {
				if check.Alertname == alert {
					labels = slices.AppendSeq(labels, maps.Keys(a.Labels))
				}
			}
		}
	}
	return labels
}

// An alert that is not seen to fire, to resolve, and to stay silent about something like it turns this red. promtool runs the tests.
func TestRulesAreTested(t *testing.T) {
	seen := map[string][]string{}
	for _, test := range ruleTests(t) {
		var fired, quiet, resolved bool
		name := test.AlertRuleTest[0].Alertname
		for _, check := range test.AlertRuleTest {
			switch fires := len(check.ExpAlerts) > 0; {
			case check.Alertname != name: // in passing
			case fires && resolved:
				t.Errorf("%s: it fires again", test.Name)
			case fires:
				fired = true
			default:
				resolved, quiet = resolved || fired, quiet || !fired
			}
		}
		switch {
		case !strings.HasPrefix(test.Name, name+": "):
			t.Errorf("%s tests %s", test.Name, name)
		case fired && quiet:
			seen[name] = append(seen[name], "fires after a while")
		case !fired:
			seen[name] = append(seen[name], "does not fire")
		}
		if resolved {
			seen[name] = append(seen[name], "resolves")
		}
	}
	for _, r := range rules(t) {
		for _, what := range []string{"fires after a while", "does not fire", "resolves"} {
			if r.Alert != "" && !slices.Contains(seen[r.Alert], what) {
				t.Errorf("no test in which %s %s: %s", r.Alert, what, fmt.Sprint(seen[r.Alert]))
			}
		}
	}
}
