package store_test

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

const staleAfter = 14 * 24 * time.Hour

// watched is a reading on main in which these images were pushed well.
func watched(job int64, after time.Duration, good string, findings ...pushdoctor.Finding) store.Reading {
	r := reading(job, day.Add(after), findings...)
	r.Ref, r.Good = "main", map[string]pushdoctor.Registry{}
	for image := range strings.FieldsSeq(good) {
		r.Good["ghcr.io/octo-lab/"+image+":dev"] = pushdoctor.RegistryGHCR
	}
	return r
}

func groupLines(t testing.TB, db *store.DB, q store.GroupQuery) []string {
	t.Helper()
	groups, err := db.Groups(q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, g := range groups {
		out = append(out, groupLine(g))
	}
	return out
}

func groupLine(g pushdoctor.Group) string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Sub(day).String()
	}
	image := cmp.Or(strings.TrimPrefix(g.Image, "ghcr.io/octo-lab/"), "-")
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s..%s %s %d %s %d %s", g.State, g.Registry, image, g.Cause, at(g.Opened), at(g.Newest), g.Finding, g.Failures, at(g.Closed), g.FixedRun, g.Reason))
}

func nameless(registry pushdoctor.Registry) pushdoctor.Finding {
	f := denied("")
	f.Registry, f.Image, f.Operation, f.Cause = registry, "", pushdoctor.OperationLogin, pushdoctor.CauseCredentialsInvalid
	if registry == pushdoctor.RegistryUnknown {
		f.Host = "***"
	}
	return f
}

func named(image string) pushdoctor.Finding {
	f := denied("")
	f.Image = image
	return f
}

// A failure that opens nothing, a push of another image or a cured one that closes something, one image's tags that are two
// groups, or a wrong beginning, end or cause turns this red.
func TestGroups(t *testing.T) {
	const h = time.Hour
	foreign := watched(2, 2*h, "api")
	foreign.Ref = ""
	elsewhere := watched(2, 2*h, "api")
	elsewhere.Ref = "release/*"
	otherJob := watched(2, 2*h, "api")
	otherJob.Job.Name = "push again"
	otherFlow := watched(2, 2*h, "api")
	otherFlow.Job.Workflow = "release.yml"
	hub := watched(2, 2*h, "")
	hub.Good["octo-lab/api:dev"] = pushdoctor.RegistryDockerHub
	unwatched := watched(1, h, "", denied("api:1"))
	unwatched.Ref = ""
	for _, test := range []struct {
		name     string
		readings []store.Reading
		want     []string
	}{
		{"one", []store.Reading{watched(1, h, "", denied("api:1"))}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"a tag, a digest and another case", []store.Reading{
			watched(1, h, "", denied("api:1")), watched(2, 2*h, "", reset("API@sha256:00", false), reset("api", true)),
		}, []string{"open ghcr api connection_lost 1h0m0s..2h0m0s 2-1 2 - 0"}},
		{"cured in the job", []store.Reading{watched(1, h, "api", reset("api:1", true))}, nil},
		{"on no watched ref", []store.Reading{unwatched}, nil},
		{"fixed", []store.Reading{watched(1, h, "", denied("api:1")), watched(2, 2*h, "api"), watched(3, 3*h, "api")},
			[]string{"fixed ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 2h0m0s 2"}},
		{"broken again", []store.Reading{watched(1, h, "", denied("api:1")), watched(2, 2*h, "api"), watched(3, 3*h, "", denied("api:2"))}, []string{
			"fixed ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 2h0m0s 2", "open ghcr api package_access_denied 3h0m0s..3h0m0s 3-1 1 - 0",
		}},
		{"fixed by another image", []store.Reading{watched(1, h, "", denied("api:1")), watched(2, 2*h, "web apis")},
			[]string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"a job of a fork", []store.Reading{watched(1, h, "", denied("api:1")), foreign}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"another ref", []store.Reading{watched(1, h, "", denied("api:1")), elsewhere}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"another job", []store.Reading{watched(1, h, "", denied("api:1")), otherJob}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"another workflow", []store.Reading{watched(1, h, "", denied("api:1")), otherFlow}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"another registry", []store.Reading{watched(1, h, "", denied("api:1")), hub}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"two images", []store.Reading{watched(1, h, "", denied("api:1"), denied("web:1")), watched(2, 2*h, "web")}, []string{
			"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0", "fixed ghcr web package_access_denied 1h0m0s..1h0m0s 1-2 1 2h0m0s 2",
		}},
		{"one tag of two", []store.Reading{watched(1, h, "api", denied("api:1"))}, []string{"open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"a refused login", []store.Reading{watched(1, h, "", nameless(pushdoctor.RegistryGHCR)), watched(2, 2*h, "web")},
			[]string{"fixed ghcr - credentials_invalid 1h0m0s..1h0m0s 1-1 1 2h0m0s 2"}},
		{"a refused login elsewhere", []store.Reading{watched(1, h, "", nameless(pushdoctor.RegistryECR)), watched(2, 2*h, "web")},
			[]string{"open ecr - credentials_invalid 1h0m0s..1h0m0s 1-1 1 - 0"}},
		{"an unknown registry", []store.Reading{watched(1, h, "", nameless(pushdoctor.RegistryUnknown)), watched(2, 2*h, "web")},
			[]string{"fixed unknown - credentials_invalid 1h0m0s..1h0m0s 1-1 1 2h0m0s 2"}},
		{"a name that cannot be", []store.Reading{watched(1, h, "", named("ghcr.io//api:1")), watched(2, 2*h, "", named("ghcr.io/***/api")), watched(3, 3*h, "web")},
			[]string{"fixed ghcr - package_access_denied 1h0m0s..2h0m0s 2-1 2 3h0m0s 3"}},
		{"a name without its host", []store.Reading{watched(1, h, "", named("octo-lab/api:fix/x")), watched(2, 2*h, "api")},
			[]string{"fixed ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 2h0m0s 2"}},
		{"read again without a finding", []store.Reading{watched(1, h, "", denied("api:1")), watched(2, 2*h, "", denied("api:1")), watched(1, h, "")},
			[]string{"open ghcr api package_access_denied 2h0m0s..2h0m0s 2-1 1 - 0"}},
		{"all read again without a finding", []store.Reading{watched(1, h, "", denied("api:1")), watched(1, h, "")}, nil},
		{"stale between", []store.Reading{watched(1, h, "", denied("api:1")), watched(2, staleAfter+2*h, "", denied("api:2"))}, []string{
			"stale ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 337h0m0s 0", "open ghcr api package_access_denied 338h0m0s..338h0m0s 2-1 1 - 0",
		}},
		{"pushed when it was stale", []store.Reading{watched(1, h, "", denied("api:1")), watched(2, staleAfter+2*h, "api")},
			[]string{"stale ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 337h0m0s 0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, backwards := range []bool{false, true} {
				db := open(t, file(t))
				readings := slices.Clone(test.readings)
				if backwards && !strings.Contains(test.name, "again without") { // there the last reading counts
					slices.Reverse(readings)
				}
				for _, r := range readings {
					if _, err := db.Record(r); err != nil {
						t.Fatal(err)
					}
				}
				if diff := gocmp.Diff(test.want, groupLines(t, db, store.GroupQuery{}), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("backwards %t: groups (-want +got):\n%s", backwards, diff)
				}
			}
		})
	}
}

// An outcome is what one execution did with an image: failed, or pushed it.
type outcome struct {
	at     time.Duration
	failed bool
	id     string
	run    int64
}

// episodes says in the plainest words what the groups of one image are.
func episodes(outcomes []outcome) []string {
	slices.SortStableFunc(outcomes, func(a, b outcome) int {
		failedFirst := func(o outcome) int {
			if o.failed {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(failedFirst(a), failedFirst(b)), cmp.Compare(a.run, b.run))
	})
	var out []string
	var g *pushdoctor.Group
	end := func(state pushdoctor.GroupState, at time.Duration, run int64) {
		if g == nil {
			return
		}
		g.State, g.FixedRun = state, run
		if state != pushdoctor.GroupOpen {
			g.Closed = day.Add(at)
		}
		out = append(out, groupLine(*g))
		g = nil
	}
	for _, o := range outcomes {
		if g != nil && day.Add(o.at).Sub(g.Newest) > staleAfter {
			end(pushdoctor.GroupStale, g.Newest.Sub(day)+staleAfter, 0)
		}
		switch {
		case !o.failed:
			end(pushdoctor.GroupFixed, o.at, o.run)
		case g == nil:
			g = &pushdoctor.Group{
				Registry: pushdoctor.RegistryGHCR, Image: "api", Cause: pushdoctor.CausePackageAccessDenied,
				Opened: day.Add(o.at), Newest: day.Add(o.at), Finding: o.id, Failures: 1,
			}
		default:
			g.Newest, g.Finding = day.Add(o.at), o.id
			g.Failures++
		}
	}
	end(pushdoctor.GroupOpen, 0, 0)
	return out
}

// Groups that hang on the order of reading, on how often an execution is read, or on what an earlier reading said of it, turn
// this red. So does a time to recovery that is counted twice.
func TestGroupsHaveNoOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range 20 {
		var events []store.Reading
		var outcomes []outcome
		for job := int64(1); job <= 12; job++ {
			at := time.Duration(random.IntN(2000)) * time.Hour // of 83 days
			if random.IntN(4) == 0 && job > 1 {
				at = events[random.IntN(len(events))].Job.CompletedAt.Sub(day) // two jobs that end in one second
			}
			if random.IntN(5) < 3 {
				events = append(events, watched(job, at, "", denied("api:1")))
				outcomes = append(outcomes, outcome{at, true, fmt.Sprintf("%d-1", job), job})
			} else {
				events = append(events, watched(job, at, "api"))
				outcomes = append(outcomes, outcome{at, false, "", job})
			}
		}
		want := episodes(outcomes)
		fixed := 0
		for _, line := range want {
			if strings.HasPrefix(line, "fixed") {
				fixed++
			}
		}
		for order := range 10 {
			db := open(t, file(t))
			if err := db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api", LiveSince: day}); err != nil {
				t.Fatal(err)
			}
			todo := slices.Clone(events)
			for range 6 {
				again := events[random.IntN(len(events))]
				if random.IntN(2) == 0 { // what another reading said of it, before the last one
					again.Findings, again.Good = nil, nil
					if random.IntN(2) == 0 {
						again.Findings = []pushdoctor.Finding{denied("web"), reset("api", false)}
					}
				}
				todo = append(todo, again)
			}
			random.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
			truth := slices.Clone(events) // the last reading of each is the true one
			random.Shuffle(len(truth), func(i, j int) { truth[i], truth[j] = truth[j], truth[i] })
			if order%2 == 0 {
				todo = nil
			}
			for _, r := range append(todo, truth...) {
				if _, err := db.Record(r); err != nil {
					t.Fatal(err)
				}
			}
			got := groupLines(t, db, store.GroupQuery{})
			if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, round %d, order %d: groups (-want +got):\n%s", seed, round, order, diff)
			}
			// A wrong reading may have made a group for a while; it stays counted.
			if n := recoveries(t, db); todo == nil && n > fixed {
				t.Fatalf("seed %d, round %d, order %d: %d recoveries of %d groups that were fixed", seed, round, order, n, fixed)
			}
		}
	}
}

// recoveries is how many groups the histogram has counted.
func recoveries(t testing.TB, db *store.DB) int {
	t.Helper()
	all, err := db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, total := range all {
		if total.Metric == store.MetricTimeToRecovery && total.Labels[2] != store.RecoverySum {
			n += total.Value
		}
	}
	return int(n)
}

// A recovery that is counted for history, for what is stale, twice, or with another time than from the first failure to the
// good push turns this red.
func TestTimeToRecovery(t *testing.T) {
	const h = time.Hour
	path := file(t)
	db := open(t, path)
	if err := db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api", LiveSince: day.Add(h)}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time all is read again
		for _, r := range []store.Reading{
			watched(1, 0, "", denied("old")), watched(2, 2*h, "old"), // opened before the service was live
			watched(3, 2*h, "", denied("api:1")), watched(4, 3*h, "", reset("api:1", false)), watched(5, 3*h+30*time.Minute, "api"), watched(6, 5*h, "api"),
			watched(7, 2*h, "", denied("web:1")), watched(8, 3*h+staleAfter, "web"), // stale by then
			watched(9, 2*h, "", denied("docs:1")), watched(10, 4*h-time.Minute, "docs"), watched(11, 300*h, "", denied("docs:1")), watched(12, 636*h, "docs"),
		} {
			if _, err := db.Record(r); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, line := range totals(t, db) {
			if strings.Contains(line, "recovery") {
				got = append(got, line)
			}
		}
		want := []string{
			"live time_to_recovery_seconds{ghcr,connection_lost,7200} 1", "live time_to_recovery_seconds{ghcr,connection_lost,sum} 5400",
			"live time_to_recovery_seconds{ghcr,package_access_denied,1209600} 1", "live time_to_recovery_seconds{ghcr,package_access_denied,7200} 1",
			"live time_to_recovery_seconds{ghcr,package_access_denied,sum} 1.21674e+06",
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("recoveries (-want +got):\n%s", diff)
		}
	}
}

// A stale group that is shown as open, a closed one of a repository that is there, one that does not open again, and groups that
// Prune keeps for ever or takes too soon turn this red.
func TestStale(t *testing.T) {
	const h = time.Hour
	db := open(t, file(t))
	db.SetStaleAfter(10 * h)
	record(t, db, watched(1, h, "", denied("api:1")), true)
	record(t, db, watched(2, 2*h, "", denied("web:1")), true)
	other := watched(3, 2*h, "", denied("docs:1"))
	other.Job.RepositoryID, other.Job.Repository = 8, "octo-lab/docs"
	record(t, db, other, true)

	expect := func(what string, q store.GroupQuery, want ...string) {
		t.Helper()
		if diff := gocmp.Diff(want, groupLines(t, db, q), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	api, web, docs := "open ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 - 0", "open ghcr web package_access_denied 2h0m0s..2h0m0s 2-1 1 - 0", "open ghcr docs package_access_denied 2h0m0s..2h0m0s 3-1 1 - 0"
	staleAPI := "stale ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 11h0m0s 0"
	expect("in time", store.GroupQuery{Now: day.Add(11 * h), State: pushdoctor.GroupOpen}, api, web, docs)
	for range 2 {
		expect("open ones later", store.GroupQuery{Now: day.Add(11*h + 1), State: pushdoctor.GroupOpen}, web, docs)
		expect("stale ones later", store.GroupQuery{Now: day.Add(11*h + 1), State: pushdoctor.GroupStale}, staleAPI)
		expect("closed since", store.GroupQuery{Now: day.Add(11*h + 1), Since: day.Add(11*h + 1)}, web, docs)
		expect("of one repository", store.GroupQuery{Now: day.Add(11*h + 1), Repository: "Octo-Lab/docs"}, docs)
		if _, _, err := db.Prune(day.Add(11*h+time.Second), 0); err != nil { // which writes what was computed
			t.Fatal(err)
		}
	}
	record(t, db, watched(4, 10*h, "", denied("api:1")), true) // a log that came late: it was not stale
	expect("news", store.GroupQuery{Now: day.Add(11*h + 1), State: pushdoctor.GroupOpen}, "open ghcr api package_access_denied 1h0m0s..10h0m0s 4-1 2 - 0", web, docs)

	for i, want := range []int{1, 0} {
		n, err := db.CloseGroups(7, day.Add(12*h), "the branch is gone", func(g pushdoctor.Group) bool { return g.Image == "ghcr.io/octo-lab/api" })
		if err != nil || n != want {
			t.Errorf("CloseGroups, time %d = %d, %v, want %d", i+1, n, err, want)
		}
	}
	gone := "stale ghcr api package_access_denied 1h0m0s..10h0m0s 4-1 2 12h0m0s 0 the branch is gone"
	expect("the branch is gone", store.GroupQuery{Now: day.Add(12 * h)}, gone, web, docs)
	if n, err := db.CloseGroups(7, day.Add(12*h), "the repository is gone", nil); n != 1 || err != nil {
		t.Errorf("CloseGroups = %d, %v, want 1", n, err)
	}
	record(t, db, watched(5, 13*h, "", denied("api:1")), true)
	again := "open ghcr api package_access_denied 13h0m0s..13h0m0s 5-1 1 - 0"
	expect("back again", store.GroupQuery{Now: day.Add(14 * h), Repository: "octo-lab/api"}, gone,
		"stale ghcr web package_access_denied 2h0m0s..2h0m0s 2-1 1 12h0m0s 0 the repository is gone", again)

	if _, _, err := db.Prune(day.Add(23*h), 9*h); err != nil { // with a horizon of 14h, after all of the events
		t.Fatal(err)
	}
	expect("pruned", store.GroupQuery{Now: day.Add(23 * h)}, again)
	// What is left of an open group is its beginning, however old its failures are.
	forgotten := watched(6, 15*h, "", denied("api:1"))
	record(t, db, forgotten, true)
	expect("pruned and broken still", store.GroupQuery{Now: day.Add(23 * h)}, "open ghcr api package_access_denied 13h0m0s..15h0m0s 6-1 2 - 0")
	record(t, db, watched(7, 16*h, "api"), true)
	expect("pruned and fixed", store.GroupQuery{Now: day.Add(23 * h)}, "fixed ghcr api package_access_denied 13h0m0s..15h0m0s 6-1 2 16h0m0s 7")
}

// A group that keeps its cause when its newest finding is judged again, or that takes an older one's, turns this red, and so
// does a finding that stays in the group of an image that it no longer names.
func TestRewriteGroups(t *testing.T) {
	const h = time.Hour
	db := open(t, file(t))
	record(t, db, watched(1, h, "", denied("api:1")), true)
	record(t, db, watched(2, 2*h, "", reset("api:1", true), denied("api:1"), denied("web:1")), true)
	rewrite := func(id string, change func(*pushdoctor.Finding)) {
		t.Helper()
		f, ok, err := db.Finding(id)
		if err != nil || !ok {
			t.Fatalf("Finding(%s): %t, %v", id, ok, err)
		}
		change(&f.Finding)
		for range 2 {
			if n, err := db.Rewrite([]store.Stored{f}); n != 1 || err != nil {
				t.Fatalf("Rewrite = %d, %v", n, err)
			}
		}
	}
	rewrite("1-1", func(f *pushdoctor.Finding) { f.Cause = pushdoctor.CauseTimeout })
	rewrite("2-2", func(f *pushdoctor.Finding) { f.Cause = pushdoctor.CauseRateLimited })
	rewrite("2-3", func(f *pushdoctor.Finding) { f.Image = "ghcr.io/octo-lab/docs" })
	want := []string{"open ghcr api rate_limited 1h0m0s..2h0m0s 2-2 2 - 0", "open ghcr docs package_access_denied 2h0m0s..2h0m0s 2-3 1 - 0"}
	if diff := gocmp.Diff(want, groupLines(t, db, store.GroupQuery{})); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	record(t, db, watched(2, 2*h, ""), false)
	if diff := gocmp.Diff([]string{"open ghcr api timeout 1h0m0s..1h0m0s 1-1 1 - 0"}, groupLines(t, db, store.GroupQuery{})); diff != "" {
		t.Errorf("groups once the newest job is read again (-want +got):\n%s", diff)
	}
}

// A finding that is told of another group than its own turns this red: that of its image which broke later, say.
func TestGroupOf(t *testing.T) {
	const h = time.Hour
	db := open(t, file(t))
	record(t, db, watched(1, h, "", denied("api:1"), reset("web", true)), true)
	record(t, db, watched(2, 2*h, "api"), true)
	record(t, db, watched(3, 3*h, "", denied("api:1")), true)
	for id, want := range map[string]string{
		"1-1": "fixed ghcr api package_access_denied 1h0m0s..1h0m0s 1-1 1 2h0m0s 2",
		"3-1": "open ghcr api package_access_denied 3h0m0s..3h0m0s 3-1 1 - 0",
		"1-2": "", "9-1": "", "x": "",
	} {
		g, ok, err := db.GroupOf(id, day.Add(4*h))
		if err != nil || ok != (want != "") || ok && groupLine(g) != want {
			t.Errorf("GroupOf(%s) = %s, %t, %v, want %q", id, groupLine(g), ok, err, want)
		}
	}
	if g, ok, err := db.GroupOf("3-1", day.Add(3*h+staleAfter+1)); !ok || err != nil || g.State != pushdoctor.GroupStale {
		t.Errorf("GroupOf(3-1) when it is stale = %s, %t, %v", groupLine(g), ok, err)
	}
}

// A run that is told of another workflow or ref, before the failure, twice, of no conclusion to go by, or in the wrong order
// turns this red, and so does one that is told after it was looked through.
func TestCandidates(t *testing.T) {
	const h = time.Hour
	db := open(t, file(t))
	record(t, db, watched(1, 10*h, "", denied("api:1")), true)
	run := func(id int64, after time.Duration, conclusion, workflow, ref string) pushdoctor.Run {
		return pushdoctor.Run{
			RepositoryID: 7, Repository: "octo-lab/api", ID: id, Attempt: 1, WorkflowID: 70, Workflow: workflow, Branch: ref, Event: "push",
			HeadRepository: "octo-lab/api", Conclusion: conclusion, UpdatedAt: day.Add(after), Ref: ref,
		}
	}
	if err := db.CountRuns(7, []pushdoctor.Run{
		run(1, 10*h+time.Second, "failure", "image.yml", "main"), // its job was read
		run(5, 14*h, "success", "image.yml", "main"), run(4, 13*h, "failure", "image.yml", "main"), run(3, 12*h, "success", "image.yml", "main"),
		run(2, 9*h, "success", "image.yml", "main"), run(6, 12*h, "success", "release.yml", "main"), run(7, 12*h, "success", "image.yml", "dev"),
		run(8, 12*h, "success", "image.yml", ""), run(9, 12*h, "skipped", "image.yml", "main"), run(11, 14*h, "cancelled", "image.yml", "main"), run(10, 12*h, "", "image.yml", "main"),
	}); err != nil {
		t.Fatal(err)
	}
	groups, err := db.Groups(store.GroupQuery{})
	if err != nil || len(groups) != 1 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	ids := func(limit int) string {
		t.Helper()
		found, err := db.Candidates(groups[0], limit)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range found {
			out = append(out, fmt.Sprint(r.ID))
		}
		return strings.Join(out, " ")
	}
	if got := ids(10); got != "3 4 5 11" {
		t.Errorf("candidates: %s, want 3 4 5 11", got)
	}
	if got := ids(2); got != "3 4" {
		t.Errorf("two candidates: %s, want 3 4", got)
	}
	found, err := db.Candidates(groups[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	want := run(3, 12*h, "success", "image.yml", "main")
	want.Status = "completed"
	if diff := gocmp.Diff([]pushdoctor.Run{want}, found); diff != "" {
		t.Errorf("candidate (-want +got):\n%s", diff)
	}
	if err := db.Looked(groups[0], found[0]); err != nil {
		t.Fatal(err)
	}
	if got := ids(10); got != "4 5 11" {
		t.Errorf("candidates but for 3: %s, want 4 5 11", got)
	}
	if _, _, err := db.Prune(day.Add(13*h+staleAfter+1), 0); err != nil {
		t.Fatal(err)
	}
	if got := ids(10); got != "4 5 11" {
		t.Errorf("candidates after Prune: %s, want 4 5 11", got)
	}
	if _, _, err := db.Prune(day.Add(14*h+staleAfter+time.Second), 0); err != nil {
		t.Fatal(err)
	}
	if got := ids(10); got != "" {
		t.Errorf("candidates that are too old: %s", got)
	}
}

// A file of the first schema that is refused, that loses something, or that cannot be recorded in turns this red.
func TestMigration(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bbolt.Tx) error {
		var errs []error
		for _, name := range []string{"groups", "open", "group_events", "group_jobs", "candidates", "looked"} {
			errs = append(errs, tx.DeleteBucket([]byte(name)))
		}
		return errors.Join(append(errs, tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 1)))...)
	})
	if _, err := store.OpenReadOnly(path); !errors.Is(err, store.ErrOlder) {
		t.Errorf("OpenReadOnly: %v", err)
	}
	db := open(t, path)
	if got := len(find(t, db, store.Query{})); got != 100 {
		t.Errorf("%d findings, want 100", got)
	}
	if got := groupLines(t, db, store.GroupQuery{}); got != nil {
		t.Errorf("groups of what was read before: %q", got)
	}
	again := watched(1, time.Second, "", denied("api"))
	if weighed, err := db.Weighed(again.Job.Execution(), 1); weighed || err != nil {
		t.Errorf("Weighed before = %t, %v", weighed, err)
	}
	record(t, db, again, false)
	if weighed, err := db.Weighed(again.Job.Execution(), 1); !weighed || err != nil {
		t.Errorf("Weighed = %t, %v", weighed, err)
	}
	if got := len(groupLines(t, db, store.GroupQuery{})); got != 1 {
		t.Errorf("%d groups, want 1", got)
	}
}
