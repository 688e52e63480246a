// Package actions reads GitHub Actions: which runs there are, their jobs, and the jobs' logs.
// It is the only package that speaks to GitHub.
//
// All calls to the API go through a gate, one a credential, which bounds the requests in flight and in a minute, obeys
// GitHub's primary and secondary limits, tries again what may pass, and asks with conditional requests. A
// Client decides nothing: which runs are worth reading, and what their logs say, is its callers' affair.
package actions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"
)

// Options are what a Client needs to know. The zero value reads github.com without a token.
type Options struct {
	URL   string // of the API: "https://api.github.com", "https://HOST/api/v3"; "": the first
	Token string // "": none is sent; logs cannot be read then
	// Tokens is asked for the token before each request, and once more after GitHub has refused the one that it
	// gave; by many goroutines at once. It should keep what it gives: while it is waited for, nothing is sent. An error
	// ends the request. nil: Token is the token.
	Tokens     func(context.Context) (string, error)
	Credential string // the name of the token in Exchanges; "": "token"

	// Page returns what PutPages was last given under a key, by this process or one before it; nil where that is gone. It is called by
	// many goroutines at once. PutPages is called by Flush, with keys of up to some kilobytes. nil: what is kept of
	// answers ends with the process.
	Page     func(key string) []byte
	PutPages func(pages map[string][]byte) error

	UserAgent string            // "": "pushdoctor"
	Workers   int               // requests to the API in flight at most; 0: 8
	Reserve   float64           // the share of the limits, of the hour and of the minute, that is left to others, in [0, 1)
	MaxLog    int64             // bytes of a log that are read; of a longer one, the first 1 MB and the last MaxLog; 0: 256 MB
	Observe   func(Exchange)    // told of each exchange, by many goroutines at once; nil: nobody
	Transport http.RoundTripper // beneath all; nil: one like http.DefaultTransport, with the proxy that the environment names
	Log       *slog.Logger      // nil: nothing is logged
	Now       func() time.Time  // nil: time.Now
	Rand      func() float64    // in [0, 1), for many goroutines at once; nil: that of math/rand/v2
}

// An Exchange is one request with its answer. It holds no address and no secret.
type Exchange struct {
	// Endpoint is one of "repository", "repositories", "runs", "run", "jobs", "job", "job_log", "log_blob",
	// "workflow", "workflows", "file", "ref", "installations", "installation_token", "installation_repositories", "other".
	Endpoint   string
	Code       int    // 0: there was no answer
	Credential string // that of Options, "anonymous" where there is no token; "" for the logs' host, which gets none
	// Renewed: the answer was sent whole, at the cost of quota, though the one before was kept: that one belongs to
	// an older token. Whether anything else had changed is not known.
	Renewed bool
	// Resource, Limit, Remaining and Reset are what the answer says of the primary limit; zero where it says nothing.
	Resource         string
	Limit, Remaining int
	Reset            time.Time
	Expires          time.Time     // when the token ends, of which GitHub tells where it was made to end; zero for one that is renewed by itself
	Duration         time.Duration // to the end of the answer; for a log, to its first byte
	Err              error         // why there was no answer, or none that could be used
}

// A Client reads from one GitHub, as one user. It is safe for concurrent use.
type Client struct {
	gate   *gate
	github *github.Client
	blobs  *http.Client
	base   *url.URL
	maxLog int64
	log    *slog.Logger

	mu        sync.Mutex // guards workflows
	workflows map[workflowKey]workflow
}

// New returns a Client. It sends nothing; an error means that Options cannot be used.
func New(o Options) (*Client, error) {
	base, err := o.complete()
	if err != nil {
		return nil, err
	}
	return newClient(o, base), nil
}

// complete checks o, sets what is not set, and returns the address of the API with a slash at its end.
func (o *Options) complete() (base *url.URL, err error) {
	if o.URL == "" {
		o.URL = "https://api.github.com"
	}
	base, err = url.Parse(strings.TrimSuffix(o.URL, "/") + "/")
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" {
		return nil, errors.New("address of the API: want https://HOST or https://HOST/PATH") // err would quote what may be a secret
	}
	if o.Reserve < 0 || o.Reserve >= 1 {
		return nil, fmt.Errorf("reserve %v is not in [0, 1)", o.Reserve)
	}
	if strings.ContainsFunc(o.Token, strange) {
		return nil, errors.New("the token holds a blank or a character that no token has")
	}
	if o.Tokens == nil {
		token := o.Token
		o.Tokens = func(context.Context) (string, error) { return token, nil }
	}
	if o.Credential == "" {
		o.Credential = "token"
	}
	if o.UserAgent == "" {
		o.UserAgent = "pushdoctor"
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.MaxLog <= 0 {
		o.MaxLog = 256e6
	}
	if o.Observe == nil {
		o.Observe = func(Exchange) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = o.Workers
		o.Transport = t
	}
	return base, nil
}

// newClient returns a Client by Options that are complete.
func newClient(o Options, base *url.URL) *Client {
	g := newGate(o, base)
	c := &Client{
		gate:      g,
		github:    github.NewClient(&http.Client{Transport: g, CheckRedirect: g.checkRedirect}),
		blobs:     &http.Client{Transport: o.Transport, CheckRedirect: checkBlobRedirect(base)},
		base:      base,
		maxLog:    o.MaxLog,
		log:       o.Log,
		workflows: map[workflowKey]workflow{},
	}
	c.github.BaseURL = base
	c.github.UserAgent = o.UserAgent
	return c
}

// Date returns the time that GitHub's last answer told, to the second; zero before the first answer.
func (c *Client) Date() time.Time {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return c.gate.date
}

// A Budget is what GitHub's last answers told of the primary limit.
type Budget struct {
	Limit, Remaining int // requests an hour; Limit is 0 where GitHub has told none
	Reset            time.Time
}

// Budget returns what is known of the primary limit. It asks nothing.
func (c *Client) Budget() Budget {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	q := c.gate.quota
	return Budget{q.limit, q.remaining, q.reset}
}

// RepositoryInfo is what GitHub says of a repository.
type RepositoryInfo struct {
	ID       int64
	Name     string // owner/name, as GitHub spells it now
	Archived bool   // nothing new can happen in it
	Disabled bool   // by GitHub, for its own reasons
}

// name is the form of a repository's name. GitHub takes less; what else stands here would change the address that is asked.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*(_[A-Za-z0-9]+)?/[A-Za-z0-9._-]{1,100}$`)

func split(repository string) (owner, repo string, err error) {
	owner, repo, _ = strings.Cut(repository, "/")
	if !name.MatchString(repository) || repo == "." || repo == ".." {
		return "", "", fmt.Errorf("%w: %.100q is not of the form owner/name", ErrNotFound, repository)
	}
	return owner, repo, nil
}

// Repository returns what GitHub says of the repository, under its new name if it was renamed.
// Its error is, among others, ErrNotFound, ErrUnauthorized, ErrForbidden or ErrNotJSON.
func (c *Client) Repository(ctx context.Context, repository string) (RepositoryInfo, error) {
	owner, repo, err := split(repository)
	if err != nil {
		return RepositoryInfo{}, fmt.Errorf("repository: %w", err)
	}
	r, _, err := c.github.Repositories.Get(ctx, owner, repo)
	if err != nil {
		return RepositoryInfo{}, fmt.Errorf("repository %s: %w", repository, explain(err))
	}
	if r == nil || r.ID == nil || r.FullName == nil {
		return RepositoryInfo{}, fmt.Errorf("repository %s: %w", repository, errEmpty)
	}
	return info(r), nil
}

func info(r *github.Repository) RepositoryInfo {
	return RepositoryInfo{ID: r.GetID(), Name: r.GetFullName(), Archived: r.GetArchived(), Disabled: r.GetDisabled()}
}

func infos(all []RepositoryInfo, some []*github.Repository) ([]RepositoryInfo, error) {
	for _, r := range some {
		if r == nil || r.ID == nil || r.FullName == nil {
			return all, errEmpty
		}
		all = append(all, info(r))
	}
	return all, nil
}

// maxPages bounds every list but that of runs, which has a bound of its own.
const maxPages = 200

// Repositories returns the repositories of an organisation, or the public ones of a user: at most
// 20,000, and an error with these if there are more.
func (c *Client) Repositories(ctx context.Context, owner string) ([]RepositoryInfo, error) {
	if _, _, err := split(owner + "/x"); err != nil {
		return nil, fmt.Errorf("repositories: %w", err)
	}
	var all []RepositoryInfo
	user := false
	for page := 1; page != 0; {
		var some []*github.Repository
		var resp *github.Response
		var err error
		at := github.ListOptions{Page: page, PerPage: 100}
		if user {
			some, resp, err = c.github.Repositories.ListByUser(ctx, owner, &github.RepositoryListByUserOptions{Type: "owner", ListOptions: at})
		} else {
			some, resp, err = c.github.Repositories.ListByOrg(ctx, owner, &github.RepositoryListByOrgOptions{ListOptions: at})
		}
		if err = explain(err); errors.Is(err, ErrNotFound) && !user {
			user = true
			continue
		}
		if err != nil {
			return all, fmt.Errorf("repositories of %s: %w", owner, err)
		}
		if all, err = infos(all, some); err != nil {
			return all, fmt.Errorf("repositories of %s: %w", owner, err)
		}
		if page = resp.NextPage; page > maxPages {
			return all, fmt.Errorf("repositories of %s: more than %d", owner, maxPages*100)
		}
	}
	return all, nil
}

// Credential returns the name that Exchanges have of what the client's requests are signed with.
func (c *Client) Credential() string { return c.gate.name }

// Flush hands to PutPages what was kept of answers since the last time: what a poll needs of them, without the texts in them, under
// keys that hold no token and belong to one. What it hands over need not be asked for again while it has not changed.
func (c *Client) Flush() error {
	g := c.gate
	if g.putPages == nil {
		return nil
	}
	out, all := map[string][]byte{}, g.pages.unwritten()
	for address, p := range all {
		if value, err := p.encode(); err == nil { // what is no JSON is asked for again
			out[p.token.key(address)] = value
		}
	}
	if len(out) > 0 {
		if err := g.putPages(out); err != nil {
			return err
		}
	}
	g.pages.wrote(all)
	return nil
}

type urgent struct{}

// Urgent returns a context whose requests may take from the reserve: for what somebody waits for.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgent{}, true) }
