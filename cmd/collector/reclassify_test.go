package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// storedNow is the whole store of the working directory.
func storedNow(t *testing.T) (found []store.Stored, totals []store.Total) {
	t.Helper()
	db, err := store.Open("pushdoctor.db")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := db.Check(); err != nil {
		t.Error(err)
	}
	if found, err = db.Find(store.Query{}); err != nil {
		t.Fatal(err)
	}
	if totals, err = db.Totals(); err != nil {
		t.Fatal(err)
	}
	return found, totals
}

// Red where a dry run writes, a finding that no rule knows better changes, one is left out at the border of a page, a total
// moves, or the second time finds something to do.
func TestReclassify(t *testing.T) {
	var readings []store.Reading
	for i := range 3 {
		r := unknown(time.Duration(50-i)*time.Hour, "registry.example.test/api:dev", "", "")
		one := r.Findings[0]
		r.Findings = nil
		for range 2 * pageSize / 3 {
			one.Evidence = []pushdoctor.Evidence{{Kind: pushdoctor.EvidenceAnswer, Line: one.Line, Text: "ERROR: failed to push registry.example.test/api:dev: registry is in maintenance until noon"}}
			one.Message = "registry is in maintenance until noon"
			r.Findings = append(r.Findings, one)
		}
		readings = append(readings, r)
	}
	old := unknown(500*24*time.Hour, "registry.example.test/api:dev", readings[0].Findings[0].Evidence[0].Text, "registry is in maintenance until noon")
	kept := reading("octo-lab/web-shop", time.Hour, pushdoctor.CauseTimeout, 1)
	keep(t, append(readings, old, kept)...)
	if err := os.WriteFile("own.yaml", []byte(goodRules), 0o644); err != nil {
		t.Fatal(err)
	}
	before, counted := storedNow(t)
	reclassify := func(args ...string) end {
		return call{args: append([]string{"reclassify"}, args...), env: []string{"PUSHDOCTOR_CLASSIFY_RULES=own.yaml"}}.run(t)
	}

	got := reclassify("--dry-run", "-v")
	if lines := strings.Split(strings.TrimSpace(got.stdout), "\n"); got.status != 0 || len(lines) != 1000 ||
		lines[0] != "41000000000-1  unknown -> registry_unavailable  own-maintenance" || lines[999] != "unknown -> registry_unavailable  999" {
		t.Errorf("dry run: status %d, %d lines, %s ... %s\n%s", got.status, len(lines), lines[0], lines[len(lines)-1], got.stderr)
	}
	if found, _ := storedNow(t); !cmp.Equal(before, found) {
		t.Error("the dry run wrote")
	}

	got = reclassify()
	if want := "unknown -> registry_unavailable  999\n"; got.status != 0 || got.stdout != want {
		t.Errorf("status %d: %q, want %q\n%s", got.status, got.stdout, want, got.stderr)
	}
	found, now := storedNow(t)
	if diff := cmp.Diff(counted, now); diff != "" {
		t.Errorf("totals (-before +after):\n%s", diff)
	}
	ruled := cmpopts.IgnoreFields(pushdoctor.Finding{}, "Cause", "Confidence", "Rule")
	if diff := cmp.Diff(before, found, ruled); diff != "" {
		t.Errorf("what no rule may touch (-before +after):\n%s", diff)
	}
	causes := map[pushdoctor.Cause]int{}
	for _, f := range found {
		causes[f.Cause]++
	}
	if diff := cmp.Diff(map[pushdoctor.Cause]int{"registry_unavailable": 999, "unknown": 1, "timeout": 1}, causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}

	if got = reclassify(); got.status != 0 || got.stdout != "" {
		t.Errorf("the second time: status %d: %q", got.status, got.stdout)
	}
	if got = reclassify("--since", "600d", "--repository", "octo-lab/web-shop"); got.stdout != "" {
		t.Errorf("of another repository: %q", got.stdout)
	}
	if got = reclassify("--since", "600d"); got.stdout != "unknown -> registry_unavailable  1\n" {
		t.Errorf("what is older: %q", got.stdout)
	}
}

// Red where a store that is held is waited for without a word, where none is made out of nothing, or where one is written to
// without the rules that were asked for.
func TestReclassifyRefuses(t *testing.T) {
	write(t, nil)
	reclassify := call{args: []string{"reclassify"}}
	if got := reclassify.run(t); got.status != exitFailed || !strings.Contains(got.stderr, "there is no store pushdoctor.db") {
		t.Errorf("without a store: status %d: %s", got.status, got.stderr)
	}
	keep(t, unknowns()...)
	if got := (call{args: reclassify.args, env: []string{"PUSHDOCTOR_CLASSIFY_RULES=missing.yaml"}}).run(t); got.status != exitFailed {
		t.Errorf("without its rules: status %d", got.status)
	}
	api(t)
	for _, args := range [][]string{{"reclassify"}, {"reclassify", "--dry-run"}} {
		if got := (call{args: args}).run(t); got.status != exitFailed || !strings.HasPrefix(got.stderr, "pushdoctor: store pushdoctor.db: in use by ") {
			t.Errorf("%v beside a service: status %d: %s", args, got.status, got.stderr)
		}
	}
}
