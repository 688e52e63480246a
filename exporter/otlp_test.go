package exporter_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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
	o, err := exporter.NewOTLP(t.Context(), s.registry, exporter.OTLPOptions{
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

// Red where a metric does not arrive, or under another name or value; where an attribute has not the name of the convention, or a
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
	var names, points []string
	for _, m := range got.GetScopeMetrics()[0].GetMetrics() {
		names = append(names, m.GetName())
		data := m.GetSum().GetDataPoints()
		data = append(data, m.GetGauge().GetDataPoints()...)
		for _, p := range data {
			points = append(points, fmt.Sprintf("%s{%s} %g", m.GetName(), listed(p.GetAttributes()), p.GetAsDouble()))
		}
		for _, p := range m.GetHistogram().GetDataPoints() {
			points = append(points, fmt.Sprintf("%s{%s} %d", m.GetName(), listed(p.GetAttributes()), p.GetCount()))
		}
		for _, p := range m.GetExponentialHistogram().GetDataPoints() {
			points = append(points, fmt.Sprintf("%s{%s} %d", m.GetName(), listed(p.GetAttributes()), p.GetCount()))
		}
	}
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

// A receiver that is not there must be told of once, and once when it is back; one that complains of each push, or none that tells
// of the end, turns this red.
func TestOTLPOutage(t *testing.T) {
	s := newService(t, exporter.Options{})
	address, pushed := receiver(t, func(n int) int {
		if n <= 3 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	var log bytes.Buffer
	stop := s.push(t, address, time.Millisecond, &log)
	for range 6 {
		<-pushed
	}
	stop()
	if errs, back := strings.Count(log.String(), "level=ERROR"), strings.Count(log.String(), "level=INFO"); errs != 1 || back != 1 {
		t.Errorf("%d errors and %d ends of it:\n%s", errs, back, &log)
	}
}

// A receiver that takes a connection and never answers must not keep the service from ending: red where stop does not come back.
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

// What the store cannot tell must not keep all else from being pushed: red where the bridge drops it.
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
	if n := len(got.GetScopeMetrics()[0].GetMetrics()); n < 5 || strings.Count(log.String(), "level=ERROR") != 1 {
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
		if _, err := exporter.NewOTLP(t.Context(), s.registry, exporter.OTLPOptions{
			Endpoint: "http://collector.example.test:4318", Interval: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil)),
		}); err != nil {
			t.Errorf("%q: %v", header, err)
		}
		if !strings.Contains(log.String(), "header") || strings.Contains(log.String(), "sEcReT") {
			t.Errorf("%q: the log says %s", header, &log)
		}
	}
}
