package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// A room is a place for a store on a disk that can be full.
type room struct {
	path  string                  // of the store
	leave func(bytes int64) error // for files that grow, or for new ones
	relax func() error            // there is room again
}

const noDisk = "this machine gives no file system of one's own; the limit on files is tested"

// smallDisk is a file system of 3 MB. It needs a mount namespace of its own.
func smallDisk(t *testing.T) room {
	t.Helper()
	dir := t.TempDir()
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""),
		syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"),
	)
	if errors.Is(err, fs.ErrPermission) {
		t.Skip(noDisk)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return room{filepath.Join(dir, "pushdoctor.db"), func(bytes int64) error {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			return err
		}
		return os.WriteFile(ballast, make([]byte, int64(s.Bfree)*s.Bsize-bytes), 0o600)
	}, func() error { return os.Remove(ballast) }}
}

// smallFiles is a limit on the size of files.
func smallFiles(t *testing.T) room {
	t.Helper()
	path := file(t)
	limit := func(bytes uint64) error {
		var r syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			return err
		}
		r.Cur = min(bytes, r.Max)
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r)
	}
	relax := func() error { return limit(math.MaxUint64) }
	t.Cleanup(func() {
		if err := relax(); err != nil {
			t.Error(err)
		}
	})
	return room{path, func(bytes int64) error {
		if info, err := os.Stat(path); bytes == 0 && err == nil {
			bytes = info.Size()
		}
		return limit(uint64(bytes))
	}, relax}
}

// TestFull runs the tests below in a process of its own: a full disk and a limit are those of a whole process.
func TestFull(t *testing.T) {
	rooms := map[string]func(*testing.T) room{"disk": smallDisk, "limit": smallFiles}
	if room, ok := rooms[os.Getenv("STORE_TEST_ROOM")]; ok {
		t.Run("write", func(t *testing.T) { writeFull(t, room(t)) })
		t.Run("compact", func(t *testing.T) { compactFull(t, room(t)) })
		t.Run("migrate", func(t *testing.T) { migrateFull(t, room(t)) })
		return
	}
	for name := range rooms {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestFull$", "-test.v")
			cmd.Env = append(os.Environ(), "STORE_TEST_ROOM="+name)
			if name == "disk" {
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
					UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
					GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
				}
			}
			out, err := cmd.CombinedOutput()
			if name == "disk" && len(out) == 0 && errors.Is(err, fs.ErrPermission) {
				t.Skip(noDisk)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// Red where a method does not say that the disk is full, leaves half of what it writes, ends the program, keeps readers from
// what is there, or does not go on once there is room.
func writeFull(t *testing.T, r room) {
	db := open(t, r.path)
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	must(db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api"}))
	jobs := 0
	for _, write := range []struct {
		name string
		do   func(n int) error // each one writes more
	}{
		{"Record", func(n int) error {
			_, err := db.Record(reading(int64(n)+1, day.Add(time.Duration(n)*time.Second), denied("api"), reset("web", false)))
			if err == nil {
				jobs = n + 1
			}
			return err
		}},
		{"CountRuns", func(n int) error {
			return db.CountRuns(7, []pushdoctor.Run{{ID: int64(n), Attempt: 1, Conclusion: "success", UpdatedAt: day}})
		}},
		{"CountError", func(n int) error { return db.CountError("octo-lab/api", fmt.Sprint(n)) }},
		{"PutRepository", func(n int) error {
			return db.PutRepository(store.Repository{ID: int64(100 + n), Name: fmt.Sprint("octo-lab/", n)})
		}},
		{"PutPending", func(n int) error {
			return db.PutPending(store.Pending{Kind: store.PendingMissing, Job: reading(int64(n)+1e6, day).Job, Due: day})
		}},
	} {
		must(r.leave(0))
		n := 0
		err := write.do(n)
		for err == nil && n < 1e5 {
			n++
			err = write.do(n)
		}
		if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrDamaged) {
			t.Fatalf("%s %d: %v, want %v", write.name, n, err, store.ErrFull)
		}
		if err := write.do(n); !errors.Is(err, store.ErrFull) {
			t.Fatalf("%s again: %v", write.name, err)
		}
		if db.Writable() {
			t.Errorf("%s failed, and the store is said to be writable", write.name)
		}
		found := find(t, db, store.Query{})
		if len(found) != 2*jobs {
			t.Errorf("%s: %d findings can be read, want %d", write.name, len(found), 2*jobs)
		}
		// These write little, and may have room for it.
		_, errRewrite := db.Rewrite(found)
		_, _, errPrune := db.Prune(day, time.Hour)
		_, errForget := db.Forget("octo-lab/none")
		for _, err := range []error{errRewrite, errPrune, errForget, db.Advance(7, pushdoctor.Cursor{Through: day}), db.DonePending(1)} {
			if err != nil && !errors.Is(err, store.ErrFull) {
				t.Errorf("%s: %v", write.name, err)
			}
		}
		must(db.Check(), r.relax(), write.do(n), db.Check())
		if !db.Writable() {
			t.Errorf("%s got through, and the store is said not to be writable", write.name)
		}
	}
	want := fmt.Sprintf("history pushes{octo-lab/api,image.yml,ghcr,failed} %d", 2*jobs)
	if got := totals(t, db); !slices.Contains(got, want) {
		t.Errorf("totals are %q, want %s among them", got, want)
	}
}

// Red where a compaction for which there is no room changes the store, leaves its copy behind, or does not say how much it
// takes; and where the store cannot be compacted afterwards.
func compactFull(t *testing.T, r room) {
	other := worn(t)
	whole := read(t, other)
	_, size, err := store.Compact(other)
	if err := errors.Join(err, os.WriteFile(r.path, whole, 0o600)); err != nil {
		t.Fatal(err)
	}
	want := content(t, r.path)
	for _, bytes := range []int64{1, 20_000, size - 10_000} {
		if err := r.leave(bytes); err != nil {
			t.Fatal(err)
		}
		_, _, err := store.Compact(r.path)
		if err := r.relax(); err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprintf("store %s: compact: the copy takes up to %d bytes beside the store, which is as it was: no room: ", r.path, len(whole))
		if !errors.Is(err, store.ErrFull) || !strings.HasPrefix(err.Error(), said) {
			t.Errorf("with room for %d: %v, want %s", bytes, err, said)
		}
		if !slices.Equal(whole, read(t, r.path)) || folder(t, r.path) != "pushdoctor.db" {
			t.Errorf("with room for %d: the file was changed, or there is a copy: %s", bytes, folder(t, r.path))
		}
	}
	if _, _, err := store.Compact(r.path); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, content(t, r.path)); diff != "" {
		t.Errorf("rows (-before +after):\n%s", diff)
	}
	open(t, r.path)
}

// Red where a migration for which there is no room leaves a file that the program before cannot use, or that cannot be migrated
// once there is.
func migrateFull(t *testing.T, r room) {
	now := present(t)
	for schema, data := range written(t) {
		if schema == now {
			continue
		}
		if err := os.WriteFile(r.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		before := content(t, r.path)
		if err := r.leave(0); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(r.path)
		if err := r.relax(); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			t.Errorf("schema %d: there was room for it", schema)
			closeAndCheck(t, db, r.path)
			continue
		}
		if !errors.Is(err, store.ErrFull) || !maps.Equal(before, content(t, r.path)) {
			t.Errorf("schema %d: %v, want %v; rows (-before +after):\n%s", schema, err, store.ErrFull, cmp.Diff(before, content(t, r.path)))
		}
		db, err = store.Open(r.path)
		if err != nil {
			t.Fatal(err)
		}
		closeAndCheck(t, db, r.path)
	}
}
