package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// maxFaults is how many faults Check tells.
const maxFaults = 100

// Faults are what Check finds wrong, the first 100 of it.
type Faults []error

// Error returns all of them, one a line.
func (f Faults) Error() string { return errors.Join(f...).Error() }

// Unwrap returns them.
func (f Faults) Unwrap() []error { return f }

func (f *Faults) add(format string, args ...any) {
	if len(*f) < maxFaults {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrDamaged, f)
}

// Check reads the whole file, and returns an error that is ErrDamaged and Faults if anything is wrong with it: rows that cannot
// be read, findings and indexes that disagree, pages that bbolt calls inconsistent. Nothing is recorded while it runs.
func (db *DB) Check() error {
	// bbolt checks in a goroutine of its own, where a bad address ends the program: rows go first, in this one.
	if err := db.view("check", checkRows); err != nil {
		return err
	}
	return db.guard("check", func() (err error) {
		// Beside a writer, only a writable transaction may look at the free pages.
		tx, err := db.bolt.Begin(!db.bolt.IsReadOnly())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tx.Rollback()) }() // after a panic too, or Close waits for it
		f := checkLengths(tx, int(tx.Size())/db.bolt.Info().PageSize)
		if len(f) == 0 {
			for err := range tx.Check() {
				f.add("%w", err)
			}
		}
		return f.err()
	})
}

// checkLengths looks at how many pages each page says that it goes on for. bbolt's own check remembers each of them, of which a
// damaged number may be four thousand million.
func checkLengths(tx *bbolt.Tx, pages int) (f Faults) {
	for id := 2; id < pages; id++ {
		p, err := tx.Page(id)
		switch {
		case err != nil:
			f.add("page %d: %w", id, err)
		case p.Type == "free":
		case p.OverflowCount >= pages-id:
			f.add("page %d goes on for %d pages, beyond the end", id, p.OverflowCount)
			return f
		default:
			id += p.OverflowCount
		}
	}
	return f
}

// A Summary says in numbers what a store holds.
type Summary struct {
	Schema       int
	Size, Free   int64 // bytes of the file, and of the free pages in it
	Repositories int
	Executions   int
	Findings     int
	Years        map[int]int // findings, by the year in which their jobs ended, UTC
	Pending      int         // logs that wait to be asked for again
	Queued       int         // what the webhook told of and waits to be read
	Groups       int         // what is or was broken
	Totals       int
	Pages        int // of lists, kept to be asked for again
	// The first and the last end of a job among the executions; zero where there is none.
	Oldest, Newest time.Time
}

// Summary counts what the store holds, for which it reads the whole file.
func (db *DB) Summary() (Summary, error) {
	s := Summary{Years: map[int]int{}}
	err := db.view("summary", func(tx *bbolt.Tx) (err error) {
		if s.Schema, err = schema(tx); err != nil {
			return err
		}
		s.Size = tx.Size()
		s.Free = int64(db.bolt.Stats().FreePageN * db.bolt.Info().PageSize)
		s.Repositories = tx.Bucket(bucketRepositories).Stats().KeyN
		s.Pending = tx.Bucket(bucketPending).Stats().KeyN
		s.Queued = tx.Bucket(bucketQueue).Stats().KeyN
		s.Groups = tx.Bucket(bucketGroups).Stats().KeyN
		s.Totals = tx.Bucket(bucketTotals).Stats().KeyN
		s.Pages = tx.Bucket(bucketPages).Stats().KeyN
		if err := tx.Bucket(bucketFindings).ForEach(func(k, _ []byte) error {
			ended, err := number(k[:min(8, len(k))])
			s.Findings++
			s.Years[moment(ended).Year()]++
			return err
		}); err != nil {
			return err
		}
		return tx.Bucket(bucketExecutions).ForEach(func(_, v []byte) error {
			e, err := decodeExecution(v)
			if err != nil {
				return err
			}
			ended := moment(e.ended)
			if s.Executions == 0 || ended.Before(s.Oldest) {
				s.Oldest = ended
			}
			if ended.After(s.Newest) {
				s.Newest = ended
			}
			s.Executions++
			return nil
		})
	})
	if err != nil {
		return Summary{}, err
	}
	return s, nil
}

// moment is the time of which seconds were taken.
func moment(seconds uint64) time.Time { return time.Unix(int64(seconds^1<<63), 0).UTC() }

func checkRows(tx *bbolt.Tx) error {
	if err := current(tx); err != nil {
		return err
	}
	var f Faults
	rows := map[string]int{}
	if err := tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		check := rowChecks[string(name)]
		return b.ForEach(func(k, v []byte) error {
			rows[string(name)]++
			if check == nil {
				return nil
			}
			if err := check(tx, k, v); err != nil {
				f.add("%s %x: %w", name, k, err)
			}
			return nil
		})
	}); err != nil {
		return err
	}
	// Each row was seen to be in each of its indexes; where an index has as many, it has no others.
	for _, index := range [][]byte{bucketByRepository, bucketByCause, bucketByID} {
		if n, of := rows[string(index)], rows[string(bucketFindings)]; n != of {
			f.add("%s has %d rows for %d findings", index, n, of)
		}
	}
	if n, of := rows[string(bucketPendingByJob)], rows[string(bucketPending)]; n != of {
		f.add("%s has %d rows for %d", bucketPendingByJob, n, of)
	}
	if n, of := rows[string(bucketQueueDue)], rows[string(bucketQueue)]; n != of {
		f.add("%s has %d rows for %d", bucketQueueDue, n, of)
	}
	if n, err := number(tx.Bucket(bucketMeta).Get(keyQueued)); err != nil || n != uint64(rows[string(bucketQueue)]) {
		f.add("%s is said to have %d rows and has %d", bucketQueue, n, rows[string(bucketQueue)])
	}
	if names, err := repositoryNames(tx); err != nil {
		f.add("%w", err)
	} else if err := tx.Bucket(bucketTotals).ForEach(func(k, v []byte) error {
		if _, err := new(seriesCache).decode(k, v, names); err != nil {
			f.add("%w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	return f.err()
}

// rowChecks tell what is wrong with a row of a bucket.
var rowChecks = map[string]func(tx *bbolt.Tx, k, v []byte) error{
	string(bucketRepositories): func(_ *bbolt.Tx, k, v []byte) error {
		var r Repository
		if err := decode(v, &r); err != nil {
			return err
		}
		if !bytes.Equal(key(uint64(r.ID)), k) {
			return fmt.Errorf("holds repository %d", r.ID)
		}
		return nil
	},
	string(bucketRuns): func(_ *bbolt.Tx, _, v []byte) error {
		_, err := decodeRun(v)
		return err
	},
	string(bucketJobs): func(tx *bbolt.Tx, _, v []byte) error {
		if tx.Bucket(bucketExecutions).Get(v) == nil {
			return errors.New("its execution is not there")
		}
		return nil
	},
	string(bucketExecutions): func(_ *bbolt.Tx, _, v []byte) error {
		e, err := decodeExecution(v)
		if err == nil && !e.result.Valid() {
			err = fmt.Errorf("unknown result %.40q", e.result)
		}
		return err
	},
	string(bucketFindings): func(tx *bbolt.Tx, at, v []byte) error {
		var r row
		if err := decode(v, &r); err != nil {
			return err
		}
		if len(at) != 24 || !bytes.Equal(at[:16], key(seconds(r.Job.CompletedAt), uint64(r.Job.JobID))) {
			return fmt.Errorf("holds a finding of job %d", r.Job.JobID)
		}
		if cause := tx.Bucket(bucketByRepository).Get(append(key(uint64(r.Job.RepositoryID)), at...)); string(cause) != string(r.Finding.Cause) {
			return fmt.Errorf("%s has %.40q for the cause %q", bucketByRepository, cause, r.Finding.Cause)
		}
		if tx.Bucket(bucketByCause).Get(append(causePrefix(r.Finding.Cause), at...)) == nil {
			return fmt.Errorf("not in %s", bucketByCause)
		}
		if ended := tx.Bucket(bucketByID).Get(at[8:]); !bytes.Equal(ended, at[:8]) {
			return fmt.Errorf("%s has %x", bucketByID, ended)
		}
		e, err := decodeExecution(tx.Bucket(bucketExecutions).Get(tx.Bucket(bucketJobs).Get(at[8:16])))
		if err == nil && (e.job != r.Job.JobID || e.ended != binary.BigEndian.Uint64(at)) {
			err = fmt.Errorf("its execution has its findings under job %d", e.job)
		}
		return err
	},
	string(bucketQueue): checkWork,
	string(bucketPending): func(tx *bbolt.Tx, k, v []byte) error {
		var p pendingRow
		if err := decode(v, &p); err != nil {
			return err
		}
		if len(k) < 16 || !bytes.Equal(tx.Bucket(bucketPendingByJob).Get(k[8:]), k[:8]) {
			return fmt.Errorf("not in %s", bucketPendingByJob)
		}
		return nil
	},
	string(bucketGroups): func(tx *bbolt.Tx, k, v []byte) error {
		var r groupRow
		if err := decode(v, &r); err != nil {
			return err
		}
		t := folder{scope: scopeOf(r.RepositoryID, r.Workflow, r.Ref, r.Job)}.thing(r.Registry, r.Image)
		if !r.State.Valid() || !bytes.Equal(k, append(t.prefix(), key(seconds(r.Opened))...)) {
			return fmt.Errorf("holds a group of repository %d that is %.40q", r.RepositoryID, r.State)
		}
		open := tx.Bucket(bucketOpen).Get(append(key(uint64(r.RepositoryID)), k...)) != nil
		if open != (r.State == pushdoctor.GroupOpen) {
			return fmt.Errorf("is %s; in %s: %t", r.State, bucketOpen, open)
		}
		return nil
	},
	string(bucketOpen): func(tx *bbolt.Tx, k, _ []byte) error {
		if len(k) != 48 || tx.Bucket(bucketGroups).Get(k[8:]) == nil {
			return errors.New("its group is not there")
		}
		return nil
	},
	string(bucketGroupEvents): func(_ *bbolt.Tx, k, v []byte) error {
		if len(k) != eventLen {
			return fmt.Errorf("an event of %d bytes", len(k))
		}
		switch kind(k[0]) {
		case kindFailure:
			return decode(v, new(failureEvent))
		case kindGood:
			return decode(v, new(goodEvent))
		case kindGone, kindObserved:
			return nil
		}
		return fmt.Errorf("an event of kind %q", k[0])
	},
	string(bucketGroupJobs): func(tx *bbolt.Tx, exec, _ []byte) error {
		w, err := readWeighed(tx, exec)
		if err != nil {
			return err
		}
		for _, k := range w.Events {
			if tx.Bucket(bucketGroupEvents).Get(k) == nil {
				return fmt.Errorf("its event %x is not there", k)
			}
		}
		return nil
	},
	string(bucketCandidates): func(_ *bbolt.Tx, k, v []byte) error {
		if len(k) != 48 {
			return fmt.Errorf("a run of %d bytes", len(k))
		}
		return decode(v, new(candidate))
	},
	string(bucketPages): func(_ *bbolt.Tx, _, v []byte) error {
		_, err := pagePut(v)
		return err
	},
	string(bucketLooked): func(_ *bbolt.Tx, _, v []byte) error {
		_, err := number(v)
		return err
	},
}
