package exporter_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// A receiver takes what is pushed to it, after answer has had its say, and hands it on.
func receiver(t *testing.T, answer func(n int) int) (address string, pushed chan *otlp.ResourceMetrics) {
	t.Helper()
	pushed = make(chan *otlp.ResourceMetrics, 1000)
	n := 0 // pushes come one after the other
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportMetricsServiceRequest
		if err != nil || proto.Unmarshal(body, &req) != nil || len(req.GetResourceMetrics()) != 1 {
			t.Errorf("%v, or no metrics: %.100q", err, body)
		}
		if r.URL.Path != "/collector/v1/metrics" || r.Header.Get("Tenant") != "octo-lab" {
			t.Errorf("pushed to %s with the header %q", r.URL.Path, r.Header.Get("Tenant"))
		}
		n++
		w.WriteHeader(answer(n))
		pushed <- req.GetResourceMetrics()[0]
	}))
	t.Cleanup(s.Close)
	return s.URL + "/collector", pushed
}

// push runs an OTLP of the service until stop is called, which waits for its end.
func (s *service) push(t *testing.T, endpoint string, interval time.Duration, log io.Writer) (stop func()) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "tenant=octo-lab")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	o, err := s.NewOTLP(t.Context(), s.registry, exporter.OTLPOptions{
		Endpoint: endpoint, Interval: interval, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		o.Run(ctx)
		close(ended)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func listed(kvs []*common.KeyValue) string {
	var out []string
	for _, kv := range kvs {
		value := kv.GetValue().GetStringValue()
		if _, ok := kv.GetValue().GetValue().(*common.AnyValue_IntValue); ok {
			value = fmt.Sprint(kv.GetValue().GetIntValue())
		}
		out = append(out, kv.GetKey()+"="+value)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// A point is a data point of any kind; value is the count of a histogram's.
type point struct {
	attributes []*common.KeyValue
	start, at  uint64 // nanoseconds
	value      float64
	exemplars  []*otlp.Exemplar
}

func pointsOf(m *otlp.Metric) (all []point) {
	for _, p := range slices.Concat(m.GetSum().GetDataPoints(), m.GetGauge().GetDataPoints()) {
		all = append(all, point{p.GetAttributes(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano(), p.GetAsDouble(), p.GetExemplars()})
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		all = append(all, point{p.GetAttributes(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano(), float64(p.GetCount()), p.GetExemplars()})
	}
	for _, p := range m.GetExponentialHistogram().GetDataPoints() {
		all = append(all, point{p.GetAttributes(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano(), float64(p.GetCount()), p.GetExemplars()})
	}
	return all
}

func kind(m *otlp.Metric) string {
	const cumulative = otlp.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
	switch {
	case m.GetGauge() != nil:
		return "gauge"
	case m.GetSum().GetAggregationTemporality() == cumulative && m.GetSum().GetIsMonotonic():
		return "cumulative monotonic sum"
	case m.GetHistogram().GetAggregationTemporality() == cumulative:
		return "cumulative histogram"
	case m.GetExponentialHistogram().GetAggregationTemporality() == cumulative:
		return "cumulative exponential histogram"
	}
	return "?"
}

// Red where a metric does not arrive, or under another name, unit, kind or value; where one of the runtime is said to be ours; where an attribute has not the name of the convention, or a
// repository's owner is lost; and where what the environment says of the resource and of headers is not heeded.
func TestOTLP(t *testing.T) {
	s := everything(t)
	for i, conclusion := range []string{"success", "timed_out", "startup_failure", "neutral"} {
		if err := s.db.CountRuns(1, []pushdoctor.Run{{RepositoryID: 1, ID: int64(i + 2), Attempt: 1, Workflow: "image.yml", Conclusion: conclusion, UpdatedAt: start}}); err != nil {
			t.Fatal(err)
		}
	}
	// Without an answer there is no status.
	s.Exchange(exporter.Exchange{Endpoint: "logs", Duration: time.Second})
	s.read(t, 1, "image.yml", 3*time.Hour, findings(failure(0, pushdoctor.CauseTimeout)))
	s.now = time.Now().Add(birth)
	s.registry.MustRegister(collectors.NewGoCollector())
	address, pushed := receiver(t, func(int) int { return http.StatusOK })
	var log bytes.Buffer
	stop := s.push(t, address, time.Hour, &log) // so that only the push at the end comes
	stop()
	if len(pushed) != 1 {
		t.Fatalf("%d pushes at the end, want 1\n%s", len(pushed), &log)
	}
	got := <-pushed
	resource := listed(got.GetResource().GetAttributes())
	if !strings.Contains(resource, "deployment.environment.name=test service.name=pushdoctor service.version=1.2.3") {
		t.Errorf("resource %s", resource)
	}
	var scopes, names, kinds, points []string
	for _, scope := range got.GetScopeMetrics() {
		all := scope.GetMetrics()
		first, _, _ := strings.Cut(all[0].GetName(), "_")
		scopes = append(scopes, fmt.Sprintf("%s... %s %s", first, scope.GetScope().GetName(), scope.GetScope().GetVersion()))
	}
	compare(t, scopes, []string{"pushdoctor... github.com/akkospace/pushdoctor 1.2.3", "go... go.opentelemetry.io/contrib/bridges/prometheus "})
	for _, m := range got.GetScopeMetrics()[0].GetMetrics() {
		names = append(names, m.GetName())
		kinds = append(kinds, strings.TrimSpace(m.GetName()+" "+kind(m)+" "+m.GetUnit()))
		for _, p := range pointsOf(m) {
			points = append(points, fmt.Sprintf("%s{%s} %g", m.GetName(), listed(p.attributes), p.value))
		}
	}
	compare(t, lines(strings.Join(kinds, "\n"),
		"pushdoctor_build", "pushdoctor_diagnose", "pushdoctor_last_collect", "pushdoctor_log_bytes", "pushdoctor_push_failures_total", "pushdoctor_store_bytes", "pushdoctor_time",
	), []string{
		"pushdoctor_build_info gauge",
		"pushdoctor_diagnose_duration_seconds cumulative exponential histogram s",
		"pushdoctor_last_collect_timestamp_seconds gauge s",
		"pushdoctor_log_bytes_total cumulative monotonic sum By",
		"pushdoctor_push_failures_total cumulative monotonic sum",
		"pushdoctor_store_bytes gauge By",
		"pushdoctor_time_to_recovery_seconds cumulative histogram s",
	})
	var want []string
	for _, m := range metrics {
		name, _, _ := strings.Cut(m, " ")
		want = append(want, name)
	}
	compare(t, names, want)
	const api = "vcs.owner.name=octo-lab vcs.repository.name=api"
	slices.Sort(points)
	compare(t, lines(strings.Join(points, "\n"),
		"pushdoctor_push_failures_total", "pushdoctor_runs_total", "pushdoctor_github_requests_total", "pushdoctor_diagnose", "pushdoctor_time_to_recovery", "pushdoctor_push_broken{", "pushdoctor_collect_errors",
	), []string{
		"pushdoctor_collect_errors_total{reason=not_found " + api + "} 1",
		"pushdoctor_diagnose_duration_seconds{} 1",
		"pushdoctor_github_requests_total{endpoint=logs} 1",
		"pushdoctor_github_requests_total{endpoint=runs http.response.status_code=200} 1",
		"pushdoctor_push_broken{cicd.pipeline.name=image.yml error.type=permission_denied ref=main registry=ghcr " + api + "} 1",
		"pushdoctor_push_failures_total{cicd.pipeline.name=image.yml error.type=permission_denied http.response.status_code=403 registry=ghcr " + api + "} 2",
		"pushdoctor_push_failures_total{cicd.pipeline.name=image.yml error.type=permission_denied registry=ghcr " + api + "} 1",
		"pushdoctor_push_failures_total{cicd.pipeline.name=image.yml error.type=timeout registry=ghcr " + api + "} 1",
		"pushdoctor_runs_total{cicd.pipeline.name=image.yml cicd.pipeline.result=error " + api + "} 1",
		"pushdoctor_runs_total{cicd.pipeline.name=image.yml cicd.pipeline.result=failure " + api + "} 1",
		"pushdoctor_runs_total{cicd.pipeline.name=image.yml cicd.pipeline.result=neutral " + api + "} 1",
		"pushdoctor_runs_total{cicd.pipeline.name=image.yml cicd.pipeline.result=success " + api + "} 1",
		"pushdoctor_runs_total{cicd.pipeline.name=image.yml cicd.pipeline.result=timeout " + api + "} 1",
		"pushdoctor_time_to_recovery_seconds{error.type=permission_denied registry=ghcr} 1",
	})
}

// Red where a restart, or another series that is folded, changes when a counter of the store began: then who reads OTLP takes it for one that begins
// at 0, and counts all of it again. Within this process the start of the process is the same, so it is the births in the store that are compared.
func TestOTLPStart(t *testing.T) {
	s := everything(t)
	s.options.MaxSeries = 1
	s.read(t, 1, "nightly.yml", 4*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied))) // folded, and the next one too
	s.read(t, 1, "weekly.yml", 5*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	starts := func() (all []string) {
		t.Helper()
		s.restart(t)
		s.now = time.Now().Add(birth)
		address, pushed := receiver(t, func(int) int { return http.StatusOK })
		s.push(t, address, time.Hour, io.Discard)()
		for _, m := range (<-pushed).GetScopeMetrics()[0].GetMetrics() {
			for _, p := range pointsOf(m) {
				if p.start > p.at {
					t.Errorf("%s{%s} begins after its end", m.GetName(), listed(p.attributes))
				}
				line := fmt.Sprintf("%s %s %d", m.GetName(), listed(p.attributes), p.start)
				if strings.Contains(line, "403") && strings.HasPrefix(line, store.MetricPushFailures) || strings.HasPrefix(line, store.MetricTimeToRecovery) || strings.HasPrefix(line, store.MetricLogBytes) {
					all = append(all, line)
				}
			}
		}
		slices.Sort(all)
		return all
	}
	totals, err := s.db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	born := func(metric, workflow string) int64 {
		t.Helper()
		for _, total := range totals {
			if total.Metric == metric && total.Live && (workflow == "" || total.Labels[1] == workflow && total.Labels[3] == "403") {
				return total.Born.UnixNano()
			}
		}
		t.Fatalf("no total %s %s", metric, workflow)
		return 0
	}
	want := []string{
		fmt.Sprintf("pushdoctor_log_bytes_total  %d", born(store.MetricLogBytes, "")),
		fmt.Sprintf("pushdoctor_push_failures_total cicd.pipeline.name=image.yml error.type=permission_denied http.response.status_code=403 registry=ghcr vcs.owner.name=octo-lab vcs.repository.name=api %d",
			born(store.MetricPushFailures, "image.yml")),
		fmt.Sprintf("pushdoctor_push_failures_total cicd.pipeline.name=other error.type=permission_denied http.response.status_code=403 registry=ghcr vcs.repository.name=other %d",
			born(store.MetricPushFailures, "nightly.yml")),
		fmt.Sprintf("pushdoctor_time_to_recovery_seconds error.type=permission_denied registry=ghcr %d", born(store.MetricTimeToRecovery, "")),
	}
	compare(t, starts(), want)
	s.read(t, 1, "yearly.yml", 6*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	compare(t, starts(), want)
}

// Red where a point ends before it begins, which receivers refuse: a series may be born while metrics are gathered, and a clock be set back.
func TestOTLPClock(t *testing.T) {
	s := newService(t, exporter.Options{})
	address, pushed := receiver(t, func(int) int { return http.StatusOK })
	for _, test := range []struct {
		born time.Duration // from now
		want bool          // that the start is told
	}{{0, true}, {time.Hour, false}} {
		registry := prometheus.NewRegistry()
		registry.MustRegister(collect(func(ch chan<- prometheus.Metric) {
			desc := prometheus.NewDesc("pushdoctor_invented_total", "Invented.", nil, nil)
			ch <- prometheus.MustNewConstMetricWithCreatedTimestamp(desc, prometheus.CounterValue, 1, time.Now().Add(test.born))
		}))
		s.registry = registry
		s.push(t, address, time.Hour, io.Discard)()
		p := pointsOf((<-pushed).GetScopeMetrics()[0].GetMetrics()[0])[0]
		if p.start > p.at || (p.start != 0) != test.want {
			t.Errorf("born %s from now: from %d to %d", test.born, p.start, p.at)
		}
	}
}

type collect func(chan<- prometheus.Metric)

func (c collect) Describe(chan<- *prometheus.Desc)    {}
func (c collect) Collect(ch chan<- prometheus.Metric) { c(ch) }

// A receiver that takes nothing must be told of once, with its answer, and once when it takes it again, and each push be counted. TestOTLPFaults has
// what comes in between.
func TestOTLPOutage(t *testing.T) {
	s := newService(t, exporter.Options{})
	address, pushed := receiver(t, func(n int) int {
		if n <= 3 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	compare(t, lines(s.page(t, ""), "pushdoctor_otlp"), []string{`pushdoctor_otlp_pushes_total{result="failed"} 0`, `pushdoctor_otlp_pushes_total{result="good"} 0`})
	var log bytes.Buffer
	stop := s.push(t, address, time.Millisecond, &log)
	for range 6 {
		<-pushed
	}
	stop()
	if errs, back := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "level=INFO"); errs != 1 || back != 1 || !strings.Contains(log.String(), " 503 ") {
		t.Errorf("%d errors and %d ends of it:\n%s", errs, back, &log)
	}
	counted := lines(s.page(t, ""), "pushdoctor_otlp")
	if counted[0] != `pushdoctor_otlp_pushes_total{result="failed"} 3` || strings.HasSuffix(counted[1], " 0") {
		t.Errorf("counted are %q", counted)
	}
}

// A receiver that takes a connection and never answers must not keep the service from ending: red where stop does not come back. TestOTLPEnd has the
// three seconds.
func TestOTLPHanging(t *testing.T) {
	s := newService(t, exporter.Options{})
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer hanging.Close()
	defer close(release)
	stop := s.push(t, hanging.URL, time.Millisecond, io.Discard)
	<-arrived
	stop()
}

// What the store cannot tell must not keep all else from being pushed: red where the bridge drops it, and where the receiver is blamed for it.
func TestOTLPWithoutAStore(t *testing.T) {
	s := newService(t, exporter.Options{})
	address, pushed := receiver(t, func(int) int { return http.StatusOK })
	var log bytes.Buffer
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	stop := s.push(t, address, time.Hour, &log)
	stop()
	got := <-pushed
	if n := len(got.GetScopeMetrics()[0].GetMetrics()); n < 5 || strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), "some metrics cannot be read") {
		t.Errorf("%d metrics\n%s", n, &log)
	}
	db, err := store.Open(s.path) // for the cleanup
	if err != nil {
		t.Fatal(err)
	}
	s.db = db
}

// A token in a variable that is not written as the standard has it, and that is told to the log, turns this red.
func TestOTLPSecrets(t *testing.T) {
	s := newService(t, exporter.Options{})
	for _, header := range []string{"authorization Bearer sEcReT-token", "sEcReT/token=1", "authorization=%sEcReT"} {
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", header)
		var log bytes.Buffer
		if _, err := s.NewOTLP(t.Context(), s.registry, exporter.OTLPOptions{
			Endpoint: "http://collector.example.test:4318", Interval: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil)),
		}); err != nil {
			t.Errorf("%q: %v", header, err)
		}
		if !strings.Contains(log.String(), "header") || strings.Contains(log.String(), "sEcReT") {
			t.Errorf("%q: the log says %s", header, &log)
		}
	}
}

// A variable that is often set for all that runs in a cluster must not keep the service from starting, and one that cannot be read must be told to the
// log, with what is wrong.
func TestOTLPEnvironment(t *testing.T) {
	secure := httptest.NewTLSServer(nil)
	defer secure.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, value, resource, says string }{
		{"OTEL_RESOURCE_ATTRIBUTES", "octo,team=registry", "team=registry", "missing value: [octo]"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=%zz", "team=%zz", `invalid URL escape \"%zz\"`},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "no/such/file.pem", "service.name=pushdoctor", "open no/such/file.pem: no such file or directory"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", file, "service.name=pushdoctor", ""}, // of no use without TLS
	} {
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "")
		t.Setenv(test.name, test.value)
		s := newService(t, exporter.Options{})
		pushed := make(chan string, 1)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var req collector.ExportMetricsServiceRequest
			if body, err := io.ReadAll(r.Body); err != nil || proto.Unmarshal(body, &req) != nil {
				t.Errorf("%v, or no metrics", err)
			}
			pushed <- listed(req.GetResourceMetrics()[0].GetResource().GetAttributes())
		}))
		var log bytes.Buffer
		o, err := s.NewOTLP(t.Context(), s.registry, exporter.OTLPOptions{Endpoint: server.URL, Interval: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatalf("%s=%s: %v", test.name, test.value, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o.Run(ctx)
		server.Close()
		if got := <-pushed; !strings.Contains(got, test.resource) || !strings.Contains(log.String(), test.says) {
			t.Errorf("%s=%s: the resource is %s, and the log says\n%s", test.name, test.value, got, &log)
		}
	}
}
