package actions_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// inBubble runs test with a client of a fake GitHub in memory, under a clock that runs only when nothing else does.
func inBubble(t *testing.T, fake fakegithub.Options, o actions.Options, test func(*testing.T, *actions.Client, *fakegithub.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := fakegithub.NewWorld()
		for _, name := range []string{"octo-lab/api", "octo-lab/web"} {
			w.AddRun(pushdoctor.Run{Repository: name, CreatedAt: time.Now().Add(-time.Hour)}, fakegithub.Job{Log: []byte("the log\n")})
		}
		fake.Token = token
		s := fakegithub.New(w, fake)
		o.Transport = s.Pipe()
		test(t, client(t, s, o), s)
	})
}

func ask(t *testing.T, c *actions.Client) {
	t.Helper()
	if _, err := c.Repository(t.Context(), "octo-lab/api"); err != nil {
		t.Error(err)
	}
}

// go-github v60 does not know 429, ignores Retry-After beside other addresses of documentation, and waits up
// to an hour where there is none. The fake notes who asks on while limited.
func TestSecondaryLimit(t *testing.T) {
	for _, test := range []struct {
		name     string
		refusal  fakegithub.Refusal
		from, to time.Duration
	}{
		{"403 that says how long", fakegithub.Refusal{Code: 403, For: 90 * time.Second, RetryAfter: true}, 90 * time.Second, 95 * time.Second},
		{"429 that says how long", fakegithub.Refusal{Code: 429, For: 90 * time.Second, RetryAfter: true}, 90 * time.Second, 95 * time.Second},
		{"403 without a word", fakegithub.Refusal{Code: 403, For: 45 * time.Second}, time.Minute, 65 * time.Second},
		// The second wait is twice as long as the first.
		{"429 without a word, for long", fakegithub.Refusal{Code: 429, For: 100 * time.Second}, 3 * time.Minute, 190 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, fakegithub.Options{}, actions.Options{}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
				ask(t, c)
				s.Refuse(test.refusal)
				begin := time.Now()
				var wg sync.WaitGroup
				for range 30 {
					wg.Go(func() { ask(t, c) })
				}
				wg.Wait()
				if took := time.Since(begin); took < test.from || took > test.to {
					t.Errorf("took %v, want %v to %v", took, test.from, test.to)
				}
			})
		})
	}
}

// Who is refused for ever gives up: a request must not hang as long as GitHub is angry.
func TestSecondaryLimitWithoutEnd(t *testing.T) {
	inBubble(t, fakegithub.Options{}, actions.Options{}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
		s.Refuse(fakegithub.Refusal{Code: 403, For: 1000 * time.Hour})
		if _, err := c.Repository(t.Context(), "octo-lab/api"); !errors.Is(err, actions.ErrRateLimited) {
			t.Errorf("Repository() = %v, want %v", err, actions.ErrRateLimited)
		}
		if n := s.Stats().Requests["repository"]; n > 5 {
			t.Errorf("asked %d times", n)
		}
	})
}

// The hour's quota is left at the reserve, waits for the next hour, and is not used up by requests that were under way
// together. What somebody waits for may take from the reserve.
func TestPrimaryLimit(t *testing.T) {
	const limit, reserved = 100, 20
	inBubble(t, fakegithub.Options{PrimaryLimit: limit}, actions.Options{Reserve: 0.2}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
		begin := time.Now()
		var wg sync.WaitGroup
		for workflow := range int64(150) { // that are not there: answers that are not kept, and so cost each time
			wg.Go(func() {
				if _, _, err := c.WorkflowName(t.Context(), "octo-lab/api", workflow); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(30 * time.Minute)
		if left := c.Budget().Remaining; left != reserved {
			t.Errorf("%d requests are left of the hour, want %d", left, reserved)
		}
		if _, _, err := c.WorkflowName(actions.Urgent(t.Context()), "octo-lab/api", 4711); err != nil || time.Since(begin) > time.Hour/2+time.Second {
			t.Errorf("what is urgent took until %v, error %v", time.Since(begin), err)
		}
		wg.Wait()
		if took := time.Since(begin); took < time.Hour || took > time.Hour+5*time.Second {
			t.Errorf("took %v, want an hour", took)
		}
	})
}

// The last request of the hour is answered like any other, and the next one waits. Left to itself, go-github
// refuses it without asking.
func TestPrimaryLimitToTheLast(t *testing.T) {
	inBubble(t, fakegithub.Options{PrimaryLimit: 5}, actions.Options{}, func(t *testing.T, c *actions.Client, _ *fakegithub.Server) {
		begin := time.Now()
		for workflow := range int64(6) {
			if _, _, err := c.WorkflowName(t.Context(), "octo-lab/api", workflow+1); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took < time.Hour || took > time.Hour+5*time.Second {
			t.Errorf("took %v, want an hour", took)
		}
	})
}

// The answers to free requests say that nothing was taken. Whoever counts by himself waits here for the hour's end.
func TestFreeRequestsAreFree(t *testing.T) {
	inBubble(t, fakegithub.Options{PrimaryLimit: 20}, actions.Options{}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
		begin := time.Now()
		for range 100 {
			ask(t, c)
		}
		if s.Stats().NotModified != 99 || time.Since(begin) > time.Second {
			t.Errorf("%d of 100 were free, and took %v", s.Stats().NotModified, time.Since(begin))
		}
	})
}

// Quota that others of the same account have used up is refused with a 403 that GitHub's clock dates.
func TestPrimaryLimitUsedByOthers(t *testing.T) {
	wrong := func() time.Time { return time.Now().Add(-26 * time.Hour) } // our clock
	inBubble(t, fakegithub.Options{PrimaryLimit: 5}, actions.Options{Now: wrong}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
		others, err := actions.New(actions.Options{URL: s.URL(), Token: token, Transport: s.Pipe()})
		if err != nil {
			t.Fatal(err)
		}
		for workflow := range int64(5) {
			if _, _, err := others.WorkflowName(t.Context(), "octo-lab/api", workflow+1); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		ask(t, c)
		if took := time.Since(begin); took < 59*time.Minute || took > 61*time.Minute {
			t.Errorf("took %v, want an hour", took)
		}
		if got := c.Date(); time.Until(got).Abs() > time.Second {
			t.Errorf("Date() = %v, want GitHub's %v", got, time.Now())
		}
	})
}

// More in flight than Workers would be a violation, which the fake tells at the end.
func TestInFlight(t *testing.T) {
	inBubble(t, fakegithub.Options{InFlight: 3, Latency: time.Second}, actions.Options{Workers: 3}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
		var wg sync.WaitGroup
		for workflow := range int64(30) {
			wg.Go(func() {
				if _, _, err := c.WorkflowName(t.Context(), "octo-lab/api", workflow+1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := s.Stats().MaxInFlight; n != 3 {
			t.Errorf("%d requests at once, want 3", n)
		}
	})
}

// An own server without limits tells none, and must not be waited for.
func TestNoLimits(t *testing.T) {
	inBubble(t, fakegithub.Options{PrimaryLimit: -1}, actions.Options{Reserve: 0.5}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
		ask(t, c)
		ask(t, c)
		if b := c.Budget(); b != (actions.Budget{}) {
			t.Errorf("Budget() = %+v", b)
		}
	})
}

// A GitHub that is down is given up within seconds, after as many tries as are good manners.
func TestUnavailable(t *testing.T) {
	for _, kind := range []fakegithub.Fault{fakegithub.FaultServer, fakegithub.FaultReset} {
		// The fake lets every third request for one address pass; closed, it lets none.
		inBubble(t, fakegithub.Options{Faults: fakegithub.Faults{Rate: 1, Kinds: []fakegithub.Fault{kind}}}, actions.Options{}, func(t *testing.T, c *actions.Client, s *fakegithub.Server) {
			begin := time.Now()
			ask(t, c)
			if n, took := s.Stats().Requests["repository"], time.Since(begin); n != 3 || took < 250*time.Millisecond || took > 5*time.Second {
				t.Errorf("%s: %d requests in %v", kind, n, took)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			begin = time.Now()
			_, err := c.Repository(t.Context(), "octo-lab/api")
			if !errors.Is(err, actions.ErrUnavailable) || time.Since(begin) > 10*time.Second || time.Since(begin) < 2*time.Second {
				t.Errorf("%s: Repository() = %v after %v", kind, err, time.Since(begin))
			}
		})
	}
}
