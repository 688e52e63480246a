package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// kept is what the store of keep holds in bytes.
func kept(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("pushdoctor.db")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// concluded is a reading that ended on a day.
func concluded(repository string, day string, n int) store.Reading {
	r := reading(repository, 0, pushdoctor.CauseTimeout, n)
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	r.Job.CompletedAt, r.Job.StartedAt = at, at.Add(-time.Minute)
	return r
}

// damage removes the first rows of a bucket behind the store's back.
func damage(t *testing.T, bucket string, rows int) {
	t.Helper()
	bolt, err := bbolt.Open("pushdoctor.db", 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		for range rows {
			k, _ := b.Cursor().First()
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
}

// Red where a check writes to the file, passes over a fault, calls a file that it could not look at good or at fault, or says
// something else than what is there.
func TestStoreCheck(t *testing.T) {
	check := func() end { return call{args: []string{"store", "check"}}.run(t) }
	write(t, nil)
	if got := check(); got.status != exitFailed || !strings.HasPrefix(got.stderr, "pushdoctor: there is no store pushdoctor.db: ") {
		t.Errorf("of no store: %+v", got)
	}
	keep(t, concluded("octo-lab/api", "2025-12-31", 2), concluded("octo-lab/web-shop", "2026-01-01", 60), concluded("octo-lab/api", "2026-03-01", 1))
	before := kept(t)
	_, summary, _ := strings.Cut(check().stdout, " are free\n")
	if diff := cmp.Diff(`        2 repositories
        3 executions of jobs that ended from 2025-12-31 00:00:00 to 2026-03-01 00:00:00 UTC
       63 findings
        2   of 2025
       61   of 2026
        0 groups of failures
        0 logs to be asked for again
        0 webhook deliveries to be read
        6 totals
        0 pages of GitHub's lists
no fault
`, summary); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := check(); got.status != 0 || got.stderr != "" || !strings.HasPrefix(got.stdout, "pushdoctor.db: schema 2, 0.1 MB, of which 0.0 MB are free\n") {
		t.Errorf("%+v", got)
	}
	if !bytes.Equal(before, kept(t)) {
		t.Error("the file was changed")
	}

	damage(t, "by_cause", 5)
	damage(t, "by_id", 60)
	at := kept(t)
	got := check()
	if got.status != exitFound || strings.Count(got.stdout, "\nfault: findings ") != 60 || !strings.Contains(got.stdout, "\nfault: by_id has 3 rows for 63 findings\n") ||
		got.stderr != "pushdoctor: 62 faults in pushdoctor.db: bring back a copy, or move it away to begin anew; nothing was changed\n" {
		t.Errorf("at fault: %+v", got)
	}
	for _, args := range []string{"compact", "forget --repository octo-lab/api --yes"} {
		if got := (call{args: append([]string{"store"}, strings.Fields(args)...)}).run(t); got.status != exitFailed || !strings.Contains(got.stderr, "damaged") {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if !bytes.Equal(at, kept(t)) {
		t.Error("the file that is at fault was changed")
	}

	for name, test := range map[string]struct {
		data   []byte
		status int
		want   string
	}{
		"cut off": {before[:len(before)/2], exitFound, "fault: store pushdoctor.db: "},
		"text":    {[]byte("# a README\n"), exitFailed, ""},
	} {
		if err := os.WriteFile("pushdoctor.db", test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := check(); got.status != test.status || !strings.HasPrefix(got.stdout, test.want) || strings.Contains(got.stdout, "no fault") {
			t.Errorf("%s: %+v", name, got)
		}
		if !bytes.Equal(test.data, kept(t)) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// Red where one of the commands works beside a service, or does not say what is in the way.
func TestStoreIsHeld(t *testing.T) {
	keep(t, concluded("octo-lab/api", "2026-03-01", 2))
	api(t)
	for _, args := range []string{"check", "compact", "forget --repository octo-lab/api", "forget --repository octo-lab/api --yes"} {
		got := call{args: append([]string{"store"}, strings.Fields(args)...)}.run(t)
		if got.status != exitFailed || got.stdout != "" || !strings.HasPrefix(got.stderr, "pushdoctor: store pushdoctor.db: in use by ") ||
			!strings.HasSuffix(got.stderr, "stop the service, do this, and start it again\n") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// Red where something is removed that nobody confirmed, something else than was said, or where it is not said what is left.
func TestStoreForget(t *testing.T) {
	keep(t, concluded("octo-lab/api", "2026-03-01", 2), concluded("octo-lab/web-shop", "2026-03-01", 1))
	forget := func(args ...string) end {
		return call{args: append([]string{"store", "forget"}, args...)}.run(t)
	}
	before := kept(t)
	const list = "        2 findings\n        1 jobs\n        1 executions\n        3 totals\n        1 names and cursors\n"
	for _, test := range []struct {
		args string
		want end
	}{
		{"", end{2, "", "pushdoctor: store forget needs a repository: --repository OWNER/NAME, or its id\n"}},
		{"--repository octo-lab/apy --yes", end{2, "", "pushdoctor: the store holds nothing of octo-lab/apy; did you mean octo-lab/api?\n"}},
		{"--repository octo-tools/nothing-alike", end{2, "", "pushdoctor: the store holds nothing of octo-tools/nothing-alike\n"}},
		{"--repository OCTO-lab/API", end{0, list, "pushdoctor: nothing was removed; with --yes it is\n"}},
		{"--repository 12", end{0, list, "pushdoctor: nothing was removed; with --yes it is\n"}},
	} {
		if diff := cmp.Diff(test.want, forget(strings.Fields(test.args)...), cmp.AllowUnexported(end{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.args, diff)
		}
	}
	if !bytes.Equal(before, kept(t)) {
		t.Error("the file was changed without --yes")
	}
	want := end{0, list, "pushdoctor: OCTO-lab/API is forgotten; its text is in the file until: pushdoctor store compact --store pushdoctor.db\n"}
	if diff := cmp.Diff(want, forget("--repository", "OCTO-lab/API", "--yes"), cmp.AllowUnexported(end{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if found, totals := storedNow(t); len(found) != 1 || found[0].Repository != "octo-lab/web-shop" || strings.Contains(fmt.Sprint(totals), "octo-lab/api") {
		t.Errorf("left are %v, %v", found, totals)
	}
	if !bytes.Contains(kept(t), []byte("octo-lab/api")) {
		t.Error("nothing is left for compact to remove")
	}
	got := call{args: []string{"store", "compact", "--store", "pushdoctor.db"}}.run(t)
	if got.status != 0 || got.stdout != "pushdoctor.db: 0.1 MB before, 0.0 MB now\n" || bytes.Contains(kept(t), []byte("octo-lab/api")) {
		t.Errorf("%+v; the name is still there: %t", got, bytes.Contains(kept(t), []byte("octo-lab/api")))
	}
}
