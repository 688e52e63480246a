package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/akkospace/pushdoctor"
)

const (
	maxLinks   = 3                // to one log that its host refuses in a row
	maxResumes = 20               // of one log that breaks off again and again
	stall      = 30 * time.Second // for the next bytes
)

// A source is a log from one byte on to its end, by as many requests as it takes. The logs' host is another one than the
// API's: a link to it holds a signature, is good for a minute, and is asked without the token.
type source struct {
	client *Client
	ask    *http.Request // for a link; its context holds for all
	link   string        // "": another one is needed

	body    *patient // nil: to be opened at at
	at      int64    // the next byte
	size    int64    // of the whole log; -1: not told
	etag    string
	resumes int
}

func (c *Client) source(ctx context.Context, job pushdoctor.Job) (*source, error) {
	owner, repo, err := split(job.Repository)
	if err != nil {
		return nil, err
	}
	ask, err := c.github.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/actions/jobs/%d/logs", owner, repo, job.JobID), nil)
	if err != nil {
		return nil, err
	}
	return &source{client: c, ask: ask.WithContext(ctx), size: -1}, nil
}

func (s *source) Read(p []byte) (int, error) {
	for {
		if s.at == s.size {
			return 0, io.EOF
		}
		if s.body == nil {
			if err := s.open(); err != nil {
				return 0, err
			}
		}
		n, err := s.body.Read(p)
		s.at += int64(n)
		switch {
		case err == nil || n > 0:
			return n, nil
		case errors.Is(err, io.EOF) && (s.size < 0 || s.at == s.size):
			return 0, io.EOF
		}
		s.drop()
		ctx := s.ask.Context()
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if s.resumes++; s.resumes > maxResumes {
			return 0, unavailable(fmt.Errorf("the log broke off %d times: %w", s.resumes, bare(err)))
		}
		if err := sleep(ctx, s.client.gate.backoff(1)); err != nil {
			return 0, err
		}
	}
}

func (s *source) drop() {
	if s.body != nil {
		s.body.drop()
		s.body = nil
	}
}

// A patient reader is a body that is given up once nothing has come for a while.
type patient struct {
	io.ReadCloser
	timer  *time.Timer // cancels the request; runs while something is waited for
	cancel context.CancelFunc
}

func (p *patient) Read(b []byte) (int, error) {
	p.timer.Reset(stall)
	n, err := p.ReadCloser.Read(b)
	if !p.timer.Stop() && err != nil && !errors.Is(err, io.EOF) {
		err = errStalled
	}
	return n, err
}

func (p *patient) drop() {
	p.timer.Stop()
	p.cancel()
	_ = p.Close() // nothing was written to it
}

// errStalled: the timer of a patient reader ran out.
var errStalled = fmt.Errorf("nothing came for %v", stall)

// errOldLink: the host refuses the link.
var errOldLink = errors.New("link refused")

// open opens the body at s.at.
func (s *source) open() error {
	ctx := s.ask.Context()
	links := 0
	for tries := 1; ; tries++ {
		if s.link == "" {
			links++
			link, err := s.client.link(s.ask)
			if err != nil {
				return err
			}
			s.link = link
		}
		again, err := s.get(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errOldLink) && links < maxLinks:
			s.link = ""
			continue // a link of today's needs no wait
		case !again || tries >= maxTries:
			return err
		}
		if err := sleep(ctx, s.client.gate.backoff(tries)); err != nil {
			return err
		}
	}
}

// get makes one request for the bytes from s.at on; again reports whether another one may do better.
func (s *source) get(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	body := &patient{ReadCloser: http.NoBody, timer: time.AfterFunc(stall, cancel), cancel: cancel}
	g := s.client.gate
	e := Exchange{Endpoint: "log_blob"}
	begin := g.now()
	defer func() {
		if e.Err = err; e.Code == 0 {
			e.Duration = g.now().Sub(begin)
		}
		g.observe(e)
		if err != nil {
			body.drop()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.link, nil)
	if err != nil {
		return false, fmt.Errorf("%w: link to the log cannot be read", ErrNotJSON) // err holds the link
	}
	req.Header.Set("User-Agent", g.agent)
	req.Header.Set("Accept-Encoding", "identity") // or the length is not told
	if s.at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", s.at))
	}
	resp, err := s.client.blobs.Do(req)
	if err != nil {
		if !body.timer.Stop() {
			err = errStalled
		}
		return !errors.Is(err, ErrNotJSON), unavailable(err)
	}
	body.timer.Stop()
	body.ReadCloser = resp.Body
	e.Code, e.Duration = resp.StatusCode, g.now().Sub(begin)
	if again, err := s.take(resp, body); err != nil {
		return again, err
	}
	s.body = body
	return false, nil
}

// errLogChanged: two requests for one log had different answers.
var errLogChanged = errors.New("the log changed while it was read")

// take checks an answer and brings its body to s.at.
func (s *source) take(resp *http.Response, body io.Reader) (again bool, err error) {
	switch code := resp.StatusCode; {
	case code == http.StatusOK || code == http.StatusPartialContent:
	case code == http.StatusForbidden || code == http.StatusUnauthorized:
		// The host never sees the token, so that this says nothing about it.
		return true, fmt.Errorf("%w: the logs' host refuses: status %d: %w", ErrUnavailable, code, errOldLink)
	case code == http.StatusNotFound:
		return false, ErrLogNotThere
	case code == http.StatusGone:
		return false, ErrLogGone
	default:
		return code >= 500 || code == http.StatusTooManyRequests, fmt.Errorf("%w: the logs' host answers with status %d", ErrUnavailable, code)
	}
	if mediaType(resp.Header) == "text/html" {
		return true, fmt.Errorf("%w: a page in place of a log", ErrNotJSON)
	}
	if packed := resp.Header.Get("Content-Encoding"); packed != "" && packed != "identity" {
		return false, fmt.Errorf("%w: a log packed by %s", ErrNotJSON, quote(packed))
	}
	size, from := resp.ContentLength, int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		if from, size, err = contentRange(resp.Header.Get("Content-Range")); err != nil {
			return false, err
		}
	}
	etag := resp.Header.Get("ETag")
	if from > s.at || s.size >= 0 && size >= 0 && size != s.size || s.etag != "" && etag != s.etag {
		return false, errLogChanged
	}
	if s.size < 0 {
		s.size = size
	}
	s.etag = etag
	if _, err := io.CopyN(io.Discard, body, s.at-from); err != nil { // the host knows no ranges
		return true, unavailable(err)
	}
	return false, nil
}

// contentRange reads "bytes 5-9/10"; the size is -1 where it stands as "*".
func contentRange(s string) (from, size int64, err error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	from, err = strconv.ParseInt(first, 10, 64)
	if size = -1; err == nil && total != "*" {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	if err != nil || from < 0 {
		return 0, 0, fmt.Errorf("%w: a range that cannot be read", ErrNotJSON)
	}
	return from, size, nil
}

// link asks for a link to the log. It follows the address of a renamed repository.
func (c *Client) link(ask *http.Request) (string, error) {
	req := ask
	for range maxHops + 1 {
		resp, err := c.gate.RoundTrip(req)
		if err != nil {
			return "", explain(err)
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		case http.StatusNotFound:
			return "", ErrLogNotThere
		case http.StatusGone:
			return "", ErrLogGone
		default:
			if err := github.CheckResponse(resp); err != nil {
				return "", explain(err)
			}
			return "", fmt.Errorf("%w: status %d in place of a link", ErrNotJSON, resp.StatusCode)
		}
		to, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("%w: a link that cannot be read", ErrNotJSON) // err may hold the link
		}
		if !c.gate.within(to) {
			if !safe(to, c.base) {
				return "", fmt.Errorf("%w: a link without https", ErrNotJSON)
			}
			return to.String(), nil
		}
		req = ask.Clone(ask.Context())
		req.URL = to
	}
	return "", fmt.Errorf("%w: redirected more than %d times", ErrUnavailable, maxHops)
}

// safe reports whether a link may be followed: by https, or by http where the API itself has no more.
func safe(to, base *url.URL) bool {
	return to.Scheme == "https" || to.Scheme == "http" && base.Scheme == "http"
}

// checkBlobRedirect returns what the client of the logs' host asks before it follows a redirect.
func checkBlobRedirect(base *url.URL) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		req.Header.Del("Referer") // it would tell the signature to another host
		if len(via) > maxHops {
			return fmt.Errorf("%w: redirected more than %d times", ErrUnavailable, maxHops)
		}
		if !safe(req.URL, base) {
			return fmt.Errorf("%w: redirected to a host without https", ErrNotJSON)
		}
		return nil
	}
}
