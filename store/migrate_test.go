package store_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

var update = flag.Bool("update", false, "write testdata/schema-N of the present schema anew; those of older ones stay")

// A snapshot is all that a store tells.
type snapshot struct {
	Repositories []store.Repository
	Findings     []store.Stored
	Facts        []pushdoctor.Facts // of the findings
	Totals       []store.Total
	Pending      []store.Pending
	Known        []bool // of the jobs 1 to 6
	Counted      []bool // of the runs 1 to 3
}

func snap(t *testing.T, db *store.DB) snapshot {
	t.Helper()
	var s snapshot
	var errs [4]error
	s.Repositories, errs[0] = db.Repositories()
	s.Findings, errs[1] = db.Find(store.Query{})
	s.Totals, errs[2] = db.Totals()
	s.Pending, errs[3] = db.DuePending(day.AddDate(1, 0, 0), 0)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for i := range s.Totals {
		s.Totals[i].Born = time.Time{} // the moment at which the file was made
	}
	for _, f := range s.Findings {
		s.Facts = append(s.Facts, f.Facts)
	}
	for id := range int64(6) {
		known, err := db.Known(reading(id+1, day).Job.Execution(), 100+id)
		if err != nil {
			t.Fatal(err)
		}
		s.Known = append(s.Known, known)
	}
	for id := range int64(3) {
		counted, err := db.CountedRun(pushdoctor.Run{RepositoryID: 7, ID: id + 1, Attempt: 1, UpdatedAt: day})
		if err != nil {
			t.Fatal(err)
		}
		s.Counted = append(s.Counted, counted)
	}
	return s
}

// specimen writes a store with some of all that there was in schema 1. It stays as it is: the files of all schemas hold it.
func specimen(t *testing.T, path string) {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.PutRepository(store.Repository{
		ID: 7, Name: "octo-lab/api", LiveSince: day.Add(3 * time.Second), Cursor: pushdoctor.Cursor{Through: day, Swept: day.Add(-time.Hour)},
		State: "forbidden", Reason: "the token may not read this repository's Actions",
	}))
	for job := int64(1); job <= 5; job++ {
		r := reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), reset("web", job%2 == 0))
		r.Pushed = map[pushdoctor.Registry]int{pushdoctor.RegistryQuay: 2}
		r.Facts = pushdoctor.Facts{
			Token: map[string]string{"packages": "read"}, Repository: "octo-lab/api", Pushed: []string{"quay.io/octo-lab/db"},
			Logins:    []pushdoctor.Login{{Host: "ghcr.io", User: "octo", OK: true, Line: 210}},
			TokenLine: pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: 3, Text: "Packages: read"},
		}
		if job == 5 {
			r.Result, r.Findings = store.ResultExpired, nil
		}
		if job == 4 {
			r.Job.RepositoryID, r.Job.Repository = 8, "octo-lab/web"
		}
		record(t, db, r, true)
	}
	must(db.CountRuns(7, []pushdoctor.Run{
		{Repository: "octo-lab/api", ID: 1, Attempt: 1, Workflow: "image.yml", Conclusion: "failure", UpdatedAt: day},
		{Repository: "octo-lab/api", ID: 2, Attempt: 1, Workflow: "image.yml", Conclusion: "success", UpdatedAt: day.Add(time.Hour)},
	}))
	must(db.PutPending(store.Pending{Kind: store.PendingMissing, Job: reading(6, day).Job, Due: day.Add(time.Minute), Tries: 3}))
	must(db.PutPending(store.Pending{Kind: store.PendingGone, Job: reading(6, day).Job, Due: day.Add(time.Hour)}))
	must(db.CountError("octo-lab/gone", "not_found"))
	closeAndCheck(t, db, path)
}

// present is the schema that this program writes.
func present(t *testing.T) int {
	t.Helper()
	s, err := open(t, file(t)).Summary()
	if err != nil {
		t.Fatal(err)
	}
	return s.Schema
}

// written are the files that the programs of each schema have written, this one among them. The one of schema 0 is bbolt's
// file without a bucket, which a kill during the first start leaves; all others are of specimen.
func written(t *testing.T) map[int][]byte {
	t.Helper()
	files := map[int][]byte{}
	for schema := range present(t) + 1 {
		f, err := os.Open(fmt.Sprintf("testdata/schema-%d.db.gz", schema))
		if err != nil {
			t.Fatalf("%v: go test ./store -run TestMigrates -update writes that of the present schema", err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		if files[schema], err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func writePresent(t *testing.T) {
	t.Helper()
	path := file(t)
	specimen(t, path)
	if _, _, err := store.Compact(path); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(read(t, path))
	name := fmt.Sprintf("testdata/schema-%d.db.gz", present(t))
	if err := errors.Join(err, z.Close(), os.MkdirAll("testdata", 0o755), os.WriteFile(name, out.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// Red where a migration loses or changes anything, or leaves a fault; where this program no longer reads what it has written
// without a migration that leads there; and where a reader changes a file that waits for one.
func TestMigrates(t *testing.T) {
	if *update {
		writePresent(t)
	}
	path := file(t)
	specimen(t, path)
	want := snap(t, open(t, path))
	for schema, data := range written(t) {
		t.Run(fmt.Sprint("schema ", schema), func(t *testing.T) {
			path := file(t)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			want := want
			if schema == 0 {
				want = snap(t, open(t, file(t)))
			}
			if schema == 1 { // a job could wait for two things then
				missing := want.Pending[0]
				missing.Kind, missing.Due, missing.Tries = store.PendingMissing, day.Add(time.Minute), 3
				want.Pending = append([]store.Pending{missing}, want.Pending...)
			}
			if schema < present(t) {
				if _, err := store.OpenReadOnly(path); !errors.Is(err, store.ErrOlder) || !bytes.Equal(data, read(t, path)) {
					t.Errorf("OpenReadOnly: %v; the file is changed: %t", err, !bytes.Equal(data, read(t, path)))
				}
			}
			for _, what := range []string{"migrated", "once more"} {
				db, err := store.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, snap(t, db)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
				closeAndCheck(t, db, path)
			}
		})
	}
}
