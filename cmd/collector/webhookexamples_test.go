//go:build webhooks

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The payloads of npm's package @octokit/webhooks-examples, which make webhooks fetches, were collected from GitHub and from
// its Enterprise Server. One that is answered as none of GitHub's, or a run or job that has ended and is not work with the
// payload's ids, turns this red.
func TestWebhookExamples(t *testing.T) {
	dir := os.Getenv("PUSHDOCTOR_WEBHOOK_EXAMPLES")
	files, err := filepath.Glob(filepath.Join(dir, "*", "index.json"))
	if dir == "" || len(files) == 0 || err != nil {
		t.Fatalf("no examples in PUSHDOCTOR_WEBHOOK_EXAMPLES=%q (%v): run make webhooks", dir, err)
	}
	d := newDesk(t, secretFile(t, testSecret))
	d.admitted = func(int64, string) bool { return true }
	d.wanted = func(string) bool { return true }
	sent, kept := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var events []struct {
			Name     string
			Examples []json.RawMessage
		}
		if err := json.Unmarshal(data, &events); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, e := range events {
			for i, body := range e.Examples {
				where := fmt.Sprintf("%s: %s %d", filepath.Base(filepath.Dir(file)), e.Name, i)
				want := exampleWork(t, where, e.Name, body)
				kept += len(want)
				form := []byte(url.Values{"payload": {string(body)}}.Encode())
				for kind, body := range map[string][]byte{"application/json": body, "application/x-www-form-urlencoded": form} {
					sent++
					w := httptest.NewRecorder()
					d.ServeHTTP(w, delivery(e.Name, bytes.Clone(body), func(r *http.Request) { r.Header.Set("Content-Type", kind) }))
					code := http.StatusAccepted
					if e.Name == "ping" {
						code = http.StatusOK
					}
					if w.Code != code {
						t.Errorf("%s, %s: answered with %d %s", where, kind, w.Code, w.Body)
					}
					var got []string
					for _, one := range d.queue(t) {
						got = append(got, fmt.Sprintln(one.RepositoryID, one.Repository, one.RunID, one.Attempt, one.JobID))
						if err := d.db.DoneWork(one); err != nil { // several examples tell of one run
							t.Fatal(err)
						}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s, %s: work (-want +got)\n%s", where, kind, diff)
					}
				}
			}
		}
	}
	t.Logf("%d deliveries, %d of them work", sent, 2*kept)
	if kept == 0 {
		t.Error("no example is work")
	}
}

// exampleWork is the work of a payload, by encoding/json alone.
func exampleWork(t *testing.T, where, event string, body []byte) []string {
	t.Helper()
	if !slices.Contains([]string{"workflow_run", "workflow_job"}, event) {
		return nil
	}
	type thing struct {
		ID      int64 `json:"id"`
		RunID   int64 `json:"run_id"`
		Attempt int   `json:"run_attempt"`
	}
	var p struct {
		Action     string
		Repository struct {
			ID   int64  `json:"id"`
			Name string `json:"full_name"`
		}
		Run *thing `json:"workflow_run"`
		Job *thing `json:"workflow_job"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	switch {
	case p.Action != "completed":
		return nil
	case p.Run != nil:
		return []string{fmt.Sprintln(p.Repository.ID, p.Repository.Name, p.Run.ID, p.Run.Attempt, 0)}
	}
	return []string{fmt.Sprintln(p.Repository.ID, p.Repository.Name, p.Job.RunID, p.Job.Attempt, p.Job.ID)}
}
