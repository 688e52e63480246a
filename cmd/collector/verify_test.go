package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// pushLog is the log of a job that pushes these images well.
func pushLog(images ...string) []byte {
	var b strings.Builder
	for _, image := range images {
		name, tag, _ := strings.Cut(image, ":")
		for _, line := range []string{
			"##[group]Run docker push " + image, "docker push " + image, "shell: /usr/bin/bash -e {0}", "##[endgroup]",
			"The push refers to repository [" + name + "]", "5f195e58a773: Pushed", tag + ": digest: sha256:" + strings.Repeat("5c0ffee1", 8) + " size: 1579",
		} {
			fmt.Fprintf(&b, "2026-03-01T10:00:00.0000000Z %s\n", line)
		}
	}
	return []byte(b.String())
}

// pushed is a job that succeeded after a minute, and pushed these images.
func pushed(name string, images ...string) fakegithub.Job {
	return fakegithub.Job{Job: pushdoctor.Job{Name: name}, Log: pushLog(images...)}
}

// failedFor is a job that failed to push an image.
func failedFor(name, image string) fakegithub.Job {
	j := failed(name)
	j.Log = []byte(strings.ReplaceAll(failedLog, "octo-lab/api", image))
	return j
}

// groups are those of the store as lines, "fixed octo-lab/api 1 10:05 10:20".
func (r *running) groups() []string {
	r.t.Helper()
	all, err := r.db.Groups(store.GroupQuery{Now: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, g := range all {
		line := fmt.Sprintf("%s %s %s %d %s", g.State, g.Ref, strings.TrimPrefix(g.Image, "ghcr.io/"), g.Failures, g.Opened.Format("15:04:05"))
		if !g.Closed.IsZero() {
			line += " " + g.Closed.Format("15:04:05")
		}
		out = append(out, line)
	}
	return out
}

func (r *running) expect(what string, want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.groups()); diff != "" {
		r.t.Errorf("%s: groups (-want +got)\n%s", what, diff)
	}
}

// Red where an archived repository goes on being broken: nobody can mend it there, and an alert would stand until it is stale.
func TestArchivedIsNotBroken(t *testing.T) {
	for name, pattern := range map[string]string{"listed": "octo-lab/*", "named": repoA} {
		t.Run(name, func(t *testing.T) {
			inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
				l.config.Repositories = []string{pattern}
				l.run(repoA, at(5), failedFor("build", "octo-lab/api"))
				s := l.serve()
				time.Sleep(20 * time.Minute)
				if got := s.groups(); len(got) != 1 || !strings.HasPrefix(got[0], "open ") {
					t.Fatalf("groups %q, want one that is open", got)
				}
				l.world.Change(repoA, func(r *fakegithub.Repository) { r.Archived = true })
				time.Sleep(again + time.Hour)
				if got := s.groups(); len(got) != 1 || !strings.HasPrefix(got[0], "stale ") {
					t.Errorf("groups %q, want one that is stale", got)
				}
				s.stop()
			})
		})
	}
}

func at(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }

func passes(minutes int) { time.Sleep(time.Until(at(minutes))) }

const apiImage, webImage = "ghcr.io/octo-lab/api:1", "ghcr.io/octo-lab/web:1"

// A group that a good push does not close, that one of something else closes, a success that is read while nothing is broken or read
// twice, or a recovery with a wrong time turns this red.
func TestVerify(t *testing.T) {
	for _, test := range []struct {
		name string
		runs func(*lab)
		want []string
		// The logs of successes that were read, and the pushes that were counted as good.
		verified, good string
	}{
		{"before and after", func(l *lab) {
			l.run(repoA, at(-20), pushed("build", apiImage))
			l.run(repoA, at(1), failed("build"))
			l.run(repoA, at(10), pushed("build", apiImage))
			l.run(repoA, at(20), pushed("build", apiImage))
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:11:05"}, "1", "1"},
		{"a run that does not push it", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			l.run(repoA, at(10), pushed("build", webImage))
			l.run(repoA, at(20), fakegithub.Job{Job: pushdoctor.Job{Name: "build"}, Log: []byte(cleanLog)})
		}, []string{"open main octo-lab/api 1 10:02:05"}, "2", "1"},
		{"another job, and one that fails", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			l.run(repoA, at(10), pushed("deploy", apiImage))
			late := fakegithub.Job{Job: pushdoctor.Job{Name: "build", Conclusion: "failure"}, Log: []byte(cleanLog)}
			l.run(repoA, at(20), late)
		}, []string{"open main octo-lab/api 1 10:02:05"}, "", ""},
		{"a job that fails after its push", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			l.run(repoA, at(10), fakegithub.Job{Job: pushdoctor.Job{Name: "build", Conclusion: "failure"}, Log: pushLog(apiImage)})
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:11:05"}, "", "1"},
		{"a job of a red run", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			l.run(repoA, at(10), pushed("build", apiImage), fakegithub.Job{Job: pushdoctor.Job{Name: "deploy", Conclusion: "failure"}, Log: []byte(cleanLog)})
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:11:05"}, "1", "1"},
		{"a re-run", func(l *lab) {
			r := l.run(repoA, at(1), failed("build"))
			l.world.Rerun(r.ID, at(15), pushed("build", apiImage))
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:16:05"}, "1", "1"},
		{"a pull request, a fork and another branch", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			for i, r := range []pushdoctor.Run{{Event: "pull_request"}, {Event: "pull_request_target"}, {HeadRepository: "marlow-forks/api"}, {Branch: "topic"}, {Branch: "dev"}} {
				r.Repository, r.Workflow, r.CreatedAt = repoA, "image.yml", at(10+i)
				l.world.AddRun(r, pushed("build", apiImage))
				r.CreatedAt = at(20 + i)
				if r.Branch != "dev" {
					l.world.AddRun(r, failed("build"))
				}
			}
		}, []string{"open main octo-lab/api 1 10:02:05"}, "", ""},
		{"two images", func(l *lab) {
			l.run(repoA, at(1), failed("build"), failedFor("build web", "octo-lab/web"))
			l.run(repoA, at(10), pushed("build", apiImage), pushed("build web", apiImage))
			l.run(repoA, at(20), pushed("build", apiImage), pushed("build web", webImage))
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:11:05", "fixed main octo-lab/web 1 10:02:05 10:21:05"}, "3", "3"},
		{"branches of one pattern", func(l *lab) {
			l.world.AddRun(pushdoctor.Run{Repository: repoA, Workflow: "image.yml", Branch: "release/1", CreatedAt: at(1)}, failed("build"))
			l.world.AddRun(pushdoctor.Run{Repository: repoA, Workflow: "image.yml", Branch: "release/2", CreatedAt: at(10)}, pushed("build", apiImage))
		}, []string{"fixed release/* octo-lab/api 1 10:02:05 10:11:05"}, "1", "1"},
		{"a log that comes late", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			late := pushed("build", apiImage)
			late.LogAt = at(16)
			l.run(repoA, at(10), late)
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:11:05"}, "1", "1"},
		{"a log that never comes, and one that is gone", func(l *lab) {
			l.run(repoA, at(1), failed("build"))
			lost, gone := pushed("build", apiImage), pushed("build", apiImage)
			lost.Lost, gone.Gone = true, true
			l.run(repoA, at(5), lost)
			l.run(repoA, at(6), gone)
			l.run(repoA, at(20), pushed("build", apiImage))
		}, []string{"fixed main octo-lab/api 1 10:02:05 10:21:05"}, "1", "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
				test.runs(l)
				s := l.serve()
				passes(90)
				s.expect("in the end", test.want...)
				if got := s.metric(`pushdoctor_jobs_read_total{repository="octo-lab/api",result="verify"}`); got != test.verified {
					t.Errorf("%q successes were read, want %q", got, test.verified)
				}
				if got := s.metric(`pushdoctor_pushes_total{registry="ghcr",repository="octo-lab/api",result="good",workflow="image.yml"}`); got != test.good {
					t.Errorf("%q good pushes, want %q", got, test.good)
				}
				s.stop()
			})
		})
	}
}

// A recovery of another length, one that a restart counts again, or a candidate that a restart forgets or asks for anew turns this red.
func TestVerifyThroughRestarts(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, at(1), failed("build"))
		l.run(repoA, at(10), pushed("build", webImage))
		late := pushed("build", apiImage)
		late.LogAt = at(40)
		l.run(repoA, at(30), late)
		s := l.serve()
		passes(20)
		s.expect("before the restart", "open main octo-lab/api 1 10:02:05")
		if got := s.metric(`pushdoctor_push_broken{cause="permission_denied",ref="main",registry="ghcr",repository="octo-lab/api",workflow="image.yml"}`); got != "1" {
			t.Errorf("push_broken = %q, want 1", got)
		}
		s.stop()
		s = l.serve()
		passes(35) // the log of the second success is pending
		s.expect("before the log is there", "open main octo-lab/api 1 10:02:05")
		s.stop()
		s = l.serve()
		passes(60)
		s.stop()
		s = l.serve()
		passes(70)
		s.expect("in the end", "fixed main octo-lab/api 1 10:02:05 10:31:05")
		for series, want := range map[string]string{
			`pushdoctor_time_to_recovery_seconds_sum{cause="permission_denied",registry="ghcr"}`:                                          "1740",
			`pushdoctor_time_to_recovery_seconds_count{cause="permission_denied",registry="ghcr"}`:                                        "1",
			`pushdoctor_jobs_read_total{repository="octo-lab/api",result="verify"}`:                                                       "2",
			`pushdoctor_push_broken{cause="permission_denied",ref="main",registry="ghcr",repository="octo-lab/api",workflow="image.yml"}`: "",
		} {
			if got := s.metric(series); got != want {
				t.Errorf("%s = %q, want %q", series, got, want)
			}
		}
		s.stop()
		if n := l.fake.Stats().Requests["jobs"]; n != 3 { // of each run once
			t.Errorf("%d lists of jobs were asked for, want 3", n)
		}
	})
}

// A success that was read while its ref was not watched, and that can never close anything, turns this red; so does one that
// raises a total again.
func TestVerifyReadsAgain(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, at(1), failed("build"))
		l.run(repoA, at(10), pushed("build", apiImage))
		s := l.serve()
		passes(5)
		s.expect("while it is broken", "open main octo-lab/api 1 10:02:05")
		s.stop()
		// An older pushdoctor reads it, which knows nothing of groups.
		db, err := store.Open(l.config.Store.Path)
		if err != nil {
			t.Fatal(err)
		}
		passes(15)
		run := l.world.Runs(repoA, time.Now())[0]
		job := l.world.Jobs(run.ID)[0]
		if added, err := db.Record(store.Reading{Job: job.Job, Result: store.ResultClean}); err != nil || !added {
			t.Fatalf("Record = %t, %v", added, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s = l.serve()
		passes(30)
		s.expect("in the end", "fixed main octo-lab/api 1 10:02:05 10:11:05")
		if got := s.metric(`pushdoctor_jobs_read_total{repository="octo-lab/api",result="verify"}`); got != "" {
			t.Errorf("%s successes were counted that were counted before", got)
		}
		s.stop()
	})
}

// One broken job that asks for more than its part in a poll, or that never gets to its last candidate, turns this red, and so
// does a candidate that is asked for twice.
func TestVerifyBudget(t *testing.T) {
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.run(repoA, at(1), failed("build"))
		for i := range 40 {
			l.run(repoA, at(2).Add(time.Duration(i)*time.Second), pushed("build", webImage))
		}
		l.run(repoA, at(4), pushed("build", apiImage))
		passes(10)
		asked, most := 0, 0
		var poll time.Time
		l.detour = func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/jobs") || strings.HasSuffix(r.URL.Path, "/logs") {
				if asked++; time.Since(poll) > 30*time.Second {
					asked, poll = 1, time.Now()
				}
				most = max(most, asked)
			}
			return nil
		}
		s := l.serve()
		passes(20)
		s.expect("in the end", "fixed main octo-lab/api 1 10:02:05 10:05:05")
		s.stop()
		if most > verifyRequests+2 { // and the failed run's two
			t.Errorf("%d requests in one poll", most)
		}
		if n := l.fake.Stats().Requests["jobs"]; n != 42 {
			t.Errorf("%d lists of jobs were asked for, want 42", n)
		}
	})
}

// A group that nothing can mend and that stays open, one that is closed though its branch or workflow may be there, a recovery that is
// counted, or a request where nothing is broken turns this red.
func TestCloseGone(t *testing.T) {
	const open, gone = "open main octo-lab/api 1 10:02:05", "stale main octo-lab/api 1 10:02:05"
	on := func(branch string) func(*lab) {
		return func(l *lab) {
			l.config.Metrics.Refs = []string{"main", "hotfix/1", "release/*", "nightly"}
			l.world.AddRun(pushdoctor.Run{Repository: repoA, Workflow: "image.yml", Branch: branch, CreatedAt: at(1)}, failed("build"))
		}
	}
	blind := func(code int) func(*lab) {
		return func(l *lab) {
			on("hotfix/1")(l)
			l.detour = func(r *http.Request) *http.Response {
				if strings.Contains(r.URL.Path, "/contents/") || strings.Contains(r.URL.Path, "/git/") {
					return page(code, "application/json", `{"message": "Resource not accessible by personal access token"}`)
				}
				return nil
			}
		}
	}
	removed := func(l *lab) { l.world.RemoveFile(repoA, ".github/workflows/image.yml") }
	deleted := func(branch string) func(*lab) {
		return func(l *lab) { l.world.DeleteBranch(repoA, branch) }
	}
	of := func(ref, line string) string { return strings.Replace(line, "main", ref, 1) }
	both := func(l *lab) { removed(l); deleted("hotfix/1")(l) }
	for _, test := range []struct {
		name            string
		begin, then     func(*lab)
		want            string
		why             string
		workflows, refs int // the lists and refs that were asked for in thirteen hours, by three looks
	}{
		{"nothing is gone", on("main"), func(*lab) {}, open, "", 3, 3},
		{"nothing is broken", func(l *lab) { l.run(repoA, at(1), pushed("build", apiImage)) }, removed, "", "", 0, 0},
		{"the workflow", on("main"), removed, gone, "the workflow is gone", 2, 2},
		{"a branch", on("hotfix/1"), deleted("hotfix/1"), of("hotfix/1", gone), "the branch is gone", 2, 4},
		{"a branch of a pattern", on("release/1"), deleted("release/1"), of("release/*", open), "", 3, 0},
		{"a tag", func(l *lab) { on("nightly")(l); l.world.AddTag(repoA, "nightly") }, func(*lab) {}, of("nightly", open), "", 3, 6},
		{"the default branch", on("main"), deleted("main"), open, "", 3, 7}, // as a token sees it that may not read contents any more
		{"contents that are refused", blind(http.StatusForbidden), both, of("hotfix/1", open), "", 3, 0},
		{"contents that are hidden", blind(http.StatusNotFound), both, of("hotfix/1", open), "", 0, 0}, // the workflow is other
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
				test.begin(l)
				passes(5)
				s := l.serve()
				passes(30)
				test.then(l)
				passes(13 * 60)
				groups, err := s.db.Groups(store.GroupQuery{Now: time.Now()})
				if err != nil {
					t.Fatal(err)
				}
				line, why := "", ""
				for _, g := range groups {
					line, why = fmt.Sprintf("%s %s %s %d %s", g.State, g.Ref, strings.TrimPrefix(g.Image, "ghcr.io/"), g.Failures, g.Opened.Format("15:04:05")), g.Reason
				}
				if line != test.want || why != test.why {
					t.Errorf("%q, %q, want %q, %q", line, why, test.want, test.why)
				}
				if got := s.metric(`pushdoctor_time_to_recovery_seconds_count{cause="permission_denied",registry="ghcr"}`); got != "0" && got != "" {
					t.Errorf("%s recoveries", got)
				}
				s.stop()
				asked := l.fake.Stats().Requests
				if asked["workflows"] != test.workflows || asked["ref"] != test.refs {
					t.Errorf("%d lists of workflows and %d refs were asked for, want %d and %d", asked["workflows"], asked["ref"], test.workflows, test.refs)
				}
			})
		})
	}
}

// A pattern that admits too much or too little, the second of two that admit a branch, or what comes from elsewhere turns
// this red.
func TestShownRef(t *testing.T) {
	refs := []string{"main", "release/*", "v*", "*"}
	for _, test := range []struct {
		refs                []string
		branch, event, head string
		want                string
	}{
		{refs, "main", "push", repoA, "main"},
		{refs, "main", "push", "Octo-Lab/API", "main"},
		{refs, "main", "schedule", "", "main"},
		{refs, "release/1.2", "push", repoA, "release/*"},
		{refs, "v1.2.3", "push", repoA, "v*"},
		{refs, "topic", "workflow_dispatch", repoA, "*"},
		{refs, "topic/x", "push", repoA, ""},
		{refs[:1], "mainline", "push", repoA, ""},
		{refs, "main", "pull_request", repoA, ""},
		{refs, "main", "pull_request_target", repoA, ""},
		{refs, "main", "push", "marlow-forks/api", ""},
		{nil, "main", "push", repoA, ""},
	} {
		if got := shownRef(test.refs, test.branch, test.event, repoA, test.head); got != test.want {
			t.Errorf("shownRef(%q, %s, %s, %s) = %q, want %q", test.refs, test.branch, test.event, test.head, got, test.want)
		}
	}
}
