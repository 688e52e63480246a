//go:build torture && unix

package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/parser"
	"github.com/akkospace/pushdoctor/samples"
	"github.com/akkospace/pushdoctor/store"
)

// What the program of the torture is told, and the truth goes by.
const (
	tortureMaxLog         = 1_000_000
	tortureCancelledAfter = 2 * time.Second
)

var tortureRepositories = []string{repoA, repoB, "octo-tools/Builder", "northwind-ci/ledger", "northwind-ci/site"}

// tortureLogs are the logs of a torture's jobs: the samples, one that is clean, one that takes several answers to read where
// they break off, and one that is too long to be read whole.
var tortureLogs = sync.OnceValue(func() [][]byte {
	long := bytes.Repeat([]byte("2026-03-01T10:00:00.0000000Z a line like any other\n"), 20_000)
	logs := [][]byte{[]byte(cleanLog), slices.Concat(long, []byte(failedLog)), slices.Concat([]byte(failedLog), long, long, long, []byte(failedLog))}
	files, err := samples.Logs.ReadDir(".")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, f := range files {
		log, err := samples.Logs.ReadFile(f.Name())
		if err != nil {
			panic(err)
		}
		logs = append(logs, log)
	}
	return logs
})

// A tortureWorld is a world that goes on while the program is killed. What happens in it depends on a seed and, since the program is killed
// at a request, on the time only as far as it tells when a life began.
type tortureWorld struct {
	*fakegithub.World
	runs []*tortureRun
	read map[string]verdict // by log
}

func newTortureWorld() *tortureWorld {
	w := &tortureWorld{World: fakegithub.NewWorld(), read: map[string]verdict{}}
	for _, name := range tortureRepositories {
		w.AddRepository(fakegithub.Repository{Name: name})
	}
	return w
}

// A tortureRun is a run with all of its attempts, each as it is told once it has ended.
type tortureRun struct {
	attempts []pushdoctor.Run
	over     time.Time // the end of the last one, before which it cannot be re-run
}

// grow lets runs begin between two times, and re-runs of those that have ended.
func (w *tortureWorld) grow(random *rand.Rand, from, to time.Time, runs, reruns int) {
	within := func(from, to time.Time) time.Time { return from.Add(time.Duration(random.Int64N(int64(to.Sub(from))))) }
	for range runs {
		at := within(from, to).Truncate(time.Second)
		r := pushdoctor.Run{
			Repository: tortureRepositories[random.IntN(len(tortureRepositories))],
			Workflow:   []string{"image.yml", "release.yaml"}[random.IntN(2)], CreatedAt: at,
		}
		names := []string{"build", "push (linux/amd64)", "push (linux/arm64)", "release / image"}
		var jobs []fakegithub.Job
		bad := random.IntN(2) == 0
		for _, name := range names[:1+random.IntN(len(names))] {
			jobs = append(jobs, tortureJob(random, name, at, bad))
		}
		if bad && random.IntN(8) == 0 {
			r.Conclusion = "success" // its jobs may go on after an error: only another attempt makes it worth a look
		}
		added := &tortureRun{}
		added.add(w.AddRun(r, jobs...))
		w.runs = append(w.runs, added)
	}
	for range reruns {
		again := w.runs[random.IntN(len(w.runs))]
		if !again.over.Before(to) {
			continue
		}
		at := within(latest(from, again.over), to).Truncate(time.Second).Add(time.Second)
		w.again(random, again, at)
		if random.IntN(3) == 0 {
			w.again(random, again, again.over.Add(time.Second)) // before anybody has seen that one
		}
	}
}

// again runs a run anew: whole, only what has failed in it, or one job alone, which carries over failed ones too.
func (w *tortureWorld) again(random *rand.Rand, run *tortureRun, at time.Time) {
	last := slices.DeleteFunc(w.Jobs(run.attempts[0].ID), func(j fakegithub.Job) bool { return j.RunAttempt < len(run.attempts) })
	good := func(j fakegithub.Job) bool { return j.Conclusion == "success" }
	switch one := random.IntN(len(last)); random.IntN(3) {
	case 0:
		last = last[one : one+1]
	case 1:
		if failed := slices.DeleteFunc(slices.Clone(last), good); len(failed) > 0 {
			last = failed
		}
	}
	var jobs []fakegithub.Job
	for _, j := range last {
		jobs = append(jobs, tortureJob(random, j.Name, at, random.IntN(2) == 0))
	}
	run.add(w.Rerun(run.attempts[0].ID, at, jobs...))
}

func (r *tortureRun) add(attempt pushdoctor.Run) {
	r.attempts = append(r.attempts, attempt)
	r.over = attempt.UpdatedAt
}

// tortureJob is a job of an attempt that began at a time. A bad one most likely fails.
func tortureJob(random *rand.Rand, name string, at time.Time, bad bool) fakegithub.Job {
	logs := tortureLogs()
	j := fakegithub.Job{Job: pushdoctor.Job{Name: name}, Log: logs[random.IntN(len(logs))]}
	j.StartedAt = at.Add(time.Duration(random.IntN(2)) * time.Second)
	lasts := time.Duration(1+random.IntN(4)) * time.Second
	switch random.IntN(12) {
	case 0: // through deaths
		lasts = time.Minute + time.Duration(random.Int64N(int64(3*time.Hour)))
	case 1:
		lasts = time.Duration(5+random.IntN(20)) * time.Second
	}
	j.CompletedAt = j.StartedAt.Add(lasts)
	if bad {
		j.Conclusion = []string{"failure", "failure", "failure", "failure", "timed_out", "cancelled", "success"}[random.IntN(7)]
	}
	switch random.IntN(10) {
	case 0:
		j.Lost = true
	case 1:
		j.Gone = true
	case 2, 3:
		j.LogAt = j.CompletedAt.Add(time.Duration(1+random.IntN(8)) * time.Second)
	}
	return j
}

// over is when the last thing in the world has happened.
func (w *tortureWorld) over() (last time.Time) {
	for _, r := range w.runs {
		last = latest(last, r.over)
	}
	return last
}

// latest returns the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// An execution is one of a job, as it is true.
type execution struct {
	fakegithub.Job         // as of the attempt in which it ran
	ids            []int64 // that it has: one more for each attempt that carried it over
	wanted         bool
	verdict
}

// A verdict is what the reading of a log comes to.
type verdict struct {
	result   store.Result
	findings []pushdoctor.Finding
	pushed   map[pushdoctor.Registry]int
	bytes    int64
}

// identity is what a job's execution keeps in the attempts that carry it over, spelled out: the program's own may be wrong.
func identity(j fakegithub.Job) pushdoctor.Execution {
	return pushdoctor.Execution{RunID: j.RunID, Name: j.Name, StartedAt: j.StartedAt, Runner: j.Runner}
}

// executions are those of all runs, and what reading them comes to.
func (w *tortureWorld) executions() []*execution {
	var all []*execution
	for _, run := range w.runs {
		// The last attempt is told; the others show where there are any.
		last := run.attempts[len(run.attempts)-1].Conclusion
		seen := len(run.attempts) > 1 || slices.Contains([]string{"failure", "timed_out", "cancelled"}, last)
		by := map[pushdoctor.Execution]*execution{}
		for _, j := range w.Jobs(run.attempts[0].ID) { // as old as their ids
			e := by[identity(j)]
			if e == nil {
				e = &execution{Job: j}
				by[identity(j)] = e
				all = append(all, e)
			}
			e.ids = append(e.ids, j.JobID)
		}
		for _, e := range by {
			switch e.Conclusion {
			case "failure", "timed_out":
				e.wanted = seen
			case "cancelled":
				e.wanted = seen && e.CompletedAt.Sub(e.StartedAt) >= tortureCancelledAfter
			}
			switch {
			case e.Lost:
				e.verdict = verdict{result: store.ResultUnreadable}
			case e.Gone:
				e.verdict = verdict{result: store.ResultExpired}
			default:
				if _, ok := w.read[string(e.Log)]; !ok {
					w.read[string(e.Log)] = readLog(e.Log)
				}
				e.verdict = w.read[string(e.Log)]
			}
		}
	}
	return all
}

// readLog reads a log as it is promised: whole, or the first megabyte and the last tortureMaxLog bytes.
func readLog(log []byte) verdict {
	r := verdict{result: store.ResultClean, pushed: map[pushdoctor.Registry]int{}}
	const head = 1 << 20
	if len(log) > head+tortureMaxLog {
		_, tail, _ := bytes.Cut(log[len(log)-tortureMaxLog:], []byte("\n"))
		log = slices.Concat(log[:head], []byte("\n"), tail)
		r.result = store.ResultTruncated
	}
	report, err := classifier.Builtin().Classify(parser.New(bytes.NewReader(log)))
	if err != nil {
		panic(err) // the reader has none
	}
	r.findings, r.bytes = report.Findings, int64(len(log))
	if r.result == store.ResultClean && len(r.findings) > 0 {
		r.result = store.ResultFindings
	}
	for _, image := range report.Facts.Pushed {
		r.pushed[classifier.RegistryOf(image)]++
	}
	return r
}

// String identifies the execution to people.
func (e *execution) String() string {
	fate := string(e.result)
	if !e.LogAt.IsZero() && e.result != store.ResultUnreadable && e.result != store.ResultExpired {
		fate += ", log there " + e.LogAt.Sub(e.CompletedAt).String() + " after its end"
	}
	return fmt.Sprintf("%s run %d attempt %d job %d %q (%s, %s from %s to %s: %s)", e.Repository, e.RunID, e.RunAttempt, e.JobID, e.Name, e.Workflow,
		e.Conclusion, e.StartedAt.Format(time.DateTime), e.CompletedAt.Format(time.DateTime), fate)
}

// words are those by which requests about the execution are found.
func (e *execution) words() []string {
	words := []string{fmt.Sprintf("/runs/%d/", e.RunID)}
	for _, id := range e.ids {
		words = append(words, fmt.Sprintf("/jobs/%d/", id), fmt.Sprintf("/logs/%d/", id))
	}
	return words
}

// sums are the totals by series, live and history apart.
type sums map[string]float64

func (s sums) add(metric string, live bool, by float64, labels ...string) {
	kind := "history"
	if live {
		kind = "live"
	}
	s[fmt.Sprintf("%s{%s} %s", strings.TrimSuffix(strings.TrimPrefix(metric, "pushdoctor_"), "_total"), strings.Join(labels, ","), kind)] += by
}

// tortureMetrics are those whose totals follow from the truth alone.
var tortureMetrics = []string{
	store.MetricPushFailures, store.MetricPushFailuresRetried, store.MetricPushes, store.MetricRuns, store.MetricJobsRead, store.MetricLogBytes,
}

// sumsOf are those that a store has counted.
func sumsOf(db *store.DB) (sums, error) {
	totals, err := db.Totals()
	s := sums{}
	for _, total := range totals {
		if slices.Contains(tortureMetrics, total.Metric) {
			s.add(total.Metric, total.Live, total.Value, total.Labels...)
		}
	}
	return s, err
}

// sums are what the totals must come to, where the repositories are live since the times that are given by name.
func (w *tortureWorld) sums(executions []*execution, since map[string]time.Time) sums {
	s := sums{}
	live := func(repository string, ended time.Time) bool {
		begun, ok := since[repository]
		return ok && !ended.Before(begun)
	}
	for _, run := range w.runs {
		for _, a := range run.attempts {
			s.add(store.MetricRuns, live(a.Repository, a.UpdatedAt), 1, a.Repository, a.Workflow, a.Conclusion)
		}
	}
	for _, e := range executions {
		if !e.wanted {
			continue
		}
		live := live(e.Repository, e.CompletedAt)
		s.add(store.MetricJobsRead, live, 1, e.Repository, string(e.result))
		if e.bytes > 0 {
			s.add(store.MetricLogBytes, live, float64(e.bytes))
		}
		good, cured := map[pushdoctor.Registry]int{}, map[string]bool{}
		maps.Copy(good, e.pushed)
		for _, f := range e.findings {
			metric, result, status := store.MetricPushFailures, "failed", "none"
			if f.Recovered {
				metric, result = store.MetricPushFailuresRetried, "retried"
			}
			if f.Status != 0 {
				status = fmt.Sprint(f.Status)
			}
			s.add(metric, live, 1, e.Repository, e.Workflow, string(f.Registry), status, string(f.Cause))
			s.add(store.MetricPushes, live, 1, e.Repository, e.Workflow, string(f.Registry), result)
			if image := string(f.Registry) + " " + f.Image; f.Recovered && !cured[image] {
				cured[image] = true
				good[f.Registry]-- // it is among the pushed ones
			}
		}
		for registry, n := range good {
			if n > 0 {
				s.add(store.MetricPushes, live, float64(n), e.Repository, e.Workflow, string(registry), "good")
			}
		}
	}
	return s
}
