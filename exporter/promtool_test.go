//go:build promtool

package exporter_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A metric whose name, unit, type or help Prometheus' own linter finds fault with turns this red. It needs promtool, of
// Debian's package prometheus.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v; install the package prometheus", err)
	}
	s := everything(t)
	var ours []string
	for line := range strings.Lines(s.page(t, "")) {
		if strings.Contains(line, "pushdoctor_") { // promhttp's own metrics have no say in this
			ours = append(ours, line)
		}
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(strings.Join(ours, ""))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// A query of docs/metrics.md that Prometheus cannot parse turns this red: promtool knows the grammar, of rules.
func TestQueriesOfMetricsPage(t *testing.T) {
	data, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := []byte("groups:\n  - name: queries\n    rules:\n")
	for line := range strings.Lines(string(data)) {
		if query, ok := strings.CutPrefix(line, "    "); ok {
			rules = fmt.Appendf(rules, "      - {record: query, labels: {line: '%d'}, expr: %q}\n", len(rules), strings.TrimSpace(query))
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, rules, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", "--lint=none", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, rules)
	}
}
