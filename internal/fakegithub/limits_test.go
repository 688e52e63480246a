package fakegithub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A client that asks though an answer said that nothing is left must be noticed, from that answer on; and a limit that one
// credential has used up must not stop another.
func TestPrimaryLimit(t *testing.T) {
	o := fakegithub.Options{Tokens: []string{"a", "b"}, PrimaryLimit: 2, InFlight: 1}
	inBubble(t, o, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		ask := func(token string) string {
			resp, _ := c.get(s.URL()+"/repos/octo-lab/api", "Authorization", "Bearer "+token)
			return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-RateLimit-Remaining"), " ", len(s.Stats().Violations))
		}
		got := []string{ask("a"), ask("a"), ask("b"), ask("a")}
		time.Sleep(time.Hour)
		got = append(got, ask("a"))
		if diff := cmp.Diff([]string{"200 1 0", "200 0 0", "200 1 0", "403 0 1", "200 1 1"}, got); diff != "" {
			t.Errorf("status, what is left, violations (-want +got)\n%s", diff)
		}
		if a := s.Stats().Credentials["a"]; a.Cost != 3 || a.Requests["repository"] != 4 || a.Violations != 1 {
			t.Errorf("a: %+v", a)
		}
	})
}

// The secondary limit counts any 60 seconds, not those of the clock: a client that is quick before and after a full
// minute must be caught. Its answers are those that Options ask for, in turn.
func TestSecondaryLimit(t *testing.T) {
	o := fakegithub.Options{PerMinute: 10, InFlight: 1, Secondary: fakegithub.AllRefusals}
	inBubble(t, o, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		time.Sleep(55 * time.Second)
		url := s.URL() + "/repos/octo-lab/api"
		var got []string
		for range 5 {
			for range 10 {
				c.get(url)
				time.Sleep(time.Second)
			}
			resp, _ := c.get(url)
			got = append(got, fmt.Sprintf("%d %q", resp.StatusCode, resp.Header.Get("Retry-After")))
			time.Sleep(2 * time.Minute)
		}
		want := []string{`403 "60"`, `429 "60"`, `403 ""`, `429 ""`, `403 "60"`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("refusals (-want +got)\n%s", diff)
		}
		if v := s.Stats().Violations; v != nil {
			t.Errorf("violations of a client that waited: %q", v)
		}
		if use := s.Stats().Credentials[""]; use.Peak != 11 || use.PeakLists != 0 {
			t.Errorf("the most within a minute: %+v", use)
		}
	})
}

// What was under way when the client was told is forgiven, and so is all of a client that was killed since; nothing else is.
func TestForgiven(t *testing.T) {
	inBubble(t, fakegithub.Options{InFlight: 3}, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		s.Refuse(fakegithub.Refusal{Code: 429, For: time.Hour, RetryAfter: true})
		var got []int
		for range 5 {
			c.get(s.URL() + "/repos/octo-lab/api")
			got = append(got, len(s.Stats().Violations))
		}
		s.Forget()
		c.get(s.URL() + "/repos/octo-lab/api")
		got = append(got, len(s.Stats().Violations))
		if diff := cmp.Diff([]int{0, 0, 0, 1, 2, 2}, got); diff != "" {
			t.Errorf("violations after each request (-want +got)\n%s", diff)
		}
	})
}

// More requests at once than GitHub answers are refused, and not only noted.
func TestTooManyAtOnce(t *testing.T) {
	inBubble(t, fakegithub.Options{Latency: time.Second}, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex // guards codes
			codes = map[int]int{}
		)
		for range 101 {
			wg.Go(func() {
				resp, _ := c.get(s.URL() + "/repos/octo-lab/api")
				mu.Lock()
				defer mu.Unlock()
				codes[resp.StatusCode]++
			})
		}
		wg.Wait()
		if codes[403] == 0 || len(s.Stats().Violations) != 93 || s.Stats().Credentials[""].MaxInFlight != 101 {
			t.Errorf("statuses %v, %d violations, %+v", codes, len(s.Stats().Violations), s.Stats().Credentials[""])
		}
	})
}

// A list tells no more than a thousand of the runs that a filter lets pass and no more than a hundred on a page, or a client that halves no window
// would look right here.
func TestCaps(t *testing.T) {
	inBubble(t, fakegithub.Options{}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		for range 1050 {
			w.AddRun(pushdoctor.Run{Repository: "octo-lab/busy", CreatedAt: time.Now().Add(-time.Hour)})
		}
		for _, test := range []struct {
			query       string
			code, items int
			links       []string
		}{
			{"created=%3E1999-01-01&per_page=1000", 200, 100, []string{"last", "next"}},
			{"created=%3E1999-01-01&per_page=100&page=10", 200, 100, []string{"prev"}},
			{"created=%3E1999-01-01&per_page=100&page=11", 404, 0, nil},
			{"per_page=100&page=11", 200, 50, []string{"prev"}},
			{"per_page=100&page=12", 200, 0, []string{"prev"}},
			{"", 200, 30, []string{"last", "next"}},
		} {
			resp, body := c.get(s.URL() + "/repos/octo-lab/busy/actions/runs?" + test.query)
			total, ids := list(t, body)
			var links []string
			for link := range strings.SplitSeq(resp.Header.Get("Link"), ", ") {
				if _, rel, ok := strings.Cut(link, `rel="`); ok {
					links = append(links, strings.Trim(rel, `"`))
				}
			}
			slices.Sort(links)
			if resp.StatusCode != test.code || len(ids) != test.items || !slices.Equal(links, test.links) || test.code == 200 && total != 1050 {
				t.Errorf("%s: status %d, %d of %d runs, links %q", test.query, resp.StatusCode, len(ids), total, links)
			}
		}
	})
}

// list reads a list of runs.
func list(t *testing.T, body string) (total int, ids []int64) {
	t.Helper()
	var page struct {
		Total int `json:"total_count"`
		Runs  []struct {
			ID int64 `json:"id"`
		} `json:"workflow_runs"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Runs {
		ids = append(ids, r.ID)
	}
	return page.Total, ids
}

// A client that trusts the order of a list, or that a run is in it as soon as there is one, must be led astray.
func TestLists(t *testing.T) {
	inBubble(t, fakegithub.Options{ListLag: 10 * time.Second, Shuffle: true}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		begin := time.Now()
		for i := range 50 {
			w.AddRun(pushdoctor.Run{Repository: "octo-lab/busy", CreatedAt: begin.Add(time.Duration(i) * time.Second)})
		}
		time.Sleep(50 * time.Second)
		url := s.URL() + "/repos/octo-lab/busy/actions/runs?per_page=100"
		_, body := c.get(url + "&created=%3E1999-01-01")
		total, ids := list(t, body)
		_, body = c.get(url)
		whole, all := list(t, body)
		if total != 50 || whole != 50 || len(all) != 50 || len(ids) < 40 || len(ids) == 50 || slices.IsSorted(all) || slices.IsSortedFunc(all, func(a, b int64) int { return int(b - a) }) {
			t.Errorf("filtered %d of %d, else %d of %d: %v", len(ids), total, len(all), whole, all)
		}
		time.Sleep(10 * time.Second)
		_, body = c.get(url + "&created=%3E1999-01-01")
		if _, late := list(t, body); !slices.Equal(all, late) {
			t.Errorf("when the lag is over: %v, want %v", late, all)
		}
	})
}

// A repository that is archived, disabled, deleted or moved must be told as GitHub does.
func TestRepositories(t *testing.T) {
	inBubble(t, fakegithub.Options{Login: "marlow"}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		id := func(name string) string {
			_, body := c.get(s.URL() + "/repos/" + name)
			var repo struct{ ID int64 }
			if err := json.Unmarshal([]byte(body), &repo); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(repo.ID)
		}
		for _, r := range []fakegithub.Repository{
			{Name: "octo-lab/old", Archived: true}, {Name: "octo-lab/blocked", Disabled: true}, {Name: "octo-lab/gone"}, {Name: "octo-lab/moved"},
			{Name: "marlow/site"}, {Name: "marlow/diary", Private: true},
		} {
			w.AddRepository(r)
		}
		w.AddUser("marlow")
		gone, moved := id("octo-lab/gone"), id("octo-lab/moved")
		w.Delete("octo-lab/gone")
		w.Change("octo-lab/moved", func(r *fakegithub.Repository) { r.Name = "northwind-ci/moved" })
		got := map[string]string{}
		for _, path := range []string{
			"/repos/octo-lab/old", "/repos/octo-lab/old/actions/runs", "/repos/octo-lab/blocked", "/repos/octo-lab/gone", "/repositories/" + gone,
			"/repos/octo-lab/moved/actions/runs", "/repositories/" + moved, "/repos/northwind-ci/moved",
			"/orgs/octo-lab/repos", "/orgs/marlow/repos", "/users/marlow/repos", "/user/repos", "/orgs/nobody/repos",
		} {
			resp, body := c.get(s.URL() + path)
			line := fmt.Sprint(resp.StatusCode, " ", strings.TrimPrefix(resp.Header.Get("Location"), s.URL()))
			var all []struct {
				Name               string `json:"full_name"`
				Archived, Disabled bool
			}
			if json.Unmarshal([]byte(body), &all) == nil {
				for _, r := range all {
					line += fmt.Sprintf("%s %v %v;", r.Name, r.Archived, r.Disabled)
				}
			}
			got[strings.NewReplacer(gone, "GONE", moved, "MOVED").Replace(path)] = strings.TrimSpace(strings.ReplaceAll(line, moved, "MOVED"))
		}
		want := map[string]string{
			"/repos/octo-lab/old": "200", "/repos/octo-lab/old/actions/runs": "200", "/repos/octo-lab/blocked": "403",
			"/repos/octo-lab/gone": "404", "/repositories/GONE": "404",
			"/repos/octo-lab/moved/actions/runs": "301 /repositories/MOVED/actions/runs", "/repositories/MOVED": "200", "/repos/northwind-ci/moved": "200",
			"/orgs/octo-lab/repos": "200 octo-lab/api false false;octo-lab/old true false;octo-lab/blocked false true;",
			"/orgs/marlow/repos":   "404", "/users/marlow/repos": "200 marlow/site false false;", "/orgs/nobody/repos": "404",
			"/user/repos": "200 marlow/site false false;marlow/diary false false;",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answers (-want +got)\n%s", diff)
		}
		w.AddRepository(fakegithub.Repository{Name: "octo-lab/gone"})
		if again := id("octo-lab/gone"); again == gone {
			t.Error("a repository of a deleted one's name has its id")
		}
	})
}

// A log that is told gone while it is fresh must be there later; a body that comes in halves, or not at all, must do so.
func TestLogFaults(t *testing.T) {
	o := fakegithub.Options{Faults: fakegithub.Faults{Rate: 1, Kinds: []fakegithub.Fault{fakegithub.FaultSlow}}}
	inBubble(t, o, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		fresh := fakegithub.Job{Log: []byte("the log\n"), GoneUntil: time.Now().Add(30 * time.Second)}
		run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: time.Now().Add(-time.Hour)}, fresh)
		url := fmt.Sprintf("%s/repos/octo-lab/api/actions/jobs/%d/logs", s.URL(), w.Jobs(run.ID)[0].JobID)
		early, _ := c.get(url)
		time.Sleep(30 * time.Second)
		late, _ := c.get(url)
		begin := time.Now()
		_, body := c.get(late.Header.Get("Location"))
		if early.StatusCode != 410 || late.StatusCode != 302 || body != "the log\n" || time.Since(begin) != 2*time.Second {
			t.Errorf("status %d, then %d; %q after %v", early.StatusCode, late.StatusCode, body, time.Since(begin))
		}
	})
	o.Faults.Kinds = []fakegithub.Fault{fakegithub.FaultStalled}
	inBubble(t, o, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		req, err := http.NewRequestWithContext(c.Context(), http.MethodGet, s.URL()+"/repos/octo-lab/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		resp, err := c.transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it is at its end
		if err == nil || len(b) == 0 || time.Since(begin) != 2*time.Minute {
			t.Errorf("%d bytes after %v, %v", len(b), time.Since(begin), err)
		}
	})
	if slices.Contains(fakegithub.AllFaults, fakegithub.FaultStalled) {
		t.Error("a stalled body is not rare")
	}
}

// An hour of ten thousand runs must be listed without looking at those of the days before, or the tests that need one take minutes.
// What is held here is the outcome; BenchmarkList measures the rest.
func TestListsOfWindows(t *testing.T) {
	inBubble(t, fakegithub.Options{}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		begin := time.Now().Add(-48 * time.Hour).UTC()
		want := map[int64]bool{}
		for i := range 300 { // not in order
			at := begin.Add(time.Duration(i*7919%300) * time.Minute)
			run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/busy", CreatedAt: at})
			if !at.Before(begin.Add(time.Hour)) && !at.After(begin.Add(2*time.Hour)) {
				want[run.ID] = true
			}
		}
		created := begin.Add(time.Hour).Format(time.RFC3339) + ".." + begin.Add(2*time.Hour).Format(time.RFC3339)
		_, body := c.get(s.URL() + "/repos/octo-lab/busy/actions/runs?per_page=100&created=" + created)
		total, ids := list(t, body)
		got := map[int64]bool{}
		for _, id := range ids {
			got[id] = true
		}
		if diff := cmp.Diff(want, got); diff != "" || total != len(want) {
			t.Errorf("%d runs, want %d (-want +got)\n%s", total, len(want), diff)
		}
	})
}

// BenchmarkList measures one page of an hour with ten thousand runs.
func BenchmarkList(b *testing.B) {
	w := fakegithub.NewWorld()
	begin := time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Hour)
	for i := range 10_000 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/busy", CreatedAt: begin.Add(time.Duration(i) * time.Hour / 10_000)})
	}
	s := fakegithub.New(w, fakegithub.Options{PerMinute: 1 << 30, PrimaryLimit: -1})
	transport := s.Pipe()
	url := s.URL() + "/repos/octo-lab/busy/actions/runs?per_page=100&page=5&created=%3E1999-01-01"
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		_ = resp.Body.Close() // read to its end
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}
