//go:build torture && unix

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// make torture gives these.
var (
	tortureSeed   = flag.Uint64("seed", 0, "play this seed alone")
	tortureSeeds  = flag.Uint64("seeds", 20, "play the seeds from 1 to this one")
	tortureKills  = flag.Int("kills", 15, "end the program so often for each seed")
	tortureFaults = flag.Float64("faults", 0.1, "strike this share of the requests to GitHub")
	tortureRace   = flag.Bool("detect-races", false, "build the program with the race detector")
)

// An execution that is lost, or counted twice, by an end at any request turns this red: by kill -9 or SIGTERM, of a service, of a
// backfill, or of a service that carries one out, while runs appear, end and are re-run, and GitHub fails now and then.
// So do a limit of GitHub's that is not obeyed, and a secret or a panic in what the program says.
func TestTorture(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pushdoctor")
	build := exec.Command("go", "build", "-o", program)
	if *tortureRace {
		build.Args = append(build.Args, "-race")
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seeds := []uint64{*tortureSeed}
	if *tortureSeed == 0 {
		seeds = nil
		for seed := uint64(1); seed <= *tortureSeeds; seed++ {
			seeds = append(seeds, seed)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel() // each one waits most of its time
			newTorture(t, program, seed).play(*tortureKills)
		})
	}
}

// A torture is what one seed decides.
type torture struct {
	t       *testing.T
	program string
	file    string // the store
	seed    uint64
	world   *tortureWorld
	fake    *fakegithub.Server
	tap     *tap
	woken   time.Time    // by GitHub's clock: when the life that is under way began
	ahead   atomic.Int64 // nanoseconds that GitHub's clock is ahead of ours
	lives   []*life
}

// A life is one of the program: from its start to an end that the seed has chosen, or its own.
type life struct {
	number int
	kind   string // "serve", "backfill", or "both": serve, and a backfill that asks it
	at     int    // the request at which it is struck; 0: none is
	late   bool   // when that one was answered; else before
	term   bool   // by SIGTERM; else by SIGKILL
	limit  int    // the request at which GitHub limits it; 0: none is
	strike func() // once it runs
	refuse func() // likewise

	started, struck chan struct{} // closed then
	how             string        // it ended
	said            said
	beside          said // by the backfill that asks it
}

func (l *life) String() string {
	what := "life " + fmt.Sprint(l.number) + ": " + l.kind
	if l.limit > 0 {
		what += fmt.Sprintf(", limited at request %d", l.limit)
	}
	return what + ", " + l.how
}

func newTorture(t *testing.T, program string, seed uint64) *torture {
	t.Helper()
	o := &torture{t: t, program: program, file: filepath.Join(t.TempDir(), "pushdoctor.db"), seed: seed, world: newTortureWorld()}
	// A backfill ends its window by our clock: GitHub's stays behind it. Whole hours, as lists are asked for by them.
	o.woken = time.Now().UTC().Truncate(time.Hour).Add(-5 * 24 * time.Hour)
	o.fake = fakegithub.New(o.world.World, fakegithub.Options{
		Token: testToken, Now: o.now, Grace: 50 * time.Millisecond, Faults: fakegithub.Faults{Rate: *tortureFaults, Seed: seed},
	})
	if err := o.fake.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.fake.Close(); err != nil {
			t.Error(err)
		}
	})
	o.tap = newTap(t, o.fake.URL(), o.now)
	return o
}

// now is GitHub's clock.
func (o *torture) now() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }

// sleep lets so much time pass while the program is down. However long a life took in truth, it is a minute of GitHub's time, so that
// the seed alone decides what happens when.
func (o *torture) sleep(d time.Duration) {
	o.woken = o.woken.Add(time.Minute + d)
	o.ahead.Store(int64(time.Until(o.woken)))
}

// play ends the program so often, lets it then read what is left, and compares.
func (o *torture) play(kills int) {
	began := time.Now()
	o.world.grow(rand.New(rand.NewPCG(o.seed, 0)), o.woken.Add(-24*24*time.Hour), o.woken, 60, 20)
	killed := 0
	for number := 1; killed < kills && number < 3*kills && !o.t.Failed(); number++ {
		random := rand.New(rand.NewPCG(o.seed, uint64(number)))
		before := o.woken
		o.sleep(pause(random))
		// Half of it happened while nobody looked.
		o.world.grow(random, before, o.woken, random.IntN(4), random.IntN(3))
		o.world.grow(random, o.woken, o.woken.Add(4*time.Second), 1+random.IntN(4), 1+random.IntN(3))
		l := newLife(random, number)
		o.live(l, nil)
		if strings.HasPrefix(l.how, "struck") {
			killed++
		}
		if surplus := o.surplus(); len(surplus) > 0 {
			o.t.Errorf("%v: more than there is:\n%s", l, strings.Join(surplus, "\n"))
		}
	}
	attempts, differences := o.settle()
	if len(differences) == 0 {
		// All of it once more.
		o.sleep(2 * time.Minute)
		again := &life{number: len(o.lives) + 1, kind: "backfill"}
		o.live(again, nil)
		if differences = o.differences(); !strings.HasPrefix(again.how, "ended") {
			differences = append(differences, again.String())
		}
		for _, asked := range o.tap.about("/logs/") {
			if strings.Contains(asked, fmt.Sprintf("life %d,", len(o.lives))) {
				differences = append(differences, "read though all was read: "+asked)
			}
		}
	}
	if v := o.fake.Stats().Violations; v != nil {
		differences = append(differences, fmt.Sprintf("GitHub would complain of %q", v))
	}
	if len(differences) > 0 {
		o.t.Errorf("%d differences from the truth:\n%s", len(differences), strings.Join(differences[:min(len(differences), 40)], "\n"))
	}
	wanted := 0
	for _, e := range o.world.executions() {
		if e.wanted {
			wanted++
		}
	}
	summary := fmt.Sprintf("seed %d: %d lives, %d of them struck; %d runs, %d executions to read; %d requests, %d faults; settled at attempt %d; %d s",
		o.seed, len(o.lives), killed, len(o.world.runs), wanted, o.tap.total(), o.fake.Stats().Faults, attempts, int(time.Since(began).Seconds()))
	if !o.t.Failed() {
		o.t.Log(summary)
		return
	}
	var lives strings.Builder
	for _, l := range o.lives {
		fmt.Fprintln(&lives, l)
	}
	o.t.Errorf("%s\nmake torture SEED=%d KILLS=%d FAULTS=%v plays it again\n%slast words:\n%s",
		summary, o.seed, kills, *tortureFaults, lives.String(), tail(o.lives[len(o.lives)-1].said.String()))
}

// tail is the end of what a life has said.
func tail(s string) string { return s[max(0, len(s)-2000):] }

// pause is for how long the program is down. It is longer than GitHub's minute, whose limits a program that was killed cannot know.
func pause(random *rand.Rand) time.Duration {
	from, to := 3*time.Minute, 2*time.Hour
	switch random.IntN(8) {
	case 0, 1:
		from, to = 61*time.Second, 3*time.Minute
	case 2:
		from, to = 2*time.Hour, 26*time.Hour
	}
	return from + time.Duration(random.Int64N(int64(to-from)))
}

func newLife(random *rand.Rand, number int) *life {
	l := &life{number: number, kind: []string{"serve", "serve", "serve", "backfill", "both", "both"}[random.IntN(6)]}
	switch random.IntN(4) {
	case 0:
		l.at = 1 + random.IntN(20)
	case 1:
		l.at = 100 + random.IntN(200)
	default:
		l.at = 20 + random.IntN(130)
	}
	l.late, l.term = random.IntN(2) == 0, random.IntN(5) == 0
	if random.IntN(5) == 0 {
		l.limit = 1 + random.IntN(l.at)
	}
	return l
}

// command is the program with its arguments, to be started.
func (o *torture) command(out *said, args ...string) *exec.Cmd {
	cmd := exec.Command(o.program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{
		"GITHUB_TOKEN=" + testToken, "PUSHDOCTOR_GITHUB_URL=" + o.tap.api.URL,
		"PUSHDOCTOR_REPOSITORIES=octo-lab/*,octo-tools/Builder,northwind-ci/*", "PUSHDOCTOR_STORE_PATH=" + o.file,
		"PUSHDOCTOR_COLLECT_INTERVAL=400ms", "PUSHDOCTOR_COLLECT_SWEEP=3s", "PUSHDOCTOR_COLLECT_LOOKBACK=30d",
		"PUSHDOCTOR_COLLECT_CANCELLED_AFTER=" + tortureCancelledAfter.String(), fmt.Sprintf("PUSHDOCTOR_COLLECT_MAX_LOG=%dB", tortureMaxLog),
		"PUSHDOCTOR_WEB_LISTEN_ADDRESS=127.0.0.1:0", "PUSHDOCTOR_WEB_ADMIN=true",
	}
	return cmd
}

// Bounds of a life.
const (
	longest = 9 * time.Second  // one that waits for a limit may not come to its request
	dying   = 15 * time.Second // SIGTERM is obeyed within that
)

// live runs the program until it is struck, or to its own end, or, where done is not nil, ends it by SIGTERM once that reports true.
func (o *torture) live(l *life, done func() bool) {
	o.t.Helper()
	o.lives = append(o.lives, l)
	cmd := o.command(&l.said, "serve")
	if l.kind == "backfill" {
		cmd = o.command(&l.said, "backfill", "--since", "40d")
	}
	l.struck, l.started = make(chan struct{}), make(chan struct{})
	strike := sync.OnceFunc(func() {
		by := syscall.SIGKILL
		if l.term {
			by = syscall.SIGTERM
		}
		close(l.struck)            // before it can end
		_ = cmd.Process.Signal(by) // it may have ended
	})
	l.strike = func() { <-l.started; strike() }
	l.refuse = func() {
		code := []int{http.StatusForbidden, http.StatusTooManyRequests}[l.number%2]
		o.fake.Refuse(fakegithub.Refusal{Code: code, For: 3 * time.Second, RetryAfter: true})
	}
	o.tap.begin(l)
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	close(l.started)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	var beside sync.WaitGroup
	if l.kind == "both" {
		beside.Go(func() { o.backfillBy(l) })
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	over := time.After(longest)
	if l.at == 0 && done == nil {
		over = time.After(time.Minute) // it is to come to its own end
	}
	for waiting := true; waiting; {
		select {
		case err := <-ended:
			ended <- err
			waiting = false
		case <-l.struck:
			waiting = false
		case <-over:
			strike()
		case <-tick.C:
			if done != nil && done() {
				strike()
			}
		}
	}
	select {
	case err := <-ended:
		o.obituary(l, err)
	case <-time.After(dying):
		o.t.Errorf("%v: it does not end", l)
		_ = cmd.Process.Signal(syscall.SIGABRT) // it tells where it stands
		o.obituary(l, <-ended)
	}
	beside.Wait()
	for !o.tap.idle() { // the fake's answers to it end with it
		time.Sleep(time.Millisecond)
	}
	for _, text := range []string{l.said.String(), l.beside.String()} {
		for _, bad := range []string{testToken, "sig=", "panic:", "DATA RACE", "fatal error:"} {
			if strings.Contains(text, bad) {
				o.t.Errorf("%v: it said %q:\n%s", l, bad, tail(text))
			}
		}
	}
}

// obituary notes how a life has ended, and complains of an end that it should not have had.
func (o *torture) obituary(l *life, err error) {
	status := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode() // -1 for SIGKILL
	}
	last, n := o.tap.last()
	select {
	case <-l.struck:
		l.how = "struck by SIGKILL"
		if l.term {
			l.how = "struck by SIGTERM"
		}
		if r, ok := o.tap.request(l.number, l.at); ok {
			last = r
		}
	default:
		l.how = "ended by itself"
	}
	l.how += fmt.Sprintf(" with status %d, at %d requests; %v", status, n, last)
	good := []int{0}
	switch {
	case strings.HasPrefix(l.how, "ended") && l.kind != "backfill":
		good = nil
	case l.kind == "backfill" && l.term:
		good = append(good, exitInterrupted)
	case !l.term:
		good = append(good, -1)
	}
	if !slices.Contains(good, status) {
		o.t.Errorf("%v: want an end with status %v:\n%s", l, good, tail(l.said.String()))
	}
}

var serves = regexp.MustCompile(`pushdoctor serves.* address=(http://\S+)`)

// backfillBy orders a backfill of a service, once it serves, and waits for its end, which is that of the service where this one is struck.
func (o *torture) backfillBy(l *life) {
	var address string
	for address == "" {
		select {
		case <-l.struck:
			return
		case <-time.After(5 * time.Millisecond):
		}
		if m := serves.FindStringSubmatch(l.said.String()); m != nil {
			address = m[1]
		}
	}
	cmd := o.command(&l.beside, "backfill", "--since", "40d", "--server", address)
	_ = cmd.Run() // it ends as the service does
}

// settle lets the program read what it has left, until the store is as it should be. It returns how many lives
// that took and what is wrong at the end of the last.
func (o *torture) settle() (lives int, differences []string) {
	o.sleep(max(0, o.world.over().Sub(o.woken)))
	for lives = 1; lives <= 8; lives++ {
		o.sleep(time.Hour) // logs that are missing are given up
		hurry(o.t, o.file)
		o.live(&life{number: len(o.lives) + 1, kind: "serve", term: true}, func() bool { return o.tap.quiet(1500 * time.Millisecond) })
		if differences = o.differences(); len(differences) == 0 {
			break
		}
	}
	return lives, differences
}

// differences tells in what the store is not as it should be.
func (o *torture) differences() (d []string) {
	o.t.Helper()
	differ := func(format string, args ...any) { d = append(d, fmt.Sprintf(format, args...)) }
	must := func(err error) {
		if err != nil {
			o.t.Fatal(err)
		}
	}
	content, err := os.ReadFile(o.file)
	must(err)
	if bytes.Contains(content, []byte(testToken)) {
		differ("the store holds the token")
	}
	db, err := store.OpenReadOnly(o.file)
	must(err)
	defer db.Close() //nolint:errcheck // it was only read
	if err := db.Check(); err != nil {
		differ("%v", err)
	}
	pending, err := db.DuePending(o.now().AddDate(10, 0, 0), 0)
	must(err)
	for _, p := range pending {
		differ("job %d of %s still waits for its log, after %d tries", p.Job.JobID, p.Job.Repository, p.Tries)
	}

	repositories, err := db.Repositories()
	must(err)
	since := liveSince(repositories)
	for _, r := range repositories {
		if now := o.now(); r.LiveSince.IsZero() || r.LiveSince.After(now) || r.Cursor.Through.After(now) || r.Cursor.Swept.After(now) || r.State != "" {
			differ("repository %+v at %v", r, now)
		}
	}
	for _, run := range o.world.runs {
		for _, a := range run.attempts {
			counted, err := db.CountedRun(a)
			must(err)
			if !counted {
				differ("not counted: attempt %d of run %d of %s, %s at %v\n\t%s", a.Attempt, a.ID, a.Repository, a.Conclusion, a.UpdatedAt,
					strings.Join(o.tap.about(fmt.Sprintf("/runs/%d/", a.ID)), "\n\t"))
			}
		}
	}
	executions, err := o.truth(db)
	must(err)
	want, got := map[string]string{}, map[string]string{} // findings by id
	first := map[int64]int64{}                            // job ids to that of the attempt in which it ran
	for _, e := range executions {
		known, err := db.Known(identity(e.Job), e.JobID)
		must(err)
		if known != e.wanted {
			differ("%s: %v\n\t%s", map[bool]string{true: "read, and should not have been", false: "missing"}[known], e, strings.Join(o.tap.about(e.words()...), "\n\t"))
		}
		for _, id := range e.ids {
			first[id] = e.JobID
		}
		if e.wanted {
			for i, f := range e.findings {
				want[fmt.Sprintf("%d-%d", e.JobID, i+1)] = saidOf(e.Job.Job, f)
			}
		}
	}
	found, err := db.Find(store.Query{})
	must(err)
	for _, f := range found {
		_, n, _ := strings.Cut(f.ID, "-")
		got[fmt.Sprintf("%d-%s", first[f.JobID], n)] = saidOf(f.Job, f.Finding)
	}
	if len(found) != len(got) {
		differ("%d findings are those of %d", len(found), len(got))
	}
	d = append(d, unequal("finding", want, got)...)

	counted, err := sumsOf(db)
	must(err)
	sums := o.world.sums(executions, since)
	d = append(d, unequal("total", sums, counted)...)
	if more := strings.Join(excess(sums, counted), "\n"); more != "" {
		for _, e := range executions {
			if !strings.Contains(more, e.Repository) {
				continue
			}
			var logs []string
			for _, id := range e.ids {
				logs = append(logs, o.tap.about(fmt.Sprintf("/jobs/%d/logs/", id))...)
			}
			if len(logs) > 1 {
				differ("asked for more than once: %v\n\t%s", e, strings.Join(logs, "\n\t"))
			}
		}
	}
	return d
}

// surplus tells what the store has counted that there is not. It may have less until it has read all.
func (o *torture) surplus() []string {
	o.t.Helper()
	db, err := store.Open(o.file) // a file that was never opened for writing cannot be read
	if err != nil {
		o.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only read
	repositories, err := db.Repositories()
	counted, err2 := sumsOf(db)
	executions, err3 := o.truth(db)
	if err := errors.Join(err, err2, err3, db.Check()); err != nil {
		return []string{err.Error()}
	}
	return excess(o.world.sums(executions, liveSince(repositories)), counted)
}

// truth are the executions of the world, and those wanted that the program has to read. Which successes it read while something was broken
// hangs on when it learned of what, so the store is believed where the job had failed before.
func (o *torture) truth(db *store.DB) ([]*execution, error) {
	all := o.world.executions()
	for _, e := range all {
		if e.Conclusion != "success" || !slices.ContainsFunc(all, func(f *execution) bool {
			return f.wanted && f.Conclusion != "success" && f.Repository == e.Repository && f.Workflow == e.Workflow && f.Name == e.Name && f.CompletedAt.Before(e.CompletedAt)
		}) {
			continue
		}
		known, err := db.Known(identity(e.Job), e.JobID)
		if err != nil {
			return nil, err
		}
		if e.wanted = known; known && e.result == store.ResultClean {
			e.result = store.ResultVerify
		}
	}
	return all, nil
}

// excess tells where more was counted than there is.
func excess(there, counted sums) (d []string) {
	for _, series := range slices.Sorted(maps.Keys(counted)) {
		if counted[series] > there[series] {
			d = append(d, fmt.Sprintf("total %s: %v, there are %v", series, counted[series], there[series]))
		}
	}
	return d
}

// liveSince are the times since which repositories are live, by name.
func liveSince(repositories []store.Repository) map[string]time.Time {
	since := map[string]time.Time{}
	for _, r := range repositories {
		if !r.LiveSince.IsZero() {
			since[r.Name] = r.LiveSince
		}
	}
	return since
}

// told is a finding in a line.
func saidOf(j pushdoctor.Job, f pushdoctor.Finding) string {
	return fmt.Sprintf("%s %s run %d %q: %s %s %s %d at line %d, recovered %v", j.Repository, j.Workflow, j.RunID, j.Name, f.Registry, f.Operation, f.Cause, f.Status, f.Line, f.Recovered)
}

// unequal tells where two maps differ.
func unequal[V comparable](what string, want, got map[string]V) (d []string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[key]; !ok || g != want[key] {
			d = append(d, fmt.Sprintf("%s %s: %v, want %v", what, key, g, want[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			d = append(d, fmt.Sprintf("%s %s: %v, want none", what, key, got[key]))
		}
	}
	return d
}
