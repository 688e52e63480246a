package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/store"
)

// verifyRequests bounds what one poll asks for the groups of one job, so that one that nobody repairs cannot eat the budget.
const verifyRequests = 20

// shownRef returns what groups show of a job's or run's branch or tag: the first of the patterns that admits it. It is "" where none
// does, and for what speaks of no branch of the repository: pull requests, and runs from another head repository.
func shownRef(patterns []string, branch, event, repository, head string) string {
	if strings.HasPrefix(event, "pull_request") || head != "" && !strings.EqualFold(head, repository) {
		return ""
	}
	for _, p := range patterns {
		if ok, err := path.Match(p, branch); ok && err == nil {
			return p
		}
	}
	return ""
}

// watchedRun returns run with its Ref.
func (c *collector) watchedRun(run pushdoctor.Run) pushdoctor.Run {
	run.Ref = shownRef(c.refs, run.Branch, run.Event, run.Repository, run.HeadRepository)
	return run
}

// weighed returns a reading with what groups want to know of it. A success that is read for them alone, and in which nothing
// was found, is told from one that the configuration asks for.
func (c *collector) weighed(r store.Reading) store.Reading {
	r.Ref = shownRef(c.refs, r.Job.Branch, r.Job.Event, r.Job.Repository, r.Job.HeadRepository)
	if r.Ref != "" && len(r.Facts.Pushed) > 0 {
		r.Good = map[string]pushdoctor.Registry{}
		for _, image := range r.Facts.Pushed {
			r.Good[image] = classifier.RegistryOf(image)
		}
	}
	if r.Result == store.ResultClean && r.Job.Conclusion == "success" && !slices.Contains(c.config.Conclusions, "success") {
		r.Result = store.ResultVerify
	}
	return r
}

// A broken job is one of which there are open groups. They are verified together: its log tells of all of them.
type brokenJob struct{ workflow, ref, job string }

// verify looks for executions that have pushed well what is broken in a repository, the longest broken first. It reads the successes of
// the jobs in question, each run's once, until the groups are closed. A log that is not there yet is pending, and closes
// its groups when it is read. An error about one run does not keep it from other jobs, but for one that stops.
func (c *collector) verify(ctx context.Context, repo store.Repository) error {
	open, err := c.openGroups(repo)
	if err != nil {
		return err
	}
	var jobs []brokenJob
	for _, g := range open {
		if j := (brokenJob{g.Workflow, g.Ref, g.Job}); !slices.Contains(jobs, j) {
			jobs = append(jobs, j)
		}
	}
	for _, j := range jobs {
		one := c.verifyJob(ctx, repo, j)
		if stops(one) {
			return one
		}
		err = errors.Join(err, one)
	}
	return err
}

// closeGone closes what is broken in a repository and cannot be mended any more: its workflow's file is no longer on the default branch,
// or its branch or tag is deleted. Refs that are shown as a pattern stand for many and are left alone, as are other workflows.
func (c *collector) closeGone(ctx context.Context, repo store.Repository) error {
	open, err := c.openGroups(repo)
	if err != nil {
		return err
	}
	var files, refs []string
	for _, g := range open {
		if g.Workflow != "other" && !slices.Contains(files, g.Workflow) {
			files = append(files, g.Workflow)
		}
	}
	if files, err = c.goneWorkflows(ctx, repo, files); err != nil {
		return err
	}
	ofGone := func(g pushdoctor.Group) bool { return slices.Contains(files, g.Workflow) }
	if err := c.closeGroups(ctx, repo, "the workflow is gone", ofGone); err != nil {
		return err
	}
	for _, g := range slices.DeleteFunc(open, ofGone) {
		if !strings.ContainsAny(g.Ref, `*?[\`) && !slices.Contains(refs, g.Ref) {
			refs = append(refs, g.Ref)
		}
	}
	for _, ref := range refs {
		gone, err := c.github.BranchGone(ctx, repo.Name, ref)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if err := c.closeGroups(ctx, repo, "the branch is gone", func(g pushdoctor.Group) bool { return g.Ref == ref }); err != nil {
			return err
		}
	}
	return nil
}

// goneWorkflows returns those of the workflows' files that are gone.
func (c *collector) goneWorkflows(ctx context.Context, repo store.Repository, files []string) (gone []string, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	listed, err := c.github.Workflows(ctx, repo.Name)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		// The list is told to every token that reads Actions, and keeps workflows whose files are gone; the file is told to one that
		// reads contents.
		is := !slices.Contains(listed, file)
		if ext := path.Ext(file); !is && (ext == ".yml" || ext == ".yaml") { // GitHub's own workflows have no file
			if is, err = c.github.FileGone(ctx, repo.Name, ".github/workflows/"+file); err != nil {
				return nil, err
			}
		}
		if is {
			gone = append(gone, file)
		}
	}
	return gone, nil
}

func (c *collector) closeGroups(ctx context.Context, repo store.Repository, why string, gone func(pushdoctor.Group) bool) error {
	n, err := c.db.CloseGroups(repo.ID, c.github.Date(), why, gone)
	if n > 0 {
		c.log.InfoContext(ctx, "what was broken is stale", "repository", repo.Name, "groups", n, "reason", why)
	}
	return stored(err)
}

func (c *collector) openGroups(repo store.Repository) ([]pushdoctor.Group, error) {
	now := c.github.Date()
	if now.IsZero() {
		now = c.now()
	}
	open, err := c.db.Groups(store.GroupQuery{Now: now, State: pushdoctor.GroupOpen, ID: repo.ID})
	return open, stored(err)
}

// verifyJob goes through the runs that may close the groups of one job, in the order in which they ended.
func (c *collector) verifyJob(ctx context.Context, repo store.Repository, j brokenJob) (errs error) {
	failed := map[[2]int64]bool{}           // runs and attempts that could not be asked for now
	for left := verifyRequests; left > 1; { // a listing, and a log at least
		open, err := c.openGroups(repo)
		if err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(g pushdoctor.Group) bool { return j != (brokenJob{g.Workflow, g.Ref, g.Job}) })
		if len(open) == 0 {
			return errs
		}
		// The one whose newest failure is the oldest asks for all that the others ask for.
		g := slices.MinFunc(open, func(a, b pushdoctor.Group) int { return a.Newest.Compare(b.Newest) })
		runs, err := c.db.Candidates(g, len(failed)+1)
		if err != nil {
			return stored(err)
		}
		runs = slices.DeleteFunc(runs, func(r pushdoctor.Run) bool { return failed[[2]int64{r.ID, int64(r.Attempt)}] })
		if len(runs) == 0 {
			return errs
		}
		run := runs[0]
		run.Repository = cmp.Or(repo.Name, run.Repository)
		asked, waits, err := c.verifyRun(ctx, run, g, left)
		left -= asked
		switch {
		case errors.Is(err, errBudget):
			return errs
		case stops(err):
			return err
		case err != nil: // the next run may tell as well
			failed[[2]int64{run.ID, int64(run.Attempt)}] = true
			errs = errors.Join(errs, fmt.Errorf("verifying job %q: %w", j.job, err))
			continue
		}
		if err := c.db.Looked(g, run); err != nil {
			return stored(err)
		}
		if waits {
			return errs // the log may be there by the next poll, and a later run need not be read then
		}
	}
	return errs
}

// errBudget marks a run of which the next poll reads the rest.
var errBudget = errors.New("enough requests for one poll")

// verifyRun reads the logs of a run's jobs that may have pushed what is broken. It returns how many requests it made, and whether a
// log is to be asked for again.
func (c *collector) verifyRun(ctx context.Context, run pushdoctor.Run, g pushdoctor.Group, limit int) (asked int, waits bool, err error) {
	jobs, err := c.github.Jobs(ctx, run)
	asked++
	if errors.Is(err, actions.ErrNotFound) {
		return asked, false, nil // the run was deleted, and the next one tells
	}
	if err != nil {
		return asked, false, err
	}
	slices.SortStableFunc(jobs, func(a, b pushdoctor.Job) int { return a.CompletedAt.Compare(b.CompletedAt) })
	for _, job := range jobs {
		if job.Name != g.Job || job.Conclusion != "success" || !job.CompletedAt.After(g.Newest) {
			continue
		}
		known, err := c.db.Weighed(job.Execution(), job.JobID)
		if err != nil {
			return asked, waits, stored(err)
		}
		if known {
			continue
		}
		if asked >= limit {
			return asked, waits, errBudget
		}
		result, err := c.read(ctx, job, 0)
		asked++
		if err != nil {
			return asked, waits, err
		}
		waits = waits || result == ""
	}
	return asked, waits, nil
}
