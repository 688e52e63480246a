package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

var historySample = regexp.MustCompile(`^pushdoctor_(\w+)_total\{(.*)\} (\d+) (\d+)$`)

// endsOf returns the last value of each series of a history, under the name that a ledger has for it.
func endsOf(t *testing.T, om string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for line := range strings.Lines(om) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := historySample.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Fatalf("no sample: %q", line)
		}
		var values []string
		for _, l := range regexp.MustCompile(`="([^"]*)"`).FindAllStringSubmatch(m[2], -1)[1:] { // without the job
			values = append(values, l[1])
		}
		series := m[1] + "{" + strings.Join(values, ",") + "}"
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil || value < out[series] {
			t.Fatalf("%v, or a counter that falls: %s", err, line)
		}
		out[series] = value
	}
	return out
}

// counted are the totals of which history tells.
func (k ledger) counted() map[string]float64 {
	out := map[string]float64{}
	for series, n := range k.Totals {
		if !strings.HasPrefix(series, "log_bytes") {
			out[series] = n
		}
	}
	return out
}

// Red where the file is not what the store has counted, or another one the second time; where the summary gets among the
// samples on stdout; where anything is left beside the file; and where it is seen after hours only that the file cannot be written.
func TestBackfillOpenMetrics(t *testing.T) {
	w, o := month(t)
	g := fakeGitHub(t, w, fakegithub.Options{})
	db, dir := filepath.Join(t.TempDir(), "pushdoctor.db"), t.TempDir()
	file := filepath.Join(dir, "history.om")
	got := call{args: append(o.args(db), "--openmetrics", file), env: environment(g)}.run(t)
	if got.status != 0 || !strings.Contains(got.stderr, "promtool tsdb create-blocks-from openmetrics") || !strings.Contains(got.stdout, "by cause") {
		t.Fatalf("status %d\n%s\n%s", got.status, got.stdout, got.stderr)
	}
	om, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(audit(t, db).counted(), endsOf(t, string(om))); diff != "" {
		t.Errorf("history (-store +file):\n%s", diff)
	}
	again := call{args: append(o.args(db), "--openmetrics", "-"), env: environment(g)}.run(t)
	if again.status != 0 || again.stdout != string(om) || !strings.Contains(again.stderr, "by cause") {
		t.Errorf("to stdout: status %d, the same: %t\n%s", again.status, again.stdout == string(om), again.stderr)
	}
	link, target := filepath.Join(t.TempDir(), "link.om"), filepath.Join(dir, "target.om")
	if err := errors.Join(os.Rename(file, target), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	if got := (call{args: append(o.args(db), "--openmetrics", link), env: environment(g)}).run(t); got.status != 0 {
		t.Errorf("to a link: %+v", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is a file now: %v, %v", info, err)
	}
	before := asked(g)
	for name, complaint := range map[string]string{dir: "is not a regular file", filepath.Join(dir, "none", "history.om"): "no such file"} {
		got := call{args: append(o.args(db), "--openmetrics", name), env: environment(g)}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, "--openmetrics: ") || !strings.Contains(got.stderr, complaint) || asked(g) != before {
			t.Errorf("%s: status %d, %d requests\n%s", name, got.status, asked(g)-before, got.stderr)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("%q are left, %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

// Red where a service tells history of what its own counters count, or not all that they do not, or to two at a time: it may be gigabytes.
func TestServeHistory(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		for i := range 40 {
			l.run(repoA, begin.Add(time.Duration(i-30)*time.Hour), failed("build"))
		}
		s := l.serve()
		time.Sleep(12 * time.Hour)
		s.handing.Lock()
		busy := httptest.NewRecorder()
		s.handler.ServeHTTP(busy, httptest.NewRequest(http.MethodGet, historyPath, nil))
		if s.handing.Unlock(); busy.Code != http.StatusConflict {
			t.Errorf("two at a time: status %d", busy.Code)
		}
		om := s.get(historyPath) // its client asks for gzip
		plain, head := httptest.NewRecorder(), httptest.NewRecorder()
		s.handler.ServeHTTP(plain, httptest.NewRequest(http.MethodGet, historyPath, nil))
		s.handler.ServeHTTP(head, httptest.NewRequest(http.MethodHead, historyPath, nil))
		if plain.Body.String() != om || plain.Header().Get("Content-Encoding") != "" || head.Code != http.StatusOK || head.Body.Len() > 0 {
			t.Errorf("without gzip %d bytes as %q, with it %d; HEAD: status %d, %d bytes",
				plain.Body.Len(), plain.Header().Get("Content-Encoding"), len(om), head.Code, head.Body.Len())
		}
		live := s.metric(`pushdoctor_jobs_read_total{repository="` + repoA + `",result="findings"}`)
		s.stop()
		k := l.read()
		total := 0.0
		for series, n := range endsOf(t, om) {
			if series == "jobs_read{"+repoA+",findings}" {
				total = n
			}
		}
		counted, err := strconv.ParseFloat(live, 64)
		if err != nil || total == 0 || counted == 0 || total+counted != k.total("jobs_read{"+repoA+",findings}") {
			t.Errorf("%g of history and %q live are not the %g of the store", total, live, k.total("jobs_read{"+repoA+",findings}"))
		}
	})
}

// Red where what a service did not tell whole, or what is no history, is taken for one: the file must stay as it was.
func TestHistoryNotTold(t *testing.T) {
	const om = "# TYPE pushdoctor_runs counter\npushdoctor_runs_total 1 1772316000\n"
	for complaint, answer := range map[string]http.HandlerFunc{
		"broke off before its end": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, om) },
		"broke off before its en":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, om+"# EOF") },
		"unexpected EOF": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, om)
		},
		"text/html": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") },
		"somebody else": func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusConflict, "history is being told to somebody else")
		},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v1/backfill" {
				fmt.Fprintln(w, `{"summary": {}}`)
				return
			}
			w.Header().Set("Content-Type", exporter.ContentTypeHistory)
			answer(w, r)
		}))
		defer s.Close()
		dir := t.TempDir()
		file := filepath.Join(dir, "history.om")
		if err := os.WriteFile(file, []byte("as it was"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := call{args: []string{"backfill", "--repository", repoA, "--server", s.URL, "--openmetrics", file}}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, complaint) {
			t.Errorf("%s: status %d\n%s", complaint, got.status, got.stderr)
		}
		kept, err := os.ReadFile(file)
		entries, unread := os.ReadDir(dir)
		if err != nil || unread != nil || string(kept) != "as it was" || len(entries) != 1 {
			t.Errorf("%s: %q, %v, %v, %v", complaint, kept, entries, err, unread)
		}
	}
}
