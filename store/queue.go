package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// ErrQueueFull is returned by Enqueue when as much work waits as the store keeps.
var ErrQueueFull = errors.New("the queue is full")

// maxQueue is how much work may wait: far more than an hour of deliveries to the largest organisation.
const maxQueue = 100_000

// keyQueued holds how many rows the queue has: to count them would be to read them all.
var keyQueued = []byte("queued")

// addQueue is a migration: the queue is there and empty.
func addQueue(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyQueued, key(0)) }

// Work is what a webhook has told of and nobody has looked at: an attempt of a run that has ended, or a job. It is
// known by its repository, run, attempt and job.
type Work struct {
	Repository   string    `json:"repository"` // owner/name, when it was told
	RepositoryID int64     `json:"repository_id"`
	RunID        int64     `json:"run_id"`
	Attempt      int       `json:"attempt,omitempty"` // 0: GitHub did not tell it
	JobID        int64     `json:"job_id,omitempty"`  // 0: the work is the run
	Queued       time.Time `json:"queued"`
	Due          time.Time `json:"due"`             // to the second; Enqueue sets it
	Tries        int       `json:"tries,omitempty"` // that were made; RetryWork raises it
}

func (w Work) what() string {
	if w.JobID != 0 {
		return fmt.Sprintf("work on job %d", w.JobID)
	}
	return fmt.Sprintf("work on attempt %d of run %d", w.Attempt, w.RunID)
}

func (w Work) key() []byte {
	return key(uint64(w.RepositoryID), uint64(w.RunID), uint64(w.Attempt), uint64(w.JobID))
}

// dueKey has the repository first: one that floods the queue is passed over in one step.
func (w Work) dueKey() []byte {
	k := w.key()
	return slices.Concat(k[:8], key(seconds(w.Due)), k[8:])
}

// Enqueue keeps w until DoneWork, due at w.Queued, and reports whether that was needed: work that is in the queue,
// a job that was read and an attempt that was counted are not queued again. It is ErrQueueFull
// where 100,000 wait.
func (db *DB) Enqueue(w Work) (added bool, err error) {
	if w.RepositoryID <= 0 || w.RunID <= 0 || w.Attempt < 0 || w.JobID < 0 {
		return false, fmt.Errorf("store %s: %s: it has no repository or run", db.path, w.what())
	}
	w.Due, w.Tries = w.Queued, 0
	// Deliveries are repeated, and most of them tell what is known: there is no need to write to the disk for these.
	var fresh bool
	err = db.view(w.what(), func(tx *bbolt.Tx) error { fresh = w.fresh(tx); return nil })
	if err != nil || !fresh {
		return false, err
	}
	err = db.update(w.what(), func(tx *bbolt.Tx) error {
		if added = w.fresh(tx); !added {
			return nil
		}
		n, err := number(tx.Bucket(bucketMeta).Get(keyQueued))
		if err != nil {
			return err
		}
		if n >= maxQueue {
			return ErrQueueFull
		}
		return errors.Join(putWork(tx, w), tx.Bucket(bucketMeta).Put(keyQueued, key(n+1)))
	})
	return added && err == nil, err
}

// fresh reports whether w is neither in the queue nor done.
func (w Work) fresh(tx *bbolt.Tx) bool {
	if tx.Bucket(bucketQueue).Get(w.key()) != nil {
		return false
	}
	if w.JobID != 0 {
		return tx.Bucket(bucketJobs).Get(key(uint64(w.JobID))) == nil
	}
	return tx.Bucket(bucketRuns).Get(runKey(w.RepositoryID, pushdoctor.Run{ID: w.RunID, Attempt: w.Attempt})) == nil
}

func putWork(tx *bbolt.Tx, w Work) error {
	value, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return errors.Join(tx.Bucket(bucketQueue).Put(w.key(), value), tx.Bucket(bucketQueueDue).Put(w.dueKey(), nil))
}

// NextWork returns the work that is due at now, the longest due first, and at most so much of each repository.
func (db *DB) NextWork(now time.Time, each int) ([]Work, error) {
	var out []Work
	err := db.view("queue", func(tx *bbolt.Tx) error {
		queue, last := tx.Bucket(bucketQueue), key(seconds(now))
		c := tx.Bucket(bucketQueueDue).Cursor()
		for k, _ := c.First(); k != nil; {
			repo, err := number(k[:8])
			if err != nil {
				return err
			}
			prefix := key(repo)
			for n := 0; n < each && bytes.HasPrefix(k, prefix) && bytes.Compare(k[8:16], last) <= 0; n++ {
				var w Work
				if err := decode(queue.Get(slices.Concat(k[:8], k[16:])), &w); err != nil {
					return err
				}
				out = append(out, w)
				k, _ = c.Next()
			}
			k, _ = c.Seek(key(repo + 1))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Work) int { return a.Due.Compare(b.Due) })
	return out, nil
}

// DoneWork removes w from the queue. It does nothing where w is not there.
func (db *DB) DoneWork(w Work) error {
	return db.update(w.what(), func(tx *bbolt.Tx) error { return doneWork(tx, w) })
}

func doneWork(tx *bbolt.Tx, w Work) error {
	_, ok, err := removeWork(tx, w)
	if err != nil || !ok {
		return err
	}
	n, err := number(tx.Bucket(bucketMeta).Get(keyQueued))
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyQueued, key(n-1))
}

// RetryWork puts w off until due, and notes that it was tried. It does nothing where w is not there.
func (db *DB) RetryWork(w Work, due time.Time) error {
	return db.update(w.what(), func(tx *bbolt.Tx) error {
		kept, ok, err := removeWork(tx, w)
		if err != nil || !ok {
			return err
		}
		kept.Due, kept.Tries = due, kept.Tries+1
		return putWork(tx, kept)
	})
}

// removeWork removes the row of w and returns it; ok is false where there is none.
func removeWork(tx *bbolt.Tx, w Work) (kept Work, ok bool, err error) {
	v := tx.Bucket(bucketQueue).Get(w.key())
	if v == nil {
		return Work{}, false, nil
	}
	if err := decode(v, &kept); err != nil {
		return Work{}, false, err
	}
	return kept, true, errors.Join(tx.Bucket(bucketQueue).Delete(kept.key()), tx.Bucket(bucketQueueDue).Delete(kept.dueKey()))
}

// QueueLength returns how much work waits, due or not.
func (db *DB) QueueLength() (int, error) {
	var n uint64
	err := db.view("queue", func(tx *bbolt.Tx) (err error) {
		n, err = number(tx.Bucket(bucketMeta).Get(keyQueued))
		return err
	})
	return int(n), err
}

// checkWork tells what is wrong with a row of the queue.
func checkWork(tx *bbolt.Tx, k, v []byte) error {
	var w Work
	if err := decode(v, &w); err != nil {
		return err
	}
	if !bytes.Equal(w.key(), k) {
		return fmt.Errorf("holds %s", w.what())
	}
	if tx.Bucket(bucketQueueDue).Get(w.dueKey()) == nil {
		return fmt.Errorf("not in %s", bucketQueueDue)
	}
	return nil
}
