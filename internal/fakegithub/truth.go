package fakegithub

import (
	"cmp"
	"slices"
	"time"

	"github.com/akkospace/pushdoctor"
)

// A Truth is what a client that has missed nothing knows of a World.
type Truth struct {
	// Attempts are all attempts of runs that have ended, each as it ended, by run and number.
	Attempts []pushdoctor.Run
	// Executions are all executions of jobs that have ended, each once, by run and job.
	Executions []Outcome
}

// An Outcome is an execution of a job that has ended.
type Outcome struct {
	Job            // as of the attempt in which it ran
	State LogState // of its log
	// Run is the run in its newest attempt. A client sees to a run's jobs when that has ended.
	Run pushdoctor.Run
}

// A LogState says whether the log of a job can be had.
type LogState string

// The states. LogLate is that of a log that cannot be had yet.
const (
	LogThere LogState = "there"
	LogLate  LogState = "late"
	LogLost  LogState = "lost"
	LogGone  LogState = "gone"
)

// log returns the state of the job's log at that time.
func (j *Job) log(now time.Time) LogState {
	switch {
	case j.Lost:
		return LogLost
	case j.CompletedAt.After(now) || j.LogAt.After(now):
		return LogLate
	case j.Gone:
		return LogGone
	case j.GoneUntil.After(now):
		return LogLate
	}
	return LogThere
}

// Truth returns what is true at that time, of the repositories that are there at all.
func (w *World) Truth(now time.Time) Truth {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var truth Truth
	for _, repo := range w.repositories {
		for _, x := range repo.runs {
			newest, index := x.at(now)
			seen := map[pushdoctor.Execution]bool{}
			for i := range index + 1 {
				if told := x.attemptAt(i, now); told.Status == "completed" {
					truth.Attempts = append(truth.Attempts, told)
				}
				for _, j := range x.attempts[i].jobs {
					if j.CompletedAt.After(now) || seen[j.Execution()] {
						continue
					}
					seen[j.Execution()] = true
					outcome := Outcome{Job: *j, State: j.log(now), Run: newest}
					outcome.Repository = repo.Name
					truth.Executions = append(truth.Executions, outcome)
				}
			}
		}
	}
	slices.SortFunc(truth.Attempts, func(a, b pushdoctor.Run) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Attempt, b.Attempt))
	})
	slices.SortFunc(truth.Executions, func(a, b Outcome) int { return cmp.Or(cmp.Compare(a.RunID, b.RunID), cmp.Compare(a.JobID, b.JobID)) })
	return truth
}
