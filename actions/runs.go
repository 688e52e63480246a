package actions

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/akkospace/pushdoctor"
)

// A Window is a span of creation times, both ends included, in whole seconds. A zero From is the
// beginning of Actions, a zero To leaves the end open. A poll keeps From as it is while it can: the address of
// a list then stays the same, and a list that has not changed costs nothing.
type Window struct{ From, To time.Time }

// beginning is before the first run of Actions.
var beginning = time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC)

func (w Window) whole() Window {
	if w.From.Before(beginning) {
		w.From = beginning
	}
	w.From = w.From.UTC().Truncate(time.Second)
	if !w.To.IsZero() {
		w.To = w.To.UTC().Truncate(time.Second)
	}
	return w
}

// String returns w as the API takes it.
func (w Window) String() string {
	if w.To.IsZero() {
		return ">=" + w.From.Format(time.RFC3339)
	}
	return w.From.Format(time.RFC3339) + ".." + w.To.Format(time.RFC3339)
}

// halves cuts w in two that share no second; ok is false if w is no longer than one. now stands in for an open end.
func (w Window) halves(now time.Time) (older, newer Window, ok bool) {
	end := w.To
	if end.IsZero() {
		end = now.UTC().Truncate(time.Second)
	}
	if !end.After(w.From) {
		return w, w, false
	}
	middle := w.From.Add(end.Sub(w.From) / 2).Truncate(time.Second)
	return Window{w.From, middle}, Window{middle.Add(time.Second), w.To}, true
}

const (
	pageSize = 100
	maxList  = 1000 // GitHub lists no more of what a filter lets pass
)

// Runs returns the runs of the repository that were created within the window, each in its newest attempt and
// once. One whose workflow GitHub cannot tell now has no Workflow. A list that GitHub would cut is asked for in halves; otherwise there is no order to rely on.
//
// An error is the last thing that is yielded: what came before it is good, what is missing is not told.
// It is ErrActionsOff where the repository is there and has no Actions. It is ErrTooManyRuns, after all runs that
// can be listed, where one second has more than that, and ErrShortList, likewise, where GitHub counts more runs than it
// lists.
//
// settled says that the caller is done with all runs that this very window had when it was asked for last, and that
// nobody else has asked this Client for it since. A list of one page that has not changed is then not looked at
// again: nothing is yielded.
func (c *Client) Runs(ctx context.Context, repository string, w Window, settled bool) iter.Seq2[pushdoctor.Run, error] {
	return func(yield func(pushdoctor.Run, error) bool) {
		l := &listing{client: c, repository: repository, told: map[int64]bool{}, yield: func(r pushdoctor.Run) bool { return yield(r, nil) }}
		err := l.window(ctx, w.whole(), settled)
		if errors.Is(err, errEnough) {
			return
		}
		if err == nil && l.crowded == nil && l.short {
			err = ErrShortList
		}
		if many := l.tooMany(); err == nil {
			err = many
		} else if many != nil {
			err = fmt.Errorf("%w; %v", err, many) //nolint:errorlint // ErrTooManyRuns says that all else was listed
		}
		if err != nil {
			yield(pushdoctor.Run{}, fmt.Errorf("runs of %s: %w", repository, err))
		}
	}
}

// Count returns how many runs Runs would yield, by one request.
func (c *Client) Count(ctx context.Context, repository string, w Window) (int, error) {
	page, _, err := c.page(ctx, repository, w.whole(), 1, 1)
	if err != nil {
		return 0, fmt.Errorf("runs of %s: %w", repository, err)
	}
	return page.GetTotalCount(), nil
}

// errEnough ends a walk whose caller wants no more.
var errEnough = errors.New("enough")

// A listing is one walk over the runs of a repository.
type listing struct {
	client     *Client
	repository string
	yield      func(pushdoctor.Run) bool
	told       map[int64]bool // runs that were yielded
	crowded    []string       // the first seconds that hold more than can be listed
	more       int            // other such seconds
	short      bool           // GitHub counted more runs than it listed
}

// maxNamed is how many seconds an error names.
const maxNamed = 5

func (l *listing) tooMany() error {
	switch {
	case l.crowded == nil:
		return nil
	case l.more > 0:
		return fmt.Errorf("%w, at %s and %d more", ErrTooManyRuns, strings.Join(l.crowded, ", "), l.more)
	}
	return fmt.Errorf("%w, at %s", ErrTooManyRuns, strings.Join(l.crowded, ", "))
}

func (l *listing) crowd(second time.Time) {
	if len(l.crowded) < maxNamed {
		l.crowded = append(l.crowded, second.Format(time.RFC3339))
	} else {
		l.more++
	}
}

func (l *listing) window(ctx context.Context, w Window, settled bool) error {
	seen := map[int64]bool{} // runs that appear meanwhile move others to the next page
	total, again, crowded := 0, false, false
	for number := 1; number != 0; {
		ask := ctx
		if settled {
			ask, settled = context.WithValue(ctx, settledList{}, true), false
		}
		page, resp, err := l.client.page(ask, l.repository, w, number, pageSize)
		if errors.Is(err, errUnchanged) {
			return nil
		}
		if err != nil {
			return err
		}
		if number == 1 {
			total = page.GetTotalCount()
		}
		if number == 1 && total > maxList {
			older, newer, ok := w.halves(l.client.Date())
			if ok {
				if err := l.window(ctx, older, false); err != nil {
					return err
				}
				return l.window(ctx, newer, false)
			}
			crowded = true
			l.crowd(w.From)
		}
		for _, r := range page.WorkflowRuns {
			if r != nil && seen[r.GetID()] {
				continue
			}
			seen[r.GetID()] = true
			if l.told[r.GetID()] {
				continue
			}
			run, err := l.client.convert(ctx, l.repository, r)
			if err != nil {
				return err
			}
			l.told[run.ID] = true
			if !l.yield(run) {
				return errEnough
			}
		}
		if number = resp.NextPage; number > maxList/pageSize {
			number = 0
		}
		if number != 0 || crowded || len(seen) >= total {
			continue
		}
		if !again { // a run that was deleted meanwhile moves others to the page before
			again, number = true, 1
		} else {
			l.client.log.WarnContext(ctx, "the list of runs is shorter than GitHub says",
				"repository", l.repository, "created", w.String(), "runs", len(seen), "total", total)
			l.short = true
		}
	}
	return nil
}

func (c *Client) page(ctx context.Context, repository string, w Window, number, size int) (*github.WorkflowRuns, *github.Response, error) {
	owner, repo, err := split(repository)
	if err != nil {
		return nil, nil, err
	}
	page, resp, err := c.github.Actions.ListRepositoryWorkflowRuns(ctx, owner, repo, &github.ListWorkflowRunsOptions{
		Created:             w.String(),
		ExcludePullRequests: true,
		ListOptions:         github.ListOptions{Page: number, PerPage: size},
	})
	if err == nil && (page == nil || page.TotalCount == nil) {
		return nil, nil, errEmpty // no answer must not look like no runs
	}
	if errors.Is(err, errUnchanged) {
		return nil, nil, errUnchanged
	}
	return page, resp, c.explainActions(ctx, repository, err)
}

// explainActions is explain for a route of Actions, which is not there either where Actions is off.
func (c *Client) explainActions(ctx context.Context, repository string, err error) error {
	err = explain(err)
	if errors.Is(err, ErrNotFound) {
		if _, e := c.Repository(ctx, repository); e == nil {
			return ErrActionsOff
		} else if !errors.Is(e, ErrNotFound) {
			return e
		}
	}
	return err
}

// Run returns one run in its newest attempt.
func (c *Client) Run(ctx context.Context, repository string, id int64) (pushdoctor.Run, error) {
	owner, repo, err := split(repository)
	if err == nil {
		var r *github.WorkflowRun
		if r, _, err = c.github.Actions.GetWorkflowRunByID(ctx, owner, repo, id); err == nil {
			var run pushdoctor.Run
			if run, err = c.convert(ctx, repository, r); err == nil {
				return run, nil
			}
		} else {
			err = explain(err)
		}
	}
	return pushdoctor.Run{}, fmt.Errorf("run %d of %s: %w", id, repository, err)
}

// Attempt returns one attempt of a run, by its number from 1. Runs and Run tell of the newest one only.
func (c *Client) Attempt(ctx context.Context, repository string, id int64, attempt int) (pushdoctor.Run, error) {
	owner, repo, err := split(repository)
	if err == nil {
		var r *github.WorkflowRun
		if r, _, err = c.github.Actions.GetWorkflowRunAttempt(ctx, owner, repo, id, attempt, nil); err == nil {
			var run pushdoctor.Run
			if run, err = c.convert(ctx, repository, r); err == nil {
				return run, nil
			}
		} else {
			err = explain(err)
		}
	}
	return pushdoctor.Run{}, fmt.Errorf("attempt %d of run %d of %s: %w", attempt, id, repository, err)
}

func (c *Client) convert(ctx context.Context, repository string, r *github.WorkflowRun) (pushdoctor.Run, error) {
	if r == nil || r.ID == nil || r.WorkflowID == nil || r.CreatedAt == nil || r.GetRepository().GetID() == 0 {
		return pushdoctor.Run{}, errEmpty
	}
	// One workflow for which GitHub answers with a fault must not take the list of all runs with it. Its name is not known
	// then, which is something else than "other".
	file, _, err := c.WorkflowName(ctx, repository, r.GetWorkflowID())
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return pushdoctor.Run{}, err
	}
	run := pushdoctor.Run{
		RepositoryID:   r.GetRepository().GetID(),
		Repository:     r.GetRepository().GetFullName(),
		ID:             r.GetID(),
		Attempt:        r.GetRunAttempt(),
		WorkflowID:     r.GetWorkflowID(),
		WorkflowName:   r.GetName(),
		Branch:         r.GetHeadBranch(),
		Event:          r.GetEvent(),
		HeadRepository: r.GetHeadRepository().GetFullName(),
		HeadSHA:        r.GetHeadSHA(),
		Status:         r.GetStatus(),
		Conclusion:     r.GetConclusion(),
		CreatedAt:      r.GetCreatedAt().UTC(),
		StartedAt:      r.GetRunStartedAt().UTC(),
		UpdatedAt:      r.GetUpdatedAt().UTC(),
		URL:            r.GetHTMLURL(),
	}
	switch {
	case file != "":
		run.Workflow = path.Base(file)
	case err == nil:
		run.Workflow = "other"
	}
	return run, nil
}
