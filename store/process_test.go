//go:build unix

package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor/store"
)

// The tests here need a second process, which is this test binary with a task in its environment.
func TestMain(m *testing.M) {
	switch path := os.Getenv("STORE_TEST_PATH"); os.Getenv("STORE_TEST_TASK") {
	case "":
		os.Exit(m.Run())
	case "hold":
		holdLock(path)
	case "record":
		recordUntilKilled(path)
	case "rewrite":
		rewriteUntilKilled(path)
	case "fill":
		fillDisk(path)
	case "compact":
		compactUntilKilled(path)
	case "forget":
		forgetUntilKilled(path)
	case "begin":
		beginOnFullDisk(path)
	}
}

func child(t *testing.T, task, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_TEST_TASK="+task, "STORE_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, bufio.NewScanner(out)
}

func mustOpen(path string) *store.DB {
	db, err := store.Open(path)
	if err != nil {
		panic(err)
	}
	return db
}

func holdLock(path string) {
	mustOpen(path)
	fmt.Println("held")
	time.Sleep(time.Minute)
}

// recordUntilKilled records one job after the other, and says so when it has.
func recordUntilKilled(path string) {
	db := mustOpen(path)
	found, err := db.Find(store.Query{Newest: true, Limit: 1})
	if err != nil {
		panic(err)
	}
	job := int64(1)
	if len(found) > 0 {
		job = found[0].JobID // again, which must not count
	}
	for ; ; job++ {
		if _, err := db.Record(reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), reset("web", false))); err != nil {
			panic(err)
		}
		fmt.Println(job)
	}
}

// fillDisk records until the file may not grow any more, which is how a full disk looks from here.
func fillDisk(path string) {
	db := mustOpen(path)
	limitFiles(1 << 20)
	for job := int64(1); ; job++ {
		r := reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), reset("web", false))
		if _, err := db.Record(r); err != nil {
			fmt.Println(err)
			// The store must go on to answer, and to refuse, in the same process.
			if _, again := db.Record(r); again == nil || errors.Is(again, store.ErrDamaged) {
				panic(fmt.Sprint("second attempt: ", again))
			}
			if err := errors.Join(db.Check(), db.Close()); err != nil {
				panic(err)
			}
			return
		}
		fmt.Println(job)
	}
}

// limitFiles is a full disk for this process. Go's runtime passes over SIGXFSZ, which would end a program in C.
func limitFiles(bytes uint64) {
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes}); err != nil {
		panic(err)
	}
}

func beginOnFullDisk(path string) {
	limitFiles(5000)
	_, err := store.Open(path)
	fmt.Println(err)
}

// An Open that waits for ever, or whose error does not name the process that is in the way, turns this red.
func TestLocked(t *testing.T) {
	path := file(t)
	cmd, out := child(t, "hold", path)
	if !out.Scan() {
		t.Fatal("the other process did not open the store")
	}
	who := "another pushdoctor"
	if runtime.GOOS == "linux" {
		who = fmt.Sprintf("process %d (", cmd.Process.Pid)
	}
	for name, open := range map[string]func(string) (*store.DB, error){"Open": store.Open, "OpenReadOnly": store.OpenReadOnly} {
		began := time.Now()
		_, err := open(path)
		if !errors.Is(err, store.ErrLocked) || !strings.HasPrefix(err.Error(), "store "+path+": in use by "+who) {
			t.Errorf("%s: %v, want it to be in use by %s", name, err, who)
		}
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("%s waited for %s", name, waited)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	open(t, path)
}

// A reading that is half there after kill -9, one that was reported and is lost, and one that counts twice when it is
// read again turn this red.
func TestKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := file(t)
	for range 10 {
		cmd, out := child(t, "record", path)
		var last int64
		for n := random.IntN(60); n >= 0 && out.Scan(); n-- {
			if _, err := fmt.Sscan(out.Text(), &last); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(random.IntN(3000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for out.Scan() { // what it reported before it saw the signal
			if _, err := fmt.Sscan(out.Text(), &last); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait() // killed
		compareWithTotals(t, path, last)
	}
}

// compareWithTotals tests that the store holds jobs 1 to last, or one more, and has counted each one once.
func compareWithTotals(t *testing.T, path string, last int64) {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	jobs := len(find(t, db, store.Query{})) / 2
	if int64(jobs) < last || int64(jobs) > last+1 {
		t.Errorf("%d jobs, of which %d were reported", jobs, last)
	}
	newest := find(t, db, store.Query{Newest: true, Limit: 1})
	if newest[0].ID != fmt.Sprintf("%d-2", jobs) {
		t.Errorf("the newest finding is %s, want %d-2", newest[0].ID, jobs)
	}
	want := []string{
		fmt.Sprintf("history jobs_read{octo-lab/api,findings} %d", jobs),
		fmt.Sprintf("history log_bytes{} %g", float64(jobs)*1000),
		fmt.Sprintf("history push_failures{octo-lab/api,image.yml,ghcr,403,package_access_denied} %d %d-1", jobs, jobs),
		fmt.Sprintf("history push_failures{octo-lab/api,image.yml,ghcr,none,connection_lost} %d %d-2", jobs, jobs),
		fmt.Sprintf("history pushes{octo-lab/api,image.yml,ghcr,failed} %d", 2*jobs),
	}
	if got := totals(t, db); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("totals are\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	closeAndCheck(t, db, path)
}

// A full disk that ends the program, that leaves half a reading, or after which the store cannot be opened, turns this red.
func TestFullDisk(t *testing.T) {
	path := file(t)
	cmd, out := child(t, "fill", path)
	var last int64
	var fault string
	for out.Scan() {
		if _, err := fmt.Sscan(out.Text(), &last); err != nil {
			fault = out.Text()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("store %s: reading of job %d: ", path, last+1)
	if !strings.HasPrefix(fault, want) || !strings.HasSuffix(fault, syscall.EFBIG.Error()) || last < 100 {
		t.Errorf("after %d jobs: %s, want %s...%v", last, fault, want, syscall.EFBIG)
	}
	compareWithTotals(t, path, last)
	db := open(t, path)
	record(t, db, reading(last+1, day, denied("api")), true)
}

// The beginning of a file that a full disk left, and that no later start takes for a store, turns this red.
func TestFullDiskAtTheFirstStart(t *testing.T) {
	path := file(t)
	cmd, out := child(t, "begin", path)
	out.Scan()
	if want := "store " + path + ": open: "; !strings.HasPrefix(out.Text(), want) || !strings.HasSuffix(out.Text(), syscall.EFBIG.Error()) {
		t.Errorf("Open: %s, want %s...%v", out.Text(), want, syscall.EFBIG)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}
