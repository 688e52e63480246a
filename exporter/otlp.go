package exporter

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// OTLPOptions say where and how often metrics are pushed.
type OTLPOptions struct {
	Endpoint string // base address of the receiver, to which /v1/metrics is added
	Interval time.Duration
	Version  string // of the program
	Log      *slog.Logger
}

// An OTLP pushes the metrics of a registry to a receiver of OTLP over HTTP. Nothing waits for it: a push that fails is not
// repeated, since the next one says as much and more, and there is one under way at most.
type OTLP struct {
	OTLPOptions
	pushes   *prometheus.CounterVec
	resource *resource.Resource
	metrics  metric.Producer
	exporter metric.Exporter
	hints    []any // arguments of each message that a push has failed

	mu       sync.Mutex
	gathered error // what the last gathering complained of
}

const (
	pushTimeout  = 10 * time.Second
	flushTimeout = 3 * time.Second
	// againAfter is for how long a receiver that fails in ever other ways is not told of, after the second one.
	againAfter = 10 * time.Minute
)

// newOTLPPushes returns the counter with all its series.
func newOTLPPushes() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushdoctor_otlp_pushes_total",
		Help: "Pushes of metrics by OTLP, by whether the receiver took all of them.",
	}, []string{"result"})
	c.WithLabelValues("good")
	c.WithLabelValues("failed")
	return c
}

// NewOTLP returns an OTLP for the metrics of g; e counts its pushes. Headers, certificates and compression are those of the standard's environment
// variables (OTEL_EXPORTER_OTLP_HEADERS, ..._CERTIFICATE, ..._COMPRESSION), and the resource is that of OTEL_RESOURCE_ATTRIBUTES and
// OTEL_SERVICE_NAME besides ours. What cannot be read of them is told to the log and left out.
//
// Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
func (e *Exporter) NewOTLP(ctx context.Context, g prometheus.Gatherer, o OTLPOptions) (*OTLP, error) {
	address, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, err
	}
	p := &OTLP{OTLPOptions: o, pushes: e.otlpPushes}
	if address.Port() == "4317" {
		p.hints = []any{"hint", "4317 is the port of OTLP over gRPC; that of OTLP over HTTP, which this is, is 4318"}
	}
	otel.SetLogger(logr.FromSlogHandler(wordless{o.Log.Handler()}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("OpenTelemetry", "err", cut(err.Error())) }))
	if p.resource, err = resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("pushdoctor"), semconv.ServiceVersion(orUnknown(o.Version))),
		resource.WithTelemetrySDK(), resource.WithFromEnv(),
	); err != nil {
		// The variable is often set for all that runs in a cluster, and the resource has what could be read.
		o.Log.Warn("OTEL_RESOURCE_ATTRIBUTES is not whole; write name=value,name=value", "err", cut(err.Error()))
	}
	options := []otlpmetrichttp.Option{
		otlpmetrichttp.WithEndpointURL(address.JoinPath("v1", "metrics").String()),
		otlpmetrichttp.WithTimeout(pushTimeout), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}),
	}
	if address.Scheme == "http" {
		// The exporter refuses a certificate that is of no use, and that of a whole cluster may be.
		options = append(options, otlpmetrichttp.WithTLSClientConfig(nil))
	}
	p.exporter, err = otlpmetrichttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("otlp.endpoint and the variables OTEL_EXPORTER_OTLP_*: %w", err)
	}
	// The bridge drops all of a registry that complains, and complains itself to a logger of the process.
	p.metrics = bridge.NewMetricProducer(bridge.WithGatherer(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.gathered = err
		return families, nil
	})))
	return p, nil
}

// Run pushes each interval until ctx ends, and then once more, for three seconds at most. That the receiver takes nothing, or takes it again, is
// told to the log once; that it fails in another way is told too.
func (p *OTLP) Run(ctx context.Context) {
	t := time.NewTicker(p.Interval)
	defer t.Stop()
	var pushing, reading outage
	for ended := false; !ended; {
		within, timeout := context.WithoutCancel(ctx), pushTimeout
		select {
		case <-t.C:
			within = ctx
		case <-ctx.Done():
			ended, timeout = true, flushTimeout
		}
		within, cancel := context.WithTimeout(within, timeout)
		unread, err := p.push(within)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil && !ended: // broken off, for the last push
			continue
		case err != nil:
			p.pushes.WithLabelValues("failed").Inc()
			if fault := said(err); pushing.news(fault) {
				p.Log.Error("metrics cannot be pushed to otlp.endpoint; it is tried again", append([]any{"interval", p.Interval, "err", fault}, p.hints...)...)
			}
		default:
			p.pushes.WithLabelValues("good").Inc()
			if pushing.over() {
				p.Log.Info("metrics are pushed to otlp.endpoint again")
			}
		}
		switch {
		case unread == nil && reading.over():
			p.Log.Info("all metrics can be read again")
		case unread != nil && reading.news("unread"): // a store tells of its faults in any order
			p.Log.Error("some metrics cannot be read; only the others are pushed to otlp.endpoint", "err", cut(unread.Error()))
		}
	}
	// The exporter holds nothing that has to be let go of but itself.
	if err := p.exporter.Shutdown(context.WithoutCancel(ctx)); err != nil {
		p.Log.Error("otlp.endpoint", "err", cut(err.Error()))
	}
}

// An outage remembers what the log was told of something that fails again and again.
type outage struct {
	fault string    // "": there is none
	next  time.Time // until then no other fault is told
}

// news reports whether the log is to be told of the fault. A service that starts before its receiver sees two, so the second is told at once; others
// may be as many as there are pushes.
func (o *outage) news(fault string) bool {
	now := time.Now()
	if fault == o.fault || now.Before(o.next) {
		return false
	}
	if o.fault != "" {
		o.next = now.Add(againAfter)
	}
	o.fault = fault
	return true
}

// over notes that there is no fault, and reports whether there was one.
func (o *outage) over() bool {
	was := o.fault != ""
	*o = outage{}
	return was
}

// said is what the log says of a push that failed. The exporter does not tell which of these the receiver answered.
//
// Source: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
func said(err error) string {
	return cut(strings.Replace(err.Error(), "retry-able request failure: body:", "the answer was 429, 502, 503 or 504, body:", 1))
}

// push sends all metrics as they are now. Those that could be gathered go out even where others could not, which unread tells.
func (p *OTLP) push(ctx context.Context) (unread, err error) {
	gathered, err := p.metrics.Produce(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	unread = p.gathered
	p.mu.Unlock()
	now := time.Now()
	var scopes []metricdata.ScopeMetrics
	for _, g := range gathered {
		// What is of the Go runtime, of the process and of the page of metrics stays in the bridge's scope.
		ours := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: "github.com/akkospace/pushdoctor", Version: orUnknown(p.Version)}}
		others := metricdata.ScopeMetrics{Scope: g.Scope}
		for _, m := range g.Metrics {
			m.Unit = unit(m.Name)
			timely(m.Data, now)
			if strings.HasPrefix(m.Name, "pushdoctor_") {
				conventional(m.Data)
				ours.Metrics = append(ours.Metrics, m)
			} else {
				others.Metrics = append(others.Metrics, m)
			}
		}
		for _, s := range []metricdata.ScopeMetrics{ours, others} {
			if len(s.Metrics) > 0 {
				scopes = append(scopes, s)
			}
		}
	}
	return unread, p.exporter.Export(ctx, &metricdata.ResourceMetrics{Resource: p.resource, ScopeMetrics: scopes})
}

// wordless passes on what OpenTelemetry tells the process's log of environment variables that it cannot read, without their values: in those of headers
// and addresses there are secrets.
type wordless struct{ slog.Handler }

// Handle passes on the message, and of certificates also which file it was and why.
func (h wordless) Handle(ctx context.Context, r slog.Record) error {
	said := slog.NewRecord(r.Time, r.Level, "OpenTelemetry: "+r.Message, r.PC)
	if strings.Contains(r.Message, "tls") {
		r.Attrs(func(a slog.Attr) bool { said.AddAttrs(a); return true })
	}
	return h.Handler.Handle(ctx, said)
}

// WithAttrs returns h.
func (h wordless) WithAttrs([]slog.Attr) slog.Handler { return h }

// cut bounds what a receiver may say in our log.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), 300)], "") }

// unit is what a metric of that name is measured in, "" where it is a number of things. The words are those of UCUM.
//
// Source: https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units
func unit(name string) string {
	switch name = strings.TrimSuffix(name, "_total"); {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	}
	return ""
}

// conventional renames the attributes of the data points.
func conventional(data metricdata.Aggregation) {
	points(data, func(labels *attribute.Set, _, _ *time.Time) { *labels = attributes(*labels) })
}

// timely says of the data points that they are of now: the bridge takes the time before it gathers, and a series may be born in between. One that was
// born later yet, before the clock was set back, is of a start that is not known.
//
// Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/#temporality
func timely(data metricdata.Aggregation, now time.Time) {
	points(data, func(_ *attribute.Set, start, at *time.Time) {
		*at = now
		if start != nil && start.After(now) {
			*start = time.Time{}
		}
	})
}

// points calls each with the fields of all data points; a gauge has no start.
func points(data metricdata.Aggregation, each func(labels *attribute.Set, start, at *time.Time)) {
	switch d := data.(type) {
	case metricdata.Gauge[float64]:
		for i := range d.DataPoints {
			p := &d.DataPoints[i]
			each(&p.Attributes, nil, &p.Time)
		}
	case metricdata.Sum[float64]:
		for i := range d.DataPoints {
			p := &d.DataPoints[i]
			each(&p.Attributes, &p.StartTime, &p.Time)
		}
	case metricdata.Histogram[float64]:
		for i := range d.DataPoints {
			p := &d.DataPoints[i]
			each(&p.Attributes, &p.StartTime, &p.Time)
		}
	case metricdata.ExponentialHistogram[float64]:
		for i := range d.DataPoints {
			p := &d.DataPoints[i]
			each(&p.Attributes, &p.StartTime, &p.Time)
		}
	case metricdata.Summary:
		for i := range d.DataPoints {
			p := &d.DataPoints[i]
			each(&p.Attributes, &p.StartTime, &p.Time)
		}
	}
}

// attributes returns labels under the names of the semantic conventions, those that mean the same. No convention's metric counts what one of ours
// does: cicd.pipeline.run.errors counts all errors of a run, not those of pushes alone. So the names of metrics stay, and so do the other labels.
//
// Source: https://opentelemetry.io/docs/specs/semconv/cicd/ and https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/
func attributes(labels attribute.Set) attribute.Set {
	out := make([]attribute.KeyValue, 0, labels.Len()+1)
	for _, kv := range labels.ToSlice() {
		value := kv.Value.AsString()
		switch kv.Key {
		case "repository":
			// The convention wants the name alone; "other" is of no owner.
			if owner, name, ok := strings.Cut(value, "/"); ok {
				out = append(out, semconv.VCSOwnerName(owner))
				value = name
			}
			out = append(out, semconv.VCSRepositoryName(value))
		case "workflow":
			out = append(out, semconv.CICDPipelineName(value))
		case "conclusion":
			i := slices.IndexFunc(pipelineResults, func(r pipelineResult) bool { return r.conclusion == value })
			if i < 0 {
				out = append(out, semconv.CICDPipelineResultKey.String(value))
				continue
			}
			out = append(out, pipelineResults[i].result)
		case "cause":
			out = append(out, semconv.ErrorTypeKey.String(value))
		case "status", "code":
			switch n, err := strconv.Atoi(value); {
			case err == nil:
				out = append(out, semconv.HTTPResponseStatusCode(n))
			case value != "none": // without an answer there is no such attribute
				out = append(out, kv)
			}
		default:
			out = append(out, kv)
		}
	}
	return attribute.NewSet(out...)
}

// pipelineResults are the conclusions of GitHub for which the conventions have a word, each one its own.
var pipelineResults = []pipelineResult{
	{"success", semconv.CICDPipelineResultSuccess},
	{"failure", semconv.CICDPipelineResultFailure},
	{"startup_failure", semconv.CICDPipelineResultError},
	{"timed_out", semconv.CICDPipelineResultTimeout},
	{"cancelled", semconv.CICDPipelineResultCancellation},
	{"skipped", semconv.CICDPipelineResultSkip},
}

type pipelineResult struct {
	conclusion string
	result     attribute.KeyValue
}
