package exporter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor/store"
	"github.com/prometheus/client_golang/prometheus"
)

// other stands for the names of all series beyond the limit.
const other = "other"

// A family is one metric whose totals the store keeps.
type family struct {
	desc   *prometheus.Desc
	help   string
	labels []string
	open   []int // which of them hold names; the others' values are closed sets
}

// families are the metrics that are read from the store, by name. The order of the labels is that of store.Total.
var families = map[string]family{
	store.MetricPushFailures: newFamily(store.MetricPushFailures,
		"Failed attempts to push an image that no retry in the same job cured.",
		"*repository", "*workflow", "registry", "status", "cause"),
	store.MetricPushFailuresRetried: newFamily(store.MetricPushFailuresRetried,
		"Failed attempts to push an image that a retry in the same job cured.",
		"*repository", "*workflow", "registry", "status", "cause"),
	store.MetricPushes: newFamily(store.MetricPushes,
		"Pushes of images in the jobs that were read.",
		"*repository", "*workflow", "registry", "result"),
	store.MetricRuns: newFamily(store.MetricRuns,
		"Attempts of workflow runs that have ended.",
		"*repository", "*workflow", "conclusion"),
	store.MetricJobsRead: newFamily(store.MetricJobsRead,
		"Jobs whose log was read, or could not be, by what came of it.",
		"*repository", "result"),
	store.MetricCollectErrors: newFamily(store.MetricCollectErrors,
		"What could not be collected, by reason.",
		"*repository", "reason"),
	store.MetricLogBytes: newFamily(store.MetricLogBytes,
		"Bytes of logs that were read."),
}

// newFamily returns a family; a "*" marks the labels that hold names.
func newFamily(name, help string, labels ...string) family {
	f := family{help: help, labels: labels}
	for i, l := range labels {
		if after, ok := strings.CutPrefix(l, "*"); ok {
			labels[i] = after
			f.open = append(f.open, i)
		}
	}
	f.desc = prometheus.NewDesc(name, help, labels, nil)
	return f
}

var (
	collectLag = prometheus.NewDesc("pushdoctor_collect_lag_seconds",
		"Age of the oldest job that has ended and was not read, or may have while a poll is overdue; 0 where there is none.", []string{"repository"}, nil)
	lastCollect = prometheus.NewDesc("pushdoctor_last_collect_timestamp_seconds",
		"When the last poll of the repository that went well ended.", []string{"repository"}, nil)
	pendingJobs = prometheus.NewDesc("pushdoctor_pending_jobs",
		"Jobs that have ended and were not read.", []string{"repository"}, nil)
	workflowInfo = prometheus.NewDesc("pushdoctor_workflow_info",
		"1; the name of a workflow by its file.", []string{"repository", "workflow", "name"}, nil)
	seriesDropped = prometheus.NewDesc("pushdoctor_series_dropped_total",
		"Series that were folded into one by the limit of the metric.", []string{"metric"}, nil)
)

// workflowMetric is the value of series_dropped_total's label for workflow_info.
const workflowMetric = "pushdoctor_workflow_info"

// A state makes metrics at the time of a scrape, of the store's totals and of what the service said last.
type state struct {
	db        *store.DB
	maxSeries int
	birth     time.Duration
	now       func() time.Time

	mu          sync.Mutex // guards what follows
	exemplars   exemplars
	counters    counters
	collections map[string]Collection
	troubles    map[string]trouble // what an incident may be of, by cause and id

	brokenFolded int // the most series of push_broken that one scrape folded
}

func newState(db *store.DB, o Options) *state {
	return &state{
		db: db, maxSeries: o.MaxSeries, birth: o.Birth, now: o.Now,
		collections: map[string]Collection{},
	}
}

func (s *state) collected(repository string, c Collection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.collections[label(repository)]
	if c.Since.IsZero() || !last.Since.IsZero() && last.Since.Before(c.Since) {
		c.Since = last.Since
	}
	if c.At.IsZero() {
		c.At = last.At
		if !last.Due.IsZero() {
			c.Due = last.Due
		}
		if c.Oldest.IsZero() || !last.Oldest.IsZero() && last.Oldest.Before(c.Oldest) {
			c.Oldest = last.Oldest
		}
	}
	s.collections[label(repository)] = c
}

func (s *state) kept(keep func(repository string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.collections, func(repository string, _ Collection) bool { return !keep(repository) })
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
	for _, d := range []*prometheus.Desc{collectLag, lastCollect, pendingJobs, workflowInfo, seriesDropped, pushBroken, brokenSince, timeToRecovery, registryIncident} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	now := s.now()
	s.collectService(ch, now)
	s.collectWorkflows(ch)
	s.collectGroups(ch, now)
	s.collectIncidents(ch, now)

	totals, err := s.db.Totals()
	now = s.now() // of what was born since the scrape began, the birth would be to come
	if err != nil {
		ch <- prometheus.NewInvalidMetric(families[store.MetricPushFailures].desc, err)
		return
	}
	totals = slices.DeleteFunc(totals, func(t store.Total) bool { return !t.Live })
	live := map[string][]store.Total{}
	for len(totals) > 0 { // they come sorted
		n := slices.IndexFunc(totals, func(t store.Total) bool { return t.Metric != totals[0].Metric })
		if n < 0 {
			n = len(totals)
		}
		live[totals[0].Metric] = totals[:n]
		totals = totals[n:]
	}
	s.collectRecoveries(ch, live[store.MetricTimeToRecovery], now)
	s.mu.Lock()
	known, err := s.exemplars.next(s.db, live[store.MetricPushFailures])
	s.exemplars = known
	before, made := s.counters, make(counters, len(s.counters))
	s.mu.Unlock()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(families[store.MetricPushFailures].desc, err)
	}
	for name, f := range families {
		if slices.ContainsFunc(live[name], func(t store.Total) bool { return len(t.Labels) != len(f.labels) }) {
			ch <- prometheus.NewInvalidMetric(f.desc, fmt.Errorf("totals of %s: the store has other labels", name))
			continue
		}
		all, folded := f.series(live[name], s.maxSeries)
		if f.open != nil {
			ch <- prometheus.MustNewConstMetric(seriesDropped, prometheus.CounterValue, float64(folded), name)
		}
		for _, sr := range all {
			shown := sr.counter(now, s.birth, known)
			k := keyOf(f.desc, sr.labels)
			c := before[k]
			if c == nil || !c.same(shown) {
				c = shown.made(f.desc, sr.labels)
			}
			made[k] = c
			ch <- c.metric
		}
	}
	s.mu.Lock()
	s.counters = made
	s.mu.Unlock()
}

// collectService makes the metrics that need no store.
func (s *state) collectService(ch chan<- prometheus.Metric, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for repository, c := range s.collections {
		lag := 0.0
		if !c.Oldest.IsZero() {
			lag = max(0, now.Sub(c.Oldest).Seconds())
		}
		if !c.Due.IsZero() && now.After(c.Due) {
			since := c.At
			if since.IsZero() {
				since = c.Since
			}
			lag = max(lag, now.Sub(since).Seconds())
		}
		gauge(collectLag, lag, repository)
		gauge(pendingJobs, float64(c.Pending), repository)
		if !c.At.IsZero() {
			gauge(lastCollect, seconds(c.At), repository)
		}
	}
}

// collectWorkflows names the workflows of what is watched, those of the repositories with the lowest ids first: the same after a restart.
func (s *state) collectWorkflows(ch chan<- prometheus.Metric) {
	repos, err := s.db.Repositories()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(workflowInfo, err)
		return
	}
	s.mu.Lock()
	watched := maps.Clone(s.collections)
	s.mu.Unlock()
	shown, folded := map[[2]string]bool{}, 0
	for _, r := range repos {
		if _, ok := watched[label(r.Name)]; !ok {
			continue
		}
		for _, file := range slices.Sorted(maps.Keys(r.Workflows)) {
			switch k := [2]string{label(r.Name), label(file)}; {
			case shown[k]: // another repository had the name before
			case len(shown) >= s.maxSeries:
				folded++
			default:
				shown[k] = true
				ch <- prometheus.MustNewConstMetric(workflowInfo, prometheus.GaugeValue, 1, k[0], k[1], label(r.Workflows[file]))
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(seriesDropped, prometheus.CounterValue, float64(folded), workflowMetric)
}

// A series is one line of a family. It is the sum of its parts, each with its own birth: a part that
// is folded into a series that stands for long must not be seen before its time either.
type series struct {
	labels []string // those of the total, if it has one part and needs no change
	parts  []store.Total
}

// at returns what the series shows at now. A series that begins with 1 has no increase for Prometheus, so each
// part stands at 0 for the time of birth. A birth to come is one of before the clock was set back: a counter never falls for that.
func (s series) at(now time.Time, birth time.Duration) float64 {
	sum := 0.0
	for _, p := range s.parts {
		if age := now.Sub(p.Born); len(s.labels) == 0 || age < 0 || age >= birth {
			sum += p.Value
		}
	}
	return sum
}

// counter returns what the series shows at now, without the metric. A series that stands for several has no exemplar.
func (s series) counter(now time.Time, birth time.Duration, known exemplars) counter {
	c := counter{value: s.at(now, birth)}
	if len(s.parts) > 0 {
		c.born = s.born()
	}
	if c.value == 0 || len(s.parts) != 1 {
		return c
	}
	// The cause is the last label. Another reading may have found another one.
	if of := known[s.parts[0].Finding]; !of.at.IsZero() && string(of.cause) == s.labels[len(s.labels)-1] {
		c.finding, c.at = s.parts[0].Finding, of.at
	}
	return c
}

// counters are what the scrape before has shown. Most of it is the same from scrape to scrape, and to make it anew is what a scrape costs.
type counters map[counterKey]*counter

// A counterKey tells series apart by where their labels stand: the store keeps those of a total where they are from scrape to scrape, and to
// join and compare them all would be most of what a scrape costs.
type counterKey struct {
	desc   *prometheus.Desc
	labels *string // the first; nil: there are none
}

func keyOf(d *prometheus.Desc, labels []string) counterKey {
	if len(labels) == 0 {
		return counterKey{desc: d}
	}
	return counterKey{d, &labels[0]}
}

// A counter is what a series shows.
type counter struct {
	value   float64
	born    time.Time // when it began to count; zero: it has not
	finding string    // the id in the exemplar; "": there is none
	at      time.Time // when the finding happened
	metric  prometheus.Metric
}

// same reports whether c shows what d does.
func (c *counter) same(d counter) bool {
	return c.value == d.value && c.born.Equal(d.born) && c.finding == d.finding && c.at.Equal(d.at)
}

// made returns c with its metric. Its created time is that of the total: one that is the start of the process would have who reads OTLP
// count all again after a restart.
func (c counter) made(d *prometheus.Desc, labels []string) *counter {
	if c.born.IsZero() {
		c.metric = prometheus.MustNewConstMetric(d, prometheus.CounterValue, c.value, labels...)
	} else {
		c.metric = prometheus.MustNewConstMetricWithCreatedTimestamp(d, prometheus.CounterValue, c.value, c.born, labels...)
	}
	if c.finding != "" {
		e := prometheus.Exemplar{Value: 1, Labels: prometheus.Labels{"finding": c.finding}, Timestamp: c.at}
		if with, err := prometheus.NewMetricWithExemplars(c.metric, e); err == nil {
			c.metric = with
		}
	}
	return &c
}

// born returns the birth of the first part.
func (s series) born() time.Time {
	return slices.MinFunc(s.parts, func(a, b store.Total) int { return a.Born.Compare(b.Born) }).Born
}

// series returns the family's series, at most limit and those that stand for the folded others, and how many
// were folded. The oldest stay: births do not change, so that the same are folded after a restart, and a
// series that once stood alone never is.
func (f family) series(totals []store.Total, limit int) (all []series, folded int) {
	if f.open == nil {
		return []series{{parts: totals}}, 0 // no labels at all: it is there from the start
	}
	all = make([]series, 0, len(totals))
	if len(totals) <= limit && !slices.ContainsFunc(totals, func(t store.Total) bool { return slices.ContainsFunc(t.Labels, unclean) }) {
		for i, t := range totals { // the store has each once
			all = append(all, series{t.Labels, totals[i : i+1 : i+1]})
		}
		return all, 0
	}
	by := make(map[string]int, len(totals)) // where in all
	add := func(labels []string, parts []store.Total) {
		k := key(labels)
		if i, ok := by[k]; ok {
			all[i].parts = append(all[i].parts, parts...)
			return
		}
		by[k] = len(all)
		all = append(all, series{labels, parts})
	}
	for i, t := range totals {
		add(cleaned(t.Labels), totals[i:i+1:i+1])
	}
	if len(all) <= limit {
		return all, 0
	}
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(a.born().Compare(b.born()), slices.Compare(a.labels, b.labels))
	})
	beyond := slices.Clone(all[limit:])
	all = all[:limit]
	clear(by)
	for i, sr := range all {
		by[key(sr.labels)] = i
	}
	for _, sr := range beyond {
		labels := slices.Clone(sr.labels)
		for _, i := range f.open {
			labels[i] = other
		}
		add(labels, sr.parts)
	}
	return all, len(beyond)
}

// cleaned returns the values as labels: themselves, if they need no change.
func cleaned(values []string) []string {
	for i, v := range values {
		if unclean(v) {
			values = slices.Clone(values)
			values[i] = label(v)
		}
	}
	return values
}

func unclean(value string) bool { return label(value) != value }

// key joins labels by a byte that no UTF-8 holds.
func key(labels []string) string { return strings.Join(labels, "\xff") }
