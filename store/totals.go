package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// The metrics that have totals, with their labels in order.
const (
	MetricPushFailures        = "pushdoctor_push_failures_total"         // repository, workflow, registry, status, cause
	MetricPushFailuresRetried = "pushdoctor_push_failures_retried_total" // the same
	MetricPushes              = "pushdoctor_pushes_total"                // repository, workflow, registry, result
	MetricRuns                = "pushdoctor_runs_total"                  // repository, workflow, conclusion
	MetricJobsRead            = "pushdoctor_jobs_read_total"             // repository, result
	MetricLogBytes            = "pushdoctor_log_bytes_total"             // none
	MetricCollectErrors       = "pushdoctor_collect_errors_total"        // repository, reason
)

// maxLabel is how many bytes of a label's value are kept.
const maxLabel = 256

// A Total is one series of a counter.
type Total struct {
	Metric  string
	Labels  []string // values in the metric's label order; not to be changed
	Value   float64
	Born    time.Time // when it was first raised, by this machine's clock
	Live    bool      // it counts what ended since the repository's LiveSince; else what ended before
	Finding string    // the id of the newest finding that raised it, of those of one repository; "" but for failed pushes
}

// Totals returns all totals, sorted by metric, labels and Live. A repository is called by its present name.
func (db *DB) Totals() ([]Total, error) {
	var out []Total
	err := db.view("totals", func(tx *bbolt.Tx) error {
		names, err := repositoryNames(tx)
		if err != nil {
			return err
		}
		out = make([]Total, 0, db.series.size())
		return tx.Bucket(bucketTotals).ForEach(func(k, v []byte) error {
			t, err := db.series.decode(k, v, names)
			out = append(out, t)
			return err
		})
	})
	db.series.bound(len(out))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Total) int { return cmp.Or(a.compare(b), a.Born.Compare(b.Born)) })
	// A repository that was deleted and made anew has two ids and one name.
	merged := out[:0]
	for _, t := range out {
		if n := len(merged); n > 0 && merged[n-1].compare(t) == 0 {
			merged[n-1].Value += t.Value
			merged[n-1].Finding = cmp.Or(t.Finding, merged[n-1].Finding)
			continue
		}
		merged = append(merged, t)
	}
	return merged, nil
}

func (t Total) compare(u Total) int {
	live := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(strings.Compare(t.Metric, u.Metric), slices.Compare(t.Labels, u.Labels), cmp.Compare(live(t.Live), live(u.Live)))
}

// CountRuns counts the attempts among runs that have ended, each one once, and remembers that it has, and the names of their workflows. Those
// on a watched Ref are among Candidates from then on.
func (db *DB) CountRuns(repo int64, runs []pushdoctor.Run) error {
	what := fmt.Sprintf("runs of repository %d", repo)
	if repo <= 0 {
		return fmt.Errorf("store %s: %s: %w", db.path, what, errNoRepository)
	}
	fresh := func(tx *bbolt.Tx, run pushdoctor.Run) bool {
		return run.Conclusion != "" && !run.UpdatedAt.IsZero() && !forgotten(tx, seconds(run.UpdatedAt)) && tx.Bucket(bucketRuns).Get(runKey(repo, run)) == nil
	}
	// A sweep sees the same runs again and again; there is no need to write to the disk for that.
	var some bool
	err := db.view(what, func(tx *bbolt.Tx) error {
		some = slices.ContainsFunc(runs, func(run pushdoctor.Run) bool { return fresh(tx, run) })
		return nil
	})
	if err != nil || !some {
		return err
	}
	return db.update(what, func(tx *bbolt.Tx) error {
		for _, run := range runs {
			if !fresh(tx, run) {
				continue
			}
			r, err := ensureRepository(tx, repo, run.Repository)
			if err != nil {
				return err
			}
			if named, ok := r.named(run); ok {
				if err := putRepository(tx, named); err != nil {
					return err
				}
			}
			if err := tx.Bucket(bucketRuns).Put(runKey(repo, run), runRow{seconds(run.UpdatedAt), run.Conclusion, workflowLabel(run.Workflow)}.encode()); err != nil {
				return err
			}
			if err := putCandidate(tx, repo, run); err != nil {
				return err
			}
			t := tally{bucket: tx.Bucket(bucketTotals), live: r.live(run.UpdatedAt), now: time.Now()}
			t.raise(MetricRuns, repo, 1, workflowLabel(run.Workflow), run.Conclusion)
			if t.err != nil {
				return t.err
			}
		}
		return nil
	})
}

// CountedRun reports whether CountRuns has counted that attempt of the run, or would not, since it ended before what
// Prune has kept.
func (db *DB) CountedRun(run pushdoctor.Run) (bool, error) {
	var counted bool
	err := db.view(fmt.Sprintf("run %d", run.ID), func(tx *bbolt.Tx) error {
		counted = forgotten(tx, seconds(run.UpdatedAt)) || tx.Bucket(bucketRuns).Get(runKey(run.RepositoryID, run)) != nil
		return nil
	})
	return counted, err
}

func runKey(repo int64, run pushdoctor.Run) []byte {
	return key(uint64(repo), uint64(run.ID), uint64(run.Attempt))
}

// CountError counts an error of collecting from the repository of that name, which need not be in the store.
func (db *DB) CountError(repository, reason string) error {
	return db.update("error of "+repository, func(tx *bbolt.Tx) error {
		t := tally{bucket: tx.Bucket(bucketTotals), live: true, now: time.Now()}
		t.raise(MetricCollectErrors, 0, 1, repository, reason)
		return t.err
	})
}

// tally raises totals of one kind, live or not, until the first error.
type tally struct {
	bucket  *bbolt.Bucket
	live    bool
	now     time.Time
	finding string
	ended   uint64 // when the finding's job did
	err     error
}

// raise adds to one series. Where repo is not 0, the repository's name is the first label and not among labels: the key
// holds the id, since a name changes.
func (t *tally) raise(metric string, repo int64, by float64, labels ...string) {
	if t.err != nil {
		return
	}
	cutLabels(labels)
	words, err := json.Marshal(labels)
	if err != nil {
		t.err = err
		return
	}
	k := append([]byte(metric), 0, 0)
	if t.live {
		k[len(k)-1] = 1
	}
	k = append(binary.BigEndian.AppendUint64(k, uint64(repo)), words...)
	value, born, finding := 0.0, uint64(t.now.UnixNano()), t.finding
	if old := t.bucket.Get(k); old != nil {
		if len(old) < 16 {
			t.err = fmt.Errorf("%w: a total of %d bytes", ErrDamaged, len(old))
			return
		}
		value, born = math.Float64frombits(binary.BigEndian.Uint64(old)), binary.BigEndian.Uint64(old[8:])
		if was := string(old[16:]); was != "" && t.before(was) {
			finding = was
		}
	}
	t.err = t.bucket.Put(k, append(key(math.Float64bits(value+by), born), finding...))
}

// before reports whether the tally's finding happened before that one. Logs are not read in the order in which their jobs ended.
func (t *tally) before(id string) bool {
	job, n, ok := parseID(id)
	if !ok {
		return false
	}
	ended := t.bucket.Tx().Bucket(bucketByID).Get(key(uint64(job), uint64(n)))
	return len(ended) == 8 && t.ended < binary.BigEndian.Uint64(ended)
}

// A seriesCache keeps what the keys of totals say, which costs more to read than all else of them: each scrape reads them all, and they do not change.
type seriesCache struct {
	mu sync.Mutex // guards by
	by map[string]series
}

// A series is what the key of a total says.
type series struct {
	metric     string
	live       bool
	repository int64
	name       string // of the repository, which is the first label; it may change
	labels     []string
}

// size is how many keys are kept.
func (c *seriesCache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.by)
}

// bound lets go of what was kept, if it is of more totals than the store has: some were forgotten.
func (c *seriesCache) bound(totals int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.by) > totals {
		c.by = nil
	}
}

func (c *seriesCache) decode(k, v []byte, names map[int64]string) (Total, error) {
	if len(v) < 16 {
		return Total{}, fmt.Errorf("%w: a total of %d bytes under %.80q", ErrDamaged, len(v), k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.by[string(k)]
	if !known || s.repository != 0 && s.name != names[s.repository] {
		var err error
		if s, err = decodeSeries(k, names); err != nil {
			return Total{}, err
		}
		if c.by == nil {
			c.by = map[string]series{}
		}
		c.by[string(k)] = s
	}
	return Total{
		Metric:  s.metric,
		Labels:  s.labels,
		Value:   math.Float64frombits(binary.BigEndian.Uint64(v)),
		Born:    time.Unix(0, int64(binary.BigEndian.Uint64(v[8:]))).UTC(),
		Live:    s.live,
		Finding: string(v[16:]),
	}, nil
}

func decodeSeries(k []byte, names map[int64]string) (series, error) {
	metric, rest, ok := bytes.Cut(k, []byte{0})
	if !ok || len(rest) < 9 {
		return series{}, fmt.Errorf("%w: a total under %.80q", ErrDamaged, k)
	}
	s := series{metric: string(metric), live: rest[0] == 1, repository: int64(binary.BigEndian.Uint64(rest[1:]))}
	if err := decode(rest[9:], &s.labels); err != nil {
		return series{}, err
	}
	if s.repository != 0 {
		if s.name, ok = names[s.repository]; !ok {
			return series{}, fmt.Errorf("%w: a total of repository %d, which is not there", ErrDamaged, s.repository)
		}
		s.labels = slices.Insert(s.labels, 0, s.name)
	}
	return s, nil
}

// cutLabels brings labels into the form in which totals keep them.
func cutLabels(labels []string) {
	for i, l := range labels {
		if len(l) > maxLabel {
			l = l[:maxLabel]
		}
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
}

func statusLabel(status int) string {
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(status)
}

func workflowLabel(file string) string { return cmp.Or(file, "other") }
