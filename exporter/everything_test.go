package exporter_test

import (
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// everything returns a service in which each metric has a series, and each label that takes few values has all that
// can come of a reading.
func everything(t *testing.T) *service {
	t.Helper()
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	cured := failure(429, pushdoctor.CauseRateLimited)
	cured.Recovered = true
	first := findings(failure(403, pushdoctor.CausePermissionDenied), cured)
	first.Pushed = map[pushdoctor.Registry]int{pushdoctor.RegistryGHCR: 2}
	s.read(t, 1, "image.yml", time.Hour, first)
	s.read(t, 1, "image.yml", time.Hour, on("main", findings(failure(403, pushdoctor.CausePermissionDenied))))
	s.read(t, 1, "image.yml", 2*time.Hour, on("main", store.Reading{}, "ghcr.io/octo-lab/api:dev")) // a recovery
	s.read(t, 1, "image.yml", time.Since(start), on("main", findings(failure(0, pushdoctor.CausePermissionDenied))))
	for _, r := range store.Results {
		s.read(t, 1, "image.yml", time.Hour, store.Reading{Result: r})
	}
	if err := s.db.CountRuns(1, []pushdoctor.Run{{RepositoryID: 1, ID: 1, Attempt: 1, Workflow: "image.yml", WorkflowName: "Build", Conclusion: "failure", UpdatedAt: start}}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.CountError("octo-lab/api", "not_found"); err != nil {
		t.Fatal(err)
	}
	s.Collected("octo-lab/api", exporter.Collection{At: start, Oldest: start, Pending: 1})
	s.Exchange(exporter.Exchange{
		Endpoint: "runs", Code: 200, Credential: "token", Resource: "core", Limit: 5000, Remaining: 4999, Reset: start, Expires: start.Add(30 * 24 * time.Hour), Duration: time.Second,
	})
	s.Diagnosed(time.Second)
	s.now = time.Now().Add(birth)
	return s
}
