package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/parser"
	"github.com/akkospace/pushdoctor/store"
)

const (
	sweepBack = 30 * 24 * time.Hour // a run may be re-run for so long
	// A job of a re-run may take so long before it changes the run: five days on a runner of one's own.
	sweepOverlap = 5 * 24 * time.Hour
	// A run that goes on for longer is left to the sweep: a poll would otherwise list all that came after it.
	patience = 24 * time.Hour
	// The list of runs lags behind what happens.
	listLag = 2 * time.Minute
	// A log that is missing for longer after its job's end never comes: 404 for good where the runner died.
	missingFor = 15 * time.Minute
	// A log that was told gone is asked for once more then: fresh logs are told gone now and then.
	goneAgain = 10 * time.Minute
)

// A collector takes what the workflows of repositories did from GitHub to the store. The way of the data stands here
// in one place: poll discovers, fetch reads, parses and classifies, and hands over to the store.
type collector struct {
	github *actions.Client
	db     *store.DB
	rules  *classifier.Rules
	config configs.Collect
	log    *slog.Logger
	now    func() time.Time
	slots  chan struct{} // a log is being read for each element

	diagnosed func(time.Duration)                 // told of each log that was read; nil: nobody
	workflow  func(repository, file, name string) // told of each workflow
}

func newCollector(github *actions.Client, db *store.DB, rules *classifier.Rules, config configs.Collect, log *slog.Logger) *collector {
	return &collector{github: github, db: db, rules: rules, config: config, log: log, now: time.Now, slots: make(chan struct{}, config.Workers)}
}

// A progress says what became of one window of runs.
type progress struct {
	repository int64     // its id, once GitHub has told it
	name       string    // as GitHub spells it, likewise
	runs, jobs int       // that were looked at, and those whose logs were asked for
	results    results   // of these
	going      time.Time // creation of the oldest run that has not ended; zero: all have
	failed     time.Time // creation of the oldest run that could not be read; zero: all could
	err        error     // the first one; the other runs were read
}

// results count how the reading of logs ended; "" are logs that are asked for again.
type results map[store.Result]int

// A pass says how the runs of a window are gone through.
type pass struct {
	want   func(pushdoctor.Run) bool // passes over the runs that it refuses; nil wants all
	again  bool                      // lists the jobs of runs that were counted too: another configuration may have left some out
	looked func(progress)            // is told after each run, one call at a time; nil for none
}

// poll reads what has ended in a repository since the last poll, and sweeps for late re-runs if it is asked to.
func (c *collector) poll(ctx context.Context, name string, sweep bool) (done progress, err error) {
	info, err := c.github.Repository(ctx, name)
	if err != nil {
		return progress{}, err
	}
	defer func() { done.repository, done.name = info.ID, info.Name }()
	// GitHub's clock: ours may be wrong, and these times are compared with those of runs.
	now := c.github.Date()
	repo, known, err := c.db.Repository(info.ID)
	if err != nil {
		return progress{}, err
	}
	started := repo.LiveSince
	if started.IsZero() {
		started = now
	}
	floor := started.Add(-time.Duration(c.config.Lookback))
	from := floor
	if through := repo.Cursor.Through; !through.IsZero() {
		// Whole hours keep the list's address, and one that has not changed costs nothing.
		from = through.Truncate(time.Hour)
	}
	if !known || repo.LiveSince.IsZero() || repo.Name != info.Name {
		// The list is asked for first: a repository whose runs cannot be read is not live.
		if _, err := c.github.Count(ctx, info.Name, actions.Window{From: from}); err != nil {
			return progress{}, err
		}
		repo.ID, repo.Name, repo.LiveSince = info.ID, info.Name, started
		if err := c.db.PutRepository(repo); err != nil {
			return progress{}, err
		}
	}
	done = c.window(ctx, info.Name, actions.Window{From: from}, pass{})
	if stops(done.err) {
		return done, done.err
	}
	var cursor pushdoctor.Cursor
	through := now.Add(-listLag)
	if old := now.Add(-patience); !done.going.IsZero() && done.going.Before(old) {
		through = old
	} else {
		through = earlier(through, done.going)
	}
	if old := now.Add(-sweepOverlap); !done.failed.IsZero() && done.failed.Before(old) {
		done.failed = old // the sweep goes on asking for it
	}
	if through = earlier(through, done.failed); through.Sub(repo.Cursor.Through) >= time.Minute {
		cursor.Through = through
	}
	if sweep {
		late := floor
		if swept := repo.Cursor.Swept.Add(-sweepOverlap); swept.After(late) {
			late = swept
		}
		w := actions.Window{From: now.Add(-sweepBack - sweepOverlap).Truncate(time.Hour), To: from}
		var swept progress
		if w.From.Before(w.To) { // else the poll has asked for all of it
			swept = c.window(ctx, info.Name, w, pass{want: func(r pushdoctor.Run) bool { return !r.UpdatedAt.Before(late) }})
		}
		if swept.err == nil {
			cursor.Swept = now
		}
		done.runs, done.jobs, done.err = done.runs+swept.runs, done.jobs+swept.jobs, errors.Join(done.err, swept.err)
	}
	if cursor != (pushdoctor.Cursor{}) {
		done.err = errors.Join(done.err, c.db.Advance(info.ID, cursor))
	}
	return done, done.err
}

// errList marks an error of the list of runs itself: there may be more runs than were told.
var errList = errors.New("not all runs could be listed")

// stops reports whether after this error there is no sense in going on with the repository for now.
func stops(err error) bool {
	if err == nil {
		return false
	}
	for _, one := range []error{errList, context.Canceled, context.DeadlineExceeded, actions.ErrUnauthorized, actions.ErrForbidden, actions.ErrRateLimited, actions.ErrActionsOff, errStore} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// window reads the executions of the window's runs that have ended. An error about one run does not keep it from the others,
// but for one that stops.
func (c *collector) window(ctx context.Context, name string, w actions.Window, p pass) progress {
	var (
		mu   sync.Mutex // guards done
		done = progress{results: results{}}
		g    errgroup.Group
	)
	g.SetLimit(c.config.Workers)
	for run, err := range c.github.Runs(ctx, name, w, false) {
		mu.Lock()
		if err != nil {
			done.err = fmt.Errorf("%w: %w", errList, err)
		}
		end := stops(done.err)
		mu.Unlock()
		if end {
			break
		}
		if p.want != nil && !p.want(run) {
			continue
		}
		g.Go(func() error {
			read, err := results(nil), errGoing
			if run.Status == "completed" {
				read, err = c.run(ctx, run, p.again)
			}
			mu.Lock()
			defer mu.Unlock()
			done.runs++
			for result, n := range read {
				done.jobs += n
				done.results[result] += n
			}
			switch {
			case errors.Is(err, errGoing):
				done.going = earlier(done.going, run.CreatedAt)
			case err != nil:
				done.failed = earlier(done.failed, run.CreatedAt)
				if done.err == nil || stops(err) && !stops(done.err) {
					done.err = err
				}
			}
			if p.looked != nil {
				p.looked(done)
			}
			return nil
		})
	}
	_ = g.Wait() // it returns none
	return done
}

// earlier returns the earlier time, of those that are not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// errGoing marks a run that has not ended, or whose jobs GitHub does not yet show as ended.
var errGoing = errors.New("not ended")

// settled is how long after a run's end a job without an end is taken for a lag of GitHub's list.
const settled = time.Hour

// run reads the executions of a run that has ended, and counts its attempts when that is done. It returns how the logs
// were read that it asked for.
func (c *collector) run(ctx context.Context, run pushdoctor.Run, again bool) (results, error) {
	if !again {
		if counted, err := c.db.CountedRun(run); counted || err != nil {
			return nil, stored(err)
		}
	}
	if !matches(c.config.Workflows, run.Workflow) {
		return nil, nil
	}
	if c.workflow != nil && run.Workflow != "other" {
		c.workflow(run.Repository, run.Workflow, run.WorkflowName)
	}
	attempts := []pushdoctor.Run{run}
	for n := 1; n < run.Attempt; n++ {
		before := run
		before.Attempt = n
		if counted, err := c.db.CountedRun(before); err != nil {
			return nil, stored(err)
		} else if counted {
			continue
		}
		a, err := c.github.Attempt(ctx, run.Repository, run.ID, n)
		switch {
		case errors.Is(err, actions.ErrNotFound):
			continue // GitHub forgets attempts of old runs
		case err != nil:
			return nil, err
		}
		attempts = append(attempts, a)
	}
	read := results{}
	if c.worthListing(run) {
		jobs, err := c.github.Jobs(ctx, run)
		if err != nil {
			return nil, err
		}
		for _, job := range jobs {
			if job.CompletedAt.IsZero() && c.github.Date().Sub(run.UpdatedAt) < settled {
				return read, errGoing
			}
			if !c.wanted(job) {
				continue
			}
			known, err := c.db.Known(job.Execution(), job.JobID)
			if err != nil {
				return read, stored(err)
			}
			if known {
				continue
			}
			result, err := c.read(ctx, job, 0)
			if err != nil {
				return read, err
			}
			read[result]++
		}
	}
	return read, stored(c.db.CountRuns(run.RepositoryID, attempts))
}

// errStore marks an error of the store: GitHub is not to blame, and asking again does not help.
var errStore = errors.New("nothing more can be recorded")

func stored(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

// worthListing reports whether a job of the run may be wanted. A green last attempt hides red ones.
func (c *collector) worthListing(run pushdoctor.Run) bool {
	return run.Attempt > 1 || slices.Contains([]string{"failure", "timed_out", "cancelled"}, run.Conclusion) || slices.Contains(c.config.Conclusions, run.Conclusion)
}

// wanted reports whether the configuration asks for the job's log.
func (c *collector) wanted(job pushdoctor.Job) bool {
	if job.CompletedAt.IsZero() || !slices.Contains(c.config.Conclusions, job.Conclusion) || !matches(c.config.Jobs, job.Name) {
		return false
	}
	// GitHub cancels a job that runs into timeout-minutes.
	return job.Conclusion != "cancelled" || job.CompletedAt.Sub(job.StartedAt) >= time.Duration(c.config.CancelledAfter)
}

// slashes takes the slashes out of a pattern and of a name: path.Match has a meaning for them that jobs' names do not have,
// "build / linux/amd64".
var slashes = strings.NewReplacer("/", "\x00")

// matches reports whether one of the patterns matches, or there is none.
func matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(slashes.Replace(p), slashes.Replace(name))
		return ok && err == nil
	})
}

// A log that cannot be had for another reason than that it is not there is asked for at least so often, and until its job ended
// so long ago: an outage must not cost a log that GitHub keeps for 90 days.
const (
	maxTries = 10
	giveUp   = 7 * 24 * time.Hour
)

// read reads the log of a job and records what it says, and returns the result that it recorded. A log that cannot be had is no
// error: it is recorded as such, or asked for again later, and the result is "". tries is how often it was asked for
// before, in vain.
func (c *collector) read(ctx context.Context, job pushdoctor.Job, tries int) (store.Result, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	reading, err := c.fetch(ctx, job)
	switch {
	case err == nil:
		_, err := c.db.Record(reading)
		return reading.Result, stored(err)
	case errors.Is(err, actions.ErrLogNotThere):
		return c.absent(job, store.PendingMissing, store.ResultUnreadable, missingFor, "log_missing")
	case errors.Is(err, actions.ErrLogGone):
		return c.absent(job, store.PendingGone, store.ResultExpired, goneAgain, "log_gone")
	case stops(err):
		return "", err
	}
	c.log.WarnContext(ctx, "a log could not be read", "repository", job.Repository, "job", job.JobID, "tries", tries+1, "err", err)
	if tries+1 >= maxTries && c.now().Sub(job.CompletedAt) > giveUp {
		return c.give(job, store.ResultUnreadable, reasonOf(err))
	}
	due := c.now().Add(min(time.Minute<<min(tries, 6), time.Hour))
	return "", stored(errors.Join(
		c.db.PutPending(store.Pending{Kind: store.PendingMissing, Job: job, Due: due, Tries: tries + 1}),
		c.db.CountError(job.Repository, reasonOf(err)),
	))
}

// fetch reads the log of a job: fetched, parsed and classified in one pass.
func (c *collector) fetch(ctx context.Context, job pushdoctor.Job) (store.Reading, error) {
	began := c.now()
	log, err := c.github.Log(ctx, job)
	if err != nil {
		return store.Reading{}, err
	}
	defer log.Close() //nolint:errcheck // it returns none
	counter := &countingReader{r: log}
	report, err := c.rules.Classify(parser.New(counter))
	if err != nil {
		return store.Reading{}, err
	}
	if c.diagnosed != nil {
		c.diagnosed(c.now().Sub(began))
	}
	reading := store.Reading{
		Job: job, Result: store.ResultClean, Facts: report.Facts, Findings: report.Findings,
		Pushed: map[pushdoctor.Registry]int{}, Bytes: counter.n, Rules: c.rules.Version(),
	}
	for _, image := range report.Facts.Pushed {
		reading.Pushed[classifier.RegistryOf(image)]++
	}
	switch {
	case log.Truncated():
		reading.Result = store.ResultTruncated
	case len(report.Findings) > 0:
		reading.Result = store.ResultFindings
	}
	return reading, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	return n, err
}

// absent asks for a log once more when wait has passed since the job's end, or records that there is none if it has.
func (c *collector) absent(job pushdoctor.Job, kind store.PendingKind, result store.Result, wait time.Duration, reason string) (store.Result, error) {
	now := c.now()
	if date := c.github.Date(); !date.IsZero() {
		now = date
	}
	if age := now.Sub(job.CompletedAt); age < wait {
		// Soon at first, and the last time when wait is over.
		due := c.now().Add(min(max(age/2, 10*time.Second), wait-age)) // by our clock, as late looks for it
		return "", stored(c.db.PutPending(store.Pending{Kind: kind, Job: job, Due: due}))
	}
	return c.give(job, result, reason)
}

// give records that the log of a job cannot be had.
func (c *collector) give(job pushdoctor.Job, result store.Result, reason string) (store.Result, error) {
	if _, err := c.db.Record(store.Reading{Job: job, Result: result, Rules: c.rules.Version()}); err != nil {
		return "", stored(err)
	}
	return result, stored(c.db.CountError(job.Repository, reason))
}

// refusedFor is how long a log waits that the token may not read, before it is asked for again.
const refusedFor = 10 * time.Minute

// late reads the logs that are due to be asked for again. Those of a repository that may not be read do not stand in the way of
// the others: they wait for longer.
func (c *collector) late(ctx context.Context) error {
	due, err := c.db.DuePending(c.now(), 100)
	if err != nil {
		return stored(err)
	}
	for _, p := range due {
		_, err := c.read(ctx, p.Job, p.Tries)
		if errors.Is(err, actions.ErrForbidden) {
			p.Due = c.now().Add(refusedFor)
			err = stored(errors.Join(c.db.PutPending(p), c.db.CountError(p.Job.Repository, reasonOf(err))))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// repositories returns the names that the patterns stand for, sorted, and by pattern why the names of some are not known.
func repositories(ctx context.Context, github *actions.Client, patterns []string) (names []string, faults map[string]error) {
	faults = map[string]error{}
	lists := map[string][]actions.RepositoryInfo{}
	for _, p := range patterns {
		if strings.HasPrefix(p, "!") {
			continue
		}
		owner, repo, _ := strings.Cut(p, "/")
		if !strings.Contains(repo, "*") {
			names = append(names, p)
			continue
		}
		if _, ok := lists[owner]; !ok {
			list, err := github.Repositories(ctx, owner)
			if err != nil {
				faults[p] = err
			}
			lists[owner] = list
		}
		for _, info := range lists[owner] {
			// Nothing runs in an archived repository.
			if !info.Archived && like(p, info.Name) {
				names = append(names, info.Name)
			}
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return strings.HasPrefix(p, "!") && like(p[1:], name) })
	})
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(names, strings.EqualFold), faults
}

// like reports whether the pattern matches the name; GitHub does not tell upper from lower case.
func like(pattern, name string) bool {
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return ok && err == nil
}

// reasonOf is the label of an error of collecting.
func reasonOf(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{actions.ErrUnauthorized, "unauthorized"},
		{actions.ErrForbidden, "forbidden"},
		{actions.ErrActionsOff, "actions_off"},
		{actions.ErrNotFound, "not_found"},
		{actions.ErrNotJSON, "not_json"},
		{actions.ErrRateLimited, "rate_limited"},
		{actions.ErrTooManyRuns, "too_many_runs"},
		{actions.ErrUnavailable, "unavailable"},
		{errStore, "store"},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "other"
}

// advice says what to do about an error of collecting, for the page and the log.
func advice(err error) string {
	switch reasonOf(err) {
	case "unauthorized":
		return "GitHub refuses the token: give a valid one in github.token_file or GITHUB_TOKEN"
	case "forbidden":
		return "the token may not read this repository's Actions: it needs Actions: read and Metadata: read"
	case "actions_off":
		return "Actions are turned off in this repository: take it out of repositories, or turn them on"
	case "not_found":
		return "GitHub does not know the repository, or hides it from this token: check the name and the token's repositories"
	case "not_json":
		return "something else than GitHub answers: check github.url and the proxy"
	case "rate_limited":
		return "GitHub's rate limit is used up: give the token fewer tasks, or raise collect.interval"
	case "unavailable":
		return "GitHub does not answer: pushdoctor tries again"
	}
	return err.Error()
}
