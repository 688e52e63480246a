package fakegithub

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor"
)

// An answer is what a route of the API says.
type answer struct {
	code   int
	header http.Header
	value  any    // as JSON
	raw    string // instead of value
}

func found(value any) *answer { return &answer{code: http.StatusOK, value: value} }

func refused(code int, message, docs string) *answer {
	return &answer{code: code, value: map[string]string{
		"message": message, "documentation_url": cmp.Or(docs, "https://docs.github.com/rest"), "status": strconv.Itoa(code),
	}}
}

func notFound() *answer { return refused(http.StatusNotFound, "Not Found", "") }

// A request is one with its caller. Its path values are those of the route's pattern.
type request struct {
	*http.Request
	by   caller
	path string // as it came
}

// A route answers a request; repo is nil where its path names none. s.world is locked for reading.
type route func(r *request, repo *repository) *answer

func (s *Server) routes() {
	const repo = "/repos/{owner}/{name}"
	for pattern, h := range map[string]struct {
		endpoint string
		answer   route
	}{
		"GET " + repo:                                                 {"repository", s.repository},
		"GET " + repo + "/actions/runs":                               {"runs", s.runs},
		"GET " + repo + "/actions/runs/{run}":                         {"run", s.run},
		"GET " + repo + "/actions/runs/{run}/attempts/{attempt}":      {"run", s.run},
		"GET " + repo + "/actions/runs/{run}/jobs":                    {"jobs", s.jobs},
		"GET " + repo + "/actions/runs/{run}/attempts/{attempt}/jobs": {"jobs", s.jobs},
		"GET " + repo + "/actions/jobs/{job}":                         {"job", s.job},
		"GET " + repo + "/actions/jobs/{job}/logs":                    {"job_log", s.jobLog},
		"GET " + repo + "/actions/workflows":                          {"workflows", s.listWorkflows},
		"GET " + repo + "/actions/workflows/{workflow}":               {"workflow", s.workflow},
		"GET " + repo + "/git/ref/{ref...}":                           {"ref", s.ref},
		"GET " + repo + "/contents/{path...}":                         {"file", s.contents},

		"GET /orgs/{owner}/repos":        {"repositories", s.listOrg},
		"GET /users/{owner}/repos":       {"repositories", s.listUser},
		"GET /user/repos":                {"repositories", s.listOwn},
		"GET /user":                      {"user", s.user},
		"GET /installation/repositories": {"repositories", s.listInstalled},
		"GET /rate_limit":                {"rate_limit", s.rateLimit},

		"GET /app/installations":                               {"installations", forApp(s.listInstallations)},
		"POST /app/installations/{installation}/access_tokens": {"access_token", forApp(s.createToken)},

		"/": {"other", func(*request, *repository) *answer { return notFound() }},
	} {
		s.mux.Handle(pattern, s.handle(h.endpoint, strings.Contains(pattern, " /app/"), h.answer))
	}
}

// serveAPI routes a request: /api/v3 before its path, as at an own server, is taken off, and the
// path of a repository by id becomes that by name.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.o.Now().UTC().Format(http.TimeFormat))
	r = r.Clone(context.WithValue(r.Context(), original{}, r.URL.Path))
	where := strings.TrimPrefix(r.URL.Path, "/api/v3")
	if rest, ok := strings.CutPrefix(where, "/repositories/"); ok {
		id, rest, _ := strings.Cut(rest, "/")
		s.world.mu.RLock()
		for _, repo := range s.world.repositories {
			if strconv.FormatInt(repo.ID, 10) == id {
				where = strings.TrimSuffix("/repos/"+repo.Name+"/"+rest, "/")
			}
		}
		s.world.mu.RUnlock()
	}
	r.URL.Path, r.URL.RawPath = where, ""
	s.mux.ServeHTTP(w, r)
}

// original is the key of a request's path as it came.
type original struct{}

// handle makes a handler of a route: it counts, is late, is struck by faults, asks who calls, and keeps the limits.
func (s *Server) handle(endpoint string, app bool, route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{Request: r}
		q.path, _ = r.Context().Value(original{}).(string)
		s.world.mu.RLock()
		s.mu.Lock()
		q.by = s.caller(r)
		s.arrive(q.by.credential, endpoint, r.Method)
		s.mu.Unlock()
		s.world.mu.RUnlock()
		defer s.leave(q.by.credential)
		if q.by.app && !app && q.by.wrong == nil {
			q.by.wrong = refused(http.StatusUnauthorized, "Bad credentials", "")
		}

		s.wait(r, s.o.Latency)
		f := s.fault(0, r)
		if s.strike(f, w, r) {
			return
		}
		a, body, etag := s.answer(endpoint, route, w.Header(), q, f == "" || f == FaultSlow)
		maps.Copy(w.Header(), a.header)
		if etag != "" {
			w.Header().Set("ETag", etag)
			w.Header().Set("Cache-Control", "private, max-age=60, s-maxage=60")
		}
		if a.code == http.StatusNotModified || a.code == http.StatusFound {
			w.WriteHeader(a.code)
			return
		}
		if a.raw == "" {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			_, _ = z.Write(body) // a bytes.Buffer takes all
			_ = z.Close()
			body = zipped.Bytes()
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w = s.halved(f, w, r)
		w.WriteHeader(a.code)
		_, _ = w.Write(body)
	})
}

// answer finds the answer, takes it from the primary limit, and says in h what is left of it. heard says that it will get through.
func (s *Server) answer(endpoint string, route route, h http.Header, r *request, heard bool) (a *answer, body []byte, etag string) {
	c := r.by.credential
	s.mu.Lock()
	a = s.limited(c, h, heard)
	s.mu.Unlock()
	defer func() { // after the answer is known
		s.mu.Lock()
		defer s.mu.Unlock()
		s.headers(c, h, heard)
	}()
	if !s.o.Expires.IsZero() && r.by.wrong == nil {
		h.Set("GitHub-Authentication-Token-Expiration", s.o.Expires.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	refusal := a != nil
	if !refusal {
		if a = r.by.wrong; a == nil {
			a = s.ask(route, r)
		}
	}

	body = []byte(a.raw)
	if a.value != nil {
		var err error
		if body, err = json.Marshal(a.value); err != nil {
			panic(err) // a value of ours
		}
	}
	if refusal || r.by.wrong != nil {
		return a, body, ""
	}
	if a.code == http.StatusOK && endpoint != "rate_limit" {
		sum := sha256.Sum256(append([]byte(r.by.token+"\x00"), body...))
		etag = `W/"` + hex.EncodeToString(sum[:]) + `"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case etag != "" && r.Header.Get("If-None-Match") == etag:
		s.stats.NotModified++
		c.use.NotModified++
		a = &answer{code: http.StatusNotModified}
	case endpoint != "rate_limit":
		c.used++
		c.use.Cost++
	}
	return a, body, etag
}

func (s *Server) ask(route route, r *request) *answer {
	s.world.mu.RLock()
	defer s.world.mu.RUnlock()
	name := r.PathValue("name")
	if name == "" {
		return route(r, nil)
	}
	repo, renamed := s.world.find(r.PathValue("owner") + "/" + name)
	actions := strings.Contains(r.URL.Path, "/actions/")
	switch {
	case repo == nil || !s.visible(r, repo):
		return notFound()
	case renamed:
		return s.moved(r, repo)
	case repo.Disabled:
		return refused(http.StatusForbidden, "Repository access blocked", "")
	case actions && repo.ActionsOff:
		return notFound()
	case actions && repo.Forbidden:
		return refused(http.StatusForbidden, "Resource not accessible by personal access token", "")
	}
	return route(r, repo)
}

// visible reports whether the caller may see the repository.
func (s *Server) visible(r *request, repo *repository) bool {
	return !repo.Hidden && (r.by.via == nil || s.world.sees(r.by.via, repo))
}

// moved leads to the address of a repository by its id.
func (s *Server) moved(r *request, repo *repository) *answer {
	rest := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 4)
	to := fmt.Sprintf("%s/repositories/%d", s.urls[0], repo.ID)
	if len(rest) == 4 {
		to += "/" + rest[3]
	}
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	moved := refused(http.StatusMovedPermanently, "Moved Permanently", "")
	moved.header = http.Header{"Location": {to}}
	return moved
}

func (s *Server) repository(_ *request, repo *repository) *answer {
	return found(s.repositoryJSON(repo))
}

func (s *Server) repositoryJSON(r *repository) map[string]any {
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	value := s.liteJSON(r)
	maps.Copy(value, map[string]any{"visibility": visibility, "default_branch": "main", "archived": r.Archived, "disabled": r.Disabled})
	return value
}

// liteJSON is what a run tells of its repositories.
func (s *Server) liteJSON(r *repository) map[string]any {
	return map[string]any{
		"id": r.ID, "name": r.Name[len(owner(r.Name))+1:], "full_name": r.Name, "private": r.Private,
		"owner": s.account(owner(r.Name)), "html_url": "https://github.com/" + r.Name,
	}
}

// kind says what an owner is.
func (w *World) kind(login string) string {
	if w.users[strings.ToLower(login)] {
		return "User"
	}
	return "Organization"
}

func (s *Server) account(login string) map[string]any {
	h := fnv.New32a()
	h.Write([]byte(strings.ToLower(login)))
	return map[string]any{"login": login, "id": int64(h.Sum32()), "type": s.world.kind(login)}
}

func (s *Server) listOrg(r *request, _ *repository) *answer {
	if s.world.kind(r.PathValue("owner")) == "User" {
		return notFound()
	}
	return s.list(r, r.PathValue("owner"), true)
}

// listUser tells of an owner's public repositories, as GitHub does even to the owner.
func (s *Server) listUser(r *request, _ *repository) *answer {
	return s.list(r, r.PathValue("owner"), false)
}

func (s *Server) listOwn(r *request, _ *repository) *answer {
	if r.by.via != nil {
		return refused(http.StatusForbidden, "Resource not accessible by integration", "")
	}
	return s.list(r, s.o.Login, true)
}

func (s *Server) user(r *request, _ *repository) *answer {
	if r.by.via != nil {
		return refused(http.StatusForbidden, "Resource not accessible by integration", "")
	}
	return found(s.account(s.o.Login))
}

func (s *Server) list(r *request, login string, private bool) *answer {
	var all []*repository
	known := s.world.users[strings.ToLower(login)] || strings.EqualFold(login, s.o.Login)
	for _, repo := range s.world.repositories {
		if !strings.EqualFold(owner(repo.Name), login) || !s.visible(r, repo) {
			continue
		}
		known = true
		if private || !repo.Private {
			all = append(all, repo)
		}
	}
	if !known {
		return notFound()
	}
	some, header := page(s, r, all, s.repositoryJSON)
	return &answer{code: http.StatusOK, header: header, value: some}
}

// maxSearch is how many of the runs that a filter lets pass can be listed.
const maxSearch = 1000

func (s *Server) runs(r *request, repo *repository) *answer {
	query := r.URL.Query()
	from, to, err := created(query.Get("created"))
	if err != nil {
		return refused(http.StatusUnprocessableEntity, "Validation Failed", "")
	}
	filtered := false
	for _, filter := range []string{"created", "branch", "event", "actor", "status"} {
		filtered = filtered || query.Get(filter) != ""
	}
	same := func(filter, value string) bool { return query.Get(filter) == "" || query.Get(filter) == value }
	now := s.o.Now()
	seen := func(x *run, at time.Time) bool {
		if x.CreatedAt.After(at) || !same("branch", x.Branch) || !same("event", x.Event) || !same("actor", actor(x.Run)) {
			return false
		}
		if query.Get("status") == "" {
			return true
		}
		told, _ := x.at(at)
		return same("status", told.Status) || same("status", told.Conclusion)
	}
	lag := func(x *run) time.Duration {
		if !filtered || s.o.ListLag <= 0 {
			return 0
		}
		return time.Duration(scatter(x.ID) % uint64(s.o.ListLag))
	}
	total := 0
	var all []*run
	for _, x := range slices.Backward(repo.between(from, to)) {
		if seen(x, now) {
			total++
		}
		if seen(x, now.Add(-lag(x))) {
			all = append(all, x)
		}
	}
	if s.o.Shuffle {
		slices.SortFunc(all, func(a, b *run) int { return cmp.Compare(scatter(a.ID), scatter(b.ID)) })
	}
	if filtered {
		if first, _ := offset(query); first >= maxSearch {
			return notFound()
		}
		all = all[:min(len(all), maxSearch)]
	}
	some, header := page(s, r, all, func(x *run) map[string]any {
		told, _ := x.at(now.Add(-lag(x)))
		return s.runJSON(repo, told)
	})
	return &answer{code: http.StatusOK, header: header, value: map[string]any{"total_count": total, "workflow_runs": some}}
}

// scatter is a number of chance, always the same for one id.
func scatter(id int64) uint64 {
	return rand.New(rand.NewPCG(uint64(id), 0)).Uint64()
}

// created reads the filter of that name: a time, one after >= > <= <, or two with .. between them.
func created(filter string) (from, to time.Time, err error) {
	to = endOfTime
	parse := func(s string) time.Time {
		t, e := time.Parse(time.RFC3339, s)
		if e != nil {
			t, e = time.Parse(time.DateOnly, s)
		}
		err = cmp.Or(err, e)
		return t
	}
	first, last, window := strings.Cut(filter, "..")
	switch {
	case filter == "":
	case window:
		if first != "*" {
			from = parse(first)
		}
		if last != "*" {
			to = parse(last)
		}
	case strings.HasPrefix(filter, ">="):
		from = parse(filter[2:])
	case strings.HasPrefix(filter, ">"):
		from = parse(filter[1:]).Add(time.Second)
	case strings.HasPrefix(filter, "<="):
		to = parse(filter[2:])
	case strings.HasPrefix(filter, "<"):
		to = parse(filter[1:]).Add(-time.Second)
	default:
		from = parse(filter)
		to = from
	}
	return from, to, err
}

// offset says where the page that is asked for begins, and how long it is.
func offset(query url.Values) (begin, size int) {
	size, _ = strconv.Atoi(query.Get("per_page"))
	if size <= 0 {
		size = 30
	}
	size = min(size, 100)
	number, _ := strconv.Atoi(query.Get("page"))
	return (max(1, number) - 1) * size, size
}

// page cuts a page out of all, and links to the one before, the next and the last one.
func page[T any](s *Server, r *request, all []T, form func(T) map[string]any) ([]map[string]any, http.Header) {
	query := r.URL.Query()
	begin, size := offset(query)
	number := begin/size + 1
	begin = min(len(all), begin)
	end := min(len(all), begin+size)
	some := make([]map[string]any, 0, end-begin) // never null
	for _, one := range all[begin:end] {
		some = append(some, form(one))
	}

	header := http.Header{}
	var links []string
	link := func(page int, rel string) {
		query.Set("page", strconv.Itoa(page))
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, s.urls[0], r.path, query.Encode(), rel))
	}
	if number > 1 {
		link(number-1, "prev")
	}
	if end < len(all) {
		link(number+1, "next")
		link((len(all)+size-1)/size, "last")
	}
	if links != nil {
		header.Set("Link", strings.Join(links, ", "))
	}
	return some, header
}

func (s *Server) runJSON(repo *repository, run pushdoctor.Run) map[string]any {
	head := &repository{Repository: Repository{Name: run.HeadRepository}}
	if run.HeadRepository == repo.Name {
		head = repo
	}
	api := s.urls[0] + "/repos/" + repo.Name
	value := map[string]any{
		"id": run.ID, "name": run.WorkflowName, "head_branch": run.Branch, "head_sha": run.HeadSHA, "path": ".github/workflows/" + run.Workflow,
		"run_number": run.ID % 100_000, "run_attempt": run.Attempt, "event": run.Event, "display_title": "Change " + run.HeadSHA[:7],
		"status": run.Status, "conclusion": run.Conclusion, "workflow_id": run.WorkflowID,
		"url": fmt.Sprintf("%s/actions/runs/%d", api, run.ID), "html_url": run.URL,
		"created_at": run.CreatedAt, "updated_at": run.UpdatedAt, "run_started_at": run.StartedAt,
		"actor": map[string]any{"login": actor(run)}, "triggering_actor": map[string]any{"login": actor(run)},
		"repository": s.liteJSON(repo), "head_repository": s.liteJSON(head), "pull_requests": []any{},
	}
	if run.Conclusion == "" {
		value["conclusion"] = nil
	}
	if run.Attempt > 1 {
		value["previous_attempt_url"] = fmt.Sprintf("%s/actions/runs/%d/attempts/%d", api, run.ID, run.Attempt-1)
	}
	return value
}

// findRun returns the run of the path, and its newest attempt's index; nil if it is not there yet.
func (s *Server) findRun(r *request, repo *repository) (*run, int) {
	id, _ := strconv.ParseInt(r.PathValue("run"), 10, 64)
	x := s.world.runs[id]
	if x == nil || x.RepositoryID != repo.ID {
		return nil, -1
	}
	_, index := x.at(s.o.Now())
	if index < 0 {
		return nil, -1
	}
	return x, index
}

func (s *Server) run(r *request, repo *repository) *answer {
	x, index := s.findRun(r, repo)
	if x == nil {
		return notFound()
	}
	if number := r.PathValue("attempt"); number != "" {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > index+1 {
			return notFound()
		}
		index = n - 1
	}
	return found(s.runJSON(repo, x.attemptAt(index, s.o.Now())))
}

func (s *Server) jobs(r *request, repo *repository) *answer {
	x, newest := s.findRun(r, repo)
	if x == nil {
		return notFound()
	}
	from, to := newest, newest
	if r.URL.Query().Get("filter") == "all" {
		from = 0
	}
	if number := r.PathValue("attempt"); number != "" {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > newest+1 {
			return notFound()
		}
		from, to = n-1, n-1
	}
	var jobs []*Job
	for _, a := range x.attempts[from : to+1] {
		jobs = append(jobs, a.jobs...)
	}
	// The order of GitHub's answer is not told; this one is neither that of the ids nor that of the attempts.
	slices.SortFunc(jobs, func(a, b *Job) int { return cmp.Compare(a.JobID%31, b.JobID%31) })
	some, header := page(s, r, jobs, func(j *Job) map[string]any { return s.jobJSON(j, x, s.o.Now()) })
	return &answer{code: http.StatusOK, header: header, value: map[string]any{"total_count": len(jobs), "jobs": some}}
}

func (s *Server) jobJSON(j *Job, x *run, now time.Time) map[string]any {
	queued := x.attempts[j.RunAttempt-1].startedAt
	value := map[string]any{
		"id": j.JobID, "run_id": j.RunID, "run_attempt": j.RunAttempt, "name": j.Name, "workflow_name": x.WorkflowName,
		"head_branch": x.Branch, "head_sha": x.HeadSHA, "html_url": j.URL, "url": fmt.Sprintf("%s/repos/%s/actions/jobs/%d", s.urls[0], x.Repository, j.JobID),
		"status": "completed", "conclusion": j.Conclusion, "started_at": j.StartedAt, "completed_at": j.CompletedAt, "created_at": queued,
		"labels": []string{"ubuntu-latest"}, "runner_name": j.Runner, "steps": []any{},
	}
	if j.CompletedAt.After(now) {
		value["status"], value["conclusion"], value["completed_at"] = "in_progress", nil, nil
	}
	if j.StartedAt.After(now) {
		value["status"], value["runner_name"], value["started_at"] = "queued", "", queued
	}
	return value
}

// findJob returns the job of the path; nil if its attempt has not begun.
func (s *Server) findJob(r *request, repo *repository) (*Job, *run) {
	id, _ := strconv.ParseInt(r.PathValue("job"), 10, 64)
	j := s.world.jobs[id]
	if j == nil || j.RepositoryID != repo.ID {
		return nil, nil
	}
	x := s.world.runs[j.RunID]
	if _, index := x.at(s.o.Now()); index+1 < j.RunAttempt {
		return nil, nil
	}
	return j, x
}

func (s *Server) job(r *request, repo *repository) *answer {
	j, x := s.findJob(r, repo)
	if j == nil {
		return notFound()
	}
	return found(s.jobJSON(j, x, s.o.Now()))
}

func (s *Server) jobLog(r *request, repo *repository) *answer {
	j, _ := s.findJob(r, repo)
	now := s.o.Now()
	if j == nil || j.Lost || j.CompletedAt.After(now) || j.LogAt.After(now) {
		return notFound()
	}
	if j.Gone || j.GoneUntil.After(now) {
		return refused(http.StatusGone, "Server Error", "")
	}
	until := strconv.FormatInt(now.Add(s.o.LinkLife).Unix(), 10)
	to := fmt.Sprintf("%s/logs/%d?se=%s&sig=%s", s.urls[1], j.JobID, until, signature(j.JobID, until))
	return &answer{code: http.StatusFound, header: http.Header{"Location": {to}}}
}

// signature signs a link to the log of a job that is good until then.
func signature(job int64, until string) string {
	mac := hmac.New(sha256.New, []byte("the fake's own key"))
	fmt.Fprint(mac, job, until)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Server) workflow(r *request, repo *repository) *answer {
	want := r.PathValue("workflow")
	for _, f := range repo.workflows {
		if strconv.FormatInt(f.id, 10) == want || path.Base(f.path) == want {
			return found(s.workflowJSON(repo, f))
		}
	}
	return notFound()
}

// listWorkflows lists one whose file is gone as well, as GitHub does: https://github.com/refined-github/refined-github/pull/6543
func (s *Server) listWorkflows(r *request, repo *repository) *answer {
	some, header := page(s, r, repo.workflows, func(f workflow) map[string]any { return s.workflowJSON(repo, f) })
	return &answer{code: http.StatusOK, header: header, value: map[string]any{"total_count": len(repo.workflows), "workflows": some}}
}

func (s *Server) workflowJSON(repo *repository, f workflow) map[string]any {
	return map[string]any{
		"id": f.id, "name": f.name, "path": f.path, "state": "active",
		"html_url": "https://github.com/" + repo.Name + "/blob/main/" + f.path,
	}
}

func (s *Server) contents(r *request, repo *repository) *answer {
	name := r.PathValue("path")
	text, ok := repo.files[name]
	if !ok {
		return notFound()
	}
	if strings.Contains(r.Header.Get("Accept"), "raw") {
		return &answer{code: http.StatusOK, raw: text, header: http.Header{"Content-Type": {"application/vnd.github.raw+json; charset=utf-8"}}}
	}
	return found(map[string]any{
		"type": "file", "name": path.Base(name), "path": name, "size": len(text),
		"encoding": "base64", "content": base64.StdEncoding.EncodeToString([]byte(text)),
	})
}

func (s *Server) ref(r *request, repo *repository) *answer {
	name := r.PathValue("ref")
	branch, isBranch := strings.CutPrefix(name, "heads/")
	tag, isTag := strings.CutPrefix(name, "tags/")
	if !(isBranch && repo.hasBranch(branch)) && !(isTag && repo.tags[tag]) {
		return notFound()
	}
	api := s.urls[0] + "/repos/" + repo.Name + "/git/"
	sha := fmt.Sprintf("%040x", repo.ID)
	return found(map[string]any{
		"ref": "refs/" + name, "node_id": "REF_" + name, "url": api + "refs/" + name,
		"object": map[string]any{"type": "commit", "sha": sha, "url": api + "commits/" + sha},
	})
}

func (s *Server) rateLimit(r *request, _ *repository) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := r.by.credential
	s.spent(c) // begins the hour
	if c.limit < 0 {
		return notFound() // limits are off
	}
	core := map[string]any{"limit": c.limit, "used": c.used, "remaining": max(0, c.limit-c.used), "reset": c.reset.Unix()}
	return found(map[string]any{"resources": map[string]any{"core": core}, "rate": core})
}

// actor is who made the run.
func actor(run pushdoctor.Run) string {
	owner, _, _ := strings.Cut(run.HeadRepository, "/")
	switch {
	case strings.HasPrefix(run.Branch, "dependabot/"):
		return "dependabot[bot]"
	case run.HeadRepository != run.Repository:
		return owner
	}
	return "octo-dev"
}
