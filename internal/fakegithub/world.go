// Package fakegithub is a GitHub that speaks HTTP: for tests, and for the demonstration
// that needs neither token nor network. A World holds repositories, their workflow runs and
// the logs of their jobs; a Server shows it as GitHub's REST API does, with a second host
// for the logs, limits, conditional requests and, where asked for, faults.
//
// It plays what pushdoctor reads and no more: nothing can be written through its API. It is stricter than GitHub where GitHub
// promises nothing, and notes what GitHub would take offence at in Stats.
package fakegithub

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor"
)

// A World is what a fake GitHub holds. Nothing in it moves by itself: what is shown of a run is
// a function of the time at which it is asked for, so that a run of the future is not there
// yet, and one whose jobs are to end later is in progress. It is safe for concurrent use.
type World struct {
	mu            sync.RWMutex // guards what follows
	repositories  []*repository
	names, former map[string]*repository // by name in lower case, as it is and as it was
	users         map[string]bool        // the owners that are no organisations, in lower case
	installations []*installation
	runs          map[int64]*run
	jobs          map[int64]*Job
	last          struct{ repository, workflow, run, job, installation int64 } // the ids given last

	growth *growth // of the demonstration
}

// NewWorld returns an empty World.
func NewWorld() *World {
	w := &World{
		names: map[string]*repository{}, former: map[string]*repository{}, users: map[string]bool{},
		runs: map[int64]*run{}, jobs: map[int64]*Job{},
	}
	// Ids are as long as GitHub's, so that what overflows or overlaps with them does so here too.
	w.last.repository, w.last.workflow, w.last.run, w.last.job = 700_000_000, 90_000_000, 14_000_000_000, 41_000_000_000
	w.last.installation = 50_000_000
	return w
}

// A Repository is what a World knows of a repository, apart from its runs.
type Repository struct {
	ID         int64  // given by the World
	Name       string // owner/name
	Private    bool
	Archived   bool // it can be read, and nothing runs in it any more
	Disabled   bool // by GitHub's staff: lists tell it, and it answers 403
	ActionsOff bool // the routes of Actions answer 404
	Hidden     bool // it answers 404, as one that the token may not see
	Forbidden  bool // the routes of Actions answer 403: the token lacks the right to read them
}

// A Job is one job of an attempt of a run, with its log.
type Job struct {
	pushdoctor.Job
	Log   []byte
	LogAt time.Time // when the log can be had, 404 before; zero: once the job has ended
	// GoneUntil is until when a log that is there is answered with 410, as GitHub does with fresh ones now and then.
	GoneUntil time.Time
	Lost      bool // its log never arrives: 404 for good
	Gone      bool // its log was deleted: 410 for good
	// Causes are those of the findings in Log, where its maker knows them: of Live's jobs only. Nothing found is an empty slice,
	// nil is not known.
	Causes []pushdoctor.Cause
}

type repository struct {
	Repository
	workflows []workflow
	files     map[string]string // on the default branch
	runs      []*run            // the oldest first, those of one second by their ids
	deleted   map[string]bool   // branches
	tags      map[string]bool   // the names among those of the runs' branches that are no branches
}

type workflow struct {
	id         int64
	path, name string
}

type run struct {
	pushdoctor.Run // as of its first attempt, before it ended
	path           string
	attempts       []attempt
}

type attempt struct {
	startedAt  time.Time
	conclusion string
	jobs       []*Job
}

// AddRepository adds r, or does nothing if a repository of that name is there. The name may be one that another
// repository had: the old address then leads to the new one, as at GitHub.
func (w *World) AddRepository(r Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names[strings.ToLower(r.Name)] == nil {
		w.addRepository(r)
	}
}

func (w *World) addRepository(r Repository) *repository {
	w.last.repository += 1013
	r.ID = w.last.repository
	repo := &repository{Repository: r, files: map[string]string{}, deleted: map[string]bool{}, tags: map[string]bool{}}
	w.repositories = append(w.repositories, repo)
	w.names[strings.ToLower(r.Name)] = repo
	return repo
}

// Change calls change with the repository of that name, which must be there. A changed
// name is a rename, or a transfer where the owner changes: the old name then answers 301, as at GitHub.
func (w *World) Change(name string, change func(*Repository)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	repo, _ := w.find(name)
	if repo == nil {
		panic("fakegithub: no repository " + name)
	}
	before := repo.Name
	change(&repo.Repository)
	if repo.Name == before {
		return
	}
	delete(w.names, strings.ToLower(before))
	w.former[strings.ToLower(before)] = repo
	w.names[strings.ToLower(repo.Name)] = repo
	for _, r := range repo.runs {
		r.Repository = repo.Name
	}
}

// Delete takes away the repository of that name, which must be there, with its id and all that it holds. One
// that is added under its name later is another one.
func (w *World) Delete(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	repo, _ := w.find(name)
	if repo == nil {
		panic("fakegithub: no repository " + name)
	}
	for _, r := range repo.runs {
		for _, a := range r.attempts {
			for _, j := range a.jobs {
				delete(w.jobs, j.JobID)
			}
		}
		delete(w.runs, r.ID)
	}
	same := func(_ string, r *repository) bool { return r == repo }
	maps.DeleteFunc(w.names, same)
	maps.DeleteFunc(w.former, same)
	w.repositories = slices.DeleteFunc(w.repositories, func(r *repository) bool { return r == repo })
}

// AddUser makes the owner of that name a user: any other is an organisation.
func (w *World) AddUser(login string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[strings.ToLower(login)] = true
}

// find returns the repository of that name in any case, or the one that had it, and whether it
// was renamed since.
func (w *World) find(name string) (repo *repository, renamed bool) {
	name = strings.ToLower(name)
	if repo := w.names[name]; repo != nil {
		return repo, false
	}
	repo = w.former[name]
	return repo, repo != nil
}

// RemoveFile removes a file from the default branch of the repository, ".github/workflows/image.yml".
func (w *World) RemoveFile(repository, file string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if repo, _ := w.find(repository); repo != nil {
		delete(repo.files, file)
	}
}

// AddTag makes a tag of the name, which runs may have for their Branch.
func (w *World) AddTag(repository, tag string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if repo, _ := w.find(repository); repo != nil {
		repo.tags[tag] = true
	}
}

// DeleteBranch deletes a branch of the repository. Its branches are main and those of its runs.
func (w *World) DeleteBranch(repository, branch string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if repo, _ := w.find(repository); repo != nil {
		repo.deleted[branch] = true
	}
}

func (r *repository) hasBranch(name string) bool {
	if r.deleted[name] || r.tags[name] {
		return false
	}
	return name == "main" || slices.ContainsFunc(r.runs, func(x *run) bool { return x.Branch == name && x.HeadRepository == r.Name })
}

// AddRun adds a run with its first attempt, and returns it as it will be told once it has ended.
//
// The caller sets Repository, Workflow (the file's base name), CreatedAt and what else it
// cares for; the World gives the ids, and what is not set is that of a push to main which was
// successful within a minute. An unknown repository or workflow is added, the workflow with its
// file on the default branch. Times are cut to seconds, as at GitHub.
func (w *World) AddRun(r pushdoctor.Run, jobs ...Job) pushdoctor.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addRun(r, jobs)
}

func (w *World) addRun(r pushdoctor.Run, jobs []Job) pushdoctor.Run {
	repo, _ := w.find(r.Repository)
	if repo == nil {
		repo = w.addRepository(Repository{Name: r.Repository})
	}
	r.RepositoryID, r.Repository = repo.ID, repo.Name
	w.last.run += 137
	r.ID, r.Attempt = w.last.run, 1
	r.Workflow = cmp.Or(r.Workflow, "ci.yml")
	r.WorkflowName = cmp.Or(r.WorkflowName, strings.TrimSuffix(r.Workflow, path.Ext(r.Workflow)))
	r.Branch = cmp.Or(r.Branch, "main")
	r.Event = cmp.Or(r.Event, "push")
	r.HeadRepository = cmp.Or(r.HeadRepository, repo.Name)
	r.HeadSHA = cmp.Or(r.HeadSHA, fmt.Sprintf("%040x", r.ID))
	r.CreatedAt = r.CreatedAt.UTC().Truncate(time.Second)
	r.StartedAt, r.UpdatedAt = r.CreatedAt, r.CreatedAt
	r.URL = fmt.Sprintf("https://github.com/%s/actions/runs/%d", repo.Name, r.ID)

	flow := repo.workflow(".github/workflows/" + r.Workflow)
	if flow == nil {
		w.last.workflow += 11
		repo.workflows = append(repo.workflows, workflow{w.last.workflow, ".github/workflows/" + r.Workflow, r.WorkflowName})
		flow = &repo.workflows[len(repo.workflows)-1]
		repo.files[flow.path] = "name: " + flow.name + "\non: push\n"
	}
	r.WorkflowID, r.WorkflowName = flow.id, flow.name

	x := &run{Run: r, path: flow.path}
	x.attempts = []attempt{w.attempt(x, 1, r.CreatedAt, jobs)}
	x.attempts[0].conclusion = cmp.Or(r.Conclusion, x.attempts[0].conclusion)
	at, _ := slices.BinarySearchFunc(repo.runs, x, inOrder)
	repo.runs = slices.Insert(repo.runs, at, x)
	w.runs[r.ID] = x
	ended, _ := x.at(endOfTime)
	return ended
}

func inOrder(a, b *run) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// between returns the runs that were created then, both ends included, the oldest first.
func (r *repository) between(from, to time.Time) []*run {
	byTime := func(x *run, t time.Time) int { return x.CreatedAt.Compare(t) }
	begin, _ := slices.BinarySearchFunc(r.runs, from, byTime)
	end, _ := slices.BinarySearchFunc(r.runs, to.Add(1), byTime)
	return r.runs[begin:max(begin, end)]
}

// endOfTime is later than all that a World holds.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (r *repository) workflow(path string) *workflow {
	i := slices.IndexFunc(r.workflows, func(f workflow) bool { return f.path == path })
	if i < 0 {
		return nil
	}
	return &r.workflows[i]
}

// Rerun adds an attempt to a run that must be there, in which the given jobs run anew. A job of the attempt
// before whose name is not among them is carried over: the same execution under a new id.
func (w *World) Rerun(id int64, at time.Time, jobs ...Job) pushdoctor.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rerun(id, at, jobs)
}

func (w *World) rerun(id int64, at time.Time, jobs []Job) pushdoctor.Run {
	r := w.runs[id]
	if r == nil {
		panic(fmt.Sprintf("fakegithub: no run %d", id))
	}
	number := len(r.attempts) + 1
	next := w.attempt(r, number, at.UTC().Truncate(time.Second), jobs)
	for _, old := range r.attempts[number-2].jobs {
		if slices.ContainsFunc(next.jobs, func(j *Job) bool { return j.Name == old.Name }) {
			continue
		}
		carried := *old
		w.number(&carried, number)
		next.jobs = append(next.jobs, w.jobs[carried.JobID])
	}
	next.conclusion = conclude(next.jobs)
	r.attempts = append(r.attempts, next)
	ended, _ := r.at(endOfTime)
	return ended
}

func (w *World) attempt(r *run, number int, at time.Time, jobs []Job) attempt {
	a := attempt{startedAt: at}
	for _, j := range jobs {
		j.RepositoryID, j.Repository = r.RepositoryID, r.Repository
		j.Workflow, j.WorkflowID = r.Workflow, r.WorkflowID
		j.RunID, j.Branch, j.Event, j.HeadRepository = r.ID, r.Branch, r.Event, r.HeadRepository
		j.Name = cmp.Or(j.Name, "build")
		j.Conclusion = cmp.Or(j.Conclusion, "success")
		if j.StartedAt.IsZero() {
			j.StartedAt = at.Add(5 * time.Second)
		}
		j.StartedAt = j.StartedAt.UTC().Truncate(time.Second)
		if j.CompletedAt.IsZero() {
			j.CompletedAt = j.StartedAt.Add(time.Minute)
		}
		j.CompletedAt = j.CompletedAt.UTC().Truncate(time.Second)
		w.number(&j, number)
		a.jobs = append(a.jobs, w.jobs[j.JobID])
	}
	a.conclusion = conclude(a.jobs)
	return a
}

// number gives the job its id in an attempt, and keeps a copy of it.
func (w *World) number(j *Job, attempt int) {
	w.last.job += 29
	j.JobID, j.RunAttempt = w.last.job, attempt
	j.Runner = cmp.Or(j.Runner, fmt.Sprintf("GitHub Actions %d", j.JobID%1000))
	j.URL = fmt.Sprintf("https://github.com/%s/actions/runs/%d/job/%d", j.Repository, j.RunID, j.JobID)
	kept := *j
	w.jobs[j.JobID] = &kept
}

func conclude(jobs []*Job) string {
	has := func(conclusions ...string) bool {
		return slices.ContainsFunc(jobs, func(j *Job) bool { return slices.Contains(conclusions, j.Conclusion) })
	}
	switch {
	case has("failure", "timed_out"):
		return "failure"
	case has("cancelled"):
		return "cancelled"
	case len(jobs) > 0 && !has("success"):
		return "skipped"
	}
	return "success"
}

// at returns the run as it is told at that time, and the number of its newest attempt's index; ok is
// false, and the index negative, before it was created.
func (r *run) at(now time.Time) (told pushdoctor.Run, index int) {
	index = -1
	for i, a := range r.attempts {
		if !a.startedAt.After(now) {
			index = i
		}
	}
	if index < 0 {
		return pushdoctor.Run{}, index
	}
	return r.attemptAt(index, now), index
}

func (r *run) attemptAt(index int, now time.Time) pushdoctor.Run {
	a := r.attempts[index]
	told := r.Run
	told.Attempt, told.StartedAt, told.UpdatedAt = index+1, a.startedAt, a.startedAt
	told.Status, told.Conclusion = "completed", a.conclusion
	for _, j := range a.jobs {
		if j.CompletedAt.After(now) {
			told.Status, told.Conclusion = "in_progress", ""
		} else if j.CompletedAt.After(told.UpdatedAt) {
			told.UpdatedAt = j.CompletedAt
		}
	}
	return told
}

// Runs returns the repository's runs as they are told at that time, newest first: each in its newest attempt.
func (w *World) Runs(repository string, now time.Time) []pushdoctor.Run {
	w.mu.RLock()
	defer w.mu.RUnlock()
	repo, _ := w.find(repository)
	if repo == nil {
		return nil
	}
	return repo.at(now)
}

func (r *repository) at(now time.Time) []pushdoctor.Run {
	var told []pushdoctor.Run
	for _, x := range slices.Backward(r.runs) {
		if one, index := x.at(now); index >= 0 {
			told = append(told, one)
		}
	}
	return told
}

// Jobs returns the jobs of all attempts of a run, the carried-over ones included, in the order of their ids.
func (w *World) Jobs(run int64) []Job {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var jobs []Job
	if r := w.runs[run]; r != nil {
		for _, a := range r.attempts {
			for _, j := range a.jobs {
				jobs = append(jobs, *j)
			}
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Compare(a.JobID, b.JobID) })
	return jobs
}

// Repositories returns the names of all repositories, in the order in which they were added.
func (w *World) Repositories() []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var names []string
	for _, r := range w.repositories {
		names = append(names, r.Name)
	}
	return names
}
