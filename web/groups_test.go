package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// watched records a job on main that ended so long before noon, failed so, and pushed those images well.
func (s *site) watched(t *testing.T, before time.Duration, good string, findings ...pushdoctor.Finding) {
	t.Helper()
	s.jobs++
	r := store.Reading{
		Job: pushdoctor.Job{
			Repository: "octo-lab/api", RepositoryID: 1, Workflow: "image.yml", RunID: 5000 + s.jobs, RunAttempt: 1, JobID: s.jobs,
			Name: "build", Branch: "main", Event: "push", Conclusion: "failure", Runner: "runner 1",
			URL:       fmt.Sprintf("https://github.example.test/octo-lab/api/actions/runs/%d/job/%d", 5000+s.jobs, s.jobs),
			StartedAt: noon.Add(-before - time.Minute), CompletedAt: noon.Add(-before),
		},
		Result: store.ResultFindings, Findings: findings, Ref: "main", Good: map[string]pushdoctor.Registry{},
	}
	for image := range strings.FieldsSeq(good) {
		r.Good[image] = pushdoctor.RegistryGHCR
	}
	if _, err := s.db.Record(r); err != nil {
		t.Fatal(err)
	}
}

func of(f pushdoctor.Finding, image string) pushdoctor.Finding {
	f.Image = "ghcr.io/octo-lab/" + image + ":dev"
	return f
}

// A first page that does not say what is broken, since when, and where to read on turns this red, and so does one that says so
// of what was fixed, or that says it again on its later pages.
func TestBrokenNow(t *testing.T) {
	s := newSite(t)
	lacks(t, "the page of an empty store", s.page(t, "/"), "Broken now")
	timeout := of(denied(), "web")
	timeout.Cause = pushdoctor.CauseTimeout
	s.watched(t, 5*time.Hour, "", of(denied(), "api"))
	s.watched(t, 4*time.Hour, "", of(denied(), "fixed"))
	s.watched(t, 3*time.Hour, "ghcr.io/octo-lab/fixed:2", timeout)
	s.watched(t, 2*time.Hour, "", of(denied(), "api"))
	s.watched(t, time.Hour, "", with(timeout, func(f *pushdoctor.Finding) { f.Recovered = true }))
	page := s.page(t, "/")
	table, _, _ := strings.Cut(page, "Failed pushes</h1>")
	contains(t, "the table", table, "<h1>Broken now</h1>",
		`<span class="image">ghcr.io/octo-lab/api</span>`, "<span>octo-lab/api</span><span>image.yml</span><span>build</span><span>main</span><span>ghcr</span>",
		`<a href="findings/4-1">The job&#39;s GITHUB_TOKEN may not write packages</a> <span class="lasts">lasts until something is changed</span>`, "5 hours ago", `<td class="number">2</td>`,
		`<span class="image">ghcr.io/octo-lab/web</span>`, `<a href="findings/3-1">There was no answer in time</a> <span class="lasts">may pass by itself</span>`, "3 hours ago", `<td class="number">1</td>`)
	lacks(t, "the table", table, "octo-lab/fixed")
	if strings.Index(table, "octo-lab/api</span>") > strings.Index(table, "octo-lab/web</span>") {
		t.Error("what is broken for longest does not come first")
	}
	table, _, _ = strings.Cut(s.page(t, "/?cause=timeout&lang=zh"), "</table>")
	contains(t, "the table of a cause", table, "octo-lab/web</span>", `href="findings/3-1?lang=zh"`)
	lacks(t, "the table of a cause", table, ">ghcr.io/octo-lab/api<")
	lacks(t, "the table of another repository", s.page(t, "/?repository=octo-lab/web"), "Broken now")
	lacks(t, "a later page", s.page(t, "/?after=5-1"), "Broken now")
	s.options.Now = func() time.Time { return noon.Add(30 * 24 * time.Hour) }
	lacks(t, "the page when all is stale", s.page(t, "/"), "Broken now")
}

// More groups than a page bears, without a word of the others, turn this red.
func TestBrokenIsBounded(t *testing.T) {
	s := newSite(t)
	var all []pushdoctor.Finding
	for i := range 103 {
		all = append(all, of(denied(), fmt.Sprintf("image-%d", i)))
	}
	s.watched(t, time.Hour, "", all...)
	page := s.page(t, "/")
	if n := strings.Count(page, `<td class="number">`); n != 100 {
		t.Errorf("%d groups, want 100", n)
	}
	contains(t, "the page", page, `And 3 more: <a href="api/v1/groups">`)
}

// A finding's page that says it is broken still though it was fixed, by which run or after how long wrongly, or that tells of the
// image's next failure, turns this red.
func TestFindingsGroup(t *testing.T) {
	s := newSite(t)
	s.watched(t, 6*time.Hour, "", of(denied(), "api"))
	s.watched(t, 5*time.Hour, "", of(denied(), "api"))
	s.watched(t, 3*time.Hour, "ghcr.io/octo-lab/api:2")
	s.watched(t, 2*time.Hour, "", of(denied(), "api"))
	s.watched(t, time.Hour, "", of(denied(), "api"))
	s.watched(t, time.Hour, "", with(of(denied(), "web"), func(f *pushdoctor.Finding) { f.Recovered = true }))
	for _, id := range []string{"1-1", "2-1"} {
		page := s.page(t, "/findings/"+id)
		contains(t, id, page, `<p class="cured">Fixed <time datetime="2026-03-01T09:00:00Z"`, `3 hours after the first failure, by <a href="https://github.example.test/octo-lab/api/actions/runs/5003/job/3" rel="noopener noreferrer">run 5003</a>`)
		lacks(t, id, page, "Still broken")
	}
	contains(t, "4-1", s.page(t, "/findings/4-1"), `<p class="still">Still broken: 2 failures, the first <time datetime="2026-03-01T10:00:00Z"`, `<a href="5-1">the newest</a>`, "by rule bare-403; lasts until something is changed")
	lacks(t, "5-1", s.page(t, "/findings/5-1"), "the newest</a>")
	lacks(t, "6-1", s.page(t, "/findings/6-1"), "Still broken", "Fixed")
	if _, err := s.db.CloseGroups(1, noon, "the branch is <gone>", nil); err != nil {
		t.Fatal(err)
	}
	contains(t, "5-1 once its branch is gone", s.page(t, "/findings/5-1"), "Not known to be fixed: the branch is &lt;gone&gt; (")
}

// A group whose JSON misses a field, has another name for one, or whose filter lets others through turns this red.
func TestAPIGroups(t *testing.T) {
	s := newSite(t)
	s.watched(t, 50*time.Hour, "", of(denied(), "api"))
	s.watched(t, 48*time.Hour, "ghcr.io/octo-lab/api:2")
	s.watched(t, time.Hour, "", with(of(denied(), "web"), func(f *pushdoctor.Finding) { f.Cause, f.Status = pushdoctor.CauseTimeout, 0 }))
	open := `{"repository":"octo-lab/api","workflow":"image.yml","ref":"main","registry":"ghcr","job":"build","image":"ghcr.io/octo-lab/web","state":"open","cause":"timeout","status":0,` +
		`"failures":1,"opened_at":"2026-03-01T11:00:00Z","newest_at":"2026-03-01T11:00:00Z","finding":"3-1","lasting":false}` + "\n"
	fixed := `{"repository":"octo-lab/api","workflow":"image.yml","ref":"main","registry":"ghcr","job":"build","image":"ghcr.io/octo-lab/api","state":"fixed","cause":"workflow_permission_missing","status":403,` +
		`"failures":1,"opened_at":"2026-02-27T10:00:00Z","newest_at":"2026-02-27T10:00:00Z","finding":"1-1","closed_at":"2026-02-27T12:00:00Z","fixed_run_id":5002,` +
		`"fixed_url":"https://github.example.test/octo-lab/api/actions/runs/5002/job/2","lasting":true}` + "\n"
	for query, want := range map[string]string{
		"":                          open,
		"?state=open":               open,
		"?state=fixed":              fixed,
		"?state=stale":              "",
		"?since=7d":                 fixed + open,
		"?since=1d":                 open,
		"?since=1d&state=fixed":     "",
		"?repository=OCTO-LAB/api":  open,
		"?repository=octo-lab/none": "",
	} {
		code, header, body := s.get(t, "/api/v1/groups"+query)
		if code != http.StatusOK || header.Get("Content-Type") != "application/x-ndjson; charset=utf-8" {
			t.Errorf("%s answered %d as %s", query, code, header.Get("Content-Type"))
		}
		if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	for query, want := range map[string]string{
		"?state=broken": `{"error":"state: \"broken\" is none of fixed, open and stale"}`,
		"?sinse=1d":     `{"error":"sinse: there is no such parameter; there are repository, since, state"}`,
		"?since=soon":   `since: \"soon\" is neither a time`,
	} {
		if code, _, body := s.get(t, "/api/v1/groups"+query); code != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s answered %d: %s", query, code, body)
		}
	}
}

// A name of a stranger's that a page shows as it stands turns this red.
func TestHostileGroup(t *testing.T) {
	s := newSite(t)
	const evil = "<script>alert(1)</script>\u202e"
	_, err := s.db.Record(store.Reading{
		Job: pushdoctor.Job{
			Repository: "octo-lab/api", RepositoryID: 1, Workflow: evil, RunID: 1, JobID: 1, Name: evil, URL: "javascript:alert(1)",
			CompletedAt: noon.Add(-time.Hour), StartedAt: noon.Add(-2 * time.Hour),
		},
		Result: store.ResultFindings, Findings: []pushdoctor.Finding{denied()}, Ref: evil,
	})
	if err != nil {
		t.Fatal(err)
	}
	fixed := store.Reading{
		Job: pushdoctor.Job{
			Repository: "octo-lab/api", RepositoryID: 1, Workflow: evil, RunID: 2, JobID: 2, Name: evil, URL: "javascript:alert(1)", CompletedAt: noon.Add(-time.Minute),
		},
		Result: store.ResultVerify, Ref: evil, Good: map[string]pushdoctor.Registry{"ghcr.io/octo-lab/api:dev": pushdoctor.RegistryGHCR},
	}
	page := s.page(t, "/")
	contains(t, "the page", page, "Broken now")
	lacks(t, "the page", page, "<script", "\u202e", "javascript:")
	if _, err := s.db.Record(fixed); err != nil {
		t.Fatal(err)
	}
	page = s.page(t, "/findings/1-1")
	contains(t, "the finding's page", page, "by run 2.")
	lacks(t, "the finding's page", page, "<script", "\u202e", "javascript:")
}

// Red where what a script tells people of leads to no page.
func TestExternalURL(t *testing.T) {
	s := newSite(t)
	s.watched(t, time.Hour, "", of(denied(), "api"))
	const id = "1-1"
	for external, want := range map[string]string{
		"":                                  "",
		"https://push.example.test":         `"page":"https://push.example.test/findings/` + id + `"`,
		"https://example.test/push-doctor/": `"page":"https://example.test/push-doctor/findings/` + id + `"`,
	} {
		s.options.ExternalURL = external
		for _, path := range []string{"/api/v1/findings", "/api/v1/groups"} {
			_, _, body := s.get(t, path)
			if !strings.Contains(body, id) || !strings.Contains(body, want) || want == "" && strings.Contains(body, `"page"`) {
				t.Errorf("%s with the external address %q: %s", path, external, body)
			}
		}
	}
}
