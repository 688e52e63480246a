package fakegithub_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/parser"
)

var now = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

func demo(t *testing.T) *fakegithub.World {
	t.Helper()
	w, err := fakegithub.Demo(now, os.DirFS("../../samples"))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The demonstration must show what it is for. A sample that is renamed, or whose job does not fail any more
// by default, takes its cause out of it.
func TestDemo(t *testing.T) {
	w := demo(t)
	rules := classifier.Builtin()
	causes, registries, owners := map[pushdoctor.Cause]bool{}, map[pushdoctor.Registry]bool{}, map[string]bool{}
	var recovered, forks, dependabot, cured, clean, total int
	oldest := now
	for _, name := range w.Repositories() {
		owner, _, _ := strings.Cut(name, "/")
		owners[owner] = true
		for _, run := range w.Runs(name, now) {
			total++
			if run.CreatedAt.Before(oldest) {
				oldest = run.CreatedAt
			}
			switch {
			case run.HeadRepository != run.Repository:
				forks++
			case strings.HasPrefix(run.Branch, "dependabot/"):
				dependabot++
			case run.Attempt > 1 && run.Conclusion == "success":
				cured++
			case run.Conclusion == "success":
				clean++
			}
			for _, job := range w.Jobs(run.ID) {
				report, err := rules.Classify(parser.New(bytes.NewReader(job.Log)))
				if err != nil {
					t.Fatal(err)
				}
				if job.Conclusion != "failure" {
					continue
				}
				for _, f := range report.Findings {
					causes[f.Cause], registries[f.Registry] = true, true
					if f.Recovered {
						recovered++
					}
					if f.Time.Before(job.StartedAt) || f.Time.After(job.CompletedAt) {
						t.Errorf("%s: a finding at %v in a job from %v to %v", run.URL, f.Time, job.StartedAt, job.CompletedAt)
					}
				}
			}
		}
	}
	if len(causes) < 16 || len(registries) < 6 || len(w.Repositories()) < 6 || len(owners) < 3 {
		t.Errorf("%d causes, %d registries, %d repositories of %d owners", len(causes), len(registries), len(w.Repositories()), len(owners))
	}
	if recovered < 1 || forks < 1 || dependabot < 1 || cured < 3 || clean < total/3 {
		t.Errorf("of %d runs: %d recovered findings, %d by forks, %d by Dependabot, %d cured, %d good", total, recovered, forks, dependabot, cured, clean)
	}
	if days := now.Sub(oldest).Hours() / 24; days < 28 || days > 30 {
		t.Errorf("%v days of history", days)
	}
}

// The same samples and time must give the same history, or nobody can compare two demonstrations.
func TestDemoIsTheSame(t *testing.T) {
	a, b := demo(t), demo(t)
	for _, name := range a.Repositories() {
		if diff := cmp.Diff(a.Runs(name, now), b.Runs(name, now)); diff != "" {
			t.Errorf("%s (-first +second)\n%.300s", name, diff)
		}
	}
}

// While it is shown, runs appear, in progress at first. A pause of a day must not be made up for run by run.
func TestGrow(t *testing.T) {
	w := demo(t)
	count := func(at time.Time) (all, running int) {
		for _, name := range w.Repositories() {
			for _, run := range w.Runs(name, at) {
				all++
				if run.Status != "completed" {
					running++
				}
			}
		}
		return all, running
	}
	before, _ := count(now)
	w.Grow(now.Add(5 * time.Minute))
	after, running := count(now.Add(5 * time.Minute))
	if after-before < 20 || running == 0 {
		t.Errorf("%d runs in five minutes, %d of them in progress", after-before, running)
	}
	w.Grow(now.Add(24 * time.Hour))
	if all, _ := count(now.Add(24 * time.Hour)); all-after > 60 {
		t.Errorf("%d runs after a pause", all-after)
	}
	fakegithub.NewWorld().Grow(now) // no demonstration: nothing to grow
}

func TestDemoOfStrangeSamples(t *testing.T) {
	if _, err := fakegithub.Demo(now, fstest.MapFS{}); err == nil {
		t.Error("a demonstration without samples")
	}
	if _, err := fakegithub.Demo(now, fstest.MapFS{"a.log": {Data: []byte("no time\n")}}); err == nil {
		t.Error("a log without times has no place in time")
	}
	w, err := fakegithub.Demo(now, fstest.MapFS{"new.log": {Data: []byte("\ufeff2026-01-01T00:00:00.0000000Z Syncing repository: octo-lab/new\r\n2026-01-01T00:00:09.0000000Z ##[error]x\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"octo-lab/new"}, w.Repositories()); diff != "" {
		t.Errorf("repositories (-want +got)\n%s", diff)
	}
}
