package fakegithub

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
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

// A route answers for one repository; s.world is locked for reading. An ask's path values are those of the pattern.
type route func(r *http.Request, repo *repository) *answer

func (s *Server) routes() {
	const repo = "GET /repos/{owner}/{name}"
	for pattern, h := range map[string]struct {
		endpoint string
		answer   route
	}{
		repo:                         {"repository", s.repository},
		repo + "/actions/runs":       {"runs", s.runs},
		repo + "/actions/runs/{run}": {"run", s.run},
		repo + "/actions/runs/{run}/attempts/{attempt}":      {"run", s.run},
		repo + "/actions/runs/{run}/jobs":                    {"jobs", s.jobs},
		repo + "/actions/runs/{run}/attempts/{attempt}/jobs": {"jobs", s.jobs},
		repo + "/actions/jobs/{job}":                         {"job", s.job},
		repo + "/actions/jobs/{job}/logs":                    {"job_log", s.jobLog},
		repo + "/actions/workflows/{workflow}":               {"workflow", s.workflow},
		repo + "/contents/{path...}":                         {"file", s.contents},
	} {
		s.mux.Handle(pattern, s.handle(h.endpoint, func(r *http.Request) *answer {
			repo, _ := s.world.find(r.PathValue("owner") + "/" + r.PathValue("name"))
			switch {
			case repo == nil || repo.Hidden:
				return notFound()
			case strings.Contains(r.URL.Path, "/actions/") && repo.ActionsOff:
				return notFound()
			case strings.Contains(r.URL.Path, "/actions/") && repo.Forbidden:
				return refused(http.StatusForbidden, "Resource not accessible by personal access token", "")
			}
			return h.answer(r, repo)
		}))
	}
	s.mux.Handle("GET /orgs/{owner}/repos", s.handle("repositories", s.list))
	s.mux.Handle("GET /users/{owner}/repos", s.handle("repositories", s.list))
	s.mux.Handle("GET /rate_limit", s.handle("rate_limit", s.rateLimit))
	s.mux.Handle("/", s.handle("other", func(*http.Request) *answer { return notFound() }))
}

// serveAPI routes a request: /api/v3 before its path, as at an own server, is taken off, and the
// path of a repository by id becomes that by name.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.inFlight++
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.inFlight)
	if s.inFlight > s.o.InFlight {
		s.violation("%d requests at once, %d are good manners", s.inFlight, s.o.InFlight)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inFlight--
		s.mu.Unlock()
	}()
	w.Header().Set("Date", s.o.Now().UTC().Format(http.TimeFormat))

	r = r.Clone(r.Context())
	r.Header.Set("X-Path", r.URL.Path)
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

// handle makes a handler of a route: it counts, is late, is struck by faults, asks for the token, and keeps the limits.
func (s *Server) handle(endpoint string, route func(*http.Request) *answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.stats.Requests[endpoint]++
		s.mu.Unlock()
		s.wait(r, s.o.Latency)
		f := s.fault(0, r)
		if s.strike(f, w, r) {
			return
		}
		if f == FaultTruncated {
			w = &cutter{ResponseWriter: w}
		}
		a, body, etag := s.answer(endpoint, route, w.Header(), r)
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
		w.WriteHeader(a.code)
		_, _ = w.Write(body)
	})
}

// answer finds the answer, takes it from the quota, and says in h what is left of it.
func (s *Server) answer(endpoint string, route func(*http.Request) *answer, h http.Header, r *http.Request) (a *answer, body []byte, etag string) {
	token := bearer(r)
	s.mu.Lock()
	if s.token != "" && token != s.token {
		a = refused(http.StatusUnauthorized, "Bad credentials", "")
		if token == "" {
			a = refused(http.StatusUnauthorized, "Requires authentication", "")
		}
	} else {
		a = s.limited(token, h)
		defer func() { // after the answer is known
			s.mu.Lock()
			defer s.mu.Unlock()
			s.headers(token, h)
		}()
	}
	s.mu.Unlock()
	refusal := a != nil
	if !refusal {
		a = s.ask(route, r)
	}

	body = []byte(a.raw)
	if a.value != nil {
		var err error
		if body, err = json.Marshal(a.value); err != nil {
			panic(err) // a value of ours
		}
	}
	if refusal {
		return a, body, ""
	}
	if a.code == http.StatusOK && endpoint != "rate_limit" {
		sum := sha256.Sum256(append([]byte(token+"\x00"), body...))
		etag = `W/"` + hex.EncodeToString(sum[:]) + `"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case etag != "" && r.Header.Get("If-None-Match") == etag:
		s.stats.NotModified++
		a = &answer{code: http.StatusNotModified}
	case endpoint != "rate_limit":
		if q := s.quota(token); q != nil {
			q.used++
		}
	}
	return a, body, etag
}

func (s *Server) ask(route func(*http.Request) *answer, r *http.Request) *answer {
	s.world.mu.RLock()
	defer s.world.mu.RUnlock()
	if name := r.PathValue("name"); name != "" {
		repo, renamed := s.world.find(r.PathValue("owner") + "/" + name)
		if renamed && !repo.Hidden {
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
	}
	return route(r)
}

func (s *Server) repository(_ *http.Request, repo *repository) *answer {
	return found(repositoryJSON(repo.Repository))
}

func repositoryJSON(r Repository) map[string]any {
	owner, name, _ := strings.Cut(r.Name, "/")
	return map[string]any{
		"id": r.ID, "name": name, "full_name": r.Name, "private": r.Private, "owner": map[string]any{"login": owner},
		"html_url": "https://github.com/" + r.Name, "default_branch": "main", "archived": false, "disabled": false,
	}
}

func (s *Server) list(r *http.Request) *answer {
	var all []Repository
	for _, repo := range s.world.repositories {
		owner, _, _ := strings.Cut(repo.Name, "/")
		if strings.EqualFold(owner, r.PathValue("owner")) && !repo.Hidden {
			all = append(all, repo.Repository)
		}
	}
	if all == nil {
		return notFound()
	}
	some, header := page(s, r, all, repositoryJSON)
	return &answer{code: http.StatusOK, header: header, value: some}
}

// maxSearch is how many of the runs that a filter lets pass can be listed.
const maxSearch = 1000

func (s *Server) runs(r *http.Request, repo *repository) *answer {
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
	var all []pushdoctor.Run
	for _, run := range repo.at(s.o.Now()) {
		if !run.CreatedAt.Before(from) && !run.CreatedAt.After(to) &&
			same("branch", run.Branch) && same("event", run.Event) && same("actor", run.Actor) &&
			(same("status", run.Status) || same("status", run.Conclusion)) {
			all = append(all, run)
		}
	}
	total := len(all)
	if filtered {
		all = all[:min(len(all), maxSearch)]
	}
	some, header := page(s, r, all, func(run pushdoctor.Run) map[string]any { return s.runJSON(repo, run) })
	return &answer{code: http.StatusOK, header: header, value: map[string]any{"total_count": total, "workflow_runs": some}}
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

// page cuts a page out of all, and links to the one before, the next and the last one.
func page[T any](s *Server, r *http.Request, all []T, form func(T) map[string]any) ([]map[string]any, http.Header) {
	query := r.URL.Query()
	size, _ := strconv.Atoi(query.Get("per_page"))
	if size <= 0 {
		size = 30
	}
	size = min(size, 100)
	number, _ := strconv.Atoi(query.Get("page"))
	number = max(1, number)
	begin := min(len(all), (number-1)*size)
	end := min(len(all), begin+size)
	some := make([]map[string]any, 0, end-begin) // never null
	for _, one := range all[begin:end] {
		some = append(some, form(one))
	}

	header := http.Header{}
	var links []string
	link := func(page int, rel string) {
		query.Set("page", strconv.Itoa(page))
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, s.urls[0], r.Header.Get("X-Path"), query.Encode(), rel))
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
	head := Repository{Name: run.HeadRepository}
	if run.HeadRepository == repo.Name {
		head = repo.Repository
	}
	api := s.urls[0] + "/repos/" + repo.Name
	value := map[string]any{
		"id": run.ID, "name": run.WorkflowName, "head_branch": run.Branch, "head_sha": run.HeadSHA, "path": ".github/workflows/" + run.Workflow,
		"run_number": run.ID % 100_000, "run_attempt": run.Attempt, "event": run.Event, "display_title": "Change " + run.HeadSHA[:7],
		"status": run.Status, "conclusion": run.Conclusion, "workflow_id": run.WorkflowID,
		"url": fmt.Sprintf("%s/actions/runs/%d", api, run.ID), "html_url": run.URL,
		"created_at": run.CreatedAt, "updated_at": run.UpdatedAt, "run_started_at": run.StartedAt,
		"actor": map[string]any{"login": run.Actor}, "triggering_actor": map[string]any{"login": run.Actor},
		"repository": repositoryJSON(repo.Repository), "head_repository": repositoryJSON(head), "pull_requests": []any{},
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
func (s *Server) findRun(r *http.Request, repo *repository) (*run, int) {
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

func (s *Server) run(r *http.Request, repo *repository) *answer {
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

func (s *Server) jobs(r *http.Request, repo *repository) *answer {
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
	some, header := page(s, r, jobs, func(j *Job) map[string]any { return s.jobJSON(j, x) })
	return &answer{code: http.StatusOK, header: header, value: map[string]any{"total_count": len(jobs), "jobs": some}}
}

func (s *Server) jobJSON(j *Job, x *run) map[string]any {
	now := s.o.Now()
	value := map[string]any{
		"id": j.JobID, "run_id": j.RunID, "run_attempt": j.RunAttempt, "name": j.Name, "workflow_name": x.WorkflowName,
		"head_branch": x.Branch, "head_sha": x.HeadSHA, "html_url": j.URL, "url": fmt.Sprintf("%s/repos/%s/actions/jobs/%d", s.urls[0], x.Repository, j.JobID),
		"status": "completed", "conclusion": j.Conclusion, "started_at": j.StartedAt, "completed_at": j.CompletedAt, "created_at": j.StartedAt,
		"labels": []string{"ubuntu-latest"}, "runner_name": j.Runner, "steps": []any{},
	}
	if j.CompletedAt.After(now) {
		value["status"], value["conclusion"], value["completed_at"] = "in_progress", nil, nil
	}
	if j.StartedAt.After(now) {
		value["status"], value["runner_name"] = "queued", ""
	}
	return value
}

// findJob returns the job of the path; nil if its attempt has not begun.
func (s *Server) findJob(r *http.Request, repo *repository) (*Job, *run) {
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

func (s *Server) job(r *http.Request, repo *repository) *answer {
	j, x := s.findJob(r, repo)
	if j == nil {
		return notFound()
	}
	return found(s.jobJSON(j, x))
}

func (s *Server) jobLog(r *http.Request, repo *repository) *answer {
	j, _ := s.findJob(r, repo)
	now := s.o.Now()
	if j == nil || j.Lost || j.CompletedAt.After(now) || j.LogAt.After(now) {
		return notFound()
	}
	if j.Gone {
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

func (s *Server) workflow(r *http.Request, repo *repository) *answer {
	want := r.PathValue("workflow")
	for _, f := range repo.workflows {
		if strconv.FormatInt(f.id, 10) == want || path.Base(f.path) == want {
			return found(map[string]any{
				"id": f.id, "name": f.name, "path": f.path, "state": "active",
				"html_url": "https://github.com/" + repo.Name + "/blob/main/" + f.path,
			})
		}
	}
	return notFound()
}

func (s *Server) contents(r *http.Request, repo *repository) *answer {
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

func (s *Server) rateLimit(r *http.Request) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.quota(bearer(r))
	if q == nil {
		return notFound() // limits are off
	}
	core := map[string]any{
		"limit": s.o.PrimaryLimit, "used": q.used, "remaining": max(0, s.o.PrimaryLimit-q.used), "reset": q.reset.Unix(),
	}
	return found(map[string]any{"resources": map[string]any{"core": core}, "rate": core})
}
