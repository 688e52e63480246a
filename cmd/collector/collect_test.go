package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/samples"
	"github.com/akkospace/pushdoctor/store"
)

const (
	testToken = "ghp_0000000000000000000000000000TESTONLY"
	repoA     = "octo-lab/api"
	repoB     = "octo-lab/web"
)

// begin is when the clock of a lab begins. That of a bubble begins in the year 2000, before there were Actions.
var begin = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// A lab is a fake GitHub and a store in a bubble of testing/synctest: hours pass as fast as the processor can work.
type lab struct {
	t      *testing.T
	world  *fakegithub.World
	fake   *fakegithub.Server
	config configs.Config
	detour detour        // nil: all requests reach the fake
	said   said          // by the program
	ahead  time.Duration // of the collector's clock
}

// inLab calls test in a bubble at begin.
func inLab(t *testing.T, o fakegithub.Options, test func(*testing.T, *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		o.Token = testToken
		w := fakegithub.NewWorld()
		l := &lab{t: t, world: w, fake: fakegithub.New(w, o), config: configs.Default()}
		before := http.DefaultTransport
		http.DefaultTransport = l.fake.Pipe()
		l.config.GitHub.URL = l.fake.URL()
		l.config.GitHub.Token = configs.NewSecret(testToken)
		l.config.Repositories = []string{repoA}
		l.config.Store.Path = filepath.Join(t.TempDir(), "pushdoctor.db")
		l.config.Web.ListenAddress = "127.0.0.1:0"
		l.config.Web.Admin = true
		defer func() {
			http.DefaultTransport = before
			if err := l.fake.Close(); err != nil {
				t.Error(err)
			}
			if v := l.fake.Stats().Violations; v != nil {
				t.Errorf("GitHub would complain of %q", v)
			}
			if t.Failed() {
				t.Logf("the program said:\n%s", l.said.String())
			}
		}()
		test(t, l)
	})
}

// said is what a program wrote, for several goroutines.
type said struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// A detour answers a request in place of the fake; nil lets it pass.
type detour func(*http.Request) *http.Response

// A transport takes a detour.
type transport struct {
	detour detour
	next   http.RoundTripper
}

func (d transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if resp := d.detour(r); resp != nil {
		resp.Request, resp.ProtoMajor, resp.ProtoMinor = r, 1, 1
		return resp, nil
	}
	return d.next.RoundTrip(r)
}

func page(code int, kind, text string) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text))}
}

// pipes is a listener in memory.
type pipes struct {
	made   chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.made <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A running is a service that runs.
type running struct {
	*service
	t      *testing.T
	client *http.Client
	hook   *http.Client // of the webhook
	cancel context.CancelFunc
	ended  chan error
}

// program is a program whose clock and whose way to GitHub are the lab's.
func (l *lab) program() *program {
	p := &program{stdout: &l.said, stderr: &guard{w: &l.said, plain: true}, now: func() time.Time { return time.Now().Add(l.ahead) }}
	if l.detour != nil {
		p.transport = transport{l.detour, http.DefaultTransport}
	}
	return p
}

// serve starts the service as `pushdoctor serve` does.
func (l *lab) serve() *running {
	l.t.Helper()
	p := l.program()
	s, err := p.newService(l.config, l.config.Store.Path)
	if err != nil {
		l.t.Fatal(err)
	}
	s.load = func() (configs.Config, error) {
		checked := l.config
		checked.GitHub.URL = configs.Default().GitHub.URL // that of the lab is http
		return l.config, checked.Validate()
	}
	// A bubble's time stands while something waits for the network.
	inMemory := func(at *net.Listener) *http.Client {
		if err := (*at).Close(); err != nil {
			l.t.Fatal(err)
		}
		in := &pipes{made: make(chan net.Conn), closed: make(chan struct{})}
		*at = in
		return &http.Client{Transport: &http.Transport{DialContext: in.dial, DisableKeepAlives: true}}
	}
	r := &running{service: s, t: l.t, ended: make(chan error, 1)}
	r.client = inMemory(&s.listener)
	if s.webhook != nil {
		r.hook = inMemory(&s.webhook.listener)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	r.cancel = cancel
	go func() { r.ended <- s.run(ctx, nil) }()
	// The service looks for repositories every ten minutes to the second. Nothing that a test does after a whole number of minutes
	// may fall into the midst of that.
	time.Sleep(7 * time.Second)
	return r
}

// stop ends the service as SIGTERM does. One that takes longer than ten seconds fails the test.
func (r *running) stop() {
	r.t.Helper()
	began := time.Now()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("serve: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		r.t.Errorf("serve took %s to end", took)
	}
}

func (r *running) get(path string) string {
	r.t.Helper()
	resp, err := r.client.Get("http://pushdoctor.test" + path)
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	_ = resp.Body.Close() // read to its end
	return string(body)
}

// metric is the value of a series on /metrics, "" where it is not there.
func (r *running) metric(series string) string {
	r.t.Helper()
	for line := range strings.Lines(r.get("/metrics")) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// backfill does what `pushdoctor backfill` does, and wants it to end well.
func (l *lab) backfill(since, until time.Time) {
	l.t.Helper()
	p := l.program()
	o := order{Since: since, Until: until, Repositories: l.config.Repositories}
	if err := p.backfill(l.t.Context(), l.config, o, "", "", ""); err != nil {
		l.t.Errorf("backfill from %s to %s: %v", since, until, err)
	}
}

// A ledger is what a store has counted and found.
type ledger struct {
	Totals   map[string]float64 // live and history together, without the errors of collecting
	Errors   map[string]float64
	Findings []store.Stored
}

// audit checks the store in a file, and returns what is in it.
func audit(t *testing.T, file string) ledger {
	t.Helper()
	db, err := store.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := db.Check(); err != nil {
		t.Error(err)
	}
	totals, err := db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	k := ledger{Totals: map[string]float64{}, Errors: map[string]float64{}}
	for _, total := range totals {
		into := k.Totals
		if total.Metric == store.MetricCollectErrors {
			into = k.Errors
		}
		short := strings.TrimSuffix(strings.TrimPrefix(total.Metric, "pushdoctor_"), "_total")
		into[short+"{"+strings.Join(total.Labels, ",")+"}"] += total.Value
	}
	if k.Findings, err = db.Find(store.Query{}); err != nil {
		t.Fatal(err)
	}
	pending, err := db.DuePending(time.Now().AddDate(10, 0, 0), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pending {
		t.Errorf("job %d still waits for its log, after %d tries", p.Job.JobID, p.Tries)
	}
	return k
}

func (l *lab) read() ledger {
	l.t.Helper()
	return audit(l.t, l.config.Store.Path)
}

// jobs are the names of the jobs in which something was found, sorted.
func (k ledger) jobs() []string {
	var names []string
	for _, f := range k.Findings {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

// total is the sum of the series that begin so.
func (k ledger) total(prefix string) (n float64) {
	for series, value := range k.Totals {
		if strings.HasPrefix(series, prefix) {
			n += value
		}
	}
	return n
}

func compare(t *testing.T, what string, want, got ledger) {
	t.Helper()
	if diff := cmp.Diff(want.Findings, got.Findings); diff != "" {
		t.Errorf("%s: findings (-want +got)\n%.3000s", what, diff)
	}
	if diff := cmp.Diff(want.Totals, got.Totals); diff != "" {
		t.Errorf("%s: totals (-want +got)\n%.3000s", what, diff)
	}
}

// repository is what the store knows of a repository.
func (r *running) repository(name string) store.Repository {
	r.t.Helper()
	all, err := r.db.Repositories()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, repo := range all {
		if repo.Name == name {
			return repo
		}
	}
	r.t.Fatalf("the store does not know %s", name)
	return store.Repository{}
}

// failed is a job that failed with failedLog and ended after a minute.
func failed(name string) fakegithub.Job {
	return fakegithub.Job{Job: pushdoctor.Job{Name: name, Conclusion: "failure"}, Log: []byte(failedLog)}
}

// run adds a run.
func (l *lab) run(repository string, at time.Time, jobs ...fakegithub.Job) pushdoctor.Run {
	return l.world.AddRun(pushdoctor.Run{Repository: repository, Workflow: "image.yml", CreatedAt: at}, jobs...)
}

// populate fills a world with six repositories of so many runs each: 30 days before now, and six hours that are to come. Then the world stands still;
// a sweep that follows sees all of it.
func populate(t *testing.T, w *fakegithub.World, runs int, now time.Time, random *rand.Rand) {
	t.Helper()
	files, err := samples.Logs.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var logs [][]byte
	for _, f := range files {
		log, err := samples.Logs.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, log)
	}
	last := now.Add(6 * time.Hour)
	within := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	log := func() []byte { return logs[random.IntN(len(logs))] }
	long := append(bytes.Repeat([]byte("2026-03-01T10:00:00.0000000Z a line like any other\n"), 25_000), failedLog...)

	job := func(name string) fakegithub.Job {
		j := failed(name)
		j.Log = log()
		switch random.IntN(12) {
		case 0:
			j.Conclusion = "timed_out"
		case 1:
			j.Lost = true
		case 2:
			j.Gone = true
		}
		return j
	}
	for _, repo := range []string{repoA, repoB, "octo-lab/worker", "octo-tools/Builder", "northwind-ci/ledger", "northwind-ci/site"} {
		w.AddRepository(fakegithub.Repository{Name: repo})
		for i := range runs {
			at := now.Add(-within(30 * 24 * time.Hour))
			if i >= runs*2/3 {
				at = now.Add(within(6 * time.Hour))
			}
			r := pushdoctor.Run{Repository: repo, Workflow: []string{"image.yml", "release.yaml"}[random.IntN(2)], CreatedAt: at}
			good := fakegithub.Job{Job: pushdoctor.Job{Name: "test"}, Log: []byte(cleanLog)}
			switch i % 6 {
			case 0:
				w.AddRun(r, good)
			case 1:
				w.AddRun(r, good, job("push (linux/amd64)"), job("push (linux/arm64)"))
			case 2: // cancelled, one soon and one late
				soon, late := job("soon"), job("late")
				soon.Conclusion, late.Conclusion = "cancelled", "cancelled"
				late.StartedAt, late.CompletedAt = at.Add(5*time.Second), at.Add(10*time.Minute)
				w.AddRun(r, soon, late)
			case 3: // the log comes late
				j := failed("build")
				j.Log, j.LogAt = log(), at.Add(time.Minute+5*time.Second+within(10*time.Minute))
				w.AddRun(r, j)
			case 4: // failed jobs are run anew, once or twice
				run := w.AddRun(r, good, job("build"), job("scan"))
				again := earlier(at.Add(2*time.Minute+within(9*24*time.Hour)), last)
				w.Rerun(run.ID, again, job("build"))
				if random.IntN(2) == 0 {
					cured := good
					cured.Name = "build"
					w.Rerun(run.ID, again.Add(2*time.Minute), cured)
				}
			case 5: // all is run anew, a long log among it
				j := job("build")
				if i == 5 && repo == repoA || i == 11 && repo == repoB {
					j.Log, j.Lost, j.Gone = long, false, false
				}
				run := w.AddRun(r, j)
				w.Rerun(run.ID, earlier(at.Add(5*time.Minute+within(24*time.Hour)), last), job("build"))
			}
		}
	}
}

// Totals or findings that depend on the order of serve, backfill and an end in the middle turn this red: an execution
// that is counted twice, or by nobody.
func TestOrders(t *testing.T) {
	const (
		day  = 24 * time.Hour
		past = 31 * day
	)
	until := func(d time.Duration) { time.Sleep(time.Until(begin.Add(d))) }
	var first ledger
	for _, test := range []struct {
		name  string
		order func(*testing.T, *lab)
	}{
		{"serve with a long lookback", func(t *testing.T, l *lab) {
			l.config.Collect.Lookback = model.Duration(past)
			s := l.serve()
			until(14 * time.Hour)
			s.stop()
		}},
		{"backfill, serve", func(t *testing.T, l *lab) {
			l.backfill(begin.Add(-past), begin)
			s := l.serve()
			until(14 * time.Hour)
			s.stop()
		}},
		{"serve, broken off, backfill, serve", func(t *testing.T, l *lab) {
			s := l.serve()
			until(100 * time.Millisecond) // in the middle of the first poll
			s.stop()
			s = l.serve()
			until(2*time.Hour + 3*time.Minute)
			s.stop()
			until(3 * time.Hour)
			l.backfill(begin.Add(-past), time.Now())
			s = l.serve()
			until(14 * time.Hour)
			s.stop()
		}},
		{"backfill in halves, the later one first", func(t *testing.T, l *lab) {
			until(14 * time.Hour)
			l.backfill(begin.Add(-10*day), time.Now())
			l.backfill(begin.Add(-past), begin.Add(-10*day))
			until(15 * time.Hour) // what was told gone is asked for once more
			l.backfill(begin.Add(-time.Hour), time.Now())
		}},
		{"serve beside backfill", func(t *testing.T, l *lab) {
			s := l.serve()
			until(time.Hour)
			o := order{Since: begin.Add(-past), Until: time.Now().Add(24 * time.Hour), Repositories: l.config.Repositories}
			if got := s.order(t.Context(), "application/json", o); !strings.Contains(got, `"summary"`) {
				l.t.Errorf("the backfill ended with %s", got)
			}
			until(14 * time.Hour)
			s.stop()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, fakegithub.Options{Latency: 30 * time.Millisecond, Faults: fakegithub.Faults{Rate: 0.03, Seed: 5}}, func(t *testing.T, l *lab) {
				populate(t, l.world, 36/min(raced, 2), begin, rand.New(rand.NewPCG(3, 1)))
				l.config.Repositories = l.world.Repositories()
				l.config.Collect.MaxLog = 100_000
				l.config.Collect.Interval = model.Duration(15 * time.Minute)
				l.config.Metrics.Refs = nil // which successes are read hangs on what is broken at the time
				test.order(t, l)
				got := l.read()

				attempts, executions := 0, map[pushdoctor.Execution]bool{}
				for _, repo := range l.world.Repositories() {
					for _, run := range l.world.Runs(repo, time.Now()) {
						attempts += run.Attempt
						for _, j := range l.world.Jobs(run.ID) {
							if j.Conclusion != "success" && j.Name != "soon" {
								executions[j.Execution()] = true
							}
						}
					}
				}
				if n := got.total("runs{"); n != float64(attempts) {
					t.Errorf("%v attempts of runs were counted, of %d", n, attempts)
				}
				if n := got.total("jobs_read{"); n != float64(len(executions)) {
					t.Errorf("%v jobs were counted, of %d", n, len(executions))
				}
				for _, repo := range []string{repoA, repoB} {
					if n := got.Totals["jobs_read{"+repo+",truncated}"]; n != 1 {
						t.Errorf("%v logs of %s were truncated, want 1", n, repo)
					}
				}
				if first.Totals == nil {
					first = got
				}
				compare(t, test.name, first, got)
			})
		})
	}
}

// A cursor that passes a run in progress, or one that could not be read, turns this red: nobody would come back to it.
func TestCursor(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-3*time.Hour), failed("early"))
		slow := failed("slow")
		slow.CompletedAt = begin.Add(2 * time.Hour)
		going := l.run(repoA, begin.Add(-2*time.Hour), slow)
		broken := l.run(repoA, begin.Add(-time.Hour), failed("broken"))
		l.run(repoA, begin.Add(-30*time.Minute), failed("late"))
		l.detour = func(r *http.Request) *http.Response {
			if time.Since(begin) < 4*time.Hour && strings.HasSuffix(r.URL.Path, fmt.Sprintf("/runs/%d/jobs", broken.ID)) {
				return page(http.StatusInternalServerError, "application/json", "{}")
			}
			return nil
		}
		s := l.serve()
		defer s.stop()
		for _, test := range []struct {
			after   time.Duration
			through time.Time
			jobs    []string
			state   string
		}{
			{time.Hour, going.CreatedAt, []string{"early", "late"}, "unavailable"},
			{3 * time.Hour, broken.CreatedAt, []string{"early", "late", "slow"}, "unavailable"},
			{5 * time.Hour, time.Time{}, []string{"broken", "early", "late", "slow"}, ""},
		} {
			time.Sleep(time.Until(begin.Add(test.after)))
			synctest.Wait()
			if test.through.IsZero() {
				test.through = time.Now().Add(-listLag - cursorStep - 2*time.Minute)
			}
			repo := s.repository(repoA)
			if through := repo.Cursor.Through; through.Before(test.through) || test.state != "" && !through.Equal(test.through) {
				t.Errorf("after %s: the cursor is at %s, want %s", test.after, through, test.through)
			}
			if repo.State != test.state {
				t.Errorf("after %s: the repository's state is %q, want %q", test.after, repo.State, test.state)
			}
			found, err := s.db.Find(store.Query{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.jobs, ledger{Findings: found}.jobs()); diff != "" {
				t.Errorf("after %s: jobs (-want +got)\n%s", test.after, diff)
			}
		}
	})
}

// A log that was not there at first, or could not be had for a while, and that nobody asks for again turns this red; so
// does one that will never come and is called clean, or waits for ever.
func TestLogsThatAreNotThere(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"right": 0, "an hour slow": -time.Hour, "an hour fast": time.Hour} {
		t.Run("clock "+name, func(t *testing.T) {
			inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
				l.ahead = ahead
				late, lost, gone := failed("late"), failed("lost"), failed("gone")
				late.LogAt = begin.Add(8 * time.Minute)
				lost.Lost, gone.Gone = true, true
				l.run(repoA, begin.Add(-time.Minute), late, lost, gone)
				l.run(repoA, begin.Add(-time.Hour), failed("struck"))
				l.detour = func(r *http.Request) *http.Response {
					if time.Since(begin) < 3*time.Minute && strings.HasPrefix(r.URL.Path, "/logs/") {
						return page(http.StatusServiceUnavailable, "text/plain", "busy")
					}
					return nil
				}
				s := l.serve()
				time.Sleep(2 * time.Minute)
				pending := 0
				for line := range strings.Lines(s.get("/metrics")) {
					if n, ok := strings.CutPrefix(line, `pushdoctor_pending_jobs{repository="`+repoA+`"} `); ok {
						_, _ = fmt.Sscan(n, &pending) // 0 fails below
					}
				}
				if pending != 4 {
					t.Errorf("%d jobs wait for their logs, want 4", pending)
				}
				time.Sleep(28 * time.Minute)
				s.stop()
				got := l.read()
				if diff := cmp.Diff([]string{"late", "struck"}, got.jobs()); diff != "" {
					t.Errorf("jobs with findings (-want +got)\n%s", diff)
				}
				want := map[string]float64{
					"jobs_read{" + repoA + ",findings}": 2, "jobs_read{" + repoA + ",unreadable}": 1, "jobs_read{" + repoA + ",expired}": 1,
				}
				for series, n := range want {
					if got.Totals[series] != n {
						t.Errorf("%s = %v, want %v", series, got.Totals[series], n)
					}
				}
				if n := got.total("jobs_read{"); n != 4 {
					t.Errorf("%v jobs were counted, want 4", n)
				}
				for _, reason := range []string{"log_missing", "log_gone"} {
					if n := got.Errors["collect_errors{"+repoA+","+reason+"}"]; n != 1 {
						t.Errorf("%s was counted %v times, want once", reason, n)
					}
				}
				if n := got.Errors["collect_errors{"+repoA+",unavailable}"]; n < 1 {
					t.Error("a log that could not be had was not counted")
				}
			})
		})
	}
}

// A refused token that loses what happens meanwhile, or of which the page and the metrics say nothing, turns this red.
func TestTokenRefused(t *testing.T) {
	const banner, valid = "GitHub refuses the token", `pushdoctor_github_credential_valid{credential="token"}`
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-time.Hour), failed("before"))
		l.run(repoA, begin.Add(30*time.Minute), failed("meanwhile"))
		late := failed("late")
		late.LogAt = begin.Add(12 * time.Minute)
		l.run(repoA, begin.Add(8*time.Minute), late)
		s := l.serve()
		time.Sleep(10 * time.Minute)
		if strings.Contains(s.get("/"), banner) || s.metric(valid) != "1" {
			t.Error("the token is said to be refused before it is")
		}
		l.fake.SetToken("another")
		time.Sleep(time.Hour)
		if !strings.Contains(s.get("/"), banner) || s.metric(valid) != "0" {
			t.Error("neither page nor metrics say that the token is refused")
		}
		if repo := s.repository(repoA); repo.State != "unauthorized" || !strings.Contains(repo.Reason, "token") {
			t.Errorf("the repository's state is %q: %q", repo.State, repo.Reason)
		}
		l.fake.SetToken(testToken)
		time.Sleep(5 * time.Minute)
		if strings.Contains(s.get("/"), banner) || s.metric(valid) != "1" {
			t.Error("the token is said to be refused after it was taken again")
		}
		if repo := s.repository(repoA); repo.State != "" || repo.Reason != "" {
			t.Errorf("the repository's state is %q: %q", repo.State, repo.Reason)
		}
		s.stop()
		if diff := cmp.Diff([]string{"before", "late", "meanwhile"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A repository that cannot be read and keeps the others from being read, that is not counted under its reason, or that
// stays lost when it can be read again turns this red. So does one whose missing log stands before those of the others.
func TestRepositoriesThatCannotBeRead(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		ill := map[string]func(*fakegithub.Repository, bool){
			"not_found":   func(r *fakegithub.Repository, on bool) { r.Hidden = on },
			"actions_off": func(r *fakegithub.Repository, on bool) { r.ActionsOff = on },
			"forbidden":   func(r *fakegithub.Repository, on bool) { r.Forbidden = on },
			"not_json":    func(*fakegithub.Repository, bool) {},
		}
		name := func(reason string) string { return "a-lab/" + strings.ReplaceAll(reason, "_", "-") }
		l.config.Repositories = []string{repoA, "a-lab/never-there"}
		l.run(repoA, begin.Add(30*time.Minute), failed("good"))
		late := failed("good, late")
		late.LogAt = begin.Add(14 * time.Minute)
		l.run(repoA, begin.Add(8*time.Minute), late)
		for reason := range ill {
			l.config.Repositories = append(l.config.Repositories, name(reason))
			l.run(name(reason), begin.Add(-time.Hour), failed("before "+reason))
			l.run(name(reason), begin.Add(30*time.Minute), failed("while "+reason))
		}
		// It waits for its log when the right to read it is taken away.
		late.Name, late.LogAt = "late forbidden", begin.Add(14*time.Minute)
		l.run(name("forbidden"), begin.Add(2*time.Minute), late)
		l.detour = func(r *http.Request) *http.Response {
			if d := time.Since(begin); d > 10*time.Minute && d < 2*time.Hour && strings.Contains(r.URL.Path, name("not_json")) {
				return page(http.StatusOK, "text/html", "<html>Please sign in.</html>")
			}
			return nil
		}
		s := l.serve()
		time.Sleep(time.Until(begin.Add(10 * time.Minute)))
		for reason, change := range ill {
			l.world.Change(name(reason), func(r *fakegithub.Repository) { change(r, true) })
		}
		time.Sleep(time.Until(begin.Add(time.Hour)))
		for reason := range ill {
			if repo := s.repository(name(reason)); repo.State != reason || repo.Reason == "" {
				t.Errorf("the state of %s is %q: %q", repo.Name, repo.State, repo.Reason)
			}
			if !strings.Contains(s.get("/"), name(reason)+":") {
				t.Errorf("the page does not say that %s cannot be read", name(reason))
			}
		}
		found, err := s.db.Find(store.Query{Repository: repoA})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"good", "good, late"}, ledger{Findings: found}.jobs()); diff != "" {
			t.Errorf("jobs of %s, which is well (-want +got)\n%s", repoA, diff)
		}
		time.Sleep(time.Until(begin.Add(2 * time.Hour)))
		want := []string{"good", "good, late", "late forbidden"}
		for reason, change := range ill {
			l.world.Change(name(reason), func(r *fakegithub.Repository) { change(r, false) })
			want = append(want, "before "+reason, "while "+reason)
		}
		time.Sleep(4 * time.Hour)
		for reason := range ill {
			if repo := s.repository(name(reason)); repo.State != "" {
				t.Errorf("the state of %s is %q after it was cured", repo.Name, repo.State)
			}
		}
		s.stop()
		got := l.read()
		slices.Sort(want)
		if diff := cmp.Diff(want, got.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		for reason := range ill {
			if n := got.Errors["collect_errors{"+name(reason)+","+reason+"}"]; n < 10 {
				t.Errorf("%s was counted %v times", reason, n)
			}
		}
		if n := got.Errors["collect_errors{a-lab/never-there,not_found}"]; n < 10 {
			t.Errorf("a repository that never was there was counted %v times", n)
		}
	})
}

// A renamed repository that becomes two, or whose state nobody learns any more, turns this red.
func TestRenamed(t *testing.T) {
	const renamed = "octo-lab/gateway"
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-time.Hour), failed("before"))
		late := failed("late")
		late.LogAt = begin.Add(14 * time.Minute)
		l.run(repoA, begin.Add(5*time.Minute), late)
		l.run(repoA, begin.Add(20*time.Minute), failed("after"))
		s := l.serve()
		time.Sleep(10 * time.Minute)
		l.world.Change(repoA, func(r *fakegithub.Repository) { r.Name = renamed })
		time.Sleep(20 * time.Minute)
		l.world.Change(renamed, func(r *fakegithub.Repository) { r.Forbidden = true })
		time.Sleep(5 * time.Minute)
		if repo := s.repository(renamed); repo.State != "forbidden" {
			t.Errorf("the state of %s is %q", renamed, repo.State)
		}
		s.stop()
		got := l.read()
		if diff := cmp.Diff([]string{"after", "before", "late"}, got.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		for _, f := range got.Findings {
			if f.Repository != renamed {
				t.Errorf("a finding is said to be of %s", f.Repository)
			}
		}
		if n := got.Totals["runs{"+renamed+",image.yml,failure}"]; n != 3 || n != got.total("runs{") {
			t.Errorf("%v of %v runs are of %s, want 3", n, got.total("runs{"), renamed)
		}
	})
}

// A re-run of an old run that nobody sees turns this red. It changes no list that a poll asks for.
func TestRerunOfAnOldRun(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		old := l.run(repoA, begin.Add(-20*24*time.Hour), failed("build"), failed("scan"))
		older := l.run(repoA, begin.Add(-25*24*time.Hour), failed("before"))
		l.run(repoA, begin.Add(-time.Hour), failed("fresh"))
		l.world.Rerun(old.ID, begin.Add(90*time.Minute), failed("build"))
		s := l.serve()
		time.Sleep(7 * time.Hour) // a sweep is due every 6 hours
		if found := l.world.Jobs(old.ID); len(found) != 4 {
			t.Fatalf("the world holds %d jobs", len(found))
		}
		s.stop()
		// A re-run while nobody looks is found by the sweep of the next start.
		l.world.Rerun(older.ID, time.Now().Add(time.Hour), failed("before"))
		time.Sleep(2 * time.Hour)
		s = l.serve()
		time.Sleep(5 * time.Minute)
		s.stop()
		got := l.read()
		if diff := cmp.Diff([]string{"before", "before", "build", "build", "fresh", "scan"}, got.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A window that ends before it begins turns this red: a sweep has nothing to ask for where the poll reaches back further.
func TestLookbackBeyondTheSweep(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Collect.Lookback = model.Duration(60 * 24 * time.Hour)
		l.run(repoA, begin.Add(-50*24*time.Hour), failed("old"))
		var mu sync.Mutex
		var asked []string
		l.detour = func(r *http.Request) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			if created := r.URL.Query().Get("created"); created != "" {
				asked = append(asked, created)
			}
			return nil
		}
		s := l.serve()
		time.Sleep(time.Minute)
		s.stop()
		for _, created := range asked {
			if from, to, window := strings.Cut(created, ".."); window && from > to {
				t.Errorf("asked for runs of %s", created)
			}
		}
		if diff := cmp.Diff([]string{"old"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A job that is read though the configuration does not ask for it, or the other way round, turns this red.
func TestWanted(t *testing.T) {
	job := func(name, conclusion string, lasted time.Duration) fakegithub.Job {
		j := failed(name)
		j.Conclusion = conclusion
		j.StartedAt = begin.Add(-time.Hour)
		j.CompletedAt = j.StartedAt.Add(lasted)
		return j
	}
	all := []fakegithub.Job{
		job("build", "failure", time.Minute),
		job("build / linux/amd64", "failure", time.Minute),
		job("push (linux/arm64)", "timed_out", time.Hour),
		job("soon", "cancelled", 5*time.Minute-time.Second),
		job("late", "cancelled", 5*time.Minute),
		job("green", "success", time.Minute),
		job("skipped", "skipped", 0),
	}
	for _, test := range []struct {
		name   string
		change func(*configs.Collect)
		want   []string
	}{
		{"defaults", func(*configs.Collect) {}, []string{"build", "build / linux/amd64", "late", "push (linux/arm64)"}},
		{"every cancelled job", func(c *configs.Collect) { c.CancelledAfter = 0 }, []string{"build", "build / linux/amd64", "late", "push (linux/arm64)", "soon"}},
		{"conclusions", func(c *configs.Collect) { c.Conclusions = []string{"timed_out", "success"} }, []string{"green", "push (linux/arm64)"}},
		{"a job", func(c *configs.Collect) { c.Jobs = []string{"build"} }, []string{"build"}},
		{"a job with a slash", func(c *configs.Collect) { c.Jobs = []string{"build / linux/amd64"} }, []string{"build / linux/amd64"}},
		{"star over slashes", func(c *configs.Collect) { c.Jobs = []string{"build / *", "push*"} }, []string{"build / linux/amd64", "push (linux/arm64)"}},
		{"star before a slash", func(c *configs.Collect) { c.Jobs = []string{"*/amd64"} }, []string{"build / linux/amd64"}},
		{"a workflow", func(c *configs.Collect) { c.Workflows = []string{"im*.yml"} }, []string{"build", "build / linux/amd64", "late", "push (linux/arm64)"}},
		{"another workflow", func(c *configs.Collect) { c.Workflows = []string{"release.yml"} }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
				l.run(repoA, begin.Add(-time.Hour), all...)
				test.change(&l.config.Collect)
				s := l.serve()
				time.Sleep(time.Minute)
				s.stop()
				if diff := cmp.Diff(test.want, l.read().jobs()); diff != "" {
					t.Errorf("jobs (-want +got)\n%s", diff)
				}
			})
		})
	}
}
