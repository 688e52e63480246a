package fakegithub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A delivery must be signed as GitHub signs it, by the example of its documentation:
// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
func TestDeliveryRequest(t *testing.T) {
	d := fakegithub.Delivery{ID: "1", Event: "workflow_job", Body: []byte("Hello, World!")}
	r, err := d.Request(t.Context(), "http://pushdoctor.test/webhook", "It's a Secret to Everybody")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	want := "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if got := r.Header.Get("X-Hub-Signature-256"); err != nil || got != want || string(body) != "Hello, World!" || r.Header.Get("X-GitHub-Event") != "workflow_job" {
		t.Errorf("%v: %v, body %q", err, r.Header, body)
	}
}

// Each job that ran and each attempt is told once, a carried-over job is not; and what is asked for piece by piece is the same as at once, or
// a test that plays deliveries in real time loses some.
func TestDeliveries(t *testing.T) {
	w := fakegithub.NewWorld()
	job := func(name, conclusion string) fakegithub.Job {
		return fakegithub.Job{Job: pushdoctor.Job{Name: name, Conclusion: conclusion}}
	}
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: now}, job("build", "failure"), job("test", "success"))
	w.Rerun(run.ID, now.Add(10*time.Minute), job("build", "success"))
	id := w.Install(fakegithub.Installation{Account: "octo-lab", All: true})
	s := fakegithub.New(w, fakegithub.Options{})
	var got []string
	for _, d := range s.Deliveries(now, now.Add(time.Hour), fakegithub.Mail{}) {
		var said struct {
			Action       string
			Installation struct{ ID int64 }
			Repository   struct {
				Name string `json:"full_name"`
			}
			Job struct {
				Name, Conclusion string
				Attempt          int `json:"run_attempt"`
			} `json:"workflow_job"`
			Run struct {
				Conclusion string
				Attempt    int `json:"run_attempt"`
			} `json:"workflow_run"`
			Workflow struct{ Path string }
		}
		if err := json.Unmarshal(d.Body, &said); err != nil {
			t.Fatal(err)
		}
		if said.Installation.ID != id || said.Action != "completed" || said.Repository.Name != "octo-lab/api" {
			t.Errorf("%s", d.Body)
		}
		got = append(got, strings.Join(strings.Fields(fmt.Sprintln(d.Event, said.Job.Name, said.Job.Conclusion, said.Run.Conclusion, said.Workflow.Path, max(said.Job.Attempt, said.Run.Attempt))), " "))
	}
	slices.Sort(got)
	want := []string{
		"workflow_job build failure 1", "workflow_job build success 2", "workflow_job test success 1",
		"workflow_run failure .github/workflows/ci.yml 1", "workflow_run success .github/workflows/ci.yml 2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deliveries (-want +got)\n%s", diff)
	}

	w, l := life(2)
	s = fakegithub.New(w, fakegithub.Options{})
	all := s.Deliveries(l.Start.Add(-time.Hour), l.Start.Add(2*l.Length), fakegithub.Mail{})
	mail := fakegithub.Mail{Seed: 5, Lost: 0.1, Twice: 0.1, Late: 10 * time.Second}
	whole := s.Deliveries(l.Start.Add(-time.Hour), l.Start.Add(2*l.Length), mail)
	var pieces []fakegithub.Delivery
	for at := l.Start.Add(-time.Hour); at.Before(l.Start.Add(2 * l.Length)); at = at.Add(1500 * time.Millisecond) {
		pieces = append(pieces, s.Deliveries(at, at.Add(1500*time.Millisecond), mail)...)
	}
	if !slices.EqualFunc(whole, pieces, func(a, b fakegithub.Delivery) bool { return a.ID == b.ID && a.At.Equal(b.At) }) {
		t.Errorf("at once %d, piece by piece %d", len(whole), len(pieces))
	}
	times := map[string]int{}
	for _, d := range whole {
		times[d.ID]++
	}
	if lost, twice := len(all)-len(times), len(whole)-len(times); lost < len(all)/30 || lost > len(all)/4 || twice < len(all)/30 || twice > len(all)/4 {
		t.Errorf("of %d, %d were lost and %d came twice", len(all), lost, twice)
	}
}
