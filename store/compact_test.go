//go:build unix

package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor/store"
)

// content is every row of a closed store.
func content(t *testing.T, path string) map[string]string {
	t.Helper()
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bolt.Close() }() // it was only read
	out := map[string]string{}
	if err := bolt.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			out[string(name)] = "a bucket"
			return b.ForEach(func(k, v []byte) error { out[string(name)+" "+string(k)] = string(v); return nil })
		})
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// folder are the names in the folder of a file.
func folder(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// worn is the path of a closed store from which most was removed, "forgettable" of the text among it.
func worn(t *testing.T) string {
	t.Helper()
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for job := int64(1); job <= 300; job++ {
		f := denied("api")
		f.Message = "forgettable"
		if job > 250 {
			f = denied("web")
		}
		record(t, db, reading(job, day.Add(time.Duration(job)*time.Second), f, f, f), true)
	}
	if _, _, err := db.Prune(day.Add(time.Hour+251*time.Second), time.Hour); err != nil {
		t.Fatal(err)
	}
	closeAndCheck(t, db, path)
	return path
}

// Red where a row is lost, the file does not shrink or still holds what was removed, another user may read it or its owner
// may not, a link is replaced by a file, or the copy of a killed compaction is taken for the store or left behind.
func TestCompact(t *testing.T) {
	path := worn(t)
	link := filepath.Join(t.TempDir(), "link.db")
	left := append(read(t, path), "left behind"...)
	if err := errors.Join(os.Chmod(path, 0o640), os.Symlink(path, link), os.WriteFile(path+".compacting", left, 0o600)); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 {
		owner = 65532
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	want, size := content(t, path), len(read(t, path))
	if !bytes.Contains(read(t, path), []byte("forgettable")) {
		t.Fatal("the free pages hold nothing that could be taken out")
	}
	before, after, err := store.Compact(link)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	if before != int64(size) || after != int64(len(got)) || after*2 > before {
		t.Errorf("Compact = %d, %d of %d, now %d bytes", before, after, size, len(got))
	}
	if bytes.Contains(got, []byte("forgettable")) {
		t.Error("what was removed is still in the file")
	}
	if diff := cmp.Diff(want, content(t, path)); diff != "" {
		t.Errorf("rows (-before +after):\n%s", diff)
	}
	if names := folder(t, path); names != "pushdoctor.db" {
		t.Errorf("in the folder are %s", names)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || info.Mode() != 0o640 || int(stat.Uid) != owner {
		t.Errorf("the file is %s, of %+v; want -rw-r----- of %d", info.Mode(), info.Sys(), owner)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	db := open(t, path)
	record(t, db, reading(301, day.Add(time.Hour), denied("api")), true)
}

// Red where a store is made, changed or compacted that should have been left alone.
func TestCompactRefuses(t *testing.T) {
	missing := file(t)
	if _, _, err := store.Compact(missing); !errors.Is(err, fs.ErrNotExist) || folder(t, missing) != "" {
		t.Errorf("of no file: %v, now there is %q", err, folder(t, missing))
	}
	held := filled(t)
	open(t, held)
	if _, _, err := store.Compact(held); !errors.Is(err, store.ErrLocked) || folder(t, held) != "pushdoctor.db" {
		t.Errorf("beside another: %v, now there is %q", err, folder(t, held))
	}
	damaged := filled(t)
	edit(t, damaged, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("by_cause"))
		k, _ := b.Cursor().First()
		return b.Delete(k)
	})
	before := read(t, damaged)
	if _, _, err := store.Compact(damaged); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "not in by_cause") {
		t.Errorf("with a fault: %v", err)
	}
	if !bytes.Equal(before, read(t, damaged)) || folder(t, damaged) != "pushdoctor.db" {
		t.Errorf("a file with a fault was changed, or there is a copy: %s", folder(t, damaged))
	}
}

// compactUntilKilled compacts again and again, and says so.
func compactUntilKilled(path string) {
	for n := 1; ; n++ {
		if _, _, err := store.Compact(path); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// Red where kill -9 at any moment leaves half a store, none, or one that cannot be compacted any more.
func TestCompactKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := worn(t)
	want := content(t, path)
	leftovers := 0
	for range 25 {
		cmd, out := child(t, "compact", path)
		began := time.Now()
		out.Scan()
		took := time.Since(began)
		time.Sleep(time.Duration(random.Int64N(int64(took)))) // whatever it is doing then
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if diff := cmp.Diff(want, content(t, path)); diff != "" {
			t.Fatalf("rows (-before +after):\n%s", diff)
		}
		switch names := folder(t, path); names {
		case "pushdoctor.db":
		case "pushdoctor.db pushdoctor.db.compacting":
			leftovers++
		default:
			t.Errorf("in the folder are %s", names)
		}
	}
	t.Logf("%d of 25 were killed before the rename", leftovers)
	if _, _, err := store.Compact(path); err != nil || folder(t, path) != "pushdoctor.db" {
		t.Errorf("Compact after all: %v, in the folder are %s", err, folder(t, path))
	}
	open(t, path)
}
