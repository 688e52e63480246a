package actions

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"
)

// A quota is the primary limit, as an answer tells it.
type quota struct {
	resource         string
	limit, remaining int
	reset            time.Time // by our clock
}

// readQuota reads the quota out of an answer's header. The time of its end is told by GitHub's clock, which the Date beside
// it tells too: ours may be wrong by hours.
func readQuota(h http.Header, now time.Time) (quota, bool) {
	limit, err := strconv.Atoi(h.Get("X-Ratelimit-Limit"))
	remaining, err2 := strconv.Atoi(h.Get("X-Ratelimit-Remaining"))
	reset, err3 := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil || err2 != nil || err3 != nil || limit <= 0 {
		return quota{}, false
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = now
	}
	left := min(max(time.Unix(reset, 0).Sub(date), 0), 2*maxWait) // a wrong header must not stop us for ever
	resource := h.Get("X-Ratelimit-Resource")
	if resource == "" {
		resource = "core"
	}
	return quota{resource, limit, remaining, now.Add(left)}, true
}

// readExpiry reads out of an answer's header when the token ends; zero where it does not say. Some tokens have a zone's name there, some its offset.
//
// Source: https://github.blog/changelog/2021-07-26-expiration-options-for-personal-access-tokens/ and
// https://github.com/google/go-github/issues/2649
func readExpiry(h http.Header) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, h.Get("Github-Authentication-Token-Expiration")); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// sameHour is by how much the ends of one hour may differ between two answers.
const sameHour = 30 * time.Second

// update takes over what an answer tells. Answers overtake one another: within one hour the lower number is the later one.
func (q *quota) update(told quota, now time.Time) {
	switch {
	case told.resource != "core":
	case q.limit == 0 || !now.Before(q.reset) || told.reset.After(q.reset.Add(sameHour)):
		*q = told
	case told.reset.Before(q.reset.Add(-sameHour)): // an answer of the hour before
	default:
		q.limit, q.remaining = told.limit, min(q.remaining, told.remaining)
	}
}

// A pause is a secondary limit in force.
type pause struct {
	since, until time.Time
	row          int // of those that did not say how long
}

// note takes over what an answer tells of limits and time, and reports whether it is a refusal by a limit.
func (g *gate) note(ctx context.Context, r reply) (limited bool) {
	if r.header == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	date, err := http.ParseTime(r.header.Get("Date"))
	if err == nil {
		g.skew = date.Sub(r.came)
		if date.After(g.date) {
			g.date = date
		}
	}
	told, ok := readQuota(r.header, now)
	if ok {
		g.quota.update(told, now)
	}
	after, timed := retryAfter(r.header, date, now)
	switch {
	case r.code == http.StatusTooManyRequests:
	case r.code == http.StatusForbidden && (timed || ok && told.remaining == 0 || saysLimit(r)):
	case r.code == http.StatusServiceUnavailable && timed: // an own server under load
	default:
		if r.err == nil && r.code < 400 && r.sent.After(g.pause.until) {
			g.pause.row = 0
		}
		return false
	}

	until := r.came.Add(after)
	switch {
	case timed:
	case ok && told.remaining == 0:
		until = told.reset.Add(time.Second)
	case !r.sent.After(g.pause.since): // under way when the pause began: the same refusal
		return true
	default:
		until = now.Add(min(firstPause<<g.pause.row, maxPause))
		g.pause.row = min(g.pause.row+1, 10)
	}
	if until.After(g.pause.until) {
		g.pause.since, g.pause.until = now, until
		g.log.WarnContext(ctx, "GitHub limits us", "status", r.code, "wait", until.Sub(now).Round(time.Second))
	}
	return true
}

// retryAfter reads the header of that name, a number of seconds or a time by GitHub's clock.
func retryAfter(h http.Header, date, now time.Time) (time.Duration, bool) {
	s := h.Get("Retry-After")
	if s == "" {
		return 0, false
	}
	wait := time.Duration(0)
	if seconds, err := strconv.ParseInt(s, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		if date.IsZero() {
			date = now
		}
		wait = at.Sub(date)
	} else {
		return 0, false
	}
	return min(max(wait, time.Second), maxWait), true
}

// saysLimit reports whether the body of a 403 speaks of a limit. GitHub's page of documentation about them
// has had several addresses, the words have stayed.
func saysLimit(r reply) bool {
	body, err := unpack(r.body, r.header.Get("Content-Encoding"))
	body = bytes.ToLower(body)
	return err == nil && (bytes.Contains(body, []byte("rate limit")) || bytes.Contains(body, []byte("abuse detection")))
}
