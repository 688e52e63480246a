package exporter

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
	"github.com/prometheus/client_golang/prometheus"
)

const brokenMetric = "pushdoctor_push_broken"

var (
	brokenLabels = []string{"repository", "workflow", "ref", "registry", "cause"}
	pushBroken   = prometheus.NewDesc(brokenMetric,
		"Images whose push by a job on a watched ref has failed and has not succeeded since.", brokenLabels, nil)
	brokenSince = prometheus.NewDesc("pushdoctor_push_broken_since_timestamp_seconds",
		"When the first job ended of that of them which is broken for longest.", brokenLabels, nil)
	timeToRecovery = prometheus.NewDesc(store.MetricTimeToRecovery,
		"From the end of the first job that failed to push an image to the end of the one that pushed it well.", []string{"registry", "cause"}, nil)
	registryIncident = prometheus.NewDesc("pushdoctor_registry_incident",
		"1 while three repositories or more had a failure within 15 minutes that may pass by itself, cured by a retry or not.", []string{"registry"}, nil)
)

// A broken is one series of push_broken.
type broken struct {
	labels []string
	count  int
	since  time.Time
}

// collectGroups makes the gauges of what is broken at now.
func (s *state) collectGroups(ch chan<- prometheus.Metric, now time.Time) {
	groups, err := s.db.Groups(store.GroupQuery{Now: now, State: pushdoctor.GroupOpen})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(pushBroken, err)
		return
	}
	all, folded := brokenSeries(groups, s.maxSeries)
	for _, b := range all {
		ch <- prometheus.MustNewConstMetric(pushBroken, prometheus.GaugeValue, float64(b.count), b.labels...)
		ch <- prometheus.MustNewConstMetric(brokenSince, prometheus.GaugeValue, seconds(b.since), b.labels...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.brokenFolded = max(s.brokenFolded, folded) // groups close, and a counter does not go back
	ch <- prometheus.MustNewConstMetric(seriesDropped, prometheus.CounterValue, float64(s.brokenFolded), brokenMetric)
}

// brokenSeries returns the series of groups, which come the oldest first: at most limit and those that stand for the others, and how
// many were folded.
func brokenSeries(groups []pushdoctor.Group, limit int) (all []*broken, folded int) {
	by := map[string]*broken{}
	beyond := map[string]bool{}
	alone := 0
	for _, g := range groups {
		labels := []string{label(g.Repository), label(g.Workflow), label(g.Ref), string(g.Registry), string(g.Cause)}
		k := key(labels)
		if by[k] == nil && alone >= limit {
			beyond[k] = true
			labels[0], labels[1], labels[2] = other, other, other
			k = key(labels)
		}
		b := by[k]
		if b == nil {
			b = &broken{labels: labels, since: g.Opened}
			by[k] = b
			all = append(all, b)
			if labels[0] != other {
				alone++
			}
		}
		b.count++
	}
	return all, len(beyond)
}

// collectRecoveries makes the histogram of what the store has counted. A series with labels that are new stands at 0 for the time of
// birth, like a counter's.
func (s *state) collectRecoveries(ch chan<- prometheus.Metric, totals []store.Total, now time.Time) {
	type series struct {
		labels  []string
		born    time.Time
		sum     float64
		buckets map[float64]uint64 // by upper bound
	}
	var all []*series
	for _, t := range totals {
		if len(t.Labels) != 3 {
			ch <- prometheus.NewInvalidMetric(timeToRecovery, fmt.Errorf("totals of %s: the store has other labels", t.Metric))
			return
		}
		if n := len(all); n == 0 || !slices.Equal(all[n-1].labels, t.Labels[:2]) { // they come sorted
			all = append(all, &series{labels: t.Labels[:2], born: t.Born, buckets: map[float64]uint64{}})
		}
		sr := all[len(all)-1]
		if t.Born.Before(sr.born) {
			sr.born = t.Born
		}
		if t.Labels[2] == store.RecoverySum {
			sr.sum = t.Value
			continue
		}
		bound, err := strconv.ParseFloat(t.Labels[2], 64)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(timeToRecovery, fmt.Errorf("totals of %s: bucket %q", t.Metric, t.Labels[2]))
			return
		}
		sr.buckets[bound] = uint64(t.Value)
	}
	for _, sr := range all {
		if age := now.Sub(sr.born); age >= 0 && age < s.birth {
			sr.sum, sr.buckets = 0, nil
		}
		upTo := func(bound float64) (n uint64) {
			for b, count := range sr.buckets {
				if b <= bound {
					n += count
				}
			}
			return n
		}
		buckets := map[float64]uint64{}
		for _, bound := range store.RecoveryBuckets {
			buckets[bound] = upTo(bound)
		}
		ch <- prometheus.MustNewConstHistogramWithCreatedTimestamp(timeToRecovery, upTo(math.Inf(1)), sr.sum, buckets, sr.born, sr.labels...)
	}
}

const (
	incidentWithin       = 15 * time.Minute
	incidentRepositories = 3
)

// A trouble is one failure that may pass by itself. A host that is no product of its own is one registry.
type trouble struct {
	registry   pushdoctor.Registry
	host       string // of other
	repository int64
}

// collectIncidents makes the gauge of registries that seem to have trouble of their own at now. Whatever is read of history has ended
// long ago, and does not count.
func (s *state) collectIncidents(ch chan<- prometheus.Metric, now time.Time) {
	s.mu.Lock()
	before := s.troubles
	s.mu.Unlock()
	troubles := map[string]trouble{}
	for _, cause := range pushdoctor.Causes {
		if cause.Lasting() {
			continue
		}
		// An incident is when there are many, and when each scrape must not read them all.
		found, err := s.db.Find(store.Query{Since: now.Add(-incidentWithin), Cause: cause, Skip: func(id string) bool {
			known, ok := before[string(cause)+id]
			if ok {
				troubles[string(cause)+id] = known
			}
			return ok
		}})
		if err != nil {
			ch <- prometheus.NewInvalidMetric(registryIncident, err)
			return
		}
		for _, f := range found {
			one := trouble{registry: f.Registry, repository: f.RepositoryID}
			if f.Registry == pushdoctor.RegistryOther {
				one.host = f.Host
			}
			troubles[string(cause)+f.ID] = one
		}
	}
	s.mu.Lock()
	s.troubles = troubles
	s.mu.Unlock()

	type registry struct {
		name pushdoctor.Registry
		host string
	}
	troubled := map[registry]map[int64]bool{}
	for _, one := range troubles {
		// Names and addresses of a private network may be the same in repositories that share nothing, and where no host is known
		// there may be many.
		if one.registry == pushdoctor.RegistryLocal || one.registry == pushdoctor.RegistryUnknown {
			continue
		}
		r := registry{one.registry, one.host}
		if troubled[r] == nil {
			troubled[r] = map[int64]bool{}
		}
		troubled[r][one.repository] = true
	}
	incidents := map[pushdoctor.Registry]float64{}
	for r, repositories := range troubled {
		if len(repositories) >= incidentRepositories {
			incidents[r.name] = 1
		}
	}
	for _, r := range pushdoctor.Registries {
		ch <- prometheus.MustNewConstMetric(registryIncident, prometheus.GaugeValue, incidents[r], string(r))
	}
}
