package actions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-github/v60/github"
)

// Workflows returns the base names of the files of the workflows that GitHub lists for the repository and does not call
// deleted: at most 20,000. There may be workflows among them whose files are gone: GitHub goes on calling some of them active
// (https://github.com/refined-github/refined-github/pull/6543). Its error is, among others, ErrActionsOff; it then returns
// none, since half a list would make the others look deleted.
func (c *Client) Workflows(ctx context.Context, repository string) ([]string, error) {
	owner, repo, err := split(repository)
	if err != nil {
		return nil, fmt.Errorf("workflows: %w", err)
	}
	var files []string
	seen := 0
	for page := 1; page != 0; {
		some, resp, err := c.github.Actions.ListWorkflows(ctx, owner, repo, &github.ListOptions{Page: page, PerPage: pageSize})
		if err = c.explainActions(ctx, repository, err); err == nil && (some == nil || some.TotalCount == nil) {
			err = errEmpty
		}
		if err != nil {
			return nil, fmt.Errorf("workflows of %s: %w", repository, err)
		}
		for _, w := range some.Workflows {
			if seen++; w.GetPath() != "" && w.GetState() != "deleted" {
				files = append(files, path.Base(w.GetPath()))
			}
		}
		if page = resp.NextPage; page > maxPages {
			return nil, fmt.Errorf("workflows of %s: more than %d", repository, maxPages*pageSize)
		}
		if page == 0 && seen < some.GetTotalCount() {
			return nil, fmt.Errorf("workflows of %s: %w: it lists %d of %d", repository, ErrUnavailable, seen, some.GetTotalCount())
		}
	}
	return files, nil
}

// BranchGone reports whether the repository has neither a branch nor a tag of that name: runs have the names of both for their Branch.
// It is false for a token that may not read the repository's contents, to which GitHub shows none.
func (c *Client) BranchGone(ctx context.Context, repository, branch string) (bool, error) {
	owner, repo, err := split(repository)
	if err == nil && (branch == "" || strings.Contains("/"+branch, "/.")) { // of which another address would be made
		err = fmt.Errorf("%w: no branch has this name", ErrNotFound)
	}
	if err != nil {
		return false, fmt.Errorf("branch %.100q of %.100s: %w", branch, repository, err)
	}
	for _, kind := range []string{"heads/", "tags/"} {
		there, err := c.ref(ctx, owner, repo, kind+branch)
		if err != nil {
			return false, fmt.Errorf("branch %s of %s: %w", branch, repository, err)
		}
		if there {
			return false, nil
		}
	}
	gone, err := c.showsContents(ctx, owner, repo)
	if err != nil {
		return false, fmt.Errorf("branch %s of %s: %w", branch, repository, err)
	}
	return gone, nil
}

// FileGone reports whether the default branch of the repository has no file of that path. It is false for a token that may
// not read the repository's contents, to which GitHub shows none.
func (c *Client) FileGone(ctx context.Context, repository, file string) (bool, error) {
	owner, repo, err := split(repository)
	if err != nil {
		return false, fmt.Errorf("file %s: %w", file, err)
	}
	_, _, _, err = c.github.Repositories.GetContents(ctx, owner, repo, file, nil)
	gone := false
	if err = hidden(explain(err)); errors.Is(err, errHidden) {
		gone, err = c.showsContents(ctx, owner, repo)
	}
	if err != nil {
		return false, fmt.Errorf("file %s of %s: %w", file, repository, err)
	}
	return gone, nil
}

// showsContents reports whether the token is shown what every repository has: its default branch. Without the right to read contents, GitHub
// answers as if there were none.
func (c *Client) showsContents(ctx context.Context, owner, repo string) (bool, error) {
	r, _, err := c.github.Repositories.Get(ctx, owner, repo)
	if err != nil {
		return false, explain(err)
	}
	if r.GetDefaultBranch() == "" {
		return false, errEmpty
	}
	return c.ref(ctx, owner, repo, "heads/"+r.GetDefaultBranch())
}

// ref reports whether GitHub shows the token a ref of that name.
func (c *Client) ref(ctx context.Context, owner, repo, name string) (bool, error) {
	_, _, err := c.github.Git.GetRef(ctx, owner, repo, name)
	if err = hidden(explain(err)); errors.Is(err, errHidden) {
		return false, nil
	}
	return err == nil, err
}

// errHidden: there is no such thing in the repository, or the token may not read the repository's contents.
var errHidden = errors.New("not there, or not to be read")

// hidden returns errHidden where err may mean that.
func hidden(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden) && !errors.Is(err, ErrSuspended) {
		return errHidden
	}
	return err
}
