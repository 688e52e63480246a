package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// edit changes a store's file behind its back.
func edit(t *testing.T, path string, do func(*bbolt.Tx) error) {
	t.Helper()
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bolt.Update(do), bolt.Close()); err != nil {
		t.Fatal(err)
	}
}

// filled is the path of a closed store with some findings.
func filled(t *testing.T) string {
	t.Helper()
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for job := int64(1); job <= 50; job++ {
		record(t, db, reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), reset("web", false)), true)
	}
	closeAndCheck(t, db, path)
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newestMeta is a number in the newer one of the two meta pages: at 48 the page with the free pages, at 56 how many
// pages there are, at 64 the transaction.
func newestMeta(data []byte, at int) uint64 {
	meta := data[:os.Getpagesize()]
	if second := data[os.Getpagesize():]; binary.NativeEndian.Uint64(second[64:]) > binary.NativeEndian.Uint64(meta[64:]) {
		meta = second
	}
	return binary.NativeEndian.Uint64(meta[at:])
}

// A file that is opened though it is not ours, that is changed by the attempt, that stays locked
// after it, or whose error does not say what it is, turns this red.
func TestOpenRefuses(t *testing.T) {
	good := read(t, filled(t))
	write := func(data []byte) string {
		path := file(t)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed := func(change func(data []byte) []byte) string {
		path := filled(t)
		if err := os.WriteFile(path, change(read(t, path)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	foreign := file(t)
	edit(t, foreign, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("widgets")); return err })
	otherMeta := file(t)
	edit(t, otherMeta, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("meta")); return err })
	newer := filled(t)
	edit(t, newer, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 1000))
	})
	noVersion := filled(t)
	edit(t, noVersion, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("schema")) })

	noBucket := filled(t)
	edit(t, noBucket, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("totals")) })

	for _, test := range []struct {
		name, path string
		want       error
		message    string // with its %s for the path
	}{
		{"text", write([]byte("# a README\n")), store.ErrNotBolt, "store %s: not a bbolt file (invalid database): move it away, or name another file"},
		{"long text", write(bytes.Repeat([]byte("# a README\n"), 1e5)), store.ErrNotBolt, "store %s: not a bbolt file (invalid database): move it away, or name another file"},
		{"zeros", write(make([]byte, 1<<16)), store.ErrNotBolt, "store %s: not a bbolt file (invalid database): move it away, or name another file"},
		{"directory", t.TempDir(), store.ErrNotBolt, "store %s: not a bbolt file: not a regular file"},
		{"another program's", foreign, store.ErrForeign, `store %s: schema: bbolt file of another program, which has a bucket "widgets": name another file`},
		{"another program's with meta", otherMeta, store.ErrForeign, "store %s: schema: bbolt file of another program: name another file"},
		{"newer", newer, store.ErrNewer, "store %s: schema: written by a newer pushdoctor: its schema is 1000, this program knows 2: use that version, or name another file"},
		{"no version", noVersion, store.ErrDamaged, "store %s: schema: damaged: a number of 0 bytes: bring back a copy, or move it away to begin anew"},
		{"no bucket", noBucket, store.ErrDamaged, "store %s: schema: damaged: bucket totals is not there: bring back a copy, or move it away to begin anew"},
		{"cut off", changed(func(d []byte) []byte { return d[:len(d)/2] }), store.ErrDamaged, ""},
		{"cut off at the end", changed(func(d []byte) []byte { return d[:int(newestMeta(d, 56))*os.Getpagesize()-1] }), store.ErrDamaged, ""},
		{"cut off in the head", changed(func(d []byte) []byte { return d[:5000] }), store.ErrDamaged, ""},
		{"both meta pages", changed(func(d []byte) []byte { d[64]++; d[os.Getpagesize()+64]++; return d }), store.ErrDamaged, ""},
		{"all but the meta pages", changed(func(d []byte) []byte { clear(d[2*os.Getpagesize():]); return d }), store.ErrDamaged, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before []byte
			if test.name != "directory" {
				before = read(t, test.path)
			}
			for range 2 {
				for name, opens := range map[string]func(string) (*store.DB, error){"Open": store.Open, "OpenReadOnly": store.OpenReadOnly} {
					_, err := opens(test.path)
					if !errors.Is(err, test.want) {
						t.Errorf("%s: %v, want %v", name, err, test.want)
					}
					if want := strings.Replace(test.message, "%s", test.path, 1); want != "" && fmt.Sprint(err) != want {
						t.Errorf("%s: %v, want %s", name, err, want)
					}
				}
			}
			if before == nil {
				return
			}
			if !bytes.Equal(before, read(t, test.path)) {
				t.Error("the file was changed")
			}
			if err := os.WriteFile(test.path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			open(t, test.path)
		})
	}
}

// A read-only store that makes a file, and one that takes an empty file for a store, turns this red.
func TestOpenReadOnlyNeedsAStore(t *testing.T) {
	path := file(t)
	if _, err := store.OpenReadOnly(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file now: %v", err)
	}
	if _, err := store.Open(filepath.Join(path, "store.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open in no folder: %v", err)
	}
	edit(t, path, func(*bbolt.Tx) error { return nil })
	if _, err := store.OpenReadOnly(path); !errors.Is(err, store.ErrOlder) {
		t.Errorf("of a file without a bucket: %v", err)
	}
	open(t, path) // which makes it a store: its schema is checked at the end
}

// A page that was good when the store was opened may be bad when it is read. A panic or a crash of the program instead of an
// error turns this red, a write to the file after that, and a Check that sees nothing.
func TestDamagedPages(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(page []byte)
	}{
		{"zeros", func(p []byte) { clear(p) }},
		{"ones", func(p []byte) { copy(p, bytes.Repeat([]byte{0xFF}, len(p))) }},
		{"count", func(p []byte) { p[10], p[11] = 0xFF, 0xFF }},
		{"first element", func(p []byte) { copy(p[16:], bytes.Repeat([]byte{0xFF}, 16)) }},
		{"values", func(p []byte) { clear(p[len(p)/2:]) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filled(t)
			data := read(t, path)
			size := os.Getpagesize()
			found := 0
			for at := 2 * size; at+size <= len(data); at += size {
				const leaf = 2
				// Pages with findings in them, those that a deletion has freed as well.
				if page := data[at : at+size]; page[8] == leaf && bytes.Contains(page, []byte("write_package")) {
					test.change(page)
					found++
				}
			}
			if found == 0 {
				t.Fatal("no page with findings")
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := store.Open(path)
			if err != nil {
				t.Fatal(err) // nothing that Open reads was changed
			}
			t.Cleanup(func() { _ = db.Close() })
			if found, err := db.Find(store.Query{}); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Find: %d findings, %v", len(found), err)
			}
			if err := db.Check(); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Check: %v", err)
			}
			if added, err := db.Record(reading(99, day, denied("api"))); added || !errors.Is(err, store.ErrDamaged) {
				t.Errorf("Record = %t, %v", added, err)
			}
			if !bytes.Equal(data, read(t, path)) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func recorded(_ bool, err error) error { return err }

// A fault in the rows that Check does not tell turns this red.
func TestCheckTells(t *testing.T) {
	path := filled(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		db.CountRuns(7, []pushdoctor.Run{{ID: 1, Attempt: 1, Conclusion: "success", UpdatedAt: day, Ref: "main"}}),
		recorded(db.Record(watched(201, time.Hour, "web", denied("api")))),
		recorded(db.Record(watched(202, 2*time.Hour, "api"))),
		recorded(db.Record(watched(203, 3*time.Hour, "", denied("api")))),
		db.PutPending(store.Pending{Kind: store.PendingMissing, Job: reading(200, day).Job, Due: day}),
		db.Check(), db.Close(),
	); err != nil {
		t.Fatal(err)
	}
	good := read(t, path)
	remove := func(bucket string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			k, _ := b.Cursor().First()
			return b.Delete(k)
		}
	}
	put := func(bucket string, value string) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			k, _ := b.Cursor().First()
			return b.Put(k, []byte(value))
		}
	}
	for _, test := range []struct {
		name   string
		change func(*bbolt.Tx) error
		want   string
	}{
		{"finding removed", remove("findings"), "by_id has 102 rows for 101 findings"},
		{"finding cut", put("findings", `{"job`), "unexpected end of JSON input"},
		{"finding of another job", put("findings", `{"job":{"job_id":3}}`), "holds a finding of job 3"},
		{"index of repositories", remove("by_repo"), `by_repo has "" for the cause "package_access_denied"`},
		{"index of repositories, cause", put("by_repo", "unknown"), `by_repo has "unknown" for the cause "package_access_denied"`},
		{"index of causes", remove("by_cause"), "not in by_cause"},
		{"index of ids", remove("by_id"), "by_id has "},
		{"job", remove("jobs"), "damaged: an execution of 0 bytes"},
		{"job of no execution", put("jobs", "nothing"), "its execution is not there"},
		{"execution", put("executions", "123456781234567812345678good\x001"), `unknown result "good"`},
		{"execution of another job", func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("executions"))
			k, v := b.Cursor().First()
			v = bytes.Clone(v)
			binary.BigEndian.PutUint64(v[8:], 99)
			return b.Put(k, v)
		}, "its execution has its findings under job 99"},
		{"run", put("runs", "1"), "a number of 1 bytes"},
		{"repository", put("repos", `{"id":3}`), "holds repository 3"},
		{"total", put("totals", "1"), "a total of 1 bytes"},
		{"total of no repository", remove("repos"), "a total of repository 7, which is not there"},
		{"pending", put("pending", "1"), "cannot unmarshal number"},
		{"pending index", remove("pending_jobs"), "not in pending_jobs"},
		{"pending row", remove("pending"), "pending_jobs has 1 rows for 0"},
		{"group", put("groups", `{"job":"another"}`), "holds a group of repository 0"},
		{"open group, index", remove("open"), "is open; in open: false"},
		{"open group", func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte("groups")), func() error { _, err := tx.CreateBucket([]byte("groups")); return err }())
		}, "its group is not there"},
		{"event", remove("group_events"), "is not there"},
		{"event cut", put("group_events", `{"cause`), "unexpected end of JSON input"},
		{"event of a job", put("group_jobs", `{"scope":"AA=="}`), "events of another length"},
		{"candidate", put("candidates", ``), "unexpected end of JSON input"},
		{"looked", put("looked", "1"), "a number of 1 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			edit(t, path, test.change)
			db, err := store.OpenReadOnly(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if err := db.Check(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check: %v, want %s", err, test.want)
			}
		})
	}
}

// A page that belongs to nothing is no fault of any row. A Check that does not ask bbolt turns this red.
func TestCheckTellsOfLostPages(t *testing.T) {
	path := filled(t)
	data := read(t, path)
	free := data[int(newestMeta(data, 48))*os.Getpagesize():]
	if n := binary.NativeEndian.Uint16(free[10:]); n < 2 {
		t.Fatalf("%d free pages", n)
	} else {
		binary.NativeEndian.PutUint16(free[10:], n-1)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Check(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "unreachable unfreed") {
		t.Errorf("Check: %v", err)
	}
}

// A page that says that it goes on for all eternity can be read well. A Check that counts these pages until the memory is used up
// turns this red.
func TestCheckTellsOfEndlessPages(t *testing.T) {
	path := filled(t)
	data, size := read(t, path), os.Getpagesize()
	end := int(newestMeta(data, 56)) * size
	for at := 2 * size; at < end; at += size {
		if page := data[at : at+size]; bytes.Contains(page, []byte("write_package")) {
			binary.NativeEndian.PutUint32(page[12:], 0xFFFFFFFF)
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Check(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "goes on for 4294967295 pages, beyond the end") {
		t.Errorf("Check: %v", err)
	}
}

// A reader that shuts out another one turns this red, and so does a writer that writes beside readers, or a reader that
// can write.
func TestReadOnly(t *testing.T) {
	path := filled(t)
	for range 2 {
		db, err := store.OpenReadOnly(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if got := len(find(t, db, store.Query{})); got != 100 {
			t.Errorf("%d findings, want 100", got)
		}
		if added, err := db.Record(reading(99, day)); added || err == nil {
			t.Errorf("Record = %t, %v", added, err)
		}
		if err := db.Check(); err != nil {
			t.Error(err)
		}
	}
	_, err := store.Open(path)
	if !errors.Is(err, store.ErrLocked) {
		t.Errorf("Open beside readers: %v", err)
	}
}
