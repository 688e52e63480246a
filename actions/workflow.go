package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"
)

type workflowKey struct {
	repository string
	id         int64
}

type workflow struct {
	path, name string
	err        error // ErrUnavailable
	until      time.Time
}

// How long an answer of WorkflowName is good. A file that is not on the default branch today
// is merged tomorrow; one that is there seldom goes.
const (
	workflowLife = 24 * time.Hour
	otherLife    = time.Hour
	faultLife    = time.Minute // a list has a thousand runs of one workflow, and each try takes seconds
	maxWorkflows = 10_000
)

// WorkflowName returns the path of a workflow's file, ".github/workflows/image.yml", and the workflow's name. The path
// is "" where the file is not on the repository's default branch: such a name can be
// anybody's invention, by a pull request from a fork. Both are "" for a workflow that was deleted.
// A workflow of GitHub's own has a path that begins with "dynamic/" and no file. Answers are
// kept for a day, for an hour where there is no path, and for a minute where it is ErrUnavailable.
func (c *Client) WorkflowName(ctx context.Context, repository string, id int64) (path, name string, err error) {
	key := workflowKey{repository, id}
	now := c.gate.now()
	c.mu.Lock()
	known := c.workflows[key]
	c.mu.Unlock()
	if now.Before(known.until) {
		return known.path, known.name, known.err
	}
	found, err := c.workflow(ctx, repository, id)
	life := workflowLife
	switch {
	case errors.Is(err, ErrUnavailable):
		found.err, life = fmt.Errorf("workflow %d of %s: %w", id, repository, err), faultLife
	case err != nil:
		return "", "", fmt.Errorf("workflow %d of %s: %w", id, repository, err)
	case found.path == "":
		life = otherLife
	}
	found.until = c.gate.now().Add(life)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.workflows) >= maxWorkflows {
		clear(c.workflows)
	}
	c.workflows[key] = found
	return found.path, found.name, found.err
}

func (c *Client) workflow(ctx context.Context, repository string, id int64) (workflow, error) {
	owner, repo, err := split(repository)
	if err != nil {
		return workflow{}, err
	}
	w, _, err := c.github.Actions.GetWorkflowByID(ctx, owner, repo, id)
	if err = explain(err); errors.Is(err, ErrNotFound) {
		return workflow{}, nil
	}
	if err != nil {
		return workflow{}, err
	}
	if w == nil || w.ID == nil || w.Path == nil {
		return workflow{}, errEmpty
	}
	found := workflow{path: w.GetPath(), name: w.GetName()}
	if strings.HasPrefix(found.path, "dynamic/") {
		return found, nil
	}
	_, _, _, err = c.github.Repositories.GetContents(ctx, owner, repo, found.path, nil)
	switch err = explain(err); {
	case errors.Is(err, ErrNotFound), errors.Is(err, github.ErrPathForbidden): // go-github asks for no path with ".." in it
		found.path = ""
	case errors.Is(err, ErrForbidden):
		// The token may not read files. Better a name that might be invented than none at all.
	case err != nil:
		return workflow{}, err
	}
	return found, nil
}
