package actions

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	maxTries   = 6                // of one request, faults of the network and of GitHub
	maxLimited = 5                // of one request, refusals by a limit
	maxAnswer  = 32 << 20         // bytes of an answer of the API, unpacked
	patience   = time.Minute      // for one answer
	firstPause = time.Minute      // after a secondary limit that does not say how long
	maxPause   = 15 * time.Minute // of these, as they grow
	maxWait    = time.Hour        // what an answer may ask for
	maxHops    = 3                // redirects of one request
)

// A gate is the one way to the API. It stands beneath go-github, whose own checks of limits know neither 429
// nor a reserve, refuse for up to an hour after a secondary limit, and leave logs out: the gate
// takes the headers away from which they would be made.
//
// Answers are read whole before they are handed on, so that one that breaks off is asked for again.
type gate struct {
	base    http.RoundTripper
	root    *url.URL
	tokens  func(context.Context) (string, error)
	name    string // of the credential
	leased  bool   // its tokens are renewed by themselves
	signed  bool   // base signs each request, with the time
	agent   string
	reserve float64
	observe func(Exchange)
	log     *slog.Logger
	now     func() time.Time
	rand    func() float64
	workers int // requests in flight at most
	pages   *pages

	page     func(string) []byte // as in Options
	putPages func(map[string][]byte) error

	mu        sync.Mutex    // guards what follows
	date      time.Time     // GitHub's, of the last answer
	skew      time.Duration // by how much its clock is ahead of ours
	quota     quota
	pause     pause
	spent     time.Time   // the end of the hour for which a wait was logged
	queue     []*turn     // what waits to be sent: what is urgent first, else as it came
	timer     *time.Timer // for the next of them; nil before the first wait
	inFlight  int
	all       minute // of requests
	discovery minute // of those that discover
}

func newGate(o Options, base *url.URL) *gate {
	return &gate{
		base: o.Transport, root: base, tokens: o.Tokens, name: o.Credential, agent: o.UserAgent, reserve: o.Reserve, observe: o.Observe, log: o.Log,
		now: o.Now, rand: o.Rand, workers: o.Workers, pages: newPages(maxPageBytes), page: o.Page, putPages: o.PutPages,
		all:       newMinute(perMinute - int(math.Ceil(o.Reserve*perMinute))),
		discovery: newMinute(perMinute / 2),
	}
}

// A reply is one answer, read whole, or the error in its place.
type reply struct {
	code       int
	header     http.Header
	body       []byte // as it came, perhaps packed
	cached     bool
	sent, came time.Time // came: of the header
	skew       time.Duration
	err        error
}

// RoundTrip sends req until there is an answer to hand on. It may send it more than once, whatever its method. Its errors
// are the context's, errUnchanged, ErrRateLimited, ErrNotJSON, that of the last try, or why there is no token.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if !g.within(req.URL) {
		return nil, fmt.Errorf("%w: redirected to another host", ErrNotJSON)
	}
	ctx := req.Context()
	endpoint := endpoint(strings.TrimPrefix(req.URL.Path, g.root.Path))
	tries, refusals, refused := 0, 0, false
	for {
		token, err := g.authorize(ctx, endpoint)
		if err != nil {
			return nil, err
		}
		r := g.send(req, endpoint, token)
		limited := g.note(ctx, r)
		g.leave()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch {
		case limited:
			if refusals++; refusals == maxLimited {
				return nil, fmt.Errorf("%w: %d times in a row", ErrRateLimited, refusals)
			}
		case r.passing():
			if tries++; tries == maxTries {
				return r.response(req)
			}
			if err := sleep(ctx, g.backoff(tries)); err != nil {
				return nil, err
			}
		case r.code == http.StatusUnauthorized && r.err == nil && !refused:
			refused = true
			if again, err := g.renewed(ctx, token, r); err != nil {
				return nil, err
			} else if !again {
				return r.response(req)
			}
		case r.cached && endpoint == "runs" && ctx.Value(settledList{}) != nil && !strings.Contains(r.header.Get("Link"), `rel="next"`):
			return nil, errUnchanged
		default:
			return r.response(req)
		}
	}
}

type settledList struct{}

// errUnchanged: the answer is the one before, it is the only page, and the caller needs it no more.
var errUnchanged = errors.New("unchanged")

// within reports whether u belongs to the API, and so may be sent the token.
func (g *gate) within(u *url.URL) bool {
	return u.Scheme == g.root.Scheme && strings.EqualFold(u.Host, g.root.Host) && strings.HasPrefix(u.Path, g.root.Path)
}

// checkRedirect lets http.Client follow the address of a renamed repository, and no other.
func (g *gate) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxHops {
		return fmt.Errorf("%w: redirected more than %d times", ErrUnavailable, maxHops)
	}
	if !g.within(req.URL) {
		return fmt.Errorf("%w: redirected to another host", ErrNotJSON)
	}
	return nil
}

// send makes one try.
func (g *gate) send(req *http.Request, endpoint, token string) reply {
	ctx, cancel := context.WithTimeoutCause(req.Context(), patience, errNoAnswer)
	defer cancel()
	out := req.Clone(ctx)
	out.Header.Set("User-Agent", g.agent)
	out.Header.Set("Accept-Encoding", "gzip") // said by us, the answer stays packed: a page of runs is a thirtieth
	credential := g.name
	switch {
	case token != "":
		out.Header.Set("Authorization", "Bearer "+token)
	case !g.signed:
		credential = "anonymous"
	}
	print := fingerprintOf(token)
	cached, known := g.kept(endpoint, req.URL.String(), print)
	kept := known && cached.token == print
	if kept {
		out.Header.Set("If-None-Match", cached.etag)
	}
	if req.GetBody != nil { // the try before has read it
		out.Body, _ = req.GetBody() // a buffer of go-github's, which cannot fail
	}

	r := reply{sent: g.now(), skew: g.ahead()}
	resp, err := g.base.RoundTrip(out)
	r.came = g.now()
	if err == nil {
		r.code, r.header = resp.StatusCode, resp.Header
		if r.code >= 400 {
			g.note(ctx, r) // a limit holds from here on, however long the rest takes
		}
		r.body, err = readAll(resp.Body)
		_ = resp.Body.Close() // read to its end, or given up
	}
	switch {
	case err != nil:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		r.err = unavailable(err)
	case r.code == http.StatusNotModified && kept:
		r.body, r.cached = cached.body, true
	case r.code < 300 && !isJSON(r.header), r.code >= 400 && r.code < 500 && mediaType(r.header) == "text/html":
		r.err = fmt.Errorf("%w: status %d with a page of type %s", ErrNotJSON, r.code, quote(mediaType(r.header)))
	case r.code == http.StatusOK && cacheable[endpoint] && r.header.Get("ETag") != "":
		g.pages.put(req.URL.String(), page{r.header.Get("ETag"), print, r.header, r.body, true})
	}
	e := Exchange{Endpoint: endpoint, Code: r.code, Credential: credential, Renewed: known && !kept && r.code == http.StatusOK, Duration: g.now().Sub(r.sent), Err: r.err}
	if q, ok := readQuota(r.header, g.now()); ok {
		e.Resource, e.Limit, e.Remaining, e.Reset = q.resource, q.limit, q.remaining, q.reset
	}
	if !g.leased && !g.signed {
		e.Expires = readExpiry(r.header)
	}
	g.observe(e)
	if r.cached {
		r.code, r.header = http.StatusOK, merge(r.header, cached.header)
	}
	return r
}

var errNoAnswer = errors.New("no answer within a minute")

// isJSON reports whether an answer with that header is one of the API's.
func isJSON(h http.Header) bool {
	t := mediaType(h)
	return t == "" || strings.HasSuffix(t, "json")
}

func mediaType(h http.Header) string {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return t
}

// merge returns the header of a cached answer, with what the 304 says of the limits.
func merge(now, cached http.Header) http.Header {
	h := cached.Clone()
	maps.Copy(h, now)
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Length", "Link"} {
		if values := cached.Values(name); values != nil {
			h[http.CanonicalHeaderKey(name)] = values
		} else {
			h.Del(name)
		}
	}
	return h
}

func readAll(body io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = errTooLong
	}
	return b, err
}

var errTooLong = fmt.Errorf("an answer of more than %d MB", maxAnswer>>20)

// passing reports whether the same request may well have a better answer soon.
func (r reply) passing() bool {
	switch {
	case errors.Is(r.err, errTooLong):
		return false
	case errors.Is(r.err, ErrUnavailable): // no answer, or one that broke off, of whatever status
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](r.err)
		return !untrusted
	case r.code >= 400 && r.code < 500:
		return false
	case r.err != nil:
		return true
	}
	return r.code >= 500 && r.code != http.StatusNotImplemented && r.code != http.StatusHTTPVersionNotSupported
}

// response makes of r what http.Client takes, unpacked and without the headers that would wake go-github's own checks.
func (r reply) response(req *http.Request) (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	body, err := unpack(r.body, r.header.Get("Content-Encoding"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	h := r.header.Clone()
	for name := range h {
		if strings.HasPrefix(name, "X-Ratelimit-") || name == "Retry-After" || name == "Content-Encoding" || name == "Content-Length" {
			h.Del(name)
		}
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", r.code, http.StatusText(r.code)), StatusCode: r.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}, nil
}

func unpack(body []byte, encoding string) ([]byte, error) {
	switch {
	case encoding == "" || len(body) == 0:
		return body, nil
	case encoding != "gzip":
		return nil, fmt.Errorf("the answer is packed by %s", quote(encoding))
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

// backoff returns how long to wait before another try: longer after each, and never quite as long as somebody else.
func (g *gate) backoff(tries int) time.Duration {
	d := min(250*time.Millisecond<<(tries-1), 30*time.Second)
	return d/2 + time.Duration(g.rand()*float64(d/2))
}

// sleep waits for d, or returns why it cannot.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// routes name the routes in a repository, by their paths without it.
var routes = []struct {
	path     *regexp.Regexp
	endpoint string
}{
	{regexp.MustCompile(`^actions/runs$`), "runs"},
	{regexp.MustCompile(`^actions/runs/\d+$`), "run"},
	{regexp.MustCompile(`^actions/runs/\d+/jobs$`), "jobs"},
	{regexp.MustCompile(`^actions/jobs/\d+$`), "job"},
	{regexp.MustCompile(`^actions/jobs/\d+/logs$`), "job_log"},
	{regexp.MustCompile(`^actions/workflows/\d+$`), "workflow"},
	{regexp.MustCompile(`^actions/workflows$`), "workflows"},
	{regexp.MustCompile(`^git/ref/`), "ref"},
	{regexp.MustCompile(`^contents/`), "file"},
	{regexp.MustCompile(`^$`), "repository"},
}

// inRepository is how the path of a route in a repository begins.
var inRepository = regexp.MustCompile(`^(repos/[^/]+/[^/]+|repositories/\d+)(/|$)`)

var ofOwner = regexp.MustCompile(`^(orgs|users)/[^/]+/repos$`)

var ofInstallation = regexp.MustCompile(`^app/installations/\d+/access_tokens$`)

func endpoint(path string) string {
	if at := inRepository.FindStringIndex(path); at != nil {
		for _, r := range routes {
			if r.path.MatchString(path[at[1]:]) {
				return r.endpoint
			}
		}
	}
	switch {
	case ofOwner.MatchString(path):
		return "repositories"
	case path == "installation/repositories":
		return "installation_repositories"
	case path == "app/installations":
		return "installations"
	case ofInstallation.MatchString(path):
		return "installation_token"
	}
	return "other"
}
