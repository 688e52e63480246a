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
	resource *resource.Resource
	metrics  metric.Producer
	exporter metric.Exporter

	mu       sync.Mutex
	gathered error // what the last gathering complained of
}

const (
	pushTimeout  = 10 * time.Second
	flushTimeout = 3 * time.Second
)

// NewOTLP returns an OTLP for the metrics of g. Headers, certificates and compression are those of the standard's environment variables
// (OTEL_EXPORTER_OTLP_HEADERS, ..._CERTIFICATE, ..._COMPRESSION), and the resource is that of OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME
// besides ours.
//
// Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
func NewOTLP(ctx context.Context, g prometheus.Gatherer, o OTLPOptions) (*OTLP, error) {
	address, err := url.JoinPath(o.Endpoint, "v1", "metrics")
	if err != nil {
		return nil, err
	}
	p := &OTLP{OTLPOptions: o}
	otel.SetLogger(logr.FromSlogHandler(wordless{o.Log.Handler()}))
	if p.resource, err = resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("pushdoctor"), semconv.ServiceVersion(orUnknown(o.Version))),
		resource.WithTelemetrySDK(), resource.WithFromEnv(),
	); err != nil {
		return nil, fmt.Errorf("the resource of OTLP: %w", err)
	}
	p.exporter, err = otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(address), otlpmetrichttp.WithTimeout(pushTimeout),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("OTLP: %w", err)
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
// told to the log once.
func (p *OTLP) Run(ctx context.Context) {
	t := time.NewTicker(p.Interval)
	defer t.Stop()
	failing := false
	for ended := false; !ended; {
		within, timeout := context.WithoutCancel(ctx), pushTimeout
		select {
		case <-t.C:
			within = ctx
		case <-ctx.Done():
			ended, timeout = true, flushTimeout
		}
		within, cancel := context.WithTimeout(within, timeout)
		err := p.push(within)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil && !ended: // broken off, for the last push
		case err != nil && !failing:
			failing = true
			p.Log.Error("metrics cannot be pushed to otlp.endpoint; it is tried again", "interval", p.Interval, "err", cut(err.Error()))
		case err == nil && failing:
			failing = false
			p.Log.Info("metrics are pushed to otlp.endpoint again")
		}
	}
	// The exporter holds nothing that has to be let go of but itself.
	if err := p.exporter.Shutdown(context.WithoutCancel(ctx)); err != nil {
		p.Log.Error("otlp.endpoint", "err", cut(err.Error()))
	}
}

// push sends all metrics as they are now. Those that could be gathered go out even where others could not.
func (p *OTLP) push(ctx context.Context) error {
	scopes, err := p.metrics.Produce(ctx)
	if err != nil {
		return err
	}
	for i := range scopes {
		scopes[i].Scope.Name = "github.com/akkospace/pushdoctor"
		for _, m := range scopes[i].Metrics {
			if strings.HasPrefix(m.Name, "pushdoctor_") {
				conventional(m.Data)
			}
		}
	}
	if err := p.exporter.Export(ctx, &metricdata.ResourceMetrics{Resource: p.resource, ScopeMetrics: scopes}); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gathered
}

// wordless passes on what OpenTelemetry tells the process's log of environment variables that it cannot read, without their values: in those of headers
// there are secrets.
type wordless struct{ slog.Handler }

// Handle passes on the message alone.
func (h wordless) Handle(ctx context.Context, r slog.Record) error {
	return h.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, "OpenTelemetry: "+r.Message, r.PC))
}

// WithAttrs returns h.
func (h wordless) WithAttrs([]slog.Attr) slog.Handler { return h }

// cut bounds what a receiver may say in our log.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), 300)], "") }

// conventional renames the attributes of the data points.
func conventional(data metricdata.Aggregation) {
	switch d := data.(type) {
	case metricdata.Gauge[float64]:
		for i := range d.DataPoints {
			d.DataPoints[i].Attributes = attributes(d.DataPoints[i].Attributes)
		}
	case metricdata.Sum[float64]:
		for i := range d.DataPoints {
			d.DataPoints[i].Attributes = attributes(d.DataPoints[i].Attributes)
		}
	case metricdata.Histogram[float64]:
		for i := range d.DataPoints {
			d.DataPoints[i].Attributes = attributes(d.DataPoints[i].Attributes)
		}
	case metricdata.ExponentialHistogram[float64]:
		for i := range d.DataPoints {
			d.DataPoints[i].Attributes = attributes(d.DataPoints[i].Attributes)
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
