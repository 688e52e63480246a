//go:build unix

package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// Some tests need the program as a process of its own, which is this test binary with the command line in its environment.
func TestMain(m *testing.M) {
	line := os.Getenv("COLLECTOR_TEST_ARGS")
	if line == "" {
		os.Exit(m.Run())
	}
	var args []string
	if err := json.Unmarshal([]byte(line), &args); err != nil {
		panic(err)
	}
	if limit, err := strconv.ParseUint(os.Getenv("COLLECTOR_TEST_DISK"), 10, 64); err == nil {
		var r syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			panic(err)
		}
		r.Cur = min(limit, r.Max) // a test may raise it again
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			panic(err)
		}
	}
	os.Exit(run(context.Background(), args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// process is the program with its arguments, to be started. Its files may not grow beyond disk bytes; 0 is no limit.
func process(t testing.TB, g *fakegithub.Server, disk int, args ...string) *exec.Cmd {
	t.Helper()
	line, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(environment(g), "COLLECTOR_TEST_ARGS="+string(line))
	if disk > 0 {
		cmd.Env = append(cmd.Env, "COLLECTOR_TEST_DISK="+strconv.Itoa(disk))
	}
	return cmd
}

// An execution that is lost or counted twice by kill -9 at any moment turns this red.
func TestBackfillKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w, o := month(t)
	kinds := []fakegithub.Fault{fakegithub.FaultServer, fakegithub.FaultPage, fakegithub.FaultReset, fakegithub.FaultTruncated, fakegithub.FaultExpired}
	faults := fakegithub.Options{Faults: fakegithub.Faults{Rate: 0.05, Seed: seed, Kinds: kinds}}

	// toTheEnd reads what is left, and what waits to be asked for again.
	toTheEnd := func(g *fakegithub.Server, file string) ledger {
		t.Helper()
		for {
			if out, err := process(t, g, 0, o.args(file)...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !hurry(t, file) {
				return audit(t, file)
			}
		}
	}
	whole := filepath.Join(t.TempDir(), "whole.db")
	g := fakeGitHub(t, w, faults)
	want := toTheEnd(g, whole)
	all := asked(g)

	broken := filepath.Join(t.TempDir(), "broken.db")
	g = fakeGitHub(t, w, faults)
	killed := 0
	for range 10 {
		// By requests, not by time: a slow machine is killed at the same places as a fast one.
		at := asked(g) + 1 + random.IntN(all/6)
		cmd := process(t, g, 0, o.args(broken)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for done := false; !done && asked(g) < at; {
			select {
			case err := <-ended:
				ended <- err
				done = true
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond)
		_ = cmd.Process.Kill() // it may have ended
		if err := <-ended; err != nil {
			killed++
		}
	}
	if killed < 5 {
		t.Errorf("only %d of 10 were killed before their end", killed)
	}
	for _, what := range []string{"to the end", "once more"} {
		compare(t, what, want, toTheEnd(g, broken))
	}
}

// hurry makes the logs that wait to be asked for again due, and reports whether there are any.
func hurry(t *testing.T, file string) bool {
	t.Helper()
	db, err := store.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	pending, err := db.DuePending(time.Now().AddDate(1, 0, 0), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pending {
		p.Due = time.Now()
		if err := db.PutPending(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return len(pending) > 0
}

// A full disk that does not stop the backfill with an error that names the store, or after which it cannot go on where it was,
// turns this red.
func TestBackfillOnAFullDisk(t *testing.T) {
	w, o := month(t)
	g := fakeGitHub(t, w, fakegithub.Options{})
	file := filepath.Join(t.TempDir(), "pushdoctor.db")
	out, err := process(t, g, 128<<10, o.args(file)...).CombinedOutput()
	exit, ok := err.(*exec.ExitError) //nolint:errorlint // Wait's own
	if !ok || exit.ExitCode() != exitFailed || !strings.Contains(string(out), file) || !strings.Contains(string(out), syscall.EFBIG.Error()) {
		t.Errorf("on a full disk: %v\n%s", err, out)
	}
	if n := len(audit(t, file).Findings); n == 0 {
		t.Error("nothing was recorded before the disk was full")
	}
	if got := (call{args: o.args(file), env: environment(g)}).run(t); got.status != 0 {
		t.Fatalf("with room again: %+v", got)
	}
	whole := filepath.Join(t.TempDir(), "whole.db")
	if got := (call{args: o.args(whole), env: environment(g)}).run(t); got.status != 0 {
		t.Fatalf("another store: %+v", got)
	}
	compare(t, "after a full disk", audit(t, whole), audit(t, file))
}
