package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// An Event is something that a counter of totals counts, at the time when it happened.
type Event struct {
	Metric string
	Labels []string // values in the metric's label order
	Ended  time.Time
	Count  int
}

// History calls each with what the store holds of history, which is what ended before its repository's LiveSince: findings, pushes,
// executions and attempts of runs, in no order that means anything. A repository is called by its present name. All is of one
// moment. Where nothing was read again, reclassified or pruned since it was counted, the events of a series come to its Total that
// is not Live. Log bytes and errors of collecting have no such time and are no events; runs and pushes that went well
// of rows that were written before schema 2 had these words are not known and left out. An error of each ends it.
//
// It reads the whole store in one transaction, a second for each 100,000 rows or so: each must not wait for others, nor write.
func (db *DB) History(each func(Event) error) error {
	return db.view("history", func(tx *bbolt.Tx) error {
		h := historian{repositories: map[uint64]Repository{}, each: each}
		if err := tx.Bucket(bucketRepositories).ForEach(func(_, v []byte) error {
			var r Repository
			err := decode(v, &r)
			h.repositories[uint64(r.ID)] = r
			return err
		}); err != nil {
			return err
		}
		for _, part := range []struct {
			bucket []byte
			tell   func(k, v []byte) error
		}{{bucketFindings, h.finding}, {bucketExecutions, h.execution}, {bucketRuns, h.run}} {
			if err := tx.Bucket(part.bucket).ForEach(func(k, v []byte) error {
				if err := part.tell(k, v); err != nil {
					return fmt.Errorf("%s %x: %w", part.bucket, k, err)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// A historian tells the events of rows.
type historian struct {
	repositories map[uint64]Repository
	each         func(Event) error
}

// tell tells one event of a repository, if it belongs to history.
func (h historian) tell(metric string, repo, ended uint64, n int, labels ...string) error {
	r, ok := h.repositories[repo]
	if !ok {
		return fmt.Errorf("%w: repository %d is not there", ErrDamaged, repo)
	}
	at := moment(ended)
	if r.live(at) {
		return nil
	}
	cutLabels(labels)
	return h.each(Event{Metric: metric, Labels: slices.Insert(labels, 0, r.Name), Ended: at, Count: n})
}

func (h historian) finding(k, v []byte) error {
	var r struct {
		Job struct {
			RepositoryID uint64 `json:"repository_id"`
			Workflow     string `json:"workflow"`
		} `json:"job"`
		Finding struct {
			Registry  string `json:"registry"`
			Status    int    `json:"status"`
			Cause     string `json:"cause"`
			Recovered bool   `json:"recovered"`
		} `json:"finding"`
	}
	if err := decode(v, &r); err != nil {
		return err
	}
	ended, err := number(k[:min(8, len(k))])
	if err != nil {
		return err
	}
	f, workflow := r.Finding, workflowLabel(r.Job.Workflow)
	metric, result := failureMetric(f.Recovered)
	if err := h.tell(metric, r.Job.RepositoryID, ended, 1, workflow, f.Registry, statusLabel(f.Status), f.Cause); err != nil {
		return err
	}
	return h.tell(MetricPushes, r.Job.RepositoryID, ended, 1, workflow, f.Registry, result)
}

func (h historian) execution(_, v []byte) error {
	e, err := decodeExecution(v)
	if err != nil {
		return err
	}
	good, err := decodePushes(e.good)
	if err != nil {
		return err
	}
	for registry, n := range good {
		if err := h.tell(MetricPushes, uint64(e.repository), e.ended, n, e.workflow, string(registry), resultGood); err != nil {
			return err
		}
	}
	return h.tell(MetricJobsRead, uint64(e.repository), e.ended, 1, string(e.result))
}

func (h historian) run(k, v []byte) error {
	r, err := decodeRun(v)
	if err != nil || r.conclusion == "" {
		return err
	}
	repo, err := number(k[:min(8, len(k))])
	if err != nil {
		return err
	}
	return h.tell(MetricRuns, repo, r.ended, 1, r.workflow, r.conclusion)
}

// encodePushes is what decodePushes reads.
func encodePushes(good map[pushdoctor.Registry]int) string {
	var words []string
	for _, registry := range pushdoctor.Registries {
		if n := good[registry]; n > 0 {
			words = append(words, string(registry)+"="+strconv.Itoa(n))
		}
	}
	return strings.Join(words, " ")
}

func decodePushes(s string) (map[pushdoctor.Registry]int, error) {
	if s == "" {
		return nil, nil
	}
	good := map[pushdoctor.Registry]int{}
	for word := range strings.SplitSeq(s, " ") {
		registry, digits, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(digits)
		if err != nil {
			return nil, fmt.Errorf("%w: pushes %.80q", ErrDamaged, s)
		}
		good[pushdoctor.Registry(registry)] = n
	}
	return good, nil
}
