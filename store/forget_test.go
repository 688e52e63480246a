//go:build unix

package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// inhabited is a closed store that holds of these repositories all that there is.
func inhabited(t *testing.T, names map[int64]string) string {
	t.Helper()
	path := file(t)
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
	for _, id := range []int64{7, 8, 9} { // in one order: the last one raises what all share
		name := names[id]
		if name == "" {
			continue
		}
		must(db.PutRepository(store.Repository{ID: id, Name: name, LiveSince: day, Cursor: pushdoctor.Cursor{Through: day}}))
		of := func(job int64) pushdoctor.Job {
			j := reading(id<<32+job, day.Add(time.Duration(job)*time.Second)).Job
			j.Repository, j.RepositoryID = name, id
			return j
		}
		for job := range int64(10) {
			r := reading(1, day)
			r.Job, r.Bytes, r.Ref = of(job), 0, "main"
			for n := range 120 { // more than one transaction removes
				f := denied(name)
				if n%3 == 0 {
					f = reset(name, true)
				}
				r.Findings = append(r.Findings, f)
			}
			record(t, db, r, true)
		}
		cured := reading(1, day)
		cured.Job, cured.Bytes, cured.Ref = of(20), 0, "main"
		cured.Findings, cured.Good = nil, map[string]pushdoctor.Registry{"ghcr.io/" + name: pushdoctor.RegistryGHCR, "ghcr.io/octo-lab/other": pushdoctor.RegistryGHCR}
		record(t, db, cured, true)
		run := pushdoctor.Run{Repository: name, RepositoryID: id, ID: id, Attempt: 1, Workflow: "image.yml", Ref: "main", Conclusion: "success", UpdatedAt: day}
		must(db.CountRuns(id, []pushdoctor.Run{run}))
		groups, err := db.Groups(store.GroupQuery{Now: day, Repository: name})
		must(err)
		own := slices.IndexFunc(groups, func(g pushdoctor.Group) bool { return g.RepositoryID == id })
		must(db.Looked(groups[own], run))
		_, err = db.Enqueue(store.Work{Repository: name, RepositoryID: id, RunID: 77, Attempt: 1, Queued: day})
		must(err)
		must(db.PutPending(store.Pending{Kind: store.PendingMissing, Job: of(50), Due: day}))
		must(db.PutPending(store.Pending{Kind: store.PendingGone, Job: of(51), Due: day}))
		must(db.CountError(name, "not_found"))
	}
	must(db.CountError("octo-lab/*", "forbidden"))
	must(db.CountError("octo-lab/gone", "not_found"))
	closeAndCheck(t, db, path)
	return path
}

// timeless is the content of a store but for when its totals were born.
func timeless(t *testing.T, path string) map[string]string {
	t.Helper()
	rows := content(t, path)
	for k, v := range rows {
		if strings.HasPrefix(k, "totals ") && len(v) >= 16 {
			rows[k] = v[:8] + v[16:]
		}
	}
	return rows
}

// Red where a row of the repository stays, or one of another goes: of one with the name before, of a name that is alike, of errors
// that were counted under a name or a pattern.
func TestForget(t *testing.T) {
	all := map[int64]string{7: "octo-lab/api", 8: "Octo-Lab/API", 9: "octo-lab/api-2"}
	held := func(repositories, totals int) (all []store.Holding) {
		for _, h := range []store.Holding{
			{"findings", 1200}, {"pushes held against groups", 11}, {"jobs", 11}, {"executions", 11}, {"looked-at runs", 12}, {"runs", 1},
			{"pending logs", 2}, {"groups", 1}, {"runs to look at", 1}, {"queued work", 1},
		} {
			all = append(all, store.Holding{What: h.What, Rows: h.Rows * repositories})
		}
		return append(all, store.Holding{What: "totals", Rows: totals}, store.Holding{What: "names and cursors", Rows: repositories})
	}
	for _, test := range []struct {
		name string
		held []store.Holding
		left map[int64]string
	}{
		{"OCTO-lab/api", held(2, 14), map[int64]string{9: "octo-lab/api-2"}},
		{"9", held(1, 7), map[int64]string{7: "octo-lab/api", 8: "Octo-Lab/API"}},
		{"7", held(1, 6), nil}, // the errors are of the other one too
		{"octo-lab/gone", []store.Holding{{"totals", 1}}, nil},
		{"octo-lab/ap", nil, all},
		{"0", nil, all},
		{"10", nil, all},
		{"", nil, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := inhabited(t, all)
			db, err := store.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			held, err := db.Held(test.name)
			if err != nil {
				t.Error(err)
			}
			removed, err := db.Forget(test.name)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([][]store.Holding{test.held, test.held}, [][]store.Holding{held, removed}); diff != "" {
				t.Errorf("held, and removed (-want +got):\n%s", diff)
			}
			if held, err := db.Held(test.name); len(held) > 0 || err != nil {
				t.Errorf("held after that: %v, %v", held, err)
			}
			closeAndCheck(t, db, path)
			if test.left != nil {
				if diff := cmp.Diff(timeless(t, inhabited(t, test.left)), timeless(t, path)); diff != "" {
					t.Errorf("rows (-without it +after):\n%s", diff)
				}
			}
		})
	}
}

// Red where a file with a fault is written to, and so holds of the repository what nobody finds any more.
func TestForgetRefuses(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("by_repo"))
		k, _ := b.Cursor().First()
		return b.Delete(k)
	})
	before := read(t, path)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	removed, err := db.Forget("octo-lab/api")
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if len(removed) > 0 || !errors.Is(err, store.ErrDamaged) || !bytes.Equal(before, read(t, path)) {
		t.Errorf("Forget = %v, %v; the file is changed: %t", removed, err, !bytes.Equal(before, read(t, path)))
	}
}

func forgetUntilKilled(path string) {
	db := mustOpen(path)
	fmt.Println("begun")
	if _, err := db.Forget("octo-lab/api"); err != nil {
		panic(err)
	}
	fmt.Println("done")
}

// Red where kill -9 leaves a row that points nowhere, or something of the repository that cannot be forgotten any more.
func TestForgetKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := inhabited(t, map[int64]string{7: "octo-lab/api", 8: "octo-lab/api", 9: "octo-lab/web"})
	whole := read(t, path)
	want := timeless(t, inhabited(t, map[int64]string{9: "octo-lab/web"}))
	var took time.Duration
	for round := range 12 {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd, out := child(t, "forget", path)
		out.Scan()
		began := time.Now()
		if round == 0 {
			out.Scan()
			took = time.Since(began)
		} else {
			time.Sleep(time.Duration(random.Int64N(int64(took)))) // whatever it is doing then
		}
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		db, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		held, err := db.Held("octo-lab/api")
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Check(); err != nil {
			t.Errorf("killed with %v left: %v", held, err)
		}
		removed, err := db.Forget("octo-lab/api")
		if diff := cmp.Diff(held, removed); diff != "" || err != nil {
			t.Errorf("once more: %v (-want +got)\n%s", err, diff)
		}
		closeAndCheck(t, db, path)
		if diff := cmp.Diff(want, timeless(t, path)); diff != "" {
			t.Fatalf("rows (-without it +after):\n%s", diff)
		}
	}
}
