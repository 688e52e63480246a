package fakegithub

import (
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Fault is something that goes wrong between a client and GitHub.
type Fault string

// The faults. FaultExpired strikes the logs' host only, FaultPage the API only.
const (
	FaultServer    Fault = "server"    // 500, 502 or 503
	FaultPage      Fault = "page"      // 200 with a page of HTML, of a proxy
	FaultReset     Fault = "reset"     // the connection is closed without an answer
	FaultTruncated Fault = "truncated" // the connection is closed within the body
	FaultSlow      Fault = "slow"      // the answer comes a second late, and its second half another second
	FaultExpired   Fault = "expired"   // 403 from the logs' host, as if the link were too old
	FaultStalled   Fault = "stalled"   // within the body nothing comes any more for two minutes, then the end of the connection
)

// AllFaults are all faults but FaultStalled, for which a client must wait long.
var AllFaults = []Fault{FaultServer, FaultPage, FaultReset, FaultTruncated, FaultSlow, FaultExpired}

// Faults strike a share of the requests. Which of the requests for one address are struck depends
// on Seed alone, not on what else is asked meanwhile; and no address is struck
// more than twice in a row, so that a client with some patience gets through.
type Faults struct {
	Rate  float64 // in [0, 1]
	Seed  uint64
	Kinds []Fault // nil: AllFaults
}

// A die is thrown for each request for one address.
type die struct {
	*rand.Rand
	row int // struck in a row
}

// fault returns what strikes this request to the given host, "" for nothing.
func (s *Server) fault(host int, r *http.Request) Fault {
	if s.o.Faults.Rate <= 0 {
		return ""
	}
	address := strconv.Itoa(host) + r.URL.Path
	if host == 0 {
		address += "?" + r.URL.RawQuery // a link to a log has its time in it
	}
	kinds := s.o.Faults.Kinds
	if kinds == nil {
		kinds = AllFaults
	}
	kinds = slices.DeleteFunc(slices.Clone(kinds), func(f Fault) bool {
		return host == 0 && f == FaultExpired || host == 1 && f == FaultPage
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dice[address]
	if d == nil {
		h := fnv.New64a()
		h.Write([]byte(address))
		d = &die{Rand: rand.New(rand.NewPCG(s.o.Faults.Seed, h.Sum64()))}
		s.dice[address] = d
	}
	throw, kind := d.Float64(), d.IntN(max(1, len(kinds)))
	if throw >= s.o.Faults.Rate || d.row == 2 || len(kinds) == 0 {
		d.row = 0
		return ""
	}
	d.row++
	s.stats.Faults++
	return kinds[kind]
}

const signIn = `<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Example network</h1><p>Please sign in.</p></body></html>`

// strike does what can be done before an answer is made, and reports whether that was all.
func (s *Server) strike(f Fault, w http.ResponseWriter, r *http.Request) (done bool) {
	switch f {
	case FaultServer:
		code := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}[len(r.URL.Path)%3]
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(code)
		_, _ = w.Write([]byte("<html><body>Whoops, something went wrong.</body></html>"))
		return true
	case FaultPage:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(signIn))
		return true
	case FaultReset:
		panic(http.ErrAbortHandler)
	case FaultSlow:
		s.wait(r, time.Second)
	}
	return false
}

// halved returns a ResponseWriter that does what f does to the body. Its header must be complete.
func (s *Server) halved(f Fault, w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	switch f {
	case FaultTruncated:
		return &halver{ResponseWriter: w, then: func() { panic(http.ErrAbortHandler) }}
	case FaultSlow:
		return &halver{ResponseWriter: w, then: func() { s.wait(r, time.Second) }}
	case FaultStalled:
		return &halver{ResponseWriter: w, then: func() {
			s.wait(r, 2*time.Minute)
			panic(http.ErrAbortHandler)
		}}
	}
	return w
}

// wait waits for d, or for the end of the request.
func (s *Server) wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

// A halver is a ResponseWriter that does something after half of the body that was announced, once.
type halver struct {
	http.ResponseWriter
	then func()
	left int64
	set  bool
}

func (x *halver) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *halver) Write(b []byte) (int, error) {
	if !x.set {
		x.set = true
		length, err := strconv.ParseInt(x.Header().Get("Content-Length"), 10, 64)
		if err != nil {
			length = int64(len(b))
		}
		x.left = length / 2
	}
	if x.then == nil || int64(len(b)) < x.left {
		x.left -= int64(len(b))
		return x.ResponseWriter.Write(b)
	}
	n, err := x.ResponseWriter.Write(b[:x.left])
	if err != nil {
		return n, err
	}
	_ = http.NewResponseController(x.ResponseWriter).Flush() // so that the half is there
	then := x.then
	x.then = nil
	then()
	m, err := x.ResponseWriter.Write(b[n:])
	return n + m, err
}

// bearer returns the token of the request, "" where it has none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		return ""
	}
	return token
}
