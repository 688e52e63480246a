//go:build unix

package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// Red where a rewritten finding is still found under its old cause or not under the new one, changes its place, loses its job,
// facts or evidence, or where a total moves.
func TestRewrite(t *testing.T) {
	db := open(t, file(t))
	facts := pushdoctor.Facts{
		Token: map[string]string{"packages": "read"}, Repository: "octo-lab/api", Pushed: []string{"ghcr.io/octo-lab/web"},
		TokenLine: pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: 3, Text: "Packages: read"},
	}
	for job := int64(1); job <= 3; job++ {
		r := reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), reset("web", false))
		r.Facts = facts
		record(t, db, r, true)
	}
	before, counted := find(t, db, store.Query{}), totals(t, db)
	want := find(t, db, store.Query{})
	for _, i := range []int{1, 4} {
		want[i].Cause, want[i].Rule, want[i].Confidence, want[i].Status = pushdoctor.CauseRateLimited, "own-limit", 0.7, 429
	}
	gone := want[0]
	gone.ID = "99-1"
	for range 2 { // twice is once
		if n, err := db.Rewrite([]store.Stored{want[4], gone, want[1]}); n != 2 || err != nil {
			t.Fatalf("Rewrite = %d, %v, want 2", n, err)
		}
		if diff := cmp.Diff(want, find(t, db, store.Query{})); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		for cause, want := range map[pushdoctor.Cause]string{"rate_limited": "1-2 3-1", "connection_lost": "2-2 3-2", "package_access_denied": "1-1 2-1"} {
			for _, repository := range []string{"", "octo-lab/api"} {
				if got := ids(find(t, db, store.Query{Cause: cause, Repository: repository})); got != want {
					t.Errorf("%s of %q: %s, want %s", cause, repository, got, want)
				}
			}
		}
		if err := db.Check(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(counted, totals(t, db)); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if cmp.Equal(before, want) {
		t.Error("nothing was to be rewritten")
	}
}

// Red where a cause or an id that nothing else could read gets into the file, or the good half of a refused batch does.
func TestRewriteRefuses(t *testing.T) {
	db := open(t, file(t))
	record(t, db, reading(1, day, denied("api"), denied("web")), true)
	before := find(t, db, store.Query{})
	for _, spoil := range []func(*store.Stored){
		func(f *store.Stored) { f.Cause = "no_such_cause" },
		func(f *store.Stored) { f.Registry = "" },
		func(f *store.Stored) { f.ID = "1-02" },
	} {
		batch := find(t, db, store.Query{})
		batch[0].Cause = pushdoctor.CauseTimeout
		spoil(&batch[1])
		if n, err := db.Rewrite(batch); n != 0 || err == nil {
			t.Errorf("Rewrite of %s = %d, %v, want an error", batch[1].ID, n, err)
		}
	}
	if diff := cmp.Diff(before, find(t, db, store.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// rewriteUntilKilled gives all findings another cause, a batch after the other, again and again, and says so after each.
func rewriteUntilKilled(path string) {
	db := mustOpen(path)
	for _, cause := range []pushdoctor.Cause{pushdoctor.CauseTimeout, pushdoctor.CauseRateLimited, pushdoctor.CauseDNSFailure} {
		for q := (store.Query{Limit: 7}); ; {
			batch, err := db.Find(q)
			if err != nil {
				panic(err)
			}
			if len(batch) == 0 {
				break
			}
			for i := range batch {
				batch[i].Cause = cause
			}
			if _, err := db.Rewrite(batch); err != nil {
				panic(err)
			}
			fmt.Println(batch[0].ID)
			q.After = batch[len(batch)-1].ID
		}
	}
	fmt.Println("done")
	time.Sleep(time.Minute)
}

// Red where kill -9 leaves a batch of which one half is rewritten, or a finding that is lost or not in its index.
func TestRewriteKilled(t *testing.T) {
	path := file(t)
	db := mustOpen(path)
	for job := int64(1); job <= 20; job++ {
		record(t, db, reading(job, day.Add(time.Duration(job)*time.Second), denied("api"), denied("web")), true)
	}
	counted := totals(t, db)
	closeAndCheck(t, db, path)
	for n := range 8 {
		cmd, out := child(t, "rewrite", path)
		for range n + 1 {
			out.Scan()
		}
		time.Sleep(time.Duration(n*300) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		db, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		found := find(t, db, store.Query{})
		if len(found) != 40 {
			t.Errorf("%d findings, want 40", len(found))
		}
		for i := 0; i < len(found); i += 7 {
			for _, f := range found[i:min(i+7, len(found))] {
				if f.Cause != found[i].Cause {
					t.Errorf("%s has the cause %s, its batch %s", f.ID, f.Cause, found[i].Cause)
				}
			}
		}
		if diff := cmp.Diff(strings.Join(counted, "\n"), strings.Join(totals(t, db), "\n")); diff != "" {
			t.Errorf("totals (-want +got):\n%s", diff)
		}
		closeAndCheck(t, db, path)
	}
}
