package fakegithub

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// Mail says what becomes of webhook deliveries on their way. The zero value brings each of them once and at once.
type Mail struct {
	Seed  uint64
	Lost  float64       // the share that never comes
	Twice float64       // the share that comes twice, with the same id
	Late  time.Duration // each takes up to so long, so that they overtake one another
}

// A Delivery is one webhook delivery.
type Delivery struct {
	ID    string // the same where it comes twice
	Event string // "workflow_job", "workflow_run"
	At    time.Time
	Body  []byte
}

// Request returns the delivery as GitHub posts it, signed with the secret.
func (d Delivery) Request(ctx context.Context, url, secret string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Body))
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(d.Body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "GitHub-Hookshot/0a1b2c3")
	r.Header.Set("X-GitHub-Event", d.Event)
	r.Header.Set("X-GitHub-Delivery", d.ID)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return r, nil
}

// Deliveries returns what comes after from and not after to, in the order in which it comes: one for the end of each job that ran, and
// one for that of each attempt of a run. Calls for spans that follow one another miss nothing and repeat nothing.
func (s *Server) Deliveries(from, to time.Time, m Mail) []Delivery {
	s.world.mu.RLock()
	defer s.world.mu.RUnlock()
	var all []Delivery
	post := func(event string, of int64, attempt int, at time.Time, payload func() map[string]any) {
		if at.After(to) || at.Add(m.Late).Before(from) {
			return
		}
		dice := rand.New(rand.NewPCG(m.Seed^uint64(of), uint64(attempt)))
		lost, twice := dice.Float64() < m.Lost, dice.Float64() < m.Twice
		id := fmt.Sprintf("%08x-%04x-11f1-8000-%012x", dice.Uint32(), dice.IntN(1<<16), of)
		times := []time.Time{at.Add(time.Duration(dice.Float64() * float64(m.Late)))}
		if twice {
			times = append(times, at.Add(time.Duration(dice.Float64()*float64(m.Late))))
		}
		for _, at := range times {
			if lost || !at.After(from) || at.After(to) {
				continue
			}
			body, err := json.Marshal(payload())
			if err != nil {
				panic(err) // a value of ours
			}
			all = append(all, Delivery{id, event, at, body})
		}
	}
	for _, repo := range s.world.repositories {
		for _, x := range repo.runs {
			for i, a := range x.attempts {
				told := x.attemptAt(i, endOfTime)
				post("workflow_run", x.ID, i, told.UpdatedAt, func() map[string]any {
					return s.payload(repo, x, "workflow_run", s.runJSON(repo, told))
				})
				for _, j := range a.jobs {
					if j.StartedAt.Before(a.startedAt) {
						continue // carried over
					}
					post("workflow_job", j.JobID, i, j.CompletedAt, func() map[string]any {
						return s.payload(repo, x, "workflow_job", s.jobJSON(j, x, j.CompletedAt))
					})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Delivery) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (s *Server) payload(repo *repository, x *run, event string, value map[string]any) map[string]any {
	p := map[string]any{"action": "completed", event: value, "repository": s.repositoryJSON(repo), "sender": s.account(actor(x.Run))}
	if event == "workflow_run" {
		p["workflow"] = s.workflowJSON(repo, *repo.workflow(x.path))
	}
	for _, i := range s.world.installations {
		if s.world.sees(i, repo) {
			p["installation"] = map[string]any{"id": i.ID}
		}
	}
	return p
}
