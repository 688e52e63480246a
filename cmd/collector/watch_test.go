package main

import (
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// An attempt that nobody reads turns this red: one that began and ended between two polls, or one whose run goes on
// with the next for hours.
func TestAttempts(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		quick := l.run(repoA, begin.Add(time.Minute+time.Second), failed("first"), failed("always"))
		fast := func(name string, at time.Duration) fakegithub.Job {
			j := failed(name)
			j.StartedAt, j.CompletedAt = begin.Add(at+time.Second), begin.Add(at+5*time.Second)
			return j
		}
		l.world.Rerun(quick.ID, begin.Add(3*time.Minute), fast("first", 3*time.Minute))
		l.world.Rerun(quick.ID, begin.Add(3*time.Minute+10*time.Second), fast("first", 3*time.Minute+10*time.Second))
		slow := l.run(repoA, begin.Add(time.Minute), failed("slow"))
		long := failed("slow")
		long.StartedAt, long.CompletedAt = begin.Add(4*time.Minute), begin.Add(20*time.Hour)
		l.world.Rerun(slow.ID, begin.Add(3*time.Minute), long)
		s := l.serve()
		time.Sleep(time.Hour)
		found, err := s.db.Find(store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"always", "first", "first", "first", "slow"}
		if diff := cmp.Diff(want, ledger{Findings: found}.jobs()); diff != "" {
			t.Errorf("while a re-run goes on: jobs (-want +got)\n%s", diff)
		}
		time.Sleep(20 * time.Hour)
		s.stop()
		got := l.read()
		if diff := cmp.Diff(append(want, "slow"), got.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		if n := got.total("runs{"); n != 5 {
			t.Errorf("%v attempts were counted, want 5", n)
		}
	})
}

// A job whose end GitHub's list shows later than that of its run, and that nobody comes back to, turns this red.
func TestLateEnd(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		run := l.run(repoA, begin.Add(-time.Minute), failed("build"), failed("scan"))
		l.detour = func(r *http.Request) *http.Response {
			if time.Since(begin) < 20*time.Minute && strings.HasSuffix(r.URL.Path, fmt.Sprintf("/runs/%d/jobs", run.ID)) {
				job := func(id int, name, state string) string {
					return fmt.Sprintf(`{"id": %d, "run_id": %d, "run_attempt": 1, "name": %q, "status": "in_progress", "started_at": "2026-03-01T09:59:05Z", "runner_name": "r"%s}`, id, run.ID, name, state)
				}
				return page(http.StatusOK, "application/json", `{"total_count": 1, "jobs": [`+job(1, "build", "")+`]}`)
			}
			return nil
		}
		s := l.serve()
		time.Sleep(10 * time.Minute)
		if found, err := s.db.Find(store.Query{}); err != nil || len(found) > 0 {
			t.Errorf("%d findings of a job that is not shown as ended, %v", len(found), err)
		}
		if through := s.repository(repoA).Cursor.Through; through.After(run.CreatedAt) {
			t.Errorf("the cursor is at %s, beyond a job that has not ended", through)
		}
		time.Sleep(20 * time.Minute)
		s.stop()
		if diff := cmp.Diff([]string{"build", "scan"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A log that an outage of days costs, though GitHub keeps it for 90, turns this red; so does one that is asked for every minute
// of the outage.
func TestOutageOfDays(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-time.Minute), failed("build"))
		var mu sync.Mutex
		asked := 0
		l.detour = func(r *http.Request) *http.Response {
			if time.Since(begin) < 3*24*time.Hour && strings.HasPrefix(r.URL.Path, "/logs/") {
				mu.Lock()
				defer mu.Unlock()
				asked++
				return page(http.StatusServiceUnavailable, "text/plain", "busy")
			}
			return nil
		}
		s := l.serve()
		time.Sleep(3*24*time.Hour + 2*time.Hour)
		s.stop()
		if diff := cmp.Diff([]string{"build"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		if tries := asked / 6; tries > 6+3*24+12 { // six requests a try
			t.Errorf("the log was tried %d times in three days", tries)
		}
	})
}

// A pattern that cannot be looked up for a while turns this red if that stops what is watched, if neither page nor metrics say so, or if it
// stays said.
func TestPatternsThatCannotBeLookedUp(t *testing.T) {
	const series = `pushdoctor_collect_errors_total{reason="unavailable",repository="octo-lab/*"}`
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		l.run(repoA, begin.Add(-time.Minute), failed("before"))
		l.run(repoA, begin.Add(40*time.Minute), failed("meanwhile"))
		l.detour = func(r *http.Request) *http.Response {
			if d := time.Since(begin); d > 5*time.Minute && d < time.Hour && strings.HasPrefix(r.URL.Path, "/orgs/") {
				return page(http.StatusInternalServerError, "application/json", "{}")
			}
			return nil
		}
		s := l.serve()
		time.Sleep(50 * time.Minute)
		if !strings.Contains(s.get("/"), "octo-lab/*:") {
			t.Error("the page does not say that the pattern cannot be looked up")
		}
		if n := s.metric(series); n == "" || n == "0" {
			t.Errorf("%s is %q", series, n)
		}
		found, err := s.db.Find(store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"before", "meanwhile"}, ledger{Findings: found}.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		time.Sleep(30 * time.Minute)
		if strings.Contains(s.get("/"), "octo-lab/*:") {
			t.Error("the page still says that the pattern cannot be looked up")
		}
		s.stop()
	})
}

// A series under the name that somebody typed, beside the one under GitHub's, turns this red.
func TestSpelling(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"OCTO-lab/API"}
		l.run(repoA, begin.Add(-time.Minute), failed("build"))
		s := l.serve()
		time.Sleep(5 * time.Minute)
		if page := s.get("/metrics"); strings.Contains(page, "OCTO-lab") || !strings.Contains(page, `pushdoctor_last_collect_timestamp_seconds{repository="octo-lab/api"}`) {
			t.Error("the metrics spell the repository as the configuration does, not as GitHub does")
		}
		if repo := s.repository(repoA); repo.State != "" {
			t.Errorf("the repository's state is %q: %s", repo.State, repo.Reason)
		}
		s.stop()
	})
}

// A sweep that met an error and waits for the next one, hours later, turns this red.
func TestSweepAgain(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		old := l.run(repoA, begin.Add(-20*24*time.Hour), failed("build"))
		l.world.Rerun(old.ID, begin.Add(-time.Hour), failed("build"))
		l.detour = func(r *http.Request) *http.Response {
			if time.Since(begin) < 5*time.Minute && strings.Contains(r.URL.Query().Get("created"), "..") {
				return page(http.StatusInternalServerError, "application/json", "{}")
			}
			return nil
		}
		s := l.serve()
		time.Sleep(30 * time.Minute)
		s.stop()
		if diff := cmp.Diff([]string{"build", "build"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// One of 10,000 runs within an hour that is not found turns this red: by a service whose polls see them appear, and by a
// backfill, GitHub listing no more than 1,000 of a window.
func TestManyRuns(t *testing.T) {
	const runs = 10_000 / raced
	fill := func(l *lab) (want float64) {
		for i := range runs {
			j := fakegithub.Job{}
			if i%20 == 0 {
				j = failed("build")
				want++
			}
			l.run(repoA, begin.Add(time.Duration(i)*time.Hour/runs), j)
		}
		return want
	}
	check := func(t *testing.T, l *lab, want float64) {
		t.Helper()
		got := l.read()
		if n := got.total("runs{"); n != runs {
			t.Errorf("%v runs were counted, of %d", n, runs)
		}
		if n := got.Totals["jobs_read{"+repoA+",findings}"]; n != want || float64(len(got.Findings)) != want {
			t.Errorf("%v jobs were counted and %d findings, want %v", n, len(got.Findings), want)
		}
	}
	t.Run("serve", func(t *testing.T) {
		inLab(t, fakegithub.Options{PrimaryLimit: -1}, func(t *testing.T, l *lab) {
			want := fill(l)
			l.config.Collect.Interval = model.Duration(10 * time.Minute)
			s := l.serve()
			time.Sleep(80 * time.Minute)
			s.stop()
			check(t, l, want)
		})
	})
	t.Run("backfill", func(t *testing.T) {
		inLab(t, fakegithub.Options{PrimaryLimit: -1}, func(t *testing.T, l *lab) {
			want := fill(l)
			time.Sleep(2 * time.Hour)
			l.backfill(begin.Add(-time.Hour), time.Now())
			check(t, l, want)
		})
	})
}

// A repository with thousands of logs that keeps the others waiting turns this red.
func TestFairSharing(t *testing.T) {
	inLab(t, fakegithub.Options{PrimaryLimit: -1, Latency: time.Second}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{repoA, repoB}
		for i := range 2000 {
			l.run(repoA, begin.Add(-time.Duration(i)*30*time.Second), failed("build"))
		}
		l.run(repoB, begin.Add(time.Minute), failed("small"))
		s := l.serve()
		time.Sleep(5 * time.Minute)
		big, err := s.db.Find(store.Query{Repository: repoA})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(big); n == 0 || n == 2000 {
			t.Fatalf("%d findings of the large repository: it was not under way", n)
		}
		if small, err := s.db.Find(store.Query{Repository: repoB}); err != nil || len(small) != 1 {
			t.Errorf("%d findings of the small repository while the large one is read, %v", len(small), err)
		}
		s.stop()
	})
}

// A new configuration that is not in force after a reload, or one at fault that is, turns this red. So does a reload that anybody may ask
// for, or that counts something twice.
func TestReload(t *testing.T) {
	const good = "pushdoctor_config_last_reload_successful"
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-time.Minute), failed("a"))
		l.run(repoB, begin.Add(-time.Minute), failed("b"))
		s := l.serve()
		time.Sleep(3 * time.Minute)
		jobs := func() []string {
			found, err := s.db.Find(store.Query{})
			if err != nil {
				t.Fatal(err)
			}
			return ledger{Findings: found}.jobs()
		}
		post := func() string {
			resp, err := s.client.Post("http://pushdoctor.test/-/reload", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.Status
		}
		if got := post(); got != "403 Forbidden" {
			t.Errorf("without web.lifecycle, a reload is answered with %s", got)
		}
		for _, fault := range []func(*configs.Config){
			func(c *configs.Config) { c.Repositories = []string{"no name"} },
			func(c *configs.Config) { c.Repositories = nil },
			func(c *configs.Config) { c.Store.Path = "elsewhere.db" },
			func(c *configs.Config) { c.Classify.Rules = []string{"not-there.yaml"} },
		} {
			before := l.config
			l.config.Repositories = []string{repoA, repoB}
			fault(&l.config)
			if err := s.reload(t.Context()); err == nil {
				t.Error("a configuration at fault came into force")
			}
			l.config = before
		}
		if got := s.metric(good); got != "0" {
			t.Errorf("%s is %s after one at fault", good, got)
		}
		time.Sleep(3 * time.Minute)
		if diff := cmp.Diff([]string{"a"}, jobs()); diff != "" {
			t.Errorf("jobs under the old configuration (-want +got)\n%s", diff)
		}
		l.config.Repositories = []string{repoA, repoB}
		l.config.Web.Lifecycle = true
		if err := s.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if diff := cmp.Diff([]string{"a", "b"}, jobs()); diff != "" {
			t.Errorf("jobs under the new configuration (-want +got)\n%s", diff)
		}
		if got := s.metric(good); got != "1" {
			t.Errorf("%s is %s", good, got)
		}
		if got := post(); got != "200 OK" {
			t.Errorf("with web.lifecycle, a reload is answered with %s", got)
		}
		req, err := http.NewRequest(http.MethodPost, "http://pushdoctor.test/-/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://elsewhere.example.com")
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("a page of another site may ask for a reload: %s", resp.Status)
		}
		l.config.Repositories = []string{repoB}
		if err := s.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if repo := s.repository(repoA); repo.State != "unnamed" || repo.Reason == "" {
			t.Errorf("the state of a repository that is not named any more is %q: %q", repo.State, repo.Reason)
		}
		s.stop()
		if n := l.read().total("jobs_read{"); n != 2 {
			t.Errorf("%v jobs were counted, want 2", n)
		}
	})
}

// How large TestQuiet is: 10 repositories and a day say the same as 300 and a week of `make quiet`, in a fraction of the time.
var (
	quietRepositories = flag.Int("quiet.repositories", 10, "repositories of TestQuiet")
	quietDays         = flag.Int("quiet.days", 1, "days of TestQuiet")
)

// Quiet repositories whose polls cost more than a twentieth of the requests in quota, or more than half of what GitHub allows in a
// minute, turn this red, though the token of the GitHub App changes each hour and voids what was remembered.
func TestQuiet(t *testing.T) {
	key, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}}, func(t *testing.T, l *lab) {
		l.asApp(key)
		l.config.Repositories = []string{"octo-lab/*"}
		for i := range *quietRepositories {
			for day := range 40 {
				l.run(fmt.Sprintf("octo-lab/quiet-%d", i), begin.Add(-time.Duration(day)*24*time.Hour), fakegithub.Job{})
			}
		}
		id := l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true, Limit: 15_000})
		s := l.serve()
		time.Sleep(time.Duration(*quietDays) * 24 * time.Hour / min(raced, 2))
		use := l.fake.Stats().Credentials[fmt.Sprintf("installation %d", id)]
		if n := s.metric(`pushdoctor_github_renewed_requests_total{credential="app/octo-lab"}`); n == "" || n == "0" {
			t.Errorf("%q requests are said to cost quota by the token's renewal", n)
		}
		s.stop()
		asked := 0
		for endpoint, n := range use.Requests {
			if endpoint != "log_blob" {
				asked += n
			}
		}
		share := float64(use.Cost) / float64(asked)
		t.Logf("%d requests by %d repositories in %d days; %.2f %% cost quota; at most %d within a minute", asked, *quietRepositories, *quietDays, 100*share, use.Peak)
		if share > 0.05 {
			t.Errorf("%.2f %% of the requests cost quota, 5 are allowed", 100*share)
		}
		if use.Peak > 450 {
			t.Errorf("%d requests within a minute, 450 are allowed", use.Peak)
		}
		if polls := *quietRepositories * *quietDays * 24 * 60 / min(raced, 2); asked < polls*9/10 {
			t.Errorf("%d requests: the repositories were not polled each minute", asked)
		}
		if n := l.read().total("runs{"); n != float64(2**quietRepositories) {
			t.Errorf("%v runs were counted, want the two of each repository within the lookback", n)
		}
	})
}

// A start that pays for lists that have not changed, that passes over what has changed while nothing ran, or that asks with what is
// kept of another token turns this red; so does a page of an App's installation that is kept, since its token is another one by then.
func TestRestartCostsNothing(t *testing.T) {
	key, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		quiet := func(i int) string { return fmt.Sprintf("octo-lab/quiet-%d", i) }
		for i := range 10 {
			for day := range 40 {
				l.run(quiet(i), begin.Add(-time.Hour-time.Duration(day)*24*time.Hour), fakegithub.Job{})
			}
		}
		use := func() (cost, unchanged int) {
			u := l.fake.Stats().Credentials[l.config.GitHub.Token.Reveal()]
			return u.Cost, u.NotModified
		}
		var cost, unchanged int
		start := func(hours int) {
			beforeCost, before := use()
			s := l.serve()
			time.Sleep(time.Duration(hours) * time.Hour)
			s.stop()
			cost, unchanged = use()
			cost, unchanged = cost-beforeCost, unchanged-before
		}
		var (
			mu      sync.Mutex            // guards what follows
			sentBy  = map[string]string{} // by ETag
			foreign []string
		)
		l.detour = func(r *http.Request) *http.Response {
			tag, by := r.Header.Get("If-None-Match"), r.Header.Get("Authorization")
			mu.Lock()
			defer mu.Unlock()
			if first, ok := sentBy[tag]; ok && tag != "" && first != by {
				foreign = append(foreign, r.URL.Path)
			} else {
				sentBy[tag] = by
			}
			return nil
		}
		start(3)
		if cost < 60 {
			t.Errorf("the first start cost %d: there is nothing to save", cost)
		}
		time.Sleep(5 * time.Hour)
		start(1)
		if cost != 0 || unchanged == 0 {
			t.Errorf("the second start cost %d of quota, and %d answers had not changed", cost, unchanged)
		}
		l.run(quiet(3), time.Now(), failed("build"))
		old := l.world.Runs(quiet(4), time.Now())[20]
		l.world.Rerun(old.ID, time.Now(), failed("late"))
		time.Sleep(5 * time.Hour)
		start(1)
		if names := l.read().jobs(); !slices.Equal(names, []string{"build", "late"}) {
			t.Errorf("found meanwhile: %q", names)
		}
		// Three lists, the attempt before, jobs and log of both, and whether the workflow and branch of what is broken now are gone.
		if cost > 3+1+2*2+2*2 {
			t.Errorf("two changes cost %d", cost)
		}

		l.config.GitHub.Token = configs.NewSecret("ghp_1111111111111111111111111111TESTONLY")
		l.fake.SetToken("ghp_1111111111111111111111111111TESTONLY")
		beforeCost, before := use()
		s := l.serve()
		time.Sleep(10 * time.Minute)
		s.stop()
		if cost, unchanged := use(); cost-beforeCost < 60 || unchanged == before {
			t.Errorf("another token costs %d, and %d answers had not changed", cost-beforeCost, unchanged-before)
		}
		pages := func() int {
			db, err := store.Open(l.config.Store.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			sum, err := db.Summary()
			if err != nil {
				t.Fatal(err)
			}
			return sum.Pages
		}
		held := pages()
		l.asApp(key)
		l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		s = l.serve()
		time.Sleep(time.Hour)
		s.stop()
		if len(foreign) > 0 {
			t.Errorf("ETags of another token were sent to %q", foreign)
		}
		if n := pages(); held == 0 || n != held {
			t.Errorf("%d pages after an hour as an App, %d before", n, held)
		}
	})
}

// asApp makes the lab's configuration log in as a GitHub App in place of the token.
func (l *lab) asApp(key *rsa.PrivateKey) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "app.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.config.GitHub.Token = configs.Secret{}
	l.config.GitHub.App = configs.App{ID: 4711, PrivateKeyFile: file}
}

// pieces that leave out a second of the window, or hold one twice, turn this red: a run created then is lost, or asked for twice.
func TestPieces(t *testing.T) {
	for _, runs := range []int{0, 499, 500, 25_000, 1_000_000} {
		for _, span := range []time.Duration{time.Second, time.Hour, 90*24*time.Hour + 7*time.Second} {
			w := order{Since: begin.Add(-span), Until: begin}.window()
			all := pieces(w, runs, begin)
			if len(all) > maxPieces || all[0].From != w.From || all[len(all)-1].To != w.To {
				t.Errorf("%d runs in %s: %d pieces from %s to %s", runs, span, len(all), all[0].From, all[len(all)-1].To)
			}
			for i, p := range all[1:] {
				if p.From.Truncate(time.Second) != all[i].To.Truncate(time.Second).Add(time.Second) || p.To.Before(p.From) {
					t.Errorf("%d runs in %s: %v after %v", runs, span, p, all[i])
				}
			}
		}
	}
	future := pieces(order{Since: begin.Add(-time.Hour), Until: begin.Add(time.Hour)}.window(), 5000, begin)
	if last := future[len(future)-1]; !last.To.Equal(begin.Add(time.Hour)) || last.From.After(begin) {
		t.Errorf("what is to come lies in %v", last)
	}
}
