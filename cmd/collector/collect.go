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
	// Where so many runs are created that it matters how many are listed again, this much of them is, in case the list lags more.
	listSlow = 10 * time.Minute
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
	refs   []string // patterns of the branches and tags that groups are told of; nil: none
	log    *slog.Logger
	now    func() time.Time
	slots  chan struct{} // a log is being read for each element

	diagnosed func(time.Duration) // told of each log that was read; nil: nobody
}

func newCollector(github *actions.Client, db *store.DB, rules *classifier.Rules, config configs.Config, log *slog.Logger) *collector {
	return &collector{
		github: github, db: db, rules: rules, config: config.Collect, refs: config.Metrics.Refs, log: log, now: time.Now, slots: make(chan struct{}, config.Collect.Workers),
	}
}

// A progress says what became of one window of runs.
type progress struct {
	runs, jobs int       // that were looked at, and those whose logs were asked for
	results    results   // of these
	listed     int       // runs, those included that were passed over
	moved      bool      // GitHub told runs of another repository, or under another name
	short      bool      // GitHub counts more runs than it listed
	crowded    bool      // a second has more runs than can be listed
	going      time.Time // creation of the oldest run that has not ended; zero: all have
	failed     time.Time // creation of the oldest run that could not be read; zero: all could
	err        error     // the first one; the other runs were read
}

// results count how the reading of logs ended; "" are logs that are asked for again.
type results map[store.Result]int

// A pass says how the runs of a window are gone through.
type pass struct {
	want    func(pushdoctor.Run) bool // passes over the runs that it refuses; nil wants all
	again   bool                      // lists the jobs of runs that were counted too: another configuration may have left some out
	settled bool                      // all that the window listed last was dealt with
	id      int64                     // of the repository, if it is known: runs of another one are not its own
	looked  func(progress)            // is told after each run, one call at a time; nil for none
}

// A slice is a window that is asked again and again.
type slice struct {
	actions.Window
	settled bool // all that it listed was dealt with: while GitHub says that it has not changed, there is nothing to do
	listed  int  // runs, when it was last read

	// Of the slices of a sweep:
	due   time.Time // when it is asked next
	good  time.Time // when it was last asked, and all was dealt with
	tries int       // since then
}

// A watch is one repository that is polled, and what is remembered of it from poll to poll. What is lost with it costs
// requests, no more.
type watch struct {
	name  string               // as the configuration or GitHub's list has it
	claim func(id int64) error // told which repository that is; an error keeps it from being read; nil: nobody is
	info  actions.RepositoryInfo
	asked time.Time // when GitHub told info; zero: it is to be asked again

	newest slice
	older  []slice
	judged time.Time // asked, when it was last looked whether what is broken is still there
}

// again is when a repository is looked at anew that is told by its list of runs alone.
const again = 6 * time.Hour

// acquaint asks GitHub about the repository where that is due, and makes it live in the store at its first good poll. since is
// where its reading begins.
func (c *collector) acquaint(ctx context.Context, w *watch) (repo store.Repository, since time.Time, err error) {
	if w.asked.IsZero() || c.github.Date().Sub(w.asked) >= again {
		info, err := c.github.Repository(ctx, w.name)
		if err != nil {
			w.asked = time.Time{}
			return store.Repository{}, since, err
		}
		if w.claim != nil {
			if err := w.claim(info.ID); err != nil {
				return store.Repository{}, since, err
			}
		}
		if info.ID != w.info.ID { // another one under the name: nothing that is remembered is its own
			*w = watch{name: w.name, claim: w.claim}
		}
		w.info, w.asked = info, c.github.Date()
	}
	repo, known, err := c.db.Repository(w.info.ID)
	if err != nil {
		return repo, since, stored(err)
	}
	started := repo.LiveSince
	if started.IsZero() {
		started = c.github.Date() // ours may be wrong, and this is compared with the times of runs
	}
	since = started.Add(-time.Duration(c.config.Lookback))
	if known && !repo.LiveSince.IsZero() && repo.Name == w.info.Name {
		return repo, since, nil
	}
	// The list is asked for first: a repository whose runs cannot be read is not live.
	if _, err := c.github.Count(ctx, w.info.Name, actions.Window{From: since}); err != nil {
		return repo, since, err
	}
	repo.ID, repo.Name, repo.LiveSince = w.info.ID, w.info.Name, started
	return repo, since, stored(c.db.PutRepository(repo))
}

const (
	// A list of more runs than this is asked for from a later time on as soon as may be; a shorter one stays as it is for a
	// day, since a list whose address and content stay the same costs nothing.
	manyRuns = 50
	pageful  = 100 // are listed by one request
	// The cursor is written when it has come so far: after a restart a little is listed again, and nothing is read twice.
	cursorStep = 10 * time.Minute
)

// poll reads what has ended in a repository since the last poll, and of the sweep for late re-runs what is due. It asks for what
// pushes well again where something is broken.
func (c *collector) poll(ctx context.Context, w *watch) (done progress, err error) {
	repo, since, err := c.acquaint(ctx, w)
	if err != nil {
		return progress{}, err
	}
	// The Date of the answer before this list: what is created while it is asked for is not taken for read.
	now := c.github.Date()
	if w.newest.From.IsZero() {
		w.newest.From = since
		if through := repo.Cursor.Through; !through.IsZero() {
			w.newest.From = through.Truncate(time.Hour)
			if from := repo.Cursor.From; !from.IsZero() {
				w.newest.From = from // the list may be kept
			}
		}
	}
	done = c.slice(ctx, w, &w.newest, nil)
	if stops(done.err) {
		return done, done.err
	}
	done.failed = later(done.failed, now.Add(-sweepOverlap)) // the sweep goes on asking for what is older
	if err := c.advance(repo, w, done, now); err != nil {
		return done, err
	}
	late := since
	if swept := repo.Cursor.Swept.Add(-sweepOverlap); swept.After(late) {
		late = swept
	}
	swept := c.sweep(ctx, w, repo, now, late)
	done.runs, done.jobs, done.err = done.runs+swept.runs, done.jobs+swept.jobs, errors.Join(done.err, swept.err)
	if !stops(done.err) && !w.asked.IsZero() && !w.judged.Equal(w.asked) {
		w.judged = w.asked // whatever comes of it: what is not told now is told the next time
		done.err = errors.Join(done.err, c.closeGone(ctx, repo))
	}
	if !stops(done.err) {
		done.err = errors.Join(done.err, c.verify(ctx, repo))
	}
	return done, done.err
}

// advance moves the cursor and the beginning of the newest window, after a poll that found out all there is.
func (c *collector) advance(repo store.Repository, w *watch, done progress, now time.Time) error {
	if done.crowded || done.short && now.Sub(w.newest.From) < patience {
		return nil
	}
	through := now.Add(-listLag)
	through = earlier(through, later(done.going, now.Add(-patience)))
	through = earlier(through, done.failed)
	from := through.Truncate(time.Hour)
	if w.newest.listed > pageful {
		from = through.Add(-listSlow).Truncate(time.Minute)
	}
	if from.After(w.newest.From) && (w.newest.listed > manyRuns || through.Sub(w.newest.From) > 24*time.Hour) {
		w.newest = slice{Window: actions.Window{From: from}}
	}
	if through.Sub(repo.Cursor.Through) < cursorStep {
		return nil
	}
	return stored(c.db.Advance(repo.ID, pushdoctor.Cursor{Through: through, From: w.newest.From}))
}

// later returns a, but no earlier than b; zero stays zero.
func later(a, b time.Time) time.Time {
	if a.IsZero() || a.After(b) {
		return a
	}
	return b
}

// slice goes through a window of the watch's repository.
func (c *collector) slice(ctx context.Context, w *watch, s *slice, want func(pushdoctor.Run) bool) progress {
	done := c.window(ctx, w.info.Name, s.Window, pass{want: want, settled: s.settled, id: w.info.ID})
	if done.moved {
		w.asked = time.Time{} // renamed, or another one under the name
	}
	if !s.settled || done.listed > 0 {
		s.listed = done.listed
	}
	s.settled = done.err == nil && done.going.IsZero() && done.failed.IsZero() && !done.moved && !done.short
	return done
}

// sweepPart is how long a slice of a sweep is: each costs a request in collect.sweep, since an App's token is another one by then.
const sweepPart = 14 * 24 * time.Hour

// sweep asks for the runs of the last 30 days in which something happened since late: at first for all of them, after that for each slice
// once in collect.sweep, one after the other. A slice of which something could not be read does not keep the others from being asked.
func (c *collector) sweep(ctx context.Context, w *watch, repo store.Repository, now, late time.Time) (done progress) {
	every := time.Duration(c.config.Sweep)
	first := now.Add(-sweepBack - sweepOverlap).Truncate(sweepPart)
	w.older = slices.DeleteFunc(w.older, func(s slice) bool { return s.From.Before(first) })
	for from := first; from.Before(w.newest.From); from = from.Add(sweepPart) {
		if !slices.ContainsFunc(w.older, func(s slice) bool { return s.From.Equal(from) }) {
			w.older = append(w.older, slice{Window: actions.Window{From: from, To: from.Add(sweepPart - time.Second)}})
		}
	}
	swept := now
	for i := range w.older {
		s := &w.older[i]
		if !now.Before(s.due) {
			part := c.slice(ctx, w, s, func(r pushdoctor.Run) bool { return !r.UpdatedAt.Before(late) })
			done.runs, done.jobs, done.err = done.runs+part.runs, done.jobs+part.jobs, errors.Join(done.err, part.err)
			switch {
			case stops(part.err) && !errors.Is(part.err, errList):
				s.due = now.Add(sweepAgain)
				return done
			case part.err != nil:
				s.due = now.Add(min(sweepAgain<<min(s.tries, 10), every))
				s.tries++
			case s.good.IsZero():
				s.due = now.Add(every * time.Duration(i+1) / time.Duration(len(w.older))) // from now on one after the other
				s.good, s.tries = now, 0
			default:
				s.due, s.good, s.tries = now.Add(every), now, 0
			}
		}
		if s.good.Before(swept) { // zero where it never was asked well
			swept = s.good
		}
	}
	if swept.Sub(repo.Cursor.Swept) >= cursorStep {
		done.err = errors.Join(done.err, stored(c.db.Advance(repo.ID, pushdoctor.Cursor{Swept: swept})))
	}
	return done
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
	ended := ended{db: c.db}
	for run, err := range c.github.Runs(ctx, name, w, p.settled) {
		mu.Lock()
		switch {
		case errors.Is(err, actions.ErrShortList):
			done.short = true
		case errors.Is(err, actions.ErrTooManyRuns): // all others were told
			done.crowded, done.err = true, errors.Join(done.err, err)
		case err != nil:
			done.err = fmt.Errorf("%w: %w", errList, err)
		default:
			done.listed++
			done.moved = done.moved || run.Repository != name || p.id != 0 && run.RepositoryID != p.id
		}
		end := stops(done.err)
		mu.Unlock()
		if end {
			break
		}
		if err != nil || p.id != 0 && run.RepositoryID != p.id || p.want != nil && !p.want(run) {
			continue
		}
		g.Go(func() error {
			read, attempts, err := c.look(ctx, run, p.again)
			mu.Lock()
			defer mu.Unlock()
			if e := ended.add(attempts); e != nil {
				err = e
			}
			done.runs++
			for result, n := range read {
				done.jobs += n
				done.results[result] += n
			}
			switch {
			case errors.Is(err, errGoing) && !stops(err):
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
	if err := ended.count(); err != nil {
		done.err = err
	}
	return done
}

// ended are attempts of runs whose jobs have been dealt with, and which are counted together: most runs of a window are green, and
// one write to the disk for each would take longer than all else.
type ended struct {
	db   *store.DB
	runs []pushdoctor.Run
}

// countTogether attempts are what a break-off may leave uncounted: their jobs are listed again then, and nothing is read twice.
const countTogether = 100

func (e *ended) add(runs []pushdoctor.Run) error {
	e.runs = append(e.runs, runs...)
	if len(e.runs) < countTogether {
		return nil
	}
	return e.count()
}

func (e *ended) count() error {
	runs := e.runs
	e.runs = nil
	for len(runs) > 0 {
		repo := runs[0].RepositoryID
		n := slices.IndexFunc(runs, func(r pushdoctor.Run) bool { return r.RepositoryID != repo })
		if n < 0 {
			n = len(runs)
		}
		if err := e.db.CountRuns(repo, runs[:n]); err != nil {
			return stored(err)
		}
		runs = runs[n:]
	}
	return nil
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

// run reads the executions of a run, and counts its attempts when that is done.
func (c *collector) run(ctx context.Context, run pushdoctor.Run) error {
	_, attempts, err := c.look(ctx, run, false)
	return errors.Join(err, stored(c.db.CountRuns(run.RepositoryID, attempts)))
}

// look reads the executions of a run. It returns how the logs were read that it asked for, and the attempts that are to be
// counted. Of a run that is going again it reads the attempts before; errGoing says that the newest one is to come.
func (c *collector) look(ctx context.Context, run pushdoctor.Run, again bool) (read results, attempts []pushdoctor.Run, err error) {
	going := run.Status != "completed"
	if !again && !going {
		if counted, err := c.db.CountedRun(run); counted || err != nil {
			return nil, nil, stored(err)
		}
	}
	if run.Workflow == "" {
		return nil, nil, fmt.Errorf("%w: it does not tell the name of workflow %d", actions.ErrUnavailable, run.WorkflowID)
	}
	if !matches(c.config.Workflows, run.Workflow) {
		return nil, nil, nil
	}
	attempts, err = c.before(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	if going && len(attempts) == 0 {
		return nil, nil, errGoing
	}
	if c.worthListing(run) {
		if read, err = c.jobs(ctx, run, going); err != nil {
			return read, nil, err
		}
	}
	if going {
		return read, attempts, errGoing
	}
	return read, append(attempts, c.watchedRun(run)), nil
}

// jobs reads the wanted jobs of a run that have ended and were not read.
func (c *collector) jobs(ctx context.Context, run pushdoctor.Run, going bool) (results, error) {
	jobs, err := c.github.Jobs(ctx, run)
	if err != nil {
		return nil, err
	}
	read := results{}
	for _, job := range jobs {
		if job.CompletedAt.IsZero() && !going && c.github.Date().Sub(run.UpdatedAt) < settled {
			return read, errGoing
		}
		if !c.wanted(job) {
			continue
		}
		known, err := c.db.Known(job.Execution(), job.JobID)
		if err != nil {
			return read, stored(err)
		}
		if !known {
			known, err = c.db.IsPending(job.JobID) // late asks for it in its time
		}
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
	return read, nil
}

// before returns the attempts before the run's newest one that were not counted.
func (c *collector) before(ctx context.Context, run pushdoctor.Run) (attempts []pushdoctor.Run, err error) {
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
		attempts = append(attempts, c.watchedRun(a))
	}
	return attempts, nil
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
		return c.absent(job, store.PendingMissing, store.ResultUnreadable, missingFor, "log_missing", tries)
	case errors.Is(err, actions.ErrLogGone):
		return c.absent(job, store.PendingGone, store.ResultExpired, goneAgain, "log_gone", tries)
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
	return c.weighed(reading), nil
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

// surely is when a log that was told gone is gone: it need not be asked for twice.
const surely = 24 * time.Hour

// absent asks for a log once more when wait has passed since the job's end, or records that there is none if it has and it was
// asked for before.
func (c *collector) absent(job pushdoctor.Job, kind store.PendingKind, result store.Result, wait time.Duration, reason string, tries int) (store.Result, error) {
	now := c.now()
	if date := c.github.Date(); !date.IsZero() {
		now = date
	}
	due := time.Duration(0)
	switch age := now.Sub(job.CompletedAt); {
	case kind == store.PendingGone && age < wait:
		due = wait - age
	case age < wait:
		// Soon at first, and the last time when wait is over.
		due = min(max(age/2, 10*time.Second), wait-age)
	case kind == store.PendingGone && tries == 0 && age < surely:
		due = wait
	default:
		return c.give(job, result, reason)
	}
	return "", stored(c.db.PutPending(store.Pending{Kind: kind, Job: job, Due: c.now().Add(due), Tries: tries + 1})) // by our clock, as late looks for it
}

// give records that the log of a job cannot be had.
func (c *collector) give(job pushdoctor.Job, result store.Result, reason string) (store.Result, error) {
	added, err := c.db.Record(c.weighed(store.Reading{Job: job, Result: result, Rules: c.rules.Version()}))
	if err != nil || !added {
		return "", stored(err)
	}
	return result, stored(c.db.CountError(job.Repository, reason))
}

// refusedFor is how long a log waits that the token may not read, before it is asked for again.
const refusedFor = 10 * time.Minute

// late reads the logs that are due to be asked for again, of the repositories that mine says are this collector's. Those of a
// repository that may not be read do not stand in the way of the others: they wait for longer.
func (c *collector) late(ctx context.Context, mine func(pushdoctor.Job) bool) error {
	due, err := c.db.DuePending(c.now(), 0)
	if err != nil {
		return stored(err)
	}
	for _, p := range due {
		if !mine(p.Job) {
			continue
		}
		// A webhook, a poll and a backfill may read the same job, and one of them finds the log.
		if known, err := c.db.Known(p.Job.Execution(), p.Job.JobID); err != nil {
			return stored(err)
		} else if known && p.Job.Conclusion != "success" {
			if err := c.db.DonePending(p.Job.JobID); err != nil {
				return stored(err)
			}
			continue
		}
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
