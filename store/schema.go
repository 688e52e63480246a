package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// The buckets. A number in a key has eight bytes, big-endian; a time is its Unix seconds, which is as fine as
// GitHub's clock, with the sign turned so that keys sort by it.
var (
	bucketMeta         = []byte("meta")         // format, schema, horizon, queued
	bucketRepositories = []byte("repos")        // repository: Repository
	bucketRuns         = []byte("runs")         // repository, run, attempt: runRow
	bucketJobs         = []byte("jobs")         // job: the execution's key
	bucketExecutions   = []byte("executions")   // run, hash: execution
	bucketFindings     = []byte("findings")     // ended, job, n: row
	bucketByRepository = []byte("by_repo")      // repository, ended, job, n: cause
	bucketByCause      = []byte("by_cause")     // cause, 0, ended, job, n: nothing
	bucketByID         = []byte("by_id")        // job, n: ended
	bucketTotals       = []byte("totals")       // metric, 0, live, repository, labels: total
	bucketPending      = []byte("pending")      // due, job, kind: waiting
	bucketPendingByJob = []byte("pending_jobs") // job, kind: due
	bucketQueue        = []byte("queue")        // repository, run, attempt, job: Work
	bucketQueueDue     = []byte("queue_due")    // repository, due, run, attempt, job: nothing
	bucketGroups       = []byte("groups")       // scope, thing, opened: groupRow
	bucketOpen         = []byte("open")         // repository, and the group's key: nothing
	bucketGroupEvents  = []byte("group_events") // kind, thing or channel, ended, job, n: what happened
	bucketGroupJobs    = []byte("group_jobs")   // the execution's key: weighed
	bucketCandidates   = []byte("candidates")   // repository, workflow and ref, ended, run, attempt: candidate
	bucketLooked       = []byte("looked")       // scope, run, attempt: ended
	bucketPages        = []byte("pages")        // the caller's key: when it was put, what was put
)

var (
	keyFormat  = []byte("format")
	keySchema  = []byte("schema")
	keyHorizon = []byte("horizon")
	format     = []byte("pushdoctor")
)

// buckets are all of them. migrate makes those that are missing before its first step.
var buckets = [][]byte{
	bucketMeta, bucketRepositories, bucketRuns, bucketJobs, bucketExecutions, bucketFindings,
	bucketByRepository, bucketByCause, bucketByID, bucketTotals, bucketPending, bucketPendingByJob,
	bucketQueue, bucketQueueDue,
	bucketGroups, bucketOpen, bucketGroupEvents, bucketGroupJobs, bucketCandidates, bucketLooked,
	bucketPages,
}

// migrations lead from schema i to schema i+1. A step that was released is never changed.
var migrations = []func(*bbolt.Tx) error{
	func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, format) },
	// What was read before opens no group: on which refs, nobody has written down.
	addQueue,
}

// schema is the file's schema version, 0 for a file without any bucket.
func schema(tx *bbolt.Tx) (int, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		if name, _ := tx.Cursor().First(); name != nil {
			return 0, fmt.Errorf("%w, which has a bucket %.40q: name another file", ErrForeign, name)
		}
		return 0, nil
	}
	if string(meta.Get(keyFormat)) != string(format) {
		return 0, fmt.Errorf("%w: name another file", ErrForeign)
	}
	v, err := number(meta.Get(keySchema))
	if err != nil {
		return 0, err
	}
	if v > uint64(len(migrations)) {
		return 0, fmt.Errorf("%w: its schema is %d, this program knows %d: use that version, or name another file", ErrNewer, v, len(migrations))
	}
	return int(v), nil
}

func migrate(tx *bbolt.Tx) error {
	from, err := schema(tx)
	if err != nil || from == len(migrations) {
		return err
	}
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	for i, step := range migrations[from:] {
		if err := step(tx); err != nil {
			return fmt.Errorf("to schema %d: %w", from+i+1, err)
		}
	}
	return tx.Bucket(bucketMeta).Put(keySchema, key(uint64(len(migrations))))
}

// current returns an error unless the file is of the schema that this program writes.
func current(tx *bbolt.Tx) error {
	v, err := schema(tx)
	if err != nil {
		return err
	}
	if v < len(migrations) {
		return fmt.Errorf("%w: its schema is %d, this program reads %d: open it for writing once", ErrOlder, v, len(migrations))
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: bucket %s is not there", ErrDamaged, name)
		}
	}
	return nil
}

func key(numbers ...uint64) []byte {
	b := make([]byte, 0, 8*len(numbers))
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func number(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: a number of %d bytes", ErrDamaged, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

func seconds(t time.Time) uint64 { return uint64(t.Unix()) ^ 1<<63 }

// executionKey does not hold the words themselves, since a job's name may be longer than a key.
func executionKey(e pushdoctor.Execution) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", e.Name, e.StartedAt.UTC().Format(time.RFC3339Nano), e.Runner))
	return append(key(uint64(e.RunID)), sum[:16]...)
}

// suffix is how a finding's key ends in every index, and its key among the findings.
func suffix(ended uint64, job int64, n int) []byte { return key(ended, uint64(job), uint64(n)) }

// idAt is the id of the finding with that suffix.
func idAt(suffix []byte) (string, error) {
	if len(suffix) != 24 {
		return "", fmt.Errorf("%w: a finding's key of %d bytes", ErrDamaged, len(suffix))
	}
	return findingID(int64(binary.BigEndian.Uint64(suffix[8:])), int(binary.BigEndian.Uint64(suffix[16:]))), nil
}

func causePrefix(c pushdoctor.Cause) []byte { return append([]byte(c), 0) }

func findingID(job int64, n int) string { return fmt.Sprintf("%d-%d", job, n) }

// parseID is the job and the number in it. Only what findingID writes is an id.
func parseID(id string) (job int64, n int, ok bool) {
	left, right, _ := strings.Cut(id, "-")
	job, errJob := strconv.ParseInt(left, 10, 64)
	n, errN := strconv.Atoi(right)
	return job, n, errJob == nil && errN == nil && findingID(job, n) == id
}

func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// jobRow is a Job with the words that are not in its JSON.
type jobRow struct {
	pushdoctor.Job

	RepositoryID   int64     `json:"repository_id"`
	WorkflowID     int64     `json:"workflow_id,omitempty"`
	Conclusion     string    `json:"conclusion,omitempty"`
	Runner         string    `json:"runner,omitempty"`
	HeadRepository string    `json:"head_repository,omitempty"`
	StartedAt      time.Time `json:"started_at,omitzero"`
}

func newJobRow(j pushdoctor.Job) jobRow {
	return jobRow{j, j.RepositoryID, j.WorkflowID, j.Conclusion, j.Runner, j.HeadRepository, j.StartedAt}
}

func (r jobRow) job() pushdoctor.Job {
	j := r.Job
	j.RepositoryID, j.WorkflowID, j.Conclusion = r.RepositoryID, r.WorkflowID, r.Conclusion
	j.Runner, j.HeadRepository, j.StartedAt = r.Runner, r.HeadRepository, r.StartedAt
	return j
}

// row is a finding as it stands in the file.
type row struct {
	Job       jobRow              `json:"job"`
	Finding   pushdoctor.Finding  `json:"finding"`
	Facts     pushdoctor.Facts    `json:"facts"`
	TokenLine pushdoctor.Evidence `json:"token_line,omitzero"`
}

// execution is what was read, in 24 bytes and the words with a 0 between them. The last two are missing in rows of older programs.
type execution struct {
	repository int64
	job        int64 // under whose id the findings stand
	ended      uint64
	result     Result
	rules      string
	good       string // images that were pushed well at once, by registry: "ghcr=2 ecr=1"
	workflow   string
}

func (e execution) encode() []byte {
	b := key(uint64(e.repository), uint64(e.job), e.ended)
	return append(b, strings.Join([]string{string(e.result), e.rules, e.good, e.workflow}, "\x00")...)
}

func decodeExecution(b []byte) (execution, error) {
	if len(b) < 24 {
		return execution{}, fmt.Errorf("%w: an execution of %d bytes", ErrDamaged, len(b))
	}
	e := execution{
		repository: int64(binary.BigEndian.Uint64(b)),
		job:        int64(binary.BigEndian.Uint64(b[8:])),
		ended:      binary.BigEndian.Uint64(b[16:]),
	}
	result, rest, _ := strings.Cut(string(b[24:]), "\x00")
	e.result = Result(result)
	e.rules, rest, _ = strings.Cut(rest, "\x00")
	e.good, e.workflow, _ = strings.Cut(rest, "\x00")
	return e, nil
}

// runRow is an attempt of a run that was counted. The words are missing in rows of older programs.
type runRow struct {
	ended      uint64
	conclusion string
	workflow   string
}

func (r runRow) encode() []byte {
	return append(key(r.ended), r.conclusion+"\x00"+r.workflow...)
}

func decodeRun(b []byte) (r runRow, err error) {
	if r.ended, err = number(b[:min(8, len(b))]); err != nil {
		return runRow{}, err
	}
	r.conclusion, r.workflow, _ = strings.Cut(string(b[8:]), "\x00")
	return r, nil
}
