package exporter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// A history with a sample at another hour, without the 0 before its first event or the samples up to the midnight after the last
// one, with the event of a full hour before that hour, out of order, with what is live, or not escaped turns this red.
func TestHistory(t *testing.T) {
	s := newService(t, exporter.Options{})
	if err := s.db.PutRepository(store.Repository{ID: 1, Name: `octo-lab/"a\pi"`, LiveSince: start}); err != nil {
		t.Fatal(err)
	}
	denied := findings(failure(403, pushdoctor.CausePermissionDenied))
	s.read(t, 1, "image.yml", time.Minute, denied) // live
	s.read(t, 1, "image.yml", -10*time.Hour, denied)
	s.read(t, 1, "image.yml", -12*time.Hour-time.Second, denied)
	s.read(t, 1, "image.yml", -12*time.Hour-time.Minute, denied)
	s.read(t, 1, "image.yml", -12*time.Hour, denied)
	var got bytes.Buffer
	if err := exporter.WriteHistory(t.Context(), &got, s.db, s.now); err != nil {
		t.Error(err)
	}
	const labels = `{job="pushdoctor-history",repository="octo-lab/\"a\\pi\"",`
	// The job that ended at midnight belongs to the day that begins.
	counts := []int{0, 2, 3, 3}
	for range 24 {
		counts = append(counts, 4)
	}
	grid := func(series string) (lines string) {
		for i, n := range counts {
			lines += fmt.Sprintf("%s %d %d\n", series, n, start.Add(time.Duration(i-13)*time.Hour).Unix())
		}
		return lines
	}
	want := `# HELP pushdoctor_push_failures Failed attempts to push an image that no retry in the same job cured.
# TYPE pushdoctor_push_failures counter
` + grid(`pushdoctor_push_failures_total`+labels+`workflow="image.yml",registry="ghcr",status="403",cause="permission_denied"}`) +
		`# HELP pushdoctor_push_failures_retried Failed attempts to push an image that a retry in the same job cured.
# TYPE pushdoctor_push_failures_retried counter
# HELP pushdoctor_pushes Pushes of images in the jobs that were read.
# TYPE pushdoctor_pushes counter
` + grid(`pushdoctor_pushes_total`+labels+`workflow="image.yml",registry="ghcr",result="failed"}`) +
		`# HELP pushdoctor_runs Attempts of workflow runs that have ended.
# TYPE pushdoctor_runs counter
# HELP pushdoctor_jobs_read Jobs whose log was read, or could not be, by what came of it.
# TYPE pushdoctor_jobs_read counter
` + grid(`pushdoctor_jobs_read_total`+labels+`result="findings"}`) + "# EOF\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// A sample that is later than was asked for, or one that counts what is, turns this red.
func TestHistoryUntil(t *testing.T) {
	s := newService(t, exporter.Options{})
	for _, after := range []time.Duration{0, time.Hour - time.Second, time.Hour, 2 * time.Hour} {
		s.read(t, 1, "image.yml", after, store.Reading{Result: store.ResultClean})
	}
	for _, test := range []struct {
		until time.Duration
		want  []string
	}{
		{59 * time.Minute, nil},
		{time.Hour, []string{"0", "2"}},
		{2*time.Hour - time.Second, []string{"0", "2"}},
		{3 * time.Hour, []string{"0", "2", "3", "4"}},
	} {
		var out bytes.Buffer
		if err := exporter.WriteHistory(t.Context(), &out, s.db, start.Add(test.until)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, l := range lines(out.String(), "pushdoctor_jobs_read_total") {
			at := fmt.Sprintf(" %d", start.Add(time.Duration(i)*time.Hour).Unix())
			value, ok := strings.CutSuffix(l[strings.Index(l, "} ")+2:], at)
			if !ok {
				t.Errorf("%s: %q is not at%s", test.until, l, at)
			}
			got = append(got, value)
		}
		compare(t, got, test.want)
	}
}

// Red where many events in few hours are counted wrongly once there are too many to keep each, in whatever order they come.
func TestHistoryOfMany(t *testing.T) {
	s := newService(t, exporter.Options{})
	const runs = 5000
	var all []pushdoctor.Run
	for i := range runs {
		all = append(all, pushdoctor.Run{
			RepositoryID: 1, Repository: "octo-lab/api", ID: int64(i), Attempt: 1, Workflow: "image.yml", Conclusion: "success",
			UpdatedAt: start.Add(time.Duration(i%7) * time.Hour),
		})
	}
	if err := s.db.CountRuns(1, all); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := exporter.WriteHistory(t.Context(), &out, s.db, s.now); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines(out.String(), "pushdoctor_runs_total") {
		got = append(got, l[strings.Index(l, "} ")+2:])
	}
	var want []string
	for i := range 15 { // until midnight
		total := 0
		for run := range runs {
			if run%7 < i {
				total++
			}
		}
		want = append(want, fmt.Sprint(total, " ", start.Add(time.Duration(i)*time.Hour).Unix()))
	}
	compare(t, got, want)
}

// brokenPipe takes so many bytes.
type brokenPipe int

func (p *brokenPipe) Write(b []byte) (int, error) {
	if *p -= brokenPipe(len(b)); *p < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(b), nil
}

// A history that cannot be written whole, or is broken off, and says nothing of it turns this red.
func TestHistoryUnwritten(t *testing.T) {
	s := newService(t, exporter.Options{})
	for n := range 20 {
		s.read(t, 1, fmt.Sprintf("%d.yml", n), -30*24*time.Hour, findings(failure(403, pushdoctor.CausePermissionDenied)))
		s.read(t, 1, fmt.Sprintf("%d.yml", n), 0, findings(failure(403, pushdoctor.CausePermissionDenied)))
	}
	for _, room := range []brokenPipe{0, 1 << 20} {
		if err := exporter.WriteHistory(t.Context(), &room, s.db, s.now); err == nil || err.Error() != "broken pipe" {
			t.Errorf("error %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := exporter.WriteHistory(ctx, &out, s.db, s.now); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("broken off: error %v, %d bytes", err, out.Len())
	}
}
