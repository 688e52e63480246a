package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/store"
)

// deliver reads what a webhook has told of, by the way of a poll, so that nothing is counted twice whoever comes first.
// What was read in the meantime costs no request.
func (c *collector) deliver(ctx context.Context, w store.Work) error {
	if w.JobID == 0 {
		at := pushdoctor.Run{RepositoryID: w.RepositoryID, ID: w.RunID, Attempt: w.Attempt, UpdatedAt: w.Queued}
		if counted, err := c.db.CountedRun(at); counted || err != nil {
			return stored(err)
		}
		run, err := c.github.Run(ctx, w.Repository, w.RunID)
		if err != nil {
			return err
		}
		if err := c.goLive(run.RepositoryID, run.Repository); err != nil {
			return err
		}
		return c.run(ctx, run) // errGoing: it is run again, or this answer is older than the delivery
	}
	// The run may go on for hours, and may end green: then no poll lists this job. Of its execution nothing is known yet.
	if known, err := c.db.Known(pushdoctor.Execution{}, w.JobID); known || err != nil {
		return stored(err)
	}
	job, err := c.github.Job(ctx, w.Repository, w.JobID)
	if err != nil {
		return err
	}
	if err := c.goLive(job.RepositoryID, job.Repository); err != nil {
		return err
	}
	if job.CompletedAt.IsZero() {
		return errGoing
	}
	if !matches(c.config.Workflows, job.Workflow) || !c.wanted(job) {
		return nil
	}
	if known, err := c.db.Known(job.Execution(), job.JobID); known || err != nil {
		return stored(err)
	}
	_, err = c.read(ctx, job, 0)
	return err
}

// goLive makes a repository live that no poll has reached, as its first poll would.
func (c *collector) goLive(id int64, name string) error {
	repo, _, err := c.db.Repository(id)
	if err != nil || !repo.LiveSince.IsZero() {
		return stored(err)
	}
	repo.ID, repo.Name, repo.LiveSince = id, name, c.github.Date()
	return stored(c.db.PutRepository(repo))
}

const (
	workEvery = 10 * time.Second // work that is due again is looked for
	// After that no sweep would find the run either.
	workLife = sweepBack
	// A repository that no credential reads is waited for: after a start, the lists of repositories are not there yet.
	orphanLife = 24 * time.Hour
	// The credential of a collector that was refused is not tried again before that, for any work.
	restFor = time.Minute
)

// A runKey is a run that is being worked on. Its jobs are read one after the other: a run that has ended reads them all.
type runKey struct{ repository, run int64 }

// work does what the queue holds, the oldest first, until ctx ends. Of each collector collect.workers are done at once, and of each
// repository half of these, so that one which floods the queue leaves room.
func (s *service) work(ctx context.Context) error {
	type end struct {
		w    store.Work
		c    *collector
		err  error // of the work
		keep error // of the store
	}
	ends := make(chan end)
	busy := map[runKey]*collector{}
	rests := map[*collector]time.Time{}
	var working sync.WaitGroup
	defer working.Wait()
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	begin := func() error {
		config, _ := s.settings()
		workers := config.Collect.Workers
		each := max(1, workers/2)
		due, err := s.db.NextWork(time.Now(), each)
		if err != nil {
			return err
		}
		byCollector, byRepository := map[*collector]int{}, map[int64]int{}
		for k, c := range busy {
			byCollector[c]++
			byRepository[k.repository]++
		}
		for _, w := range due {
			k, c := runKey{w.RepositoryID, w.RunID}, s.collectorOf(w.RepositoryID, w.Repository)
			if _, ok := busy[k]; ok || byCollector[c] >= workers || byRepository[w.RepositoryID] >= each || time.Now().Before(rests[c]) {
				continue
			}
			busy[k] = c
			byCollector[c]++
			byRepository[w.RepositoryID]++
			working.Go(func() {
				e := end{w: w, c: c}
				if c == nil {
					e.err = errOrphan
				} else {
					e.err = c.deliver(ctx, w)
				}
				if ctx.Err() == nil {
					e.keep = s.settle(ctx, w, e.err)
				}
				select {
				case ends <- e:
				case <-ctx.Done():
				}
			})
		}
		return nil
	}
	for held := false; ; {
		if !held {
			if err := begin(); err != nil {
				s.log.ErrorContext(ctx, "the queue cannot be read", "err", err)
				held = true
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			held = false
		case <-s.queued:
		case e := <-ends:
			delete(busy, runKey{e.w.RepositoryID, e.w.RunID})
			if errors.Is(e.err, actions.ErrUnauthorized) || errors.Is(e.err, actions.ErrRateLimited) {
				rests[e.c] = time.Now().Add(restFor) // GitHub locks out who goes on asking
			}
			if e.keep != nil || errors.Is(e.err, errStore) {
				held = true // or it would be done again at once, and again
			}
		}
	}
}

// errOrphan marks work on a repository that no credential reads.
var errOrphan = errors.New("no credential reads the repository, or the configuration does not name it")

// settle takes work out of the queue that was done or never will be, and puts off the other. It returns the error of the store.
func (s *service) settle(ctx context.Context, w store.Work, err error) error {
	age := time.Since(w.Queued)
	wait, reason, drop := time.Minute, "", age > workLife
	if err != nil {
		reason = reasonOf(err)
	}
	switch {
	case err == nil:
		return s.settled(ctx, s.db.DoneWork(w))
	case errors.Is(err, errGoing):
		wait, reason = 10*time.Second, ""
	case errors.Is(err, errOrphan):
		if drop, reason = age > orphanLife, ""; drop {
			reason = "not_admitted"
		}
	case errors.Is(err, actions.ErrNotFound):
		drop = age > missingFor // GitHub's API may lag behind what it tells
	case errors.Is(err, actions.ErrRateLimited), errors.Is(err, actions.ErrUnauthorized):
		wait, w.Tries = 10*time.Minute, 0 // once that is over, it is done soon
	case errors.Is(err, actions.ErrForbidden):
		wait = refusedFor
	}
	if reason != "" && !errors.Is(err, errStore) {
		s.log.WarnContext(ctx, "what the webhook told of could not be read", "repository", w.Repository, "run", w.RunID, "job", w.JobID,
			"tries", w.Tries+1, "given_up", drop, "err", err)
		if e := s.db.CountError(w.Repository, reason); e != nil {
			return s.settled(ctx, e)
		}
	}
	if drop {
		return s.settled(ctx, s.db.DoneWork(w))
	}
	due := time.Now().Add(min(wait<<min(w.Tries, 14), 24*time.Hour))
	return s.settled(ctx, s.db.RetryWork(w, due))
}

func (s *service) settled(ctx context.Context, err error) error {
	if err != nil {
		s.log.ErrorContext(ctx, "the queue cannot be written", "err", err)
	}
	return err
}
