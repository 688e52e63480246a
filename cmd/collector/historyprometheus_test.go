//go:build prometheus

package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// perDay are the ways to ask Prometheus what history holds of each day that docs/history.md knows.
var perDay = []string{
	`increase(%[1]s[1d])`,
	`last_over_time(%[1]s[2h]) - (last_over_time(%[1]s[2h] offset 1d) or last_over_time(%[1]s[2h]) * 0)`,
	`last_over_time(%[1]s[1d]) - (last_over_time(%[1]s[1d] offset 1d) or last_over_time(%[1]s[1d]) * 0)`,
}

// A Prometheus that has loaded history must say of each day and cause what the store says: exactly, at each midnight UTC, whatever way of asking the
// documentation gives. Red where a sample is missing at an edge of a series, so that Prometheus extrapolates or sees nothing; where an event is counted
// on another day, twice, or not at all; and where promtool cannot read the file. It needs prometheus and promtool, of Debian's package
// prometheus.
func TestHistoryInPrometheus(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	world := fakegithub.NewWorld()
	then := time.Now().Add(-70 * 24 * time.Hour).UTC().Truncate(time.Second)
	populate(t, world, 60, then, rand.New(rand.NewPCG(6, 4)))
	o := order{Since: then.Add(-31 * 24 * time.Hour), Until: then.Add(24 * time.Hour), Repositories: world.Repositories()}
	g := fakeGitHub(t, world, fakegithub.Options{})
	dir := t.TempDir()
	file, om, data := filepath.Join(dir, "pushdoctor.db"), filepath.Join(dir, "history.om"), filepath.Join(dir, "data")
	if got := (call{args: o.args(file), env: environment(g)}).run(t); got.status != 0 {
		t.Fatalf("status %d\n%s", got.status, got.stderr)
	}
	want, series := halfOf(t, file, then.Add(-10*24*time.Hour))
	if got := (call{args: append(o.args(file), "--openmetrics", om), env: environment(g)}).run(t); got.status != 0 {
		t.Fatalf("status %d\n%s", got.status, got.stderr)
	}
	load := exec.CommandContext(ctx, "promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", "--quiet", om, data)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	p := runPrometheus(t, "history", "", "--storage.tsdb.path="+data, "--storage.tsdb.retention.time=400d")

	first, last := then.Add(-32*24*time.Hour).Truncate(24*time.Hour), then.Add(3*24*time.Hour).Truncate(24*time.Hour)
	for _, metric := range []string{store.MetricPushFailures, store.MetricPushFailuresRetried} {
		for _, form := range perDay {
			got := map[string]float64{}
			for cause, days := range p.matrix(ctx, t, "sum by (cause) ("+fmt.Sprintf(form, metric)+")", first, last) {
				for at, n := range days {
					if n != 0 {
						got[fmt.Sprintf("%s %s %s", metric, at.Add(-24*time.Hour).Format(time.DateOnly), cause)] = n
					}
				}
			}
			of := maps.Clone(want)
			maps.DeleteFunc(of, func(k string, _ float64) bool { return !strings.HasPrefix(k, metric+" ") })
			if diff := cmp.Diff(of, got); diff != "" || len(of) < 5 {
				t.Errorf("%s, %d days with failures (-store +Prometheus):\n%s", fmt.Sprintf(form, metric), len(of), diff)
			}
		}
	}

	// All that history holds, whatever it counts.
	got := map[string]float64{}
	for _, metric := range []string{store.MetricPushFailures, store.MetricPushFailuresRetried, store.MetricPushes, store.MetricRuns, store.MetricJobsRead} {
		for _, days := range p.matrix(ctx, t, fmt.Sprintf(`sum by (metric) (last_over_time(%s{job="pushdoctor-history"}[400d]))`, metric), last, last) {
			got[metric] = days[last]
		}
	}
	if diff := cmp.Diff(series, got); diff != "" {
		t.Errorf("sums (-store +Prometheus):\n%s", diff)
	}
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "level=warn") || strings.Contains(line, "level=error") {
			t.Errorf("Prometheus says: %s", line)
		}
	}
}

// halfOf makes two of the store's repositories live from some time on, so that what comes after is no history, and returns how many failed
// pushes history has by metric, day and cause, and how many events by metric.
func halfOf(t *testing.T, file string, live time.Time) (days, sums map[string]float64) {
	t.Helper()
	db, err := store.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	repositories, err := db.Repositories()
	if err != nil {
		t.Fatal(err)
	}
	since := map[string]time.Time{}
	for _, r := range repositories[:2] {
		r.LiveSince = live
		since[r.Name] = live
		if err := db.PutRepository(r); err != nil {
			t.Fatal(err)
		}
	}
	found, err := db.Find(store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	days, sums = map[string]float64{}, map[string]float64{}
	for _, f := range found {
		if live := since[f.Repository]; !live.IsZero() && !f.CompletedAt.Before(live) {
			continue
		}
		metric := store.MetricPushFailures
		if f.Recovered {
			metric = store.MetricPushFailuresRetried
		}
		days[fmt.Sprintf("%s %s %s", metric, f.CompletedAt.UTC().Format(time.DateOnly), f.Cause)]++
	}
	if err := db.History(func(e store.Event) error { sums[e.Metric] += float64(e.Count); return nil }); err != nil {
		t.Fatal(err)
	}
	return days, sums
}

// matrix asks for an expression at each midnight from first to last, and returns the values by cause and time.
func (p *scraper) matrix(ctx context.Context, t *testing.T, expr string, first, last time.Time) map[string]map[time.Time]float64 {
	t.Helper()
	var data struct {
		Result []struct {
			Metric struct{ Cause string } `json:"metric"`
			Values [][2]any               `json:"values"`
		} `json:"result"`
	}
	p.ask(ctx, t, "query_range", url.Values{
		"query": {expr}, "start": {first.Format(time.RFC3339)}, "end": {last.Format(time.RFC3339)}, "step": {"1d"},
	}, &data)
	out := map[string]map[time.Time]float64{}
	for _, series := range data.Result {
		values := map[time.Time]float64{}
		for _, v := range series.Values {
			n, err := strconv.ParseFloat(v[1].(string), 64)
			if err != nil {
				t.Fatal(err)
			}
			values[time.Unix(int64(v[0].(float64)), 0).UTC()] = n
		}
		out[series.Metric.Cause] = values
	}
	return out
}
