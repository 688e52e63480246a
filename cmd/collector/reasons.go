package main

import (
	"errors"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/store"
)

// reasons are the labels of errors of collecting. The first that fits is the error's.
var reasons = []struct {
	err    error
	reason string
}{
	{errArchived, "archived"},
	{errDisabled, "disabled"},
	{errTransferred, "transferred"},
	{errRenamed, "renamed"},
	{errRemoved, "removed"},
	{errUnnamed, "unnamed"},
	{actions.ErrSuspended, "suspended"},
	{actions.ErrUnauthorized, "unauthorized"},
	{actions.ErrForbidden, "forbidden"},
	{actions.ErrActionsOff, "actions_off"},
	{actions.ErrNotFound, "not_found"},
	{actions.ErrNotJSON, "not_json"},
	{actions.ErrRateLimited, "rate_limited"},
	{actions.ErrTooManyRuns, "too_many_runs"},
	{actions.ErrUnavailable, "unavailable"},
	{errStore, "store"},
}

// reasonOf is the label of an error of collecting.
func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "other"
}

// advice says what to do about an error of collecting, for the page and the log.
func advice(err error) string {
	switch reasonOf(err) {
	case "archived":
		return "the repository is archived: nothing runs in it until it is brought back"
	case "disabled":
		return "GitHub has disabled the repository: nothing runs in it"
	case "suspended":
		return "the GitHub App's installation is suspended: its owner can unsuspend it in the settings of the organisation"
	case "too_many_runs":
		return err.Error() + ": GitHub lists no more of them; what is beyond them is not read"
	case "store":
		if errors.Is(err, store.ErrFull) {
			return "there is no room for the store: make some on its disk; collecting goes on by itself then"
		}
		return "the store cannot be written: the log of the service says why; collecting goes on by itself once it can be"
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
