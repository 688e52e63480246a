package exporter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// everything is a service to which all has happened that a metric tells of.
func everything(t *testing.T) *service {
	t.Helper()
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
	return s
}

// metrics are all metrics that design.md promises, with their types and labels. What is exported under another name, as another kind or
// with another label turns this red, and so does what is not exported, or not in this list.
var metrics = []string{
	"pushdoctor_build_info GAUGE goversion revision version",
	"pushdoctor_cause_info GAUGE category cause docs lasting title",
	"pushdoctor_collect_errors_total COUNTER reason repository",
	"pushdoctor_collect_lag_seconds GAUGE repository",
	"pushdoctor_config_last_reload_success_timestamp_seconds GAUGE",
	"pushdoctor_config_last_reload_successful GAUGE",
	"pushdoctor_diagnose_duration_seconds HISTOGRAM",
	"pushdoctor_github_credential_valid GAUGE credential",
	"pushdoctor_github_rate_limit_limit GAUGE credential resource",
	"pushdoctor_github_rate_limit_remaining GAUGE credential resource",
	"pushdoctor_github_rate_limit_reset_timestamp_seconds GAUGE credential resource",
	"pushdoctor_github_request_duration_seconds HISTOGRAM code endpoint",
	"pushdoctor_github_requests_total COUNTER code endpoint",
	"pushdoctor_jobs_read_total COUNTER repository result",
	"pushdoctor_last_collect_timestamp_seconds GAUGE repository",
	"pushdoctor_log_bytes_total COUNTER",
	"pushdoctor_pending_jobs GAUGE repository",
	"pushdoctor_push_broken GAUGE cause ref registry repository workflow",
	"pushdoctor_push_broken_since_timestamp_seconds GAUGE cause ref registry repository workflow",
	"pushdoctor_push_failures_retried_total COUNTER cause registry repository status workflow",
	"pushdoctor_push_failures_total COUNTER cause registry repository status workflow",
	"pushdoctor_pushes_total COUNTER registry repository result workflow",
	"pushdoctor_queue_length GAUGE",
	"pushdoctor_registry_incident GAUGE registry",
	"pushdoctor_runs_total COUNTER conclusion repository workflow",
	"pushdoctor_series_dropped_total COUNTER metric",
	"pushdoctor_store_bytes GAUGE",
	"pushdoctor_time_to_recovery_seconds HISTOGRAM cause registry",
	"pushdoctor_webhook_deliveries_total COUNTER event result",
	"pushdoctor_workflow_info GAUGE name repository workflow",
}

func TestMetrics(t *testing.T) {
	compare(t, gathered(t, everything(t).registry), metrics)
}

// gathered are the metrics of a registry, with their types and labels.
func gathered(t *testing.T, g prometheus.Gatherer) (all []string) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		var labels []string
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					labels = append(labels, l.GetName())
				}
			}
		}
		slices.Sort(labels)
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.GetName(), f.GetType(), strings.Join(labels, " "))))
	}
	return all
}
