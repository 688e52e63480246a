package actions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

const token = "ghp_0000000000000000000000000000TESTONLY"

var begin = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// start returns a client of a fake GitHub over TCP that shows w. At the end of the test the
// fake must have nothing to complain of.
func start(t *testing.T, w *fakegithub.World, fake fakegithub.Options, o actions.Options) (*actions.Client, *fakegithub.Server) {
	t.Helper()
	fake.Token = token
	s := fakegithub.New(w, fake)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return client(t, s, o), s
}

func client(t *testing.T, s *fakegithub.Server, o actions.Options) *actions.Client {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if v := s.Stats().Violations; v != nil {
			t.Errorf("GitHub would complain of %q", v)
		}
	})
	o.URL = s.URL()
	if o.Token == "" {
		o.Token = token
	}
	c, err := actions.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// collect returns the runs of octo-lab/api, newest first.
func collect(t *testing.T, c *actions.Client, w actions.Window) []pushdoctor.Run {
	t.Helper()
	var runs []pushdoctor.Run
	for r, err := range c.Runs(t.Context(), "octo-lab/api", w, false) {
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b pushdoctor.Run) int { return int(b.ID - a.ID) })
	return runs
}

// A field that is not read, or not into its place, turns this red; so does a run of a
// fork that is told as one of its base.
func TestRuns(t *testing.T) {
	w := fakegithub.NewWorld()
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", WorkflowName: "Image", CreatedAt: begin})
	w.AddRun(pushdoctor.Run{
		Repository: "octo-lab/api", Workflow: "pr.yaml", Event: "pull_request", HeadRepository: "marlow-forks/api",
		Branch: "fix", CreatedAt: begin.Add(time.Minute),
	}, fakegithub.Job{Job: pushdoctor.Job{Conclusion: "failure"}})
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", CreatedAt: begin.Add(2 * time.Minute)},
		fakegithub.Job{Job: pushdoctor.Job{CompletedAt: time.Now().Add(time.Hour)}}) // in progress
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/web", CreatedAt: begin})
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})

	want := w.Runs("octo-lab/api", time.Now())
	got := collect(t, c, actions.Window{From: begin})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got)\n%s", diff)
	}
	// Both ends belong to a window.
	got = collect(t, c, actions.Window{From: begin, To: begin.Add(time.Minute)})
	if diff := cmp.Diff(want[1:], got); diff != "" {
		t.Errorf("runs of a minute (-want +got)\n%s", diff)
	}
	one, err := c.Run(t.Context(), "octo-lab/api", want[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[1], one); diff != "" {
		t.Errorf("one run (-want +got)\n%s", diff)
	}
}

// GitHub lists 1,000 of what a filter lets pass. A window that is not halved loses runs, one that is
// halved wrongly has some twice, and a walk that stays within one page sees a hundred.
func TestRunsHalved(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 1600 {
		at := begin.Add(time.Duration(i) * time.Second / 3)
		if i > 1100 {
			at = at.Add(240 * time.Hour)
		}
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: at})
	}
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	want := w.Runs("octo-lab/api", time.Now())
	for _, window := range []actions.Window{{From: begin}, {From: begin, To: begin.Add(400 * time.Hour)}} {
		before := s.Stats().Requests["runs"]
		if diff := cmp.Diff(want, collect(t, c, window)); diff != "" {
			t.Errorf("%v (-want +got)\n%.500s", window, diff)
		}
		// 18 pages hold runs; the way down from months to these minutes takes two for each halving.
		if n := s.Stats().Requests["runs"] - before; n > 18+2*2*16 {
			t.Errorf("%v: %d requests", window, n)
		}
	}
	if n, err := c.Count(t.Context(), "octo-lab/api", actions.Window{}); n != len(want) || err != nil {
		t.Errorf("Count() = %d, %v, want %d", n, err, len(want))
	}
}

// Red where the newest attempt is told in place of an older one, whose conclusion is another.
func TestAttempt(t *testing.T) {
	w := fakegithub.NewWorld()
	failed := fakegithub.Job{Job: pushdoctor.Job{Name: "image", Conclusion: "failure"}}
	first := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", CreatedAt: begin}, failed)
	w.Rerun(first.ID, begin.Add(time.Hour), fakegithub.Job{Job: pushdoctor.Job{Name: "image", Conclusion: "success"}})
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})
	for attempt, want := range map[int]string{1: "failure", 2: "success"} {
		run, err := c.Attempt(t.Context(), "octo-lab/api", first.ID, attempt)
		if err != nil || run.Attempt != attempt || run.Conclusion != want {
			t.Errorf("attempt %d: %d, %s, %v, want %s", attempt, run.Attempt, run.Conclusion, err, want)
		}
	}
	if _, err := c.Attempt(t.Context(), "octo-lab/api", first.ID, 3); !errors.Is(err, actions.ErrNotFound) {
		t.Errorf("attempt 3: %v", err)
	}
}

// Runs that appear while pages are read push others to the next page. They must not be told twice.
func TestRunsWhileTheyAppear(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 250 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Duration(i) * time.Minute)})
	}
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{Observe: func(e actions.Exchange) {
		if e.Endpoint == "runs" {
			w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(1000 * time.Minute)})
		}
	}})
	told := map[int64]int{}
	for _, run := range collect(t, c, actions.Window{From: begin}) {
		if told[run.ID]++; told[run.ID] > 1 {
			t.Errorf("run %d is told %d times", run.ID, told[run.ID])
		}
	}
	if len(told) != 250 {
		t.Errorf("%d runs, want the 250 of the beginning", len(told))
	}
}

// A second with more runs than GitHub lists hides those of all seconds after it, or is passed over in silence.
func TestRunsOfOneSecondTooMany(t *testing.T) {
	w := fakegithub.NewWorld()
	for range 1003 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin})
	}
	for minute := range 3 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Duration(minute-1) * 20 * time.Minute)})
	}
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	told := map[int64]time.Time{}
	var last error
	for run, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{From: begin.Add(-time.Hour), To: begin.Add(time.Hour)}, false) {
		if last != nil {
			t.Fatal("something is yielded after the error")
		}
		if last = err; err == nil {
			told[run.ID] = run.CreatedAt
		}
	}
	const want = "runs of octo-lab/api: more than 1,000 runs within a second, at 2026-03-01T10:00:00Z"
	if !errors.Is(last, actions.ErrTooManyRuns) || last.Error() != want {
		t.Errorf("the error is %v, want %s", last, want)
	}
	// 1,004 runs of that second, of which 1,000 can be listed; one before, one after.
	after := slices.Contains(slices.Collect(maps.Values(told)), begin.Add(20*time.Minute))
	if len(told) != 1002 || !after {
		t.Errorf("%d runs are told, want 1,002; that the one after is among them: %v", len(told), after)
	}
	if n := s.Stats().Requests["runs"]; n > 10+2*14+2 {
		t.Errorf("%d requests", n)
	}
}

// A caller that breaks off a range must not be called again.
func TestRunsBrokenOff(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 2000 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Duration(i) * time.Minute)})
	}
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	next, stop := iter.Pull2(c.Runs(t.Context(), "octo-lab/api", actions.Window{From: begin, To: begin.Add(2000 * time.Minute)}, false))
	if _, err, ok := next(); err != nil || !ok {
		t.Fatal(err, ok)
	}
	stop()
	if n := s.Stats().Requests["runs"]; n > 3 {
		t.Errorf("%d requests for the first run", n)
	}
}

// A re-run of failed jobs carries the others over under new ids. If they were not told apart, a failure that was
// carried over would count twice; if too much were, that of the second attempt would be lost.
func TestJobs(t *testing.T) {
	w := fakegithub.NewWorld()
	job := func(name, conclusion string) fakegithub.Job {
		return fakegithub.Job{Job: pushdoctor.Job{Name: name, Conclusion: conclusion}}
	}
	twin := job("same", "failure") // two jobs of a matrix whose name leaves out what they differ in, on one runner
	twin.Runner = "rack-7"
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", CreatedAt: begin},
		job("build", "success"), job("push", "failure"), job("lint", "failure"), twin, twin)
	w.Rerun(run.ID, begin.Add(time.Hour), job("push", "failure"), job("same", "success")) // lint by hand: not again
	run = w.Rerun(run.ID, begin.Add(2*time.Hour), job("push", "success"))

	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})
	got, err := c.Jobs(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	var want []pushdoctor.Job
	for _, j := range w.Jobs(run.ID) {
		carried := slices.ContainsFunc(want, func(first pushdoctor.Job) bool {
			return first.Execution() == j.Execution() && first.RunAttempt != j.RunAttempt
		})
		if !carried {
			want = append(want, j.Job)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("jobs (-want +got)\n%s", diff)
	}
	var told []string
	for _, j := range got {
		told = append(told, fmt.Sprintf("%d %s %s", j.RunAttempt, j.Name, j.Conclusion))
	}
	if diff := cmp.Diff([]string{
		"1 build success", "1 push failure", "1 lint failure", "1 same failure", "1 same failure",
		"2 push failure", "2 same success", "3 push success",
	}, told); diff != "" {
		t.Errorf("jobs in short (-want +got)\n%s", diff)
	}
	one, err := c.Job(t.Context(), "octo-lab/api", got[1].JobID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got[1], one); diff != "" {
		t.Errorf("one job (-want +got)\n%s", diff)
	}
}

// A matrix has up to 256 jobs, and a page of them a hundred. One that runs still has not concluded.
func TestJobsOfAllPages(t *testing.T) {
	w := fakegithub.NewWorld()
	var jobs []fakegithub.Job
	for i := range 256 {
		jobs = append(jobs, fakegithub.Job{Job: pushdoctor.Job{Name: fmt.Sprintf("build (%d)", i)}})
	}
	jobs[7].CompletedAt = time.Now().Add(time.Hour)
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin}, jobs...)
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})
	got, err := c.Jobs(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 256 {
		t.Errorf("%d jobs, want 256", len(got))
	}
	if j := got[7]; j.Conclusion != "" || !j.CompletedAt.IsZero() {
		t.Errorf("a job in progress is told as %+v", j)
	}
}

// What a fork's pull request adds is not on the default branch, and must not become a label. The
// answer is kept: a list of a hundred runs must not ask a hundred times.
func TestWorkflowName(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 30 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", WorkflowName: "Image", CreatedAt: begin.Add(time.Duration(i) * time.Second)})
	}
	invented := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "invented-by-a-fork.yml", CreatedAt: begin.Add(time.Hour)})
	w.RemoveFile("octo-lab/api", ".github/workflows/invented-by-a-fork.yml")
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})

	runs := collect(t, c, actions.Window{})
	if runs[0].Workflow != "other" || runs[1].Workflow != "image.yml" {
		t.Errorf("workflows are %q and %q, want other and image.yml", runs[0].Workflow, runs[1].Workflow)
	}
	path, name, err := c.WorkflowName(t.Context(), "octo-lab/api", runs[1].WorkflowID)
	if path != ".github/workflows/image.yml" || name != "Image" || err != nil {
		t.Errorf("WorkflowName() = %q, %q, %v", path, name, err)
	}
	path, name, err = c.WorkflowName(t.Context(), "octo-lab/api", invented.WorkflowID)
	if path != "" || name != "invented-by-a-fork" || err != nil {
		t.Errorf("WorkflowName() = %q, %q, %v", path, name, err)
	}
	path, name, err = c.WorkflowName(t.Context(), "octo-lab/api", 4711) // deleted
	if path != "" || name != "" || err != nil {
		t.Errorf("WorkflowName() = %q, %q, %v", path, name, err)
	}
	got := s.Stats().Requests
	if diff := cmp.Diff(map[string]int{"runs": 1, "workflow": 3, "file": 2}, got); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// A workflow for which GitHub has only faults, and the list of all runs ends there, or waits for each of its runs anew. What is
// wrong with the token must still end it.
func TestWorkflowUnavailable(t *testing.T) {
	for _, test := range []struct {
		code, runs, asked int
		want              error
	}{{502, 3, 6, nil}, {401, 0, 1, actions.ErrUnauthorized}, {403, 0, 1, actions.ErrForbidden}} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				code, body := 200, `{"total_count": 3, "workflow_runs": [`
				for id := range 3 {
					body += fmt.Sprintf(`{"id": %d, "workflow_id": 7, "created_at": "2026-03-01T10:00:00Z", "repository": {"id": 1, "full_name": "octo-lab/api"}},`, id+1)
				}
				body = strings.TrimSuffix(body, ",") + "]}"
				if strings.Contains(r.URL.Path, "/workflows/") {
					asked++
					code, body = test.code, `{"message": "no"}`
				}
				return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			runs := 0
			var got error
			for run, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{}, false) {
				if got = err; err == nil {
					runs++
					if run.Workflow != "" {
						t.Errorf("%d: run %d has the workflow %q, which nobody has told", test.code, run.ID, run.Workflow)
					}
				}
			}
			if runs != test.runs || asked != test.asked || !errors.Is(got, test.want) {
				t.Errorf("%d: %d runs, %d requests for the workflow, %v; want %d, %d, %v", test.code, runs, asked, got, test.runs, test.asked, test.want)
			}
		})
	}
}

// A run that is deleted between two pages moves another one to the page that was read: without a second look it is lost.
func TestRunsWhileOneIsDeleted(t *testing.T) {
	for _, test := range []struct{ asked, want int }{{2, 101}, {9, 100}} { // the page at which the missing run comes back; 9: never
		asked := 0
		c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			h := http.Header{"Content-Type": {"application/json"}}
			body := `{"id": 7, "path": "dynamic/x"}`
			if strings.HasSuffix(r.URL.Path, "/runs") {
				asked++
				var runs []string
				for id := range test.want {
					if id < 100 || asked >= test.asked {
						runs = append(runs, fmt.Sprintf(`{"id": %d, "workflow_id": 7, "created_at": "2026-03-01T10:00:00Z", "repository": {"id": 1, "full_name": "octo-lab/api"}}`, id+1))
					}
				}
				body = `{"total_count": 101, "workflow_runs": [` + strings.Join(runs, ",") + "]}"
			}
			return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		var got error
		for _, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{}, false) {
			if got = err; err == nil {
				n++
			}
		}
		if n != test.want || asked != 2 || errors.Is(got, actions.ErrShortList) != (n < 101) {
			t.Errorf("%d runs by %d requests, %v; want %d by 2", n, asked, got, test.want)
		}
	}
}

// A refusal whose body breaks off once, and is taken for an answer that must not be asked for again.
func TestRefusalBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			var body io.Reader = strings.NewReader(`{"message": "Not Found"}`)
			if asked++; asked == 1 {
				body = io.MultiReader(strings.NewReader(`{"mess`), iotest.ErrReader(io.ErrUnexpectedEOF))
			}
			return &http.Response{StatusCode: 404, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body), Request: r}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Repository(t.Context(), "octo-lab/api"); !errors.Is(err, actions.ErrNotFound) || asked != 2 {
			t.Errorf("Repository() = %v after %d requests, want ErrNotFound after 2", err, asked)
		}
	})
}

// An idle repository must cost no quota: that is what lets fifty of them be polled each minute.
func TestConditionalRequests(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 150 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Duration(i) * time.Second)})
	}
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	window := actions.Window{From: begin}
	first := collect(t, c, window)
	left := c.Budget().Remaining
	again := collect(t, c, window)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the second list differs (-first +again)\n%s", diff)
	}
	if c.Budget().Remaining != left || s.Stats().NotModified != 2 {
		t.Errorf("%d of the quota are left of %d, %d answers were 304", c.Budget().Remaining, left, s.Stats().NotModified)
	}
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Hour)})
	if got := collect(t, c, window); len(got) != 151 {
		t.Errorf("%d runs after one more, want 151", len(got))
	}
}

// A list that its caller is done with, and that has not changed, is read and decoded each minute all the same. Or: one
// that has changed, has other pages, or comes with another token, is taken for it.
func TestSettledRuns(t *testing.T) {
	w := fakegithub.NewWorld()
	add := func(minute int) {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Duration(minute) * time.Minute)})
	}
	add(0)
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	count := func(settled bool) (n int) {
		t.Helper()
		for _, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{From: begin}, settled) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for i, step := range []struct {
		settled bool
		before  func()
		want    int
	}{
		{true, func() {}, 1}, // nothing is kept yet
		{false, func() {}, 1},
		{true, func() {}, 0},
		{true, func() { add(1) }, 2},
		{true, func() {}, 0},
		{true, func() {
			for minute := range 120 {
				add(2 + minute)
			}
		}, 122},
		{true, func() {}, 122}, // the second page may have changed
	} {
		step.before()
		if got := count(step.settled); got != step.want {
			t.Errorf("step %d: %d runs, want %d", i, got, step.want)
		}
	}
	if got := s.Stats(); got.Requests["runs"] != 9 || got.NotModified != 5 {
		t.Errorf("%d requests, %d answers of 304; want 9 and 5", got.Requests["runs"], got.NotModified)
	}
	// Where Actions was switched off, the repository that is asked for instead may well be unchanged.
	w.Change("octo-lab/api", func(r *fakegithub.Repository) { r.ActionsOff = true })
	for range 2 {
		var last error
		for _, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{From: begin}, true) {
			last = err
		}
		if !errors.Is(last, actions.ErrActionsOff) {
			t.Errorf("without Actions: %v", last)
		}
	}
}

// Unchanged is not only not yielded, but not decoded: the body that was kept is not even unpacked.
func TestSettledRunsAreNotDecoded(t *testing.T) {
	asked := 0
	c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"1"`}}, Body: io.NopCloser(strings.NewReader("no list")), Request: r}
		if asked++; r.Header.Get("If-None-Match") != "" {
			resp.StatusCode, resp.Body = 304, http.NoBody
		}
		return resp, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{actions.ErrNotJSON, nil} {
		var got error
		for _, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{}, i == 1) {
			got = err
		}
		if !errors.Is(got, want) || asked != i+1 {
			t.Errorf("settled %v: %v after %d requests", i == 1, got, asked)
		}
	}
}

// Each fault of a user's set-up has a name of its own, and none of them shows the token.
func TestRefusals(t *testing.T) {
	w := fakegithub.NewWorld()
	for _, r := range []fakegithub.Repository{
		{Name: "octo-lab/api"}, {Name: "octo-lab/no-actions", ActionsOff: true}, {Name: "octo-lab/secret", Hidden: true}, {Name: "octo-lab/narrow", Forbidden: true},
	} {
		w.AddRepository(r)
		w.AddRun(pushdoctor.Run{Repository: r.Name, CreatedAt: begin})
	}
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	for _, test := range []struct {
		repository string
		want       error
	}{
		{"octo-lab/api", nil},
		{"octo-lab/no-actions", actions.ErrActionsOff},
		{"octo-lab/secret", actions.ErrNotFound},
		{"octo-lab/never-was", actions.ErrNotFound},
		{"octo-lab/narrow", actions.ErrForbidden},
		{"octo-lab", actions.ErrNotFound},
		{"octo-lab/..", actions.ErrNotFound},
		{"octo-lab/api/../../../user", actions.ErrNotFound},
		{"octo-lab/api?x=", actions.ErrNotFound},
	} {
		var got error
		for _, err := range c.Runs(t.Context(), test.repository, actions.Window{}, false) {
			got = err
		}
		if !errors.Is(got, test.want) || test.want == nil && got != nil {
			t.Errorf("runs of %s: %v, want %v", test.repository, got, test.want)
		}
	}
	s.SetToken("another one")
	if _, err := c.Repository(t.Context(), "octo-lab/api"); !errors.Is(err, actions.ErrUnauthorized) || strings.Contains(err.Error(), token) {
		t.Errorf("a withdrawn token: %v", err)
	}
	for _, err := range c.Runs(t.Context(), "octo-lab/no-actions", actions.Window{}, false) {
		if !errors.Is(err, actions.ErrUnauthorized) {
			t.Errorf("a withdrawn token looks like %v", err)
		}
	}
}

// A renamed repository is read on under its old name, with the token, which stays on this host.
func TestRenamed(t *testing.T) {
	w := fakegithub.NewWorld()
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin}, fakegithub.Job{Log: []byte("the log\n")})
	w.Change("octo-lab/api", func(r *fakegithub.Repository) { r.Name = "octo-lab/gateway" })
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})
	info, err := c.Repository(t.Context(), "octo-lab/api")
	if err != nil || info.Name != "octo-lab/gateway" {
		t.Fatalf("Repository() = %+v, %v", info, err)
	}
	if got := collect(t, c, actions.Window{}); len(got) != 1 || got[0].Repository != "octo-lab/gateway" {
		t.Errorf("runs are %+v", got)
	}
	run.Repository = "octo-lab/api"
	jobs, err := c.Jobs(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, c, jobs[0]); got != "the log\n" {
		t.Errorf("log is %q", got)
	}
}

func TestRepositories(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 130 {
		w.AddRepository(fakegithub.Repository{Name: fmt.Sprintf("octo-lab/r%d", i)})
	}
	c, _ := start(t, w, fakegithub.Options{}, actions.Options{})
	got, err := c.Repositories(t.Context(), "octo-lab")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range got {
		names = append(names, r.Name)
	}
	if diff := cmp.Diff(w.Repositories(), names); diff != "" {
		t.Errorf("repositories (-want +got)\n%s", diff)
	}
	if _, err := c.Repositories(t.Context(), "nobody"); !errors.Is(err, actions.ErrNotFound) {
		t.Errorf("repositories of nobody: %v", err)
	}
}

// Every fifth request goes wrong in one of six ways, and all is read all the same. Which of them are struck is
// seeded; a gate that does not try again ends in an error here.
func TestFaults(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 250 {
		text := strings.Repeat(fmt.Sprintf("line of run %d\n", i), 2000)
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Duration(i) * time.Minute)}, fakegithub.Job{Log: []byte(text)})
	}
	kinds := slices.DeleteFunc(slices.Clone(fakegithub.AllFaults), func(f fakegithub.Fault) bool { return f == fakegithub.FaultSlow })
	var mu sync.Mutex
	seen := map[string]int{}
	c, s := start(t, w, fakegithub.Options{Faults: fakegithub.Faults{Rate: 0.2, Seed: 7, Kinds: kinds}}, actions.Options{
		Observe: func(e actions.Exchange) {
			mu.Lock()
			defer mu.Unlock()
			seen[e.Endpoint]++
			if e.Err != nil && strings.Contains(e.Err.Error(), "sig=") {
				t.Errorf("an exchange tells the signature: %v", e.Err)
			}
		},
	})
	runs := collect(t, c, actions.Window{})
	if diff := cmp.Diff(w.Runs("octo-lab/api", time.Now()), runs); diff != "" {
		t.Errorf("runs (-want +got)\n%.500s", diff)
	}
	var wg sync.WaitGroup
	limit := make(chan struct{}, 20)
	for _, run := range runs[:120] {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			jobs, err := c.Jobs(t.Context(), run)
			if err != nil {
				t.Error(err)
				return
			}
			l, err := c.Log(t.Context(), jobs[0])
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = l.Close() }()
			got, err := io.ReadAll(l)
			if err != nil {
				t.Error(err)
			}
			if want := string(w.Jobs(run.ID)[0].Log); string(got) != want {
				t.Errorf("log of %d bytes, want %d", len(got), len(want))
			}
		})
	}
	wg.Wait()
	if got := s.Stats(); got.Faults < 60 {
		t.Errorf("only %d faults struck", got.Faults)
	}
	// The endpoints are those that the fake counts. A request whose connection was closed before may
	// be made again by net/http itself, so that their numbers differ.
	if diff := cmp.Diff(slices.Sorted(maps.Keys(s.Stats().Requests)), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("endpoints (-asked +observed)\n%s", diff)
	}
}

// Something else than GitHub answers: it is told as that, and never taken for a repository without runs or a bad token.
func TestNotGitHub(t *testing.T) {
	for _, test := range []struct {
		code              int
		contentType, body string
	}{
		{200, "text/html; charset=utf-8", "<html>please sign in</html>"},
		{403, "text/html", "<html>blocked by the proxy</html>"},
		{200, "application/json", ""},
		{200, "application/json", "{}"},
		{200, "application/json", "null"},
		{200, "application/json", "[]"},
		{200, "application/json", `{"total_count": "many", "id": "x"}`},
		{200, "application/json", `{"total_count": 1, "workflow_runs": [null], "jobs": [`},
		{200, "application/json", `{"id": 1`},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: test.code, Header: http.Header{"Content-Type": {test.contentType}}, Request: r,
					Body: io.NopCloser(strings.NewReader(test.body)),
				}, nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			_, repository := c.Repository(t.Context(), "octo-lab/api")
			_, job := c.Job(t.Context(), "octo-lab/api", 1)
			_, jobs := c.Jobs(t.Context(), pushdoctor.Run{Repository: "octo-lab/api", ID: 1})
			_, _, name := c.WorkflowName(t.Context(), "octo-lab/api", 1)
			_, count := c.Count(t.Context(), "octo-lab/api", actions.Window{})
			var runs error
			for _, err := range c.Runs(t.Context(), "octo-lab/api", actions.Window{}, false) {
				runs = err
			}
			all := map[string]error{"Repository": repository, "Job": job, "Jobs": jobs, "WorkflowName": name, "Runs": runs}
			if test.body[:min(1, len(test.body))] != "{" || len(test.body) < 20 { // a count is all that Count wants
				all["Count"] = count
			}
			for call, err := range all {
				if !errors.Is(err, actions.ErrNotJSON) || strings.Contains(err.Error(), "http") {
					t.Errorf("status %d, %s, %q: %s: %v", test.code, test.contentType, test.body, call, err)
				}
			}
		})
	}
}

// A link may lead anywhere: over http, to a page, in a circle. The token goes to the API's host alone, the
// signature into no error, and a log that a host packs or cuts is not taken for a whole one.
func TestHostileLinks(t *testing.T) {
	const api, signed = "https://api.github.test", "https://logs.github.test/1?sig=verysecret"
	answer := func(code int, header ...string) *http.Response {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader("body")), ContentLength: 4}
	}
	for _, test := range []struct {
		name     string
		api, log *http.Response
		want     error
	}{
		{"http", answer(302, "Location", "http://logs.github.test/1?sig=verysecret"), nil, actions.ErrNotJSON},
		{"no address", answer(302), nil, actions.ErrNotJSON},
		{"unreadable", answer(302, "Location", "https://%zz/?sig=verysecret"), nil, actions.ErrNotJSON},
		{"circle", answer(302, "Location", api+"/repos/octo-lab/api"), nil, actions.ErrUnavailable},
		{"no link", answer(200, "Content-Type", "application/json"), nil, actions.ErrNotJSON},
		{"page", answer(302, "Location", signed), answer(200, "Content-Type", "text/html"), actions.ErrNotJSON},
		{"packed", answer(302, "Location", signed), answer(200, "Content-Encoding", "br"), actions.ErrNotJSON},
		{"blob gone", answer(302, "Location", signed), answer(404), actions.ErrLogNotThere},
		{"refused", answer(302, "Location", signed), answer(403), actions.ErrUnavailable},
		{"refused for want of a token", answer(302, "Location", signed), answer(401), actions.ErrUnavailable},
		{"teapot", answer(302, "Location", signed), answer(418), actions.ErrUnavailable},
		{"host without https", answer(302, "Location", signed), answer(302, "Location", "http://elsewhere.test/?sig=verysecret"), actions.ErrNotJSON},
		{"circle of the host", answer(302, "Location", signed), answer(302, "Location", signed), actions.ErrUnavailable},
		{"range before", answer(302, "Location", signed), answer(206, "Content-Range", "bytes 2-5/6"), nil},
		{"range unreadable", answer(302, "Location", signed), answer(206, "Content-Range", "bytes"), actions.ErrNotJSON},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, err := actions.New(actions.Options{URL: api, Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				from := test.log
				if r.URL.Host == "api.github.test" {
					from = test.api
				} else if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
					t.Errorf("%s: %s was sent %v", test.name, r.URL.Host, r.Header)
				}
				fresh := *from
				fresh.Body, fresh.Request = io.NopCloser(strings.NewReader("body")), r
				return &fresh, nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Log(t.Context(), pushdoctor.Job{Repository: "octo-lab/api", JobID: 1})
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
			if errors.Is(err, actions.ErrForbidden) || errors.Is(err, actions.ErrUnauthorized) {
				t.Errorf("%s: %v: it blames the token, which the host of the logs never sees", test.name, err)
			}
			if err != nil && (strings.Contains(err.Error(), "verysecret") || strings.Contains(err.Error(), token)) {
				t.Errorf("%s: the error tells a secret: %v", test.name, err)
			}
		})
	}
}

// A server that redirects to another host, never answers, or never ends.
func TestHostileServer(t *testing.T) {
	for _, test := range []struct {
		name string
		want error
		by   func(*http.Request) (*http.Response, error)
	}{
		{"redirects", actions.ErrNotJSON, func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 301, Header: http.Header{"Location": {"https://elsewhere.test/"}}, Body: http.NoBody}, nil
		}},
		{"redirects in a circle", actions.ErrUnavailable, func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 301, Header: http.Header{"Location": {r.URL.String()}}, Body: http.NoBody}, nil
		}},
		{"is silent", actions.ErrUnavailable, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}},
		{"cannot be reached", actions.ErrUnavailable, func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("dial: %w", context.DeadlineExceeded) // as net's timeout is one
		}},
		{"never ends", actions.ErrUnavailable, func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(endless{})}, nil
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				asked++
				if r.URL.Host != "api.github.com" {
					t.Errorf("%s: %s was asked", test.name, r.URL.Host)
				}
				return test.by(r)
			})})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, err = c.Repository(t.Context(), "octo-lab/api")
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v: it looks like the end of the caller's context", test.name, err)
			}
			if !errors.Is(err, test.want) || asked > 6 || time.Since(begin) > 7*time.Minute {
				t.Errorf("%s: %v after %v and %d requests, want %v", test.name, err, time.Since(begin), asked, test.want)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestUnusableOptions(t *testing.T) {
	for _, o := range []actions.Options{
		{URL: "ftp://api.github.test"}, {URL: "api.github.test"}, {URL: "https://octo:" + token + "@api.github.test"},
		{Token: token + "\n"}, {Reserve: 1},
	} {
		_, err := actions.New(o)
		if err == nil {
			t.Errorf("New(%q, %q) took it", o.URL, o.Token)
		} else if strings.Contains(err.Error(), token) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

func read(t *testing.T, c *actions.Client, job pushdoctor.Job) string {
	t.Helper()
	l, err := c.Log(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	b, err := io.ReadAll(l)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A context that ends must end whatever is waited for.
func TestContext(t *testing.T) {
	w := fakegithub.NewWorld()
	w.AddRepository(fakegithub.Repository{Name: "octo-lab/api"})
	c, s := start(t, w, fakegithub.Options{}, actions.Options{})
	s.Refuse(fakegithub.Refusal{Code: 429, For: time.Hour, RetryAfter: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Repository(ctx, "octo-lab/api"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Repository() = %v, want the context's error", err)
	}
}
