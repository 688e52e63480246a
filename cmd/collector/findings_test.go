package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
	"github.com/akkospace/pushdoctor/web"
	"github.com/google/go-cmp/cmp"
)

// keep makes a store of the readings in the working directory, which it changes.
func keep(t *testing.T, readings ...store.Reading) {
	t.Helper()
	write(t, nil)
	db, err := store.Open("pushdoctor.db")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range readings {
		r.Job.RepositoryID = int64(len(r.Job.Repository)) // the tests' names differ in length
		r.Job.RunID, r.Job.JobID, r.Job.RunAttempt = 14_000_000_000+int64(i), 41_000_000_000+int64(i), 1
		r.Result = store.ResultFindings
		if err := db.PutRepository(store.Repository{ID: r.Job.RepositoryID, Name: r.Job.Repository}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// reading is a job that ended some hours ago, with n findings.
func reading(repository string, ago time.Duration, cause pushdoctor.Cause, n int) store.Reading {
	ended := time.Now().Add(-ago).UTC().Truncate(time.Second)
	r := store.Reading{Job: pushdoctor.Job{
		Repository: repository, Workflow: "image.yml", Name: "build", Branch: "main", Event: "push", Conclusion: "failure",
		StartedAt: ended.Add(-time.Minute), CompletedAt: ended, URL: "https://github.com/" + repository + "/actions/runs/1/job/2",
	}}
	for i := range n {
		r.Findings = append(r.Findings, pushdoctor.Finding{
			Registry: pushdoctor.RegistryGHCR, Host: "ghcr.io", Image: fmt.Sprintf("ghcr.io/%s:%d", repository, i), Client: pushdoctor.ClientBuildx,
			Operation: pushdoctor.OperationPush, Status: 403, StatusSource: pushdoctor.StatusExplicit, Cause: cause, Confidence: 0.8,
			Line: i + 1, Message: "403 Forbidden", Rule: "any",
			Evidence: []pushdoctor.Evidence{{Kind: pushdoctor.EvidenceAnswer, Line: i + 1, Text: "403 Forbidden"}},
		})
	}
	return r
}

// api serves the store of the working directory, and holds its file, until the test ends.
func api(t *testing.T) *httptest.Server {
	t.Helper()
	db, err := store.Open("pushdoctor.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := httptest.NewServer(web.Handler(web.Options{Store: db, Metrics: http.NotFoundHandler(), Version: "test"}))
	t.Cleanup(s.Close)
	return s
}

// findings runs `pushdoctor findings` with args.
func findings(t *testing.T, args ...string) end {
	t.Helper()
	return call{args: append([]string{"findings"}, args...)}.run(t)
}

// ids are the ids of JSON lines.
func ids(t *testing.T, stdout string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(stdout) {
		var f struct{ ID string }
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, f.ID)
	}
	return all
}

// Red where a page is lost or told twice, where the order is another, where a filter lets through what it should not, or where
// the answer of a service differs from that of its file.
func TestFindings(t *testing.T) {
	keep(t,
		reading("octo-lab/api", 30*time.Hour, pushdoctor.CauseRateLimited, 501),
		reading("octo-lab/web-shop", 20*time.Hour, pushdoctor.CausePackageAccessDenied, 498),
		reading("octo-lab/api", 10*time.Hour, pushdoctor.CausePackageAccessDenied, 1),
		reading("octo-lab/api", 30*24*time.Hour, pushdoctor.CauseTimeout, 2), // before the last week
	)
	number := func(job, n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("%d-%d", 41_000_000_000+job, i+1))
		}
		return all
	}
	tests := []struct {
		args string
		want []string
	}{
		{"", slices.Concat(number(0, 501), number(1, 498), number(2, 1))},
		{"--since 25h", slices.Concat(number(1, 498), number(2, 1))},
		{"--since 60d --until 7d", number(3, 2)},
		{"--since 60d --until 15h --repository Octo-Lab/API", slices.Concat(number(3, 2), number(0, 501))},
		{"--cause package_access_denied", slices.Concat(number(1, 498), number(2, 1))},
		{"--cause package_access_denied --repository octo-lab/api", number(2, 1)},
	}
	local := map[string]end{}
	for _, test := range tests {
		for _, format := range rowFormats {
			local[test.args+format] = findings(t, append(strings.Fields(test.args), "--format", format)...)
		}
		got := local[test.args+"json"]
		if diff := cmp.Diff(test.want, ids(t, got.stdout)); diff != "" || got.status != 1 || got.stderr != "" {
			t.Errorf("%s: status %d, stderr %q (-want +got):\n%s", test.args, got.status, got.stderr, diff)
		}
	}
	s := api(t)
	for _, test := range tests {
		for _, format := range rowFormats {
			got := findings(t, append(strings.Fields(test.args), "--format", format, "--server", s.URL)...)
			if diff := cmp.Diff(local[test.args+format].stdout, got.stdout); diff != "" || got.status != 1 {
				t.Errorf("%s as %s: the service answers with status %d (-file +service):\n%s", test.args, format, got.status, diff)
			}
		}
	}
}

// Red where a script cannot tell by the status whether there is something to do.
func TestFindingsStatus(t *testing.T) {
	cured := reading("octo-lab/api", time.Hour, pushdoctor.CauseTimeout, 1)
	cured.Findings[0].Recovered = true
	keep(t, cured, reading("octo-lab/web-shop", 10*24*time.Hour, pushdoctor.CauseTimeout, 1))
	for _, test := range []struct {
		args   string
		status int
		stderr string // its end
	}{
		{"", 0, ", 1 cured by a retry\n"},
		{"--since 30d", 1, ", 1 cured by a retry\n"},
		{"--since 2026-01-01 --until 2026-01-02T00:00:00Z", 0, "pushdoctor: no findings since 2026-01-01T00:00:00Z until 2026-01-02T00:00:00Z\n"},
		{"--since 2026-01-01 --repository octo-lab/none --cause timeout", 0, "pushdoctor: no findings since 2026-01-01T00:00:00Z of octo-lab/none with cause timeout\n"},
	} {
		got := findings(t, strings.Fields(test.args)...)
		if got.status != test.status || !strings.HasSuffix(got.stderr, test.stderr) {
			t.Errorf("%s: status %d, stderr %q, want %d and %q", test.args, got.status, got.stderr, test.status, test.stderr)
		}
	}
}

// Red where a slip at the command line looks like a store without findings, or makes a store.
func TestFindingsUsage(t *testing.T) {
	write(t, nil)
	const form = "is neither a time such as 2026-03-01T10:00:00Z, nor a day such as 2026-03-01, nor a span such as 7d"
	const server = "the service's address is not of the form http://HOST:PORT or https://HOST/PATH"
	for _, test := range []struct{ args, want string }{
		{"", "there is no store pushdoctor.db yet: pushdoctor serve and pushdoctor backfill make it (store.path or --store names another)"},
		{"--store other.db", "there is no store other.db yet: pushdoctor serve and pushdoctor backfill make it (store.path or --store names another)"},
		{"--since 7", `--since: "7" ` + form},
		{"--until soon", `--until: "soon" ` + form},
		{"--since 7d --until 8d", "--until 8d is not after --since 7d"},
		{"--repository api", `--repository: "api" is not of the form OWNER/NAME`},
		{"--cause rate_limit", `--cause: "rate_limit" is not one of the causes; did you mean rate_limited?`},
		{"--cause zzzz", `--cause: "zzzz" is not one of the causes, such as rate_limited`},
		{"--format text", `unknown format "text": it is one of table, json, csv`},
		{"--server localhost:9877", server},
		{"--server http://me:secret@/", server},
		{"octo-lab/api", `pushdoctor findings takes no arguments, got ["octo-lab/api"]`},
	} {
		got := findings(t, strings.Fields(test.args)...)
		if diff := cmp.Diff(end{2, "", "pushdoctor: " + test.want + "\n"}, got, cmp.AllowUnexported(end{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.args, diff)
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("there are now %v, %v", entries, err)
	}
}

// Red where findings cannot be read beside a running service, it is not said who was asked, or a store that nobody serves
// passes for an empty one.
func TestFindingsBesideService(t *testing.T) {
	keep(t, reading("octo-lab/api", time.Hour, pushdoctor.CauseTimeout, 1))
	s := api(t)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{":" + port, "0.0.0.0:" + port} {
		got := call{args: []string{"findings", "--format", "json"}, env: []string{"PUSHDOCTOR_WEB_LISTEN_ADDRESS=" + listen}}.run(t)
		if diff := cmp.Diff([]string{"41000000000-1"}, ids(t, got.stdout)); diff != "" || got.status != 1 ||
			!strings.HasPrefix(got.stderr, "pushdoctor: store pushdoctor.db: in use by ") || !strings.HasSuffix(got.stderr, "; asking the service at http://127.0.0.1:"+port+"\n") {
			t.Errorf("%s: status %d, stderr %q (-want +got):\n%s", listen, got.status, got.stderr, diff)
		}
	}

	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	for listen, want := range map[string]string{
		nobody.Addr().String(): "connection refused\n--server names another service; a backfill has to end first\n",
		"127.0.0.1:0":          "web.listen_address \"127.0.0.1:0\" does not say where the service is: name the service with --server\n",
	} {
		got := call{args: []string{"findings"}, env: []string{"PUSHDOCTOR_WEB_LISTEN_ADDRESS=" + listen}}.run(t)
		if got.status != 2 || got.stdout != "" || !strings.HasSuffix(got.stderr, want) {
			t.Errorf("%s: %+v", listen, got)
		}
	}
}

// Red where the answer of who is no pushdoctor, refuses or breaks off is taken for all findings there are, where a password is
// shown or sent on, or where it can speak to the terminal.
func TestFindingsOfAService(t *testing.T) {
	const good = `{"id":"1-1","repository":"octo-lab/api","cause":"timeout","recovered":false}` + "\n"
	answer := func(code int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked with the password %q", r.URL.Path, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	const lines = "application/x-ndjson; charset=utf-8"
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		user    string
		want    string // of stderr
	}{
		"page":        {answer(200, "text/html", "<html>"), "", `the answer is not pushdoctor's: "text/html" in place of JSON lines`},
		"not found":   {answer(404, "text/plain", "404 page not found"), "", "the answer is not pushdoctor's: status 404"},
		"refused":     {answer(400, "application/json", `{"error":"since: \u001b[2Jno\ntime"}`), "", `it refuses the query: since: \x1b[2Jno time`},
		"fault":       {answer(500, "application/json", `{"error":"the store could not be read"}`), "", "status 500: the store could not be read"},
		"login":       {answer(401, "text/plain", ""), "", "it asks for a login: --server https://USER:PASSWORD@HOST"},
		"wrong login": {answer(401, "text/plain", ""), "me:hunter2@", "it refuses the user name or the password"},
		"no JSON":     {answer(200, lines, good+"oops\n"), "", "line 2 of its answer is not a finding: invalid character 'o' looking for beginning of value"},
		"no finding":  {answer(200, lines, `{"repository":"octo-lab/api"}`+"\n"), "", "line 1 of its answer is not a finding: it has no id or no cause"},
		"half a line": {answer(200, lines, good+good[:20]), "", "its answer broke off within a line"},
		"no end":      {answer(200, lines, strings.Repeat(good, pageSize+1)), "", "its answer is not the page that was asked for"},
		"same page":   {answer(200, lines, strings.Repeat(good, pageSize)), "", "not all findings were read"},
		"elsewhere":   {http.RedirectHandler(elsewhere.URL, http.StatusFound).ServeHTTP, "me:hunter2@", "the answer is not pushdoctor's: status 302"},
		"broken off": {func(w http.ResponseWriter, r *http.Request) {
			answer(200, lines, strings.Repeat(good, 100))(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "", "its answer broke off: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(test.handler)
			defer s.Close()
			got := findings(t, "--format", "json", "--server", strings.Replace(s.URL, "://", "://"+test.user, 1))
			if got.status != 2 || !strings.Contains(got.stderr, test.want) || !strings.Contains(got.stderr, s.URL) || strings.Contains(got.stderr, "hunter2") {
				t.Errorf("status %d, stderr %q, want %q", got.status, got.stderr, test.want)
			}
			if name != "same page" && got.stdout != "" {
				t.Errorf("stdout %q", got.stdout)
			}
		})
	}

	// A byte that is no UTF-8 is a control character to some terminals, and a CR is a blank to JSON.
	s := httptest.NewServer(answer(200, lines, "{\"id\":\"1-1\",\r\"cause\":\"timeout\",\"image\":\"a\x9b2J\"}\n"+
		"{\"id\":\"1-2\",\"cause\":\"timeout\",\"image\":\"\u009b2J\",\"message\":\"##[error]\",\"later\":1}\n"))
	defer s.Close()
	want := end{1, `{"id":"1-1","cause":"timeout","image":"a` + "\ufffd" + `2J"}` + "\n" +
		`{"id":"1-2","cause":"timeout","image":"\u009b2J","message":"\u0023#[error]","later":1}` + "\n", ""}
	if got := findings(t, "--format", "json", "--server", s.URL); got != want {
		t.Errorf("hostile lines: %+q, want %+q", got.stdout, want.stdout)
	}
}

// Red where what stands in a log is a formula in a spreadsheet, breaks a row, or reaches the terminal or the runner.
func TestFindingsHostile(t *testing.T) {
	r := reading("octo-lab/api", time.Hour, pushdoctor.CauseTimeout, 9)
	texts := []string{
		"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "a\nb,\"c\"\x1b[2J ##[error]x \u202e",
	}
	for i, text := range texts {
		r.Findings[i].Message, r.Findings[i].Image, r.Findings[i].Step = text, text, text
	}
	r.Job.Name, r.Job.Branch = "::error::x", "=1+1"
	keep(t, r)
	got := findings(t, "--format", "csv")
	rows, err := csv.NewReader(strings.NewReader(got.stdout)).ReadAll()
	if err != nil || len(rows) != len(texts)+1 {
		t.Fatalf("%d rows, %v\n%s", len(rows), err, got.stdout)
	}
	message, image, branch := slices.Index(rows[0], "message"), slices.Index(rows[0], "image"), slices.Index(rows[0], "branch")
	want := []string{"'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)", "' =1", `'\x0d=1`, "'  =1", "'＝1", `a\x0ab,"c"\x1b[2J # #[error]x \u202e`}
	for i, row := range rows[1:] {
		if diff := cmp.Diff([]string{want[i], want[i], "'=1+1"}, []string{row[message], row[image], row[branch]}); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i+1, diff)
		}
	}
	for _, format := range rowFormats {
		got := findings(t, "--format", format)
		for line := range strings.SplitSeq(got.stdout, "\n") {
			line = strings.TrimSuffix(line, "\r") // that ends a line of CSV
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.ContainsFunc(line, hidden) {
				t.Errorf("%s: %q", format, line)
			}
		}
	}
}

// Red where a row is wider than its terminal, a name is cut without a sign, or a table loses its columns' order.
func TestFindingsTable(t *testing.T) {
	r := reading("octo-laboratories-of-the-north/container-images", time.Hour, pushdoctor.CauseWorkflowPermissionMissing, 2)
	r.Findings[1].Recovered = true
	ended := r.Job.CompletedAt.Format("2006-01-02 15:04")
	keep(t, r)
	got := findings(t)
	want := "ENDED (UTC)       REPOSITORY         STATUS  CAUSE                        IMAGE\n" +
		ended + "  …container-images  403     workflow_permission_missing  …-north/container-images:0\n" +
		ended + "  …container-images  cured   workflow_permission_missing  …-north/container-images:1\n"
	if diff := cmp.Diff(want, got.stdout); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	inActions := call{args: []string{"findings"}, env: []string{"GITHUB_ACTIONS=true"}}.run(t)
	if !strings.HasPrefix(inActions.stdout, "::stop-commands::") || !strings.Contains(inActions.stdout, got.stdout) {
		t.Errorf("in a job of Actions:\n%s", inActions.stdout)
	}
	// White-box: the tests have no terminal.
	for width := 60; width < 300; width++ {
		var b strings.Builder
		if err := newTable(&b, style{width: width}).row(row{Stored: store.Stored{Job: r.Job, Finding: r.Findings[0]}}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSpace(line)); n > max(width, 72) {
				t.Errorf("width %d: a line of %d: %s", width, n, line)
			}
		}
	}
}

// Red where a file that is no store is changed, or answers as an empty one.
func TestFindingsOfNoStore(t *testing.T) {
	dir := write(t, map[string]string{"notes.txt": "not a store"})
	got := findings(t, "--store", filepath.Join(dir, "notes.txt"))
	data, err := os.ReadFile("notes.txt")
	if got.status != 2 || !strings.Contains(got.stderr, store.ErrNotBolt.Error()) || string(data) != "not a store" {
		t.Errorf("%+v, %q, %v", got, data, err)
	}
	if got := findings(t, "--store", dir); got.status != 2 {
		t.Errorf("a folder: %+v", got)
	}
	if _, err := os.Stat("pushdoctor.db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pushdoctor.db: %v", err)
	}
}
