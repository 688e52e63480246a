//go:build promtool

package exporter_test

import (
	"os/exec"
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
