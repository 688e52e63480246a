package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// candidate is what is kept of a run in which a job may have pushed what is broken.
type candidate struct {
	WorkflowID     int64  `json:"workflow_id"`
	Branch         string `json:"branch"`
	Event          string `json:"event"`
	HeadRepository string `json:"head_repository,omitempty"`
	Conclusion     string `json:"conclusion"`
}

func flowOf(workflow, ref string) digest { return digestOf("%q %q", workflowLabel(workflow), ref) }

// putCandidate keeps a run that was counted, if a group may be closed by it: jobs of a run that failed or was cancelled may have
// succeeded.
func putCandidate(tx *bbolt.Tx, repo int64, run pushdoctor.Run) error {
	if run.Ref == "" || !slices.Contains([]string{"success", "failure", "cancelled", "timed_out"}, run.Conclusion) {
		return nil
	}
	v, err := json.Marshal(candidate{run.WorkflowID, run.Branch, run.Event, run.HeadRepository, run.Conclusion})
	if err != nil {
		return err
	}
	flow := flowOf(run.Workflow, run.Ref)
	k := append(append(key(uint64(repo)), flow[:]...), key(seconds(run.UpdatedAt), uint64(run.ID), uint64(run.Attempt))...)
	return tx.Bucket(bucketCandidates).Put(k, v)
}

func lookedKey(scope digest, run int64, attempt int) []byte {
	return append(scope[:], key(uint64(run), uint64(attempt))...)
}

func putLooked(tx *bbolt.Tx, scope digest, run int64, attempt int, ended uint64) error {
	return tx.Bucket(bucketLooked).Put(lookedKey(scope, run, attempt), key(ended))
}

// scopeOfGroup is the scope that the events of a group are of.
func scopeOfGroup(g pushdoctor.Group) digest {
	return scopeOf(g.RepositoryID, g.Workflow, g.Ref, g.Job)
}

// Candidates returns the attempts of runs of the group's workflow and ref that CountRuns has counted, that ended after the
// group's newest failure, and in which its job was neither read nor Looked for. The first to end come first, at most limit of
// them. A Run has of its times only UpdatedAt.
func (db *DB) Candidates(g pushdoctor.Group, limit int) ([]pushdoctor.Run, error) {
	var out []pushdoctor.Run
	scope, flow := scopeOfGroup(g), flowOf(g.Workflow, g.Ref)
	err := db.view("candidates", func(tx *bbolt.Tx) error {
		prefix := append(key(uint64(g.RepositoryID)), flow[:]...)
		c := tx.Bucket(bucketCandidates).Cursor()
		for k, v := c.Seek(append(bytes.Clone(prefix), key(seconds(g.Newest))...)); bytes.HasPrefix(k, prefix) && len(out) < limit; k, v = c.Next() {
			var numbers [3]uint64
			for i := range numbers {
				n, err := number(k[24+8*i:][:8])
				if err != nil {
					return err
				}
				numbers[i] = n
			}
			run, attempt := int64(numbers[1]), int(numbers[2])
			if tx.Bucket(bucketLooked).Get(lookedKey(scope, run, attempt)) != nil {
				continue
			}
			var r candidate
			if err := decode(v, &r); err != nil {
				return fmt.Errorf("run %d: %w", run, err)
			}
			out = append(out, pushdoctor.Run{
				RepositoryID: g.RepositoryID, Repository: g.Repository, ID: run, Attempt: attempt, WorkflowID: r.WorkflowID, Workflow: g.Workflow,
				Branch: r.Branch, Event: r.Event, HeadRepository: r.HeadRepository, Status: "completed", Conclusion: r.Conclusion,
				UpdatedAt: moment(numbers[0]), Ref: g.Ref,
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Looked notes that the attempt of a run was looked through for successes of the group's job: it is no candidate any more for
// this group, nor for those of the same job.
func (db *DB) Looked(g pushdoctor.Group, run pushdoctor.Run) error {
	return db.update(fmt.Sprintf("run %d", run.ID), func(tx *bbolt.Tx) error {
		return putLooked(tx, scopeOfGroup(g), run.ID, run.Attempt, seconds(run.UpdatedAt))
	})
}

// Weighed reports whether the execution was read in a way that what it pushed was held against groups. One that was read
// on a ref that was not watched then, or by an older pushdoctor, was not.
func (db *DB) Weighed(e pushdoctor.Execution, job int64) (bool, error) {
	var weighed bool
	err := db.view(fmt.Sprintf("job %d", job), func(tx *bbolt.Tx) error {
		exec := tx.Bucket(bucketJobs).Get(key(uint64(job)))
		if exec == nil {
			exec = executionKey(e)
		}
		weighed = tx.Bucket(bucketGroupJobs).Get(exec) != nil
		return nil
	})
	return weighed, err
}

// pruneGroups writes which groups are stale at now, and lets go of the candidates that are too old for any other.
func (db *DB) pruneGroups(now time.Time) error {
	stale := key(seconds(now) - db.staleSeconds())
	before := func(at []byte) bool { return bytes.Compare(at, stale) < 0 }
	const what = "prune groups"
	if _, err := db.removeRows(what, bucketOpen, nil, func(tx *bbolt.Tx, k, _ []byte) (bool, error) {
		var r groupRow
		err := decode(tx.Bucket(bucketGroups).Get(k[8:]), &r)
		return before(key(seconds(r.Newest))), err
	}, func(tx *bbolt.Tx, k []byte) error {
		var r groupRow
		if err := decode(tx.Bucket(bucketGroups).Get(k[8:]), &r); err != nil {
			return err
		}
		if !before(key(seconds(r.Newest))) {
			return nil // a failure came meanwhile
		}
		r.State, r.Closed = pushdoctor.GroupStale, moment(seconds(r.Newest)+db.staleSeconds())
		return thing{folder{tx: tx, scope: digest(k[8:24])}, digest(k[24:40]), digest{}}.write(&r)
	}); err != nil {
		return err
	}
	if _, err := db.removeRows(what, bucketCandidates, nil, func(_ *bbolt.Tx, k, _ []byte) (bool, error) { return before(k[24:32]), nil }, nil); err != nil {
		return err
	}
	_, err := db.removeRows(what, bucketLooked, nil, func(_ *bbolt.Tx, _, ended []byte) (bool, error) { return before(ended), nil }, nil)
	return err
}

// pruneClosed lets go of what closed groups and events are older than the horizon. An open group keeps its beginning.
func (db *DB) pruneClosed(old func(at []byte) bool) error {
	const what = "prune groups"
	if _, err := db.removeRows(what, bucketGroupJobs, nil, func(tx *bbolt.Tx, exec, _ []byte) (bool, error) {
		e, err := decodeExecution(tx.Bucket(bucketExecutions).Get(exec))
		return err == nil && old(key(e.ended)), err
	}, nil); err != nil {
		return err
	}
	closed := func(_ *bbolt.Tx, _, v []byte) (bool, error) {
		var r groupRow
		err := decode(v, &r)
		return r.State != pushdoctor.GroupOpen && old(key(seconds(r.Closed))), err
	}
	// The groups go before what closed them, or whoever looks in between would open them again.
	if _, err := db.removeRows(what, bucketGroups, nil, closed, func(tx *bbolt.Tx, k []byte) error {
		b := tx.Bucket(bucketGroups)
		v := b.Get(k)
		if v == nil {
			return nil
		}
		if still, err := closed(tx, k, v); !still || err != nil {
			return err
		}
		return b.Delete(k)
	}); err != nil {
		return err
	}
	_, err := db.removeRows(what, bucketGroupEvents, nil, func(_ *bbolt.Tx, k, _ []byte) (bool, error) { return old(eventAt(k)), nil }, nil)
	return err
}
