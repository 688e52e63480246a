package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// refresh is how often the patterns of repositories are looked up anew.
const refresh = 10 * time.Minute

// watchAll watches each repository that the configuration names, on its own, until ctx ends: none waits for another.
func (s *service) watchAll(ctx context.Context, config configs.Config, e *estate) {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	s.mu.Lock()
	clear(s.faults)
	clear(s.readers)
	clear(s.watching)
	clear(s.named)
	s.mu.Unlock()
	watched := map[plot]context.CancelCauseFunc{}
	late := map[*collector]bool{} // that asks again for logs
	for faulty, first := 0, true; ; {
		found := e.survey(ctx, config.Repositories)
		if ctx.Err() != nil {
			return
		}
		s.unknown(ctx, config.Repositories, found.faults)
		s.name(found)
		s.credentials(found.credentials)
		if first { // what was said before a reload stands for what is watched still
			first = len(found.faults) > 0
			s.exporter.Kept(func(name string) bool {
				err := found.fault(name)
				return err != nil && !errors.Is(err, errNotInstalled) || slices.ContainsFunc(found.plots, func(p plot) bool { return strings.EqualFold(p.name, name) })
			})
		}
		for _, p := range found.plots {
			if !late[p.by] {
				late[p.by] = true
				watchers.Go(func() { s.lateReads(ctx, p.by) })
			}
			if _, ok := watched[p]; ok {
				continue
			}
			own, stop := context.WithCancelCause(ctx)
			watched[p] = stop
			watchers.Go(func() { s.watch(own, p, config.Collect) })
		}
		for p, stop := range watched {
			// A repository is not gone because the list of its owner could not be had.
			if err := found.fault(p.name); !slices.Contains(found.plots, p) && (err == nil || errors.Is(err, errNotInstalled)) {
				stop(errUnwatched)
				delete(watched, p)
			}
		}
		s.absent(ctx, config, found)
		if len(found.plots) == 0 && len(found.faults) == 0 {
			s.log.WarnContext(ctx, "no repository matches", "repositories", config.Repositories)
		}
		wait := refresh
		if faulty++; len(found.faults) == 0 {
			faulty = 0
		} else {
			wait = min(refresh, time.Duration(config.Collect.Interval)<<min(faulty-1, 10))
		}
		if s.untilRelisted(ctx, wait) != nil {
			return
		}
	}
}

// credentials notes which ones are in use.
func (s *service) credentials(inUse []string) {
	s.exporter.Credentials(inUse)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.refused, func(c string, _ bool) bool { return !slices.Contains(inUse, c) })
}

// name notes who reads a repository of which no more is known than its name.
func (s *service) name(found survey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range found.plots {
		s.named[strings.ToLower(p.name)] = p.by
	}
	for _, i := range found.idle { // its logs can still be read
		s.named[strings.ToLower(i.Name)] = i.by
	}
}

// unknown tells of the patterns whose repositories are not known.
func (s *service) unknown(ctx context.Context, patterns []string, faults map[string]error) {
	for _, p := range patterns {
		err := faults[p]
		if err == nil {
			if strings.Contains(p, "*") { // else its watch says how it fares
				s.fault(p, nil)
			}
			continue
		}
		s.fault(p, err)
		s.log.ErrorContext(ctx, "repositories are not known", "pattern", p, "err", err, "advice", advice(err))
		if err := s.db.CountError(p, reasonOf(err)); err != nil {
			s.log.ErrorContext(ctx, "an error could not be counted", "err", err)
		}
	}
}

// absent notes of the repositories that the store knows and nobody watches why that is so.
func (s *service) absent(ctx context.Context, config configs.Config, found survey) {
	for _, i := range found.idle {
		if err := s.putState(store.Repository{ID: i.ID, Name: i.Name}, i.err); err != nil {
			s.log.ErrorContext(ctx, "the store cannot be written", "err", err)
		}
		s.rest(ctx, i.ID, i.err)
	}
	repos, err := s.db.Repositories()
	if err != nil {
		s.log.ErrorContext(ctx, "the store cannot be read", "err", err)
		return
	}
	for _, r := range repos {
		if s.here(found, r) {
			continue
		}
		why := errUnnamed
		if admits(config.Repositories, r.Name) {
			if why = found.fault(r.Name); why == nil || errors.Is(why, errNotInstalled) {
				why = s.gone(ctx, r)
			} else if !errors.Is(why, actions.ErrSuspended) {
				continue // nobody knows
			}
		}
		if r.State == reasonOf(why) {
			continue // all was done when it came to that
		}
		var err error
		if !errors.Is(why, actions.ErrSuspended) {
			err = s.abandon(r, why)
		}
		if err == nil {
			err = s.putState(r, why)
		}
		if err != nil {
			s.log.ErrorContext(ctx, "the store cannot be written", "err", err)
		}
	}
}

// here reports whether a repository is read, or is known to be idle.
func (s *service) here(found survey, r store.Repository) bool {
	if slices.ContainsFunc(found.idle, func(i idle) bool { return i.ID == r.ID }) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers[r.ID] != nil {
		return true
	}
	for id, name := range s.watching { // another repository stands under the name
		if id != r.ID && strings.EqualFold(name, r.Name) {
			return false
		}
	}
	return slices.ContainsFunc(found.plots, func(p plot) bool { return strings.EqualFold(p.name, r.Name) }) // not reached yet
}

// rest closes what is broken in a repository in which nothing runs any more: nobody can mend it there, and nobody is to be told of it.
func (s *service) rest(ctx context.Context, repo int64, why error) {
	if _, err := s.db.CloseGroups(repo, time.Now(), advice(why), nil); err != nil {
		s.log.ErrorContext(ctx, "the store cannot be written", "err", err)
	}
}

// abandon closes what is broken in a repository that nobody reads any more, since nobody will see that it was mended, and counts
// the logs that were to be asked for again as ones that cannot be had.
func (s *service) abandon(r store.Repository, why error) error {
	if _, err := s.db.CloseGroups(r.ID, time.Now(), advice(why), nil); err != nil {
		return err
	}
	pending, err := s.db.DuePending(time.Now().AddDate(10, 0, 0), 0)
	if err != nil {
		return err
	}
	for _, p := range pending {
		if p.Job.RepositoryID != r.ID {
			continue
		}
		added, err := s.db.Record(store.Reading{Job: p.Job, Result: store.ResultUnreadable})
		if err == nil && added {
			err = s.db.CountError(r.Name, reasonOf(why))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gone says why a repository is in no list any more.
func (s *service) gone(ctx context.Context, r store.Repository) error {
	s.mu.Lock()
	by := s.estate.token
	s.mu.Unlock()
	if by == nil {
		return errRemoved
	}
	info, err := by.github.Repository(ctx, r.Name)
	if err == nil && info.ID == r.ID && !strings.EqualFold(info.Name, r.Name) {
		return fmt.Errorf("%w to %s", errTransferred, info.Name)
	}
	return errRemoved
}

// The reasons why a repository is not watched though the store knows it.
var (
	errUnnamed     = errors.New("the configuration does not name it any more")
	errRemoved     = errors.New("GitHub does not list it any more")
	errTransferred = errors.New("it was transferred")
)

// admits reports whether the patterns of the configuration admit a repository of that name.
func admits(patterns []string, name string) bool {
	admitted := false
	for _, p := range patterns {
		if exclude, ok := strings.CutPrefix(p, "!"); ok && like(exclude, name) {
			return false
		}
		admitted = admitted || like(p, name)
	}
	return admitted
}

// putState notes in the store how the collecting of a repository fares; nil: well.
func (s *service) putState(r store.Repository, err error) error {
	known, ok, e := s.db.Repository(r.ID)
	if e != nil {
		return e
	}
	if ok {
		r = known
	}
	state, reason := "", ""
	if err != nil {
		state, reason = reasonOf(err), advice(err)
	}
	if ok && r.State == state && r.Reason == reason {
		return nil
	}
	r.State, r.Reason = state, reason
	return s.db.PutRepository(r)
}

const (
	// sweepAgain is when a sweep that did not get through is tried again.
	sweepAgain = 10 * time.Minute
	// An archived repository may be brought back.
	archivedInterval = time.Hour
	// storeAgain is when the store is tried again that could not be written.
	storeAgain = 10 * time.Second
)

// A watcher polls one repository, and tells how that goes.
type watcher struct {
	*service
	plot
	watch

	interval time.Duration
	label    string // of its series: the name that GitHub tells, once it has
	failed   int    // polls in a row
	said     string // to the log: what to do about the poll before
}

// errUnwatched ends the watch of a repository that is no longer to be read. A reload ends all, and begins most of them anew.
var errUnwatched = errors.New("the repository is no longer watched")

// watch polls a repository in the configured interval until ctx ends.
func (s *service) watch(ctx context.Context, p plot, config configs.Collect) {
	w := &watcher{service: s, plot: p, watch: watch{name: p.name}, interval: time.Duration(config.Interval), label: p.name}
	w.watch.claim = func(id int64) error { return s.claim(p, w.info.ID, id) }
	s.exporter.Collected(w.label, exporter.Collection{Since: time.Now(), Due: time.Now().Add(2 * w.interval)})
	defer func() {
		if errors.Is(context.Cause(ctx), errUnwatched) {
			s.exporter.Dropped(w.label)
		}
		s.fault(p.name, nil)
		s.release(p, w.info.ID)
	}()
	for sleep(ctx, s.storeDown()) == nil && s.allowed(ctx, p.by) == nil {
		done, err := p.by.poll(ctx, &w.watch)
		if ctx.Err() != nil {
			return
		}
		s.refusal(p.by, err)
		if w.failed++; err == nil {
			w.failed = 0
		}
		wait := w.wait(err)
		w.tell(ctx, done, err, wait)
		// Not all at once: a tenth of the interval, earlier or later.
		if sleep(ctx, wait+time.Duration((rand.Float64()-0.5)*0.2*float64(wait))) != nil {
			return
		}
	}
}

// wait returns when the repository is polled again after a poll that ended so.
func (w *watcher) wait(err error) time.Duration {
	switch {
	case errors.Is(err, errTaken):
		return refresh
	case lasting(err): // each such answer costs quota
		return max(w.interval, min(refresh, w.interval<<min(w.failed-1, 10)))
	case err == nil && w.info.Archived:
		return max(w.interval, archivedInterval)
	}
	return w.interval
}

// lasting reports whether an error of a poll is of the kind that somebody has to mend.
func lasting(err error) bool {
	return errors.Is(err, actions.ErrNotFound) || errors.Is(err, actions.ErrForbidden) || errors.Is(err, actions.ErrActionsOff)
}

// errRenamed: the repository has another name now. errTaken: it is watched under another one.
var (
	errRenamed = errors.New("the repository was renamed")
	errTaken   = fmt.Errorf("%w and is watched under its other name", errRenamed)
)

// claim notes that a watch reads the repository with that id, and no longer the one that it read before.
func (s *service) claim(p plot, before, id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.watching[id]; ok && other != p.name {
		return fmt.Errorf("%w: %s", errTaken, other)
	}
	if before != id && s.watching[before] == p.name {
		delete(s.watching, before)
		delete(s.readers, before)
	}
	s.watching[id], s.readers[id] = p.name, p.by
	return nil
}

func (s *service) release(p plot, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watching[id] == p.name && s.readers[id] == p.by {
		delete(s.watching, id)
		delete(s.readers, id)
	}
}

// A credential that GitHub refuses is tried once in so long, by one request for all of its repositories: GitHub locks out who goes
// on asking.
const refusedAgain = time.Minute

// allowed waits while the collector's credential is refused.
func (s *service) allowed(ctx context.Context, by *collector) error {
	for {
		s.mu.Lock()
		wait := time.Until(s.rests[by])
		if wait <= 0 && !s.rests[by].IsZero() {
			s.rests[by] = time.Now().Add(refusedAgain) // the others wait for what this one finds
		}
		s.mu.Unlock()
		if wait <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// refusal notes whether GitHub refused the collector's credential.
func (s *service) refusal(by *collector, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, actions.ErrUnauthorized) {
		s.rests[by] = time.Now().Add(refusedAgain)
	} else {
		delete(s.rests, by)
	}
}

// reader returns who reads a repository, nil if nobody does yet.
func (s *service) reader(id int64) *collector {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readers[id]
}

// fault notes why a repository or a pattern cannot be read, for the page; nil: it can.
func (s *service) fault(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.faults, name)
		return
	}
	s.faults[name] = advice(err)
}

// storeDown returns for how long nothing is to be read, since it could not be recorded.
func (s *service) storeDown() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.down)
}

// storeFailed stops all collecting for a while. It reports whether that is news.
func (s *service) storeFailed() (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	news = now.Sub(s.down) > storeAgain
	s.down = now.Add(storeAgain)
	return news
}

// tell tells what a poll came to: metrics, the page, the log, the store.
func (w *watcher) tell(ctx context.Context, done progress, err error, wait time.Duration) {
	now := time.Now()
	if w.info.Name != "" && w.info.Name != w.label || errors.Is(err, errTaken) {
		w.exporter.Dropped(w.label)
	}
	w.label = cmp.Or(w.info.Name, w.label)
	w.fault(w.plot.name, err)
	c := exporter.Collection{Due: now.Add(2 * wait)}
	advised := ""
	switch {
	case errors.Is(err, errStore):
		advised = advice(err)
		if w.storeFailed() {
			w.log.ErrorContext(ctx, "collecting stops until the store can be written", "err", err, "advice", advised)
		}
	case err != nil:
		advised = advice(err)
		if e := w.db.CountError(w.label, reasonOf(err)); e != nil {
			w.log.ErrorContext(ctx, "an error could not be counted", "err", e)
		}
		if advised != w.said {
			w.log.ErrorContext(ctx, "a repository could not be read", "repository", w.plot.name, "err", err, "advice", advised)
		}
	default:
		if w.said != "" {
			w.log.InfoContext(ctx, "the repository can be read again", "repository", w.plot.name)
		}
		if done.jobs > 0 {
			w.log.InfoContext(ctx, "collected", "repository", w.plot.name, "runs", done.runs, "logs", done.jobs)
		}
		c.At = now
		w.mu.Lock()
		w.collected = now
		w.mu.Unlock()
		if err = standing(w.plot.name, w.info); errors.Is(err, errArchived) {
			w.rest(ctx, w.info.ID, err)
		}
	}
	w.said = advised
	if w.info.ID != 0 && !errors.Is(err, errStore) {
		if e := w.putState(store.Repository{ID: w.info.ID, Name: w.info.Name}, err); e != nil && w.storeFailed() {
			w.log.ErrorContext(ctx, "collecting stops until the store can be written", "err", e)
		}
	}
	if errors.Is(err, errTaken) {
		return // the other watch tells of it
	}
	waiting := w.waiting(ctx, w.info.ID)
	c.Pending, c.Oldest = waiting.jobs, earlier(done.failed, waiting.oldest)
	w.exporter.Collected(w.label, c)
}

// standing says what is to be known of a repository that is read well, nil if it is as the configuration has it.
func standing(name string, info actions.RepositoryInfo) error {
	owner, _, _ := strings.Cut(name, "/")
	now, _, _ := strings.Cut(info.Name, "/")
	switch {
	case info.Archived:
		return errArchived
	case strings.EqualFold(name, info.Name):
		return nil
	case !strings.EqualFold(owner, now):
		return fmt.Errorf("%w to %s", errTransferred, info.Name)
	}
	return fmt.Errorf("%w: it is %s now", errRenamed, info.Name)
}

// A backlog is which logs are to be asked for again, by repository.
type backlog struct {
	mu sync.Mutex // guards what follows
	at time.Time
	by map[int64]waiting
}

type waiting struct {
	jobs   int
	oldest time.Time // the end of the job that waits for longest
}

// waiting returns what of a repository is to be asked for again, as of some seconds ago.
func (s *service) waiting(ctx context.Context, id int64) waiting {
	s.late.mu.Lock() // and not s.mu: there may be ten thousand of them
	defer s.late.mu.Unlock()
	if now := time.Now(); now.Sub(s.late.at) > 5*time.Second {
		pending, err := s.db.DuePending(now.AddDate(10, 0, 0), 0)
		if err != nil {
			s.log.ErrorContext(ctx, "the store cannot be read", "err", err)
			return waiting{}
		}
		s.late.at, s.late.by = now, map[int64]waiting{}
		for _, p := range pending {
			w := s.late.by[p.Job.RepositoryID]
			w.jobs++
			w.oldest = earlier(w.oldest, p.Job.CompletedAt)
			s.late.by[p.Job.RepositoryID] = w
		}
	}
	return s.late.by[id]
}

// lateReads asks again for logs that a collector could not have.
func (s *service) lateReads(ctx context.Context, c *collector) {
	said := ""
	for ; ctx.Err() == nil; _ = sleep(ctx, max(10*time.Second, s.storeDown())) {
		s.mu.Lock()
		refused := !s.rests[c].IsZero()
		s.mu.Unlock()
		if refused {
			continue // the polls find out when it no longer is
		}
		reason := ""
		if err := c.late(ctx, func(j pushdoctor.Job) bool { return s.collectorOf(j.RepositoryID, j.Repository) == c }); err != nil && ctx.Err() == nil {
			if reason = advice(err); reason != said {
				s.log.ErrorContext(ctx, "logs could not be asked for again", "err", err, "advice", reason)
			}
			if errors.Is(err, errStore) {
				s.storeFailed()
			}
		}
		said = reason
	}
}
