package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/store"
	"github.com/akkospace/pushdoctor/web"
)

func (p *program) backfillCommand() *cobra.Command {
	var (
		flags        = map[string]string{}
		since, until string
		names        []string
		server       string
		history      string
	)
	c := &cobra.Command{
		Use:   "backfill [flags]",
		Short: "Read history once: the last 90 days, or as you say",
		Long: `Reads the runs that were created between two times, records each failed push of an image,
and says at the end what there was, by cause and repository. Before, it says how many
runs that are and what it will about cost.

It may be broken off and begun again at will: what was read is not read or counted again.
Beside a running serve, which holds the store, it asks that service to do it; that
needs web.admin in the service's configuration.

GitHub keeps logs for 90 days, or for as long as the repository says.

With --openmetrics, all that the store holds of history then goes into a file for Prometheus, with
the times at which it happened: what ended before serve watched its repository, whenever it
was read. docs/history.md says how to load it.

Exit status: 0 all was read that is there; 2 a repository could not be read, or not whole
(the rest was); 130 broken off. Logs that are gone or not there yet are told at the end.`,
		Example: "  pushdoctor backfill --since 90d\n  pushdoctor backfill --since 2026-09-01 --until 2026-10-01 --repository octo-lab/api\n  pushdoctor backfill --openmetrics history.om",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := p.config(flags)
			if err != nil {
				return err
			}
			o := order{Repositories: names}
			again := p.options(flags["store.path"], server)
			if history != "" {
				again += " --openmetrics " + shellWord(history)
				if err := mayWrite(history); err != nil { // not after hours
					return err
				}
			}
			if len(names) == 0 {
				o.Repositories = config.Repositories
			}
			if o.Since, err = instant("since", since, time.Now()); err != nil {
				return err
			}
			if o.Until, err = instant("until", until, time.Now()); err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			return p.backfill(c.Context(), config, o, server, again, history)
		},
	}
	c.Flags().StringVar(&since, "since", "90d", "`TIME` to begin at: an age (90d), a day (2026-09-01) or RFC 3339")
	c.Flags().StringVar(&until, "until", "0s", "`TIME` to end at")
	c.Flags().StringArrayVar(&names, "repository", nil, "`NAME` (owner/name, owner/*) instead of the configured ones; may be repeated")
	c.Flags().StringVar(&history, "openmetrics", "", "`FILE` for Prometheus to write history into; - is standard output, and the summary goes to stderr")
	c.Flags().StringVar(&server, "server", "", "`URL` of a running pushdoctor serve to ask")
	c.Flags().Func("store", "the database `FILE`", func(v string) error {
		flags["store.path"] = v
		return nil
	})
	return c
}

// instant reads a flag's time as the API does.
func instant(flag, s string, now time.Time) (time.Time, error) {
	t, err := web.ParseTime(s, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// An order says what to backfill.
type order struct {
	Since        time.Time `json:"since"` // creation of the runs
	Until        time.Time `json:"until"`
	Repositories []string  `json:"repositories"` // names and patterns, as in the configuration
}

func (o order) window() actions.Window { return actions.Window{From: o.Since, To: o.Until} }

func (o order) check() error {
	switch {
	case len(o.Repositories) == 0:
		return errors.New("nothing to read: name repositories in the configuration or with --repository")
	case slices.ContainsFunc(o.Repositories, func(name string) bool {
		owner, repo, ok := strings.Cut(strings.TrimPrefix(name, "!"), "/")
		return !ok || owner == "" || repo == "" || strings.ContainsAny(name, " \t\n") || strings.Contains(repo, "/")
	}):
		return fmt.Errorf("repositories %q: write owner/name or owner/*", o.Repositories)
	case !o.Since.Before(o.Until):
		return fmt.Errorf("--since %s is not before --until %s", o.Since.Format(time.RFC3339), o.Until.Format(time.RFC3339))
	}
	return nil
}

// command is the command line that goes on with the order; options are those that stand before the order's own.
func (o order) command(options string) string {
	args := []string{"pushdoctor backfill" + options, "--since", o.Since.Format(time.RFC3339), "--until", o.Until.Format(time.RFC3339)}
	for _, name := range o.Repositories {
		args = append(args, "--repository", shellWord(name))
	}
	return strings.Join(args, " ")
}

// options are those of this command line without which another one would read elsewhere, or write into another store. There
// is a blank before each.
func (p *program) options(file, server string) string {
	var args []string
	for _, f := range []struct{ flag, value string }{{" --config ", p.configFile}, {" --store ", file}, {" --server ", withoutPassword(server)}} {
		if f.value != "" {
			args = append(args, f.flag+shellWord(f.value))
		}
	}
	return strings.Join(args, "")
}

// shellWord is s as one word of a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// A notice is what a backfill tells on its way: one of its fields is set.
type notice struct {
	Estimate *estimate `json:"estimate,omitempty"`
	Progress *advance  `json:"progress,omitempty"`
	Problem  string    `json:"problem,omitempty"` // something that was not read; the backfill goes on
	Summary  *summary  `json:"summary,omitempty"` // the last one
	Failed   string    `json:"failed,omitempty"`  // why there is no summary
}

type estimate struct {
	Repositories int           `json:"repositories"`
	Runs         int           `json:"runs"`
	Requests     int           `json:"requests"`
	Duration     time.Duration `json:"duration_ns"`
}

type advance struct {
	Repository string `json:"repository"`
	Runs       int    `json:"runs"` // looked at, of all repositories
	Of         int    `json:"of"`
	Logs       int    `json:"logs"` // asked for
}

// Of how many runs the estimate takes one as failed, and how many requests that one costs: its jobs, and a log or two.
const (
	failedRuns     = 7
	failedRequests = 2.5
)

// A filler carries out orders.
type filler struct {
	estate *estate
	db     *store.DB
	now    func() time.Time
}

// backfill reads the runs of an order. What it finds out on the way goes to tell, the summary last. Its error says why it could not
// go on to the end.
func (f filler) backfill(ctx context.Context, o order, tell func(notice)) error {
	var mu sync.Mutex // guards s and the order of what is told
	s := summary{Since: o.Since, Until: o.Until}
	// What is not read is told and counted; some errors end all.
	problem := func(name string, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errStore) || errors.Is(err, actions.ErrUnauthorized) {
			return fmt.Errorf("%w\n%s", err, advice(err))
		}
		mu.Lock()
		defer mu.Unlock()
		s.Unread++
		tell(notice{Problem: fmt.Sprintf("%s: %s (%v)", name, advice(err), err)})
		return stored(f.db.CountError(name, reasonOf(err)))
	}
	tasks, e, err := f.plan(ctx, o, problem)
	if err != nil {
		return err
	}
	tell(notice{Estimate: &e})

	looked := 0 // runs
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for _, t := range tasks {
		if err := f.known(t.info); err != nil {
			return err
		}
		for _, w := range pieces(o.window(), t.runs, f.now()) {
			g.Go(func() error {
				var before progress
				done := t.by.window(within, t.info.Name, w, pass{again: true, looked: func(done progress) {
					mu.Lock()
					defer mu.Unlock()
					looked += done.runs - before.runs
					s.Logs += done.jobs - before.jobs
					before = progress{runs: done.runs, jobs: done.jobs}
					tell(notice{Progress: &advance{Repository: t.info.Name, Runs: looked, Of: e.Runs, Logs: s.Logs}})
				}})
				if within.Err() != nil {
					return within.Err()
				}
				if done.err != nil {
					if err := problem(t.info.Name, done.err); err != nil {
						return err
					}
				}
				mu.Lock()
				defer mu.Unlock()
				s.Expired += done.results[store.ResultExpired]
				s.Unreadable += done.results[store.ResultUnreadable]
				s.Truncated += done.results[store.ResultTruncated]
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	readers := map[int64]*collector{}
	for _, t := range tasks {
		readers[t.info.ID] = t.by
	}
	asked := map[*collector]bool{}
	for _, by := range readers {
		if asked[by] {
			continue
		}
		asked[by] = true
		if err := by.late(ctx, func(j pushdoctor.Job) bool { return readers[j.RepositoryID] == by }); err != nil {
			return err
		}
	}
	if err := f.summarize(&s, tasks); err != nil {
		return err
	}
	tell(notice{Summary: &s})
	return nil
}

const (
	together = 4 // windows are listed at a time
	// Of so many runs a window is made for the listing: GitHub cuts a list of more than 1,000, which is then asked for in halves.
	pieceRuns = 500
	maxPieces = 256
)

// pieces cuts a window of so many runs into some that can be listed at the same time.
func pieces(w actions.Window, runs int, now time.Time) []actions.Window {
	end := w.To
	if end.After(now) {
		end = now // what is to come may lie in the last piece
	}
	n := min(1+runs/pieceRuns, maxPieces)
	step := end.Sub(w.From) / time.Duration(n)
	if step < time.Minute {
		return []actions.Window{w}
	}
	var all []actions.Window
	from := w.From
	for i := 1; i < n; i++ {
		to := w.From.Add(step * time.Duration(i)).Truncate(time.Second)
		all = append(all, actions.Window{From: from, To: to})
		from = to.Add(time.Second)
	}
	return append(all, actions.Window{From: from, To: w.To})
}

// A task is a repository of an order.
type task struct {
	info actions.RepositoryInfo
	by   *collector
	runs int
}

// plan asks which repositories and how many runs an order is about, and reckons what that will cost.
func (f filler) plan(ctx context.Context, o order, problem func(name string, err error) error) (tasks []task, e estimate, err error) {
	found := f.estate.survey(ctx, o.Repositories)
	for pattern, err := range found.faults {
		if err := problem(pattern, err); err != nil {
			return nil, e, err
		}
	}
	for _, i := range found.idle {
		if errors.Is(i.err, errArchived) { // its history is there
			found.plots = append(found.plots, plot{i.Name, i.by})
		}
	}
	if len(found.plots) == 0 {
		return nil, e, fmt.Errorf("no repository matches %s", strings.Join(o.Repositories, ", "))
	}
	all := make([]task, len(found.plots))
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for i, p := range found.plots {
		g.Go(func() error {
			info, err := p.by.github.Repository(within, p.name)
			n := 0
			if err == nil {
				n, err = p.by.github.Count(within, info.Name, o.window())
			}
			if err != nil {
				return problem(p.name, err)
			}
			all[i] = task{info, p.by, n}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, e, err
	}
	left := map[*actions.Client]int{} // requests, by credential
	for _, t := range all {
		if t.by == nil {
			continue // told as a problem
		}
		tasks = append(tasks, t)
		e.Runs += t.runs
		requests := 2 + (t.runs+99)/100 + int(failedRequests*float64(t.runs)/failedRuns)
		e.Requests += requests
		left[t.by.github] += requests
	}
	e.Repositories = len(tasks)
	// GitHub answers some ten requests a second; when the hour's are used up, the next hour must come.
	e.Duration = time.Duration(e.Requests) * time.Second / 10
	for github, requests := range left {
		if b := github.Budget(); b.Limit > 0 && requests > b.Remaining {
			e.Duration = max(e.Duration, time.Duration(float64(requests-b.Remaining)/float64(b.Limit)*float64(time.Hour)))
		}
	}
	return tasks, e, nil
}

// known tells the store of a repository that it has not met, or met under another name. It does not make it live.
func (f filler) known(info actions.RepositoryInfo) error {
	repo, ok, err := f.db.Repository(info.ID)
	if err != nil {
		return stored(err)
	}
	if ok && repo.Name == info.Name {
		return nil
	}
	repo.ID, repo.Name = info.ID, info.Name
	return stored(f.db.PutRepository(repo))
}

// A summary says what a store holds of the time and the repositories of a backfill.
type summary struct {
	Since        time.Time `json:"since"`
	Until        time.Time `json:"until"`
	Repositories int       `json:"repositories"`
	Unread       int       `json:"unread"`  // repositories that were not read, or not whole
	Logs         int       `json:"logs"`    // asked for now
	Pending      int       `json:"pending"` // logs that will be asked for again
	Expired      int       `json:"expired"` // logs that GitHub had deleted, of those asked for now
	Unreadable   int       `json:"unreadable"`
	Truncated    int       `json:"truncated"` // logs not read whole
	Findings     int       `json:"findings"`
	Retried      int       `json:"retried"` // of these, cured by a retry
	ByCause      []tally   `json:"by_cause"`
	ByRepository []tally   `json:"by_repository"`
}

type tally struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// summarize adds what the store holds of the tasks.
func (f filler) summarize(s *summary, tasks []task) error {
	s.Repositories = len(tasks)
	causes, repos := map[string]int{}, map[string]int{}
	in := map[string]bool{}
	ids := map[int64]bool{}
	for _, t := range tasks {
		in[strings.ToLower(t.info.Name)], ids[t.info.ID] = true, true
	}
	q := store.Query{Since: s.Since, Limit: pageSize}
	if f.now().Sub(s.Until) > time.Hour { // else what ended while the backfill went on belongs to it
		q.Until = s.Until
	}
	for {
		page, err := f.db.Find(q)
		if err != nil {
			return stored(err)
		}
		for _, f := range page {
			if !in[strings.ToLower(f.Repository)] {
				continue
			}
			s.Findings++
			if f.Recovered {
				s.Retried++
			}
			causes[string(f.Cause)]++
			repos[f.Repository]++
		}
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].ID
	}
	pending, err := f.db.DuePending(f.now().AddDate(10, 0, 0), 100000)
	if err != nil {
		return stored(err)
	}
	for _, p := range pending {
		if ids[p.Job.RepositoryID] {
			s.Pending++
		}
	}
	s.ByCause, s.ByRepository = tallies(causes), tallies(repos)
	return nil
}

// tallies returns the counts, the highest first.
func tallies(m map[string]int) []tally {
	out := make([]tally, 0, len(m))
	for name, n := range m {
		out = append(out, tally{name, n})
	}
	slices.SortFunc(out, func(a, b tally) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return out
}

// print writes the summary for people.
func (s summary) print(w io.Writer) {
	fmt.Fprintf(w, "%s in %s from %s to %s", count(s.Findings, "failed push"), count(s.Repositories, "repository"), s.Since.Format(time.DateOnly), s.Until.Format(time.DateOnly))
	if s.Retried > 0 {
		fmt.Fprintf(w, ", %d of them cured by a retry", s.Retried)
	}
	fmt.Fprintln(w)
	for _, part := range []struct {
		title string
		rows  []tally
		words func(name string) string
	}{
		{"by cause", s.ByCause, func(name string) string { return causeWords(pushdoctor.Cause(name)) }},
		{"by repository", s.ByRepository, func(string) string { return "" }},
	} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		width := 0
		for _, r := range part.rows {
			width = max(width, len(r.Name))
		}
		for _, r := range part.rows {
			line := fmt.Sprintf("%6d  %-*s  %s", r.Count, width, r.Name, part.words(r.Name))
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
	fmt.Fprintf(w, "\n%s read now\n", count(s.Logs-s.Expired-s.Unreadable, "log"))
	for _, lost := range []struct {
		n    int
		what string
	}{
		{s.Expired, "gone: GitHub keeps them for 90 days, or as long as the repository says"},
		{s.Unreadable, "never there: the runner died, or GitHub lost them"},
		{s.Truncated, "not read whole: collect.max_log"},
		{s.Pending, "not there yet: the next backfill, or serve, asks again"},
	} {
		if lost.n > 0 {
			fmt.Fprintf(w, "%s %s\n", count(lost.n, "log"), lost.what)
		}
	}
}

// backfill runs an order here, or by the service that holds the store, and then writes history into a file, if it is told one. options
// are for the command that goes on with it.
func (p *program) backfill(ctx context.Context, config configs.Config, o order, server, options, history string) error {
	out := &guard{w: p.stdout, plain: true}
	if history == "-" {
		out = p.stderr
	}
	bar := newBar(p.stderr, time.Now)
	var end *summary
	tell := func(n notice) {
		switch {
		case n.Estimate != nil:
			bar.line("%s runs in %s: about %s requests to GitHub, %s or more, if one run in %d failed",
				thousands(n.Estimate.Runs), count(n.Estimate.Repositories, "repository"), thousands(n.Estimate.Requests), rough(n.Estimate.Duration), failedRuns)
		case n.Progress != nil:
			bar.show(*n.Progress)
		case n.Problem != "":
			bar.line("%s", n.Problem)
		case n.Summary != nil:
			end = n.Summary
		}
	}
	err := p.carryOut(ctx, config, o, server, tell)
	bar.end()
	if err == nil && ctx.Err() == nil {
		end.print(out)
		if err := out.flush(); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		if history != "" {
			err = p.writeHistory(ctx, config, server, history)
		}
	}
	if ctx.Err() != nil {
		fmt.Fprintf(p.stderr, "pushdoctor: broken off; go on with\n  %s\n", o.command(options))
		return exitStatus(exitInterrupted)
	}
	if err != nil {
		return err
	}
	if end.Unread > 0 {
		fmt.Fprintf(p.stderr, "pushdoctor: %s could not be read, or not whole; go on with\n  %s\n", count(end.Unread, "repository"), o.command(options))
		return exitStatus(exitFailed)
	}
	return nil
}

func (p *program) carryOut(ctx context.Context, config configs.Config, o order, server string, tell func(notice)) (err error) {
	if server != "" {
		return askBackfill(ctx, server, o, tell)
	}
	db, err := store.Open(config.Store.Path)
	if errors.Is(err, store.ErrLocked) {
		server, unknown := listenURL(config.Web)
		if unknown != nil {
			return fmt.Errorf("%w\n%w", storeAdvice(err), unknown)
		}
		fmt.Fprintf(p.stderr, "pushdoctor: another process holds %s; asking %s to do it\n", config.Store.Path, server)
		if asked := askBackfill(ctx, server, o, tell); asked != nil {
			return fmt.Errorf("%w\nthe store: %w", asked, err)
		}
		return nil
	}
	if err != nil {
		return storeAdvice(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	e, err := p.newEstate(config, nil, db, p.logger(), nil, nil)
	if err != nil {
		return err
	}
	return filler{e, db, p.clock()}.backfill(ctx, o, tell)
}

var errEnds = errors.New("the service ends; the same command goes on once it is back")

// serveBackfill carries out the orders that askBackfill sends, one at a time.
func (s *service) serveBackfill(w http.ResponseWriter, r *http.Request) {
	refuse := func(code int, text string) { http.Error(w, text, code) }
	config, estate := s.settings()
	if !config.Web.Admin {
		refuse(http.StatusForbidden, "web.admin is false in this service's configuration: it only answers, and does not backfill")
		return
	}
	// A page in somebody's browser can send a form, but not JSON, to another site without being asked first; newService refuses
	// what a browser says comes from another site.
	if r.Header.Get("Content-Type") != "application/json" {
		refuse(http.StatusUnsupportedMediaType, "an order is application/json")
		return
	}
	var o order
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		refuse(http.StatusBadRequest, "the order cannot be read: "+err.Error())
		return
	}
	if err := o.check(); err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	if !s.backfilling.TryLock() {
		refuse(http.StatusConflict, "a backfill is under way")
		return
	}
	defer s.backfilling.Unlock()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	s.mu.Lock()
	s.breakOff = cancel
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	answer := http.NewResponseController(w)
	tell := func(n notice) {
		// A backfill takes hours, and the listener's deadlines are made for pages. Who does not take what is told in a minute has gone.
		// That ends the request's context, and with it the backfill; errors here say no more.
		_ = answer.SetWriteDeadline(time.Now().Add(time.Minute))
		_ = enc.Encode(n)
		_ = answer.Flush()
	}
	if err := (filler{estate, s.db, s.program.clock()}).backfill(ctx, o, tell); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		tell(notice{Failed: err.Error()})
	}
}
