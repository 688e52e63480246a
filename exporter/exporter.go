// Package exporter turns what the store holds, and what the service tells it of its own work,
// into metrics for Prometheus. The counters of pushes, runs and jobs are read from the store at
// each scrape, so a restart does not reset them; only what ended after a repository's
// first poll is among them. It decides nothing and writes nothing.
package exporter

import (
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options say how an Exporter names and bounds what it exports.
type Options struct {
	Version, Revision string        // of the program; empty is "unknown"
	MaxSeries         int           // of each metric that has names in its labels; 10,000 where it is 0
	Birth             time.Duration // how long a new series stands at 0
	Now               func() time.Time
}

// An Exporter holds the metrics of one service. Its methods may be called at the same time.
type Exporter struct {
	now func() time.Time

	github     *github
	diagnose   prometheus.Histogram
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	deliveries *prometheus.CounterVec
	otlpPushes *prometheus.CounterVec

	state *state
}

// NewRegistry returns a registry that holds the metrics of the Go runtime and of the process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler returns the handler of /metrics for r, with exemplars and native histograms for those
// who ask for the formats that have them. What cannot be read from the store is told to log; all else
// is served nevertheless, since alerts about the service itself hang on it.
func Handler(r *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.InstrumentMetricHandler(r, promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelError),
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          r,
		EnableOpenMetrics: true,
		Timeout:           time.Minute,
	}))
}

// New returns an Exporter of what db holds, its metrics registered with r. The configuration counts
// as loaded well, since without it there is no Exporter. It panics if r has these metrics already.
func New(r prometheus.Registerer, db *store.DB, o Options) *Exporter {
	if o.MaxSeries <= 0 {
		o.MaxSeries = 10000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Exporter{
		now:    o.Now,
		github: newGitHub(),
		diagnose: prometheus.NewHistogram(histogram(
			"pushdoctor_diagnose_duration_seconds",
			"How long one job's log took to fetch, parse and classify.",
			0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
		)),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushdoctor_config_last_reload_successful",
			Help: "Whether the configuration could be loaded when that was last tried.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushdoctor_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last loaded.",
		}),
		deliveries: newDeliveries(),
		otlpPushes: newOTLPPushes(),
		state:      newState(db, o),
	}
	e.Reloaded(true)

	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pushdoctor_build_info",
		Help: "1; the labels say which pushdoctor this is.",
		ConstLabels: prometheus.Labels{
			"version":   orUnknown(o.Version),
			"revision":  orUnknown(o.Revision),
			"goversion": runtime.Version(),
		},
	})
	build.Set(1)
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pushdoctor_store_bytes",
		Help: "Size of the store's file.",
	}, func() float64 { return float64(db.Size()) })
	writable := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pushdoctor_store_writable",
		Help: "1 while what was last to be written is in the store, 0 after it could not be.",
	}, func() float64 {
		if db.Writable() {
			return 1
		}
		return 0
	})

	r.MustRegister(e.github.collectors()...)
	r.MustRegister(e.diagnose, e.reloadOK, e.reloadTime, build, size, writable, causes(), e.deliveries, e.otlpPushes, newQueue(db), e.state)
	return e
}

// histogram has both forms: the buckets for everybody, and a native histogram for a Prometheus that asks for one.
func histogram(name, help string, buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name:                            name,
		Help:                            help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// Diagnosed notes that the log of one job was fetched, parsed and classified in d.
func (e *Exporter) Diagnosed(d time.Duration) { e.diagnose.Observe(d.Seconds()) }

// Reloaded notes that the configuration was read again, and whether it was good.
func (e *Exporter) Reloaded(good bool) {
	if !good {
		e.reloadOK.Set(0)
		return
	}
	e.reloadOK.Set(1)
	e.reloadTime.Set(seconds(e.now()))
}

// A Collection says how far the reading of one repository has come.
type Collection struct {
	At      time.Time // the end of this poll; zero: it did not go well
	Since   time.Time // when the repository began to be watched
	Due     time.Time // when the next poll ought to have ended; zero: never
	Oldest  time.Time // when the oldest job ended that is to be read and was not; zero: there is none
	Pending int       // jobs that are to be read
}

// Collected notes how far the reading of the repository has come; it stands until the next call. A poll that failed has a zero At:
// the At before it stays, and the older of both Oldest, since such a poll may not have seen what waits.
func (e *Exporter) Collected(repository string, c Collection) { e.state.collected(repository, c) }

// Dropped notes that the repository is no longer watched: what Collected said of it is taken back. Its counters stay.
func (e *Exporter) Dropped(repository string) {
	e.Kept(func(name string) bool { return name != label(repository) })
}

// Kept does what Dropped does for each repository of which keep returns false.
func (e *Exporter) Kept(keep func(repository string) bool) { e.state.kept(keep) }

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return math.Round(float64(t.UnixNano())/1e6) / 1e3
}

// maxLabel bounds a label's value: names are people's, and one may be a megabyte.
const maxLabel = 200

// label returns s as a label's value. One that is no UTF-8 would take down the whole page of metrics.
func label(s string) string {
	if len(s) > maxLabel {
		s = s[:maxLabel] // through a character perhaps, of which the rest goes below
	}
	return strings.ToValidUTF8(s, "")
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return label(s)
}
