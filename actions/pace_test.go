package actions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// sends notes when requests were sent, by endpoint; "" for all.
type sends struct {
	http.RoundTripper
	mu sync.Mutex
	at map[string][]time.Time
}

func (s *sends) RoundTrip(r *http.Request) (*http.Response, error) {
	endpoint := "repository"
	if strings.Contains(r.URL.Path, "/runs/") {
		endpoint = "run"
	}
	s.mu.Lock()
	s.at[endpoint] = append(s.at[endpoint], time.Now())
	s.at[""] = append(s.at[""], time.Now())
	s.mu.Unlock()
	return s.RoundTripper.RoundTrip(r)
}

func (s *sends) of(endpoint string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at[endpoint])
}

// most returns the most requests that any minute holds.
func most(at []time.Time) int {
	n, first := 0, 0
	for i := range at {
		for at[i].Sub(at[first]) >= time.Minute {
			first++
		}
		n = max(n, i-first+1)
	}
	return n
}

// paced runs test in a bubble, with a client whose requests are noted. They have begun with one, after which GitHub's
// limits are known.
func paced(t *testing.T, primary int, o actions.Options, test func(*testing.T, *actions.Client, *sends)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := fakegithub.NewWorld()
		w.AddRepository(fakegithub.Repository{Name: "octo-lab/api"})
		s := fakegithub.New(w, fakegithub.Options{Token: token, PrimaryLimit: primary, PerMinute: 1 << 30, Latency: 10 * time.Millisecond})
		seen := &sends{RoundTripper: s.Pipe(), at: map[string][]time.Time{}}
		o.Transport = seen
		c := client(t, s, o)
		ask(t, c)
		test(t, c, seen)
	})
}

// readRun asks for a run that is not there.
func readRun(t *testing.T, c *actions.Client, run int) {
	t.Helper()
	if _, err := c.Run(t.Context(), "octo-lab/api", int64(run)); !errors.Is(err, actions.ErrNotFound) {
		t.Error(err)
	}
}

// Three hundred repositories and more that are polled each minute take all of GitHub's secondary limit, and leave nothing for
// what they find; or they hold the places in flight while they wait.
func TestDiscoveryIsPaced(t *testing.T) {
	paced(t, 15000, actions.Options{Reserve: 0.1}, func(t *testing.T, c *actions.Client, seen *sends) {
		begin := time.Now()
		var wg sync.WaitGroup
		for range 1400 {
			wg.Go(func() { ask(t, c) })
		}
		synctest.Wait()
		time.Sleep(10 * time.Second) // 450 have gone, the others wait
		for run := range 300 {
			wg.Go(func() { readRun(t, c, run+1) })
		}
		urgent := time.Now()
		for range 20 {
			if _, err := c.Repository(actions.Urgent(t.Context()), "octo-lab/api"); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(urgent); took > time.Second {
			t.Errorf("what is urgent took %v", took)
		}
		time.Sleep(5 * time.Second)
		if n := len(seen.of("run")); n != 300 {
			t.Errorf("%d of 300 other requests were sent beside the polls", n)
		}
		wg.Wait()
		// 1,401 polls and 20 that are urgent take three minutes and a part of the fourth.
		if took := time.Since(begin); took < 3*time.Minute || took > 3*time.Minute+10*time.Second {
			t.Errorf("took %v", took)
		}
		polls := seen.of("repository")
		if n := most(polls); n != 450+20 {
			t.Errorf("a minute holds %d polls, want 450 and 20 that are urgent", n)
		}
		if n := most(polls[len(polls)-900:]); n != 450 {
			t.Errorf("a later minute holds %d polls, want 450", n)
		}
		if n := most(seen.of("")); n > 810 {
			t.Errorf("a minute holds %d requests, want 810 at most", n)
		}
	})
}

// The reserve is left to others of the minute as well, whatever is asked and however urgent it is.
func TestAllIsPaced(t *testing.T) {
	paced(t, 15000, actions.Options{Reserve: 0.5}, func(t *testing.T, c *actions.Client, seen *sends) {
		var wg sync.WaitGroup
		for run := range 1000 {
			wg.Go(func() { readRun(t, c, run+1) })
		}
		time.Sleep(5 * time.Second) // 450 have gone
		begin := time.Now()
		if _, err := c.Repository(actions.Urgent(t.Context()), "octo-lab/api"); err != nil {
			t.Error(err)
		}
		// It waits for the next minute, and goes first then.
		if took := time.Since(begin); took < 55*time.Second || took > 57*time.Second {
			t.Errorf("what is urgent took %v", took)
		}
		wg.Wait()
		if n := most(seen.of("")); n != 450 {
			t.Errorf("a minute holds %d requests, want 450", n)
		}
	})
}

// A poll that waits is sent in its turn, and one that is given up leaves its place to the next.
func TestPacingIsFair(t *testing.T) {
	paced(t, 15000, actions.Options{Workers: 1}, func(t *testing.T, c *actions.Client, seen *sends) {
		for range 449 {
			ask(t, c)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		begin := time.Now()
		for i := range 20 {
			ctx := t.Context()
			wg.Go(func() {
				if i%2 == 1 {
					gone, cancel := context.WithTimeout(ctx, 5*time.Second)
					defer cancel()
					if _, err := c.Repository(gone, "octo-lab/api"); err == nil || time.Since(begin) > 6*time.Second {
						t.Errorf("poll %d ended with %v after %v", i, err, time.Since(begin))
					}
					return
				}
				ask(t, c)
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
			})
			synctest.Wait() // for its place
		}
		wg.Wait()
		if got := fmt.Sprint(order); got != "[0 2 4 6 8 10 12 14 16 18]" {
			t.Errorf("the polls were sent in the order %s", got)
		}
		if n := len(seen.of("")); n != 460 {
			t.Errorf("%d requests, want 460: none for what was given up", n)
		}
	})
}

// A server of one's own tells no limit, or one that no plan has, and must not be read at the pace of github.com. Its
// refusals hold all the same.
func TestNoPacingOfAnOwnServer(t *testing.T) {
	for _, limit := range []int{-1, 15001} {
		synctest.Test(t, func(t *testing.T) {
			w := fakegithub.NewWorld()
			w.AddRepository(fakegithub.Repository{Name: "octo-lab/api"})
			s := fakegithub.New(w, fakegithub.Options{Token: token, PrimaryLimit: limit, PerMinute: 1 << 30})
			c := client(t, s, actions.Options{Transport: s.Pipe(), Reserve: 0.5})
			begin := time.Now()
			for range 2000 {
				ask(t, c)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("limit %d: took %v", limit, took)
			}
			s.Refuse(fakegithub.Refusal{Code: 429, For: 90 * time.Second, RetryAfter: true})
			ask(t, c)
			if took := time.Since(begin); took < 90*time.Second {
				t.Errorf("limit %d: asked on after %v", limit, took)
			}
		})
	}
}

// Requests that go out before the first answer count for the minute that they open.
func TestPacingFromTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		var mu sync.Mutex
		c, err := actions.New(actions.Options{Token: token, Workers: 600, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			at = append(at, time.Now())
			mu.Unlock()
			time.Sleep(time.Second)
			return &http.Response{StatusCode: 200, Request: r, Body: io.NopCloser(strings.NewReader(`{"id": 1, "full_name": "octo-lab/api"}`)), Header: http.Header{
				"X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {"4000"}, "X-Ratelimit-Reset": {"4102444800"},
			}}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 700 {
			wg.Go(func() { ask(t, c) })
		}
		wg.Wait()
		if n := most(at); n != 600 {
			t.Errorf("the first minute holds %d requests, want the 600 that were sent before the first answer", n)
		}
	})
}
