package actions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

const other = "ghp_1111111111111111111111111111TESTONLY"

// write puts a file in the place of another one, as Kubernetes does: by renaming.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// A token that was replaced goes on being sent, a file in the middle of being replaced ends a poll, or each request looks at it.
func TestFileToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, " "+token+"\r\n")
	now := begin
	tokens, err := actions.FileToken(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		change func()
		later  time.Duration
		want   string
	}{
		{func() {}, 0, token},
		{func() { write(t, path, other) }, 999 * time.Millisecond, token}, // looked at once a second
		{func() {}, time.Millisecond, other},
		{func() { _ = os.Remove(path) }, time.Hour, other},
		{func() { write(t, path, "") }, time.Hour, other},
		{func() { write(t, path, "two tokens") }, time.Hour, other},
		{func() { write(t, path, strings.Repeat("x", 16<<10+1)) }, time.Hour, other},
		{func() { write(t, path, token) }, time.Hour, token},
	} {
		step.change()
		now = now.Add(step.later)
		if got, err := tokens(t.Context()); got != step.want || err != nil {
			t.Errorf("step %d: %q, %v, want %q", i, got, err, step.want)
		}
	}
	// Kubernetes: a link to a folder that is swapped, with files of one size and one time.
	dir := t.TempDir()
	for name, content := range map[string]string{"old": token, "new": other} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name, "token")
		write(t, file, content)
		if err := os.Chtimes(file, begin, begin); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "data")
	if err := os.Symlink("old", link); err != nil {
		t.Fatal(err)
	}
	if tokens, err = actions.FileToken(filepath.Join(link, "token"), func() time.Time { return now }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("new", link+"~"), os.Rename(link+"~", link)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if got, err := tokens(t.Context()); got != other || err != nil {
		t.Errorf("after the link was swapped: %q, %v", got, err)
	}
}

// A start with a file that holds no token is told at once, without a word of what it holds.
func TestFileTokenUnusable(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		" \n": "is empty", "ghp_secret ghp_other": "holds more than a token", "ghp_secret\nx": "holds more than a token",
		strings.Repeat("s", 20<<10): "holds more than a token", "ghp_secret\x00": "holds a character that no token has",
	} {
		path := filepath.Join(dir, "token")
		write(t, path, content)
		if _, err := actions.FileToken(path, nil); err == nil || err.Error() != path+" "+want {
			t.Errorf("%.30q: %v, want %s %s", content, err, path, want)
		}
	}
	if _, err := actions.FileToken(filepath.Join(dir, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := actions.FileToken(dir, nil); err == nil {
		t.Error("a folder was taken")
	}
}

// The token is replaced in the file and then withdrawn, within the second in which the file is not looked at: the
// poll is lost. Where the file holds nothing better, the request is tried for ever, or the reason is not told.
func TestTokenRefused(t *testing.T) {
	w := fakegithub.NewWorld()
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin})
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, token)
	tokens, err := actions.FileToken(path, func() time.Time { return begin }) // no second ever passes
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	c, s := start(t, w, fakegithub.Options{}, actions.Options{Tokens: tokens, Credential: "file", Observe: func(e actions.Exchange) {
		names = append(names, e.Credential)
	}})
	ask(t, c)
	write(t, path, other)
	s.SetToken(other)
	ask(t, c)
	if got := s.Stats().Requests["repository"]; got != 3 {
		t.Errorf("%d requests, want one, one that was refused, and one more", got)
	}
	for i, test := range []struct {
		change   func()
		requests int
		want     string
	}{
		{func() {}, 1, "token refused: status 401: Bad credentials"},
		{func() { write(t, path, token) }, 2, "token refused: status 401: Bad credentials"}, // another one, no better
		{func() { write(t, path, "") }, 1, "token refused: no token to be had: " + path + " is empty"},
	} {
		s.SetToken("a third one")
		before := s.Stats().Requests["repository"]
		test.change()
		_, err := c.Repository(t.Context(), "octo-lab/api")
		if got := s.Stats().Requests["repository"] - before; !errors.Is(err, actions.ErrUnauthorized) || got != test.requests {
			t.Errorf("%d: %v after %d requests, want ErrUnauthorized after %d", i, err, got, test.requests)
		}
		if want := "repository octo-lab/api: " + test.want; err != nil && err.Error() != want {
			t.Errorf("%d: the error is %q, want %q", i, err, want)
		}
	}
	if slices.ContainsFunc(names, func(s string) bool { return s != "file" }) {
		t.Errorf("the credential is told as %q", names)
	}
}

// What a source may do wrong ends the request, without the token in the error, and is never taken for something else.
func TestTokensAtFault(t *testing.T) {
	w := fakegithub.NewWorld()
	w.AddRepository(fakegithub.Repository{Name: "octo-lab/api"})
	for _, test := range []struct {
		token string
		err   error
		want  error
	}{
		{"", errors.New("vault is sealed"), actions.ErrUnauthorized},
		{"", fmt.Errorf("asked: %w", actions.ErrSuspended), actions.ErrSuspended},
		{"", context.DeadlineExceeded, actions.ErrUnauthorized}, // its own, not the caller's
		{"verysecret\r\nX-Evil: 1", nil, actions.ErrUnauthorized},
	} {
		c, s := start(t, w, fakegithub.Options{}, actions.Options{Tokens: func(context.Context) (string, error) { return test.token, test.err }})
		_, err := c.Repository(t.Context(), "octo-lab/api")
		if !errors.Is(err, test.want) || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "verysecret") {
			t.Errorf("%q, %v: %v, want %v", test.token, test.err, err, test.want)
		}
		if n := s.Stats().Requests["repository"]; n != 0 {
			t.Errorf("%q, %v: %d requests were sent", test.token, test.err, n)
		}
	}
}

// An ETag that GitHub made for another token is sent on, or what that costs is counted as a change of the repository. What is
// kept for the old token must go.
func TestETagOfAnotherToken(t *testing.T) {
	w := fakegithub.NewWorld()
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin})
	current := token
	var seen []actions.Exchange
	var sent []string
	c, s := start(t, w, fakegithub.Options{}, actions.Options{
		Tokens:  func(context.Context) (string, error) { return current, nil },
		Observe: func(e actions.Exchange) { seen = append(seen, e) },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r.Header.Get("If-None-Match"))
			return http.DefaultTransport.RoundTrip(r)
		}),
	})
	var got []string
	for i, secret := range []string{token, token, other, other, token, other} {
		current = secret
		s.SetToken(secret)
		if i == 5 {
			w.Change("octo-lab/api", func(r *fakegithub.Repository) { r.Hidden = true })
		}
		if _, err := c.Repository(t.Context(), "octo-lab/api"); (err != nil) != (i == 5) {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%d %v conditional=%v", seen[i].Code, seen[i].Renewed, sent[i] != ""))
	}
	if diff := cmp.Diff([]string{
		"200 false conditional=false", "304 false conditional=true",
		"200 true conditional=false", "304 false conditional=true",
		"200 true conditional=false",  // the page of the first token is gone
		"404 false conditional=false", // nothing that was kept would have saved this
	}, got); diff != "" {
		t.Errorf("answers (-want +got)\n%s", diff)
	}
}

// Behind a company's proxy, nothing is reached without it. net/http reads the environment once, so that this needs a process
// of its own; and it asks no proxy for a loopback address, so that the API has a name that only the proxy knows.
func TestProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv("PUSHDOCTOR_TEST_BEHIND_PROXY") != "" {
		c, err := actions.New(actions.Options{URL: "http://api.github.test", Token: token})
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c)
		l, err := c.Log(t.Context(), pushdoctor.Job{Repository: "octo-lab/api", JobID: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if text, err := io.ReadAll(l); string(text) != "the log\n" || err != nil {
			t.Errorf("the log is %q, %v", text, err)
		}
		return
	}
	var mu sync.Mutex
	asked := map[string]int{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.URL.String()]++
		switch {
		case r.URL.Host == "logs.github.test":
			_, _ = io.WriteString(w, "the log\n")
		case strings.HasSuffix(r.URL.Path, "/logs"):
			http.Redirect(w, r, "http://logs.github.test/1", http.StatusFound)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id": 1, "full_name": "octo-lab/api"}`)
		}
	}))
	defer proxy.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestProxyOfTheEnvironment$", "-test.v")
	child.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(strings.ToLower(s), "=")
		return strings.HasSuffix(name, "_proxy")
	}), "PUSHDOCTOR_TEST_BEHIND_PROXY=1", "HTTP_PROXY="+proxy.URL)
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestProxyOfTheEnvironment") {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"http://api.github.test/repos/octo-lab/api", "http://api.github.test/repos/octo-lab/api/actions/jobs/1/logs", "http://logs.github.test/1"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(asked))); diff != "" {
		t.Errorf("asked of the proxy (-want +got)\n%s", diff)
	}
}
