package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// ErrNoFinding is returned by Find when the store does not hold the job of Query.After.
var ErrNoFinding = errors.New("no such finding")

// A Query says which findings Find returns. The zero Query is for all of them.
type Query struct {
	Since      time.Time // the job ended then or later
	Until      time.Time // the job ended before
	Repository string    // owner/name, its present one, in any case
	Cause      pushdoctor.Cause
	Limit      int    // 0: all, which is a lot of memory
	After      string // the id of the last finding of the page before
	Newest     bool   // the newest first; else the oldest

	// Skip is asked about each finding before it is read, and leaves out those of which it returns true; nil: none. To find one is cheap, to read it
	// is not.
	Skip func(id string) bool
}

// A Stored finding is a finding with the job it was made in. Its JSON is the object of `pushdoctor findings`.
type Stored struct {
	ID string `json:"id"` // "<job id>-<n>"
	pushdoctor.Job
	pushdoctor.Finding
	Facts pushdoctor.Facts `json:"-"` // of the job
}

// Find returns the findings that q asks for by the end of their jobs, then by id. Pages go on where the last one ended,
// whatever was recorded in the meantime.
func (db *DB) Find(q Query) ([]Stored, error) {
	var out []Stored
	err := db.view("findings", func(tx *bbolt.Tx) error {
		allNames := sync.OnceValues(func() (map[int64]string, error) { return repositoryNames(tx) })
		low, high, err := bounds(tx, q)
		if err != nil {
			return err
		}
		var scans []*scan
		switch {
		case q.Repository != "":
			names, err := allNames()
			if err != nil {
				return err
			}
			for id, name := range names {
				if strings.EqualFold(name, q.Repository) {
					scans = append(scans, newScan(tx.Bucket(bucketByRepository), key(uint64(id)), low, high, q.Newest))
				}
			}
		case q.Cause != "":
			scans = append(scans, newScan(tx.Bucket(bucketByCause), causePrefix(q.Cause), low, high, q.Newest))
		default:
			scans = append(scans, newScan(tx.Bucket(bucketFindings), nil, low, high, q.Newest))
		}
		findings := tx.Bucket(bucketFindings)
		for q.Limit <= 0 || len(out) < q.Limit {
			s := next(scans, q.Newest)
			if s == nil {
				return nil
			}
			at := s.at
			id, err := idAt(at)
			if err != nil {
				return err
			}
			if (q.Repository == "" || q.Cause == "" || string(s.value) == string(q.Cause)) && (q.Skip == nil || !q.Skip(id)) {
				names, err := allNames()
				if err != nil {
					return err
				}
				f, err := stored(at, findings.Get(at), names)
				if err != nil {
					return err
				}
				if !f.CompletedAt.Before(q.Since) && (q.Until.IsZero() || f.CompletedAt.Before(q.Until)) {
					out = append(out, f)
				}
			}
			s.step()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Finding returns the finding with that id, and whether the store has it.
func (db *DB) Finding(id string) (Stored, bool, error) {
	job, n, ok := parseID(id)
	if !ok {
		return Stored{}, false, nil
	}
	var f Stored
	err := db.view("finding "+id, func(tx *bbolt.Tx) error {
		ended := tx.Bucket(bucketByID).Get(key(uint64(job), uint64(n)))
		if ok = ended != nil; !ok {
			return nil
		}
		at := append(bytes.Clone(ended), key(uint64(job), uint64(n))...)
		var err error
		if f, err = stored(at, tx.Bucket(bucketFindings).Get(at), nil); err != nil {
			return err
		}
		r, known, err := repository(tx, f.RepositoryID)
		if known {
			f.Repository = r.Name
		}
		return err
	})
	return f, ok && err == nil, err
}

func stored(at, value []byte, names map[int64]string) (Stored, error) {
	var r row
	if err := decode(value, &r); err != nil {
		return Stored{}, fmt.Errorf("finding %x: %w", at, err)
	}
	id, err := idAt(at)
	if err != nil {
		return Stored{}, err
	}
	f := Stored{ID: id, Job: r.Job.job(), Finding: r.Finding, Facts: r.Facts}
	f.Facts.TokenLine = r.TokenLine
	if name, ok := names[f.RepositoryID]; ok {
		f.Repository = name
	}
	return f, nil
}

// bounds are the first suffix that q admits and the first above that it does not, nil where there is none.
func bounds(tx *bbolt.Tx, q Query) (low, high []byte, err error) {
	if !q.Since.IsZero() {
		low = key(seconds(q.Since))
	}
	if !q.Until.IsZero() {
		high = key(seconds(q.Until.Add(time.Second - time.Nanosecond)))
	}
	if q.After == "" {
		return low, high, nil
	}
	job, n, ok := parseID(q.After)
	exec := tx.Bucket(bucketJobs).Get(key(uint64(job)))
	if !ok || exec == nil {
		return nil, nil, fmt.Errorf("%w: %.40q", ErrNoFinding, q.After)
	}
	// The job's end is enough to know the place: a later reading may have taken the finding away.
	e, err := decodeExecution(tx.Bucket(bucketExecutions).Get(exec))
	if err != nil {
		return nil, nil, err
	}
	after := suffix(e.ended, job, n)
	if q.Newest && (high == nil || bytes.Compare(after, high) < 0) {
		high = after
	}
	if !q.Newest && bytes.Compare(after, low) >= 0 {
		low = append(after, 0)
	}
	return low, high, nil
}

// scan walks one index between two suffixes.
type scan struct {
	cursor    *bbolt.Cursor
	prefix    []byte
	low, high []byte
	newest    bool
	at, value []byte // where it stands: the suffix, nil at the end
}

func newScan(b *bbolt.Bucket, prefix, low, high []byte, newest bool) *scan {
	s := &scan{cursor: b.Cursor(), prefix: prefix, low: low, high: high, newest: newest}
	if !newest {
		s.stand(s.cursor.Seek(append(bytes.Clone(prefix), low...)))
		return s
	}
	if high == nil {
		high = bytes.Repeat([]byte{math.MaxUint8}, 25)
	}
	if k, _ := s.cursor.Seek(append(bytes.Clone(prefix), high...)); k == nil {
		s.stand(s.cursor.Last())
	} else {
		s.stand(s.cursor.Prev())
	}
	return s
}

func (s *scan) step() {
	if s.newest {
		s.stand(s.cursor.Prev())
	} else {
		s.stand(s.cursor.Next())
	}
}

func (s *scan) stand(k, v []byte) {
	s.at, s.value = nil, nil
	at, ok := bytes.CutPrefix(k, s.prefix)
	if k == nil || !ok || bytes.Compare(at, s.low) < 0 || s.high != nil && bytes.Compare(at, s.high) >= 0 {
		return
	}
	s.at, s.value = at, v
}

// next is the scan that stands at the next finding, nil at the end of all.
func next(scans []*scan, newest bool) *scan {
	var best *scan
	for _, s := range scans {
		if s.at == nil {
			continue
		}
		if best == nil || (bytes.Compare(s.at, best.at) < 0) != newest {
			best = s
		}
	}
	return best
}
