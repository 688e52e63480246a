package store

import (
	"bytes"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// removeStep is how many rows one transaction removes, so that no Record waits long: 10 ms, and 0.1 s at worst, in
// a store of a million executions.
const removeStep = 1000

// Prune removes the findings, executions, jobs and runs that ended more than retention before now, and returns how many
// findings and executions it removed. Totals stay. What ended so long ago is not recorded again later, since
// nothing would tell that it was counted. Groups that closed so long ago go as well; those that are stale at now are
// written as such. With a retention of 0 or less all is kept, but for pages that PutPages would let go of.
func (db *DB) Prune(now time.Time, retention time.Duration) (findings, executions int, err error) {
	if err := db.pruneGroups(now); err != nil {
		return 0, 0, err
	}
	if err := db.update("prune pages", func(tx *bbolt.Tx) error { return trimPages(tx, now) }); err != nil {
		return 0, 0, err
	}
	if retention <= 0 {
		return 0, 0, nil
	}
	horizon := key(seconds(now.Add(-retention)))
	// The horizon goes first: from here on nothing can come back, and each step may look before it writes.
	if err := db.update("prune", func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if old := meta.Get(keyHorizon); old != nil && bytes.Compare(old, horizon) > 0 {
			horizon = bytes.Clone(old)
		}
		return meta.Put(keyHorizon, horizon)
	}); err != nil {
		return 0, 0, err
	}
	before := func(ended []byte) bool { return bytes.Compare(ended, horizon) < 0 }
	done := func(execution []byte) (bool, error) {
		e, err := decodeExecution(execution)
		return err == nil && before(key(e.ended)), err
	}
	const what = "prune"
	findings, err = db.removeRows(what, bucketFindings, horizon, everyRow, func(tx *bbolt.Tx, k []byte) error {
		_, err := removeFinding(tx, k)
		return err
	})
	if err != nil {
		return findings, 0, err
	}
	if err := db.pruneClosed(before); err != nil {
		return findings, 0, err
	}
	// Findings point to jobs and jobs to executions: whoever looks in between finds nothing that points nowhere.
	if _, err := db.removeRows(what, bucketJobs, nil, func(tx *bbolt.Tx, _, exec []byte) (bool, error) {
		return done(tx.Bucket(bucketExecutions).Get(exec))
	}, nil); err != nil {
		return findings, 0, err
	}
	executions, err = db.removeRows(what, bucketExecutions, nil, func(_ *bbolt.Tx, _, v []byte) (bool, error) { return done(v) }, nil)
	if err != nil {
		return findings, executions, err
	}
	_, err = db.removeRows(what, bucketRuns, nil, func(_ *bbolt.Tx, _, ended []byte) (bool, error) { return before(ended), nil }, nil)
	return findings, executions, err
}

func everyRow(*bbolt.Tx, []byte, []byte) (bool, error) { return true, nil }

// removeRows removes the rows of a bucket that match, those whose keys are below end where that is not nil, and returns how
// many there were. removeStep of them go in a transaction, by remove; nil removes the row and nothing else.
func (db *DB) removeRows(what string, bucket, end []byte, match func(tx *bbolt.Tx, k, v []byte) (bool, error), remove func(tx *bbolt.Tx, k []byte) error) (int, error) {
	var from []byte
	for n := 0; ; {
		var keys [][]byte
		err := db.view(what, func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			for k, v := c.Seek(from); k != nil && (end == nil || bytes.Compare(k, end) < 0) && len(keys) < removeStep; k, v = c.Next() {
				if ok, err := match(tx, k, v); err != nil {
					return fmt.Errorf("%s %x: %w", bucket, k, err)
				} else if ok {
					keys = append(keys, bytes.Clone(k))
				}
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return n, err
		}
		err = db.update(what, func(tx *bbolt.Tx) error {
			for _, k := range keys {
				var err error
				if remove != nil {
					err = remove(tx, k)
				} else {
					err = tx.Bucket(bucket).Delete(k)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		n += len(keys)
		from = keys[len(keys)-1]
	}
}
