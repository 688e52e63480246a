package exporter_test

import (
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

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// start is the live_since of all repositories in these tests.
var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

const birth = 2 * time.Minute

// A service is an exporter over a store of its own.
type service struct {
	*exporter.Exporter
	registry *prometheus.Registry
	db       *store.DB
	now      time.Time // of the exporter; the store's births are by the machine's clock
	path     string
	options  exporter.Options
	jobs     int64
}

func newService(t testing.TB, o exporter.Options) *service {
	t.Helper()
	s := &service{path: filepath.Join(t.TempDir(), "test.db"), now: time.Now().Add(birth + time.Minute), options: o}
	s.options.Birth = birth
	s.options.Now = func() time.Time { return s.now }
	s.open(t)
	t.Cleanup(func() {
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *service) open(t testing.TB) {
	t.Helper()
	db, err := store.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.db, s.registry = db, prometheus.NewRegistry()
	s.Exporter = exporter.New(s.registry, db, s.options)
}

// restart opens the same store by a new exporter.
func (s *service) restart(t *testing.T) {
	t.Helper()
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(t)
}

func (s *service) watch(t testing.TB, id int64, name string) {
	t.Helper()
	if err := s.db.PutRepository(store.Repository{ID: id, Name: name, LiveSince: start}); err != nil {
		t.Fatal(err)
	}
}

// workflow counts a run of a workflow with that name.
func (s *service) workflow(t testing.TB, repo int64, file, name string) {
	t.Helper()
	s.jobs++
	run := pushdoctor.Run{RepositoryID: repo, ID: s.jobs, Attempt: 1, Workflow: file, WorkflowName: name, Conclusion: "success", UpdatedAt: start.Add(time.Hour)}
	if err := s.db.CountRuns(repo, []pushdoctor.Run{run}); err != nil {
		t.Fatal(err)
	}
}

// read records the reading of a job that ended at the given time after start.
func (s *service) read(t testing.TB, repo int64, workflow string, after time.Duration, r store.Reading) string {
	t.Helper()
	s.jobs++
	r.Job = pushdoctor.Job{
		Repository: fmt.Sprintf("octo-lab/r%d", repo), RepositoryID: repo, Workflow: workflow, Conclusion: "failure",
		RunID: 1000 + s.jobs, RunAttempt: 1, JobID: s.jobs, Name: "build", Runner: "runner",
		StartedAt: start.Add(after - time.Minute), CompletedAt: start.Add(after),
	}
	if _, err := s.db.Record(r); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d-1", s.jobs)
}

func failure(status int, cause pushdoctor.Cause) pushdoctor.Finding {
	return pushdoctor.Finding{
		Registry: pushdoctor.RegistryGHCR, Host: "ghcr.io", Image: "ghcr.io/octo-lab/api:dev", Client: pushdoctor.ClientBuildx,
		Operation: pushdoctor.OperationUpload, Status: status, StatusSource: pushdoctor.StatusExplicit, Cause: cause,
		Confidence: 0.8, Line: 7, Message: "403 Forbidden", Rule: "test",
	}
}

func findings(f ...pushdoctor.Finding) store.Reading {
	return store.Reading{Result: store.ResultFindings, Findings: f, Bytes: 1000}
}

// page returns /metrics in the format that accept names.
func (s *service) page(t testing.TB, accept string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	exporter.Handler(s.registry, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics answered %d: %s", w.Code, body)
	}
	return string(body)
}

// lines returns the series of the page that begin with one of the names.
func lines(page string, names ...string) []string {
	var out []string
	for line := range strings.Lines(page) {
		if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(line, n) }) {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

const openMetrics = "application/openmetrics-text; version=1.0.0"

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-want +got):\n%s", d)
	}
}

// A counter that the store holds and that is exported under another name, label or value turns this red, and so does
// history among the live totals.
func TestTotals(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	cured := failure(429, pushdoctor.CauseRateLimited)
	cured.Recovered = true
	s.read(t, 1, "image.yml", -time.Hour, findings(failure(503, pushdoctor.CauseRegistryUnavailable))) // history
	s.read(t, 1, "image.yml", time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.read(t, 1, "image.yml", 2*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied), failure(0, pushdoctor.CauseTimeout)))
	s.read(t, 1, "", 3*time.Hour, store.Reading{
		Result: store.ResultFindings, Findings: []pushdoctor.Finding{cured}, Pushed: map[pushdoctor.Registry]int{pushdoctor.RegistryGHCR: 3}, Bytes: 24,
	})
	if err := s.db.CountRuns(1, []pushdoctor.Run{{
		RepositoryID: 1, Repository: "octo-lab/api", ID: 1, Attempt: 1, Workflow: "image.yml", Conclusion: "failure", UpdatedAt: start.Add(time.Hour),
	}}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.CountError("octo-lab/gone", "not_found"); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP pushdoctor_collect_errors_total What could not be collected, by reason.
# TYPE pushdoctor_collect_errors_total counter
pushdoctor_collect_errors_total{reason="not_found",repository="octo-lab/gone"} 1
# HELP pushdoctor_jobs_read_total Jobs whose log was read, or could not be, by what came of it.
# TYPE pushdoctor_jobs_read_total counter
pushdoctor_jobs_read_total{repository="octo-lab/api",result="findings"} 3
# HELP pushdoctor_log_bytes_total Bytes of logs that were read.
# TYPE pushdoctor_log_bytes_total counter
pushdoctor_log_bytes_total 2024
# HELP pushdoctor_push_failures_retried_total Failed attempts to push an image that a retry in the same job cured.
# TYPE pushdoctor_push_failures_retried_total counter
pushdoctor_push_failures_retried_total{cause="rate_limited",registry="ghcr",repository="octo-lab/api",status="429",workflow="other"} 1
# HELP pushdoctor_push_failures_total Failed attempts to push an image that no retry in the same job cured.
# TYPE pushdoctor_push_failures_total counter
pushdoctor_push_failures_total{cause="permission_denied",registry="ghcr",repository="octo-lab/api",status="403",workflow="image.yml"} 2
pushdoctor_push_failures_total{cause="timeout",registry="ghcr",repository="octo-lab/api",status="none",workflow="image.yml"} 1
# HELP pushdoctor_pushes_total Pushes of images in the jobs that were read.
# TYPE pushdoctor_pushes_total counter
pushdoctor_pushes_total{registry="ghcr",repository="octo-lab/api",result="failed",workflow="image.yml"} 3
pushdoctor_pushes_total{registry="ghcr",repository="octo-lab/api",result="good",workflow="other"} 2
pushdoctor_pushes_total{registry="ghcr",repository="octo-lab/api",result="retried",workflow="other"} 1
# HELP pushdoctor_runs_total Attempts of workflow runs that have ended.
# TYPE pushdoctor_runs_total counter
pushdoctor_runs_total{conclusion="failure",repository="octo-lab/api",workflow="image.yml"} 1
`
	names := []string{
		"pushdoctor_collect_errors_total", "pushdoctor_jobs_read_total", "pushdoctor_log_bytes_total", "pushdoctor_push_failures_retried_total",
		"pushdoctor_push_failures_total", "pushdoctor_pushes_total", "pushdoctor_runs_total",
	}
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	s.restart(t)
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), names...); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// An exporter without a single series of closed labels at 0 turns this red: rate() over an absent metric is no answer.
func TestAtTheStart(t *testing.T) {
	s := newService(t, exporter.Options{Version: "1.2.3", Revision: "abc"})
	s.now = start
	s.Reloaded(true)
	compare(t, lines(s.page(t, ""), "pushdoctor_series_dropped_total", "pushdoctor_log_bytes_total", "pushdoctor_config",
		"pushdoctor_diagnose_duration_seconds_count"), []string{
		`pushdoctor_config_last_reload_success_timestamp_seconds 1.7723592e+09`,
		`pushdoctor_config_last_reload_successful 1`,
		`pushdoctor_diagnose_duration_seconds_count 0`,
		`pushdoctor_log_bytes_total 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_collect_errors_total"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_jobs_read_total"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_push_broken"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_push_failures_retried_total"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_push_failures_total"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_pushes_total"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_runs_total"} 0`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_workflow_info"} 0`,
	})
	page := s.page(t, "")
	for _, want := range []string{`pushdoctor_build_info{goversion="go`, `revision="abc",version="1.2.3"} 1`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	compare(t, lines(page, "pushdoctor_store_bytes"), []string{fmt.Sprintf("pushdoctor_store_bytes %d", s.db.Size())})

	s.now = start.Add(time.Hour)
	s.Reloaded(false)
	compare(t, lines(s.page(t, ""), "pushdoctor_config"), []string{
		`pushdoctor_config_last_reload_success_timestamp_seconds 1.7723592e+09`,
		`pushdoctor_config_last_reload_successful 0`,
	})
}

// A series that shows its first event at its first scrape turns this red: increase() would never see that event.
func TestBirth(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	const series = `pushdoctor_push_failures_total{cause="timeout",registry="ghcr",repository="octo-lab/api",status="none",workflow="image.yml"} `
	shown := func() []string {
		return lines(s.page(t, ""), "pushdoctor_push_failures_total", "pushdoctor_log_bytes_total")
	}

	before := time.Now()
	s.read(t, 1, "image.yml", time.Hour, findings(failure(0, pushdoctor.CauseTimeout)))
	s.now = before.Add(birth - time.Second)
	compare(t, shown(), []string{"pushdoctor_log_bytes_total 1000", series + "0"})
	s.now = time.Now().Add(birth)
	compare(t, shown(), []string{"pushdoctor_log_bytes_total 1000", series + "1"})

	s.read(t, 1, "image.yml", 2*time.Hour, findings(failure(0, pushdoctor.CauseTimeout)))
	compare(t, shown(), []string{"pushdoctor_log_bytes_total 2000", series + "2"}) // it is born once

	s.now = before.Add(-time.Hour) // the clock was set back, and Prometheus would take a fall for a reset
	compare(t, shown(), []string{"pushdoctor_log_bytes_total 2000", series + "2"})
}

// Red where a series that is born while a scrape goes on is shown before its time.
func TestBornDuringAScrape(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	scraping := false
	s.options.Now = func() time.Time { // asked when a scrape begins, and once more
		now := time.Now()
		if scraping && s.jobs == 0 {
			s.read(t, 1, "image.yml", time.Hour, findings(failure(0, pushdoctor.CauseTimeout)))
		}
		return now
	}
	s.registry = prometheus.NewRegistry()
	s.Exporter = exporter.New(s.registry, s.db, s.options)
	scraping = true
	for _, line := range lines(s.page(t, ""), "pushdoctor_push_failures_total{") {
		if !strings.HasSuffix(line, " 0") {
			t.Error(line)
		}
	}
	if s.jobs == 0 {
		t.Error("nothing was recorded during the scrape")
	}
}

// A limit that folds other series after a restart, that folds a closed label, or that loses an event turns this red.
func TestSeriesLimit(t *testing.T) {
	s := newService(t, exporter.Options{MaxSeries: 2})
	s.watch(t, 1, "octo-lab/zebra")
	s.watch(t, 2, "octo-lab/api")
	// Born in this order, which is not that of the names.
	s.read(t, 1, "image.yml", time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.read(t, 1, "image.yml", 2*time.Hour, findings(failure(404, pushdoctor.CauseRepositoryNotFound)))
	s.read(t, 2, "image.yml", 3*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.read(t, 2, "release.yml", 4*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.read(t, 2, "release.yml", 5*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.read(t, 2, "release.yml", 6*time.Hour, findings(failure(404, pushdoctor.CauseRepositoryNotFound)))
	want := []string{
		`pushdoctor_push_failures_total{cause="permission_denied",registry="ghcr",repository="octo-lab/zebra",status="403",workflow="image.yml"} 1`,
		`pushdoctor_push_failures_total{cause="permission_denied",registry="ghcr",repository="other",status="403",workflow="other"} 3`,
		`pushdoctor_push_failures_total{cause="repository_not_found",registry="ghcr",repository="octo-lab/zebra",status="404",workflow="image.yml"} 1`,
		`pushdoctor_push_failures_total{cause="repository_not_found",registry="ghcr",repository="other",status="404",workflow="other"} 1`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_push_failures_total"} 3`,
	}
	shown := func() []string {
		return lines(s.page(t, ""), "pushdoctor_push_failures_total", `pushdoctor_series_dropped_total{metric="pushdoctor_push_failures_total"}`)
	}
	s.now = time.Now().Add(birth)
	compare(t, shown(), want)
	s.restart(t)
	compare(t, shown(), want)

	// A series that is folded now is not seen before its time: "other" has stood for long, and would jump by one, which is
	// right, but an event must not be seen by one exporter and not by another that folds nothing.
	before := time.Now()
	s.read(t, 1, "new.yml", 7*time.Hour, findings(failure(404, pushdoctor.CauseRepositoryNotFound)))
	want[4] = `pushdoctor_series_dropped_total{metric="pushdoctor_push_failures_total"} 4`
	s.now = before.Add(birth)
	compare(t, shown(), want)
	s.now = time.Now().Add(birth)
	want[3] = strings.TrimSuffix(want[3], "1") + "2"
	compare(t, shown(), want)
}

// An exemplar that names another finding, one of an earlier reading, or none turns this red; so does one whose time changes from
// scrape to scrape, which Prometheus would store each time.
func TestExemplar(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	series := func(value, finding string, at time.Duration) []string {
		return []string{fmt.Sprintf(
			`pushdoctor_push_failures_total{cause="timeout",registry="ghcr",repository="octo-lab/api",status="none",workflow="image.yml"} %s.0 # {finding="%s"} 1.0 %d.0`,
			value, finding, start.Add(at).Unix())}
	}
	shown := func() []string {
		out := lines(s.page(t, openMetrics), "pushdoctor_push_failures_total")
		for i, line := range out {
			// The writer of the format prefers 1.7723628e+09.
			name, when, ok := cut(line)
			if ok {
				out[i] = fmt.Sprintf("%s %.1f", name, when)
			}
		}
		return out
	}
	id := s.read(t, 1, "image.yml", time.Hour, findings(failure(0, pushdoctor.CauseTimeout)))
	s.now = time.Now().Add(birth)
	compare(t, shown(), series("1", id, time.Hour))
	id = s.read(t, 1, "image.yml", 2*time.Hour, findings(failure(0, pushdoctor.CauseTimeout)))
	s.now = s.now.Add(time.Minute)
	compare(t, shown(), series("2", id, 2*time.Hour))
	s.now = s.now.Add(time.Minute)
	compare(t, shown(), series("2", id, 2*time.Hour))
	s.restart(t)
	compare(t, shown(), series("2", id, 2*time.Hour))

	// A log of before that was read late: Prometheus refuses an exemplar that is older than its last one.
	s.read(t, 1, "image.yml", time.Hour+time.Minute, findings(failure(0, pushdoctor.CauseTimeout)))
	compare(t, shown(), series("3", id, 2*time.Hour))

	// The store has let go of the finding, not of the total.
	s.restart(t)
	if _, _, err := s.db.Prune(start.Add(100*time.Hour), time.Hour); err != nil {
		t.Fatal(err)
	}
	compare(t, shown(), []string{
		`pushdoctor_push_failures_total{cause="timeout",registry="ghcr",repository="octo-lab/api",status="none",workflow="image.yml"} 3.0`,
	})
}

// Red where a series names a finding of which another reading has found another cause.
func TestExemplarReadAgain(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	s.read(t, 1, "image.yml", time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.jobs--
	s.read(t, 1, "image.yml", time.Hour, findings(failure(403, pushdoctor.CausePackageAccessDenied)))
	s.now = time.Now().Add(birth)
	compare(t, lines(s.page(t, openMetrics), "pushdoctor_push_failures_total"), []string{
		`pushdoctor_push_failures_total{cause="permission_denied",registry="ghcr",repository="octo-lab/api",status="403",workflow="image.yml"} 1.0`,
	})
}

// cut takes the time of an exemplar off its line.
func cut(line string) (rest string, at float64, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if !strings.Contains(line, "#") || i < 0 {
		return line, 0, false
	}
	_, err := fmt.Sscan(line[i+1:], &at)
	return line[:i], at, err == nil
}

// A name that is no UTF-8, that is endless, or that breaks a line turns this red: one of them would take the whole page
// down.
func TestHostileNames(t *testing.T) {
	s := newService(t, exporter.Options{MaxSeries: 3})
	s.watch(t, 1, "octo-lab/\xff\"quote\\\n# HELP x")
	s.read(t, 1, strings.Repeat("é", 500)+".yml", time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.read(t, 1, strings.Repeat("é", 500)+".yaml", time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
	s.now = time.Now().Add(birth)
	s.watch(t, 2, "octo-lab/api")
	s.Collected("octo-lab/api", exporter.Collection{})
	s.workflow(t, 2, "a\xffb.yml", "\xf0\x28 name\n")
	s.workflow(t, 2, "b.yml", strings.Repeat("x", 1<<20))
	s.workflow(t, 2, "b.yml", "a second name takes the place of the first")
	s.workflow(t, 2, "c.yml", "C")
	s.workflow(t, 2, "d.yml", "beyond the limit")
	s.Collected("octo-lab/\xfe", exporter.Collection{Pending: 1})
	s.Exchange(exporter.Exchange{Endpoint: "runs\xff", Code: 200, Credential: "token\xff", Resource: "core\xff", Limit: 1, Remaining: 1, Reset: start, Duration: time.Second})
	page := s.page(t, "")
	if len(page) > 100<<10 {
		t.Errorf("the page has %d bytes", len(page))
	}
	compare(t, lines(page, "pushdoctor_push_failures_total", "pushdoctor_workflow_info", "pushdoctor_pending_jobs",
		`pushdoctor_series_dropped_total{metric="pushdoctor_workflow`), []string{
		`pushdoctor_pending_jobs{repository="octo-lab/"} 1`,
		`pushdoctor_pending_jobs{repository="octo-lab/api"} 0`,
		`pushdoctor_push_failures_total{cause="permission_denied",registry="ghcr",repository="octo-lab/�\"quote\\\n# HELP x",status="403",workflow="` +
			strings.Repeat("é", 100) + `"} 2`,
		`pushdoctor_series_dropped_total{metric="pushdoctor_workflow_info"} 1`,
		`pushdoctor_workflow_info{name="( name\n",repository="octo-lab/api",workflow="a�b.yml"} 1`,
		`pushdoctor_workflow_info{name="C",repository="octo-lab/api",workflow="c.yml"} 1`,
		`pushdoctor_workflow_info{name="a second name takes the place of the first",repository="octo-lab/api",workflow="b.yml"} 1`,
	})
}

// Red where a restart takes the names of workflows away until each has run again.
func TestWorkflowInfo(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.watch(t, 1, "octo-lab/api")
	s.workflow(t, 1, "image.yml", "Build")
	s.restart(t)
	s.watch(t, 1, "octo-lab/service")
	s.watch(t, 2, "octo-lab/not-watched")
	s.workflow(t, 2, "image.yml", "Build")
	s.Collected("octo-lab/service", exporter.Collection{})
	compare(t, lines(s.page(t, ""), "pushdoctor_workflow_info"), []string{
		`pushdoctor_workflow_info{name="Build",repository="octo-lab/service",workflow="image.yml"} 1`,
	})
}

// A refused token that is called valid by a later 403, or by an answer that no token was sent for, turns this red.
func TestExchange(t *testing.T) {
	s := newService(t, exporter.Options{})
	reset := start.Add(time.Hour)
	valid := func() []string { return lines(s.page(t, ""), "pushdoctor_github_credential_valid") }

	s.Exchange(exporter.Exchange{Endpoint: "log_blob", Code: 200, Duration: time.Second})
	s.Exchange(exporter.Exchange{Endpoint: "runs", Credential: "token", Duration: 10 * time.Second})
	s.Exchange(exporter.Exchange{Endpoint: "runs", Code: 502, Credential: "token", Duration: time.Second})
	compare(t, valid(), nil)
	s.Exchange(exporter.Exchange{
		Endpoint: "runs", Code: 200, Credential: "token", Resource: "core", Limit: 5000, Remaining: 4999, Reset: reset, Duration: 200 * time.Millisecond,
	})
	compare(t, valid(), []string{`pushdoctor_github_credential_valid{credential="token"} 1`})
	s.Exchange(exporter.Exchange{Endpoint: "jobs", Code: 401, Credential: "token", Duration: time.Second})
	s.Exchange(exporter.Exchange{Endpoint: "jobs", Code: 403, Credential: "token", Duration: time.Second})
	compare(t, valid(), []string{`pushdoctor_github_credential_valid{credential="token"} 0`})
	s.Exchange(exporter.Exchange{
		Endpoint: "runs", Code: 304, Credential: "token", Resource: "core", Limit: 5000, Remaining: 4998, Reset: reset, Duration: 20 * time.Millisecond,
	})

	compare(t, lines(s.page(t, ""), "pushdoctor_github_requests_total", "pushdoctor_github_rate", "pushdoctor_github_credential_valid",
		"pushdoctor_github_request_duration_seconds_count", `pushdoctor_github_request_duration_seconds_bucket{code="200",endpoint="runs",le="0.25"`), []string{
		`pushdoctor_github_credential_valid{credential="token"} 1`,
		`pushdoctor_github_rate_limit_limit{credential="token",resource="core"} 5000`,
		`pushdoctor_github_rate_limit_remaining{credential="token",resource="core"} 4998`,
		`pushdoctor_github_rate_limit_reset_timestamp_seconds{credential="token",resource="core"} 1.7723628e+09`,
		`pushdoctor_github_request_duration_seconds_count{code="200",endpoint="log_blob"} 1`,
		`pushdoctor_github_request_duration_seconds_bucket{code="200",endpoint="runs",le="0.25"} 1`,
		`pushdoctor_github_request_duration_seconds_count{code="200",endpoint="runs"} 1`,
		`pushdoctor_github_request_duration_seconds_count{code="304",endpoint="runs"} 1`,
		`pushdoctor_github_request_duration_seconds_count{code="401",endpoint="jobs"} 1`,
		`pushdoctor_github_request_duration_seconds_count{code="403",endpoint="jobs"} 1`,
		`pushdoctor_github_request_duration_seconds_count{code="502",endpoint="runs"} 1`,
		`pushdoctor_github_request_duration_seconds_count{code="none",endpoint="runs"} 1`,
		`pushdoctor_github_requests_total{code="200",endpoint="log_blob"} 1`,
		`pushdoctor_github_requests_total{code="200",endpoint="runs"} 1`,
		`pushdoctor_github_requests_total{code="304",endpoint="runs"} 1`,
		`pushdoctor_github_requests_total{code="401",endpoint="jobs"} 1`,
		`pushdoctor_github_requests_total{code="403",endpoint="jobs"} 1`,
		`pushdoctor_github_requests_total{code="502",endpoint="runs"} 1`,
		`pushdoctor_github_requests_total{code="none",endpoint="runs"} 1`,
	})
}

// A histogram that has lost its native form turns this red.
func TestNativeHistogram(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.Diagnosed(30 * time.Millisecond)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "pushdoctor_diagnose_duration_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 1 || len(h.GetPositiveSpan()) != 1 || len(h.GetBucket()) == 0 {
			t.Errorf("the histogram is %v, want one sample in both forms", h)
		}
		return
	}
	t.Error("there is no pushdoctor_diagnose_duration_seconds")
}

// A lag that stands still while nothing is collected turns this red: it is there to show just that.
func TestCollected(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.Collected("octo-lab/api", exporter.Collection{At: start, Oldest: start.Add(-time.Minute), Pending: 3})
	s.Collected("octo-lab/new", exporter.Collection{})
	shown := func() []string {
		return lines(s.page(t, ""), "pushdoctor_collect_lag_seconds", "pushdoctor_last_collect", "pushdoctor_pending_jobs")
	}
	s.now = start.Add(time.Hour)
	compare(t, shown(), []string{
		`pushdoctor_collect_lag_seconds{repository="octo-lab/api"} 3660`,
		`pushdoctor_collect_lag_seconds{repository="octo-lab/new"} 0`,
		`pushdoctor_last_collect_timestamp_seconds{repository="octo-lab/api"} 1.7723592e+09`,
		`pushdoctor_pending_jobs{repository="octo-lab/api"} 3`,
		`pushdoctor_pending_jobs{repository="octo-lab/new"} 0`,
	})
	// Polls that fail take nothing back: the alert for a repository that is not read hangs on it.
	s.Collected("octo-lab/api", exporter.Collection{})
	s.Collected("octo-lab/api", exporter.Collection{Oldest: start, Pending: 1})
	compare(t, shown(), []string{
		`pushdoctor_collect_lag_seconds{repository="octo-lab/api"} 3660`,
		`pushdoctor_collect_lag_seconds{repository="octo-lab/new"} 0`,
		`pushdoctor_last_collect_timestamp_seconds{repository="octo-lab/api"} 1.7723592e+09`,
		`pushdoctor_pending_jobs{repository="octo-lab/api"} 1`,
		`pushdoctor_pending_jobs{repository="octo-lab/new"} 0`,
	})
	s.Collected("octo-lab/api", exporter.Collection{At: start.Add(time.Minute)})
	compare(t, lines(s.page(t, ""), `pushdoctor_collect_lag_seconds{repository="octo-lab/api"}`, "pushdoctor_last_collect"), []string{
		`pushdoctor_collect_lag_seconds{repository="octo-lab/api"} 0`,
		`pushdoctor_last_collect_timestamp_seconds{repository="octo-lab/api"} 1.77235926e+09`,
	})
	s.Dropped("octo-lab/api")
	s.now = start.Add(-time.Hour) // a clock that was set back makes no negative age
	s.Collected("octo-lab/new", exporter.Collection{Oldest: start})
	compare(t, shown(), []string{
		`pushdoctor_collect_lag_seconds{repository="octo-lab/new"} 0`,
		`pushdoctor_pending_jobs{repository="octo-lab/new"} 0`,
	})
}

// A store that cannot be read and takes the service's own metrics with it turns this red: the alerts that tell of the
// trouble hang on them.
func TestStoreGone(t *testing.T) {
	s := newService(t, exporter.Options{})
	s.Collected("octo-lab/api", exporter.Collection{Pending: 3})
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	defer s.open(t) // the clean-up closes it
	s.page(t, "")   // counts its errors after it was written
	compare(t, lines(s.page(t, ""), "pushdoctor_pending_jobs", "pushdoctor_config_last_reload_successful", "pushdoctor_runs_total", "promhttp_metric_handler_errors_total"), []string{
		`promhttp_metric_handler_errors_total{cause="encoding"} 0`,
		`promhttp_metric_handler_errors_total{cause="gathering"} 1`,
		`pushdoctor_config_last_reload_successful 1`,
		`pushdoctor_pending_jobs{repository="octo-lab/api"} 3`,
	})
}

// A cause without words, or with a link to a section that is not there, turns this red.
func TestCauseInfo(t *testing.T) {
	docs, err := os.ReadFile("../docs/causes.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t, exporter.Options{})
	shown := lines(s.page(t, ""), "pushdoctor_cause_info")
	if len(shown) != len(pushdoctor.Causes) {
		t.Errorf("%d causes have words, there are %d", len(shown), len(pushdoctor.Causes))
	}
	for _, cause := range pushdoctor.Causes {
		i := slices.IndexFunc(shown, func(line string) bool { return strings.Contains(line, fmt.Sprintf(`cause="%s"`, cause)) })
		if i < 0 || !strings.Contains(shown[i], fmt.Sprintf(`causes.md#%s"`, cause)) || strings.Contains(shown[i], `title=""`) {
			t.Errorf("%s has no words, or no page", cause)
		}
		if !strings.Contains(string(docs), fmt.Sprintf("\n## %s\n", cause)) {
			t.Errorf("docs/causes.md has no section %s", cause)
		}
	}
}
