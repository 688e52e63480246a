package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

const failures = `pushdoctor_push_failures_total{cause="permission_denied",registry="ghcr",repository="octo-lab/api",status="403",workflow="image.yml"}`

// order sends an order to the service, and returns its status and the last line of what it answers.
func (r *running) order(ctx context.Context, kind string, o order) string {
	r.t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pushdoctor.test/api/v1/backfill", strings.NewReader(string(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := r.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }() // nothing was written
	last, lines := "", bufio.NewScanner(resp.Body)
	for lines.Scan() {
		last = lines.Text()
	}
	if err := lines.Err(); err != nil {
		return fmt.Sprintf("%s, broken off: %v", last, err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, last)
}

// A service that takes longer than ten seconds to end while somebody waits for its answer, or that leaves somebody at
// work on a store that is closed, turns this red.
func TestServeEndsDuringABackfill(t *testing.T) {
	inLab(t, fakegithub.Options{Latency: time.Second}, func(t *testing.T, l *lab) {
		for i := range 200 {
			l.run(repoA, begin.Add(-time.Duration(i)*time.Hour), failed(fmt.Sprint("build ", i)))
		}
		s := l.serve()
		answer := make(chan string, 1)
		go func() {
			answer <- s.order(t.Context(), "application/json", order{Since: begin.Add(-1000 * time.Hour), Until: begin, Repositories: []string{repoA}})
		}()
		time.Sleep(20 * time.Second)
		s.stop()
		// The store was let go of, and is whole.
		n := len(l.read().Findings)
		if n == 0 || n == 200 {
			t.Errorf("%d findings: the backfill was not under way", n)
		}
		if got := <-answer; !strings.Contains(got, `"failed"`) {
			t.Errorf("who waited for the backfill was told %s", got)
		}
		synctest.Wait()
		if strings.Contains(l.said.String(), "database not open") {
			t.Error("the store was used after it was closed")
		}
	})
}

// A long backfill that the listener's deadlines cut off turns this red: they are made for pages.
func TestLongBackfillByTheService(t *testing.T) {
	inLab(t, fakegithub.Options{Latency: 10 * time.Second}, func(t *testing.T, l *lab) {
		for i := range 300 {
			l.run(repoA, begin.Add(-100*time.Hour-time.Duration(i)*time.Hour), failed("build"))
		}
		s := l.serve()
		began := time.Now()
		got := s.order(t.Context(), "application/json", order{Since: begin.Add(-1000 * time.Hour), Until: begin, Repositories: []string{repoA}})
		if took := time.Since(began); took < 6*time.Minute {
			t.Errorf("the backfill took %s, which proves nothing", took)
		}
		var n notice
		if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "200 ")), &n); err != nil || n.Summary == nil || n.Summary.Findings != 300 {
			t.Errorf("the backfill ended with %s", got)
		}
		s.stop()
		if n := len(l.read().Findings); n != 300 {
			t.Errorf("%d findings, want 300", n)
		}
	})
}

// Somebody who orders a backfill without being allowed to, from a form on a page of others, or beside another one, and
// gets it turns this red. So does a backfill that goes on when who asked for it has gone.
func TestOrdersRefused(t *testing.T) {
	inLab(t, fakegithub.Options{Latency: time.Second}, func(t *testing.T, l *lab) {
		for i := range 100 {
			l.run(repoA, begin.Add(-100*time.Hour-time.Duration(i)*time.Hour), failed("build"))
		}
		s := l.serve()
		time.Sleep(time.Minute)
		synctest.Wait() // what run reads of the configuration has been read
		good := order{Since: begin.Add(-1000 * time.Hour), Until: begin, Repositories: []string{repoA}}
		for _, test := range []struct {
			admin bool
			kind  string
			o     order
			want  string
		}{
			{false, "application/json", good, "403 web.admin is false"},
			{true, "application/x-www-form-urlencoded", good, "415 an order is application/json"},
			{true, "text/plain", good, "415 an order is application/json"},
			{true, "application/json", order{Since: begin, Until: begin, Repositories: []string{repoA}}, "400 --since"},
			{true, "application/json", order{Since: begin.Add(-time.Hour), Until: begin}, "400 nothing to read"},
		} {
			s.mu.Lock()
			s.config.Web.Admin = test.admin
			s.mu.Unlock()
			if got := s.order(t.Context(), test.kind, test.o); !strings.HasPrefix(got, test.want) {
				t.Errorf("admin %v, %s: %s, want %s", test.admin, test.kind, got, test.want)
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		first := make(chan string, 1)
		go func() { first <- s.order(ctx, "application/json", good) }()
		time.Sleep(10 * time.Second)
		if got := s.order(t.Context(), "application/json", good); !strings.HasPrefix(got, "409 ") {
			t.Errorf("a second backfill was answered with %s", got)
		}
		leave()
		<-first
		time.Sleep(5 * time.Second)
		before := l.fake.Stats().Requests["job_log"]
		if before == 0 || before == 100 {
			t.Errorf("%d logs were asked for: the backfill was not under way", before)
		}
		time.Sleep(20 * time.Second)
		if after := l.fake.Stats().Requests["job_log"]; after != before {
			t.Errorf("%d logs were asked for after nobody waited any more", after-before)
		}
		if got := s.order(t.Context(), "application/json", good); !strings.HasPrefix(got, `200 {"summary"`) {
			t.Errorf("the backfill after that ended with %s", got)
		}
		s.stop()
		if n := len(l.read().Findings); n != 100 {
			t.Errorf("%d findings, want 100", n)
		}
	})
}

// A failure of before the first start that is counted as of now, one whose series does not begin at 0, and a counter
// that a restart resets turn this red.
func TestCounters(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-10*time.Hour), failed("old"))
		// It began before the first poll and ended after it: that is live.
		between := failed("between")
		between.CompletedAt = begin.Add(10 * time.Minute)
		l.run(repoA, begin.Add(-time.Minute), between)
		s := l.serve()
		time.Sleep(5 * time.Minute)
		if found := s.get("/api/v1/findings"); strings.Count(found, "\n") != 1 {
			t.Errorf("findings after five minutes:\n%s", found)
		}
		if got := s.metric(failures); got != "" {
			t.Errorf("what failed before the first start stands at %s", got)
		}
		var seen []string
		for range 40 {
			time.Sleep(30 * time.Second)
			if got := s.metric(failures); got != "" && (len(seen) == 0 || seen[len(seen)-1] != got) {
				seen = append(seen, got)
			}
		}
		if diff := cmp.Diff([]string{"0", "1"}, seen); diff != "" {
			t.Errorf("the first failure was shown as (-want +got)\n%s", diff)
		}
		s.stop()

		l.run(repoA, time.Now().Add(time.Minute), failed("while nobody looks"))
		time.Sleep(time.Hour)
		s = l.serve()
		time.Sleep(5 * time.Minute)
		if got := s.metric(failures); got != "2" {
			t.Errorf("after a restart and a failure while nobody looked the counter stands at %q, want 2", got)
		}
		if got := s.metric(`pushdoctor_runs_total{conclusion="failure",repository="octo-lab/api",workflow="image.yml"}`); got != "2" {
			t.Errorf("%s runs that failed, want 2", got)
		}
		for _, path := range []string{"/-/healthy", "/-/ready"} {
			if got := s.get(path); got == "" {
				t.Errorf("%s says nothing", path)
			}
		}
		s.stop()
		if diff := cmp.Diff([]string{"between", "old", "while nobody looks"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A store that cannot be used and whose error does not name it and say what to do, or that is changed, turns this red.
func TestStoresThatServeRefuses(t *testing.T) {
	dir := t.TempDir()
	made := func(name string) string {
		path := filepath.Join(dir, name)
		db, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	locked, newer, text := made("locked.db"), made("newer.db"), filepath.Join(dir, "README")
	holder, err := store.Open(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := holder.Close(); err != nil {
			t.Error(err)
		}
	}()
	later, err := bbolt.Open(newer, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(later.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 1000))
	}), later.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("# a README\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, want, advice string }{
		{locked, "in use", "stop the other pushdoctor"},
		{newer, "newer pushdoctor", "run the newer pushdoctor"},
		{text, "not a bbolt file", "name another file"},
		{filepath.Join(dir, "none", "pushdoctor.db"), "no such file", "make the folder"},
	} {
		before, _ := os.ReadFile(test.path) // one of them is not there
		got := call{
			args: []string{"serve", "--repositories", repoA, "--store", test.path, "--listen", "127.0.0.1:0"},
			env:  []string{"GITHUB_TOKEN=" + testToken},
		}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, test.path) || !strings.Contains(got.stderr, test.want) || !strings.Contains(got.stderr, test.advice) {
			t.Errorf("%s: status %d, %s", filepath.Base(test.path), got.status, got.stderr)
		}
		if after, _ := os.ReadFile(test.path); string(after) != string(before) {
			t.Errorf("%s was changed", filepath.Base(test.path))
		}
	}
}

// What cannot work and is begun nevertheless turns this red.
func TestServeRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pushdoctor.db")
	for _, test := range []struct {
		args, env []string
		want      string
	}{
		{nil, []string{"GITHUB_TOKEN=x"}, "nothing to watch"},
		{[]string{"--repositories", repoA}, nil, "no token"},
		{[]string{"--repositories", repoA}, []string{"GITHUB_TOKEN=two words"}, "the token holds a blank"},
		{[]string{"--repositories", repoA}, []string{"PUSHDOCTOR_GITHUB_TOKEN_FILE=" + file}, "github.token_file"},
		{[]string{"--repositories", repoA, "--listen", "256.0.0.1:0"}, []string{"GITHUB_TOKEN=x"}, "web.listen_address"},
		{[]string{"--repositories", "repoA"}, []string{"GITHUB_TOKEN=x"}, "is not a repository"},
	} {
		got := call{args: append([]string{"serve", "--store", file}, test.args...), env: test.env}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%v, %v: status %d, %s", test.args, test.env, got.status, got.stderr)
		}
	}
}
