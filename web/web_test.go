package web_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
	"github.com/akkospace/pushdoctor/web"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A site is a handler over a store of its own, on a server of its own.
type site struct {
	db      *store.DB
	options *web.Options
	url     string
	jobs    int64
}

func newSite(t *testing.T) *site {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &site{db: db, options: &web.Options{
		Store:   db,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "# metrics") }),
		Status:  func() web.Status { return web.Status{Collected: noon.Add(-time.Minute)} },
		Version: "1.2.3",
		Now:     func() time.Time { return noon },
		Log:     slog.New(slog.DiscardHandler),
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.Handler(*s.options).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// add records a finding in a job that ended so long before noon, and returns its id.
func (s *site) add(t *testing.T, repository int64, before time.Duration, f pushdoctor.Finding) string {
	t.Helper()
	s.jobs++
	name := fmt.Sprintf("octo-lab/r%d", repository)
	_, err := s.db.Record(store.Reading{
		Job: pushdoctor.Job{
			Repository: name, RepositoryID: repository, Workflow: "image.yml", RunID: 5000 + s.jobs, RunAttempt: 2,
			JobID: s.jobs, Name: "build", Branch: "dev", Event: "push", Conclusion: "failure", Runner: "runner 1",
			URL:       fmt.Sprintf("https://github.example.test/%s/actions/runs/%d/job/%d", name, 5000+s.jobs, s.jobs),
			StartedAt: noon.Add(-before - time.Minute), CompletedAt: noon.Add(-before),
		},
		Result: store.ResultFindings,
		Facts: pushdoctor.Facts{
			Token: map[string]string{"contents": "read", "packages": "none"}, SecretSource: "Actions", Repository: name,
			Logins: []pushdoctor.Login{{Host: "ghcr.io", User: "octo", OK: true, Line: 210}}, Runner: "github-hosted", Whole: true,
		},
		Findings: []pushdoctor.Finding{f},
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d-1", s.jobs)
}

func denied() pushdoctor.Finding {
	return pushdoctor.Finding{
		Registry: pushdoctor.RegistryGHCR, Host: "ghcr.io", Image: "ghcr.io/octo-lab/api:dev", Client: pushdoctor.ClientBuildx,
		Operation: pushdoctor.OperationUpload, Status: 403, StatusSource: pushdoctor.StatusExplicit,
		Cause: pushdoctor.CauseWorkflowPermissionMissing, Confidence: 0.8, Step: "Run docker/build-push-action@v6", Line: 812,
		Time: noon.Add(-time.Hour), Message: "unexpected status from POST request: 403 Forbidden", Rule: "bare-403",
		Evidence: []pushdoctor.Evidence{
			{Kind: pushdoctor.EvidenceAnswer, Line: 812, Text: "ERROR: unexpected status from POST request: 403 Forbidden"},
			{Kind: pushdoctor.EvidenceToken, Line: 14, Text: "Contents: read"},
		},
	}
}

func with(f pushdoctor.Finding, change func(*pushdoctor.Finding)) pushdoctor.Finding {
	change(&f)
	return f
}

func (s *site) get(t *testing.T, path string) (int, http.Header, string) {
	t.Helper()
	r, err := http.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, r.Body)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(body)
}

func shut(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// page gets a page that must be there.
func (s *site) page(t *testing.T, path string) string {
	t.Helper()
	code, header, body := s.get(t, path)
	if code != http.StatusOK || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s answered %d as %s: %s", path, code, header.Get("Content-Type"), body)
	}
	return body
}

func contains(t *testing.T, where, page string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(page, w) {
			t.Errorf("%s has no %q in its %d bytes", where, w, len(page))
		}
	}
}

func lacks(t *testing.T, where, page string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(page, w) {
			t.Errorf("%s has %q", where, w)
		}
	}
}

// ids are the ids of the findings that a page links to, in order, each once.
func ids(page string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`<h2>.*?href="findings/([^"]+)"`).FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}

// A first page without what failed, where, when, the registry's words or the cure turns this red.
func TestFirstPage(t *testing.T) {
	s := newSite(t)
	id := s.add(t, 1, 3*time.Hour, denied())
	s.add(t, 1, time.Hour, with(denied(), func(f *pushdoctor.Finding) {
		f.Status, f.Cause, f.Recovered = 0, pushdoctor.CauseConnectionLost, true
	}))
	page := s.page(t, "/")
	contains(t, "the first page", page,
		">403</span>", ">no answer</span>", ">The job&#39;s GITHUB_TOKEN may not write packages</a>", "3 hours ago", "2026-03-01T09:00:00Z",
		"<span>octo-lab/r1</span><span>image.yml</span><span>build</span><span>Run docker/build-push-action@v6</span>",
		"ghcr.io/octo-lab/api:dev", "unexpected status from POST request: 403 Forbidden", "What to do", "Give the job the right to write packages",
		"80 %", "packages: write", "A retry in the same job pushed the image.", `href="https://github.example.test/octo-lab/r1/actions/runs/5001/job/1"`,
		"Collected <time", "pushdoctor 1.2.3")
	if d := cmp.Diff([]string{"2-1", id}, ids(page)); d != "" {
		t.Errorf("the findings of the first page (-want +got):\n%s", d)
	}
	if n := strings.Count(page, "<details open>"); n != 1 {
		t.Errorf("%d hints are unfolded, want the first finding's first", n)
	}
}

// A filter that lets others through, or a page that repeats or misses a finding, turns this red.
func TestFilterAndPaging(t *testing.T) {
	s := newSite(t)
	var want []string
	for i := range 45 {
		f := denied()
		if i%9 == 0 {
			f.Cause = pushdoctor.CauseTimeout
		}
		want = append(want, s.add(t, int64(1+i%2), time.Duration(i)*time.Minute, f))
	}
	walk := func(path string) (got []string, pages int) {
		for pages = 1; ; pages++ {
			page := s.page(t, path)
			got = append(got, ids(page)...)
			m := regexp.MustCompile(`href="(\?[^"]+)" rel="next"`).FindStringSubmatch(page)
			if m == nil {
				return got, pages
			}
			path = "/" + strings.ReplaceAll(m[1], "&amp;", "&")
			if !strings.Contains(page, `>Show all<`) && strings.Contains(path, "repository") {
				t.Error("a filtered page has no way back to all")
			}
		}
	}
	got, n := walk("/")
	if d := cmp.Diff(want, got); d != "" || n != 3 {
		t.Errorf("%d pages, want 3; findings (-want +got):\n%s", n, d)
	}
	got, n = walk("/?repository=octo-lab/r1&cause=")
	if len(got) != 23 || n != 2 {
		t.Errorf("%d findings of one repository on %d pages, want 23 on 2", len(got), n)
	}
	page := s.page(t, "/?repository=octo-lab/r1&cause=timeout")
	if d := cmp.Diff([]string{want[0], want[18], want[36]}, ids(page)); d != "" {
		t.Errorf("findings of one repository and cause (-want +got):\n%s", d)
	}
	contains(t, "the filtered page", page, `<option value="octo-lab/r1" selected>`, `<option value="timeout" selected>There was no answer in time</option>`)
	contains(t, "the page of nothing", s.page(t, "/?repository=octo-lab/nobody"), "No failed push that fits.",
		`<option value="octo-lab/nobody" selected>`)
	contains(t, "another case", s.page(t, "/?repository=Octo-Lab/R1"), `<option value="octo-lab/r1" selected>`)
	for path, want := range map[string]int{"/?cause=bad_luck": 400, "/?after=99-1": 404, "/?after=x": 404} {
		if code, _, body := s.get(t, path); code != want || !strings.Contains(body, "<h1>No such") {
			t.Errorf("%s answered %d, want %d:\n%s", path, code, want, body)
		}
	}
}

// A finding's page without its evidence, the facts of its job or all its hints turns this red.
func TestFindingPage(t *testing.T) {
	s := newSite(t)
	id := s.add(t, 1, 26*time.Hour, denied())
	page := s.page(t, "/findings/"+id)
	contains(t, "the page", page, `<link rel="stylesheet" href="../style.css">`, "1 day ago",
		`<td class="kind">answer</td><td class="line">line 812</td><td><pre>ERROR: unexpected status from POST request: 403 Forbidden</pre>`,
		`<td class="kind">token</td><td class="line">line 14</td><td><pre>Contents: read</pre>`,
		"upload by buildx to ghcr (ghcr.io)", "403 Forbidden</dd>", "workflow_permission_missing, 80 % sure, by rule bare-403",
		"5001, attempt 2, job 1; push on dev", "packages: none", "ghcr.io as octo: accepted (line 210)", "github-hosted", "Give the job the right to write packages")
	for _, path := range []string{"/findings/77-1", "/findings/x", "/findings/..%2f..%2fetc", "/nowhere/at/all"} {
		if code, _, body := s.get(t, path); code != http.StatusNotFound || !strings.Contains(body, `<h1>No such`) {
			t.Errorf("%s answered %d, want a page of 404:\n%s", path, code, body)
		}
	}
	_, _, body := s.get(t, "/nowhere/at/all")
	contains(t, "a page that is not there", body, `href="./../../style.css"`)
}

// Text of a log that becomes markup, a link that runs something, a control character that turns the line around or a
// secret that an older version has stored turns this red.
func TestHostileText(t *testing.T) {
	s := newSite(t)
	evil := "</pre><script>alert(1)</script><img src=x onerror=alert(2)>{{.Root}}\x1b[31mred\x07\u202egpj.exe\u009b2J\xff"
	s.jobs++
	_, err := s.db.Record(store.Reading{
		Job: pushdoctor.Job{
			Repository: "octo-lab/" + evil, RepositoryID: 1, Workflow: evil, RunID: 1, RunAttempt: 1, JobID: s.jobs, Name: evil, Branch: evil, Event: evil,
			URL: "javascript:alert(3)", StartedAt: noon, CompletedAt: noon, Conclusion: "failure",
		},
		Result: store.ResultFindings,
		Facts:  pushdoctor.Facts{Token: map[string]string{evil: evil, "packages": evil}, SecretSource: evil, Logins: []pushdoctor.Login{{Host: evil, User: evil}}, Pushed: []string{evil}, Runner: evil},
		Findings: []pushdoctor.Finding{with(denied(), func(f *pushdoctor.Finding) {
			f.Image, f.Host, f.Step, f.Message, f.Rule = evil, evil, evil, evil+" ghp_012345678901234567890123456789abcdef", evil
			f.Evidence = []pushdoctor.Evidence{{Kind: pushdoctor.EvidenceKind(evil), Line: 1, Text: evil + " ghp_012345678901234567890123456789abcdef"}}
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.PutRepository(store.Repository{ID: 1, Name: "octo-lab/" + evil, State: "refused", Reason: evil}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/findings/1-1", "/?repository=" + url.QueryEscape(evil), "/?cause=" + url.QueryEscape(evil), "/?after=" + url.QueryEscape(evil)} {
		_, header, page := s.get(t, path)
		lacks(t, path, page, "<script", "<img", "javascript:", "\x1b", "\x07", "\u202e", "\u009b", "\xff", "ghp_0123", "ZgotmplZ")
		if csp := header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") {
			t.Errorf("%s has the policy %q", path, csp)
		}
	}
	contains(t, "the page", s.page(t, "/findings/1-1"), "&lt;script&gt;alert(1)&lt;/script&gt;", "␛[31mred␇\uFFFDgpj.exe\uFFFD2J", "&lt;redacted&gt;")

	_, _, lines := s.get(t, "/api/v1/findings")
	lacks(t, "the API", lines, "<script", "\x1b", "ghp_0123")
	if n := strings.Count(lines, "\n"); n != 1 {
		t.Errorf("one finding has %d lines", n)
	}
}

// A page that asks anything of another host, or runs anything, turns this red: it must be readable in a closed network.
func TestNoAssetsFromElsewhere(t *testing.T) {
	s := newSite(t)
	s.add(t, 1, time.Hour, denied())
	for _, path := range []string{"/", "/findings/1-1", "/style.css"} {
		code, _, page := s.get(t, path)
		if code != http.StatusOK {
			t.Errorf("%s answered %d", path, code)
		}
		lacks(t, path, page, "<script", " style=", "@import", "url(", " src=", " onclick")
	}
}

// A service that cannot collect and whose page looks as if all were well turns this red.
func TestBanners(t *testing.T) {
	for _, test := range []struct {
		name   string
		status web.Status
		want   []string
		not    []string
	}{
		{"well", web.Status{Collected: noon}, []string{"No push has failed.", "just now"}, []string{"banner", "Nothing was"}},
		{"new", web.Status{}, []string{`class="banner note"`, "Nothing was collected yet.", "No failed push is known yet."}, []string{"No push has failed"}},
		{"refused", web.Status{TokenRefused: true, Collected: noon}, []string{`class="banner bad"`, "GitHub refuses the token."}, []string{"Nothing was collected yet"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			s.options.Status = func() web.Status { return test.status }
			page := s.page(t, "/")
			contains(t, "the page", page, test.want...)
			lacks(t, "the page", page, test.not...)
		})
	}

	s := newSite(t)
	for _, r := range []store.Repository{
		{ID: 1, Name: "octo-lab/api", State: "ok"},
		{ID: 2, Name: "octo-lab/web", State: "actions_off", Reason: "Actions is off"},
	} {
		if err := s.db.PutRepository(r); err != nil {
			t.Fatal(err)
		}
	}
	page := s.page(t, "/")
	contains(t, "the page", page, "Not all repositories can be read.", "<li>octo-lab/web: Actions is off</li>")
	lacks(t, "the page", page, "<li>octo-lab/api")

	// What has never been in the store is told too, and nothing twice.
	s.options.Status = func() web.Status {
		return web.Status{Collected: noon, Faults: map[string]string{
			"octo-lab/*": "the list <b>cannot</b> be had", "Octo-Lab/Web": "the token may not read this", "octo-lab/tpyo": "no such repository",
		}}
	}
	page = s.page(t, "/")
	contains(t, "the page", page, `<ul><li>Octo-Lab/Web: the token may not read this</li>`+
		`<li>octo-lab/*: the list &lt;b&gt;cannot&lt;/b&gt; be had</li><li>octo-lab/tpyo: no such repository</li></ul>`)
	lacks(t, "the page", page, "Actions is off")
}

// A field of the API's lines that was renamed or lost turns this red: programs read them.
func TestAPIFinding(t *testing.T) {
	s := newSite(t)
	s.add(t, 1, time.Hour, denied())
	code, header, body := s.get(t, "/api/v1/findings")
	if code != http.StatusOK || header.Get("Content-Type") != "application/x-ndjson; charset=utf-8" {
		t.Fatalf("the API answered %d as %s", code, header.Get("Content-Type"))
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	hints, ok := got["hints"].([]any)
	if !ok || len(hints) == 0 {
		t.Fatalf("the finding has no hints: %s", body)
	}
	if first, ok := hints[0].(map[string]any); !ok || first["id"] != "ghcr-job-permissions" {
		t.Errorf("the first hint is %v, want ghcr-job-permissions", hints[0])
	}
	delete(got, "hints") // remedy's tests hold their texts
	want := map[string]any{
		"id": "1-1", "repository": "octo-lab/r1", "workflow": "image.yml", "run_id": 5001.0, "run_attempt": 2.0, "job_id": 1.0, "job": "build",
		"branch": "dev", "event": "push", "url": "https://github.example.test/octo-lab/r1/actions/runs/5001/job/1", "completed_at": "2026-03-01T11:00:00Z",
		"registry": "ghcr", "host": "ghcr.io", "image": "ghcr.io/octo-lab/api:dev", "client": "buildx", "operation": "upload", "status": 403.0,
		"status_source": "explicit", "cause": "workflow_permission_missing", "confidence": 0.8, "recovered": false,
		"step": "Run docker/build-push-action@v6", "line": 812.0, "time": "2026-03-01T11:00:00Z", "rule": "bare-403",
		"message": "unexpected status from POST request: 403 Forbidden",
		"evidence": []any{
			map[string]any{"kind": "answer", "line": 812.0, "text": "ERROR: unexpected status from POST request: 403 Forbidden"},
			map[string]any{"kind": "token", "line": 14.0, "text": "Contents: read"},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the line (-want +got):\n%s", d)
	}
}

// A window, filter or limit that lets others through, a page that repeats or misses one, and an order other than the
// oldest first turn this red.
func TestAPIQuery(t *testing.T) {
	s := newSite(t)
	var all []string
	for i := range 250 { // more than are read from the store at a time
		f := denied()
		if i%9 == 0 {
			f.Cause = pushdoctor.CauseTimeout
		}
		all = append(all, s.add(t, int64(1+i%2), time.Duration(250-i)*time.Hour, f))
	}
	var even, timeouts []string
	for i, id := range all {
		if i%2 == 0 {
			even = append(even, id)
		}
		if i%9 == 0 {
			timeouts = append(timeouts, id)
		}
	}
	for _, test := range []struct {
		query string
		want  []string
	}{
		{"", all},
		{"?limit=3", all[:3]},
		{"?limit=240", all[:240]},
		{"?limit=201&after=" + all[9], all[10:211]},
		{"?after=" + all[249], nil},
		{"?since=2d", all[202:]},
		{"?since=48h&until=1d", all[202:226]},
		{"?since=2026-03-01T10:00:00Z", all[248:]},
		{"?since=2026-03-01", all[238:]},
		{"?since=2026-02-28&until=2026-03-01", all[214:238]},
		{"?repository=octo-lab/r1", even},
		{"?cause=timeout", timeouts},
		{"?repository=octo-lab/nobody", nil},
	} {
		code, _, body := s.get(t, "/api/v1/findings"+test.query)
		var got []string
		in := bufio.NewScanner(strings.NewReader(body))
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			var line struct{ ID string }
			if err := json.Unmarshal(in.Bytes(), &line); err != nil {
				t.Fatalf("%s: %v", test.query, err)
			}
			got = append(got, line.ID)
		}
		if code != http.StatusOK || !slices.Equal(got, test.want) {
			t.Errorf("%s answered %d with %v, want %v", test.query, code, got, test.want)
		}
	}
}

// Hints in another language than the one asked for turn this red, and a link that loses the language on the way.
func TestLanguage(t *testing.T) {
	const english, chinese = "Give the job the right to write packages", "给作业写入包的权限"
	s := newSite(t)
	for i := range 45 { // three pages
		s.add(t, 1, time.Duration(i)*time.Minute, denied())
	}
	for _, path := range []string{"/", "/?lang=en", "/?lang=", "/findings/1-1", "/findings/1-1?lang=en-GB"} {
		page := s.page(t, path)
		contains(t, path, page, `<html lang="en">`, english, ">中文</a>")
		lacks(t, path, strings.ReplaceAll(page, `?lang=zh" lang="zh"`, ""), chinese, "lang=zh", ">English</a>", `name="lang"`)
	}
	first := s.page(t, "/?lang=zh-CN&repository=octo-lab/r1")
	contains(t, "the first page", first, `<html lang="zh">`, chinese, `<input type="hidden" name="lang" value="zh">`, `href="./?lang=zh">Show all<`,
		`href="?repository=octo-lab%2Fr1" lang="en"`)
	for _, path := range []string{"/?lang=zh-CN&repository=octo-lab/r1", "/?lang=zh&after=30-1", "/findings/1-1?lang=zh_CN.UTF-8", "/findings/77-1?lang=zh", "/?cause=bad_luck&lang=zh"} {
		_, _, page := s.get(t, path)
		contains(t, path, page, `<html lang="zh">`, ">English</a>")
		lacks(t, path, page, english)
		for _, link := range regexp.MustCompile(`<a [^>]*href="([^"]+)"([^>]*)>`).FindAllStringSubmatch(page, -1) {
			to, toEnglish := link[1], strings.Contains(link[2], `lang="en"`)
			if !strings.HasPrefix(to, "https://") && !strings.HasSuffix(to, "/metrics") && !toEnglish && !strings.Contains(to, "lang=zh") {
				t.Errorf("%s: the link %s loses the language", path, to)
			}
		}
	}
	for _, path := range []string{"/?lang=de", "/findings/1-1?lang=%3Cscript%3E"} {
		code, _, page := s.get(t, path)
		if code != http.StatusBadRequest {
			t.Errorf("%s answered %d, want 400", path, code)
		}
		contains(t, path, page, "<h1>No such language</h1>", "it is one of en, zh.", `<html lang="en">`)
		lacks(t, path, page, "<script")
	}
	for query, want := range map[string]string{"": english, "&lang=en": english, "&lang=zh": chinese, "&lang=zh_CN.UTF-8": chinese} {
		_, _, body := s.get(t, "/api/v1/findings?limit=1"+query)
		var got struct{ Hints []pushdoctor.Hint }
		if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Hints) == 0 || got.Hints[0].Title != want {
			t.Errorf("%q answered %v, %.200s, want %s", query, err, body, want)
		}
	}
}

// A slip of the pen that answers with everything turns this red.
func TestAPIFaults(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct{ query, want string }{
		{"?since=yesterday", `since: "yesterday" is neither a time such as 2026-03-01T10:00:00Z, nor a day such as 2026-03-01, nor a span such as 7d`},
		{"?cause=bad_luck", `cause: "bad_luck" is not one of the causes`},
		{"?limit=0", `limit: "0" is not a number from 1 up`},
		{"?limit=1e3&repo=x", "limit: \"1e3\" is not a number from 1 up\nrepo: there is no such parameter; there are after, cause, lang, limit, repository, since, until"},
		{"?lang=de", `lang: unknown language "de": it is one of en, zh`},
		{"?lang=", `lang: unknown language "": it is one of en, zh`},
		{"?after=99-1", `after: the store has no finding "99-1"`},
		{"?%zz", `query: invalid URL escape "%zz"`},
	} {
		code, header, body := s.get(t, "/api/v1/findings"+test.query)
		var got struct{ Error string }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s: %v", test.query, err)
		}
		if code != http.StatusBadRequest || header.Get("Content-Type") != "application/json; charset=utf-8" || got.Error != test.want {
			t.Errorf("%s answered %d: %q, want 400: %q", test.query, code, got.Error, test.want)
		}
	}
}

// A repository that the API leaves out, or whose state it does not tell, turns this red.
func TestAPIRepositories(t *testing.T) {
	s := newSite(t)
	for _, r := range []store.Repository{
		{ID: 7, Name: "octo-lab/api", LiveSince: noon, Cursor: pushdoctor.Cursor{Through: noon, Swept: noon.Add(-time.Hour)}, State: "ok"},
		{ID: 9, Name: "octo-lab/web", State: "not_found", Reason: "GitHub knows no such repository"},
	} {
		if err := s.db.PutRepository(r); err != nil {
			t.Fatal(err)
		}
	}
	_, _, got := s.get(t, "/api/v1/repositories")
	want := `{"id":7,"repository":"octo-lab/api","live_since":"2026-03-01T12:00:00Z","through":"2026-03-01T12:00:00Z","swept":"2026-03-01T11:00:00Z","state":"ok"}
{"id":9,"repository":"octo-lab/web","state":"not_found","reason":"GitHub knows no such repository"}
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the repositories (-want +got):\n%s", d)
	}
}

// A service that does not say that it is there, or that a page changes anything in, turns this red.
func TestHealthAndMethods(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]string{"/-/ready": "pushdoctor is ready.\n", "/-/healthy": "pushdoctor is healthy.\n", "/metrics": "# metrics\n"} {
		if code, _, body := s.get(t, path); code != http.StatusOK || body != want {
			t.Errorf("%s answered %d: %q, want 200: %q", path, code, body, want)
		}
	}
	for _, path := range []string{"/", "/findings/1-1", "/api/v1/findings", "/metrics"} {
		r, err := http.Post(s.url+path, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		shut(t, r.Body)
		if r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s answered %d, want 405", path, r.StatusCode)
		}
	}
}

// A store that fails and whose error, with paths of the machine in it, goes to the reader turns this red.
func TestStoreGone(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(t.TempDir(), "secret-place.db")
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s.options.Store = db
	for _, path := range []string{"/", "/findings/1-1", "/api/v1/findings", "/api/v1/groups", "/api/v1/repositories"} {
		code, _, body := s.get(t, path)
		if code != http.StatusInternalServerError || strings.Contains(body, "secret-place") || !strings.Contains(body, "could not be read") {
			t.Errorf("%s answered %d: %s", path, code, body)
		}
	}
	if code, _, _ := s.get(t, "/-/healthy"); code != http.StatusOK {
		t.Errorf("/-/healthy answered %d: the process lives", code)
	}
}
