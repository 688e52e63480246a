//go:build promtool

package exporter_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// A metric whose name, unit, type or help Prometheus' own linter finds fault with turns this red. It needs promtool, of
// Debian's package prometheus.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v; install the package prometheus", err)
	}
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	cured := failure(429, pushdoctor.CauseRateLimited)
	cured.Recovered = true
	s.read(t, 1, "image.yml", time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied), cured))
	s.read(t, 1, "image.yml", time.Hour, on("main", findings(failure(403, pushdoctor.CausePermissionDenied))))
	s.read(t, 1, "image.yml", 2*time.Hour, on("main", store.Reading{}, "ghcr.io/octo-lab/api:dev")) // a recovery
	s.read(t, 1, "image.yml", time.Since(start), on("main", findings(failure(403, pushdoctor.CausePermissionDenied))))
	if err := s.db.CountRuns(1, []pushdoctor.Run{{RepositoryID: 1, ID: 1, Attempt: 1, Conclusion: "failure", UpdatedAt: start}}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.CountError("octo-lab/api", "not_found"); err != nil {
		t.Fatal(err)
	}
	s.Workflow("octo-lab/api", "image.yml", "Build")
	s.Collected("octo-lab/api", exporter.Collection{At: start, Oldest: start, Pending: 1})
	s.Exchange("runs", 200, "token", "core", 5000, 4999, start, time.Second)
	s.Diagnosed(time.Second)
	s.now = time.Now().Add(birth)

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
