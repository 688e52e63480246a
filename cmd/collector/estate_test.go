package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// states are the states of the repositories as the API tells them, by name.
func (r *running) states() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(r.get("/api/v1/repositories")) {
		var repo struct{ Repository, State, Reason string }
		if err := json.Unmarshal([]byte(line), &repo); err != nil {
			r.t.Fatal(err)
		}
		if (repo.State == "") != (repo.Reason == "") {
			r.t.Errorf("%s: state %q, reason %q", repo.Repository, repo.State, repo.Reason)
		}
		out[repo.Repository] = repo.State
	}
	return out
}

// jobs are the names of the jobs in which something was found by now.
func (r *running) jobs() []string {
	r.t.Helper()
	found, err := r.db.Find(store.Query{})
	if err != nil {
		r.t.Fatal(err)
	}
	return ledger{Findings: found}.jobs()
}

// An installation of the App that is not found, that reads what another one has, or whose suspension keeps the others from being read, turns
// this red. So does a repository that waits for a restart.
func TestApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}}, func(t *testing.T, l *lab) {
		l.asApp(key)
		l.config.GitHub.Token = configs.NewSecret(testToken) // for what no installation has
		l.config.Repositories = []string{"octo-lab/*", "!octo-lab/archive-*", "northwind-ci/site", "octo-tools/cli"}
		at := func(d time.Duration) time.Time { return begin.Add(d) }
		for _, repo := range []string{"octo-lab/api", "octo-lab/web", "octo-lab/archive-1", "northwind-ci/site", "northwind-ci/ledger", "octo-tools/cli"} {
			l.run(repo, at(-time.Hour), failed("past of "+repo))
			l.run(repo, at(2*time.Hour), failed("later of "+repo))
		}
		lab := l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		l.world.Install(fakegithub.Installation{Account: "northwind-ci", Repositories: []string{"northwind-ci/site", "northwind-ci/ledger"}})
		s := l.serve()
		time.Sleep(time.Hour)
		want := []string{"past of northwind-ci/site", "past of octo-lab/api", "past of octo-lab/web", "past of octo-tools/cli"}
		if diff := cmp.Diff(want, s.jobs()); diff != "" {
			t.Errorf("after an hour: jobs (-want +got)\n%s", diff)
		}
		l.world.ChangeInstallation(lab, func(i *fakegithub.Installation) { i.SuspendedAt = time.Now() })
		l.run("octo-lab/new", at(2*time.Hour), failed("new"))
		time.Sleep(90 * time.Minute)
		want = []string{"later of northwind-ci/site", "later of octo-tools/cli", "past of northwind-ci/site", "past of octo-lab/api", "past of octo-lab/web", "past of octo-tools/cli"}
		if diff := cmp.Diff(want, s.jobs()); diff != "" {
			t.Errorf("while an installation is suspended: jobs (-want +got)\n%s", diff)
		}
		states := map[string]string{"octo-lab/api": "suspended", "octo-lab/web": "suspended", "northwind-ci/site": "", "octo-tools/cli": ""}
		if diff := cmp.Diff(states, s.states()); diff != "" {
			t.Errorf("while an installation is suspended: states (-want +got)\n%s", diff)
		}
		l.world.ChangeInstallation(lab, func(i *fakegithub.Installation) { i.SuspendedAt = time.Time{} })
		time.Sleep(time.Hour)
		s.stop()
		want = []string{
			"later of northwind-ci/site", "later of octo-lab/api", "later of octo-lab/web", "later of octo-tools/cli", "new",
			"past of northwind-ci/site", "past of octo-lab/api", "past of octo-lab/web", "past of octo-tools/cli",
		}
		if diff := cmp.Diff(want, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		for who, use := range l.fake.Stats().Credentials {
			if who == testToken && use.Requests["runs"] > 4*60+10 {
				t.Errorf("the token was used for what installations have: %v", use.Requests)
			}
		}
	})
}

// A repository whose state nobody learns, or that keeps the others from being read, turns this red.
func TestStates(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*", "octo-tools/cli"}
		for _, repo := range []string{"octo-lab/api", "octo-lab/archived", "octo-lab/disabled", "octo-lab/removed", "octo-lab/renamed", "octo-lab/transferred", "octo-lab/off", "octo-tools/cli"} {
			l.run(repo, begin.Add(-time.Hour), failed(repo))
		}
		s := l.serve()
		time.Sleep(30 * time.Minute)
		for name, state := range s.states() {
			if state != "" {
				t.Errorf("the state of %s is %q from the start", name, state)
			}
		}
		change := func(name string, f func(*fakegithub.Repository)) { l.world.Change("octo-lab/"+name, f) }
		change("archived", func(r *fakegithub.Repository) { r.Archived = true })
		change("disabled", func(r *fakegithub.Repository) { r.Disabled = true })
		change("off", func(r *fakegithub.Repository) { r.ActionsOff = true })
		change("renamed", func(r *fakegithub.Repository) { r.Name = "octo-lab/called-so-now" })
		change("transferred", func(r *fakegithub.Repository) { r.Name = "northwind-ci/transferred" })
		l.world.Delete("octo-lab/removed")
		l.world.Change("octo-tools/cli", func(r *fakegithub.Repository) { r.Name = "octo-tools/command" })
		l.run("octo-lab/called-so-now", begin.Add(2*time.Hour), failed("under a new name"))
		l.run("octo-tools/command", begin.Add(2*time.Hour), failed("under another new name"))
		time.Sleep(8 * time.Hour)
		want := map[string]string{
			"octo-lab/api": "", "octo-lab/archived": "archived", "octo-lab/disabled": "disabled", "octo-lab/off": "actions_off",
			"octo-lab/called-so-now": "", "octo-lab/transferred": "transferred", "octo-lab/removed": "removed", "octo-tools/command": "renamed",
		}
		if diff := cmp.Diff(want, s.states()); diff != "" {
			t.Errorf("states (-want +got)\n%s", diff)
		}
		change("archived", func(r *fakegithub.Repository) { r.Archived = false })
		l.run("octo-lab/archived", time.Now().Add(time.Hour), failed("brought back"))
		time.Sleep(3 * time.Hour)
		if state := s.states()["octo-lab/archived"]; state != "" {
			t.Errorf("the state of a repository that was brought back is %q", state)
		}
		s.stop()
		jobs := []string{
			"brought back", "octo-lab/api", "octo-lab/archived", "octo-lab/disabled", "octo-lab/off", "octo-lab/removed", "octo-lab/renamed",
			"octo-lab/transferred", "octo-tools/cli", "under a new name", "under another new name",
		}
		if diff := cmp.Diff(jobs, l.read().jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
	})
}

// A list that becomes empty from one time to the next, and at once ends the watching of all, turns this red.
func TestListThatShrinksToNothing(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/*"}
		l.run(repoA, begin.Add(-time.Minute), failed("before"))
		l.run(repoA, begin.Add(12*time.Hour), failed("meanwhile"))
		l.detour = emptyLists(begin.Add(time.Hour))
		s := l.serve()
		time.Sleep(20 * time.Hour)
		if diff := cmp.Diff([]string{"before", "meanwhile"}, s.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		if state := s.states()[repoA]; state != "" {
			t.Errorf("within a day, the state is %q", state)
		}
		time.Sleep(10 * time.Hour)
		if state := s.states()[repoA]; state != "removed" {
			t.Errorf("after a day, the state is %q", state)
		}
		s.stop()
	})
}

// emptyLists answers with no repositories from then on.
func emptyLists(from time.Time) detour {
	return func(r *http.Request) *http.Response {
		if time.Now().After(from) && strings.HasPrefix(r.URL.Path, "/orgs/") {
			return page(http.StatusOK, "application/json", "[]")
		}
		return nil
	}
}

// credentials are the series of metrics that tell of credentials.
func (r *running) credentials() (all []string) {
	r.t.Helper()
	for line := range strings.Lines(r.get("/metrics")) {
		name, _, _ := strings.Cut(line, "{")
		if name == "pushdoctor_github_credential_valid" || name == "pushdoctor_github_credential_expiry_timestamp_seconds" {
			all = append(all, strings.TrimPrefix(strings.TrimSpace(line), "pushdoctor_github_credential_"))
		}
	}
	return all
}

// Red where a credential that was replaced, or an installation that is gone, goes on being called refused: somebody is paged for it, who has mended it.
// So is the end of a token that is not told, and that of one that renews itself.
func TestCredentialsInUse(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ends := begin.Add(6 * 24 * time.Hour)
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}, Expires: ends}, func(t *testing.T, l *lab) {
		l.config.Repositories = []string{"octo-lab/api", "octo-tools/cli"}
		for _, repo := range l.config.Repositories {
			l.run(repo, begin.Add(-time.Hour), failed("past of "+repo))
		}
		s := l.serve()
		time.Sleep(5 * time.Minute)
		want := []string{fmt.Sprintf(`expiry_timestamp_seconds{credential="token"} %v`, float64(ends.Unix())), `valid{credential="token"} 1`}
		if diff := cmp.Diff(want, s.credentials()); diff != "" {
			t.Errorf("with a token (-want +got)\n%s", diff)
		}
		l.fake.SetToken("another")
		time.Sleep(5 * time.Minute)
		want[1] = `valid{credential="token"} 0`
		if diff := cmp.Diff(want, s.credentials()); diff != "" {
			t.Errorf("with a token that was withdrawn (-want +got)\n%s", diff)
		}

		l.asApp(key)
		l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		tools := l.world.Install(fakegithub.Installation{Account: "octo-tools", All: true})
		if err := s.reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		want = []string{`valid{credential="app"} 1`, `valid{credential="app/octo-lab"} 1`, `valid{credential="app/octo-tools"} 1`}
		if diff := cmp.Diff(want, s.credentials()); diff != "" {
			t.Errorf("as an App (-want +got)\n%s", diff)
		}
		l.world.Uninstall(tools)
		time.Sleep(30 * time.Minute)
		if diff := cmp.Diff(want[:2], s.credentials()); diff != "" {
			t.Errorf("with an installation less (-want +got)\n%s", diff)
		}
		if s.status().TokenRefused {
			t.Error("the page says that GitHub refuses the token")
		}
		s.stop()
	})
}

// Red where a repository that an installation of the App lists under a new name is taken for one that is gone: GitHub leads from the old name to it.
func TestRenamedForAnApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inLab(t, fakegithub.Options{App: fakegithub.App{ID: 4711, Key: &key.PublicKey}}, func(t *testing.T, l *lab) {
		l.asApp(key)
		l.config.Repositories = []string{repoA}
		l.world.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		l.run(repoA, begin.Add(-time.Hour), failed("before"))
		s := l.serve()
		time.Sleep(15 * time.Minute)
		l.world.Change(repoA, func(r *fakegithub.Repository) { r.Name = "octo-lab/service" })
		l.run("octo-lab/service", time.Now().Add(time.Hour), failed("after"))
		time.Sleep(9 * time.Hour)
		if diff := cmp.Diff([]string{"after", "before"}, s.jobs()); diff != "" {
			t.Errorf("jobs (-want +got)\n%s", diff)
		}
		s.stop()
	})
}

// Red where one list of GitHub's that lacks an installation ends all that is read by it.
func TestMissedInstallation(t *testing.T) {
	one, two := actions.Installation{ID: 1}, actions.Installation{ID: 2}
	e := &estate{}
	for i, test := range []struct{ told, want []actions.Installation }{
		{[]actions.Installation{one, two}, []actions.Installation{one, two}},
		{[]actions.Installation{two}, []actions.Installation{two, one}},
		{[]actions.Installation{one, two}, []actions.Installation{one, two}},
		{[]actions.Installation{two}, []actions.Installation{two, one}},
		{[]actions.Installation{two}, []actions.Installation{two}},
		{nil, nil},
	} {
		got := e.missed(test.told)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%d (-want +got)\n%s", i, diff)
		}
		e.installed = e.installed.take(got, begin)
	}
}
