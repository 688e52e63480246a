//go:build torture && unix

package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A request is one that reached the fake GitHub.
type request struct {
	life, n int // the life that asked, and how many it had asked with this one
	at      time.Time
	target  string // method and path; those to the logs' host without their signature
	code    int    // 0: none was given
}

func (r request) String() string {
	return fmt.Sprintf("%s life %d, request %d: %s -> %d", r.at.Format("15:04:05"), r.life, r.n, r.target, r.code)
}

// A tap stands before both hosts of a fake GitHub. It counts what a life asks, so that a seed kills it at the same
// request again, however fast the machine is.
type tap struct {
	api, logs *httptest.Server
	now       func() time.Time

	mu       sync.Mutex // guards what follows
	asked    []request  // by all lives
	life     *life      // the one that is under way
	n        int        // requests of it
	inFlight int
	worked   time.Time // when a request that is no part of an idle poll was last seen
	logsHost *url.URL  // of the fake, which tells it in its links
}

// newTap opens both hosts until the test ends.
func newTap(t *testing.T, fake string, now func() time.Time) *tap {
	t.Helper()
	p := &tap{now: now}
	api, err := url.Parse(fake)
	if err != nil {
		t.Fatal(err)
	}
	// A connection that is used again would be tried again where the fake resets it, without the program's doing.
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	host := func(target func() *url.URL) *httptest.Server {
		through := &httputil.ReverseProxy{
			Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target()) },
			ModifyResponse: func(r *http.Response) error { p.redirect(r); return nil },
			ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
			Transport:      transport,
			FlushInterval:  -1,
			ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		}
		s := httptest.NewUnstartedServer(p.count(through))
		s.Config.ErrorLog = through.ErrorLog
		s.Start()
		t.Cleanup(s.Close)
		return s
	}
	p.api = host(func() *url.URL { return api })
	p.logs = host(func() *url.URL {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.logsHost
	})
	return p
}

// redirect makes addresses of the fake in an answer's header lead through the tap.
func (p *tap) redirect(r *http.Response) {
	fake := r.Request.URL.Scheme + "://" + r.Request.URL.Host
	for _, name := range []string{"Location", "Link"} {
		if v := r.Header.Get(name); v != "" {
			r.Header.Set(name, strings.ReplaceAll(v, fake, p.api.URL))
		}
	}
	to, err := r.Location()
	if err != nil || strings.HasPrefix(to.String(), p.api.URL) {
		return
	}
	p.mu.Lock()
	p.logsHost = &url.URL{Scheme: to.Scheme, Host: to.Host}
	p.mu.Unlock()
	r.Header.Set("Location", p.logs.URL+to.RequestURI())
}

// A coded ResponseWriter remembers the status.
type coded struct {
	http.ResponseWriter
	code int
}

func (c *coded) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

func (c *coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (p *tap) count(through http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := r.URL.Path
		if created := r.URL.Query().Get("created"); created != "" {
			target += " " + created + " " + r.URL.Query().Get("page")
		}
		p.mu.Lock()
		life, number := p.life, len(p.asked)
		p.n++
		n := p.n
		p.inFlight++
		p.asked = append(p.asked, request{life: life.number, n: n, at: p.now(), target: r.Method + " " + strings.TrimSpace(target)})
		if strings.Contains(target, "/jobs") || strings.Contains(target, "/attempts/") || strings.HasPrefix(target, "/logs/") {
			p.worked = time.Now()
		}
		p.mu.Unlock()
		said := &coded{ResponseWriter: w}
		defer func() { // the answer may break off
			p.mu.Lock()
			p.inFlight--
			p.asked[number].code = said.code
			p.mu.Unlock()
		}()
		if n == life.at && !life.late {
			life.strike()
		}
		if n == life.limit {
			life.refuse()
		}
		defer func() {
			if n == life.at && life.late {
				life.strike()
			}
		}()
		through.ServeHTTP(said, r)
	})
}

// begin counts for another life from now on.
func (p *tap) begin(l *life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life, p.n, p.worked = l, 0, time.Now()
}

// last is the last request of the life that is under way, and how many it was.
func (p *tap) last() (request, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 {
		return request{}, 0
	}
	return p.asked[len(p.asked)-1], p.n
}

// total is how many requests there were.
func (p *tap) total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// request is the n-th one of a life.
func (p *tap) request(life, n int) (request, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.asked {
		if r.life == life && r.n == n {
			return r, true
		}
	}
	return request{}, false
}

// idle reports whether nothing is under way.
func (p *tap) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight == 0
}

// quiet reports whether for so long nothing but lists was asked for.
func (p *tap) quiet(long time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight == 0 && p.n > 0 && time.Since(p.worked) > long
}

// about returns what was asked of a path that holds one of the words.
func (p *tap) about(words ...string) (asked []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.asked {
		for _, word := range words {
			if strings.Contains(r.target+"/", word) {
				asked = append(asked, r.String())
				break
			}
		}
	}
	return asked
}
