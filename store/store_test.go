package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// day is when the tests' jobs end, but for what they add to it.
var day = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// open opens the store at path, and checks it at the test's end by its own rules and by bbolt's.
func open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAndCheck(t, db, path) })
	return db
}

func closeAndCheck(t testing.TB, db *store.DB, path string) {
	t.Helper()
	if err := errors.Join(db.Check(), db.Close()); err != nil {
		t.Error(err)
	}
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bolt.Close() }()
	if err := bolt.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "pushdoctor.db") }

// reading is the reading of a failed job whose run has the job's id.
func reading(job int64, ended time.Time, findings ...pushdoctor.Finding) store.Reading {
	result := store.ResultClean
	if len(findings) > 0 {
		result = store.ResultFindings
	}
	return store.Reading{
		Job: pushdoctor.Job{
			Repository: "octo-lab/api", Workflow: "image.yml", RunID: job, RunAttempt: 1, JobID: job, Name: "push", Branch: "main", Event: "push",
			URL:         fmt.Sprintf("https://github.com/octo-lab/api/actions/runs/%d/job/%d", job, job),
			CompletedAt: ended, StartedAt: ended.Add(-time.Minute), RepositoryID: 7, WorkflowID: 70, Conclusion: "failure", Runner: "runner-1",
		},
		Result: result, Findings: findings, Bytes: 1000, Rules: "1",
	}
}

func denied(image string) pushdoctor.Finding {
	return pushdoctor.Finding{
		Registry: pushdoctor.RegistryGHCR, Host: "ghcr.io", Image: "ghcr.io/octo-lab/" + image, Client: pushdoctor.ClientBuildx, Operation: pushdoctor.OperationUpload,
		Status: 403, StatusSource: pushdoctor.StatusExplicit, Cause: pushdoctor.CausePackageAccessDenied, Confidence: 0.95,
		Step: "Run docker/build-push-action@v6", Line: 812, Time: day.Add(-time.Second), Message: "denied: permission_denied: write_package", Rule: "ghcr-write-package",
		Evidence: []pushdoctor.Evidence{{Kind: pushdoctor.EvidenceAnswer, Line: 812, Text: "ERROR: denied: permission_denied: write_package"}},
	}
}

func reset(image string, recovered bool) pushdoctor.Finding {
	f := denied(image)
	f.Status, f.StatusSource, f.Cause, f.Recovered = 0, pushdoctor.StatusNone, pushdoctor.CauseConnectionLost, recovered
	return f
}

func record(t testing.TB, db *store.DB, r store.Reading, want bool) {
	t.Helper()
	added, err := db.Record(r)
	if err != nil || added != want {
		t.Fatalf("Record of job %d = %t, %v, want %t", r.Job.JobID, added, err, want)
	}
}

// totals are the totals as lines without the time, "live metric{labels} value finding".
func totals(t testing.TB, db *store.DB) []string {
	t.Helper()
	all, err := db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, total := range all {
		out = append(out, line(total))
	}
	return out
}

func line(t store.Total) string {
	live := "history"
	if t.Live {
		live = "live"
	}
	name := strings.TrimSuffix(strings.TrimPrefix(t.Metric, "pushdoctor_"), "_total")
	return strings.TrimSpace(fmt.Sprintf("%s %s{%s} %g %s", live, name, strings.Join(t.Labels, ","), t.Value, t.Finding))
}

func find(t testing.TB, db *store.DB, q store.Query) []store.Stored {
	t.Helper()
	found, err := db.Find(q)
	if err != nil {
		t.Fatalf("Find(%+v): %v", q, err)
	}
	return found
}

func ids(found []store.Stored) string {
	var out []string
	for _, f := range found {
		out = append(out, f.ID)
	}
	return strings.Join(out, " ")
}

// A label in the wrong place, a retried push that counts as failed or twice as pushed, bytes of a log that
// nobody counts, and a series that is born again when it is raised turn this red.
func TestRecordRaisesTotals(t *testing.T) {
	db := open(t, file(t))
	r := reading(1, day, denied("api"), reset("web", true), reset("web", true), reset("db", false))
	r.Job.Workflow = ""
	r.Pushed = map[pushdoctor.Registry]int{pushdoctor.RegistryGHCR: 3, pushdoctor.RegistryQuay: 1}
	before := time.Now()
	record(t, db, r, true)
	after := time.Now()
	want := []string{
		"history jobs_read{octo-lab/api,findings} 1",
		"history log_bytes{} 1000",
		"history push_failures_retried{octo-lab/api,other,ghcr,none,connection_lost} 2 1-3",
		"history push_failures{octo-lab/api,other,ghcr,403,package_access_denied} 1 1-1",
		"history push_failures{octo-lab/api,other,ghcr,none,connection_lost} 1 1-4",
		"history pushes{octo-lab/api,other,ghcr,failed} 2",
		"history pushes{octo-lab/api,other,ghcr,good} 2", // three, of which one was retried
		"history pushes{octo-lab/api,other,ghcr,retried} 2",
		"history pushes{octo-lab/api,other,quay,good} 1",
	}
	if diff := cmp.Diff(want, totals(t, db)); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	record(t, db, reading(2, day, denied("api")), true) // which gives birth to other series only
	all, err := db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	for _, total := range all {
		if slices.Contains(total.Labels, "image.yml") {
			continue
		}
		if total.Born.Before(before.Truncate(0)) || total.Born.After(after) {
			t.Errorf("%s was born at %s, not between %s and %s", line(total), total.Born, before, after)
		}
	}
}

// An execution that counts again turns this red: by the same job read with other rules, or by the job id under which a
// re-run of failed jobs carries it over. So do findings of the first reading that stay, and ids that change.
func TestRecordReplaces(t *testing.T) {
	path := file(t)
	db := open(t, path)
	record(t, db, reading(1, day, denied("api"), denied("web")), true)
	before := totals(t, db)

	again := reading(1, day, reset("api", false))
	record(t, db, again, false)
	if got := find(t, db, store.Query{}); ids(got) != "1-1" || got[0].Cause != pushdoctor.CauseConnectionLost {
		t.Errorf("after the second reading: %+v", got)
	}
	if got := find(t, db, store.Query{Cause: pushdoctor.CausePackageAccessDenied}); len(got) > 0 {
		t.Errorf("still found by its first cause: %+v", got)
	}
	if _, ok, err := db.Finding("1-2"); ok || err != nil {
		t.Errorf("Finding(1-2) = %t, %v", ok, err)
	}

	carried := again
	carried.Job.JobID, carried.Job.RunAttempt = 99, 2
	if known, err := db.Known(carried.Job.Execution(), 99); !known || err != nil {
		t.Errorf("Known of the carried-over job = %t, %v", known, err)
	}
	record(t, db, carried, false)
	if got := find(t, db, store.Query{}); ids(got) != "1-1" || got[0].RunAttempt != 1 {
		t.Errorf("after the reading of the carried-over job: %+v", got)
	}
	if known, err := db.Known(pushdoctor.Execution{}, 99); !known || err != nil {
		t.Errorf("Known by the carried-over job's id = %t, %v", known, err)
	}

	rerun := again
	rerun.Job.JobID, rerun.Job.RunAttempt, rerun.Job.StartedAt = 100, 2, day.Add(time.Hour)
	if known, err := db.Known(rerun.Job.Execution(), 100); known || err != nil {
		t.Errorf("Known of a real re-run = %t, %v", known, err)
	}
	if diff := cmp.Diff(before, totals(t, db)); diff != "" {
		t.Errorf("totals (-first reading +later):\n%s", diff)
	}
	record(t, db, rerun, true)
}

// What is lost on the way to the file and back turns this red.
func TestFindingIsWhole(t *testing.T) {
	path := file(t)
	r := reading(1, day, denied("api"))
	r.Job.HeadRepository = "octo-cat/api"
	r.Facts = pushdoctor.Facts{
		Token: map[string]string{"packages": "write"}, SecretSource: "Actions", Repository: "octo-lab/api", Ref: "refs/heads/main", Runner: "github-hosted", Whole: true,
		Logins: []pushdoctor.Login{{Host: "ghcr.io", User: "octo-cat", OK: true, Line: 210}}, Pushed: []string{"ghcr.io/octo-lab/web:1"},
		TokenLine: pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: 14, Text: "Packages: write"},
	}
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	record(t, db, r, true)
	closeAndCheck(t, db, path)

	db = open(t, path)
	want := store.Stored{ID: "1-1", Job: r.Job, Finding: r.Findings[0], Facts: r.Facts}
	got, ok, err := db.Finding("1-1")
	if !ok || err != nil {
		t.Fatalf("Finding(1-1) = %t, %v", ok, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("finding (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	const wantText = `{"id":"1-1","repository":"octo-lab/api","workflow":"image.yml","run_id":1,"run_attempt":1,"job_id":1,"job":"push","branch":"main","event":"push",` +
		`"url":"https://github.com/octo-lab/api/actions/runs/1/job/1","completed_at":"2026-03-01T10:00:00Z","registry":"ghcr","host":"ghcr.io",` +
		`"image":"ghcr.io/octo-lab/api","client":"buildx","operation":"upload","status":403,"status_source":"explicit","cause":"package_access_denied","confidence":0.95,` +
		`"recovered":false,"step":"Run docker/build-push-action@v6","line":812,"time":"2026-03-01T09:59:59Z","message":"denied: permission_denied: write_package",` +
		`"rule":"ghcr-write-package","evidence":[{"kind":"answer","line":812,"text":"ERROR: denied: permission_denied: write_package"}]}`
	if string(text) != wantText {
		t.Errorf("JSON is\n%s, want\n%s", text, wantText)
	}
}

// Log text without a bound, a rune cut in two, and a bound that empties the caller's own slices turn this red.
func TestFindingIsBounded(t *testing.T) {
	db := open(t, file(t))
	f := denied("api")
	f.Message = strings.Repeat("m", 300)
	f.Evidence = nil
	for i := range 60 {
		f.Evidence = append(f.Evidence, pushdoctor.Evidence{Kind: pushdoctor.EvidenceAnswer, Line: i + 1, Text: strings.Repeat("é", 120)})
	}
	long := denied("web")
	long.Message = "m" + strings.Repeat("é", 5000) // the bound is in the middle of one
	r := reading(1, day, f, long)
	r.Facts.Pushed = []string{"ghcr.io/octo-lab/db"}
	record(t, db, r, true)
	for i, e := range r.Findings[0].Evidence {
		if len(e.Text) != 240 {
			t.Errorf("Record changed line %d of its caller's evidence", i+1)
		}
	}
	for _, got := range find(t, db, store.Query{}) {
		size := len(got.Message)
		for _, e := range got.Evidence {
			size += len(e.Text)
		}
		for _, image := range got.Facts.Pushed {
			size += len(image)
		}
		if size > 8<<10 || size < 7<<10 || len(got.Evidence) > 40 || strings.ContainsRune(got.Message, '\uFFFD') {
			t.Errorf("finding %s has %d bytes in %d lines", got.ID, size, len(got.Evidence))
		}
	}
}

// A reading that would bring a value of no closed set into the labels, or that could never be found or
// pruned, turns this red.
func TestRecordRefuses(t *testing.T) {
	path := file(t)
	db := open(t, path)
	r := reading(0, time.Time{}, pushdoctor.Finding{})
	r.Result, r.Pushed = "good", map[pushdoctor.Registry]int{"": 1}
	_, err := db.Record(r)
	want := "store " + path + `: reading of job 0: the job has no id, run or repository
the job has not ended
unknown result "good"
finding 1: unknown cause "" or registry ""
pushes to unknown registry ""`
	if err == nil || err.Error() != want {
		t.Errorf("Record = %v, want %s", err, want)
	}
	if got := totals(t, db); got != nil {
		t.Errorf("totals of nothing: %q", got)
	}
}

// A job that ended before live_since and counts as live turns this red, and so does one that ended in that very moment and
// does not, a live_since that moves, and totals that change sides when it is set.
//
// A run that is called counted before it was is passed over; one that is not, after, is listed for ever.
func TestLiveAndHistory(t *testing.T) {
	db := open(t, file(t))
	record(t, db, reading(1, day.Add(time.Hour)), true)
	since := day.Add(30 * time.Minute)
	for _, r := range []store.Repository{
		{ID: 7, Name: "octo-lab/api", LiveSince: since},
		{ID: 7, Name: "octo-lab/api-2", LiveSince: day.Add(24 * time.Hour)},
	} {
		if err := db.PutRepository(r); err != nil {
			t.Fatal(err)
		}
	}
	record(t, db, reading(2, since.Add(-time.Nanosecond)), true)
	record(t, db, reading(3, since), true)
	runs := []pushdoctor.Run{
		{ID: 3, Attempt: 1, Workflow: "image.yml", Conclusion: "failure", UpdatedAt: since.Add(-time.Second)},
		{ID: 3, Attempt: 2, Workflow: "image.yml", Conclusion: "failure", UpdatedAt: since},
		{ID: 4, Attempt: 1, Workflow: "image.yml", Status: "in_progress", UpdatedAt: since},
	}
	for range 2 {
		if err := db.CountRuns(7, runs); err != nil {
			t.Fatal(err)
		}
	}
	for i, run := range runs {
		run.RepositoryID = 7
		if got, err := db.CountedRun(run); got != (i < 2) || err != nil {
			t.Errorf("CountedRun(%d, attempt %d) = %v, %v", run.ID, run.Attempt, got, err)
		}
	}
	want := []string{
		"history jobs_read{octo-lab/api-2,clean} 2",
		"live jobs_read{octo-lab/api-2,clean} 1",
		"history log_bytes{} 2000",
		"live log_bytes{} 1000",
		"history runs{octo-lab/api-2,image.yml,failure} 1",
		"live runs{octo-lab/api-2,image.yml,failure} 1",
	}
	if diff := cmp.Diff(want, totals(t, db)); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// A cursor that goes back turns this red, and what is written of a repository that has no id or that nobody has put.
func TestCursor(t *testing.T) {
	path := file(t)
	db := open(t, path)
	for want, err := range map[string]error{
		"cursor of repository 7": db.Advance(7, pushdoctor.Cursor{Through: day}),
		"repository 0":           db.PutRepository(store.Repository{Name: "octo-lab/api"}),
		"runs of repository 0":   db.CountRuns(0, []pushdoctor.Run{{ID: 1, Attempt: 1, Conclusion: "success", UpdatedAt: day}}),
	} {
		if want := "store " + path + ": " + want + ": the store has no such repository"; fmt.Sprint(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	err := errors.Join(
		db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api", State: "ok"}),
		db.Advance(7, pushdoctor.Cursor{Through: day, Swept: day}),
		db.Advance(7, pushdoctor.Cursor{Through: day.Add(-time.Hour), Swept: day.Add(time.Hour)}),
		db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api", State: "failed", Reason: "not found"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	got, ok, err := db.Repository(7)
	wantRepo := store.Repository{ID: 7, Name: "octo-lab/api", State: "failed", Reason: "not found", Cursor: pushdoctor.Cursor{Through: day, Swept: day.Add(time.Hour)}}
	if diff := cmp.Diff(wantRepo, got); diff != "" || !ok || err != nil {
		t.Errorf("Repository = %t, %v (-want +got):\n%s", ok, err, diff)
	}
}

// An error of a repository that GitHub does not know has no id; it must count all the same, and as live.
func TestCountError(t *testing.T) {
	db := open(t, file(t))
	for range 3 {
		if err := db.CountError("octo-lab/gone", "not_found"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"live collect_errors{octo-lab/gone,not_found} 3"}, totals(t, db)); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// A page that leaves out or repeats a finding, also when the finding where the last page ended was read
// away or many ended in one second, turns this red.
func TestFindPages(t *testing.T) {
	db := open(t, file(t))
	for job := int64(1); job <= 5; job++ {
		record(t, db, reading(job, day.Add(time.Duration(job/3)*time.Second+time.Duration(job)*time.Millisecond), denied("api"), reset("web", false)), true)
	}
	const all = "1-1 1-2 2-1 2-2 3-1 3-2 4-1 4-2 5-1 5-2"
	for _, test := range []struct {
		q    store.Query
		want string
	}{
		{store.Query{}, all},
		{store.Query{Newest: true}, "5-2 5-1 4-2 4-1 3-2 3-1 2-2 2-1 1-2 1-1"},
		{store.Query{Limit: 3}, "1-1 1-2 2-1"},
		{store.Query{Limit: 3, After: "2-1"}, "2-2 3-1 3-2"},
		{store.Query{Limit: 3, After: "2-1", Newest: true}, "1-2 1-1"},
		{store.Query{After: "4-2", Cause: pushdoctor.CauseConnectionLost}, "5-2"},
		{store.Query{After: "4-1", Repository: "Octo-Lab/API", Cause: pushdoctor.CauseConnectionLost}, "4-2 5-2"},
		{store.Query{After: "5-2"}, ""},
		{store.Query{After: "3-9"}, "4-1 4-2 5-1 5-2"}, // a finding that was there before
		{store.Query{Since: day.Add(time.Second)}, "3-1 3-2 4-1 4-2 5-1 5-2"},
		{store.Query{Since: day.Add(2 * time.Millisecond), Limit: 1}, "2-1"},
		{store.Query{Until: day.Add(time.Second)}, "1-1 1-2 2-1 2-2"},
		{store.Query{Until: day.Add(2 * time.Millisecond), Newest: true, Limit: 2}, "1-2 1-1"},
		{store.Query{Since: day.Add(time.Second), After: "1-1", Limit: 1}, "3-1"},
		{store.Query{Until: day.Add(time.Second), After: "5-1", Newest: true, Limit: 1}, "2-2"},
		{store.Query{Repository: "octo-lab/web"}, ""},
		{store.Query{Cause: "package_access"}, ""},
		{store.Query{Since: time.Unix(math.MaxInt32, 0)}, ""},
	} {
		if got := ids(find(t, db, test.q)); got != test.want {
			t.Errorf("Find(%+v) = %s, want %s", test.q, got, test.want)
		}
	}
	for _, after := range []string{"6-1", "1", "01-1", "1-1-1", "-1-1", "1-+1", strings.Repeat("9", 300)} {
		if _, err := db.Find(store.Query{After: after}); !errors.Is(err, store.ErrNoFinding) {
			t.Errorf("Find after %.20q: %v, want ErrNoFinding", after, err)
		}
		if _, ok, err := db.Finding(after); ok || err != nil {
			t.Errorf("Finding(%.20q) = %t, %v", after, ok, err)
		}
	}
}

// A repository that was deleted and made anew under its name has two ids: its findings must be one list in order, and its
// totals one series.
func TestTwoRepositoriesOfOneName(t *testing.T) {
	db := open(t, file(t))
	for job := int64(1); job <= 6; job++ {
		r := reading(job, day.Add(time.Duration(job)*time.Minute), denied("api"))
		r.Job.RepositoryID = 7 + job%2
		record(t, db, r, true)
	}
	if got := ids(find(t, db, store.Query{Repository: "octo-lab/api"})); got != "1-1 2-1 3-1 4-1 5-1 6-1" {
		t.Errorf("oldest first: %s", got)
	}
	if got := ids(find(t, db, store.Query{Repository: "octo-lab/api", Newest: true, After: "5-1"})); got != "4-1 3-1 2-1 1-1" {
		t.Errorf("newest first: %s", got)
	}
	if got := totals(t, db)[0]; got != "history jobs_read{octo-lab/api,findings} 6" {
		t.Errorf("totals begin with %s", got)
	}
	if err := db.PutRepository(store.Repository{ID: 8, Name: "octo-lab/web"}); err != nil {
		t.Fatal(err)
	}
	got := find(t, db, store.Query{Repository: "octo-lab/web"})
	if ids(got) != "1-1 3-1 5-1" || got[0].Repository != "octo-lab/web" {
		t.Errorf("by the new name: %+v", got)
	}
}

// Work that a restart loses, that is due twice after it was put off, or that outlives its job's reading turns this red.
func TestPending(t *testing.T) {
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(job int64, kind store.PendingKind, due time.Time, tries int) store.Pending {
		t.Helper()
		p := store.Pending{Kind: kind, Job: reading(job, day).Job, Due: due, Tries: tries}
		if err := db.PutPending(p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	put(1, store.PendingMissing, day.Add(time.Minute), 1)
	two := put(2, store.PendingMissing, day.Add(2*time.Minute), 1)
	put(1, store.PendingMissing, day.Add(3*time.Minute), 2)
	one := put(1, store.PendingGone, day.Add(4*time.Minute), 0) // in place of the others
	three := put(3, store.PendingMissing, day.Add(5*time.Minute), 0)
	closeAndCheck(t, db, path)

	db = open(t, path)
	due := func(now time.Time, limit int, want ...store.Pending) {
		t.Helper()
		got, err := db.DuePending(now, limit)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("due at %s (-want +got):\n%s", now, diff)
		}
	}
	due(day.Add(time.Minute), 0)
	due(day.Add(4*time.Minute), 0, two, one)
	due(day.Add(4*time.Minute), 1, two)
	for job, want := range map[int64]bool{1: true, 2: true, 4: false} {
		if got, err := db.IsPending(job); got != want || err != nil {
			t.Errorf("IsPending(%d) = %t, %v", job, got, err)
		}
	}
	record(t, db, reading(1, day), true)
	due(day.Add(time.Hour), 0, two, three)
	if err := db.DonePending(2); err != nil {
		t.Fatal(err)
	}
	due(day.Add(time.Hour), 0, three)
}

// A total that retention lowers turns this red, a row that outlives it, and what was forgotten and counts again.
func TestPrune(t *testing.T) {
	path := file(t)
	db := open(t, path)
	var runs []pushdoctor.Run
	const jobs = 1200 // more than one transaction removes
	for job := int64(1); job <= jobs; job++ {
		record(t, db, reading(job, day.Add(time.Duration(job)*time.Minute), denied("api")), true)
		runs = append(runs, pushdoctor.Run{ID: job, Attempt: 1, Conclusion: "failure", UpdatedAt: day.Add(time.Duration(job) * time.Minute)})
	}
	if err := db.CountRuns(7, runs); err != nil {
		t.Fatal(err)
	}
	before := totals(t, db)
	if f, e, err := db.Prune(day.Add(1e9*time.Second), 0); f != 0 || e != 0 || err != nil {
		t.Errorf("Prune without retention = %d, %d, %v", f, e, err)
	}
	now := day.Add(24 * time.Hour).Add(1101 * time.Minute)
	for range 2 { // the second time there is nothing left to do
		if _, _, err := db.Prune(now, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := find(t, db, store.Query{}); len(got) != 100 || got[0].ID != "1101-1" {
			t.Errorf("%d findings are left", len(got))
		}
	}
	old := reading(1100, day.Add(1100*time.Minute), denied("api"))
	if known, err := db.Known(old.Job.Execution(), 1100); known || err != nil {
		t.Errorf("Known of a forgotten job = %t, %v", known, err)
	}
	// What is read of a forgotten job is not written, and must not be due for ever.
	if err := db.PutPending(store.Pending{Kind: store.PendingMissing, Job: old.Job, Due: day}); err != nil {
		t.Fatal(err)
	}
	record(t, db, old, false)
	if due, err := db.DuePending(now, 0); len(due) > 0 || err != nil {
		t.Errorf("due after the forgotten job was read: %v, %v", due, err)
	}
	record(t, db, reading(1101, day.Add(1101*time.Minute), denied("api")), false)
	if err := db.CountRuns(7, runs); err != nil {
		t.Fatal(err)
	}
	// A longer retention does not bring back what was counted.
	if _, _, err := db.Prune(now, 48*time.Hour); err != nil {
		t.Fatal(err)
	}
	record(t, db, old, false)
	if diff := cmp.Diff(before, totals(t, db)); diff != "" {
		t.Errorf("totals (-before +after):\n%s", diff)
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
	if f, e, err := db.Prune(now.Add(time.Hour*24*365), time.Hour); f != 100 || e != 100 || err != nil {
		t.Errorf("Prune of the rest = %d, %d, %v", f, e, err)
	}
	bolt := rows(t, path, db)
	want := map[string]int{"meta": 4, "repos": 1, "totals": len(before)}
	if diff := cmp.Diff(want, bolt); diff != "" {
		t.Errorf("rows of the empty store (-want +got):\n%s", diff)
	}
}

// rows counts the rows of each bucket that has any, in a copy of the file.
func rows(t *testing.T, path string, db *store.DB) map[string]int {
	t.Helper()
	if err := db.Check(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path) // nobody writes now
	if err != nil {
		t.Fatal(err)
	}
	duplicate := file(t)
	if err := os.WriteFile(duplicate, data, 0o600); err != nil {
		t.Fatal(err)
	}
	bolt, err := bbolt.Open(duplicate, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bolt.Close() }()
	out := map[string]int{}
	if err := bolt.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { out[string(name)]++; return nil })
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A reader that sees a finding without its total, or half of a reading, turns this red; so does a data race.
func TestReadersBesideTheWriter(t *testing.T) {
	db := open(t, file(t))
	const jobs = 50
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			seen := 0
			for {
				select {
				case <-done:
					return
				default:
				}
				all, err := db.Totals()
				if err != nil {
					t.Error(err)
					return
				}
				var failed int
				for _, total := range all {
					if total.Metric == store.MetricPushFailures {
						failed += int(total.Value)
					}
				}
				found, err := db.Find(store.Query{})
				if err != nil {
					t.Error(err)
					return
				}
				// The findings were asked for after the totals.
				if len(found) < failed || len(found)%2 != 0 || failed < seen {
					t.Errorf("%d findings beside totals of %d, before %d", len(found), failed, seen)
					return
				}
				seen = failed
			}
		})
	}
	for job := int64(1); job <= jobs; job++ {
		record(t, db, reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), reset("web", false)), true)
	}
	close(done)
	wg.Wait()
	if got := len(find(t, db, store.Query{})); got != 2*jobs {
		t.Errorf("%d findings, want %d", got, 2*jobs)
	}
}

// A file that grows and a size that does not turns this red.
func TestSize(t *testing.T) {
	path := file(t)
	db := open(t, path)
	for job := int64(1); job <= 100; job++ {
		record(t, db, reading(job, day, denied("api")), true)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := db.Size(); got < 64<<10 || got > info.Size() {
		t.Errorf("Size = %d of a file of %d bytes", got, info.Size())
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %s: it holds text of private logs", info.Mode())
	}
}

func BenchmarkRecord(b *testing.B) {
	db := open(b, file(b))
	b.ReportAllocs()
	for job := int64(1); b.Loop(); job++ {
		record(b, db, reading(job, day.Add(time.Duration(job)*time.Second), denied("api")), true)
	}
}

// One operation is 1,000 readings by one writer, which is what an hour of the API's quota allows at most five times.
func BenchmarkRecord1000(b *testing.B) {
	db := open(b, file(b))
	b.ReportAllocs()
	for job := int64(1); b.Loop(); {
		for range 1000 {
			record(b, db, reading(job, day.Add(time.Duration(job)*time.Second), denied("api")), true)
			job++
		}
	}
}

func BenchmarkFind(b *testing.B) {
	path := file(b)
	db := open(b, path)
	const jobs = 1000
	for job := int64(1); job <= jobs; job++ {
		var findings []pushdoctor.Finding
		for i := range 100 {
			findings = append(findings, denied(fmt.Sprint("image-", i)))
		}
		record(b, db, reading(job, day.Add(time.Duration(job)*time.Second), findings...), true)
	}
	for _, bench := range []struct {
		name string
		q    store.Query
		want int
	}{
		{"Page", store.Query{Limit: 100, Newest: true}, 100},
		{"PageOfRepositoryAndCause", store.Query{Limit: 100, Newest: true, Repository: "octo-lab/api", Cause: pushdoctor.CausePackageAccessDenied}, 100},
		{"NoneOfRepositoryAndCause", store.Query{Repository: "octo-lab/api", Cause: pushdoctor.CauseUnknown}, 0},
		{"All", store.Query{}, 100 * jobs},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := len(find(b, db, bench.q)); got != bench.want {
					b.Fatalf("%d findings, want %d", got, bench.want)
				}
			}
		})
	}
}

// Totals that are still called by a repository's name of before, or by a forgotten one's, turn this red: what keys say is remembered.
func TestTotalsOfRenamed(t *testing.T) {
	db := open(t, file(t))
	record(t, db, reading(1, day), true)
	for _, name := range []string{"octo-lab/api", "octo-lab/backend", "octo-lab/api"} {
		if err := db.PutRepository(store.Repository{ID: 7, Name: name}); err != nil {
			t.Fatal(err)
		}
		want := []string{"history jobs_read{" + name + ",clean} 1", "history log_bytes{} 1000"}
		for range 2 {
			if diff := cmp.Diff(want, totals(t, db)); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
		}
	}
	if _, err := db.Forget("octo-lab/api"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"history log_bytes{} 1000"}, totals(t, db)); diff != "" {
		t.Errorf("totals after Forget (-want +got):\n%s", diff)
	}
}

// Red where a workflow has no name, or one that it had long ago, or one that whoever writes the repository's state has lost.
func TestWorkflowNames(t *testing.T) {
	db := open(t, file(t))
	repo := store.Repository{ID: 1, Name: "octo-lab/api", LiveSince: day}
	if err := db.PutRepository(repo); err != nil {
		t.Fatal(err)
	}
	for n, run := range []pushdoctor.Run{
		{Workflow: "image.yml", WorkflowName: "Image of long ago", UpdatedAt: day.Add(-time.Hour)},
		{Workflow: "image.yml", WorkflowName: "Image", UpdatedAt: day.Add(time.Hour)},
		{Workflow: "image.yml", WorkflowName: "Image of before", UpdatedAt: day.Add(-2 * time.Hour)},
		{Workflow: "release.yml", WorkflowName: "Release", UpdatedAt: day.Add(-time.Hour)},
		{Workflow: "other", WorkflowName: "of a branch", UpdatedAt: day.Add(time.Hour)},
		{Workflow: "", WorkflowName: "of nothing", UpdatedAt: day.Add(time.Hour)},
		{Workflow: "docs.yml", WorkflowName: strings.Repeat("é", 101), UpdatedAt: day.Add(time.Hour)},
	} {
		run.ID, run.Attempt, run.Conclusion = int64(n+1), 1, "success"
		if err := db.CountRuns(1, []pushdoctor.Run{run}); err != nil {
			t.Fatal(err)
		}
	}
	repo.State = "forbidden"
	if err := db.PutRepository(repo); err != nil {
		t.Fatal(err)
	}
	got, _, err := db.Repository(1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"image.yml": "Image", "release.yml": "Release", "docs.yml": strings.Repeat("é", 100)}
	if d := cmp.Diff(want, got.Workflows); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// Red where a run without an end, of which GitHub's answers have none, makes a history from the year 1 on.
func TestRunWithoutEnd(t *testing.T) {
	db := open(t, file(t))
	if err := db.CountRuns(1, []pushdoctor.Run{{Repository: "octo-lab/api", ID: 1, Attempt: 1, Conclusion: "failure"}}); err != nil {
		t.Fatal(err)
	}
	if got := totals(t, db); len(got) != 0 {
		t.Errorf("totals %q, want none", got)
	}
}

// Red where Skip is asked about a finding that is not asked for, or reads one all the same.
func TestSkip(t *testing.T) {
	db := open(t, file(t))
	for job := range int64(4) {
		record(t, db, reading(job+1, day.Add(time.Duration(job)*time.Hour), denied("api"), reset("web", false)), true)
	}
	var asked []string
	got := ids(find(t, db, store.Query{Since: day.Add(time.Hour), Cause: pushdoctor.CauseConnectionLost, Skip: func(id string) bool {
		asked = append(asked, id)
		return id == "3-2"
	}}))
	if want := "2-2 4-2"; got != want || !slices.Equal(asked, []string{"2-2", "3-2", "4-2"}) {
		t.Errorf("found %s, want %s; asked about %q", got, want, asked)
	}
}
