package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

const testSecret = "a secret of the tests alone"

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// secretFile is a file with secrets, one a line.
func secretFile(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A desk is a receiver with a store, without a service.
type desk struct {
	*receiver
	db       *store.DB
	relisted int
	counted  []string
	said     said
}

func newDesk(t *testing.T, file string) *desk {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "pushdoctor.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // a test may have closed it
	d := &desk{db: db}
	log := slog.New(slog.NewTextHandler(&d.said, nil))
	known, err := newSecrets(file, log)
	if err != nil {
		t.Fatal(err)
	}
	d.receiver = &receiver{
		secrets:  known,
		admitted: func(_ int64, name string) bool { return admits([]string{"octo-lab/*", "!octo-lab/secret-*"}, name) },
		wanted:   func(conclusion string) bool { return conclusion == "failure" },
		enqueue: func(w store.Work) error {
			_, err := db.Enqueue(w)
			return err
		},
		relist: func() { d.relisted++ },
		count: func(event string, result exporter.DeliveryResult) {
			d.counted = append(d.counted, event+" "+string(result))
		},
		log: log, large: make(chan struct{}, largeAtOnce),
	}
	return d
}

func (d *desk) queue(t *testing.T) []store.Work {
	t.Helper()
	w, err := d.db.NextWork(time.Now().Add(time.Hour), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// delivery is a signed request; change may make it another one.
func delivery(event string, body []byte, change func(*http.Request)) *http.Request {
	req := httptest.NewRequest(http.MethodPost, "/webhook", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-Hub-Signature-256", sign(testSecret, body))
	if change != nil {
		change(req)
	}
	return req
}

// told is the payload of a run or job that has ended.
func told(event string, change func(repository, thing map[string]any)) []byte {
	repository := map[string]any{"id": 700001013, "full_name": repoA}
	thing := map[string]any{"id": 41000000029, "run_id": 14000000137, "run_attempt": 2, "conclusion": "failure", "url": "https://api.github.test/repos"}
	if event == "workflow_run" {
		thing["id"] = 14000000137
	}
	if change != nil {
		change(repository, thing)
	}
	body, err := json.Marshal(map[string]any{"action": "completed", "repository": repository, event: thing, "sender": map[string]any{"login": "octo-dev"}})
	if err != nil {
		panic(err)
	}
	return body
}

// Anything that is answered but deliveries, one that nobody signed and that is taken, one that is work and is not kept before it is
// answered, and a code by which GitHub would not show what went wrong turn this red.
func TestReceiver(t *testing.T) {
	run, job := told("workflow_run", nil), told("workflow_job", nil)
	other := func(_, thing map[string]any) { thing["conclusion"] = "success" }
	stranger := func(repository, _ map[string]any) { repository["full_name"] = "octo-lab/secret-thing" }
	form := []byte(url.Values{"payload": {string(job)}}.Encode())
	asForm := func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	header := func(key, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(key, value) }
	}
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	huge := bytes.Repeat([]byte(" "), maxDelivery+1)
	for _, test := range []struct {
		name    string
		req     *http.Request
		code    int
		counted string // "": it is no delivery
		queued  string
	}{
		{"index", httptest.NewRequest(http.MethodGet, "/", nil), 404, "", ""},
		{"metrics", httptest.NewRequest(http.MethodGet, "/metrics", nil), 404, "", ""},
		{"below", delivery("workflow_run", run, func(r *http.Request) { r.URL.Path = "/webhook/" }), 404, "", ""},
		{"not cleaned", delivery("workflow_run", run, func(r *http.Request) { r.URL.Path = "//webhook" }), 404, "", ""},
		{"GET", httptest.NewRequest(http.MethodGet, "/webhook", nil), 405, "", ""},
		{"PUT", delivery("workflow_run", run, func(r *http.Request) { r.Method = http.MethodPut }), 405, "", ""},

		{"no signature", delivery("workflow_run", run, func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }), 401, " bad_signature", ""},
		{"no signature and no event", delivery("", run, func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Del("X-GitHub-Event")
		}), 401, " bad_request", ""},
		{"signature of others", delivery("workflow_run", run, header("X-Hub-Signature-256", sign("another secret", run))), 401, " bad_signature", ""},
		{"old kind of signature", delivery("workflow_run", run, func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Set("X-Hub-Signature", "sha1="+strings.Repeat("0", 40))
		}), 401, " bad_signature", ""},
		{"signature of what the form holds", delivery("workflow_job", form, func(r *http.Request) {
			asForm(r)
			r.Header.Set("X-Hub-Signature-256", sign(testSecret, job))
		}), 401, " bad_signature", ""},
		{"kind", delivery("workflow_run", run, header("Content-Type", "text/plain")), 415, " bad_request", ""},
		{"no kind", delivery("workflow_run", run, header("Content-Type", "")), 415, " bad_request", ""},
		{"too large", delivery("push", huge, nil), 413, " too_large", ""},
		{"too large, as nobody says", delivery("push", huge, chunked), 413, " too_large", ""},
		{"as large as they come", delivery("push", huge[:maxDelivery], nil), 202, "other ignored", ""},
		{"no event", delivery("", run, nil), 400, " bad_request", ""},
		{"no JSON", delivery("workflow_run", []byte("{"), nil), 400, "workflow_run bad_request", ""},
		{"the event of another", delivery("workflow_run", job, nil), 400, "workflow_run bad_request", ""},

		{"ping", delivery("ping", []byte(`{"zen":"Keep it logically awesome."}`), nil), 200, "ping accepted", ""},
		{"push", delivery("push", []byte(`{}`), nil), 202, "other ignored", ""},
		{"run requested", delivery("workflow_run", bytes.Replace(run, []byte("completed"), []byte("requested"), 1), nil), 202, "workflow_run ignored", ""},
		{"job that went well", delivery("workflow_job", told("workflow_job", other), nil), 202, "workflow_job ignored", ""},
		{"stranger", delivery("workflow_run", told("workflow_run", stranger), nil), 202, "workflow_run not_admitted", ""},
		{"renamed", delivery("repository", []byte(`{"action":"renamed"}`), nil), 202, "repository accepted", "relisted"},
		{"installed", delivery("installation", []byte(`{"action":"created"}`), nil), 202, "installation accepted", "relisted"},

		{"run", delivery("workflow_run", run, nil), 202, "workflow_run accepted", "14000000137/2/0"},
		{"run that went well", delivery("workflow_run", told("workflow_run", other), nil), 202, "workflow_run accepted", "14000000137/2/0"},
		{"job", delivery("workflow_job", job, header("Content-Type", "application/json; charset=utf-8")), 202, "workflow_job accepted", "14000000137/2/41000000029"},
		{"job as a form", delivery("workflow_job", form, asForm), 202, "workflow_job accepted", "14000000137/2/41000000029"},
		{"job of unknown length", delivery("workflow_job", job, chunked), 202, "workflow_job accepted", "14000000137/2/41000000029"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, secretFile(t, testSecret))
			for range 2 { // it is delivered again, and that changes nothing
				w := httptest.NewRecorder()
				again := test.req.Clone(t.Context())
				body, err := io.ReadAll(test.req.Body)
				if err != nil {
					t.Fatal(err)
				}
				test.req.Body, again.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
				d.ServeHTTP(w, again)
				if w.Code != test.code {
					t.Errorf("answered with %d %s, want %d", w.Code, w.Body, test.code)
				}
				if said := fmt.Sprint(w.Header()); strings.Contains(said, "Server") || strings.Contains(said, "octo") {
					t.Errorf("the answer tells of %s", said)
				}
			}
			var want []string
			if test.counted != "" {
				want = []string{test.counted, test.counted}
			}
			if diff := cmp.Diff(want, d.counted); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			queued := ""
			for _, w := range d.queue(t) {
				queued += fmt.Sprintf("%d/%d/%d", w.RunID, w.Attempt, w.JobID)
				if w.Repository != repoA || w.RepositoryID != 700001013 {
					t.Errorf("queued for %s, %d", w.Repository, w.RepositoryID)
				}
			}
			if d.relisted == 2 {
				queued += "relisted"
			}
			if queued != test.queued {
				t.Errorf("queued %q, want %q", queued, test.queued)
			}
		})
	}
}

// A delivery that is answered as good and is not kept turns this red: GitHub would not show it as failed.
func TestReceiverThatCannotKeep(t *testing.T) {
	post := func(d *desk) int {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, delivery("workflow_run", told("workflow_run", nil), nil))
		return w.Code
	}
	closed := newDesk(t, secretFile(t, testSecret))
	if err := closed.db.Close(); err != nil {
		t.Fatal(err)
	}
	full := newDesk(t, secretFile(t, testSecret))
	full.enqueue = func(store.Work) error { return store.ErrQueueFull }
	for name, d := range map[string]*desk{"closed": closed, "full": full} {
		if code := post(d); code != http.StatusServiceUnavailable || !slices.Equal(d.counted, []string{"workflow_run failed"}) {
			t.Errorf("%s: %d, counted %q", name, code, d.counted)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		slow := newDesk(t, secretFile(t, testSecret))
		slow.enqueue = func(store.Work) error { time.Sleep(time.Minute); return nil }
		began := time.Now()
		if code := post(slow); code != http.StatusServiceUnavailable || time.Since(began) > 10*time.Second {
			t.Errorf("a store that waits: %d after %s", code, time.Since(began))
		}
		slow.keeping.Wait()
	})
}

// Secrets that are no longer there and are good, new ones that are not until a restart, and a
// file that was spoilt and lets anybody in, or nobody, turn this red.
func TestSecretsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := secretFile(t, "", "  the old secret\r", "", "the older secret")
		d := newDesk(t, file)
		try := func(when, secret string, want int) {
			t.Helper()
			body := []byte(`{}`)
			w := httptest.NewRecorder()
			d.ServeHTTP(w, delivery("ping", body, func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign(secret, body)) }))
			if w.Code != want {
				t.Errorf("%s: %q is answered with %d, want %d", when, secret, w.Code, want)
			}
		}
		change := func(text string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		try("at the start", "the old secret", 200)
		try("at the start", "the older secret", 200)
		try("at the start", "the new secret", 401)
		try("at the start", "", 401)
		change("the old secret\nthe new secret\n")
		try("both", "the old secret", 200)
		try("both", "the new secret", 200)
		try("both", "the older secret", 401)
		for _, text := range []string{"", " \n\t\n", "short\n", "the new secret\nshort\n", strings.Repeat("x", maxSecretFile+1), strings.Repeat("the new secret\n", maxSecrets+1)} {
			change(text)
			for _, secret := range []string{"the old secret", "the new secret"} {
				try(fmt.Sprintf("after %.20q", text), secret, 200)
			}
			try(fmt.Sprintf("after %.20q", text), strings.TrimSpace(text), 401)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		change("the new secret\n")
		try("at last", "the new secret", 200)
		try("at last", "the old secret", 401)
		for _, want := range []string{"is empty", "less than 8 characters in line 2", "larger than 16 KB", "more than 10 secrets"} {
			if !strings.Contains(d.said.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
		}
		for _, secret := range []string{"new secret", "old secret", "older secret", "short"} {
			if strings.Contains(strings.ReplaceAll(d.said.String(), "webhook has new secrets", ""), secret) {
				t.Errorf("the log shows %q", secret)
			}
		}
	})
}

// A service that begins with a webhook that anybody can use turns this red.
func TestWebhookRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pushdoctor.db")
	for _, test := range []struct{ secret, want string }{
		{secretFile(t), "is empty: write the webhook's secret to it"},
		{secretFile(t, " ", "\t"), "is empty: write the webhook's secret to it"},
		{secretFile(t, testSecret, "hunter2"), "has a secret of less than 8 characters in line 2"},
		{filepath.Join(t.TempDir(), "none"), "no such file"},
		{t.TempDir(), "is no regular file"},
	} {
		got := call{
			args: []string{"serve", "--store", file, "--repositories", repoA, "--listen", "127.0.0.1:0"},
			env:  []string{"GITHUB_TOKEN=x", "PUSHDOCTOR_WEBHOOK_LISTEN_ADDRESS=127.0.0.1:0", "PUSHDOCTOR_WEBHOOK_SECRET_FILE=" + test.secret},
		}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, "webhook.secret_file") || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, "hunter2") {
			t.Errorf("status %d, %s, want %s", got.status, got.stderr, test.want)
		}
	}
}

// inHook calls test in a lab whose service has a webhook.
func inHook(t *testing.T, o fakegithub.Options, test func(*testing.T, *lab)) {
	t.Helper()
	inLab(t, o, func(t *testing.T, l *lab) {
		l.config.Webhook.ListenAddress = "127.0.0.1:0"
		l.config.Webhook.SecretFile = secretFile(t, testSecret)
		l.config.Collect.Interval, l.config.Collect.Sweep = model.Duration(1000*time.Hour), model.Duration(1000*time.Hour) // polls come at the start alone
		test(t, l)
	})
}

// deliver sends what GitHub would tell of the run, or of one of its jobs, and wants it to be taken.
func (r *running) deliver(run pushdoctor.Run, job *fakegithub.Job) {
	r.t.Helper()
	event := "workflow_run"
	if job != nil {
		event = "workflow_job"
	}
	body := told(event, func(repository, thing map[string]any) {
		repository["id"], repository["full_name"] = run.RepositoryID, run.Repository
		thing["id"], thing["run_attempt"], thing["conclusion"] = run.ID, run.Attempt, run.Conclusion
		if job != nil {
			thing["id"], thing["run_id"], thing["run_attempt"], thing["conclusion"] = job.JobID, job.RunID, job.RunAttempt, job.Conclusion
		}
	})
	req := delivery(event, body, nil).WithContext(r.t.Context())
	req.RequestURI, req.URL.Scheme, req.URL.Host = "", "http", "webhook.test"
	began := time.Now()
	resp, err := r.hook.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // read to its end
	if resp.StatusCode != http.StatusAccepted || err != nil || time.Since(began) > 10*time.Second {
		r.t.Errorf("a delivery was answered with %s %s, %v, after %s", resp.Status, answer, err, time.Since(began))
	}
}

// green is a run that ends well although its job build failed: no poll lists its jobs.
func (l *lab) green(repository string, at time.Time) (pushdoctor.Run, *fakegithub.Job) {
	run := l.world.AddRun(pushdoctor.Run{Repository: repository, Workflow: "image.yml", CreatedAt: at, Conclusion: "success"}, failed("build"))
	return run, &l.world.Jobs(run.ID)[0]
}

// A failed job of a run that ends well and that the webhook does not bring in, one that a redelivery counts again, and a
// run that both the webhook and a poll have read and that is counted twice turn this red.
func TestWebhook(t *testing.T) {
	inHook(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, begin.Add(-time.Hour), failed("before"))
		s := l.serve()
		time.Sleep(time.Minute)
		run, job := l.green(repoA, time.Now())
		red := l.run(repoA, time.Now(), failed("red"))
		time.Sleep(3 * time.Minute)
		s.deliver(run, job)
		s.deliver(red, nil)
		time.Sleep(20 * time.Second)
		if got := s.metric("pushdoctor_queue_length"); got != "0" {
			t.Errorf("queue of %s", got)
		}
		before := l.fake.Stats().Requests
		for range 3 {
			s.deliver(run, job)
			s.deliver(red, nil)
			s.deliver(red, &l.world.Jobs(red.ID)[0])
		}
		time.Sleep(20 * time.Second)
		if diff := cmp.Diff(before, l.fake.Stats().Requests); diff != "" {
			t.Errorf("redeliveries made requests (-before +after):\n%s", diff)
		}
		if got := s.metric(`pushdoctor_webhook_deliveries_total{event="workflow_job",result="accepted"}`); got != "7" {
			t.Errorf("%s deliveries of jobs", got)
		}
		s.stop()
		s = l.serve() // its poll sees what the webhook has brought
		time.Sleep(5 * time.Minute)
		if got := s.metric(failures); got != "2" {
			t.Errorf("%s live failures, want 2", got)
		}
		s.stop()
		got := l.read()
		if diff := cmp.Diff([]string{"before", "build", "red"}, got.jobs()); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if n := got.total("runs{"); n != 3 {
			t.Errorf("%v runs were counted, want 3", n)
		}
	})
}

// Work that was answered for and that a kill before it was done takes along turns this red.
func TestWebhookKilled(t *testing.T) {
	inHook(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		run, job := l.green(repoA, begin.Add(-10*time.Hour))
		d := newDesk(t, l.config.Webhook.SecretFile)
		if err := d.db.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(l.config.Store.Path)
		if err != nil {
			t.Fatal(err)
		}
		d.enqueue = func(w store.Work) error {
			_, err := db.Enqueue(w)
			return err
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, delivery("workflow_job", told("workflow_job", func(repository, thing map[string]any) {
			repository["id"], thing["id"], thing["run_id"] = run.RepositoryID, job.JobID, run.ID
		}), nil))
		if w.Code != http.StatusAccepted {
			t.Fatalf("answered with %d", w.Code)
		}
		if err := db.Close(); err != nil { // here it is killed
			t.Fatal(err)
		}
		l.config.Webhook.ListenAddress = "" // what was taken is owed, with or without a webhook now
		s := l.serve()
		time.Sleep(time.Minute)
		s.stop()
		if diff := cmp.Diff([]string{"build"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	})
}

// Work that an outage, a refused token or a run that is run again takes out of the queue, work on what is gone and
// that stays in it, and either of them uncounted turns this red.
func TestWebhookLater(t *testing.T) {
	inHook(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.world.AddRepository(fakegithub.Repository{Name: repoA})
		s := l.serve()
		time.Sleep(time.Minute)
		run, job := l.green(repoA, time.Now())
		going := l.run(repoA, time.Now(), failed("first"))
		second := failed("second")
		second.CompletedAt = time.Now().Add(5 * time.Hour)
		time.Sleep(3 * time.Minute)
		going.Attempt = 1
		l.world.Rerun(going.ID, time.Now(), second)
		l.fake.SetToken("another")
		s.deliver(run, job)
		s.deliver(going, nil)
		gone := going
		gone.ID = 1
		s.deliver(gone, nil)
		time.Sleep(time.Hour)
		if got := s.metric("pushdoctor_queue_length"); got != "3" {
			t.Errorf("with a refused token the queue has %s, want 3", got)
		}
		if n := l.fake.Stats().Requests["job"] + l.fake.Stats().Requests["run"]; n > 30 {
			t.Errorf("a refused token was tried %d times in an hour", n)
		}
		s.stop()
		l.fake.SetToken(testToken)
		s = l.serve()
		time.Sleep(2 * time.Hour)
		if got := s.metric("pushdoctor_queue_length"); got != "0" {
			t.Errorf("the queue has %s, though the attempt that it told of has ended", got)
		}
		going.Attempt = 2
		s.deliver(going, nil) // early: it goes on for two hours
		time.Sleep(time.Minute)
		if got := s.metric("pushdoctor_queue_length"); got != "1" {
			t.Errorf("the queue has %s, want 1: the run goes on", got)
		}
		time.Sleep(24 * time.Hour)
		if got := s.metric("pushdoctor_queue_length"); got != "0" {
			t.Errorf("the queue has %s", got)
		}
		s.stop()
		got := l.read()
		if diff := cmp.Diff([]string{"build", "first", "second"}, got.jobs()); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if got.Errors["collect_errors{octo-lab/api,not_found}"] != 1 || got.Errors["collect_errors{octo-lab/api,unauthorized}"] == 0 {
			t.Errorf("errors that were counted: %v", got.Errors)
		}
	})
}

// A repository whose flood lets another one wait turns this red.
func TestWebhookFlood(t *testing.T) {
	inHook(t, fakegithub.Options{Latency: time.Second}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		l.detour = func(r *http.Request) *http.Response { // no poll reads anything
			if strings.HasPrefix(r.URL.Path, "/orgs/") {
				return page(http.StatusOK, "application/json", "[]")
			}
			return nil
		}
		type one struct {
			run pushdoctor.Run
			job *fakegithub.Job
		}
		var flood []one
		for i := range 300 {
			run, job := l.green(repoA, begin.Add(-time.Duration(i)*time.Minute))
			flood = append(flood, one{run, job})
		}
		run, job := l.green(repoB, begin.Add(-time.Hour))
		s := l.serve()
		time.Sleep(time.Minute)
		for _, o := range flood {
			s.deliver(o.run, o.job)
		}
		s.deliver(run, job)
		time.Sleep(15 * time.Second)
		found := s.get("/api/v1/findings?limit=1000")
		a, b := strings.Count(found, `"repository":"`+repoA), strings.Count(found, `"repository":"`+repoB)
		if b != 1 || a == 0 || a == 300 {
			t.Errorf("after 15 s, %d findings of the flood and %d beside it", a, b)
		}
		time.Sleep(10 * time.Minute)
		if got := s.metric("pushdoctor_queue_length"); got != "0" {
			t.Errorf("queue of %s", got)
		}
		s.stop()
		if n := len(l.read().Findings); n != 301 {
			t.Errorf("%d findings, want 301", n)
		}
	})
}

// A repository that the webhook tells of before any poll has seen it, and whose counters do not begin then, turns this red.
func TestWebhookMakesLive(t *testing.T) {
	inHook(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		s := l.serve()
		time.Sleep(time.Minute)
		run, job := l.green(repoA, time.Now()) // nobody has looked at the list since
		time.Sleep(3 * time.Minute)
		s.deliver(run, job)
		time.Sleep(15 * time.Second)
		if since := s.repository(repoA).LiveSince; since.Before(begin.Add(4*time.Minute)) || since.After(time.Now()) {
			t.Errorf("live since %s", since)
		}
		s.stop()
		if diff := cmp.Diff([]string{"build"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	})
}

// A new repository that the webhook tells of and that has to wait for the next look at the list turns this red.
func TestWebhookRelists(t *testing.T) {
	inHook(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		l.run(repoA, begin.Add(-time.Hour), failed("a"))
		s := l.serve()
		time.Sleep(time.Minute)
		l.run(repoB, begin.Add(-time.Hour), failed("b"))
		body := []byte(`{"action":"created","repository":{"id":1,"full_name":"octo-lab/web"}}`)
		req := delivery("repository", body, nil).WithContext(t.Context())
		req.RequestURI, req.URL.Scheme, req.URL.Host = "", "http", "webhook.test"
		resp, err := s.hook.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // nothing is wanted of it
		time.Sleep(time.Minute)
		s.stop()
		if diff := cmp.Diff([]string{"a", "b"}, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
	})
}

// Somebody who sends slowly, or nothing, and keeps the others out or a connection for long turns this red.
func TestWebhookSlowSenders(t *testing.T) {
	inHook(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		s := l.serve()
		time.Sleep(time.Minute)
		began := time.Now()
		var slow []net.Conn
		for i := range 120 {
			c, err := s.webhook.listener.(*pipes).dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			slow = append(slow, c)
			go func() {
				switch i % 4 {
				case 0: // nothing
				case 1:
					_, _ = io.WriteString(c, "POST /webhook HTTP/1.1\r\nHost: webhook.test\r\nX-Hub-")
				case 2:
					_, _ = io.WriteString(c, "POST /webhook HTTP/1.1\r\nHost: webhook.test\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nX-Hub-Signature-256: sha256=00\r\n\r\n{")
				case 3:
					_, _ = io.WriteString(c, "POST /webhook HTTP/1.1\r\nHost: webhook.test\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\nX-Hub-Signature-256: sha256=00\r\n\r\n{")
				}
			}()
		}
		time.Sleep(time.Second)
		run, job := l.green(repoA, begin.Add(-10*time.Hour))
		s.deliver(run, job)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("beside slow senders a delivery took %s", took)
		}
		for _, c := range slow {
			if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("slow senders were borne for %s", took)
		}
		s.stop()
	})
}

// Red where an excluded repository is read, or one in other letters is not.
func TestAdmitted(t *testing.T) {
	patterns := []string{"octo-lab/*", "!octo-lab/archive-*", "octo-tools/cli"}
	for name, want := range map[string]bool{
		"octo-lab/api": true, "Octo-Lab/API": true, "octo-tools/cli": true, "octo-lab/archive-1": false, "octo-tools/other": false, "octo-lab": false, "": false,
	} {
		if got := admits(patterns, name); got != want {
			t.Errorf("admitted(%q) = %t", name, got)
		}
	}
}
