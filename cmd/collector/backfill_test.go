package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// fakeGitHub starts a fake GitHub on a port of its own. At the end it must have nothing to complain of.
func fakeGitHub(t testing.TB, w *fakegithub.World, o fakegithub.Options) *fakegithub.Server {
	t.Helper()
	o.Token, o.PrimaryLimit, o.PerMinute, o.InFlight = testToken, -1, 1<<20, 64
	s := fakegithub.New(w, o)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if v := s.Stats().Violations; v != nil {
			t.Errorf("GitHub would complain of %q", v)
		}
	})
	return s
}

// environment is that of a program which asks the fake.
func environment(g *fakegithub.Server) []string {
	return []string{"GITHUB_TOKEN=" + testToken, "PUSHDOCTOR_GITHUB_URL=" + g.URL()}
}

// asked is how many requests the fake has seen.
func asked(g *fakegithub.Server) (n int) {
	for _, count := range g.Stats().Requests {
		n += count
	}
	return n
}

// args is a command line for the order.
func (o order) args(file string) []string {
	args := []string{"backfill", "--store", file, "--since", o.Since.Format(time.RFC3339), "--until", o.Until.Format(time.RFC3339)}
	for _, name := range o.Repositories {
		args = append(args, "--repository", name)
	}
	return args
}

// month is a world that stands still, and the order for all of it.
func month(t *testing.T) (*fakegithub.World, order) {
	t.Helper()
	w := fakegithub.NewWorld()
	then := time.Now().Add(-40 * 24 * time.Hour).UTC().Truncate(time.Second)
	populate(t, w, 18, then, rand.New(rand.NewPCG(7, 7)))
	return w, order{Since: then.Add(-31 * 24 * time.Hour), Until: then.Add(24 * time.Hour), Repositories: w.Repositories()}
}

// A backfill that says nothing before or on its way, whose summary is not what the store holds, or that leaves
// a terminal's control characters in a file turns this red.
func TestBackfill(t *testing.T) {
	w, o := month(t)
	g := fakeGitHub(t, w, fakegithub.Options{})
	file := filepath.Join(t.TempDir(), "pushdoctor.db")
	got := call{args: o.args(file), env: environment(g)}.run(t)
	if got.status != 0 {
		t.Fatalf("status %d\n%s", got.status, got.stderr)
	}
	if !regexp.MustCompile(`^108 runs in 6 repositories: about \d+ requests to GitHub, \d+ s or more`).MatchString(got.stderr) ||
		!regexp.MustCompile(`(?m)^108 of 108 runs, \d+ logs  \S+/\S+$`).MatchString(got.stderr) || strings.ContainsAny(got.stderr, "\r\x1b") {
		t.Errorf("stderr:\n%s", got.stderr)
	}
	k := audit(t, file)
	causes, repos := map[string]int{}, map[string]int{}
	for _, f := range k.Findings {
		causes[string(f.Cause)]++
		repos[f.Repository]++
	}
	shown := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^ +(\d+)  (\S+)`).FindAllStringSubmatch(got.stdout, -1) {
		n := 0
		_, _ = fmt.Sscan(m[1], &n) // digits
		shown[m[2]] = n
	}
	maps.Copy(causes, repos)
	if diff := cmp.Diff(causes, shown); diff != "" || len(k.Findings) < 50 {
		t.Errorf("summary of %d findings (-want +got)\n%s", len(k.Findings), diff)
	}
	if !strings.HasPrefix(got.stdout, fmt.Sprintf("%d failed pushes in 6 repositories from %s", len(k.Findings), o.Since.Format(time.DateOnly))) {
		t.Errorf("stdout:\n%s", got.stdout)
	}

	// What was read is not read again, nor counted.
	before := g.Stats().Requests
	again := call{args: o.args(file), env: environment(g)}.run(t)
	after := g.Stats().Requests
	history, _, _ := strings.Cut(got.stdout, " logs read now\n")
	history = history[:strings.LastIndex(history, "\n")+1] // without the number
	if again.status != 0 || again.stdout != history+"0 logs read now\n" {
		t.Errorf("the second time: status %d\n%s", again.status, again.stdout)
	}
	for _, endpoint := range []string{"job_log", "log_blob"} {
		if n := after[endpoint] - before[endpoint]; n != 0 {
			t.Errorf("the second time there were %d requests for %s", n, endpoint)
		}
	}
	compare(t, "the second time", k, audit(t, file))
}

// A backfill that takes a run for done because another configuration left its jobs out turns this red.
func TestBackfillWidened(t *testing.T) {
	w, o := month(t)
	g := fakeGitHub(t, w, fakegithub.Options{})
	narrow := filepath.Join(t.TempDir(), "pushdoctor.db")
	for _, env := range [][]string{append(environment(g), "PUSHDOCTOR_COLLECT_JOBS=nothing"), environment(g)} {
		if got := (call{args: o.args(narrow), env: env}).run(t); got.status != 0 {
			t.Fatalf("status %d\n%s", got.status, got.stderr)
		}
	}
	whole := filepath.Join(t.TempDir(), "pushdoctor.db")
	if got := (call{args: o.args(whole), env: environment(g)}).run(t); got.status != 0 {
		t.Fatalf("status %d\n%s", got.status, got.stderr)
	}
	compare(t, "widened", audit(t, whole), audit(t, narrow))
}

// words splits a command line as a shell does that knows blanks and single quotes.
func words(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?:'[^']*'|\\'|[^ ])+`).FindAllString(line, -1) {
		out = append(out, strings.NewReplacer(`'\''`, "'", "'", "").Replace(m))
	}
	return out
}

// A backfill that is broken off and does not say how to go on, or whose command goes on elsewhere, turns this red.
func TestBackfillBrokenOff(t *testing.T) {
	w, o := month(t)
	g := fakeGitHub(t, w, fakegithub.Options{Latency: 5 * time.Millisecond})
	dir := write(t, map[string]string{"my settings.yaml": "collect:\n  workers: 4\n  conclusions: [failure]\nstore:\n  path: elsewhere.db\n"})
	file := filepath.Join(dir, "it's mine.db")
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for g.Stats().Requests["job_log"] < 20 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		interrupt()
	}()
	var stdout, stderr bytes.Buffer
	args := append(o.args(file), "--config", "my settings.yaml")
	status := run(ctx, args, environment(g), strings.NewReader(""), &stdout, &stderr)
	if status != exitInterrupted || stdout.Len() > 0 {
		t.Errorf("status %d, stdout %q", status, stdout.String())
	}
	n := len(audit(t, file).Findings)
	_, command, ok := strings.Cut(stderr.String(), "pushdoctor: broken off; go on with\n  pushdoctor ")
	if !ok {
		t.Fatalf("stderr:\n%s", stderr.String())
	}
	if got := (call{args: words(strings.TrimSpace(command)), env: environment(g)}).run(t); got.status != 0 {
		t.Fatalf("%s\nstatus %d\n%s", command, got.status, got.stderr)
	}
	whole := filepath.Join(dir, "whole.db")
	if got := (call{args: append(o.args(whole), "--config", "my settings.yaml"), env: environment(g)}).run(t); got.status != 0 {
		t.Fatal(got.stderr)
	}
	want := audit(t, whole)
	if n == 0 || n >= len(want.Findings) {
		t.Errorf("%d findings when it was broken off, %d at the end", n, len(want.Findings))
	}
	compare(t, "after going on", want, audit(t, file))
}

// A repository that could not be read, or an owner that could not be asked for, and an exit status that says that all was well
// turn this red; so do others that are not read for it.
func TestBackfillOfWhatCannotBeRead(t *testing.T) {
	w := fakegithub.NewWorld()
	at := time.Now().Add(-48 * time.Hour)
	for _, repo := range []string{"octo-lab/api", "octo-lab/off"} {
		w.AddRun(pushdoctor.Run{Repository: repo, Workflow: "image.yml", CreatedAt: at}, failed("build"))
	}
	w.Change("octo-lab/off", func(r *fakegithub.Repository) { r.ActionsOff = true })
	g := fakeGitHub(t, w, fakegithub.Options{})
	for _, test := range []struct {
		repositories, said string
		status             int
	}{
		{"octo-lab/*,!octo-lab/off", "", 0},
		{"octo-lab/api,octo-lab/off", "octo-lab/off: Actions are turned off in this repository", exitFailed},
		{"octo-lab/api,nobody/*", "repositories of nobody", exitFailed},
		{"octo-lab/api,octo-lab/none", "octo-lab/none: GitHub does not know the repository", exitFailed},
	} {
		file := filepath.Join(t.TempDir(), "pushdoctor.db")
		env := append(environment(g), "PUSHDOCTOR_REPOSITORIES="+test.repositories)
		got := call{args: []string{"backfill", "--since", "30d", "--store", file}, env: env}.run(t)
		if got.status != test.status || !strings.Contains(got.stderr, test.said) || !strings.HasPrefix(got.stdout, "1 failed push in") {
			t.Errorf("%s: status %d\n%s%s", test.repositories, got.status, got.stdout, got.stderr)
		}
		if test.status != 0 && !strings.Contains(got.stderr, "go on with\n  pushdoctor backfill") {
			t.Errorf("%s: no command that goes on:\n%s", test.repositories, got.stderr)
		}
		if n := len(audit(t, file).Findings); n != 1 {
			t.Errorf("%s: %d findings, want 1", test.repositories, n)
		}
	}
	g.SetToken("another")
	got := call{args: []string{"backfill", "--repository", "octo-lab/api", "--store", filepath.Join(t.TempDir(), "x.db")}, env: environment(g)}.run(t)
	if got.status != exitFailed || !strings.Contains(got.stderr, "GitHub refuses the token") || strings.Contains(got.stderr, testToken) {
		t.Errorf("with a refused token: status %d\n%s", got.status, got.stderr)
	}
}

// A backfill beside a service that writes into another store, or does not say what became of it, turns this red.
func TestBackfillByTheService(t *testing.T) {
	w, o := month(t)
	g := fakeGitHub(t, w, fakegithub.Options{})
	file, whole := filepath.Join(t.TempDir(), "pushdoctor.db"), filepath.Join(t.TempDir(), "whole.db")
	direct := call{args: o.args(whole), env: environment(g)}.run(t)

	config := configs.Default()
	config.GitHub.URL, config.GitHub.Token = g.URL(), configs.NewSecret(testToken)
	config.Repositories = []string{"octo-lab/api"}
	config.Store.Path, config.Web.ListenAddress = file, "127.0.0.1:0"
	p := &program{stderr: &guard{w: &said{}, plain: true}}
	s, err := p.newService(config, file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()

	// The handler alone, since run has the configuration by now.
	refusing := httptest.NewServer(http.HandlerFunc((&service{}).serveBackfill))
	defer refusing.Close()
	got := call{args: append(o.args(file), "--server", refusing.URL), env: environment(g)}.run(t)
	if got.status != exitFailed || !strings.Contains(got.stderr, "403 Forbidden: web.admin is false") {
		t.Errorf("without web.admin: status %d\n%s", got.status, got.stderr)
	}
	got = call{args: o.args(file), env: append(environment(g), "PUSHDOCTOR_WEB_LISTEN_ADDRESS="+s.listener.Addr().String())}.run(t)
	if got.status != exitFailed || !strings.Contains(got.stderr, "another process holds "+file) || !strings.Contains(got.stderr, "web.admin is false") {
		t.Errorf("beside a service without web.admin: status %d\n%s", got.status, got.stderr)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	config.Web.Admin = true
	if s, err = p.newService(config, file); err != nil {
		t.Fatal(err)
	}
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- s.run(ctx, nil) }()
	env := append(environment(g), "PUSHDOCTOR_WEB_LISTEN_ADDRESS="+s.listener.Addr().String())
	got = call{args: o.args(file), env: env}.run(t)
	if got.status != 0 || got.stdout != direct.stdout || !strings.Contains(got.stderr, "another process holds "+file+"; asking http://127.0.0.1:") ||
		!strings.Contains(got.stderr, "108 runs in 6 repositories") || !strings.Contains(got.stderr, "108 of 108 runs") {
		t.Errorf("by the service: status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	compare(t, "by the service", audit(t, whole), audit(t, file))
}

// What cannot be an order and reaches GitHub nevertheless turns this red.
func TestBackfillRefuses(t *testing.T) {
	g := fakeGitHub(t, fakegithub.NewWorld(), fakegithub.Options{})
	for _, test := range []struct{ args, want string }{
		{"", "nothing to read"},
		{"--repository octo-lab/api --since yesterday", `--since: "yesterday" is neither a time`},
		{"--repository octo-lab/api --since 1d --until 2d", "is not before --until"},
		{"--repository octo-lab/api --server localhost:9877", "is not of the form http://HOST:PORT"},
		{"octo-lab/api", "takes no arguments"},
	} {
		file := filepath.Join(t.TempDir(), "pushdoctor.db")
		got := call{args: append([]string{"backfill", "--store", file}, strings.Fields(test.args)...), env: environment(g)}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, test.want) {
			t.Errorf("backfill %s: status %d, %s", test.args, got.status, got.stderr)
		}
	}
	if n := asked(g); n != 0 {
		t.Errorf("GitHub was asked %d times", n)
	}
}

// BenchmarkBackfill reads 2,000 runs, of which one in seven failed, into a new store, over TCP.
func BenchmarkBackfill(b *testing.B) {
	const runs = 2000
	world, o := fifths(runs, 7)
	g := fakeGitHub(b, world, fakegithub.Options{PrimaryLimit: -1, PerMinute: 1 << 20})
	b.ReportAllocs()
	for b.Loop() {
		fill(b, g, o, (runs+6)/7)
	}
	b.ReportMetric(float64(b.N)*runs/b.Elapsed().Seconds(), "runs/s")
}

// BenchmarkBackfillLatency reads 25,000 runs, of which one in five failed in one job, from a GitHub each of whose answers takes 40 ms
// and that has no limits. "reached" is the share of what collect.workers requests to the API at once could do if there were always as many. "requests/failed"
// are those to the API, listing included.
func BenchmarkBackfillLatency(b *testing.B) {
	const (
		runs    = 25_000
		failed  = runs / 5
		latency = 40 * time.Millisecond
	)
	world, o := fifths(runs, 5)
	g := fakeGitHub(b, world, fakegithub.Options{PrimaryLimit: -1, PerMinute: 1 << 20, Latency: latency})
	workers := configs.Default().Collect.Workers
	for b.Loop() {
		fill(b, g, o, failed)
	}
	api := 0
	for endpoint, n := range g.Stats().Requests {
		if endpoint != "log_blob" {
			api += n
		}
	}
	ideal := time.Duration(api) * latency / time.Duration(workers)
	b.ReportMetric(float64(ideal)/float64(b.Elapsed()), "reached")
	b.ReportMetric(float64(api)/float64(b.N)/failed, "requests/failed")
}

// BenchmarkBackfillMemory reads the same runs, without latency, in a process of its own, and tells the most memory that was the program's own:
// RssAnon of /proc, since bbolt maps its file.
func BenchmarkBackfillMemory(b *testing.B) {
	const runs = 25_000
	world, o := fifths(runs, 5)
	g := fakeGitHub(b, world, fakegithub.Options{PrimaryLimit: -1, PerMinute: 1 << 20})
	most := 0
	for b.Loop() {
		cmd := process(b, g, 0, o.args(filepath.Join(b.TempDir(), "pushdoctor.db"))...)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for running := true; running; {
			select {
			case err := <-ended:
				if err != nil {
					b.Fatal(err)
				}
				running = false
			case <-time.After(10 * time.Millisecond):
				status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // gone at the end
				for line := range strings.Lines(string(status)) {
					var kB int
					if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kB); n == 1 {
						most = max(most, kB)
					}
				}
			}
		}
	}
	b.ReportMetric(float64(most)/1000, "RssAnon-MB")
}

// fifths is a repository with so many runs, one a minute, of which each nth failed in one job, and the order that reads them.
func fifths(runs, nth int) (*fakegithub.World, order) {
	w := fakegithub.NewWorld()
	at := time.Now().Add(-time.Duration(runs+100) * time.Minute)
	for i := range runs {
		j := fakegithub.Job{}
		if i%nth == 0 {
			j = failed("build")
		}
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", CreatedAt: at.Add(time.Duration(i) * time.Minute)}, j)
	}
	return w, order{Since: at, Until: at.Add(time.Duration(runs) * time.Minute), Repositories: []string{"octo-lab/api"}}
}

// fill carries out the order into a new store.
func fill(b *testing.B, g *fakegithub.Server, o order, want int) {
	b.Helper()
	db, err := store.Open(filepath.Join(b.TempDir(), "pushdoctor.db"))
	if err != nil {
		b.Fatal(err)
	}
	config := configs.Default()
	config.GitHub.URL, config.GitHub.Token = g.URL(), configs.NewSecret(testToken)
	e, err := (&program{}).newEstate(config, nil, db, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	findings := 0
	err = filler{e, db, time.Now}.backfill(b.Context(), o, func(n notice) {
		if n.Summary != nil {
			findings = n.Summary.Findings
		}
	})
	if err != nil || findings != want {
		b.Fatalf("%d findings, %v", findings, err)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}
