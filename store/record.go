package store

import (
	"bytes"
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

// A Result says how the reading of a job's log ended. Its values are label values of MetricJobsRead.
type Result string

// The results.
const (
	ResultClean      Result = "clean"      // read whole, no finding
	ResultFindings   Result = "findings"   // read whole
	ResultVerify     Result = "verify"     // a success, read to see whether it pushed what had failed
	ResultTruncated  Result = "truncated"  // not read whole
	ResultExpired    Result = "expired"    // the log was gone
	ResultUnreadable Result = "unreadable" // the log could not be had
)

// Results are all results.
var Results = []Result{ResultClean, ResultFindings, ResultVerify, ResultTruncated, ResultExpired, ResultUnreadable}

// Valid reports whether r is one of Results.
func (r Result) Valid() bool { return slices.Contains(Results, r) }

// lost reports whether nothing of the log was read.
func (r Result) lost() bool { return r == ResultExpired || r == ResultUnreadable }

// What is kept of the log with one finding.
const (
	maxLines = 40      // of evidence
	maxText  = 8 << 10 // bytes: the message, then the evidence, then the facts
)

// A Reading is what one transaction writes of one execution of a job.
type Reading struct {
	Job      pushdoctor.Job // with RepositoryID, Workflow, Conclusion and times
	Result   Result
	Facts    pushdoctor.Facts
	Findings []pushdoctor.Finding // by line
	// Pushed counts the images that the job pushed well, those among them that failed at first.
	Pushed map[pushdoctor.Registry]int
	// Ref is what groups show of the job's branch or tag. It is "" where the job opens and closes none.
	Ref string
	// Good are the images that the job pushed well, by the registry that took them.
	Good  map[string]pushdoctor.Registry
	Bytes int64  // of the log
	Rules string // the version of the rules
}

func (r Reading) check() error {
	var errs []error
	if r.Job.JobID <= 0 || r.Job.RunID <= 0 || r.Job.RepositoryID <= 0 {
		errs = append(errs, errors.New("the job has no id, run or repository"))
	}
	if r.Job.CompletedAt.IsZero() {
		errs = append(errs, errors.New("the job has not ended"))
	}
	if !r.Result.Valid() {
		errs = append(errs, fmt.Errorf("unknown result %q", r.Result))
	}
	for i, f := range r.Findings {
		if !f.Cause.Valid() || !f.Registry.Valid() {
			errs = append(errs, fmt.Errorf("finding %d: unknown cause %q or registry %q", i+1, f.Cause, f.Registry))
		}
	}
	for _, registry := range slices.AppendSeq(slices.Collect(maps.Keys(r.Pushed)), maps.Values(r.Good)) {
		if !registry.Valid() {
			errs = append(errs, fmt.Errorf("pushes to unknown registry %q", registry))
		}
	}
	return errors.Join(errs...)
}

// Record marks the execution of r.Job as read, and writes its findings, their indexes, their part of the totals and what
// they say of groups, all in one transaction. It reports whether the execution was new. One that was read before gets
// r's findings for the ones it had, and totals stay as they are. What ended before the last Prune kept
// anything may have been counted and forgotten: nothing is written of it. The job's pending work is done in each case.
//
// A finding's id is "<job id>-<n>", with n its place in r.Findings from 1. Findings of an execution that was read under
// another job id (a re-run of failed jobs carries the others over) keep the id and the job they had.
func (db *DB) Record(r Reading) (added bool, err error) {
	what := fmt.Sprintf("reading of job %d", r.Job.JobID)
	if err := r.check(); err != nil {
		return false, fmt.Errorf("store %s: %s: %w", db.path, what, err)
	}
	err = db.update(what, func(tx *bbolt.Tx) error {
		ended := seconds(r.Job.CompletedAt)
		if forgotten(tx, ended) {
			return donePending(tx, r.Job.JobID) // or it would be due for ever
		}
		repo, err := ensureRepository(tx, r.Job.RepositoryID, r.Job.Repository)
		if err != nil {
			return err
		}
		jobs, executions := tx.Bucket(bucketJobs), tx.Bucket(bucketExecutions)
		exec := jobs.Get(key(uint64(r.Job.JobID)))
		if exec == nil {
			exec = executionKey(r.Job.Execution())
		}
		exec = bytes.Clone(exec) // a Put may move what Get returned
		job := r.Job
		old := executions.Get(exec)
		if old != nil {
			before, err := decodeExecution(old)
			if err != nil {
				return err
			}
			if r.Result.lost() && !before.result.lost() {
				return donePending(tx, r.Job.JobID) // two have asked, and one of them found it
			}
			rows, err := removeFindings(tx, before.ended, before.job)
			if err != nil {
				return err
			}
			if len(rows) > 0 && before.job != job.JobID {
				job = rows[0].Job.job()
				ended = seconds(job.CompletedAt)
			}
		}
		for i, f := range r.Findings {
			if err := putFinding(tx, ended, job, i+1, f, r.Facts); err != nil {
				return fmt.Errorf("finding %d: %w", i+1, err)
			}
		}
		e := execution{
			repository: job.RepositoryID, job: job.JobID, ended: ended, result: r.Result, rules: r.Rules,
			good: encodePushes(goodPushes(r)), workflow: workflowLabel(job.Workflow),
		}
		if err := errors.Join(executions.Put(exec, e.encode()), jobs.Put(key(uint64(r.Job.JobID)), exec), donePending(tx, r.Job.JobID)); err != nil {
			return err
		}
		if err := db.weigh(tx, exec, job, r); err != nil {
			return err
		}
		if added = old == nil; !added {
			return nil
		}
		return countReading(tx, r, repo.live(r.Job.CompletedAt))
	})
	return added && err == nil, err
}

// Known reports whether the execution was read, under this job id or another, or the job was.
func (db *DB) Known(e pushdoctor.Execution, job int64) (bool, error) {
	var known bool
	err := db.view(fmt.Sprintf("job %d", job), func(tx *bbolt.Tx) error {
		known = tx.Bucket(bucketJobs).Get(key(uint64(job))) != nil || tx.Bucket(bucketExecutions).Get(executionKey(e)) != nil
		return nil
	})
	return known, err
}

// forgotten reports whether Prune has removed what ended then.
func forgotten(tx *bbolt.Tx, ended uint64) bool {
	horizon := tx.Bucket(bucketMeta).Get(keyHorizon)
	return horizon != nil && bytes.Compare(key(ended), horizon) < 0
}

func putFinding(tx *bbolt.Tx, ended uint64, job pushdoctor.Job, n int, f pushdoctor.Finding, facts pushdoctor.Facts) error {
	f, facts = bounded(f, facts)
	value, err := json.Marshal(row{newJobRow(job), f, facts, facts.TokenLine})
	if err != nil {
		return err
	}
	at := suffix(ended, job.JobID, n)
	findings := tx.Bucket(bucketFindings)
	findings.FillPercent = 0.9 // jobs end one after the other: half-empty pages would stay so
	return errors.Join(
		findings.Put(at, value),
		tx.Bucket(bucketByRepository).Put(append(key(uint64(job.RepositoryID)), at...), []byte(f.Cause)),
		tx.Bucket(bucketByCause).Put(append(causePrefix(f.Cause), at...), nil),
		tx.Bucket(bucketByID).Put(at[8:], at[:8]),
	)
}

// removeFindings removes the findings of a job with their indexes, and returns them.
func removeFindings(tx *bbolt.Tx, ended uint64, job int64) ([]row, error) {
	var keys [][]byte
	prefix := key(ended, uint64(job))
	c := tx.Bucket(bucketFindings).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	var rows []row
	for _, at := range keys {
		r, err := removeFinding(tx, at)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func removeFinding(tx *bbolt.Tx, at []byte) (r row, err error) {
	findings := tx.Bucket(bucketFindings)
	if err := decode(findings.Get(at), &r); err != nil {
		return row{}, fmt.Errorf("finding %x: %w", at, err)
	}
	return r, errors.Join(
		findings.Delete(at),
		tx.Bucket(bucketByRepository).Delete(append(key(uint64(r.Job.RepositoryID)), at...)),
		tx.Bucket(bucketByCause).Delete(append(causePrefix(r.Finding.Cause), at...)),
		tx.Bucket(bucketByID).Delete(at[8:]),
	)
}

// bounded is f and facts with no more of the log's text than is kept. What it shares with its arguments it does
// not change.
func bounded(f pushdoctor.Finding, facts pushdoctor.Facts) (pushdoctor.Finding, pushdoctor.Facts) {
	left := maxText
	take := func(s string) string {
		if len(s) > left {
			s = strings.ToValidUTF8(s[:left], "")
		}
		left -= len(s)
		return s
	}
	f.Message = take(f.Message)
	f.Evidence = slices.Clone(f.Evidence[:min(len(f.Evidence), maxLines)])
	for i := range f.Evidence {
		f.Evidence[i].Text = take(f.Evidence[i].Text)
	}
	facts.TokenLine.Text = take(facts.TokenLine.Text)
	for i, l := range facts.Logins {
		if left -= len(l.Host) + len(l.User); left < 0 {
			facts.Logins = facts.Logins[:i]
			break
		}
	}
	for i, image := range facts.Pushed {
		if left -= len(image); left < 0 {
			facts.Pushed = facts.Pushed[:i]
			break
		}
	}
	return f, facts
}

// countReading raises the totals by one execution that was read for the first time.
func countReading(tx *bbolt.Tx, r Reading, live bool) error {
	t := tally{bucket: tx.Bucket(bucketTotals), live: live, now: time.Now(), ended: seconds(r.Job.CompletedAt)}
	repo, workflow := r.Job.RepositoryID, workflowLabel(r.Job.Workflow)
	for i, f := range r.Findings {
		metric, result := failureMetric(f.Recovered)
		t.finding = findingID(r.Job.JobID, i+1)
		t.raise(metric, repo, 1, workflow, string(f.Registry), statusLabel(f.Status), string(f.Cause))
		t.finding = ""
		t.raise(MetricPushes, repo, 1, workflow, string(f.Registry), result)
	}
	good := goodPushes(r)
	for _, registry := range pushdoctor.Registries {
		if n := good[registry]; n > 0 {
			t.raise(MetricPushes, repo, float64(n), workflow, string(registry), resultGood)
		}
	}
	t.raise(MetricJobsRead, repo, 1, string(r.Result))
	if r.Bytes > 0 {
		t.raise(MetricLogBytes, 0, float64(r.Bytes))
	}
	return t.err
}

// resultGood is the result of MetricPushes of an image that was pushed well at once.
const resultGood = "good"

// failureMetric returns which metric counts a failure, and its result of MetricPushes.
func failureMetric(recovered bool) (metric, result string) {
	if recovered {
		return MetricPushFailuresRetried, "retried"
	}
	return MetricPushFailures, "failed"
}

// goodPushes counts the images that were pushed well at once.
func goodPushes(r Reading) map[pushdoctor.Registry]int {
	good := maps.Clone(r.Pushed)
	cured := map[string]bool{}
	for _, f := range r.Findings {
		// An image that failed and was pushed then is among the pushed ones, however often it failed.
		if image := string(f.Registry) + " " + f.Image; f.Recovered && !cured[image] && good != nil {
			cured[image] = true
			good[f.Registry]--
		}
	}
	return good
}
