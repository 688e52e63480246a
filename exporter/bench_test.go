package exporter_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// manySeries is a service whose metrics from the store have 10,000 series and some.
func manySeries(b *testing.B) *service {
	b.Helper()
	s := newService(b, exporter.Options{MaxSeries: 20000})
	for repo := range int64(20) {
		s.watch(b, repo+1, fmt.Sprintf("octo-lab/service-%d", repo))
		r := store.Reading{Result: store.ResultFindings}
		for i := range 485 {
			f := failure(400+i%15, pushdoctor.Causes[i%len(pushdoctor.Causes)])
			f.Registry = pushdoctor.Registries[i%17]
			r.Findings = append(r.Findings, f)
		}
		s.read(b, repo+1, "image.yml", time.Hour, r)
	}
	s.now = time.Now().Add(birth + time.Minute)
	return s
}

// A scrape of 10,000 series is to take less than 50 ms.
func BenchmarkScrape(b *testing.B) {
	s := manySeries(b)
	for _, format := range []struct{ name, accept string }{
		{"Text", "text/plain"}, {"OpenMetrics", openMetrics}, {"Protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"},
	} {
		b.Run(format.name, func(b *testing.B) {
			h := exporter.Handler(s.registry, slog.New(slog.DiscardHandler))
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", format.accept)
			scrape := func() int {
				w := &discard{header: http.Header{}}
				h.ServeHTTP(w, r)
				return w.n
			}
			for range 25 { // after as many all exemplars are known
				scrape()
			}
			b.ReportAllocs()
			for b.Loop() {
				if n := scrape(); n < 1<<20 {
					b.Fatalf("a page of %d bytes", n)
				}
			}
		})
	}
}

// A scrape while everything fails costs what one of a quiet hour does and little more: red in the figures where it reads each finding again.
func BenchmarkScrapeIncident(b *testing.B) {
	s := newService(b, exporter.Options{})
	for repo := range int64(300) {
		s.watch(b, repo+1, fmt.Sprintf("octo-lab/service-%d", repo))
		f := failure(503, pushdoctor.CauseRegistryUnavailable)
		f.Evidence = []pushdoctor.Evidence{{Kind: pushdoctor.EvidenceAnswer, Line: 7, Text: strings.Repeat("503 Service Unavailable ", 300)}}
		s.read(b, repo+1, "image.yml", time.Hour, findings(f, f, f, f, f))
	}
	s.now = start.Add(time.Hour)
	h := exporter.Handler(s.registry, slog.New(slog.DiscardHandler))
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&discard{header: http.Header{}}, r)
	}
}

// A discard is a reader of whom nothing is measured.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
