package fakegithub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor"
)

// A Life is what happens in a World by chance. One Life is always the same.
type Life struct {
	Seed         uint64
	Start        time.Time     // from then on runs appear, end and are re-run
	Length       time.Duration // at Start+Length all has ended, and each log that comes at all is there; a minute or more
	Past         time.Duration // runs are there from so long before Start on; 0: only those that go on at Start
	Repositories []string      // nil: six of three owners
	Runs         int           // of each repository, half of them from before Start where there is a Past
	LongLog      int           // bytes of one log in twenty; 0: all are short
}

// Live plans a Life in the World; what is planned becomes visible when its time comes, and Truth tells what should have been seen.
//
// There are runs of branches, tags and forks; jobs that wait long for a runner, those of a matrix whose names begin alike, jobs
// cancelled soon and by their time limit, and failed ones in green runs; logs that are late, told gone while fresh, never there or deleted; re-runs
// of failed jobs and of whole runs, up to three, also within seconds, and of runs from the past.
func (w *World) Live(l Life) {
	if l.Repositories == nil {
		l.Repositories = []string{"octo-lab/api", "octo-lab/web", "octo-tools/Builder", "octo-tools/agent", "northwind-ci/ledger", "northwind-ci/site"}
	}
	l.Start = l.Start.UTC().Truncate(time.Second)
	f := &fate{Life: l, Rand: rand.New(rand.NewPCG(l.Seed, 1)), end: l.Start.Add(l.Length.Truncate(time.Second)), unit: max(time.Second, (l.Length / 60).Truncate(time.Second))}
	var plans []plan
	for _, name := range l.Repositories {
		w.AddRepository(Repository{Name: name})
		for n := range l.Runs {
			plans = append(plans, f.plan(name, l.Past > 0 && n%2 == 0))
		}
	}
	slices.SortStableFunc(plans, func(a, b plan) int { return a.run.CreatedAt.Compare(b.run.CreatedAt) }) // as GitHub gives ids
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range plans {
		id := w.addRun(p.run, p.attempts[0].jobs).ID
		for _, a := range p.attempts[1:] {
			w.rerun(id, a.at, a.jobs)
		}
	}
}

// A fate plans a Life.
type fate struct {
	Life
	*rand.Rand
	end  time.Time
	unit time.Duration // a sixtieth of the Life
}

// A plan is a run with its attempts.
type plan struct {
	run      pushdoctor.Run
	attempts []planned
}

type planned struct {
	at   time.Time
	jobs []Job
}

func (f *fate) in(share float64) bool { return f.Float64() < share }

// within returns whole seconds from 1 s to d.
func (f *fate) within(d time.Duration) time.Duration {
	return time.Second * time.Duration(1+f.Int64N(max(1, int64(d/time.Second))))
}

func (f *fate) plan(repository string, past bool) plan {
	r := pushdoctor.Run{Repository: repository, Workflow: "image.yml", WorkflowName: "Image"}
	if f.in(0.3) {
		r.Workflow, r.WorkflowName = "release.yaml", "Release"
	}
	switch f.IntN(8) {
	case 0:
		_, name, _ := strings.Cut(repository, "/")
		r.Event, r.Branch, r.HeadRepository = "pull_request", "fix-the-footer", "marlow-forks/"+name
	case 1:
		r.Event, r.Branch = "pull_request", "dependabot/docker/node-26-alpine"
	case 2:
		r.Branch = fmt.Sprintf("v1.%d.0", f.IntN(40)) // a tag
	case 3:
		r.Branch = "release/2.4"
	case 4:
		r.Branch = "dev"
	}
	var now []Job
	var conclusion string
	switch {
	case past:
		r.CreatedAt = f.Start.Add(-f.within(f.Past))
		now, conclusion = f.first(repository, r.CreatedAt, 20*time.Second)
	case f.in(0.1): // it goes on already
		r.CreatedAt = f.Start.Add(-5*time.Minute - f.within(time.Minute))
		ended := earlier(f.Start.Add(f.within(f.Length/2)), f.last())
		now = []Job{f.job(repository, "build", []string{"cancelled", "failure"}[f.IntN(2)], r.CreatedAt.Add(f.within(5*time.Second)), ended)}
	default:
		r.CreatedAt = f.Start.Add(f.within(f.Length * 3 / 5))
		now, conclusion = f.first(repository, r.CreatedAt, f.unit)
	}
	r.Conclusion = conclusion
	p := plan{run: r, attempts: []planned{{r.CreatedAt, now}}}

	again := 0.5
	if conclusion == "success" || !slices.ContainsFunc(now, func(j Job) bool { return j.Conclusion != "success" }) {
		again = 0.1
	}
	for len(p.attempts) < 4 && f.in(again) {
		at := slices.MaxFunc(now, func(a, b Job) int { return a.CompletedAt.Compare(b.CompletedAt) }).CompletedAt
		old := f.Start.Add(f.within(f.Length / 2))
		switch {
		case f.in(0.3):
			at = at.Add(time.Second)
		case past && at.Before(old):
			at = old
		default:
			at = at.Add(f.within(8 * f.unit))
		}
		if !at.Before(f.last().Add(-4 * time.Second)) {
			break
		}
		var anew []Job
		now, anew = f.again(repository, now, at)
		p.attempts = append(p.attempts, planned{at, anew})
	}
	return p
}

// first returns the jobs of a run's first attempt, and the run's conclusion where it is not what its jobs make of it.
func (f *fate) first(repository string, at time.Time, span time.Duration) (jobs []Job, conclusion string) {
	job := func(name, conclusion string) Job {
		begun, ended := f.times(at, span)
		return f.job(repository, name, conclusion, begun, ended)
	}
	jobs = []Job{job("test", "success")}
	switch f.IntN(12) {
	case 0, 1, 2:
		return append(jobs, job("build", "success")), ""
	case 3: // continue-on-error
		return append(jobs, job("scan", "failure")), "success"
	case 4, 5: // a matrix
		for _, name := range []string{"push (linux/amd64)", "push (linux/arm64)", "push (linux/arm64, 8)"} {
			jobs = append(jobs, job(name, []string{"failure", "success"}[f.IntN(2)]))
		}
		return jobs, ""
	case 6: // by a person, or by a newer run
		return append(jobs, job("build", "cancelled")), ""
	case 7: // by timeout-minutes, where there is time for it
		if limit := at.Add(5*time.Minute + 2*time.Second); limit.Before(f.last()) {
			ended := limit.Add(f.within(min(f.last().Sub(limit), 2*time.Minute)))
			return append(jobs, f.job(repository, "build", "cancelled", at.Add(2*time.Second), ended)), ""
		}
	case 8:
		return []Job{job("build", "timed_out")}, ""
	}
	return append(jobs, job("build", "failure")), ""
}

// again returns the jobs after a re-run of all jobs, or of those that did not succeed, and which of them ran anew.
func (f *fate) again(repository string, before []Job, at time.Time) (now, anew []Job) {
	good := func(j Job) bool { return j.Conclusion == "success" }
	whole := f.in(0.3) || !slices.ContainsFunc(before, func(j Job) bool { return !good(j) })
	for _, j := range before {
		if !good(j) || whole {
			conclusion := "success"
			if !good(j) && f.in(0.5) {
				conclusion = "failure"
			}
			begun, ended := f.times(at, f.unit)
			j = f.job(repository, j.Name, conclusion, begun, ended)
			anew = append(anew, j)
		}
		now = append(now, j)
	}
	return now, anew
}

// last is when the last job ends, so that there is time left for its log.
func (f *fate) last() time.Time { return f.end.Add(-6 * f.unit) }

// times are those of a job of an attempt: two spans at most until it begins, or ten where runners are few, and eight until it ends.
func (f *fate) times(at time.Time, span time.Duration) (begun, ended time.Time) {
	wait := 2 * span
	if f.in(0.1) {
		wait = 10 * span
	}
	last := f.last()
	begun = earlier(at.Add(f.within(wait)), last.Add(-time.Second))
	return begun, earlier(begun.Add(f.within(8*span)), last)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// latest is how late a log may be: a client may give up about ten minutes after the job's end.
const latest = 8 * time.Minute

// job makes a job with its log, which may be late, or not to be had.
func (f *fate) job(repository, name, conclusion string, begun, ended time.Time) Job {
	j := Job{Job: pushdoctor.Job{Name: name, Conclusion: conclusion, StartedAt: begun, CompletedAt: ended}}
	e, pad := good, 0
	if conclusion != "success" {
		e = endings[f.IntN(len(endings))]
		if f.in(0.05) {
			pad = f.LongLog
		}
	} else if name == "test" {
		e = ending{lines: []string{"##[group]Run make test", "make test", "shell: /usr/bin/bash -e {0}", "##[endgroup]", "ok  \tall\t7.204s"}}
	}
	j.Log, j.Causes = e.log(repository, name, begun, ended, pad), append([]pushdoctor.Cause{}, e.causes...)
	switch f.IntN(16) {
	case 0, 1:
		j.LogAt = ended.Add(f.within(min(5*f.unit, latest)))
	case 2:
		j.GoneUntil = ended.Add(f.within(min(5*f.unit, latest)))
	case 3:
		j.Lost = true
	case 4:
		j.Gone = true
	}
	return j
}

// An ending is how the log of a job goes on after its preamble. IMAGE stands for the image without its tag.
type ending struct {
	lines  []string
	causes []pushdoctor.Cause // of what is found in it
}

var good = ending{lines: slices.Concat(pushing, pushed)}

var (
	pushing = []string{"##[group]Run docker push IMAGE:main", "docker push IMAGE:main", "shell: /usr/bin/bash -e {0}", "##[endgroup]", "The push refers to repository [IMAGE]"}
	pushed  = []string{"5f195e58a773: Pushed", "main: digest: sha256:" + strings.Repeat("5c0ffee1", 8) + " size: 1579"}
	exit    = "##[error]Process completed with exit code 1."
)

// endings are those of jobs that did not succeed.
var endings = []ending{
	{slices.Concat(pushing, []string{"denied: permission_denied: write_package", exit}), []pushdoctor.Cause{pushdoctor.CausePackageAccessDenied}},
	{slices.Concat(pushing, []string{"denied: permission_denied: create_package", exit}), []pushdoctor.Cause{pushdoctor.CausePackageCreationDenied}},
	{slices.Concat(pushing, []string{"received unexpected HTTP status: 503 Service Unavailable", exit}), []pushdoctor.Cause{pushdoctor.CauseRegistryUnavailable}},
	{slices.Concat(pushing, []string{"An image does not exist locally with the tag: IMAGE", exit}), []pushdoctor.Cause{pushdoctor.CauseLocalImageMissing}},
	{slices.Concat(pushing, []string{"denied: permission_denied: The token provided does not match expected scopes.", exit}), []pushdoctor.Cause{pushdoctor.CauseTokenScopeMissing}},
	{
		[]string{
			"##[group]Run docker/build-push-action@v6", "with:", "  push: true", "##[endgroup]",
			"ERROR: failed to push IMAGE:main: unexpected status from POST request to https://ghcr.io/v2/octo-lab/api/blobs/uploads/: 429 Too Many Requests",
			"##[error]buildx failed with: ERROR: failed to push IMAGE:main: unexpected status from POST request to https://ghcr.io/v2/octo-lab/api/blobs/uploads/: 429 Too Many Requests",
		},
		[]pushdoctor.Cause{pushdoctor.CauseRateLimited},
	},
	{ // two images in one job
		slices.Concat(
			pushing, []string{"denied: permission_denied: write_package", exit},
			[]string{"##[group]Run docker push IMAGE-debug:main", "docker push IMAGE-debug:main", "shell: /usr/bin/bash -e {0}", "##[endgroup]"},
			[]string{"The push refers to repository [IMAGE-debug]", "received unexpected HTTP status: 503 Service Unavailable", exit},
		),
		[]pushdoctor.Cause{pushdoctor.CausePackageAccessDenied, pushdoctor.CauseRegistryUnavailable},
	},
	{slices.Concat(pushing, pushed, []string{"##[group]Run ./smoke-test.sh", "./smoke-test.sh", "##[endgroup]", "smoke test: /healthz answered late", exit}), nil},
	{[]string{"##[group]Run make build", "make build", "##[endgroup]", "make: *** [Makefile:7: build] Error 2", exit}, nil},
}

// log returns the log of a job between these times, with at least pad bytes of no interest in it.
func (e ending) log(repository, job string, begun, ended time.Time, pad int) []byte {
	lines := append(preamble(job), strings.Split(strings.Repeat("a line like any other\n", pad/50), "\n")...)
	image := "ghcr.io/" + strings.ToLower(repository)
	for _, line := range append(e.lines, "Cleaning up orphan processes") {
		lines = append(lines, strings.ReplaceAll(line, "IMAGE", image))
	}
	return stamped(lines, begun, ended.Sub(begun)/time.Duration(len(lines)))
}
