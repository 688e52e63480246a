package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/akkospace/pushdoctor/store"
)

// A pusher does what OpenTelemetry's exporter does, without a network, so that the time of a bubble goes on.
type pusher struct {
	metric.Exporter
	export func(context.Context) error
}

func (p pusher) Export(ctx context.Context, _ *metricdata.ResourceMetrics) error {
	return p.export(ctx)
}
func (p pusher) Shutdown(context.Context) error { return nil }

// pushing runs an OTLP for a time, in a bubble, and returns what it told the log, each line as "00:10:00 LEVEL text", and how long its end took.
func pushing(t *testing.T, during time.Duration, export func(ctx context.Context, since time.Duration) error) (told []string, end time.Duration) {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		registry, start := prometheus.NewRegistry(), time.Now()
		o, err := New(registry, db, Options{}).NewOTLP(t.Context(), registry, OTLPOptions{
			Endpoint: "http://collector.example.test:4317", Interval: time.Minute, Log: slog.New(slog.NewJSONHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		o.exporter = pusher{o.exporter, func(ctx context.Context) error { return export(ctx, time.Since(start)) }}
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		o.Run(ctx)
		end = time.Since(start) - during
	})
	for d := json.NewDecoder(&log); d.More(); {
		var line struct {
			Time             time.Time
			Level, Err, Hint string
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Level == "ERROR" && !strings.Contains(line.Hint, "4318") {
			t.Errorf("no word of the other port: %+v", line)
		}
		told = append(told, strings.TrimSpace(line.Time.UTC().Format(time.TimeOnly)+" "+line.Level+" "+line.Err))
	}
	return told, end
}

// Red where the second fault is not told, such as a refusal of a receiver that was not there at first; where each of many is told, or the same again; and
// where nothing tells of the end.
func TestOTLPFaults(t *testing.T) {
	told, _ := pushing(t, 50*time.Minute, func(_ context.Context, since time.Duration) error {
		switch minute := since / time.Minute; {
		case minute <= 2:
			return errors.New("connection refused")
		case minute <= 7:
			return errors.New("401 Unauthorized")
		case minute <= 30:
			return errors.New("reset " + since.String())
		case minute == 40:
			return errors.New("503")
		}
		return nil
	})
	want := []string{
		"00:01:00 ERROR connection refused",
		"00:03:00 ERROR 401 Unauthorized",
		"00:13:00 ERROR reset 13m0s",
		"00:23:00 ERROR reset 23m0s",
		"00:31:00 INFO",
		"00:40:00 ERROR 503",
		"00:41:00 INFO",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A service that waits longer than three seconds for a receiver that hangs turns this red, whether a push is under way at its end or not.
func TestOTLPEnd(t *testing.T) {
	for _, during := range []time.Duration{30 * time.Second, 65 * time.Second} {
		_, end := pushing(t, during, func(ctx context.Context, _ time.Duration) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if end != 3*time.Second {
			t.Errorf("after %s it took %s to end, want 3s", during, end)
		}
	}
}
