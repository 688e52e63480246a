package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// A PendingKind says what a job waits for.
type PendingKind string

// The kinds of pending work.
const (
	PendingMissing PendingKind = "missing" // the log was not there yet
	PendingGone    PendingKind = "gone"    // the log was said to be gone, which is asked once more
)

// Pending is work on a job that must survive a restart. A job has one at most.
type Pending struct {
	Kind  PendingKind
	Job   pushdoctor.Job
	Due   time.Time // to the second
	Tries int       // that were made
}

type pendingRow struct {
	Job   jobRow    `json:"job"`
	Due   time.Time `json:"due"`
	Tries int       `json:"tries"`
}

// PutPending writes p in place of what was pending of the job, of whatever kind.
func (db *DB) PutPending(p Pending) error {
	return db.update(fmt.Sprintf("pending job %d", p.Job.JobID), func(tx *bbolt.Tx) error {
		value, err := json.Marshal(pendingRow{newJobRow(p.Job), p.Due, p.Tries})
		if err != nil {
			return err
		}
		if err := donePending(tx, p.Job.JobID); err != nil {
			return err
		}
		byJob, pending := tx.Bucket(bucketPendingByJob), tx.Bucket(bucketPending)
		job := append(key(uint64(p.Job.JobID)), p.Kind...)
		due := key(seconds(p.Due))
		return errors.Join(byJob.Put(job, due), pending.Put(append(bytes.Clone(due), job...), value))
	})
}

// DuePending returns the work that is due at now, the longest due first, and at most limit of it. A limit of 0 is none.
func (db *DB) DuePending(now time.Time, limit int) ([]Pending, error) {
	var out []Pending
	err := db.view("pending jobs", func(tx *bbolt.Tx) error {
		last := key(seconds(now))
		c := tx.Bucket(bucketPending).Cursor()
		for k, v := c.First(); len(k) > 16 && bytes.Compare(k[:8], last) <= 0; k, v = c.Next() {
			if limit > 0 && len(out) == limit {
				return nil
			}
			var r pendingRow
			if err := decode(v, &r); err != nil {
				return err
			}
			out = append(out, Pending{PendingKind(k[16:]), r.Job.job(), r.Due, r.Tries})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// IsPending reports whether there is pending work on a job.
func (db *DB) IsPending(job int64) (bool, error) {
	var pending bool
	err := db.view(fmt.Sprintf("pending job %d", job), func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket(bucketPendingByJob).Cursor().Seek(key(uint64(job)))
		pending = bytes.HasPrefix(k, key(uint64(job)))
		return nil
	})
	return pending, err
}

// DonePending removes all pending work on a job. Record does so too.
func (db *DB) DonePending(job int64) error {
	return db.update(fmt.Sprintf("pending job %d", job), func(tx *bbolt.Tx) error { return donePending(tx, job) })
}

func donePending(tx *bbolt.Tx, job int64) error {
	prefix := key(uint64(job))
	byJob := tx.Bucket(bucketPendingByJob)
	var keys, dues [][]byte
	c := byJob.Cursor()
	for k, due := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, due = c.Next() {
		keys, dues = append(keys, bytes.Clone(k)), append(dues, bytes.Clone(due))
	}
	for i, k := range keys {
		if err := errors.Join(byJob.Delete(k), tx.Bucket(bucketPending).Delete(append(dues[i], k...))); err != nil {
			return err
		}
	}
	return nil
}
