package store

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"
)

// pruneStep is how many rows one transaction removes, so that no Record waits long.
const pruneStep = 1000

// Prune removes the findings, executions, jobs and runs that ended more than retention before now, and returns how many
// findings and executions it removed. Totals stay. What ended so long ago is not recorded again later, since
// nothing would tell that it was counted. With a retention of 0 or less it does nothing.
func (db *DB) Prune(now time.Time, retention time.Duration) (findings, executions int, err error) {
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
	remove := func(bucket []byte) func(*bbolt.Tx, []byte) error {
		return func(tx *bbolt.Tx, k []byte) error { return tx.Bucket(bucket).Delete(k) }
	}

	findings, err = db.pruneBucket(bucketFindings,
		func(_ *bbolt.Tx, k, _ []byte) bool { return before(k[:8]) },
		func(tx *bbolt.Tx, k []byte) error { _, err := removeFinding(tx, k); return err })
	if err != nil {
		return findings, 0, err
	}
	// Findings point to jobs and jobs to executions: whoever looks in between finds nothing that points nowhere.
	if _, err := db.pruneBucket(bucketJobs, func(tx *bbolt.Tx, _, exec []byte) bool {
		e, err := decodeExecution(tx.Bucket(bucketExecutions).Get(exec))
		return err == nil && before(key(e.ended))
	}, remove(bucketJobs)); err != nil {
		return findings, 0, err
	}
	executions, err = db.pruneBucket(bucketExecutions, func(_ *bbolt.Tx, _, v []byte) bool {
		e, err := decodeExecution(v)
		return err == nil && before(key(e.ended))
	}, remove(bucketExecutions))
	if err != nil {
		return findings, executions, err
	}
	_, err = db.pruneBucket(bucketRuns, func(_ *bbolt.Tx, _, ended []byte) bool { return before(ended) }, remove(bucketRuns))
	return findings, executions, err
}

// pruneBucket removes the rows that are old, pruneStep of them in a transaction, and returns how many.
func (db *DB) pruneBucket(bucket []byte, old func(tx *bbolt.Tx, k, v []byte) bool, remove func(tx *bbolt.Tx, k []byte) error) (int, error) {
	var from []byte
	for n := 0; ; {
		var keys [][]byte
		err := db.view("prune", func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucket).Cursor()
			for k, v := c.Seek(from); k != nil && len(keys) < pruneStep; k, v = c.Next() {
				if old(tx, k, v) {
					keys = append(keys, bytes.Clone(k))
				}
			}
			return nil
		})
		if err != nil || len(keys) == 0 {
			return n, err
		}
		err = db.update("prune", func(tx *bbolt.Tx) error {
			for _, k := range keys {
				if err := remove(tx, k); err != nil {
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
