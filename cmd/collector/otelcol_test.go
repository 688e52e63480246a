//go:build otlp && prometheus

package main

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	otlpservice "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// keptMetrics are the metrics that go on through a restart.
var keptMetrics = []string{
	store.MetricPushFailures, store.MetricPushes, store.MetricRuns, store.MetricJobsRead, store.MetricLogBytes, store.MetricTimeToRecovery,
}

// The service pushes to a real OpenTelemetry Collector, is started anew on the same store, and pushes on. Red where the deltas that the collector makes of
// it are more or less than /metrics shows at the end, as they are where a restart changes when a counter began; and where a metric arrives under another
// name, unit, temporality or attributes. Each start is a process of its own, which is what the start of a counter must not be taken from.
func TestOTLPCollector(t *testing.T) {
	program := os.Getenv("PUSHDOCTOR_OTELCOL")
	if program == "" {
		t.Fatal("PUSHDOCTOR_OTELCOL names no collector; run make otlp")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	at := newBackend(t)
	endpoint := startCollector(t, program, at.url)

	w := fakegithub.NewWorld()
	l := &lab{t: t, world: w}
	w.AddRepository(fakegithub.Repository{Name: repoA})
	g := fakeGitHub(t, w, fakegithub.Options{})
	pushdoctor := filepath.Join(t.TempDir(), "pushdoctor")
	if out, err := exec.Command("go", "build", "-o", pushdoctor).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	serve := func() (page string, stop func()) {
		cmd := exec.Command(pushdoctor, "serve", "--store", pushdoctor+".db", "--listen", "127.0.0.1:0")
		cmd.Env = append(environment(g), "PUSHDOCTOR_REPOSITORIES="+repoA, "PUSHDOCTOR_COLLECT_INTERVAL=1s", "PUSHDOCTOR_METRICS_BIRTH=1s",
			"PUSHDOCTOR_OTLP_ENDPOINT="+endpoint, "PUSHDOCTOR_OTLP_INTERVAL=500ms")
		return faultless(t, cmd, regexp.MustCompile(`msg="pushdoctor serves" address=(http://\S+)`))
	}
	// now is a job of now: what ended before the service saw the repository is no live total.
	now := func(job fakegithub.Job) {
		at := time.Now().Add(time.Second)
		job.StartedAt, job.CompletedAt = at, at.Add(time.Second)
		l.run(repoA, at, job)
	}
	shows := func(page string, what ...string) {
		wait(ctx, t, 30*time.Second, strings.Join(what, ", "), func() bool {
			metrics := string(get(ctx, t, page+"/metrics"))
			return !slices.ContainsFunc(what, func(w string) bool { return !regexp.MustCompile("(?m)^" + w + "$").MatchString(metrics) })
		})
	}
	const failures = `pushdoctor_push_failures_total\{.*cause="permission_denied".*\} `

	page, stop := serve()
	shows(page, `pushdoctor_last_collect_timestamp_seconds\{.*`)
	now(failedFor("build", "octo-lab/api"))
	now(failedFor("build", "octo-lab/api"))
	shows(page, failures+"2")
	stop()

	page, stop = serve()
	now(failedFor("build", "octo-lab/api"))
	shows(page, failures+"3")
	now(pushed("build", "ghcr.io/octo-lab/api:dev"))
	shows(page, `pushdoctor_time_to_recovery_seconds_count\{.*\} 1`, `pushdoctor_jobs_read_total\{.*result="verify"\} 1`, `pushdoctor_runs_total\{conclusion="success".*\} 1`)
	want := keptTotals(string(get(ctx, t, page+"/metrics")))
	stop()

	at.mu.Lock()
	defer at.mu.Unlock()
	if at.pushes < 4 {
		t.Errorf("%d pushes", at.pushes)
	}
	if diff := cmp.Diff(want, at.sums); diff != "" {
		t.Errorf("sums of the deltas of both starts, against /metrics (-want +got):\n%s", diff)
	}
	for series, starts := range at.starts {
		if len(starts) != 1 && !strings.HasPrefix(series, store.MetricLogBytes) { // that one is there before there is a total
			t.Errorf("%s has begun %d times", series, len(starts))
		}
	}
	const api = "vcs.owner.name=octo-lab vcs.repository.name=api"
	if diff := cmp.Diff([]string{
		`pushdoctor_build_info gauge ""`,
		`pushdoctor_diagnose_duration_seconds cumulative exponential histogram "s"`,
		`pushdoctor_log_bytes_total cumulative sum "By"`,
		`pushdoctor_push_failures_total cumulative sum ""`,
		`pushdoctor_time_to_recovery_seconds cumulative histogram "s"`,
	}, slices.DeleteFunc(slices.Sorted(maps.Keys(at.kinds)), func(k string) bool {
		return !regexp.MustCompile("_(build_info|diagnose_.*|log_bytes_total|push_failures_total|time_to_.*) ").MatchString(k)
	})); diff != "" {
		t.Errorf("what arrived (-want +got):\n%s", diff)
	}
	for _, series := range []string{
		"pushdoctor_push_failures_total cicd.pipeline.name=image.yml error.type=permission_denied http.response.status_code=403 registry=ghcr " + api,
		"pushdoctor_runs_total cicd.pipeline.name=image.yml cicd.pipeline.result=success " + api,
		"pushdoctor_time_to_recovery_seconds error.type=permission_denied registry=ghcr",
	} {
		if at.starts[series] == nil {
			t.Errorf("%s is not among %q", series, slices.Sorted(maps.Keys(at.starts)))
		}
	}
}

// keptTotals are the values of the keptMetrics on a page, over all their series. Of the histogram it is the count.
func keptTotals(page string) map[string]float64 {
	sums := map[string]float64{}
	for line := range strings.Lines(page) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ := strings.Cut(series, "{")
		name = strings.TrimSuffix(name, "_count")
		if n, err := strconv.ParseFloat(value, 64); err == nil && slices.Contains(keptMetrics, name) {
			sums[name] += n
		}
	}
	return sums
}

// startCollector runs the collector until the test ends, and returns where it takes OTLP over HTTP.
func startCollector(t *testing.T, program, tap string) string {
	t.Helper()
	cmd := exec.Command(program, "--config", "testdata/otelcol/collector.yaml")
	cmd.Env = append(os.Environ(), "PUSHDOCTOR_TAP="+tap)
	address, _ := faultless(t, cmd, regexp.MustCompile(`Starting HTTP server.*"endpoint": "([^"]+)"`))
	return "http://" + address
}

// faultless is start for a program that must tell of no error.
func faultless(t *testing.T, cmd *exec.Cmd, says *regexp.Regexp) (address string, stop func()) {
	t.Helper()
	d := start(t, cmd, says)
	stop = sync.OnceFunc(func() {
		if d.stop(); regexp.MustCompile(`level=ERROR|\terror\t`).MatchString(d.out.String()) {
			t.Errorf("%s told of an error:\n%s", cmd.Path, d.out)
		}
	})
	t.Cleanup(stop)
	return d.address, stop
}

// A backend takes what the collector hands on.
type backend struct {
	url string

	mu     sync.Mutex // guards what follows
	pushes int
	kinds  map[string]bool            // "name kind unit" of all that arrived as it was pushed
	starts map[string]map[uint64]bool // when the series of the keptMetrics began
	sums   map[string]float64         // of the deltas of the keptMetrics
}

func newBackend(t *testing.T) *backend {
	a := &backend{kinds: map[string]bool{}, starts: map[string]map[uint64]bool{}, sums: map[string]float64{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var req otlpservice.ExportMetricsServiceRequest
		if body, err := io.ReadAll(r.Body); err != nil || proto.Unmarshal(body, &req) != nil {
			t.Errorf("%v, or no metrics at %s", err, r.URL)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		deltas := strings.HasPrefix(r.URL.Path, "/deltas/")
		if !deltas {
			a.pushes++
		}
		for _, resource := range req.GetResourceMetrics() {
			for _, scope := range resource.GetScopeMetrics() {
				for _, m := range scope.GetMetrics() {
					a.note(t, m, deltas)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *backend) note(t *testing.T, m *otlp.Metric, deltas bool) {
	kind, temporality := "gauge", otlp.AggregationTemporality_AGGREGATION_TEMPORALITY_UNSPECIFIED
	point := func(attributes []*common.KeyValue, start uint64, value float64) {
		switch {
		case !slices.Contains(keptMetrics, m.GetName()):
		case deltas:
			a.sums[m.GetName()] += value
		default:
			series := strings.TrimSpace(m.GetName() + " " + listed(attributes))
			if a.starts[series] == nil {
				a.starts[series] = map[uint64]bool{}
			}
			a.starts[series][start] = true
		}
	}
	switch {
	case m.GetSum() != nil:
		kind, temporality = "sum", m.GetSum().GetAggregationTemporality()
		for _, p := range m.GetSum().GetDataPoints() {
			point(p.GetAttributes(), p.GetStartTimeUnixNano(), p.GetAsDouble())
		}
	case m.GetHistogram() != nil:
		kind, temporality = "histogram", m.GetHistogram().GetAggregationTemporality()
		for _, p := range m.GetHistogram().GetDataPoints() {
			point(p.GetAttributes(), p.GetStartTimeUnixNano(), float64(p.GetCount()))
		}
	case m.GetExponentialHistogram() != nil:
		kind, temporality = "exponential histogram", m.GetExponentialHistogram().GetAggregationTemporality()
	}
	switch {
	case !deltas && temporality == otlp.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE:
		kind = "cumulative " + kind
	case deltas && temporality == otlp.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE:
		t.Errorf("the collector makes no deltas of %s", m.GetName())
	}
	if !deltas {
		a.kinds[m.GetName()+" "+kind+" "+strconv.Quote(m.GetUnit())] = true
	}
}

// listed are attributes as "name=value", sorted.
func listed(attributes []*common.KeyValue) string {
	var all []string
	for _, kv := range attributes {
		value := kv.GetValue().GetStringValue()
		if n, ok := kv.GetValue().GetValue().(*common.AnyValue_IntValue); ok {
			value = strconv.FormatInt(n.IntValue, 10)
		}
		all = append(all, kv.GetKey()+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
