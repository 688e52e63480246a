package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
	"github.com/akkospace/pushdoctor/web"
)

func (p *program) serveCommand() *cobra.Command {
	flags := map[string]string{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run as a service: read what runs, serve metrics and pages",
		Long: `Reads the workflow runs of the configured repositories as they end, records each failed
push of an image, and serves metrics for Prometheus (/metrics), a page (/), JSON
(/api/v1/findings) and health (/-/healthy, /-/ready).

It needs a token that may read Actions and metadata of the repositories, in
github.token_file or GITHUB_TOKEN. SIGTERM or Ctrl-C ends it; a restart goes on where it
was, counters included.`,
		Example: "  pushdoctor serve --config pushdoctor.yaml\n  GITHUB_TOKEN=$(gh auth token) pushdoctor serve --repositories octo-lab/api",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := p.config(flags)
			if err != nil {
				return err
			}
			return p.serve(c.Context(), config)
		},
	}
	keyFlags(c, flags)
	return c
}

// keyFlags gives a command those keys of the configuration as flags that one sets by hand.
func keyFlags(c *cobra.Command, flags map[string]string) {
	for _, f := range []struct{ name, key, usage string }{
		{"repositories", "repositories", "what to watch: `NAMES` such as octo-lab/api,octo-tools/*"},
		{"store", "store.path", "the database `FILE`"},
		{"listen", "web.listen_address", "`ADDRESS` of metrics, pages and JSON"},
	} {
		c.Flags().Func(f.name, f.usage, func(v string) error {
			flags[f.key] = v
			return nil
		})
	}
}

func (p *program) serve(ctx context.Context, config configs.Config) error {
	if len(config.Repositories) == 0 {
		return errors.New("nothing to watch: name repositories in the configuration, with --repositories or in PUSHDOCTOR_REPOSITORIES")
	}
	t, err := token(config)
	if err != nil {
		return err
	}
	if t == "" {
		return errors.New("no token: give one in github.token_file, GITHUB_TOKEN or GH_TOKEN; it needs to read Actions and metadata")
	}
	s, err := p.newService(config, config.Store.Path)
	if err != nil {
		return err
	}
	return s.run(ctx, nil)
}

// A service is all that serve needs; the demonstration runs it too.
type service struct {
	config   configs.Config
	db       *store.DB
	github   *actions.Client
	collect  *collector
	exporter *exporter.Exporter
	handler  http.Handler
	listener net.Listener
	log      *slog.Logger

	backfilling sync.Mutex // held while an order is carried out, and for good once run ends

	mu        sync.Mutex // guards what follows
	refused   bool       // GitHub refused the token when it was last asked
	collected time.Time
	faults    map[string]string       // by repository or pattern as configured: why it cannot be read
	breakOff  context.CancelCauseFunc // ends the order that is being carried out; nil before the first
}

// newService opens the store in a file, and the listener.
func (p *program) newService(config configs.Config, file string) (s *service, err error) {
	s = &service{config: config, log: p.logger(), faults: map[string]string{}}
	rules, err := rulesOf(config, nil)
	if err != nil {
		return nil, err
	}
	s.db, err = store.Open(file)
	if err != nil {
		return nil, storeAdvice(err)
	}
	db := s.db // a return of nil takes s away
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	version, commit := buildInfo()
	registry := exporter.NewRegistry()
	s.exporter = exporter.New(registry, s.db, exporter.Options{
		Version: version, Revision: commit, MaxSeries: config.Metrics.MaxSeries, Birth: time.Duration(config.Metrics.Birth), Now: time.Now,
	})
	s.github, err = p.github(config, func(o *actions.Options) {
		o.Log = s.log
		o.UserAgent = "pushdoctor/" + version
		o.Observe = func(x actions.Exchange) {
			s.exporter.Exchange(x.Endpoint, x.Code, x.Credential, x.Resource, x.Limit, x.Remaining, x.Reset, x.Duration)
			if x.Credential == "token" && x.Code != 0 {
				s.mu.Lock()
				switch {
				case x.Code == http.StatusUnauthorized:
					s.refused = true
				case x.Code < 400, x.Code == http.StatusNotFound:
					s.refused = false // GitHub answers 403 to a bad token after some 401
				}
				s.mu.Unlock()
			}
		}
	})
	if err != nil {
		return nil, err
	}
	s.collect = newCollector(s.github, s.db, rules, config.Collect, s.log)
	s.collect.diagnosed = s.exporter.Diagnosed
	s.collect.workflow = s.exporter.Workflow
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/backfill", s.serveBackfill)
	s.handler = mux
	mux.Handle("/", web.Handler(web.Options{
		Store: s.db, Metrics: exporter.Handler(registry, s.log), Status: s.status, Version: version, Now: time.Now, Log: s.log,
	}))
	s.listener, err = net.Listen("tcp", config.Web.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("web.listen_address: %w", err)
	}
	return s, nil
}

// storeAdvice says what to do about a store that cannot be opened.
func storeAdvice(err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return fmt.Errorf("%w\nstop the other pushdoctor, or name another file in store.path", err)
	case errors.Is(err, store.ErrNotBolt), errors.Is(err, store.ErrForeign):
		return fmt.Errorf("%w\nname another file in store.path; this one was left as it is", err)
	case errors.Is(err, store.ErrNewer):
		return fmt.Errorf("%w\nrun the newer pushdoctor, or name another file in store.path", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w\nmake the folder of store.path first", err)
	}
	return err
}

// close lets go of what newService opened. run does so itself.
func (s *service) close() error { return errors.Join(s.listener.Close(), s.db.Close()) }

func (s *service) status() web.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return web.Status{TokenRefused: s.refused, Collected: s.collected, Faults: maps.Clone(s.faults)}
}

// scheme is how the service is spoken to: its web configuration may hold TLS, or users alone.
func scheme(w configs.Web) string {
	if data, err := os.ReadFile(w.ConfigFile); err == nil && bytes.Contains(data, []byte("tls_server_config")) {
		return "https"
	}
	return "http"
}

// url is the address of the page on this machine.
func (s *service) url() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme(s.config.Web) + "://" + net.JoinHostPort(host, port)
}

// run serves and collects until ctx ends, and closes all that the service holds. started is called once it listens; nil
// for none.
func (s *service) run(ctx context.Context, started func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, s.endOrder)()
	g.Go(func() error {
		if err := web.Serve(ctx, s.listener, s.handler, s.config.Web.ConfigFile, s.log); err != nil {
			return fmt.Errorf("web: %w", err)
		}
		return nil
	})
	s.log.InfoContext(ctx, "pushdoctor serves", "address", s.url(), "store", s.config.Store.Path)
	g.Go(func() error { return s.watchAll(ctx) })
	g.Go(func() error { return s.lateReads(ctx) })
	g.Go(func() error { return s.prune(ctx) })
	if started != nil {
		g.Go(func() error { return started(ctx) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	s.backfilling.Lock() // until the order that was broken off has let go of the store; none comes after it
	return errors.Join(err, s.db.Close())
}

// endOrder breaks off the order that is being carried out: who waits for it would keep the service from ending.
func (s *service) endOrder() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.breakOff != nil {
		s.breakOff(errEnds)
	}
}

// refresh is how often the patterns of repositories are looked up anew.
const refresh = 10 * time.Minute

// watchAll watches each repository that the configuration names, on its own: none waits for another.
func (s *service) watchAll(ctx context.Context) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	watched := map[string]context.CancelFunc{}
	for {
		names, unknown := repositories(ctx, s.github, s.config.Repositories)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, p := range s.config.Repositories {
			err := unknown[p]
			s.fault(p, err)
			if err == nil {
				continue
			}
			s.log.ErrorContext(ctx, "repositories are not known", "pattern", p, "err", err, "advice", advice(err))
			if err := s.db.CountError(p, reasonOf(err)); err != nil {
				s.log.ErrorContext(ctx, "an error could not be counted", "err", err)
			}
		}
		for _, name := range names {
			if _, ok := watched[name]; ok {
				continue
			}
			own, stop := context.WithCancel(ctx)
			watched[name] = stop
			watchers.Go(func() { s.watch(own, name) })
		}
		wait := refresh
		if len(unknown) > 0 { // a repository is not gone because a list could not be had
			wait = time.Duration(s.config.Collect.Interval)
		} else {
			for name, stop := range watched {
				if !slices.Contains(names, name) {
					stop()
					delete(watched, name)
				}
			}
		}
		if len(names) == 0 && len(unknown) == 0 {
			s.log.WarnContext(ctx, "no repository matches", "repositories", s.config.Repositories)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// sweepAgain is when a sweep that did not get through is tried again.
const sweepAgain = 10 * time.Minute

// watch polls a repository in the configured interval until ctx ends.
func (s *service) watch(ctx context.Context, name string) {
	said, id, label := "", int64(0), name
	defer func() {
		s.exporter.Dropped(label)
		s.fault(name, nil)
	}()
	var next time.Time // sweep: each start does so once
	for {
		sweep := !time.Now().Before(next)
		done, err := s.collect.poll(ctx, name, sweep)
		if ctx.Err() != nil {
			return
		}
		if done.repository == 0 {
			done.repository = id // it was known before
		}
		id = done.repository
		if done.name != "" && done.name != label {
			s.exporter.Dropped(label) // the series carry the name that GitHub tells
			label = done.name
		}
		done.name = label
		s.fault(name, err)
		if sweep {
			next = time.Now().Add(sweepAgain)
			if err == nil {
				next = time.Now().Add(time.Duration(s.config.Collect.Sweep))
			}
		}
		said = s.note(ctx, name, done, err, said)
		interval := time.Duration(s.config.Collect.Interval)
		// Not all at once: a tenth of the interval, earlier or later.
		if sleep(ctx, interval+time.Duration((rand.Float64()-0.5)*0.2*float64(interval))) != nil {
			return
		}
	}
}

// fault notes why a repository or a pattern cannot be read, for the page; nil: it can.
func (s *service) fault(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.faults, name)
		return
	}
	s.faults[name] = advice(err)
}

// note tells what a poll came to: metrics, the page, the log. said is the advice of the poll before, and it returns that of this one.
func (s *service) note(ctx context.Context, name string, done progress, err error, said string) string {
	now := time.Now()
	state, reason := "", ""
	if err != nil {
		state, reason = reasonOf(err), advice(err)
		if e := s.db.CountError(done.name, state); e != nil {
			s.log.ErrorContext(ctx, "an error could not be counted", "err", e)
		}
		if reason != said {
			s.log.ErrorContext(ctx, "a repository could not be read", "repository", name, "err", err, "advice", reason)
		}
	} else {
		if said != "" {
			s.log.InfoContext(ctx, "the repository can be read again", "repository", name)
		}
		if done.jobs > 0 {
			s.log.InfoContext(ctx, "collected", "repository", name, "runs", done.runs, "logs", done.jobs)
		}
		s.mu.Lock()
		s.collected = now
		s.mu.Unlock()
	}
	if e := s.waiting(name, err == nil, now, done, state, reason); e != nil {
		s.log.ErrorContext(ctx, "the store cannot be read or written", "err", e)
	}
	return reason
}

// waiting tells the exporter how far the repository's reading has come, and the store how it ended.
func (s *service) waiting(name string, good bool, now time.Time, done progress, state, reason string) error {
	repos, err := s.db.Repositories()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(repos, func(r store.Repository) bool {
		return r.ID == done.repository || done.repository == 0 && strings.EqualFold(r.Name, name) // it may have been renamed
	})
	var at store.Repository
	if i >= 0 {
		at = repos[i]
		if at.State != state || at.Reason != reason {
			at.State, at.Reason = state, reason
			if err := s.db.PutRepository(at); err != nil {
				return err
			}
		}
	}
	pending, err := s.db.DuePending(now.AddDate(10, 0, 0), 10000)
	if err != nil {
		return err
	}
	c := exporter.Collection{Oldest: done.failed}
	if good {
		c.At = now
	}
	for _, p := range pending {
		if p.Job.RepositoryID == at.ID && i >= 0 {
			c.Pending++
			c.Oldest = earlier(c.Oldest, p.Job.CompletedAt)
		}
	}
	s.exporter.Collected(done.name, c)
	return nil
}

// lateReads asks again for logs that could not be had.
func (s *service) lateReads(ctx context.Context) error {
	said := ""
	for {
		reason := ""
		if err := s.collect.late(ctx); err != nil && ctx.Err() == nil {
			if reason = advice(err); reason != said {
				s.log.ErrorContext(ctx, "logs could not be asked for again", "err", err, "advice", reason)
			}
		}
		said = reason
		if err := sleep(ctx, 10*time.Second); err != nil {
			return err
		}
	}
}

// prune removes what is older than the retention, at once and then each day.
func (s *service) prune(ctx context.Context) error {
	for {
		findings, executions, err := s.db.Prune(time.Now(), time.Duration(s.config.Store.Retention))
		switch {
		case err != nil:
			s.log.ErrorContext(ctx, "old findings could not be removed", "err", err)
		case findings+executions > 0:
			s.log.InfoContext(ctx, "old findings removed", "findings", findings, "executions", executions)
		}
		if err := sleep(ctx, 24*time.Hour); err != nil {
			return err
		}
	}
}

// sleep waits, and returns ctx's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
