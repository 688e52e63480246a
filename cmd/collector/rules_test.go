package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/akkospace/pushdoctor/classifier"
	"github.com/google/go-cmp/cmp"
)

const goodRules = `rules:
  - id: own-maintenance
    literal: "registry is in maintenance"
    anchor: answer
    cause: registry_unavailable
    why: Our registry says so on Sundays.
    match: ["ERROR: failed to push registry.example.test/api:dev: registry is in maintenance until noon"]
    miss: ["the registry is open"]
`

const fiveFaults = `rules:
  - id: own-one
    literal: "forbidden by us"
    cause: no_such_cause
    why: x
    match: ["forbidden by us"]
    miss: ["allowed"]
  - id: own-two
    literal: "short"
    cause: policy_denied
    why: x
    match: ["short"]
    miss: ["long"]
  - id: own-three
    literal: "refused by the gate"
    when: {registri: [ghcr]}
    cause: policy_denied
    why: x
    match: ["refused by the gate"]
    miss: ["let in"]
  - id: own-four
    literal: "stopped at the door"
    read: "("
    cause: policy_denied
    why: x
    match: ["stopped at the door"]
    miss: ["let in"]
  - id: own-five
    literal: "turned away at noon"
    when: {registry: [nowhere]}
    cause: policy_denied
    why: x
    match: ["turned away at noon"]
    miss: ["let in"]
`

// Red where only the first fault is told, where one has no place, or where a bad file keeps the good ones unchecked.
func TestRulesCheck(t *testing.T) {
	write(t, map[string]string{"good.yaml": goodRules, "bad.yaml": fiveFaults})
	got := call{args: []string{"rules", "check", "bad.yaml", "good.yaml"}}.run(t)
	var rules []string
	for line := range strings.Lines(got.stdout) {
		if m := regexp.MustCompile(`^bad\.yaml:\d+:\d+: (?:rule )?(own-\w+): .+\n$`).FindStringSubmatch(line); m != nil {
			rules = append(rules, m[1])
		}
	}
	if diff := cmp.Diff([]string{"own-one", "own-two", "own-three", "own-four", "own-five"}, rules); diff != "" || got.status != 1 {
		t.Errorf("status %d, rules with a fault (-want +got):\n%s\n%s", got.status, diff, got.stdout)
	}
	if !strings.HasSuffix(got.stdout, "\ngood.yaml: 2 examples, no fault\n") {
		t.Errorf("good.yaml:\n%s", got.stdout)
	}
	if got := (call{args: []string{"diagnose", "--rules", "bad.yaml", "good.yaml"}}).run(t); got.status != 2 || strings.Count(got.stderr, "\nbad.yaml:") != 5 {
		t.Errorf("diagnose with bad rules: %+v", got)
	}
}

// Red where the status does not tell a fault from a file that was not read, or ids that two files share pass.
func TestRulesCheckStatus(t *testing.T) {
	write(t, map[string]string{"good.yaml": goodRules, "twin.yaml": goodRules, "miss.yaml": strings.Replace(goodRules, `miss: ["the`, `miss: ["ERROR: failed to push registry.example.test/api:dev: the registry is in maintenance", "the`, 1),
		"big.yaml": strings.Repeat("# "+strings.Repeat("x", 98)+"\n", 11_000)})
	if err := os.Mkdir("folder.yaml", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   string
		status int
		want   string // in stdout or stderr
	}{
		{"good.yaml", 0, "good.yaml: 2 examples, no fault\n"},
		{"miss.yaml", 1, "miss.yaml:"},
		{"good.yaml twin.yaml", 1, "own-maintenance"},
		{"none.yaml good.yaml", 2, "pushdoctor: rule file none.yaml: there is no such file or folder\n"},
		{"folder.yaml", 2, "pushdoctor: rule file folder.yaml: is a directory\n"},
		{"big.yaml", 2, "pushdoctor: rule file big.yaml: it is over 1 MB, which no rule file is\n"},
	} {
		got := call{args: append([]string{"rules", "check"}, strings.Fields(test.args)...)}.run(t)
		if got.status != test.status || !strings.Contains(got.stdout+got.stderr, test.want) {
			t.Errorf("rules check %s: %+v", test.args, got)
		}
	}
}

// Red where the list leaves a rule out, or its formats differ.
func TestRulesList(t *testing.T) {
	want := classifier.Builtin().List()
	var got []classifier.Rule
	e := call{args: []string{"rules", "list", "--format", "json"}}.run(t)
	for line := range strings.Lines(e.stdout) {
		var r classifier.Rule
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	table := strings.Split(strings.TrimSpace(call{args: []string{"rules", "list"}}.run(t).stdout), "\n")
	if len(table) != len(want)+1 || !strings.HasPrefix(table[1], want[0].ID+" ") {
		t.Errorf("%d lines for %d rules:\n%s", len(table), len(want), table[1])
	}
}

// Red where a configuration's faults come one at a time, or by the wrong status; the wording is that of package configs.
func TestConfigCheck(t *testing.T) {
	write(t, map[string]string{
		"good.yaml": "collect:\n  interval: 2m\n",
		"bad.yaml":  "github: {url: \"http://github.example.test\", reserve: 1.5}\nrepositories: [octo-lab]\ncollect: {interval: 30, conclusions: [timedout]}\n",
	})
	check := func(env []string, args ...string) end {
		return call{args: append([]string{"config", "check"}, args...), env: env}.run(t)
	}
	got := check(nil, "--config", "bad.yaml")
	for _, key := range []string{"github.url", "github.reserve", "repositories", "collect.interval", "collect.conclusions"} {
		if !regexp.MustCompile(`(?m)^bad\.yaml:\d+: ` + regexp.QuoteMeta(key)).MatchString(got.stdout) {
			t.Errorf("nothing is said of %s", key)
		}
	}
	if got.status != 1 || strings.Count(got.stdout, "\n") != 5 {
		t.Errorf("%+v", got)
	}
	if got := check(nil, "--config", "good.yaml"); got.status != 0 || got.stdout != "good.yaml: no fault\n" {
		t.Errorf("%+v", got)
	}
	if got := check(nil); got.status != 0 || got.stdout != "defaults and environment: no fault\n" {
		t.Errorf("%+v", got)
	}
	if got := check([]string{"PUSHDOCTOR_COLLECT_INTERVAL=often"}); got.status != 1 || !strings.Contains(got.stdout, "PUSHDOCTOR_COLLECT_INTERVAL") {
		t.Errorf("%+v", got)
	}
	if got := check(nil, "--config", "none.yaml"); got.status != 2 || !strings.Contains(got.stderr, "none.yaml") {
		t.Errorf("%+v", got)
	}
	if got := (call{args: []string{"diagnose", "--config", "bad.yaml", "good.yaml"}}).run(t); got.status != 2 || strings.Count(got.stderr, "\nbad.yaml:") != 5 {
		t.Errorf("diagnose with a bad configuration: %+v", got)
	}
}
