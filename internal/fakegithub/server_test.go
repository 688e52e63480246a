package fakegithub_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A caller asks a Server without following redirects and without the net/http comforts that a client under test has.
type caller struct {
	*testing.T
	transport http.RoundTripper
}

func (c caller) get(url string, header ...string) (*http.Response, string) {
	c.Helper()
	return c.do(http.MethodGet, url, header...)
}

func (c caller) do(method, url string, header ...string) (*http.Response, string) {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, url, nil)
	if err != nil {
		c.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	return resp, string(b)
}

func inBubble(t *testing.T, o fakegithub.Options, test func(caller, *fakegithub.World, *fakegithub.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := fakegithub.NewWorld()
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: time.Now().Add(-time.Hour)}, fakegithub.Job{Log: []byte("the log\n")})
		s := fakegithub.New(w, o)
		test(caller{t, s.Pipe()}, w, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// An ETag is good for the token that it was given to, and saves quota only there: a client that
// keeps ETags over a change of its token must not look right here.
func TestETag(t *testing.T) {
	inBubble(t, fakegithub.Options{}, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		url := s.URL() + "/repos/octo-lab/api"
		first, _ := c.get(url, "Authorization", "Bearer a")
		etag := first.Header.Get("ETag")
		same, _ := c.get(url, "Authorization", "Bearer a", "If-None-Match", etag)
		other, _ := c.get(url, "Authorization", "Bearer b", "If-None-Match", etag)
		if same.StatusCode != 304 || other.StatusCode != 200 || same.Header.Get("X-RateLimit-Remaining") != first.Header.Get("X-RateLimit-Remaining") {
			t.Errorf("status %d for the same token, %d for another; %s and %s are left",
				same.StatusCode, other.StatusCode, first.Header.Get("X-RateLimit-Remaining"), same.Header.Get("X-RateLimit-Remaining"))
		}
	})
}

// A link is good for a minute, and refuses the token; both are what a careless client stumbles over.
func TestLink(t *testing.T) {
	inBubble(t, fakegithub.Options{}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		job := w.Jobs(w.Runs("octo-lab/api", time.Now())[0].ID)[0].Job
		resp, _ := c.get(s.URL() + "/repos/octo-lab/api/actions/jobs/" + job.URL[strings.LastIndex(job.URL, "/")+1:] + "/logs")
		link := resp.Header.Get("Location")
		for _, test := range []struct {
			header []string
			want   int
			after  time.Duration
		}{
			{nil, 200, 0}, {[]string{"Range", "bytes=4-"}, 206, 0}, {[]string{"Authorization", "Bearer a"}, 400, 0}, {nil, 403, 61 * time.Second},
		} {
			time.Sleep(test.after)
			if resp, body := c.get(link, test.header...); resp.StatusCode != test.want {
				t.Errorf("%v: status %d, want %d: %s", test.header, resp.StatusCode, test.want, body)
			}
		}
		if resp, _ := c.get(strings.Replace(link, "/logs/", "/logs/1", 1)); resp.StatusCode != 403 {
			t.Errorf("a link with a signature of another log: status %d", resp.StatusCode)
		}
		if v := s.Stats().Violations; len(v) != 1 {
			t.Errorf("violations are %q, want that of the token", v)
		}
	})
}

// A client that goes on while limited must be noticed, or the tests that rely on it cannot fail.
func TestViolations(t *testing.T) {
	inBubble(t, fakegithub.Options{InFlight: 1, PerMinute: 3}, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		for range 3 {
			c.get(s.URL() + "/repos/octo-lab/api")
		}
		resp, _ := c.get(s.URL() + "/repos/octo-lab/api")
		if resp.StatusCode != 403 || resp.Header.Get("Retry-After") != "60" {
			t.Errorf("status %d, Retry-After %q after too many requests", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		if v := s.Stats().Violations; v != nil {
			t.Errorf("violations before the client could know: %q", v)
		}
		c.get(s.URL() + "/repos/octo-lab/api")
		if v := s.Stats().Violations; len(v) != 1 {
			t.Errorf("violations are %q, want one", v)
		}
		time.Sleep(time.Minute)
		if resp, _ := c.get(s.URL() + "/repos/octo-lab/api"); resp.StatusCode != 200 || len(s.Stats().Violations) != 1 {
			t.Errorf("after the limit: status %d, violations %q", resp.StatusCode, s.Stats().Violations)
		}
	})
}

// A run is told as it is at the time, attempt after attempt.
func TestTime(t *testing.T) {
	inBubble(t, fakegithub.Options{}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		begin := time.Now()
		run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin.Add(time.Minute)},
			fakegithub.Job{Job: pushdoctor.Job{Name: "push", Conclusion: "failure"}})
		w.Rerun(run.ID, begin.Add(time.Hour), fakegithub.Job{Job: pushdoctor.Job{Name: "push"}})
		var got []string
		for _, after := range []time.Duration{0, time.Minute, 10 * time.Minute, time.Hour, 2 * time.Hour} {
			time.Sleep(time.Until(begin.Add(after)))
			_, body := c.get(s.URL() + "/repos/octo-lab/api/actions/runs?created=" + begin.UTC().Format(time.RFC3339) + ".." + begin.Add(time.Hour).UTC().Format(time.RFC3339))
			var page struct {
				Runs []struct {
					Status, Conclusion string
					Attempt            int `json:"run_attempt"`
				} `json:"workflow_runs"`
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			line := "nothing"
			for _, r := range page.Runs {
				line = strings.Repeat("*", r.Attempt) + " " + r.Status + " " + r.Conclusion
			}
			got = append(got, line)
		}
		want := "nothing; * in_progress ; * completed failure; ** in_progress ; ** completed success"
		if strings.Join(got, "; ") != want {
			t.Errorf("the run was\n%s, want\n%s", strings.Join(got, "; "), want)
		}
	})
}
