package fakegithub_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/parser"
)

func life(seed uint64) (*fakegithub.World, fakegithub.Life) {
	l := fakegithub.Life{Seed: seed, Start: now, Length: time.Minute, Past: 20 * 24 * time.Hour, Runs: 60, LongLog: 100_000}
	w := fakegithub.NewWorld()
	w.Live(l)
	return w, l
}

// A seed that does not play the same Life again is of no use to whoever looks for a fault.
func TestLifeIsTheSame(t *testing.T) {
	end := now.Add(time.Minute)
	a, l := life(3)
	b, _ := life(3)
	c, _ := life(4)
	if !reflect.DeepEqual(a.Truth(end), b.Truth(end)) { // cmp takes a minute for the logs
		t.Error("seed 3 twice is not the same life")
	}
	if reflect.DeepEqual(a.Truth(end), c.Truth(end)) {
		t.Error("seeds 3 and 4 are the same life")
	}
	if n := len(a.Repositories()); n != 6 || l.Repositories != nil {
		t.Errorf("%d repositories", n)
	}
}

// A truth that the classifier does not share is none: every log whose causes are told is held against what is found in it.
func TestTruthOfLogs(t *testing.T) {
	w, _ := life(1)
	rules := classifier.Builtin()
	for _, o := range w.Truth(now.Add(time.Minute)).Executions {
		report, err := rules.Classify(parser.New(bytes.NewReader(o.Log)))
		if err != nil {
			t.Fatal(err)
		}
		causes := []pushdoctor.Cause{}
		for _, f := range report.Findings {
			causes = append(causes, f.Cause)
			if f.Time.Before(o.StartedAt) || f.Time.After(o.CompletedAt) {
				t.Errorf("job %d: a finding at %v in a job from %v to %v", o.JobID, f.Time, o.StartedAt, o.CompletedAt)
			}
		}
		if diff := cmp.Diff(o.Causes, causes); diff != "" {
			t.Fatalf("job %d (-want +got)\n%s%s", o.JobID, diff, o.Log)
		}
	}
}

// What a living World is for must be in every Life: a kind of run that is never played is a kind that is never tested.
func TestLife(t *testing.T) {
	for seed := range uint64(5) {
		w, l := life(seed)
		end := l.Start.Add(l.Length)
		seen := map[string]int{}
		counted := map[string]bool{}
		for _, a := range w.Truth(end).Attempts {
			seen["attempts"]++
			counted[fmt.Sprint(a.ID, " ", a.Attempt)] = true
			if a.Attempt > 2 {
				seen["re-run twice"]++
			}
			if a.Attempt > 1 && a.CreatedAt.Before(l.Start.Add(-24*time.Hour)) && a.StartedAt.After(l.Start) {
				seen["old and re-run"]++
			}
			if a.HeadRepository != a.Repository {
				seen["of a fork"]++
			}
			if a.Branch[0] == 'v' {
				seen["of a tag"]++
			}
			if a.StartedAt.Before(l.Start) && a.UpdatedAt.After(l.Start) {
				seen["going on at the start"]++
			}
		}
		for _, name := range w.Repositories() {
			for _, run := range w.Runs(name, end) {
				if run.Status != "completed" {
					t.Errorf("seed %d: run %d goes on at the end", seed, run.ID)
				}
				for n := range run.Attempt {
					if !counted[fmt.Sprint(run.ID, " ", n+1)] {
						t.Errorf("seed %d: attempt %d of run %d is not told", seed, n+1, run.ID)
					}
				}
				jobs := w.Jobs(run.ID)
				for i := range run.Attempt {
					of := slices.DeleteFunc(slices.Clone(jobs), func(j fakegithub.Job) bool { return j.RunAttempt != i+1 })
					again := slices.DeleteFunc(slices.Clone(jobs), func(j fakegithub.Job) bool { return j.RunAttempt != i+2 })
					for _, j := range of {
						for _, next := range again {
							if next.Name == j.Name && next.Execution() != j.Execution() && next.StartedAt.Sub(j.CompletedAt) <= 5*time.Second {
								seen["re-run at once"]++
							}
							if next.Execution() == j.Execution() {
								seen["carried over"]++
							}
						}
					}
				}
			}
		}
		for _, o := range w.Truth(end).Executions {
			seen["executions"]++
			seen[string(o.State)]++
			lasted := o.CompletedAt.Sub(o.StartedAt)
			switch {
			case o.Conclusion == "failure" && o.Run.Conclusion == "success" && o.Run.Attempt == 1:
				seen["failed in a green run"]++
			case o.Conclusion == "failure" && o.Run.Conclusion == "success":
				seen["cured"]++
			case o.Conclusion == "cancelled" && lasted >= 5*time.Minute:
				seen["cancelled by its limit"]++
			case o.Conclusion == "cancelled":
				seen["cancelled soon"]++
			case o.Conclusion == "timed_out":
				seen["timed out"]++
			}
			if o.Name == "push (linux/arm64, 8)" {
				seen["matrix"]++
			}
			if o.LogAt.After(o.CompletedAt) {
				seen["log late"]++
			}
			if o.GoneUntil.After(o.CompletedAt) {
				seen["log gone at first"]++
			}
			if len(o.Log) > l.LongLog {
				seen["log long"]++
			}
			if len(o.Causes) > 1 {
				seen["two findings"]++
			}
			if o.CompletedAt.After(end) || o.State == fakegithub.LogLate {
				t.Errorf("seed %d: job %d ends at %v, its log is %s", seed, o.JobID, o.CompletedAt, o.State)
			}
		}
		for _, what := range []string{
			"re-run twice", "old and re-run", "of a fork", "of a tag", "going on at the start", "re-run at once", "carried over", "there", "lost", "gone",
			"failed in a green run", "cured", "cancelled by its limit", "cancelled soon", "timed out", "matrix", "log late", "log gone at first", "log long", "two findings",
		} {
			if seen[what] == 0 {
				t.Errorf("seed %d: no %s in %v", seed, what, seen)
			}
		}
		if begun := w.Truth(l.Start); len(begun.Attempts) < seen["attempts"]/3 || len(begun.Attempts) > seen["attempts"]*2/3 {
			t.Errorf("seed %d: %d of %d attempts are over at the start", seed, len(begun.Attempts), seen["attempts"])
		}
	}
}

// A truth that tells of what has not happened yet, or that counts a carried-over job twice, would blame a client for being right.
func TestTruth(t *testing.T) {
	w := fakegithub.NewWorld()
	job := func(name, conclusion string) fakegithub.Job {
		return fakegithub.Job{Job: pushdoctor.Job{Name: name, Conclusion: conclusion}, LogAt: now.Add(3 * time.Minute)}
	}
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: now}, job("build", "failure"), job("test", "success"))
	w.Rerun(run.ID, now.Add(10*time.Minute), job("build", "success"))
	for _, test := range []struct {
		after time.Duration
		want  string
	}{
		{time.Minute, ""},
		{2 * time.Minute, "failure; build 1 late 1 test 1 late 1 "},
		{5 * time.Minute, "failure; build 1 there 1 test 1 there 1 "},
		{10 * time.Minute, "failure; build 1 there 2 test 1 there 2 "},
		{20 * time.Minute, "failure; success; build 1 there 2 test 1 there 2 build 2 there 2 "},
	} {
		truth := w.Truth(now.Add(test.after))
		got := ""
		for _, a := range truth.Attempts {
			got += a.Conclusion + "; "
		}
		for _, o := range truth.Executions {
			got += fmt.Sprint(o.Name, " ", o.RunAttempt, " ", o.State, " ", o.Run.Attempt, " ")
		}
		if got != test.want {
			t.Errorf("after %v: %q, want %q", test.after, got, test.want)
		}
	}
}
