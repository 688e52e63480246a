package actions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/akkospace/pushdoctor/redact"
)

// The errors by which a caller decides. Each is wrapped in one that names what was asked for.
var (
	// ErrNotFound: there is no such thing at GitHub, or the token may not see it.
	ErrNotFound = errors.New("not found, or not visible to this token")
	// ErrUnauthorized: GitHub refuses the token itself, or wants one.
	ErrUnauthorized = errors.New("token refused")
	// ErrForbidden: the token is good and may not read this.
	ErrForbidden = errors.New("token may not read this")
	// ErrSuspended: the owner has suspended the App's installation. It is an ErrForbidden too.
	ErrSuspended = fmt.Errorf("%w: the installation of the App is suspended", ErrForbidden)
	// ErrActionsOff: the repository is there, and has no Actions.
	ErrActionsOff = errors.New("the repository has no Actions")
	// ErrNotJSON: something else than GitHub answered, most likely a proxy.
	ErrNotJSON = errors.New("the answer is not GitHub's: is a proxy in between?")
	// ErrRateLimited: GitHub went on refusing after all waits that it had asked for.
	ErrRateLimited = errors.New("rate limited")
	// ErrUnavailable: no answer, or a fault of GitHub's own, after all retries.
	ErrUnavailable = errors.New("GitHub is not available")
	// ErrTooManyRuns: more runs than can be listed were created within one second. Its error names the second.
	ErrTooManyRuns = errors.New("more than 1,000 runs within a second")
	// ErrShortList: GitHub counts more runs than it lists, as it may for a while when some were added or deleted.
	ErrShortList = errors.New("GitHub counts more runs than it lists")
	// ErrLogNotThere: the job's log is not there yet, or never will be.
	ErrLogNotThere = errors.New("log is not there")
	// ErrLogGone: the job's log was deleted, or is older than GitHub keeps logs.
	ErrLogGone = errors.New("log is gone")
)

// ours are the errors that the gate makes, and the sources of tokens below it.
var ours = []error{ErrNotJSON, ErrRateLimited, ErrUnavailable, ErrUnauthorized, ErrForbidden}

// explain turns an error of go-github or of the gate into one of the above; nil stays nil. What it
// returns holds no address, since one to a log is a secret.
func explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return bare(err)
	}
	for _, known := range ours {
		if errors.Is(err, known) {
			return bare(err)
		}
	}
	if e, ok := errors.AsType[*github.ErrorResponse](err); ok {
		return refusal(e.Response.StatusCode, e.Message)
	}
	if e, ok := errors.AsType[*github.RateLimitError](err); ok {
		return fmt.Errorf("%w: %s", ErrRateLimited, quote(e.Message))
	}
	if e, ok := errors.AsType[*github.AbuseRateLimitError](err); ok {
		return fmt.Errorf("%w: %s", ErrRateLimited, quote(e.Message))
	}
	syntax, isSyntax := errors.AsType[*json.SyntaxError](err)
	shape, isShape := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case isSyntax:
		return fmt.Errorf("%w (%w)", ErrNotJSON, syntax)
	case isShape:
		return fmt.Errorf("%w (%s is a %s)", ErrNotJSON, cmp.Or(quote(shape.Field), "the answer"), quote(shape.Value))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w (it ends too early)", ErrNotJSON)
	}
	return unavailable(err)
}

// unavailable returns ErrUnavailable for err, the reason that no answer came. A caller takes the error of a context for the end of its
// own, so none is wrapped: net's timeout of a connection says that it is one, too.
func unavailable(err error) error {
	err = bare(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err) //nolint:errorlint // a caller must not take our own end of waiting for its own
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// errEmpty: an answer that is JSON, and has not even what each one of its kind has.
var errEmpty = fmt.Errorf("%w (it lacks what it must have)", ErrNotJSON)

// refusal returns the error for the code of an answer.
func refusal(code int, message string) error {
	kind := ErrUnavailable
	switch code {
	case http.StatusUnauthorized:
		kind = ErrUnauthorized
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		kind = ErrForbidden
		// "This installation has been suspended": https://github.com/octokit/octokit.rb/pull/1307
		if said := strings.ToLower(message); strings.Contains(said, "installation") && strings.Contains(said, "suspended") {
			kind = ErrSuspended
		}
	case http.StatusNotFound, http.StatusGone:
		kind = ErrNotFound
	}
	if message = quote(message); message != "" {
		return fmt.Errorf("%w: status %d: %s", kind, code, message)
	}
	return fmt.Errorf("%w: status %d", kind, code)
}

// bare takes the address off an error of net/http.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// quote makes what a stranger wrote fit for an error: one short line without secrets.
func quote(s string) string {
	s = strings.Join(strings.FieldsFunc(redact.String(s), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
