package actions_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A shelf is what Options.PutPages was given.
type shelf struct {
	mu    sync.Mutex // guards what follows
	pages map[string][]byte
	err   error
	puts  int
}

func (s *shelf) options(o actions.Options) actions.Options {
	o.Page = func(key string) []byte {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pages[key]
	}
	o.PutPages = func(pages map[string][]byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.puts++
		if s.err == nil {
			maps.Copy(s.pages, pages)
		}
		return s.err
	}
	return o
}

// A Client after a restart that pays for a list that has not changed, is told another one than GitHub's, or sends what is kept of
// another token's turns this red; so does a token, or a text of a stranger's, in what is kept.
func TestPagesOutliveTheClient(t *testing.T) {
	w := fakegithub.NewWorld()
	for i := range 130 {
		w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", Branch: "dev", CreatedAt: begin.Add(time.Duration(i) * time.Minute)},
			fakegithub.Job{Job: pushdoctor.Job{Conclusion: "failure"}})
	}
	s := fakegithub.New(w, fakegithub.Options{})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	kept := &shelf{pages: map[string][]byte{}}
	sent := 0 // ETags
	ask := func(token string) (*actions.Client, int) {
		t.Helper()
		c, err := actions.New(kept.options(actions.Options{URL: s.URL(), Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("If-None-Match") != "" {
				sent++
			}
			return http.DefaultTransport.RoundTrip(r)
		})}))
		if err != nil {
			t.Fatal(err)
		}
		before := s.Stats().Credentials[token].Cost
		got := collect(t, c, actions.Window{From: begin})
		if diff := cmp.Diff(w.Runs("octo-lab/api", time.Now()), got); diff != "" {
			t.Errorf("runs (-want +got)\n%s", diff)
		}
		info, err := c.Repository(t.Context(), "octo-lab/api")
		if want := (actions.RepositoryInfo{ID: got[0].RepositoryID, Name: "octo-lab/api"}); info != want || err != nil {
			t.Errorf("repository is %+v, %v, want %+v", info, err, want)
		}
		if gone, err := c.FileGone(t.Context(), "octo-lab/api", ".github/workflows/image.yml"); gone || err != nil {
			t.Errorf("the file is gone: %t, %v", gone, err)
		}
		return c, s.Stats().Credentials[token].Cost - before
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})

	c, cost := ask(token)
	if cost != 5 { // two pages of runs, the workflow, its file, the repository
		t.Errorf("the first time cost %d", cost)
	}
	kept.err = errors.New("no room")
	if err := c.Flush(); !errors.Is(err, kept.err) {
		t.Errorf("Flush() = %v", err)
	}
	kept.err = nil
	for range 2 { // the second one has nothing to hand over
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
	}
	if len(kept.pages) != 5 || kept.puts != 2 {
		t.Errorf("%d pages are kept after %d tries, want 5 after 2", len(kept.pages), kept.puts)
	}
	for key, page := range kept.pages {
		z, err := gzip.NewReader(bytes.NewReader(bytes.SplitN(page, []byte("\n"), 3)[2]))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{token, "display_title", "Change 0", `"content"`} {
			if strings.Contains(key+string(page)+string(body), secret) {
				t.Errorf("%q is kept under %s", secret, key)
			}
		}
	}
	sent = 0
	if _, cost := ask(token); cost != 0 || sent != 6 { // the file twice
		t.Errorf("after a restart: cost %d, %d ETags were sent", cost, sent)
	}
	sent = 0
	s.SetToken("ghp_another")
	if _, cost := ask("ghp_another"); cost != 5 || sent != 1 { // its own, of the file
		t.Errorf("with another token: cost %d, %d ETags were sent", cost, sent)
	}
	s.SetToken(token)
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", Workflow: "image.yml", CreatedAt: begin.Add(200 * time.Minute)})
	if _, cost := ask(token); cost != 2 {
		t.Errorf("with a run more: cost %d, want its page and the one that it moves", cost)
	}
	for key := range kept.pages {
		kept.pages[key] = []byte("damaged")
	}
	if _, cost := ask(token); cost != 5 {
		t.Errorf("with pages that are none: cost %d", cost)
	}
}
