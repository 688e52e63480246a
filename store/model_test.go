package store_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// model is a store without a file, keys or indexes: what the documentation says, in the plainest words.
type model struct {
	repositories map[int64]store.Repository
	executions   map[pushdoctor.Execution]*kept
	jobs         map[int64]*kept
	runs         map[pushdoctor.Run]time.Time
	totals       map[series]float64
	pending      map[store.PendingKind]map[int64]store.Pending
	horizon      time.Time
}

type kept struct {
	job      pushdoctor.Job
	findings []pushdoctor.Finding
}

type series struct {
	metric, labels string
	repository     int64
	live           bool
}

func newModel() *model {
	return &model{
		repositories: map[int64]store.Repository{}, executions: map[pushdoctor.Execution]*kept{}, jobs: map[int64]*kept{},
		runs: map[pushdoctor.Run]time.Time{}, totals: map[series]float64{},
		pending: map[store.PendingKind]map[int64]store.Pending{store.PendingMissing: {}, store.PendingGone: {}},
	}
}

func (m *model) ensure(id int64, name string) {
	if _, ok := m.repositories[id]; !ok {
		m.repositories[id] = store.Repository{ID: id, Name: name}
	}
}

func (m *model) live(id int64, ended time.Time) bool {
	since := m.repositories[id].LiveSince
	return !since.IsZero() && !ended.Before(since)
}

func (m *model) known(e pushdoctor.Execution, job int64) bool {
	return m.executions[e] != nil || m.jobs[job] != nil
}

func (m *model) record(r store.Reading) bool {
	for _, waiting := range m.pending {
		delete(waiting, r.Job.JobID)
	}
	if r.Job.CompletedAt.Before(m.horizon) {
		return false
	}
	m.ensure(r.Job.RepositoryID, r.Job.Repository)
	old := cmp.Or(m.jobs[r.Job.JobID], m.executions[r.Job.Execution()])
	if old != nil {
		if len(old.findings) == 0 || old.job.JobID == r.Job.JobID {
			old.job = r.Job
		}
		old.findings = r.Findings
		m.jobs[r.Job.JobID] = old
		return false
	}
	k := &kept{r.Job, r.Findings}
	m.jobs[r.Job.JobID], m.executions[r.Job.Execution()] = k, k
	live := m.live(r.Job.RepositoryID, r.Job.CompletedAt)
	raise := func(metric string, by float64, labels ...string) {
		m.totals[series{metric, strings.Join(labels, ","), r.Job.RepositoryID, live}] += by
	}
	good := maps.Clone(r.Pushed)
	cured := map[string]bool{}
	for _, f := range r.Findings {
		status := "none"
		if f.Status != 0 {
			status = strconv.Itoa(f.Status)
		}
		metric, result := store.MetricPushFailures, "failed"
		if f.Recovered {
			metric, result = store.MetricPushFailuresRetried, "retried"
			if !cured[f.Image] {
				cured[f.Image] = true
				good[f.Registry]--
			}
		}
		raise(metric, 1, r.Job.Workflow, string(f.Registry), status, string(f.Cause))
		raise(store.MetricPushes, 1, r.Job.Workflow, string(f.Registry), result)
	}
	for registry, n := range good {
		if n > 0 {
			raise(store.MetricPushes, float64(n), r.Job.Workflow, string(registry), "good")
		}
	}
	raise(store.MetricJobsRead, 1, string(r.Result))
	m.totals[series{store.MetricLogBytes, "", 0, live}] += float64(r.Bytes)
	return true
}

func (m *model) countRun(repo int64, run pushdoctor.Run) {
	k := pushdoctor.Run{RepositoryID: repo, ID: run.ID, Attempt: run.Attempt}
	if _, ok := m.runs[k]; ok || run.Conclusion == "" || run.UpdatedAt.Before(m.horizon) {
		return
	}
	m.ensure(repo, run.Repository)
	m.runs[k] = run.UpdatedAt
	m.totals[series{store.MetricRuns, run.Workflow + "," + run.Conclusion, repo, m.live(repo, run.UpdatedAt)}]++
}

func (m *model) put(r store.Repository) {
	old := m.repositories[r.ID]
	if !old.LiveSince.IsZero() {
		r.LiveSince = old.LiveSince
	}
	r.Cursor = forward(old.Cursor, r.Cursor)
	m.repositories[r.ID] = r
}

func forward(a, b pushdoctor.Cursor) pushdoctor.Cursor {
	latest := func(a, b time.Time) time.Time {
		if a.After(b) {
			return a
		}
		return b
	}
	return pushdoctor.Cursor{Through: latest(a.Through, b.Through), Swept: latest(a.Swept, b.Swept)}
}

func (m *model) prune(horizon time.Time) {
	if horizon.After(m.horizon) {
		m.horizon = horizon
	}
	old := func(k *kept) bool { return k.job.CompletedAt.Before(m.horizon) }
	maps.DeleteFunc(m.jobs, func(_ int64, k *kept) bool { return old(k) })
	maps.DeleteFunc(m.executions, func(_ pushdoctor.Execution, k *kept) bool { return old(k) })
	maps.DeleteFunc(m.runs, func(_ pushdoctor.Run, ended time.Time) bool { return ended.Before(m.horizon) })
}

func (m *model) find(q store.Query) []string {
	var all []*kept
	for _, k := range m.executions {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *kept) int {
		return cmp.Or(a.job.CompletedAt.Compare(b.job.CompletedAt), cmp.Compare(a.job.JobID, b.job.JobID))
	})
	var out []string
	for _, k := range all {
		name := m.repositories[k.job.RepositoryID].Name
		for i, f := range k.findings {
			if !k.job.CompletedAt.Before(q.Since) && (q.Until.IsZero() || k.job.CompletedAt.Before(q.Until)) &&
				(q.Repository == "" || q.Repository == name) && (q.Cause == "" || q.Cause == f.Cause) {
				out = append(out, fmt.Sprintf("%d-%d %s %s %s %d", k.job.JobID, i+1, name, f.Cause, f.Image, k.job.RunAttempt))
			}
		}
	}
	if q.Newest {
		slices.Reverse(out)
	}
	return out
}

func (m *model) lines() []string {
	sums := map[string]*store.Total{}
	for s, value := range m.totals {
		labels := s.labels
		if s.repository != 0 {
			labels = strings.TrimSuffix(m.repositories[s.repository].Name+","+s.labels, ",")
		}
		k := fmt.Sprint(s.metric, labels, s.live)
		if sums[k] == nil {
			sums[k] = &store.Total{Metric: s.metric, Labels: []string{labels}, Live: s.live}
		}
		sums[k].Value += value
	}
	var out []string
	for _, total := range sums {
		out = append(out, line(*total))
	}
	slices.Sort(out)
	return out
}

// The store and the model are asked the same after each of many random operations. Any answer that differs turns
// this red: a total that is raised twice, an index row too many, a page that leaves one out, a cursor that
// goes back, something lost by closing the file.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STORE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d: STORE_TEST_SEED repeats it", seed)
	for round := range uint64(2) {
		simulate(t, rand.New(rand.NewPCG(seed, round)))
	}
}

func simulate(t *testing.T, random *rand.Rand) {
	t.Helper()
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { closeAndCheck(t, db, path) }()
	m := newModel()
	pick := func(n int) int64 { return int64(random.IntN(n)) }
	names := []string{"octo-lab/api", "octo-lab/web", "octo-lab/docs"} // fewer than there are repositories
	moment := func() time.Time { return day.Add(time.Duration(pick(5000)) * time.Second) }
	var recorded []store.Reading

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 400 {
		switch op := random.IntN(100); {
		case op < 45:
			r := randomReading(random, moment(), names, recorded)
			recorded = append(recorded, r)
			known, err := db.Known(r.Job.Execution(), r.Job.JobID)
			if want := m.known(r.Job.Execution(), r.Job.JobID); err != nil || known != want {
				t.Fatalf("Known(%+v) = %t, %v, want %t", r.Job, known, err, want)
			}
			added, err := db.Record(r)
			if want := m.record(r); err != nil || added != want {
				t.Fatalf("Record(%+v) = %t, %v, want %t", r.Job, added, err, want)
			}
		case op < 60:
			var runs []pushdoctor.Run
			repo := 7 + pick(4)
			for range pick(5) {
				runs = append(runs, pushdoctor.Run{
					Repository: names[repo%3], ID: pick(20), Attempt: 1 + int(pick(3)), Workflow: "image.yml",
					Conclusion: []string{"", "failure", "success"}[pick(3)], UpdatedAt: moment(),
				})
				m.countRun(repo, runs[len(runs)-1])
			}
			must(db.CountRuns(repo, runs))
		case op < 65:
			name := names[pick(3)]
			must(db.CountError(name, "timeout"))
			m.totals[series{store.MetricCollectErrors, name + ",timeout", 0, true}]++
		case op < 72:
			r := store.Repository{ID: 7 + pick(4), Name: names[pick(3)], State: "ok", Cursor: pushdoctor.Cursor{Through: moment()}}
			if pick(3) == 0 {
				r.LiveSince = moment()
			}
			must(db.PutRepository(r))
			m.put(r)
		case op < 77:
			id := 7 + pick(4)
			c := pushdoctor.Cursor{Through: moment(), Swept: moment()}
			r, ok := m.repositories[id]
			if err := db.Advance(id, c); (err == nil) != ok {
				t.Fatalf("Advance of repository %d: %v", id, err)
			}
			if ok {
				r.Cursor = forward(r.Cursor, c)
				m.repositories[id] = r
			}
		case op < 87:
			p := store.Pending{Kind: []store.PendingKind{store.PendingMissing, store.PendingGone}[pick(2)], Due: moment(), Tries: int(pick(9))}
			p.Job.JobID, p.Job.RepositoryID = 1+pick(200), 7
			must(db.PutPending(p))
			for _, waiting := range m.pending {
				delete(waiting, p.Job.JobID)
			}
			m.pending[p.Kind][p.Job.JobID] = p
		case op < 90:
			job := 1 + pick(200)
			must(db.DonePending(job))
			for _, waiting := range m.pending {
				delete(waiting, job)
			}
		case op < 93:
			horizon := day.Add(time.Duration(pick(1500)) * time.Second)
			_, _, err := db.Prune(horizon.Add(time.Hour), time.Hour)
			must(err)
			m.prune(horizon)
		case op < 96:
			closeAndCheck(t, db, path)
			if db, err = store.Open(path); err != nil {
				t.Fatal(err)
			}
		default:
			compare(t, db, m, random, names, moment)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	compare(t, db, m, random, names, moment)
}

// randomReading is a new job, one that was recorded before with other findings, or such a one under another id.
func randomReading(random *rand.Rand, ended time.Time, names []string, recorded []store.Reading) store.Reading {
	repo := int64(random.IntN(4))
	r := reading(int64(len(recorded)+1), ended)
	r.Job.RepositoryID, r.Job.Repository = 7+repo, names[repo%3]
	r.Ref = []string{"", "main", "release/*"}[random.IntN(3)] // what comes of it, the model does not say; Check does
	r.Good = map[string]pushdoctor.Registry{fmt.Sprint("ghcr.io/octo-lab/image-", random.IntN(2)): pushdoctor.RegistryGHCR}
	r.Pushed = map[pushdoctor.Registry]int{pushdoctor.RegistryGHCR: random.IntN(4), pushdoctor.RegistryECR: random.IntN(2)}
	if kind := random.IntN(4); kind < 2 && len(recorded) > 0 {
		old := recorded[random.IntN(len(recorded))].Job
		if kind == 1 {
			old.JobID, old.RunAttempt = r.Job.JobID, old.RunAttempt+1
		}
		r.Job = old
	}
	for i := range random.IntN(4) {
		f := denied(fmt.Sprint("image-", random.IntN(2)))
		if random.IntN(2) == 0 {
			f = reset(fmt.Sprint("image-", random.IntN(2)), random.IntN(2) == 0)
		}
		f.Line = i + 1
		r.Findings = append(r.Findings, f)
		r.Result = store.ResultFindings
	}
	return r
}

func compare(t *testing.T, db *store.DB, m *model, random *rand.Rand, names []string, moment func() time.Time) {
	t.Helper()
	all, err := db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, total := range all {
		if total.Metric == store.MetricTimeToRecovery {
			continue // see groups_test.go
		}
		total.Finding = "" // of two repositories that have one name, either one's
		got = append(got, line(total))
	}
	slices.Sort(got)
	if diff := gocmp.Diff(m.lines(), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}

	repositories, err := db.Repositories()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.SortedFunc(maps.Values(m.repositories), func(a, b store.Repository) int { return cmp.Compare(a.ID, b.ID) })
	if diff := gocmp.Diff(want, repositories, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}

	now := moment()
	var due []store.Pending
	for _, waiting := range m.pending {
		for _, p := range waiting {
			if !p.Due.After(now) {
				due = append(due, p)
			}
		}
	}
	slices.SortFunc(due, func(a, b store.Pending) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Job.JobID, b.Job.JobID), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	gotDue, err := db.DuePending(now, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(due, gotDue, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}

	for range 5 {
		q := store.Query{Newest: random.IntN(2) == 0}
		if random.IntN(2) == 0 {
			q.Repository = names[random.IntN(3)]
		}
		if random.IntN(2) == 0 {
			q.Cause = pushdoctor.CauseConnectionLost
		}
		if random.IntN(2) == 0 {
			q.Since = moment()
		}
		if random.IntN(2) == 0 {
			q.Until = moment()
		}
		var pages []string
		for q.Limit = random.IntN(4); ; { // 0: all at once
			found := find(t, db, q)
			for _, f := range found {
				pages = append(pages, fmt.Sprintf("%s %s %s %s %d", f.ID, f.Repository, f.Cause, f.Image, f.RunAttempt))
				one, ok, err := db.Finding(f.ID)
				if diff := gocmp.Diff(f, one); diff != "" || !ok || err != nil {
					t.Errorf("Finding(%s) = %t, %v (-Find +Finding):\n%s", f.ID, ok, err, diff)
				}
			}
			if q.Limit == 0 || len(found) < q.Limit {
				break
			}
			q.After = found[len(found)-1].ID
		}
		if diff := gocmp.Diff(m.find(q), pages, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Find(%+v) (-want +got):\n%s", q, diff)
		}
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}
