package actions

import (
	"context"
	"math"
	"slices"
	"time"
)

// GitHub's secondary limit, by which requests are paced: 900 points a minute, and a point for each that reads.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
const (
	perMinute = 900
	// span is a minute, and a second for what one request is longer under way than another.
	span = 61 * time.Second
	// maxPlan is the largest primary limit of any plan at github.com. Who tells a larger one, or none, is a server of
	// one's own with limits of its own.
	maxPlan = 15_000
)

// reads names the endpoints by which what was found is read. The others look for what is new; they get half of the minute, so that
// there is room for these.
var reads = map[string]bool{"run": true, "jobs": true, "job": true, "job_log": true}

// A minute remembers when the last requests were sent: as many of them as a minute may hold.
type minute struct {
	sent   []time.Time // a ring
	oldest int
}

func newMinute(n int) minute { return minute{sent: make([]time.Time, max(n, 1))} }

// wait returns for how long the minute is full.
func (m *minute) wait(now time.Time) time.Duration {
	if t := m.sent[m.oldest]; !t.IsZero() {
		return min(t.Add(span).Sub(now), span) // whatever the clock did
	}
	return 0
}

func (m *minute) note(now time.Time) {
	m.sent[m.oldest] = now
	m.oldest = (m.oldest + 1) % len(m.sent)
}

// A turn is a request that waits to be sent.
type turn struct {
	discovers, urgent bool
	ready             chan struct{} // closed once it may be sent
}

// enter waits until a request may be sent, and counts it as sent and in flight. Who has entered must leave.
func (g *gate) enter(ctx context.Context, endpoint string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := &turn{discovers: !reads[endpoint], urgent: ctx.Value(urgent{}) != nil, ready: make(chan struct{})}
	g.mu.Lock()
	at := len(g.queue)
	if t.urgent {
		if first := slices.IndexFunc(g.queue, func(t *turn) bool { return !t.urgent }); first >= 0 {
			at = first
		}
	}
	g.queue = slices.Insert(g.queue, at, t)
	g.admit()
	g.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, t); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	} else { // its turn came at the same moment
		g.inFlight--
		g.admit()
	}
	return ctx.Err()
}

// leave says that a request is no longer in flight, after what its answer tells was noted.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	g.admit()
}

// untilAnswer is the wait for one of the requests in flight.
const untilAnswer = time.Duration(math.MaxInt64)

// admit lets those go whose turn it is, each in its place; one that has to wait does not keep the others.
// g.mu is held. It is called whenever something has changed, and by the timer when nothing but the time has.
func (g *gate) admit() {
	now := g.now()
	next := untilAnswer
	for i := 0; i < len(g.queue) && g.inFlight < g.workers; {
		t := g.queue[i]
		if wait := g.hold(t, now); wait > 0 {
			next = min(next, wait)
			i++
			continue
		}
		g.queue = slices.Delete(g.queue, i, i+1)
		g.inFlight++
		g.all.note(now)
		if t.discovers {
			g.discovery.note(now)
		}
		close(t.ready)
	}
	switch {
	case g.timer == nil && next != untilAnswer:
		g.timer = time.AfterFunc(next, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.admit()
		})
	case g.timer != nil && next != untilAnswer:
		g.timer.Reset(next)
	case g.timer != nil:
		g.timer.Stop()
	}
}

// hold returns for how long t may not be sent.
func (g *gate) hold(t *turn, now time.Time) time.Duration {
	wait := g.pause.until.Sub(now)
	q := g.quota
	if q.limit > 0 && now.Before(q.reset) {
		floor := int(math.Ceil(g.reserve * float64(q.limit)))
		if t.urgent {
			floor = 0
		}
		if q.remaining <= floor {
			need := q.reset.Sub(now) + time.Second
			if !g.spent.Equal(q.reset) {
				g.spent = q.reset
				g.log.Warn("waiting for the end of GitHub's hour", "remaining", q.remaining, "limit", q.limit, "wait", need.Round(time.Second))
			}
			wait = max(wait, need)
		} else if q.remaining-g.inFlight <= floor {
			return untilAnswer // those in flight have not told yet what they took
		}
	}
	if wait > 0 {
		return wait + time.Duration(g.rand()*float64(time.Second)) // not all who share the limit at once
	}
	if q.limit == 0 || q.limit > maxPlan {
		return 0
	}
	wait = g.all.wait(now)
	if t.discovers && !t.urgent {
		wait = max(wait, g.discovery.wait(now))
	}
	return wait
}
