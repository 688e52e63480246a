package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/google/go-cmp/cmp"
)

const aToken = "ghs_0123456789abcdefghijklmnopqrstuvwxyz"

// hour is when the runs of the tests began.
var hour = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// github shows the world over HTTP, and returns the server and the environment that leads to it.
func github(t *testing.T, w *fakegithub.World) (*fakegithub.Server, []string) {
	t.Helper()
	s := fakegithub.New(w, fakegithub.Options{Token: aToken, Now: func() time.Time { return hour.Add(24 * time.Hour) }})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if violations := s.Stats().Violations; len(violations) > 0 {
			t.Errorf("GitHub takes offence: %q", violations)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, []string{"PUSHDOCTOR_GITHUB_URL=" + s.URL(), "GITHUB_TOKEN=" + aToken}
}

// job is a job of a run that began at hour, with what an image's push left in its log.
func job(name, conclusion, image string) fakegithub.Job {
	log := cleanLog
	if image != "" {
		log = strings.ReplaceAll(failedLog, "octo-lab/api", image)
	}
	return fakegithub.Job{Job: pushdoctor.Job{Name: name, Conclusion: conclusion}, Log: []byte(log)}
}

// read is what diagnose says of each path: "PATH: IMAGES" or "PATH: ERROR".
func read(t *testing.T, stdout string) []string {
	t.Helper()
	var all []string
	for _, a := range answers(t, stdout) {
		said := a.Error
		for _, f := range a.Findings {
			said += f.Image
		}
		all = append(all, a.Path+": "+said)
	}
	return all
}

// Red where one of the forms in which people have an address is not read, or leads to another job; where a green job is
// read; or where JSON does not say which job it was.
func TestAddress(t *testing.T) {
	w := fakegithub.NewWorld()
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: hour},
		job("build", "failure", "octo-lab/one"), job("push (arm64)", "timed_out", "octo-lab/two"), job("test", "success", "octo-lab/three"), job("late", "cancelled", ""))
	jobs := w.Jobs(run.ID)
	s, env := github(t, w)
	build := fmt.Sprintf("octo-lab/api#%d job build: ghcr.io/octo-lab/one:dev", run.ID)
	all := []string{build,
		fmt.Sprintf("octo-lab/api#%d job push (arm64): ghcr.io/octo-lab/two:dev", run.ID),
		fmt.Sprintf("octo-lab/api#%d job late: ", run.ID)}
	green := []string{fmt.Sprintf("octo-lab/api#%d job test: ghcr.io/octo-lab/three:dev", run.ID)}
	page := fmt.Sprintf("%s/octo-lab/api/actions/runs/%d", s.URL(), run.ID)
	for _, test := range []struct {
		arg  string
		want []string
	}{
		{page, all},
		{page + "/", all},
		{page + "?pr=12&token=x#summary-1", all},
		{strings.ToUpper(s.URL()[:5]) + s.URL()[5:] + strings.TrimPrefix(page, s.URL()), all},
		{page + "/attempts/1", all},
		{fmt.Sprintf("octo-lab/api#%d", run.ID), all},
		{fmt.Sprintf("%s/job/%d#step:4:12", page, jobs[0].JobID), []string{build}},
		{fmt.Sprintf("%s/jobs/%d?pr=12", page, jobs[0].JobID), []string{build}},
		{fmt.Sprintf("%s/octo-lab/api/runs/%d?check_suite_focus=true", s.URL(), jobs[0].JobID), []string{build}},
		{fmt.Sprintf("%s/job/%d", page, jobs[2].JobID), green}, // named itself, so read however it ended
	} {
		got := call{args: []string{"diagnose", "--format", "json", test.arg}, env: env}.run(t)
		if diff := cmp.Diff(test.want, read(t, got.stdout)); diff != "" || got.status != 1 || got.stderr != "" {
			t.Errorf("%s: status %d, stderr %q (-want +got):\n%s", test.arg, got.status, got.stderr, diff)
		}
	}

	got := call{args: []string{"diagnose", "--format", "json", fmt.Sprintf("%s/job/%d", page, jobs[0].JobID)}, env: env}.run(t)
	var said map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &said); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"repository": "octo-lab/api", "run_id": float64(run.ID), "job_id": float64(jobs[0].JobID), "job": "build",
		"url": jobs[0].URL, "completed_at": "2026-03-01T10:01:05Z",
	} {
		if diff := cmp.Diff(want, said[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// Red where the address of another host is asked for, or answered as if it were GitHub's; where a secret in an address is
// repeated; or where the API's host is not told from that of the pages.
func TestAddressOfAnotherHost(t *testing.T) {
	s, env := github(t, fakegithub.NewWorld())
	host := strings.TrimPrefix(s.URL(), "http://")
	const noRun = ": this is not the address of a run or a job: https://%s/OWNER/NAME/actions/runs/ID, with /attempts/N or /job/ID, or OWNER/NAME#RUN"
	only := "only addresses of " + host + " are read, as github.url says; nothing was sent to "
	for _, test := range []struct{ arg, want string }{
		{"https://github.com/octo-lab/api/actions/runs/1", "https://github.com/octo-lab/api/actions/runs/1: " + only + `"github.com"`},
		{"https://" + host + ".example.test/octo-lab/api/actions/runs/1", "https://" + host + ".example.test/octo-lab/api/actions/runs/1: this address cannot be read"},
		{"http://registry.example.test/x?sig=c2VjcmV0c2VjcmV0", "http://registry.example.test/x?sig=<redacted>: " + only + `"registry.example.test"`},
		{"http://me@" + host + "/octo-lab/api/actions/runs/1", "http://<redacted>@" + host + "/octo-lab/api/actions/runs/1: this address cannot be read"},
		{s.URL() + "/octo-lab/api/pull/7", s.URL() + "/octo-lab/api/pull/7" + fmt.Sprintf(noRun, host)},
		{s.URL() + "/octo-lab/api/actions/runs/1/job/2/x", s.URL() + "/octo-lab/api/actions/runs/1/job/2/x" + fmt.Sprintf(noRun, host)},
		{s.URL() + "/octo-lab/api/actions/runs/99999999999999999999", s.URL() + "/octo-lab/api/actions/runs/99999999999999999999: there is no number 99999999999999999999 at GitHub"},
		{"octo-lab/api#0", "octo-lab/api#0: there is no number 0 at GitHub"},
	} {
		got := call{args: []string{"diagnose", "--format", "json", test.arg}, env: env}.run(t)
		if diff := cmp.Diff([]string{test.want}, read(t, got.stdout)); diff != "" || got.status != 2 {
			t.Errorf("%s: status %d (-want +got):\n%s", test.arg, got.status, diff)
		}
	}
	if n := len(s.Stats().Requests); n > 0 {
		t.Errorf("%v were asked for", s.Stats().Requests)
	}

	// Without a token nothing is sent, so an address that asks for one was taken.
	for _, test := range []struct {
		api, page string
		taken     bool
	}{
		{"https://api.github.com", "https://github.com", true},
		{"https://api.github.com", "https://GitHub.com:443", true},
		{"https://api.github.com", "https://api.github.com", false},
		{"https://api.github.com", "https://github.com.example.test", false},
		{"https://api.octo.ghe.com/", "https://octo.ghe.com", true},
		{"https://git.example.test/api/v3", "https://git.example.test", true},
		{"https://api.example.test/api/v3", "https://api.example.test", true},
		{"https://git.example.test:8443/api/v3", "https://git.example.test:8443", true},
		{"https://git.example.test:8443/api/v3", "https://git.example.test", false},
		{"https://git.example.test/api/v3", "https://github.com", false},
	} {
		got := call{args: []string{"diagnose", "--format", "json", test.page + "/octo-lab/api/actions/runs/1"}, env: []string{"PUSHDOCTOR_GITHUB_URL=" + test.api}}.run(t)
		if taken := strings.Contains(got.stdout, "needs a token"); taken != test.taken || got.status != 2 {
			t.Errorf("%s at %s: taken %v\n%s%s", test.page, test.api, taken, got.stdout, got.stderr)
		}
	}
}

// Red where a failure of an attempt before is told as the newest one's, one that was carried over is lost, or nobody says
// which attempt was read.
func TestAddressOfARerun(t *testing.T) {
	w := fakegithub.NewWorld()
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: hour},
		job("build", "failure", "octo-lab/old"), job("push", "failure", "octo-lab/kept"), job("test", "success", ""))
	w.Rerun(run.ID, hour.Add(time.Hour), job("build", "failure", "octo-lab/new"))
	w.Rerun(run.ID, hour.Add(2*time.Hour), job("build", "success", ""), job("push", "success", ""))
	_, env := github(t, w)
	name := fmt.Sprintf("octo-lab/api#%d", run.ID)
	env = append(env, "GITHUB_REPOSITORY=octo-lab/api", fmt.Sprintf("GITHUB_RUN_ID=%d", run.ID), "GITHUB_RUN_ATTEMPT=2", "GITHUB_API_URL="+env[0][len("PUSHDOCTOR_GITHUB_URL="):])
	page := fmt.Sprintf("%s/octo-lab/api/actions/runs/%d", env[0][len("PUSHDOCTOR_GITHUB_URL="):], run.ID)
	second := []string{name + " job push: ghcr.io/octo-lab/kept:dev", name + " job build: ghcr.io/octo-lab/new:dev"}
	const secondSaid = ": attempt 2 of 3 is read; 1 failed job was not run again in it\n"
	for _, test := range []struct {
		arg    string
		status int
		stderr string
		want   []string
	}{
		{name, 0, "pushdoctor: " + name + ": attempt 3 of 3 is read\npushdoctor: " + name + ": no job failed, timed out or was cancelled\n", nil},
		{page + "/attempts/2", 1, "pushdoctor: " + name + secondSaid, second},
		{"--this-run", 1, "pushdoctor: " + name + secondSaid, second},
		{page + "/attempts/1", 1, "pushdoctor: " + name + ": attempt 1 of 3 is read\n",
			[]string{name + " job build: ghcr.io/octo-lab/old:dev", name + " job push: ghcr.io/octo-lab/kept:dev"}},
		{page + "/attempts/4", 2, "pushdoctor: 1 input could not be read\n", []string{name + ": there is no attempt 4: the run has 3"}},
	} {
		got := call{args: []string{"diagnose", "--format", "json", test.arg}, env: env}.run(t)
		if diff := cmp.Diff(test.want, read(t, got.stdout)); diff != "" || got.status != test.status {
			t.Errorf("%s: status %d, want %d (-want +got):\n%s", test.arg, got.status, test.status, diff)
		}
		if diff := cmp.Diff(test.stderr, got.stderr); diff != "" {
			t.Errorf("%s: stderr (-want +got):\n%s", test.arg, diff)
		}
	}

	// The page of the second attempt shows the job under a new id.
	for _, j := range w.Jobs(run.ID) {
		if j.Name != "push" || j.RunAttempt != 2 {
			continue
		}
		got := call{args: []string{"diagnose", "--format", "json", fmt.Sprintf("%s/job/%d", page, j.JobID)}, env: env}.run(t)
		if diff := cmp.Diff(second[:1], read(t, got.stdout)); diff != "" {
			t.Errorf("carried over (-want +got):\n%s", diff)
		}
	}
}

// Red where a log that cannot be had passes for one without failures, or its error does not say what to do.
func TestAddressUnread(t *testing.T) {
	w := fakegithub.NewWorld()
	day := hour.Add(24 * time.Hour)
	lost, gone, skipped := job("lost", "failure", "x/y"), job("gone", "failure", "x/y"), job("skipped", "skipped", "")
	lost.Lost, gone.Gone, skipped.CompletedAt = true, true, day.Add(-time.Minute)
	running := job("running", "failure", "x/y")
	running.CompletedAt = day.Add(time.Minute)
	broken := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: hour}, lost, gone, job("good", "failure", "octo-lab/api"))
	going := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: day.Add(-time.Minute)}, running, skipped)
	forbidden := w.AddRun(pushdoctor.Run{Repository: "octo-lab/closed", CreatedAt: hour}, job("build", "failure", "x/y"))
	w.Change("octo-lab/closed", func(r *fakegithub.Repository) { r.Forbidden = true })
	s, env := github(t, w)
	address := func(j int64) string {
		return fmt.Sprintf("%s/octo-lab/api/actions/runs/%d/job/%d", s.URL(), going.ID, j)
	}
	for _, test := range []struct {
		arg  string
		env  []string
		want []string // beginnings and ends
	}{
		{fmt.Sprintf("octo-lab/api#%d", broken.ID), env, []string{
			" job lost: … log is not there", "a job that never got a runner has none",
			" job gone: … log is gone", "is older than the repository keeps logs; run the job again",
			" job good: … ", "ghcr.io/octo-lab/api:dev",
		}},
		{address(w.Jobs(going.ID)[0].JobID), env, []string{" job " + fmt.Sprint(w.Jobs(going.ID)[0].JobID) + ": … ", "the job has not ended: its log can be read after its end"}},
		{address(w.Jobs(going.ID)[1].JobID), env, []string{"", "the job was skipped, and has no log"}},
		{address(w.Jobs(broken.ID)[0].JobID), env, []string{"", fmt.Sprintf("the job belongs to another run: octo-lab/api#%d", broken.ID)}},
		{fmt.Sprintf("octo-lab/closed#%d", forbidden.ID), env, []string{"", "give the token the right Actions: read (in a job: permissions: actions: read)"}},
		{"octo-lab/none#1", env, []string{"… not found", "has the right Actions: read"}},
		{"octo-lab/api#1", []string{env[0], "GITHUB_TOKEN=other"}, []string{"… token refused", "check GITHUB_TOKEN or github.token_file: it is wrong, expired or revoked"}},
		{"octo-lab/api#1", env[:1], []string{"", "or github.token_file; or save the log and name the file"}},
	} {
		got := call{args: []string{"diagnose", "--format", "json", test.arg}, env: test.env}.run(t)
		lines := read(t, got.stdout)
		if got.status != 2 || len(lines) != len(test.want)/2 {
			t.Errorf("%s: status %d\n%s%s", test.arg, got.status, got.stdout, got.stderr)
			continue
		}
		for i, line := range lines {
			holds, ends := strings.Split(test.want[2*i], "… "), test.want[2*i+1]
			for _, h := range holds {
				if !strings.Contains(line, h) {
					t.Errorf("%s: %q does not hold %q", test.arg, line, h)
				}
			}
			if !strings.HasSuffix(line, ends) {
				t.Errorf("%s: %q does not end with %q", test.arg, line, ends)
			}
		}
		if strings.Contains(got.stdout+got.stderr, aToken) {
			t.Errorf("%s: the token is shown", test.arg)
		}
	}

	// What still runs is told, and is no reason to fail.
	got := call{args: []string{"diagnose", fmt.Sprintf("octo-lab/api#%d", going.ID)}, env: env}.run(t)
	name := fmt.Sprintf("pushdoctor: octo-lab/api#%d: ", going.ID)
	if want := name + "1 job not read: not ended yet\n" + name + "no job failed, timed out or was cancelled\n"; got.status != 0 || got.stderr != want {
		t.Errorf("a run that goes on: status %d, stderr %q, want %q", got.status, got.stderr, want)
	}
}

// Red where a job that was cancelled before it had a runner, as its siblings in a matrix are, makes a run unreadable.
func TestAddressNeverRan(t *testing.T) {
	w := fakegithub.NewWorld()
	lost := job("lost", "cancelled", "")
	lost.Lost = true
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: hour}, lost, job("build", "failure", "octo-lab/api"))
	s, env := github(t, w)
	behind, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	// The fake GitHub gives every job a runner.
	runner := regexp.MustCompile(`"runner_name": *"[^"]*"`)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind); r.Out.Header.Del("Accept-Encoding") },
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			body = runner.ReplaceAll(body, []byte(`"runner_name":null`))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return err
		},
	})
	defer proxy.Close()
	env[0] = "PUSHDOCTOR_GITHUB_URL=" + proxy.URL
	got := call{args: []string{"diagnose", "--format", "json", fmt.Sprintf("octo-lab/api#%d", run.ID)}, env: env}.run(t)
	want := end{1, got.stdout, fmt.Sprintf("pushdoctor: skipped octo-lab/api#%d job lost: it was cancelled before it ran, and has no log\n", run.ID)}
	if all := answers(t, got.stdout); got != want || len(all) != 1 || len(all[0].Findings) != 1 {
		t.Errorf("%+v", got)
	}
}

// Red where a log of which the middle was left out is told as one that was read whole.
func TestAddressTruncated(t *testing.T) {
	w := fakegithub.NewWorld()
	long := job("build", "failure", "octo-lab/api")
	const preamble = "2026-03-01T10:00:00.0000000Z Current runner version: '2.330.0'\n"
	long.Log = []byte(preamble + strings.Repeat(cleanLog, 30_000) + string(long.Log))
	quiet := job("quiet", "failure", "")
	quiet.Log = []byte(preamble + strings.Repeat(cleanLog, 30_000))
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: hour}, long, quiet)
	_, env := github(t, w)
	env = append(env, "PUSHDOCTOR_COLLECT_MAX_LOG=1MB")
	args := []string{"diagnose", "--format", "json", fmt.Sprintf("octo-lab/api#%d", run.ID)}
	got := call{args: args, env: env}.run(t)
	all := answers(t, got.stdout)
	if len(all) != 2 || !all[0].Truncated || len(all[0].Findings) != 1 || !all[1].Truncated || all[1].Facts.Whole || strings.Count(got.stderr, "longer than collect.max_log") != 2 {
		t.Errorf("status %d, stderr %q\n%s", got.status, got.stderr, got.stdout)
	}
}

// Red where a file is asked for at GitHub since its name looks like a run's.
func TestAddressOfAFile(t *testing.T) {
	write(t, map[string]string{"octo-lab/api#1": failedLog})
	got := diagnose(t, "--format", "json", "octo-lab/api#1")
	if diff := cmp.Diff([]string{"octo-lab/api#1: ghcr.io/octo-lab/api:dev"}, read(t, got.stdout)); diff != "" || got.status != 1 {
		t.Errorf("status %d (-want +got):\n%s", got.status, diff)
	}
}

// Red where the job that we are in is waited for or read, where the token of the configuration goes to the run's GitHub,
// or where a missing variable is not named.
func TestThisRun(t *testing.T) {
	w := fakegithub.NewWorld()
	day := hour.Add(24 * time.Hour)
	us := job("why", "failure", "octo-lab/us")
	us.StartedAt, us.CompletedAt = day.Add(-time.Minute), day.Add(time.Minute)
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: day.Add(-time.Hour)}, job("test", "success", "octo-lab/test"), job("build", "failure", "octo-lab/api"), us)
	s, _ := github(t, w)
	dir := write(t, map[string]string{"token": "another"})
	env := []string{
		"GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=octo-lab/api", fmt.Sprintf("GITHUB_RUN_ID=%d", run.ID), "GITHUB_RUN_ATTEMPT=1",
		"GITHUB_API_URL=" + s.URL(), "GITHUB_TOKEN=" + aToken, "PUSHDOCTOR_GITHUB_TOKEN_FILE=" + dir + "/token",
	}
	got := call{args: []string{"diagnose", "--this-run", "--format", "json"}, env: env}.run(t)
	want := []string{fmt.Sprintf("octo-lab/api#%d job build: ghcr.io/octo-lab/api:dev", run.ID)}
	if diff := cmp.Diff(want, read(t, got.stdout)); diff != "" || got.status != 1 || got.stderr != "" {
		t.Errorf("status %d, stderr %q (-want +got):\n%s", got.status, got.stderr, diff)
	}

	for _, test := range []struct {
		args, env []string
		want      string
	}{
		{nil, nil, "--this-run works in a job of GitHub Actions only; not set: GITHUB_REPOSITORY, GITHUB_RUN_ID, GITHUB_RUN_ATTEMPT, GITHUB_API_URL, GITHUB_TOKEN"},
		{nil, env[:5], "--this-run needs GITHUB_TOKEN in the step's env (GITHUB_TOKEN: ${{ github.token }}), and permissions: actions: read in the job"},
		{nil, append([]string{"GITHUB_RUN_ID=x"}, env...), "--this-run: GITHUB_REPOSITORY, GITHUB_RUN_ID and GITHUB_RUN_ATTEMPT do not name a run"},
		{[]string{"job.txt"}, env, "--this-run reads this run only: leave out the other arguments"},
	} {
		got := call{args: append([]string{"diagnose", "--this-run"}, test.args...), env: test.env}.run(t)
		if diff := cmp.Diff("pushdoctor: "+test.want+"\n", got.stderr); diff != "" || got.status != 2 || got.stdout != "" {
			t.Errorf("%v: status %d (-want +got):\n%s", test.args, got.status, diff)
		}
	}
}
