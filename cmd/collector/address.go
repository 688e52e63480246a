package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/redact"
)

// A place is a run of a repository, or one job of it.
type place struct {
	repository string
	run        int64 // 0: not told, where job is
	attempt    int   // 0: the newest
	job        int64 // 0: the jobs that failed
	current    bool  // it is the run that we are in
}

// String returns the place as a person writes it: "octo-lab/api#14".
func (pl place) String() string {
	s := pl.repository
	if pl.run != 0 {
		s += fmt.Sprintf("#%d", pl.run)
	}
	if pl.job != 0 {
		return s + fmt.Sprintf(" job %d", pl.job)
	}
	return s
}

// The forms of a place.
var (
	addressForm   = regexp.MustCompile(`^(?i:https?)://`)
	shorthandForm = regexp.MustCompile(`^([\w.-]+/[\w.-]+)#(\d+)$`)
	// The last form is an old one, which stands in checks: the id of a job's check run is that of the job.
	pageForm = regexp.MustCompile(`^/([\w.-]+/[\w.-]+)/(?:actions/runs/(\d+)(?:/attempts/(\d+)|/jobs?/(\d+))?|runs/(\d+))/?$`)
)

// isAddress reports whether arg, which is no file, is to be looked for at GitHub.
func isAddress(arg string) bool {
	return addressForm.MatchString(arg) || shorthandForm.MatchString(arg)
}

// parseAddress reads an address of a page of site, or OWNER/NAME#RUN. Its errors do not quote more of arg than the host:
// an address may hold a secret.
func parseAddress(arg, site string) (place, error) {
	if m := shorthandForm.FindStringSubmatch(arg); m != nil {
		pl := place{repository: m[1]}
		return pl, numbers(m[2:], &pl.run)
	}
	u, err := url.Parse(arg)
	if err != nil || u.User != nil {
		return place{}, errors.New("this address cannot be read")
	}
	if host := siteHost(u.Scheme, u.Host, "/"); host != site {
		return place{}, fmt.Errorf("only addresses of %s are read, as github.url says; nothing was sent to %.100q", site, u.Host)
	}
	m := pageForm.FindStringSubmatch(u.Path)
	if m == nil {
		return place{}, fmt.Errorf("this is not the address of a run or a job: https://%s/OWNER/NAME/actions/runs/ID, with /attempts/N or /job/ID, or OWNER/NAME#RUN", site)
	}
	pl := place{repository: m[1]}
	var attempt int64
	if err := errors.Join(numbers(m[2:3], &pl.run), numbers(m[3:4], &attempt), numbers(m[4:5], &pl.job)); err != nil {
		return place{}, err
	}
	if m[5] != "" {
		if err := numbers(m[5:6], &pl.job); err != nil {
			return place{}, err
		}
	}
	pl.attempt = int(min(attempt, 1<<20))
	return pl, nil
}

// numbers reads digits as an id, unless they are missing.
func numbers(digits []string, id *int64) error {
	if digits[0] == "" {
		return nil
	}
	n, err := strconv.ParseInt(digits[0], 10, 64)
	if err != nil || n == 0 {
		return fmt.Errorf("there is no number %.40s at GitHub", digits[0])
	}
	*id = n
	return nil
}

// siteHost returns the host of the pages that belong to an API, and that of a page as it is: api.github.com and
// api.octo.ghe.com have theirs beside them, GitHub Enterprise Server has both on one host.
func siteHost(scheme, host, path string) string {
	host = strings.ToLower(host)
	switch strings.ToLower(scheme) {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	if name, ok := strings.CutPrefix(host, "api."); ok && path == "" {
		return name
	}
	return host
}

// A hub reads what addresses name.
type hub struct {
	site   string          // the host of the pages
	client *actions.Client // nil without a token
	app    *actions.App    // nil with one, or where there is none
}

// errNoToken: GitHub shows logs to nobody who is not known.
var errNoToken = errors.New("reading it from GitHub needs a token that may read Actions: set GITHUB_TOKEN (to $(gh auth token), if you have the GitHub CLI) or github.token_file; or save the log and name the file")

// hub returns the hub of the configuration, with flags over it. secret is a token to use in place of the configured one, or "".
func (p *program) hub(flags map[string]string, secret string) (*hub, error) {
	config, err := p.config(flags)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(config.GitHub.URL)
	if err != nil {
		return nil, errors.New("github.url cannot be read") // err quotes it
	}
	h := &hub{site: siteHost(u.Scheme, u.Host, strings.Trim(u.Path, "/"))}
	o, err := p.clientOptions(config)
	if err != nil {
		return nil, err
	}
	if secret != "" {
		o.Token, o.Tokens = secret, nil
	}
	o.Reserve = 0 // the reserve is for people, and here is one
	// The lines of p.stderr belong to the goroutine that shows the answers.
	o.Log = slog.New(slog.NewTextHandler(&guard{w: p.stderr.w, plain: true}, nil))
	if o.Token != "" || o.Tokens != nil {
		h.client, err = actions.New(o)
	} else {
		h.app, err = p.app(config, o)
	}
	return h, err
}

// of returns the hub that reads a repository: that of an App's installation on its owner, where there is no token.
func (h *hub) of(ctx context.Context, repository string) (*hub, error) {
	switch {
	case h.client != nil:
		return h, nil
	case h.app == nil:
		return nil, errNoToken
	}
	all, err := h.app.Installations(ctx)
	if err != nil {
		return nil, err
	}
	owner, _, _ := strings.Cut(repository, "/")
	for _, i := range all {
		if strings.EqualFold(i.Account, owner) {
			client, err := h.app.Client(i)
			return &hub{site: h.site, client: client}, err
		}
	}
	return nil, fmt.Errorf("%w on %s", errNotInstalled, owner)
}

// A serial is a writer for several goroutines.
type serial struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *serial) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// The variables that say which run we are in.
const (
	envRepository = "GITHUB_REPOSITORY"
	envRun        = "GITHUB_RUN_ID"
	envAttempt    = "GITHUB_RUN_ATTEMPT"
	envAPI        = "GITHUB_API_URL"
	envToken      = "GITHUB_TOKEN"
)

// thisRun returns the attempt of the run that we are in, and the hub to read it from.
func (p *program) thisRun() (place, *hub, error) {
	var missing []string
	for _, name := range []string{envRepository, envRun, envAttempt, envAPI, envToken} {
		if p.env(name) == "" {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == 1 && missing[0] == envToken:
		return place{}, nil, errors.New("--this-run needs GITHUB_TOKEN in the step's env (GITHUB_TOKEN: ${{ github.token }}), and permissions: actions: read in the job")
	case len(missing) > 0:
		return place{}, nil, fmt.Errorf("--this-run works in a job of GitHub Actions only; not set: %s", strings.Join(missing, ", "))
	}
	pl := place{repository: p.env(envRepository), current: true}
	var attempt int64
	err := errors.Join(numbers([]string{p.env(envRun)}, &pl.run), numbers([]string{p.env(envAttempt)}, &attempt))
	if err != nil || !repositoryName.MatchString(pl.repository) || attempt > 1<<20 {
		return place{}, nil, fmt.Errorf("--this-run: %s, %s and %s do not name a run", envRepository, envRun, envAttempt)
	}
	pl.attempt = int(attempt)
	h, err := p.hub(map[string]string{"github.url": p.env(envAPI)}, p.env(envToken))
	return pl, h, err
}

// address yields the logs that one address names. It returns false where yield did.
func (s *source) address(ctx context.Context, arg string, yield func(input) bool) bool {
	name := redact.String(arg)
	h, err := s.hub()
	if err != nil {
		return yield(input{path: name, err: err})
	}
	pl, err := parseAddress(arg, h.site)
	if err == nil {
		h, err = h.of(ctx, pl.repository)
	}
	if err != nil {
		return yield(input{path: name, err: err})
	}
	return h.inputs(ctx, pl, yield)
}

// inputs yields the logs of a place, after what there is to say about it.
func (h *hub) inputs(ctx context.Context, pl place, yield func(input) bool) bool {
	ctx = actions.Urgent(ctx)
	var jobs []pushdoctor.Job
	var said []string
	var err error
	if pl.job != 0 {
		jobs = make([]pushdoctor.Job, 1)
		jobs[0], err = h.job(ctx, pl)
	} else {
		jobs, said, err = h.failed(ctx, pl)
	}
	if err != nil {
		return yield(input{path: pl.String(), err: withRemedy(err)})
	}
	for _, s := range said {
		if !yield(input{path: pl.String(), said: s}) {
			return false
		}
	}
	for _, j := range jobs {
		if !yield(h.input(j)) {
			return false
		}
	}
	return true
}

// job returns the job of a place, as of the attempt in which it ran.
func (h *hub) job(ctx context.Context, pl place) (pushdoctor.Job, error) {
	job, err := h.client.Job(ctx, pl.repository, pl.job)
	switch {
	case err != nil:
		return job, err
	case pl.run != 0 && pl.run != job.RunID:
		return job, fmt.Errorf("the job belongs to another run: %s#%d", job.Repository, job.RunID)
	case job.Conclusion == "":
		return job, errors.New("the job has not ended: its log can be read after its end")
	case job.Conclusion == "skipped":
		return job, errors.New("the job was skipped, and has no log")
	case job.RunAttempt < 2:
		return job, nil
	}
	// A re-run carries jobs over under new ids, and the log may stand under the old one only.
	all, err := h.client.Jobs(ctx, pushdoctor.Run{
		ID: job.RunID, Repository: job.Repository, RepositoryID: job.RepositoryID, Workflow: job.Workflow, WorkflowID: job.WorkflowID,
		Branch: job.Branch, Event: job.Event, HeadRepository: job.HeadRepository,
	})
	if err != nil {
		return job, err
	}
	for _, j := range all {
		if j.Execution() == job.Execution() && j.RunAttempt < job.RunAttempt {
			return j, nil
		}
	}
	return job, nil
}

// failed returns the jobs of an attempt of a run that failed, ran out of time or were cancelled, and what is to be said about them.
func (h *hub) failed(ctx context.Context, pl place) (jobs []pushdoctor.Job, said []string, err error) {
	run, err := h.client.Run(ctx, pl.repository, pl.run)
	if err != nil {
		return nil, nil, err
	}
	attempt := cmp.Or(pl.attempt, run.Attempt)
	if attempt > run.Attempt {
		return nil, nil, fmt.Errorf("there is no attempt %d: the run has %d", attempt, run.Attempt)
	}
	all, err := h.client.Jobs(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	// A job that the attempt carried over is told as of the attempt in which it ran. One that ran anew has an
	// execution in a later attempt, under the same name.
	newest := map[string]int{}
	for _, j := range all {
		if j.RunAttempt <= attempt {
			newest[j.Name] = max(newest[j.Name], j.RunAttempt)
		}
	}
	carried, running := 0, 0
	for _, j := range all {
		if j.RunAttempt > attempt || j.RunAttempt != newest[j.Name] {
			continue
		}
		switch j.Conclusion {
		case "":
			running++
		case "failure", "timed_out", "cancelled":
			if jobs = append(jobs, j); j.RunAttempt < attempt {
				carried++
			}
		}
	}
	if run.Attempt > 1 {
		s := fmt.Sprintf("attempt %d of %d is read", attempt, run.Attempt)
		if carried > 0 {
			s += fmt.Sprintf("; %s not run again in it", was(carried, "failed job"))
		}
		said = append(said, s)
	}
	if running > 0 && !pl.current { // we are always in one that has not ended
		said = append(said, count(running, "job")+" not read: not ended yet")
	}
	if len(jobs) == 0 {
		said = append(said, "no job failed, timed out or was cancelled")
	}
	return jobs, said, nil
}

// was returns "1 job was", "2 jobs were".
func was(n int, noun string) string {
	if n == 1 {
		return count(n, noun) + " was"
	}
	return count(n, noun) + " were"
}

// errNeverRan: there is no log, and nothing is missing.
var errNeverRan = errors.New("it was cancelled before it ran, and has no log")

// input returns the log of a job.
func (h *hub) input(job pushdoctor.Job) input {
	return input{
		path: fmt.Sprintf("%s#%d job %s", job.Repository, job.RunID, job.Name),
		job:  &job,
		open: func(ctx context.Context) (io.ReadCloser, error) {
			log, err := h.client.Log(actions.Urgent(ctx), job)
			switch {
			case errors.Is(err, actions.ErrLogNotThere) && job.Runner == "" && job.Conclusion == "cancelled":
				return nil, errNeverRan
			case err != nil:
				return nil, withRemedy(err)
			}
			return &jobLog{log}, nil
		},
	}
}

// A jobLog is a log whose errors say what to do.
type jobLog struct{ *actions.Log }

func (l *jobLog) Read(p []byte) (int, error) {
	n, err := l.Log.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = withRemedy(err)
	}
	return n, err
}

// withRemedy adds to an error of GitHub's what to do about it.
func withRemedy(err error) error {
	for _, r := range []struct {
		is   error
		todo string
	}{
		{actions.ErrUnauthorized, "check GITHUB_TOKEN or github.token_file: it is wrong, expired or revoked"},
		{actions.ErrForbidden, "give the token the right Actions: read (in a job: permissions: actions: read)"},
		{actions.ErrNotFound, "check the address, and that the token may see the repository and has the right Actions: read"},
		{actions.ErrLogNotThere, "within some minutes of the job's end it may not be there yet: try again then; a job that never got a runner has none"},
		{actions.ErrLogGone, "it was deleted, or is older than the repository keeps logs; run the job again"},
	} {
		if errors.Is(err, r.is) {
			return fmt.Errorf("%w; %s", err, r.todo)
		}
	}
	return err
}
