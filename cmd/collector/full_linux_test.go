package main

import (
	"io"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// prlimit sets the soft limit of a process on the size of its files.
func prlimit(t *testing.T, pid int, bytes uint64) {
	t.Helper()
	limit := struct{ cur, max uint64 }{bytes, math.MaxUint64}
	const fsize = 1 // RLIMIT_FSIZE
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(pid), fsize, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

// until waits for a process to come to something.
func until(t *testing.T, what string, out *said, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s\n%s", what, out.String())
		}
	}
}

// Red where a full disk ends the service, keeps its pages and metrics from answering, or is not told in the log and on the page;
// where the service does not go on by itself once there is room, and where something is missing then or counted twice.
func TestServeOnAFullDisk(t *testing.T) {
	const runs = 120
	w := fakegithub.NewWorld()
	w.AddRepository(fakegithub.Repository{Name: repoA})
	now := time.Now().UTC().Truncate(time.Second)
	l := &lab{t: t, world: w}
	for i := range runs {
		l.run(repoA, now.Add(-time.Duration(i+10)*10*time.Minute), failed("build"))
	}
	g := fakeGitHub(t, w, fakegithub.Options{})
	file := filepath.Join(t.TempDir(), "pushdoctor.db")
	cmd := process(t, g, 128<<10, "serve", "--repositories", repoA, "--store", file, "--listen", "127.0.0.1:0")
	cmd.Env = append(cmd.Env, "PUSHDOCTOR_COLLECT_INTERVAL=1s")
	var out said
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}
	defer stop()

	full := regexp.MustCompile(`(?m)^.*level=ERROR.*no room.*$`)
	until(t, "the disk is full", &out, func() bool { return full.MatchString(out.String()) })
	address := regexp.MustCompile(`address=(http://\S+)`).FindStringSubmatch(out.String())
	if address == nil {
		t.Fatalf("it does not serve:\n%s", out.String())
	}
	get := func(path string) string {
		t.Helper()
		resp, err := http.Get(address[1] + path)
		if err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		defer func() { _ = resp.Body.Close() }() // it was only read
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return string(body)
	}
	until(t, "it says that it stops", &out, func() bool { return strings.Contains(out.String(), "collecting stops") })
	before := asked(g)
	until(t, "it tries the store again", &out, func() bool { return asked(g) > before })
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Errorf("it complains %d times of one full disk", n)
	}
	if found := strings.Count(get("/api/v1/findings"), "\n"); found == 0 || found >= runs {
		t.Errorf("%d findings on the full disk", found)
	}
	if metrics := get("/metrics"); !strings.Contains(metrics, "\npushdoctor_store_bytes 1") {
		t.Errorf("metrics without the store:\n%s", metrics)
	}
	if page := get("/"); !strings.Contains(page, "no room") {
		t.Error("the page does not say that there is no room")
	}

	prlimit(t, cmd.Process.Pid, math.MaxUint64)
	until(t, "all is read", &out, func() bool { return strings.Count(get("/api/v1/findings?limit=1000"), "\n") == runs })
	until(t, "the runs are counted", &out, func() bool {
		return strings.Contains(get("/metrics"), `pushdoctor_last_collect_timestamp_seconds{repository="octo-lab/api"}`)
	})
	stop()
	k := audit(t, file)
	for _, total := range []string{"push_failures{octo-lab/api,image.yml,ghcr,403,permission_denied}", "jobs_read{octo-lab/api,findings}", "runs{octo-lab/api,image.yml,failure}"} {
		if k.Totals[total] != runs {
			t.Errorf("%s is %v, want %d; all are %v", total, k.Totals[total], runs, k.Totals)
		}
	}
}
