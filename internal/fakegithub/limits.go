package fakegithub

import (
	"net/http"
	"strconv"
	"time"
)

const (
	secondaryDocs = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	primaryDocs   = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
)

// limited answers for the limits: with the refusal that is in force, or nil. It notes a
// request that the client should not have made. s.mu is held.
func (s *Server) limited(token string, h http.Header) *answer {
	now := s.o.Now()
	if now.Before(s.told) {
		if s.forgiven > 0 {
			s.forgiven--
		} else {
			s.violation("asked %v before the end of a limit", s.told.Sub(now))
		}
	}
	if m := now.Unix() / 60; m != s.minute.number {
		s.minute.number, s.minute.used = m, 0
	}
	s.minute.used++
	if s.minute.used > int64(s.o.PerMinute) && !now.Before(s.until) {
		s.refuse(Refusal{Code: http.StatusForbidden, For: time.Minute, RetryAfter: true})
	}
	if now.Before(s.until) {
		wait := s.until.Sub(now)
		if s.refusal.RetryAfter {
			h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		} else {
			wait = time.Minute // what GitHub asks of those whom it does not tell
		}
		s.tell(now.Add(wait))
		return refused(s.refusal.Code, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", secondaryDocs)
	}
	if q := s.quota(token); q != nil && q.used >= s.o.PrimaryLimit {
		s.tell(q.reset)
		return refused(http.StatusForbidden, "API rate limit exceeded for user ID 1.", primaryDocs)
	}
	return nil
}

// tell notes that the client knows, with this answer, that it must not ask before until. s.mu is held.
func (s *Server) tell(until time.Time) {
	if until.After(s.told) {
		s.told, s.forgiven = until, s.o.InFlight-1
	}
}

// quota returns what the token has used in its hour, or nil where there is no limit. s.mu is held.
func (s *Server) quota(token string) *quota {
	if s.o.PrimaryLimit < 0 {
		return nil
	}
	now := s.o.Now()
	q := s.quotas[token]
	if q == nil || !now.Before(q.reset) {
		q = &quota{reset: now.Truncate(time.Second).Add(time.Hour)}
		s.quotas[token] = q
	}
	return q
}

// headers sets what each answer says of the quota. s.mu is held.
func (s *Server) headers(token string, h http.Header) {
	q := s.quota(token)
	if q == nil {
		return
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(s.o.PrimaryLimit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, s.o.PrimaryLimit-q.used)))
	h.Set("X-RateLimit-Used", strconv.Itoa(q.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(q.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}
