package main

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// A run that cannot be read and keeps a re-run of another part of the last 30 days from being found, or what is broken from being
// seen as mended, turns this red.
func TestOneRunThatCannotBeRead(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		ill := l.run(repoA, begin.Add(-25*24*time.Hour), failed("ill"))
		well := l.run(repoA, begin.Add(-3*24*time.Hour), failed("well"))
		l.world.Rerun(ill.ID, begin.Add(-time.Hour), failed("ill"))
		l.world.Rerun(well.ID, begin.Add(-time.Hour), failed("well"))
		l.run(repoA, begin.Add(-20*time.Minute), failed("build"))
		fresh := l.run(repoA, begin.Add(-10*time.Minute), failed("fresh and ill"))
		green := func(at time.Duration) int64 {
			return l.run(repoA, begin.Add(at), fakegithub.Job{Job: pushdoctor.Job{Name: "build"}, Log: []byte(cleanLog)}).ID
		}
		first := green(10 * time.Minute)
		green(40 * time.Minute)
		l.detour = func(r *http.Request) *http.Response {
			for _, run := range []int64{ill.ID, fresh.ID, first} {
				if strings.HasSuffix(r.URL.Path, fmt.Sprintf("/runs/%d/jobs", run)) {
					return page(http.StatusBadGateway, "application/json", "{}")
				}
			}
			return nil
		}
		s := l.serve()
		time.Sleep(12 * time.Hour)
		if diff := cmp.Diff([]string{"build", "well", "well"}, s.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		if n := s.metric(`pushdoctor_jobs_read_total{repository="octo-lab/api",result="verify"}`); n != "1" {
			t.Errorf("%s successes were read while something is broken, want 1", n)
		}
		s.stop()
	})
}

// Another repository under the name of one that was renamed turns this red if either of them is not read, swept or known by its
// state, or if what is remembered of the one is taken for the other's.
func TestRecreated(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		l.run(repoA, begin.Add(-time.Hour), failed("before"))
		s := l.serve()
		time.Sleep(3 * time.Hour) // within a sweep
		l.world.Change(repoA, func(r *fakegithub.Repository) { r.Name = "octo-lab/api-old" })
		l.world.AddRepository(fakegithub.Repository{Name: repoA})
		l.run(repoA, time.Now().Add(time.Minute), failed("new"))
		aged := l.run(repoA, time.Now().Add(-20*24*time.Hour), fakegithub.Job{})
		l.run("octo-lab/api-old", time.Now().Add(time.Minute), failed("old"))
		time.Sleep(24 * time.Hour)
		l.world.Rerun(aged.ID, time.Now().Add(time.Minute), failed("late"))
		time.Sleep(24 * time.Hour)
		if diff := cmp.Diff([]string{"before", "late", "new", "old"}, s.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{repoA: "", "octo-lab/api-old": ""}, s.states()); diff != "" {
			t.Errorf("states (-want +got)\n%s", diff)
		}
		s.stop()
	})
}

// Repositories that cannot be read and use up what the others need, or a refused credential that is tried again and again,
// turn this red.
func TestCostOfErrors(t *testing.T) {
	cost := func(t *testing.T, change func(*fakegithub.Repository), d detour) fakegithub.Stats {
		t.Helper()
		var stats fakegithub.Stats
		inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
			l.config.Repositories, l.detour = nil, d
			for i := range 50 {
				r := fakegithub.Repository{Name: fmt.Sprintf("octo-lab/r%d", i)}
				change(&r)
				l.world.AddRepository(r)
				l.config.Repositories = append(l.config.Repositories, r.Name)
			}
			s := l.serve()
			time.Sleep(55 * time.Minute)
			if lag := s.metric(`pushdoctor_collect_lag_seconds{repository="octo-lab/r1"}`); lag == "" || lag == "0" {
				t.Errorf("the lag of a repository that cannot be read is %q", lag)
			}
			s.stop()
			stats = l.fake.Stats()
		})
		return stats
	}
	for name, change := range map[string]func(*fakegithub.Repository){
		"Actions off": func(r *fakegithub.Repository) { r.ActionsOff = true },
		"hidden":      func(r *fakegithub.Repository) { r.Hidden = true },
		"forbidden":   func(r *fakegithub.Repository) { r.Forbidden = true },
	} {
		t.Run(name, func(t *testing.T) {
			// Less than once in five minutes, each asked for in up to three requests.
			if use := cost(t, change, nil).Credentials[testToken]; use.Cost > 50*11*3 {
				t.Errorf("50 repositories cost %d requests in 55 minutes: %v", use.Cost, use.Requests)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		cost(t, func(*fakegithub.Repository) {}, func(*http.Request) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			n++
			return page(http.StatusUnauthorized, "application/json", `{"message": "Bad credentials"}`)
		})
		if n > 50+2*60 {
			t.Errorf("a refused token was sent %d times in 55 minutes", n)
		}
	})
}

// A reload after which limits and the requests of the last minute are forgotten turns this red.
func TestReloadForgetsNoLimit(t *testing.T) {
	t.Run("pace", func(t *testing.T) {
		inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
			l.config.Repositories = []string{"octo-lab/*"}
			for i := range 150 {
				l.run(fmt.Sprintf("octo-lab/r%d", i), begin.Add(-time.Hour), fakegithub.Job{})
			}
			s := l.serve()
			for range 3 {
				time.Sleep(15 * time.Second)
				if err := s.reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * time.Minute)
			if peak := l.fake.Stats().Credentials[testToken].Peak; peak > 450 {
				t.Errorf("%d requests within a minute, 450 are allowed", peak)
			}
			s.stop()
		})
	})
	t.Run("pause", func(t *testing.T) {
		inLab(t, fakegithub.Options{PerMinute: 60}, func(t *testing.T, l *lab) { // the lab fails on a request within a pause
			l.config.Repositories = []string{"octo-lab/*"}
			for i := range 40 {
				l.run(fmt.Sprintf("octo-lab/r%d", i), begin.Add(-time.Hour), failed("x"))
			}
			s := l.serve()
			time.Sleep(20 * time.Second)
			if err := s.reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			s.stop()
		})
	})
}

// Runs that are created while GitHub's list is paged, so many that it no longer tells the oldest, turn this red if those are lost.
func TestListThatGrowsBeyondItsLimit(t *testing.T) {
	inLab(t, fakegithub.Options{PrimaryLimit: -1}, func(t *testing.T, l *lab) {
		l.config.Collect.Interval = model.Duration(time.Hour)
		for i := range 20 {
			l.run(repoA, begin.Add(10*time.Minute+time.Duration(i)*time.Second), failed(fmt.Sprintf("oldest %02d", i)))
		}
		for i := range 975 {
			l.run(repoA, begin.Add(12*time.Minute+time.Duration(i)*2*time.Second), fakegithub.Job{})
		}
		var once sync.Once
		l.detour = func(r *http.Request) *http.Response {
			if time.Since(begin) > 50*time.Minute && r.URL.Query().Get("page") == "2" && strings.HasSuffix(r.URL.Path, "/runs") {
				once.Do(func() {
					for range 30 {
						l.run(repoA, time.Now(), fakegithub.Job{})
					}
				})
			}
			return nil
		}
		s := l.serve()
		time.Sleep(90 * time.Minute)
		if n := len(s.jobs()); n != 20 {
			t.Errorf("%d of 20 failures were found", n)
		}
		s.stop()
	})
}

// A run that is passed over, or counted under another workflow, since GitHub could not tell the workflow's name for a while turns this
// red.
func TestWorkflowsWithoutNames(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Collect.Workflows = []string{"image.yml"}
		l.run(repoA, begin.Add(5*time.Minute), failed("x"))
		l.detour = func(r *http.Request) *http.Response {
			if time.Since(begin) < 30*time.Minute && strings.Contains(r.URL.Path, "/actions/workflows/") {
				return page(http.StatusBadGateway, "application/json", "{}")
			}
			return nil
		}
		s := l.serve()
		time.Sleep(20 * time.Minute)
		if state := s.states()[repoA]; state != "unavailable" {
			t.Errorf("meanwhile the state is %q", state)
		}
		time.Sleep(20 * time.Minute)
		s.stop()
		got := l.read()
		if n := got.Totals["runs{"+repoA+",image.yml,failure}"]; n != 1 || n != got.total("runs{") || !slices.Equal(got.jobs(), []string{"x"}) {
			t.Errorf("%v; jobs %v", got.Totals, got.jobs())
		}
	})
}

// A log that two have asked for, of whom one found it and the other one did not, turns this red if what it said is lost.
func TestLogThatOneFoundAndAnotherDidNot(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-time.Hour), failed("x"))
		s := l.serve()
		time.Sleep(5 * time.Minute)
		found, err := s.db.Find(store.Query{})
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		job := found[0].Job
		job.RepositoryID, job.StartedAt, job.Conclusion = s.repository(repoA).ID, job.CompletedAt.Add(-time.Minute), "failure"
		if err := s.db.PutPending(store.Pending{Kind: store.PendingMissing, Job: job, Due: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.db.Record(store.Reading{Job: job, Result: store.ResultExpired}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		s.stop()
		if diff := cmp.Diff([]string{"x"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A log that was not there at first and gone then, and is asked for for ever, turns this red.
func TestLogMissingThenGone(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(time.Minute), failed("x"))
		var mu sync.Mutex
		n := 0
		l.detour = func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/logs") {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if n++; n <= 2 {
				return page(http.StatusNotFound, "application/json", `{"message": "Not Found"}`)
			}
			return page(http.StatusGone, "application/json", `{"message": "Server Error"}`)
		}
		s := l.serve()
		time.Sleep(40 * time.Minute)
		s.stop()
		if got := l.read(); n > 8 || got.Totals["jobs_read{"+repoA+",expired}"] != 1 {
			t.Errorf("%d requests for one log: %v", n, got.Totals)
		}
	})
}

// An App's list of installations that is empty for a while turns this red if that ends the watching, or closes what is broken.
func TestNoInstallationsForAWhile(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}}, func(t *testing.T, l *lab) {
		l.asApp(key)
		l.config.Repositories = []string{"octo-lab/*", "nobody/*"}
		l.run(repoA, begin.Add(-time.Minute), failed("before"))
		l.run(repoA, begin.Add(65*time.Minute), failed("meanwhile"))
		l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		l.detour = func(r *http.Request) *http.Response {
			if d := time.Since(begin); d > time.Hour && d < 85*time.Minute && strings.HasSuffix(r.URL.Path, "/app/installations") {
				return page(http.StatusOK, "application/json", "[]")
			}
			return nil
		}
		s := l.serve()
		time.Sleep(84 * time.Minute)
		if diff := cmp.Diff([]string{"before", "meanwhile"}, s.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		if state := s.states()[repoA]; state != "" {
			t.Errorf("the state is %q", state)
		}
		if s.status().Faults["nobody/*"] == "" {
			t.Error("nobody is told that no installation has a pattern's repositories")
		}
		s.stop()
	})
}

// A fault of one pattern that hides what becomes of the repositories of another one, or is looked into every minute, turns this red; so
// does an installation that was suspended while the service was down, and of whose repositories nobody learns.
func TestFaultsApart(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}}, func(t *testing.T, l *lab) {
		l.asApp(key)
		l.config.Repositories = []string{"octo-lab/*", "northwind-ci/*"}
		for _, r := range []string{"octo-lab/api", "northwind-ci/site", "northwind-ci/archived", "northwind-ci/removed"} {
			l.run(r, begin.Add(-time.Hour), failed(r))
		}
		id := l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		l.world.Install(fakegithub.Installation{Account: "northwind-ci", All: true})
		s := l.serve()
		time.Sleep(30 * time.Minute)
		s.stop()
		l.world.ChangeInstallation(id, func(i *fakegithub.Installation) { i.SuspendedAt = time.Now() })
		s = l.serve()
		time.Sleep(30 * time.Minute)
		l.world.Change("northwind-ci/archived", func(r *fakegithub.Repository) { r.Archived = true })
		l.world.Delete("northwind-ci/removed")
		time.Sleep(2 * time.Hour)
		want := map[string]string{"octo-lab/api": "suspended", "northwind-ci/site": "", "northwind-ci/archived": "archived", "northwind-ci/removed": "removed"}
		if diff := cmp.Diff(want, s.states()); diff != "" {
			t.Errorf("states (-want +got)\n%s", diff)
		}
		if n := l.fake.Stats().Requests["installations"]; n > 3*6+12 {
			t.Errorf("the installations were asked for %d times in three hours", n)
		}
		s.stop()
	})
}

// The log that a repository owes when it is archived, and its history, turn this red if they are lost.
func TestArchived(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		late := failed("late")
		late.LogAt = begin.Add(14 * time.Minute)
		l.run(repoA, begin.Add(5*time.Minute), late)
		l.run(repoA, begin.Add(-10*24*time.Hour), failed("history"))
		s := l.serve()
		time.Sleep(9*time.Minute + 40*time.Second)
		l.world.Change(repoA, func(r *fakegithub.Repository) { r.Archived = true })
		time.Sleep(time.Hour)
		s.stop()
		l.backfill(begin.Add(-30*24*time.Hour), time.Now())
		if diff := cmp.Diff([]string{"history", "late"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// Red where a reload has it that a repository which cannot be read was read a moment ago, and where one that is no longer watched goes on being behind.
func TestReloadKeepsLag(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{repoA, "octo-lab/hidden", "octo-tools/cli"}
		for _, name := range []string{repoA, "octo-tools/cli"} {
			l.run(name, begin.Add(-time.Hour), fakegithub.Job{})
		}
		l.world.AddRepository(fakegithub.Repository{Name: "octo-lab/hidden", Hidden: true})
		s := l.serve()
		lag := func(name string) string { return s.metric(`pushdoctor_collect_lag_seconds{repository="` + name + `"}`) }
		time.Sleep(2 * time.Hour)
		l.config.Repositories = l.config.Repositories[:2]
		if err := s.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		behind, err := strconv.ParseFloat(lag("octo-lab/hidden"), 64)
		if err != nil || behind < (2*time.Hour).Seconds() {
			t.Errorf("the lag of a repository that was never read is %g s, %v", behind, err)
		}
		if lag(repoA) != "0" || lag("octo-tools/cli") != "" {
			t.Errorf("lag of one that is read: %q, of one that is no longer watched: %q", lag(repoA), lag("octo-tools/cli"))
		}
		s.stop()
	})
}
