package store_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// events are what History tells, counted, as the lines of the totals that are not live, and how long after day each time is.
func events(t *testing.T, db *store.DB) (lines, times []string) {
	t.Helper()
	counts := map[string]float64{}
	at := map[string][]string{}
	if err := db.History(func(e store.Event) error {
		series := line(store.Total{Metric: e.Metric, Labels: e.Labels})
		series = strings.TrimSuffix(series, " 0")
		counts[series] += float64(e.Count)
		at[series] = append(at[series], fmt.Sprintf("%s %s", series, e.Ended.Sub(day)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for series, n := range counts {
		lines = append(lines, fmt.Sprintf("%s %g", series, n))
		times = append(times, at[series]...)
	}
	slices.Sort(lines)
	slices.Sort(times)
	return lines, times
}

// history are the totals that are not live, of what has a time.
func history(t *testing.T, db *store.DB) (lines []string) {
	t.Helper()
	all, err := db.Totals()
	if err != nil {
		t.Fatal(err)
	}
	for _, total := range all {
		if total.Finding = ""; !total.Live && total.Metric != store.MetricLogBytes {
			lines = append(lines, line(total))
		}
	}
	slices.Sort(lines)
	return lines
}

// Red where an event is left out or told twice, has another label than its total, or another time than that of its job or run; where what
// is live is among them; and where an execution that was read twice is told twice.
func TestHistory(t *testing.T) {
	db := open(t, file(t))
	for id, name := range map[int64]string{7: "octo-lab/api", 8: "octo-lab/web"} {
		if err := db.PutRepository(store.Repository{ID: id, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api", LiveSince: day.Add(3 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for job := int64(1); job <= 8; job++ {
		r := reading(job, day.Add(time.Duration(job)*time.Hour), denied("api"), reset("web", job%2 == 0), reset("web", job%2 == 0))
		r.Pushed = map[pushdoctor.Registry]int{pushdoctor.RegistryQuay: 2, pushdoctor.RegistryGHCR: 1}
		switch job {
		case 5:
			r.Result, r.Findings, r.Job.Workflow = store.ResultExpired, nil, ""
		case 6, 7:
			r.Job.RepositoryID, r.Job.Repository = 8, "octo-lab/web"
		case 8:
			r.Job.RepositoryID, r.Job.Workflow = 8, strings.Repeat("ü", 200)
		}
		record(t, db, r, true)
		record(t, db, r, false)
	}
	for hour := range 5 {
		if err := db.CountRuns(7, []pushdoctor.Run{{
			Repository: "octo-lab/api", ID: int64(hour), Attempt: 1, Workflow: "image.yml", Conclusion: "failure", UpdatedAt: day.Add(time.Duration(hour) * time.Hour),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	lines, times := events(t, db)
	if diff := cmp.Diff(history(t, db), lines); diff != "" || len(lines) < 15 {
		t.Errorf("%d series of history (-totals +events):\n%s", len(lines), diff)
	}
	var runs []string
	for _, l := range times {
		if strings.HasPrefix(l, "history runs") {
			runs = append(runs, l)
		}
	}
	const series = "history runs{octo-lab/api,image.yml,failure} "
	if diff := cmp.Diff([]string{series + "0s", series + "1h0m0s", series + "2h0m0s"}, runs); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	broken := errors.New("enough")
	if err := db.History(func(store.Event) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("an error of who is told: %v", err)
	}
}

// Rows without words, of an older program, must be told as far as they go: what is guessed of them turns this red.
func TestHistoryOfOlderRows(t *testing.T) {
	path := file(t)
	if err := os.WriteFile(path, written(t)[1], 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, path)
	want := slices.DeleteFunc(history(t, db), func(l string) bool { return strings.Contains(l, "history runs") || strings.Contains(l, ",good} ") })
	got, _ := events(t, db)
	if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
