package fakegithub

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	secondaryDocs = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	primaryDocs   = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
)

// maxAtOnce is how many requests GitHub answers at once:
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
const maxAtOnce = 100

// A credential is what a limit is counted for: a token, all tokens of an installation, or nobody in particular.
type credential struct {
	limit int // requests an hour; negative: none
	used  int // of them
	reset time.Time

	points, requests, lists span
	refusal                 Refusal
	until                   time.Time // the end of it
	turn                    int       // of Options.Secondary
	told                    time.Time // until then the client knows that it must not ask
	heard                   time.Time // since when
	forgiven                int       // requests that may have been under way when it was told
	inFlight                int
	use                     Use
}

// credential returns the credential of that name. s.mu is held.
func (s *Server) credential(name string) *credential {
	c := s.credentials[name]
	if c == nil {
		c = &credential{limit: s.o.PrimaryLimit, use: Use{Requests: map[string]int{}}}
		s.credentials[name] = c
	}
	return c
}

// A span counts what happened within 60 s.
type span struct {
	at   []time.Time
	most int
}

func (x *span) add(now time.Time, n int) {
	for len(x.at) > 0 && !x.at[0].After(now.Add(-time.Minute)) {
		x.at = x.at[1:]
	}
	x.at = append(x.at, slices.Repeat([]time.Time{now}, n)...)
	x.most = max(x.most, len(x.at))
}

// arrive counts a request, and notes what is wrong with it being made at all. s.mu is held.
func (s *Server) arrive(c *credential, endpoint, method string) {
	now := s.o.Now()
	s.stats.Requests[endpoint]++
	c.use.Requests[endpoint]++
	points := 5
	if method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions {
		points = 1
	}
	c.points.add(now, points)
	c.requests.add(now, 1)
	if endpoint == "runs" || endpoint == "repositories" {
		c.lists.add(now, 1)
	}

	s.inFlight++
	c.inFlight++
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.inFlight)
	c.use.MaxInFlight = max(c.use.MaxInFlight, c.inFlight)
	if c.inFlight > s.o.InFlight {
		c.use.Violations++
		s.violation("%d requests at once, %d are good manners", c.inFlight, s.o.InFlight)
	}
	if now.Before(c.told) && now.Sub(c.heard) >= s.o.Grace {
		if c.forgiven > 0 {
			c.forgiven--
		} else {
			c.use.Violations++
			s.violation("asked for %s %v before the end of a limit", endpoint, c.told.Sub(now))
		}
	}
	if (len(c.points.at) > s.o.PerMinute || c.inFlight > maxAtOnce) && !now.Before(c.until) {
		c.refusal = s.o.Secondary[c.turn%len(s.o.Secondary)]
		c.until = now.Add(c.refusal.For)
		c.turn++
	}
}

func (s *Server) leave(c *credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	c.inFlight--
}

// limited returns the refusal that is in force, or nil. heard says that the client will get to know of it. s.mu is held.
func (s *Server) limited(c *credential, h http.Header, heard bool) *answer {
	now := s.o.Now()
	refusal, until := c.refusal, c.until
	if s.until.After(until) {
		refusal, until = s.refusal, s.until
	}
	if now.Before(until) {
		wait := until.Sub(now)
		if refusal.RetryAfter {
			h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		} else {
			wait = time.Minute // what GitHub asks of those whom it does not tell
		}
		if heard {
			s.tell(c, now.Add(wait))
		}
		return refused(refusal.Code, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", secondaryDocs)
	}
	if s.spent(c) {
		return refused(http.StatusForbidden, "API rate limit exceeded for user ID 1.", primaryDocs)
	}
	return nil
}

// tell notes that the client knows, with this answer, that it must not ask before until. Each of its other requests may be
// under way, or be made before it has read this. s.mu is held.
func (s *Server) tell(c *credential, until time.Time) {
	if until.After(c.told) {
		c.told, c.heard, c.forgiven = until, s.o.Now(), s.o.InFlight-1
	}
}

// spent reports whether the credential's hour is used up; a new one begins where the last is over. s.mu is held.
func (s *Server) spent(c *credential) bool {
	if now := s.o.Now(); !now.Before(c.reset) {
		c.used, c.reset = 0, now.Truncate(time.Second).Add(time.Hour)
	}
	return c.limit >= 0 && c.used >= c.limit
}

// headers sets what each answer says of the primary limit; who hears that nothing is left must not ask. s.mu is held.
func (s *Server) headers(c *credential, h http.Header, heard bool) {
	spent := s.spent(c)
	if c.limit < 0 {
		return
	}
	if spent && heard {
		s.tell(c, c.reset)
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(c.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, c.limit-c.used)))
	h.Set("X-RateLimit-Used", strconv.Itoa(c.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(c.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}
