package fakegithub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how a Server behaves. The zero value is a GitHub that asks for no token,
// has GitHub's limits and no faults.
type Options struct {
	Token        string           // one that is taken; "", without Tokens and App: none is asked for
	Tokens       []string         // others that are taken
	Expires      time.Time        // when tokens end, of which each answer tells; zero: never. They are taken even then.
	Login        string           // the user whose the tokens are; "": "octo-dev"
	App          App              // the GitHub App that the World's installations are of; zero: there is none
	PrimaryLimit int              // requests an hour; 0: 5,000; negative: none, and no headers, as at an own server
	PerMinute    int              // points in any 60 s before the secondary limit strikes; 0: 900
	InFlight     int              // more than that at once are a violation; 0: 8. More than 100 are refused.
	Secondary    []Refusal        // what the secondary limit says, in turn; nil: 403 for a minute, which it tells
	Now          func() time.Time // nil: time.Now
	Latency      time.Duration    // of each answer
	Grace        time.Duration    // for so long the news of a limit may be on its way to a client that has to share its processor
	Faults       Faults
	ListLag      time.Duration // filtered lists of runs show what happened up to so long ago, each run after a time of its own
	Shuffle      bool          // lists of runs have no order, though always the same one
	LinkLife     time.Duration // how long a link to a log is good; 0: a minute
	NoRange      bool          // the logs' host ignores ranges
	NoLength     bool          // the logs' host tells no length
}

// A Server shows a World as GitHub does: its API on one host, the logs of jobs on another.
// New makes it; it is reached over TCP after Start, and in memory through Pipe.
type Server struct {
	world *World
	o     Options
	mux   *http.ServeMux

	urls      [2]string // of the API, of the logs
	servers   []*http.Server
	pipes     [2]*pipe
	transport *http.Transport
	serving   sync.WaitGroup

	mu          sync.Mutex // guards all below
	token       string
	credentials map[string]*credential
	grants      map[string]grant // by installation token
	refusal     Refusal          // for all
	until       time.Time        // the end of it
	dice        map[string]*die
	inFlight    int
	stats       Stats
}

// Stats are what a Server has seen.
type Stats struct {
	Requests    map[string]int // by endpoint; "log_blob" are those to the logs' host
	NotModified int            // answered with 304, for which no quota was taken
	Faults      int
	MaxInFlight int   // to the API
	LogBytes    int64 // sent by the logs' host
	// Violations are what GitHub would take offence at: too many requests at once, requests
	// while limited, the token sent to the logs' host. The first hundred are kept.
	Violations []string
	// Credentials tell the same of each: by its token, "installation 50000007" for all tokens of one, "app" for
	// those that the App signs itself, "" for none and for what is not taken.
	Credentials map[string]Use
}

// A Use is what one credential has asked of the API.
type Use struct {
	Requests    map[string]int // by endpoint
	Cost        int            // answers that took from the primary limit
	NotModified int
	MaxInFlight int
	Peak        int // the most requests in any 60 s
	PeakLists   int // the same, of the lists of runs and of repositories
	Violations  int
}

// A Refusal is a secondary limit.
type Refusal struct {
	Code       int           // 403 or 429
	For        time.Duration // it lasts
	RetryAfter bool          // the answer says how long
}

// AllRefusals are the forms in which GitHub refuses, for Options.Secondary.
var AllRefusals = []Refusal{
	{http.StatusForbidden, time.Minute, true}, {http.StatusTooManyRequests, time.Minute, true},
	{http.StatusForbidden, time.Minute, false}, {http.StatusTooManyRequests, time.Minute, false},
}

// New returns a Server of the World.
func New(w *World, o Options) *Server {
	if o.PrimaryLimit == 0 {
		o.PrimaryLimit = 5000
	}
	if o.PerMinute == 0 {
		o.PerMinute = 900
	}
	if o.InFlight == 0 {
		o.InFlight = 8
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LinkLife == 0 {
		o.LinkLife = time.Minute
	}
	if o.Login == "" {
		o.Login = "octo-dev"
	}
	if o.Secondary == nil {
		o.Secondary = AllRefusals[:1]
	}
	s := &Server{
		world: w, o: o, token: o.Token, mux: http.NewServeMux(),
		credentials: map[string]*credential{}, grants: map[string]grant{}, dice: map[string]*die{},
		stats: Stats{Requests: map[string]int{}},
	}
	s.routes()
	return s
}

// Start opens both hosts on free ports of the loopback address.
func (s *Server) Start() error {
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	logs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, api.Close())
	}
	s.urls = [2]string{"http://" + api.Addr().String(), "http://" + logs.Addr().String()}
	s.serve(0, api)
	s.serve(1, logs)
	return nil
}

// hosts are the names of both hosts in memory.
var hosts = [2]string{"api.github.test", "logs.github.test"}

// Pipe opens both hosts in memory and returns the transport that reaches them, and nothing else.
// It works within a testing/synctest bubble, where TCP does not.
func (s *Server) Pipe() http.RoundTripper {
	if s.transport != nil {
		return s.transport
	}
	for i := range s.pipes {
		s.pipes[i] = &pipe{conns: make(chan net.Conn), done: make(chan struct{})}
		s.urls[i] = "http://" + hosts[i]
	}
	s.serve(0, s.pipes[0])
	s.serve(1, s.pipes[1])
	s.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			i := slices.Index(hosts[:], strings.TrimSuffix(address, ":80"))
			if i < 0 {
				return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
			}
			return s.pipes[i].dial(ctx)
		},
	}
	return s.transport
}

func (s *Server) serve(host int, l net.Listener) {
	handler := http.Handler(http.HandlerFunc(s.serveAPI))
	if host == 1 {
		handler = http.HandlerFunc(s.serveLog)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() { _ = srv.Serve(l) }) // ends with http.ErrServerClosed
}

// URL returns the address of the API, without a slash at its end; "" before Start or Pipe.
func (s *Server) URL() string { return s.urls[0] }

// Close closes both hosts and all connections to them, and waits for their end.
func (s *Server) Close() error {
	var errs []error
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	for _, srv := range s.servers {
		errs = append(errs, srv.Close())
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

// SetToken changes the token that is taken, but for Options.Tokens: the one before is refused from now on.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// Refuse puts the secondary limit into force for every credential, from now on.
func (s *Server) Refuse(r Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal, s.until = r, s.o.Now().Add(r.For)
}

// Forget takes it that nobody knows any more of a limit in force: the client was killed and begins anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.credentials {
		c.told, c.forgiven = time.Time{}, 0
	}
}

// Stats returns what the Server has seen until now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.stats
	seen.Requests = maps.Clone(seen.Requests)
	seen.Violations = slices.Clone(seen.Violations)
	seen.Credentials = map[string]Use{}
	for name, c := range s.credentials {
		use := c.use
		use.Requests = maps.Clone(use.Requests)
		use.Peak, use.PeakLists = c.requests.most, c.lists.most
		seen.Credentials[name] = use
	}
	return seen
}

// violation notes an offence. s.mu is held.
func (s *Server) violation(format string, args ...any) {
	if len(s.stats.Violations) < 100 {
		s.stats.Violations = append(s.stats.Violations, fmt.Sprintf(format, args...))
	}
}

// A pipe is a listener in memory.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipe) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
