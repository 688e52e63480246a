package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// defaultStaleAfter is that of the configuration.
const defaultStaleAfter = 14 * 24 * time.Hour

// MetricTimeToRecovery is the histogram of how long groups took that were fixed. Among Totals it is a series for each bucket that
// holds something, with the bucket's upper bound in seconds or "+Inf" for its last label, and one with RecoverySum there.
const (
	MetricTimeToRecovery = "pushdoctor_time_to_recovery_seconds" // registry, cause, bound
	RecoverySum          = "sum"
)

// RecoveryBuckets are the upper bounds in seconds of MetricTimeToRecovery's buckets, but for "+Inf". A retry by hand takes minutes, a
// right that somebody else must grant some hours, what waits for its owner a day or a week-end; after fourteen days
// without news a group is stale. A bound that was released is not taken away: the file holds what was counted under it.
var RecoveryBuckets = []float64{
	60, 5 * 60, 15 * 60, 30 * 60, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 86400, 2 * 86400, 4 * 86400, 7 * 86400, 14 * 86400,
}

// SetStaleAfter sets after how long without news a group is stale; it is 14 days where this was not called. It is for
// the time before anything is recorded: what was recorded stays grouped as it was.
func (db *DB) SetStaleAfter(d time.Duration) { db.staleAfter.Store(int64(d)) }

func (db *DB) staleSeconds() uint64 {
	d := time.Duration(db.staleAfter.Load())
	if d <= 0 {
		d = defaultStaleAfter
	}
	return uint64(max(d/time.Second, 1))
}

// A GroupQuery says which groups Groups returns.
type GroupQuery struct {
	Now        time.Time // a group whose newest failure is too long ago is stale by then
	Repository string    // owner/name, its present one, in any case; "" is all
	ID         int64     // of the repository; 0 is all
	State      pushdoctor.GroupState
	Since      time.Time // closed ones were closed then or later
}

// Groups returns the groups that q asks for, the oldest first. Where q asks for open ones alone, it costs as much as
// there are open ones; else all groups that Prune has left are read.
func (db *DB) Groups(q GroupQuery) ([]pushdoctor.Group, error) {
	var out []pushdoctor.Group
	err := db.view("groups", func(tx *bbolt.Tx) error {
		names, err := repositoryNames(tx)
		if err != nil {
			return err
		}
		take := func(v []byte) error {
			g, err := db.group(v, names, q.Now)
			if err != nil {
				return err
			}
			if (q.ID == 0 || q.ID == g.RepositoryID) && (q.Repository == "" || strings.EqualFold(q.Repository, g.Repository)) && (q.State == "" || q.State == g.State) &&
				(g.State == pushdoctor.GroupOpen || !g.Closed.Before(q.Since)) {
				out = append(out, g)
			}
			return nil
		}
		groups := tx.Bucket(bucketGroups)
		if q.State == pushdoctor.GroupOpen {
			var prefix []byte
			if q.ID != 0 {
				prefix = key(uint64(q.ID))
			}
			c := tx.Bucket(bucketOpen).Cursor()
			for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
				if err := take(groups.Get(k[8:])); err != nil {
					return err
				}
			}
			return nil
		}
		return groups.ForEach(func(_, v []byte) error { return take(v) })
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, compareGroups)
	return out, nil
}

func compareGroups(a, b pushdoctor.Group) int {
	return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.RepositoryID, b.RepositoryID), strings.Compare(a.Workflow, b.Workflow),
		strings.Compare(a.Ref, b.Ref), strings.Compare(a.Job, b.Job), cmp.Compare(a.Registry, b.Registry), strings.Compare(a.Image, b.Image))
}

// group reads a group as it stands at now.
func (db *DB) group(v []byte, names map[int64]string, now time.Time) (pushdoctor.Group, error) {
	var r groupRow
	if err := decode(v, &r); err != nil {
		return pushdoctor.Group{}, fmt.Errorf("group: %w", err)
	}
	g := r.Group
	g.RepositoryID = r.RepositoryID
	g.Repository = cmp.Or(names[g.RepositoryID], g.Repository)
	if end := g.Newest.Add(time.Duration(db.staleSeconds()) * time.Second); g.State == pushdoctor.GroupOpen && now.After(end) {
		g.State, g.Closed = pushdoctor.GroupStale, end
	}
	return g, nil
}

// GroupOf returns the group of the finding with that id as it stands at now, and whether it is of one: those that a retry
// cured are not, nor are those on refs that are not watched.
func (db *DB) GroupOf(id string, now time.Time) (pushdoctor.Group, bool, error) {
	var g pushdoctor.Group
	job, n, ok := parseID(id)
	if !ok {
		return g, false, nil
	}
	found := false
	err := db.view("group of finding "+id, func(tx *bbolt.Tx) error {
		w, err := readWeighed(tx, tx.Bucket(bucketJobs).Get(key(uint64(job))))
		if err != nil || w == nil {
			return err
		}
		for _, k := range w.Events {
			if kind(k[0]) != kindFailure || !bytes.Equal(k[25:], key(uint64(job), uint64(n))) {
				continue
			}
			at, err := number(eventAt(k))
			if err != nil {
				return err
			}
			row, err := thing{folder{tx: tx, scope: digest(w.Scope)}, digest(k[1:17]), digest{}}.before(at)
			if err != nil || row == nil {
				return err
			}
			names, err := repositoryNames(tx)
			if err != nil {
				return err
			}
			v, err := json.Marshal(row)
			if err != nil {
				return err
			}
			g, err = db.group(v, names, now)
			found = err == nil
			return err
		}
		return nil
	})
	return g, found && err == nil, err
}

// CloseGroups closes those open groups of the repository for which gone returns true, all of them where it is nil, as stale at
// that time, and returns how many. The reason is told with them. A later failure opens another one.
func (db *DB) CloseGroups(repo int64, at time.Time, reason string, gone func(pushdoctor.Group) bool) (closed int, err error) {
	what := fmt.Sprintf("groups of repository %d", repo)
	var keys [][]byte
	err = db.view(what, func(tx *bbolt.Tx) error {
		prefix := key(uint64(repo))
		c := tx.Bucket(bucketOpen).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k[8:]))
		}
		return nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err // a repository is told gone again and again
	}
	n := 0
	err = db.update(what, func(tx *bbolt.Tx) error {
		names, err := repositoryNames(tx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			v := tx.Bucket(bucketGroups).Get(k)
			if v == nil {
				continue
			}
			g, err := db.group(v, names, at)
			if err != nil {
				return err
			}
			if g.State != pushdoctor.GroupOpen || gone != nil && !gone(g) {
				continue
			}
			f, err := db.folder(tx, digest(k[:16]), repo)
			if err != nil {
				return err
			}
			t, when := f.thing(g.Registry, g.Image), max(seconds(at), seconds(g.Newest))
			if err := errors.Join(tx.Bucket(bucketGroupEvents).Put(eventKey(kindGone, t.id, when, 0, 0), []byte(reason)), t.mend(when)); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (db *DB) folder(tx *bbolt.Tx, scope digest, repo int64) (folder, error) {
	r, _, err := repository(tx, repo)
	return folder{tx: tx, scope: scope, stale: db.staleSeconds(), live: r.live}, err
}

// weighed is what an execution said of groups.
type weighed struct {
	Scope  []byte   `json:"scope"`
	Ref    string   `json:"ref"`
	Events [][]byte `json:"events,omitempty"` // their keys
}

// readWeighed is what the execution said, nil where it was not asked.
func readWeighed(tx *bbolt.Tx, exec []byte) (*weighed, error) {
	v := tx.Bucket(bucketGroupJobs).Get(exec)
	if v == nil {
		return nil, nil //nolint:nilnil // none is no error
	}
	w := new(weighed)
	if err := decode(v, w); err != nil {
		return nil, err
	}
	if len(w.Scope) != len(digest{}) || slices.ContainsFunc(w.Events, func(k []byte) bool { return len(k) != eventLen }) {
		return nil, fmt.Errorf("%w: events of another length", ErrDamaged)
	}
	return w, nil
}

// An event is one that is about to be put.
type event struct {
	key, value []byte
	failure    *groupRow // the group of it alone; nil for a good push
}

// events are what a reading says of groups. job is that under which its findings stand.
func events(scope digest, job pushdoctor.Job, r Reading) ([]event, error) {
	ended := seconds(job.CompletedAt)
	failed := map[digest]bool{} // channels on which the execution failed, which it cannot have cured
	var out []event
	for i, f := range r.Findings {
		if f.Recovered {
			continue
		}
		image := imageName(f.Image, f.Host)
		failed[scope.channel(f.Registry, image)] = true
		value, err := json.Marshal(failureEvent{f.Cause, f.Status})
		if err != nil {
			return nil, err
		}
		at := moment(ended)
		out = append(out, event{eventKey(kindFailure, scope.group(f.Registry, image), ended, job.JobID, i+1), value, &groupRow{pushdoctor.Group{
			Repository: job.Repository, Workflow: workflowLabel(job.Workflow), Ref: r.Ref, Registry: f.Registry, Job: job.Name, Image: image,
			Cause: f.Cause, Status: f.Status, Failures: 1, Opened: at, Newest: at, Finding: findingID(job.JobID, i+1),
		}, job.RepositoryID}})
	}
	value, err := json.Marshal(goodEvent{job.RunID, job.URL})
	if err != nil {
		return nil, err
	}
	for _, image := range slices.Sorted(maps.Keys(r.Good)) {
		registry := r.Good[image]
		channels := []digest{scope.channel(registry, ""), scope.channel(pushdoctor.RegistryUnknown, "")}
		if name := imageName(image, ""); name != "" {
			channels = append(channels, scope.channel(registry, name))
		}
		for _, c := range channels {
			if !failed[c] {
				failed[c] = true // once is enough
				out = append(out, event{eventKey(kindGood, c, ended, job.JobID, 0), value, nil})
			}
		}
	}
	return out, nil
}

// weigh puts what a reading says of groups in place of what the execution said before.
func (db *DB) weigh(tx *bbolt.Tx, exec []byte, job pushdoctor.Job, r Reading) error {
	old, err := readWeighed(tx, exec)
	if err != nil || old == nil && r.Ref == "" {
		return err
	}
	scope := scopeOf(job.RepositoryID, job.Workflow, r.Ref, job.Name)
	var fresh []event
	if r.Ref != "" {
		if fresh, err = events(scope, job, r); err != nil {
			return err
		}
	}
	if old != nil {
		f, err := db.folder(tx, digest(old.Scope), job.RepositoryID)
		if err != nil {
			return err
		}
		for _, k := range old.Events {
			same := func(e event) bool { return bytes.Equal(e.key, k) }
			if digest(old.Scope) == scope && slices.ContainsFunc(fresh, same) {
				continue
			}
			if err := f.drop(k); err != nil {
				return err
			}
		}
	}
	if r.Ref == "" {
		return tx.Bucket(bucketGroupJobs).Delete(exec)
	}
	f, err := db.folder(tx, scope, job.RepositoryID)
	if err != nil {
		return err
	}
	now := weighed{Scope: scope[:], Ref: r.Ref}
	for _, e := range fresh {
		if err := f.put(e); err != nil {
			return err
		}
		now.Events = append(now.Events, e.key)
	}
	// Who looks for a success of this job need not list the run's jobs to see that this one was read.
	return errors.Join(putWeighed(tx, exec, now), putLooked(tx, scope, job.RunID, job.RunAttempt, seconds(job.CompletedAt)))
}

func putWeighed(tx *bbolt.Tx, exec []byte, w weighed) error {
	v, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketGroupJobs).Put(exec, v)
}

// reweigh puts a finding that was judged again in place of the one that the execution had under its number.
func (db *DB) reweigh(tx *bbolt.Tx, job pushdoctor.Job, n int, finding pushdoctor.Finding) error {
	exec := bytes.Clone(tx.Bucket(bucketJobs).Get(key(uint64(job.JobID))))
	w, err := readWeighed(tx, exec)
	if err != nil || w == nil {
		return err
	}
	of := func(k []byte) bool {
		return kind(k[0]) == kindFailure && bytes.Equal(k[25:], key(uint64(job.JobID), uint64(n)))
	}
	findings := make([]pushdoctor.Finding, n) // the others are not looked at: they have no event
	for i := range findings {
		findings[i].Recovered = true
	}
	findings[n-1] = finding
	fresh, err := events(digest(w.Scope), job, Reading{Ref: w.Ref, Findings: findings})
	if err != nil {
		return err
	}
	f, err := db.folder(tx, digest(w.Scope), job.RepositoryID)
	if err != nil {
		return err
	}
	var keys [][]byte
	for _, k := range w.Events {
		if of(k) && !slices.ContainsFunc(fresh, func(e event) bool { return bytes.Equal(e.key, k) }) {
			if err := f.drop(k); err != nil {
				return err
			}
			continue
		}
		if !of(k) {
			keys = append(keys, k)
		}
	}
	for _, e := range fresh {
		if err := f.put(e); err != nil {
			return err
		}
		keys = append(keys, e.key)
	}
	w.Events = keys
	return putWeighed(tx, exec, *w)
}

// put writes an event. One that is there gets its value, of which only a failure's is told anywhere.
func (f *folder) put(e event) error {
	bucket := f.tx.Bucket(bucketGroupEvents)
	there := bucket.Get(e.key)
	if bytes.Equal(there, e.value) {
		return nil
	}
	if err := bucket.Put(e.key, e.value); err != nil {
		return err
	}
	at, err := number(eventAt(e.key))
	if err != nil {
		return err
	}
	if e.failure != nil {
		t := f.thing(e.failure.Registry, e.failure.Image)
		if there == nil {
			f.all = nil
			return t.fail(e.failure)
		}
		g, err := t.before(at)
		if err != nil || g == nil || g.Finding != e.failure.Finding {
			return err
		}
		g.Cause, g.Status = e.failure.Cause, e.failure.Status
		return t.write(g)
	}
	return f.touched(e.key, func(t thing) error { return t.mend(at) })
}

// drop takes an event away.
func (f *folder) drop(k []byte) error {
	at, err := number(eventAt(k))
	if err != nil {
		return err
	}
	if err := f.tx.Bucket(bucketGroupEvents).Delete(k); err != nil {
		return err
	}
	return f.touched(k, func(t thing) error { return t.refold(at) })
}

// touched calls do with each thing of which the event speaks.
func (f *folder) touched(k []byte, do func(thing) error) error {
	things, err := f.things()
	if err != nil {
		return err
	}
	for _, t := range things {
		if of := digest(k[1:17]); of == t.id && kind(k[0]) == kindFailure || of == t.channel && kind(k[0]) == kindGood {
			if err := do(t); err != nil {
				return err
			}
		}
	}
	return nil
}
