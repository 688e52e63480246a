package exporter_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

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
	"pushdoctor_github_credential_expiry_timestamp_seconds GAUGE credential",
	"pushdoctor_github_credential_valid GAUGE credential",
	"pushdoctor_github_rate_limit_limit GAUGE credential resource",
	"pushdoctor_github_rate_limit_remaining GAUGE credential resource",
	"pushdoctor_github_rate_limit_reset_timestamp_seconds GAUGE credential resource",
	"pushdoctor_github_renewed_requests_total COUNTER credential",
	"pushdoctor_github_request_duration_seconds HISTOGRAM code endpoint",
	"pushdoctor_github_requests_total COUNTER code endpoint",
	"pushdoctor_jobs_read_total COUNTER repository result",
	"pushdoctor_last_collect_timestamp_seconds GAUGE repository",
	"pushdoctor_log_bytes_total COUNTER",
	"pushdoctor_otlp_pushes_total COUNTER result",
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
	"pushdoctor_store_writable GAUGE",
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
