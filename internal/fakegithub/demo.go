package fakegithub

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor"
)

// history is how far back the demonstration goes.
const history = 30 * 24 * time.Hour

// cadence is the time between two runs that the demonstration adds while it is shown.
const cadence = 15 * time.Second

// A scene says to which run a sample log belongs, as far as the log does not say it itself.
type scene struct {
	repository     string
	file, workflow string
	branch         string // main
	event          string // push
	head           string // the fork's name
	times          int    // in the history
	cured          int    // of these, how many a re-run cures
}

// scenes are the samples by file name without ".log". A sample without a scene is shown all the
// same: with the repository and the job that stand in it, on main, twice.
var scenes = map[string]scene{
	"acr-401-no-login-oras":          {file: "policies.yml", workflow: "Policies", times: 3},
	"clean-base-image-pull-fails":    {file: "nightly.yml", workflow: "Nightly", event: "schedule", times: 3, cured: 2},
	"clean-push-with-error-words":    {repository: "octo-lab/api", file: "image.yml", workflow: "Image", times: 8},
	"dockerhub-401-token-expired":    {file: "image.yml", workflow: "Image", times: 6},
	"dockerhub-denied-compose":       {file: "stack.yaml", workflow: "Stack", event: "workflow_dispatch", times: 2},
	"dockerhub-dependabot-no-secret": {file: "image.yml", workflow: "Image", branch: "dependabot/docker/node-26-alpine", event: "pull_request", times: 4},
	"docr-quota":                     {file: "deploy.yml", workflow: "Deploy", times: 3},
	"ecr-404-repository-missing":     {file: "deploy.yml", workflow: "Deploy", times: 2},
	"gar-403-iam-kaniko":             {file: "kaniko.yml", workflow: "Kaniko", branch: "release/2.4", times: 3},
	"ghcr-403-fork-pull-request":     {repository: "octo-lab/web", file: "pr.yml", workflow: "Pull request", branch: "fix-the-footer", event: "pull_request", head: "marlow-forks/web", times: 5},
	"ghcr-403-no-packages-write":     {file: "dev.yml", workflow: "Dev image", branch: "dev", times: 7},
	"ghcr-403-write-package":         {file: "publish.yml", workflow: "Publish", times: 4},
	"ghcr-429-ko":                    {file: "release.yml", workflow: "Release", branch: "v0.31.0", times: 2, cured: 2},
	"ghcr-503-recovered":             {file: "nightly.yml", workflow: "Nightly", event: "schedule", times: 6},
	"ghcr-local-image-missing":       {file: "docs.yml", workflow: "Docs", times: 2},
	"ghcr-timeout-token":             {repository: "northwind-ci/ledger", file: "multi-arch.yml", workflow: "Multi-arch", times: 5, cured: 4},
	"ghcr-upper-case-name":           {file: "docker.yml", workflow: "Docker", times: 3},
	"harbor-412-tag-immutable-helm":  {file: "charts.yml", workflow: "Charts", times: 2},
	"nexus-401-wrong-password":       {file: "image.yml", workflow: "Image", times: 4},
	"other-dns-crane":                {file: "mirror.yml", workflow: "Mirror", event: "schedule", times: 3, cured: 1},
	"other-tls-unknown-authority":    {repository: "octo-lab/firmware", file: "firmware.yml", workflow: "Firmware", times: 2},
	"quay-connection-lost-podman":    {file: "bootc.yml", workflow: "Bootc", times: 3, cured: 3},
}

// A sample is a log with what it says of its job.
type sample struct {
	scene
	log      []byte
	job      string
	failed   bool
	first    time.Time // stamp
	duration time.Duration
}

// growth is the part of the demonstration that goes on.
type growth struct {
	samples []sample
	mu      sync.Mutex // guards what follows
	next    time.Time
	dice    *rand.Rand
}

// Demo returns a World for a demonstration: the runs of the 30 days before now of the repositories that
// the sample logs name, each log with its stamps moved to the time of its run. logs holds them as *.log
// in its root. Some failures are cured by a re-run, most runs are good, one fork and
// Dependabot open pull requests. The same now and logs give the same World.
func Demo(now time.Time, logs fs.FS) (*World, error) {
	files, err := fs.Glob(logs, "*.log") // sorted
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no sample logs: %w", fs.ErrNotExist)
	}
	g := &growth{next: now, dice: rand.New(rand.NewPCG(30, 22))}
	for _, file := range files {
		log, err := fs.ReadFile(logs, file)
		if err != nil {
			return nil, err
		}
		s, err := read(strings.TrimSuffix(path.Base(file), ".log"), log)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		g.samples = append(g.samples, s)
	}

	w := NewWorld()
	w.growth = g
	begin := now.Add(-history)
	for _, s := range g.samples {
		for n := range s.times {
			// Spread over the days, the last within the last hours; then moved a bit, so that no two repositories keep step.
			at := begin.Add(history * time.Duration(n+1) / time.Duration(s.times+1))
			at = at.Add(time.Duration(g.dice.Int64N(int64(12 * time.Hour)))).Truncate(time.Second)
			id := w.play(s, at, n)
			if n < s.cured {
				w.cure(s, id, at.Add(s.duration+7*time.Minute))
			}
			for range 2 + g.dice.IntN(3) {
				w.good(s, begin.Add(time.Duration(g.dice.Int64N(int64(history-time.Hour)))))
			}
		}
	}
	return w, nil
}

// Grow adds the runs that began until now to a World of Demo: one every 15 seconds, two of three
// good. It does nothing to any other World.
func (w *World) Grow(now time.Time) {
	w.mu.RLock()
	g := w.growth
	w.mu.RUnlock()
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// After a pause of the machine only the last minutes are made up for.
	if g.next.Before(now.Add(-10 * time.Minute)) {
		g.next = now.Add(-10 * time.Minute)
	}
	for ; !g.next.After(now); g.next = g.next.Add(cadence) {
		s := g.samples[g.dice.IntN(len(g.samples))]
		if g.dice.IntN(3) > 0 {
			w.good(s, g.next)
		} else {
			w.play(s, g.next, g.dice.IntN(2))
		}
	}
}

// read takes from a log what its scene leaves open.
func read(name string, log []byte) (sample, error) {
	s := sample{scene: scenes[name], log: log, failed: bytes.Contains(log, []byte("##[error]"))}
	var last time.Time
	for line := range bytes.Lines(log) {
		at, rest, ok := stamp(line)
		if !ok {
			continue
		}
		if s.first.IsZero() {
			s.first = at
		}
		last = at
		text := strings.TrimSpace(string(rest))
		if repository, ok := strings.CutPrefix(text, "Syncing repository: "); ok && s.repository == "" {
			s.repository = repository
		}
		if job, ok := strings.CutPrefix(text, "Complete job name: "); ok {
			s.job = job
		}
	}
	if s.first.IsZero() {
		return s, fmt.Errorf("no line begins with a time")
	}
	s.duration = last.Sub(s.first).Truncate(time.Second) + time.Second
	s.repository = cmp.Or(s.repository, "octo-lab/samples")
	s.file = cmp.Or(s.file, "ci.yml")
	s.job = cmp.Or(s.job, "build")
	s.times = cmp.Or(s.times, 2)
	return s, nil
}

func (s sample) run(at time.Time) pushdoctor.Run {
	return pushdoctor.Run{
		Repository: s.repository, Workflow: s.file, WorkflowName: s.workflow, Branch: s.branch, Event: s.event,
		HeadRepository: s.head, CreatedAt: at,
	}
}

// play adds a run that ends as the sample does, and returns its id. In every other run, a push that got
// through at last is followed by a test that fails, as only then its log is read by default.
func (w *World) play(s sample, at time.Time, n int) int64 {
	job := Job{Job: pushdoctor.Job{Name: s.job, Conclusion: "success"}, Log: s.log}
	if s.failed {
		job.Conclusion = "failure"
	} else if n%2 == 1 {
		job.Conclusion, job.Log = "failure", failing(s.log)
	}
	job.StartedAt = at.Add(4 * time.Second)
	job.CompletedAt = job.StartedAt.Add(s.duration)
	job.Log = shifted(job.Log, job.StartedAt.Sub(s.first))
	test := Job{Job: pushdoctor.Job{Name: "test", StartedAt: job.StartedAt, CompletedAt: job.StartedAt.Add(min(s.duration, 20*time.Second))}}
	test.Log = goodLog(s.repository, "test", test.StartedAt)
	return w.AddRun(s.run(at), test, job).ID
}

// cure adds an attempt in which the failed job alone runs again, and pushes.
func (w *World) cure(s sample, run int64, at time.Time) {
	again := pushdoctor.Job{Name: s.job, StartedAt: at.Add(4 * time.Second), CompletedAt: at.Add(44 * time.Second)}
	w.Rerun(run, at, Job{Job: again, Log: goodLog(s.repository, s.job, again.StartedAt)})
}

// good adds a run of the sample's workflow that is as it should be, on its base branch.
func (w *World) good(s sample, at time.Time) {
	if s.event == "pull_request" {
		s.event, s.branch, s.head = "", "", ""
	}
	job := pushdoctor.Job{Name: s.job, StartedAt: at.Add(4 * time.Second), CompletedAt: at.Add(44 * time.Second)}
	w.AddRun(s.run(at), Job{Job: job, Log: goodLog(s.repository, s.job, job.StartedAt)})
}

// stampForm is how a log's line begins.
const stampForm = "2006-01-02T15:04:05.0000000Z"

// stamp splits a line into its stamp and the rest after it.
func stamp(line []byte) (at time.Time, rest []byte, ok bool) {
	line = bytes.TrimPrefix(line, []byte("\ufeff"))
	if len(line) <= len(stampForm) {
		return time.Time{}, line, false
	}
	at, err := time.Parse(stampForm, string(line[:len(stampForm)]))
	return at, line[len(stampForm):], err == nil
}

// shifted returns the log with each line's stamp moved by d; a time within a line stays.
func shifted(log []byte, d time.Duration) []byte {
	out := make([]byte, 0, len(log))
	for line := range bytes.Lines(log) {
		at, rest, ok := stamp(line)
		if !ok {
			out = append(out, line...)
			continue
		}
		if bytes.HasPrefix(line, []byte("\ufeff")) {
			out = append(out, "\ufeff"...)
		}
		out = at.Add(d).AppendFormat(out, stampForm)
		out = append(out, rest...)
	}
	return out
}

// failing returns the log of a good job with a last step that fails, before what is cleaned up.
func failing(log []byte) []byte {
	var out []byte
	done := false
	for line := range bytes.Lines(log) {
		at, rest, ok := stamp(line)
		if ok && !done && bytes.HasPrefix(rest, []byte(" Post job cleanup.")) {
			done = true
			for _, text := range []string{
				"##[group]Run ./smoke-test.sh", "./smoke-test.sh", "shell: /usr/bin/bash -e {0}", "##[endgroup]",
				"smoke test: /healthz answered late", "##[error]Process completed with exit code 1.",
			} {
				out = fmt.Appendf(out, "%s %s\n", at.Format(stampForm), text)
			}
		}
		out = append(out, line...)
	}
	return out
}

// goodLog is the log of a job that pushes its image, or, where the job is a test, of one that pushes nothing.
func goodLog(repository, job string, at time.Time) []byte {
	image := "ghcr.io/" + strings.ToLower(repository) + ":main"
	digest := strings.Repeat("5c0ffee1", 8)
	lines := preamble(job)
	if job == "test" {
		lines = append(lines, "##[group]Run make test", "make test", "shell: /usr/bin/bash -e {0}", "##[endgroup]", "ok  \tall\t7.204s")
	} else {
		lines = append(lines,
			"##[group]Run docker/login-action@v3", "with:", "  registry: ghcr.io", "  username: octo-dev", "  password: ***", "##[endgroup]",
			"Logging into ghcr.io...", "Login Succeeded!",
			"##[group]Run docker push "+image, "docker push "+image, "shell: /usr/bin/bash -e {0}", "##[endgroup]",
			"The push refers to repository ["+strings.TrimSuffix(image, ":main")+"]", "5f195e58a773: Pushed", "main: digest: sha256:"+digest+" size: 1579",
		)
	}
	return stamped(append(lines, "Cleaning up orphan processes"), at, 1300*time.Millisecond)
}

// preamble is how the log of a job begins.
func preamble(job string) []string {
	return []string{
		"Current runner version: '2.340.0'", "##[group]GITHUB_TOKEN Permissions", "Contents: read", "Metadata: read", "Packages: write", "##[endgroup]",
		"Secret source: Actions", "Complete job name: " + job,
	}
}

// stamped makes a log of lines, the first one at that time, each other one a step later.
func stamped(lines []string, at time.Time, step time.Duration) []byte {
	out := []byte("\ufeff")
	for i, line := range lines {
		out = at.Add(time.Duration(i)*step).UTC().AppendFormat(out, stampForm)
		out = append(append(append(out, ' '), line...), '\n')
	}
	return out
}
