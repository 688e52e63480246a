package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"
)

// A Holding says how many rows of one kind the store holds of a repository, or held.
type Holding struct {
	What string // "findings"
	Rows int
}

// Held returns what the store holds of a repository, which is named by its present name in any case, or by its id. Where it
// is nothing, there is no Holding. Two repositories that had one name, one after the other, are held together by that
// name, and apart by their ids.
func (db *DB) Held(repository string) ([]Holding, error) {
	var out []Holding
	err := db.view("holdings of "+repository, func(tx *bbolt.Tx) error {
		s, err := subjectOf(tx, repository)
		if err != nil {
			return err
		}
		for _, h := range holdings {
			n := 0
			if err := tx.Bucket(h.bucket).ForEach(func(k, v []byte) error {
				ok, err := h.of(s, tx, k, v)
				if ok {
					n++
				}
				return err
			}); err != nil {
				return err
			}
			if n > 0 {
				out = append(out, Holding{h.what, n})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Forget removes all that Held counts, and all pages, and returns what it has removed but for these: also where an error, such as ErrFull, ends it early.
// It goes on where an earlier one was broken off, and in between the store has no fault. What it removed can be read out of
// the file's free pages until Compact, and the repository's share of MetricLogBytes stays. A file with faults is left as it
// is, since there may be more of the repository in it than can be found.
func (db *DB) Forget(repository string) ([]Holding, error) {
	if err := db.Check(); err != nil {
		return nil, err
	}
	what := "forget " + repository
	var s subject
	if err := db.view(what, func(tx *bbolt.Tx) (err error) {
		s, err = subjectOf(tx, repository)
		return err
	}); err != nil {
		return nil, err
	}
	if err := db.guard(what, func() error { return removeCopy(db.path) }); err != nil {
		return nil, err
	}
	// The page of a list may tell of any repository, and its key is the caller's: all are asked for again.
	if _, err := db.removeRows(what, bucketPages, nil, everyRow, nil); err != nil {
		return nil, err
	}
	var out []Holding
	for _, h := range holdings {
		n, err := db.removeRows(what, h.bucket, nil, func(tx *bbolt.Tx, k, v []byte) (bool, error) { return h.of(s, tx, k, v) }, h.remove)
		if n > 0 {
			out = append(out, Holding{h.what, n})
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// A subject is what Held and Forget speak of.
type subject struct {
	ids  map[int64]bool
	name string // "": another repository has it too
}

func subjectOf(tx *bbolt.Tx, repository string) (subject, error) {
	s := subject{ids: map[int64]bool{}, name: repository}
	names, err := repositoryNames(tx)
	if err != nil {
		return s, err
	}
	if id, err := strconv.ParseInt(repository, 10, 64); err == nil {
		s.name = ""
		s.ids[id], s.name = true, names[id] // what is queued may be of one that was never reached
		for other, name := range names {
			if other != id && strings.EqualFold(name, s.name) {
				s.name = ""
			}
		}
		return s, nil
	}
	for id, name := range names {
		if strings.EqualFold(name, repository) {
			s.ids[id] = true
		}
	}
	return s, nil
}

// holdings say which rows are a repository's, in an order in which they can be removed: nothing that is left points to
// something that is gone, and the name, by which a Forget that was broken off is begun again, goes last.
var holdings = []struct {
	what   string
	bucket []byte
	of     func(s subject, tx *bbolt.Tx, k, v []byte) (bool, error)
	remove func(tx *bbolt.Tx, k []byte) error // nil: the row and nothing else
}{
	{"findings", bucketByRepository, leads, func(tx *bbolt.Tx, k []byte) error {
		_, err := removeFinding(tx, k[8:])
		return err
	}},
	{"pushes held against groups", bucketGroupJobs, func(s subject, tx *bbolt.Tx, exec, _ []byte) (bool, error) {
		return executed(s, tx.Bucket(bucketExecutions).Get(exec))
	}, func(tx *bbolt.Tx, exec []byte) error {
		w, err := readWeighed(tx, exec)
		if err != nil {
			return err
		}
		for _, event := range w.Events {
			if err := tx.Bucket(bucketGroupEvents).Delete(event); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketGroupJobs).Delete(exec)
	}},
	{"jobs", bucketJobs, func(s subject, tx *bbolt.Tx, _, exec []byte) (bool, error) {
		return executed(s, tx.Bucket(bucketExecutions).Get(exec))
	}, nil},
	{"executions", bucketExecutions, func(s subject, _ *bbolt.Tx, _, v []byte) (bool, error) { return executed(s, v) }, nil},
	{"looked-at runs", bucketLooked, func(s subject, tx *bbolt.Tx, k, _ []byte) (bool, error) {
		c := tx.Bucket(bucketRuns).Cursor()
		for id := range s.ids {
			prefix := append(key(uint64(id)), k[16:24]...)
			if at, _ := c.Seek(prefix); bytes.HasPrefix(at, prefix) {
				return true, nil
			}
		}
		at, v := tx.Bucket(bucketGroups).Cursor().Seek(k[:16]) // of a run that was not counted, whose scope is that of its groups
		if !bytes.HasPrefix(at, k[:16]) {
			return false, nil
		}
		return grouped(s, tx, at, v)
	}, nil},
	{"runs", bucketRuns, leads, nil},
	{"pending logs", bucketPending, func(s subject, _ *bbolt.Tx, _, v []byte) (bool, error) {
		var p pendingRow
		err := decode(v, &p)
		return s.ids[p.Job.RepositoryID], err
	}, func(tx *bbolt.Tx, k []byte) error {
		return errors.Join(tx.Bucket(bucketPending).Delete(k), tx.Bucket(bucketPendingByJob).Delete(k[8:]))
	}},
	{"groups", bucketGroups, grouped, func(tx *bbolt.Tx, k []byte) error {
		var r groupRow
		if err := decode(tx.Bucket(bucketGroups).Get(k), &r); err != nil {
			return err
		}
		return errors.Join(tx.Bucket(bucketOpen).Delete(append(key(uint64(r.RepositoryID)), k...)), tx.Bucket(bucketGroups).Delete(k), removeEvents(tx, k[16:32]))
	}},
	{"runs to look at", bucketCandidates, leads, nil},
	{"queued work", bucketQueue, leads, func(tx *bbolt.Tx, k []byte) error {
		var w Work
		if err := decode(tx.Bucket(bucketQueue).Get(k), &w); err != nil {
			return err
		}
		return doneWork(tx, w)
	}},
	{"totals", bucketTotals, counted, nil},
	{"names and cursors", bucketRepositories, leads, nil},
}

func grouped(s subject, _ *bbolt.Tx, _, v []byte) (bool, error) {
	var r groupRow
	err := decode(v, &r)
	return s.ids[r.RepositoryID], err
}

// removeEvents removes the events of one thing that no execution tells.
func removeEvents(tx *bbolt.Tx, thing []byte) error {
	events := tx.Bucket(bucketGroupEvents)
	var keys [][]byte
	for _, k := range []kind{kindFailure, kindGone, kindObserved} {
		prefix := append([]byte{byte(k)}, thing...)
		c := events.Cursor()
		for at, _ := c.Seek(prefix); bytes.HasPrefix(at, prefix); at, _ = c.Next() {
			keys = append(keys, bytes.Clone(at))
		}
	}
	for _, k := range keys {
		if err := events.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// leads reports whether a key begins with the id.
func leads(s subject, _ *bbolt.Tx, k, _ []byte) (bool, error) {
	if len(k) < 8 {
		return false, fmt.Errorf("%w: a key of %d bytes", ErrDamaged, len(k))
	}
	return s.ids[int64(binary.BigEndian.Uint64(k))], nil
}

func executed(s subject, v []byte) (bool, error) {
	e, err := decodeExecution(v)
	return s.ids[e.repository], err
}

func counted(s subject, _ *bbolt.Tx, k, _ []byte) (bool, error) {
	metric, rest, ok := bytes.Cut(k, []byte{0})
	if !ok || len(rest) < 9 {
		return false, fmt.Errorf("%w: a total under %.80q", ErrDamaged, k)
	}
	if repo := int64(binary.BigEndian.Uint64(rest[1:])); repo != 0 || string(metric) != MetricCollectErrors {
		return s.ids[repo], nil
	}
	// Errors are counted by name: GitHub may never have told an id.
	var labels []string
	if err := decode(rest[9:], &labels); err != nil {
		return false, err
	}
	return len(labels) > 0 && s.name != "" && strings.EqualFold(labels[0], s.name), nil
}
