package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
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
github.token_file or GITHUB_TOKEN, or a GitHub App that is installed on them. SIGTERM or
Ctrl-C ends it; a restart goes on where it was, counters included. SIGHUP reads the
configuration anew; one that is at fault changes nothing.`,
		Example: "  pushdoctor serve --config pushdoctor.yaml\n  GITHUB_TOKEN=$(gh auth token) pushdoctor serve --repositories octo-lab/api",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.serve(c.Context(), func() (configs.Config, error) { return p.config(flags) })
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

func (p *program) serve(ctx context.Context, load func() (configs.Config, error)) error {
	config, err := load()
	if err != nil {
		return err
	}
	s, err := p.newService(config, config.Store.Path)
	if err != nil {
		return err
	}
	s.load = load
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	return s.run(ctx, func(ctx context.Context) error {
		for {
			select {
			case <-hangups:
				_ = s.reload(ctx) // it has said what there is to say
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// A service is all that serve needs; the demonstration runs it too.
type service struct {
	program  *program
	load     func() (configs.Config, error) // reads the configuration anew; nil: it stays as it is
	db       *store.DB
	exporter *exporter.Exporter
	handler  http.Handler
	listener net.Listener
	webhook  *receiver      // nil without webhook.listen_address
	otlp     *exporter.OTLP // nil without otlp.endpoint
	log      *slog.Logger
	reloads  chan chan error // each wants the configuration to be read anew, and is told why that changed nothing

	queued   chan struct{} // holds an element once the webhook has told of work
	relisted chan struct{} // and one once it has told of other repositories

	late backlog

	backfilling sync.Mutex // held while an order is carried out, and for good once run ends
	handing     sync.Mutex // held while history or the store is told

	mu        sync.Mutex // guards what follows
	config    configs.Config
	estate    *estate
	refused   map[string]bool // by credential: GitHub refused it when it was last asked
	collected time.Time
	faults    map[string]string        // by repository or pattern as configured: why it cannot be read
	readers   map[int64]*collector     // by repository: who reads it
	watching  map[int64]string         // by repository: under which name it is watched
	named     map[string]*collector    // by name in lower case: who is to read it
	rests     map[*collector]time.Time // whose credential is refused: until then it asks nothing
	down      time.Time                // until then nothing is read, since the store could not be written
	breakOff  context.CancelCauseFunc  // ends the order that is being carried out; nil before the first
}

// newService opens the store in a file, and the listener.
func (p *program) newService(config configs.Config, file string) (s *service, err error) {
	s = &service{
		program: p, config: config, log: p.logger(), reloads: make(chan chan error), refused: map[string]bool{},
		faults: map[string]string{}, readers: map[int64]*collector{}, watching: map[int64]string{}, named: map[string]*collector{},
		rests:  map[*collector]time.Time{},
		queued: make(chan struct{}, 1), relisted: make(chan struct{}, 1),
	}
	if len(config.Repositories) == 0 {
		return nil, errNothing
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
	if config.OTLP.Endpoint != "" {
		if s.otlp, err = s.exporter.NewOTLP(context.Background(), registry, exporter.OTLPOptions{
			Endpoint: config.OTLP.Endpoint, Interval: time.Duration(config.OTLP.Interval), Version: version, Log: s.log,
		}); err != nil {
			return nil, err
		}
	}
	if s.estate, err = s.newEstate(config, nil); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/backfill", s.serveBackfill)
	mux.HandleFunc("GET "+historyPath, s.serveHistory)
	mux.HandleFunc("GET "+backupPath, s.serveStore)
	mux.HandleFunc("POST /-/reload", s.serveReload)
	mux.Handle("/", web.Handler(web.Options{
		Store: s.db, Metrics: exporter.Handler(registry, s.log), Status: s.status, Version: version, Now: time.Now, Log: s.log,
		ExternalURL: config.Web.ExternalURL,
	}))
	// A page of another site that somebody looks at may send what this one's could.
	s.handler = http.NewCrossOriginProtection().Handler(mux)
	s.listener, err = net.Listen("tcp", config.Web.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("web.listen_address: %w", err)
	}
	if config.Webhook.ListenAddress != "" {
		if s.webhook, err = s.newReceiver(); err != nil {
			return nil, errors.Join(err, s.listener.Close())
		}
	}
	return s, nil
}

// errNothing: the configuration names no repository.
var errNothing = errors.New("nothing to watch: name repositories in the configuration, with --repositories or in PUSHDOCTOR_REPOSITORIES")

// newEstate logs in as the configuration says, or goes on as the estate before where that is the same. The metrics and the page
// are told of each exchange.
func (s *service) newEstate(config configs.Config, before *estate) (*estate, error) {
	version, _ := buildInfo()
	return s.program.newEstate(config, before, s.db, s.log, func(o *actions.Options) {
		o.UserAgent = "pushdoctor/" + version
		o.Observe = s.observe
	}, func(c *collector) {
		c.diagnosed = s.exporter.Diagnosed
	})
}

func (s *service) observe(x actions.Exchange) {
	s.exporter.Exchange(exporter.Exchange(x))
	if x.Credential == "" || x.Code == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case x.Code == http.StatusUnauthorized:
		s.refused[x.Credential] = true
	case x.Code < 400, x.Code == http.StatusNotFound:
		delete(s.refused, x.Credential) // GitHub answers 403 to a bad token after some 401
	}
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
func (s *service) close() error {
	err := s.listener.Close()
	if s.webhook != nil {
		err = errors.Join(err, s.webhook.listener.Close())
	}
	return errors.Join(err, s.db.Close())
}

func (s *service) status() web.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return web.Status{TokenRefused: len(s.refused) > 0, Collected: s.collected, Faults: maps.Clone(s.faults)}
}

// settings is the configuration in force, and who reads by it.
func (s *service) settings() (configs.Config, *estate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config, s.estate
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
	config, _ := s.settings()
	return scheme(config.Web) + "://" + net.JoinHostPort(host, port)
}

// run serves and collects until ctx ends, and closes all that the service holds. started is called once it listens; nil
// for none.
func (s *service) run(ctx context.Context, started func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, s.endOrder)()
	config, _ := s.settings()
	g.Go(func() error {
		if err := web.Serve(ctx, s.listener, s.handler, config.Web.ConfigFile, s.log); err != nil {
			return fmt.Errorf("web: %w", err)
		}
		return nil
	})
	s.log.InfoContext(ctx, "pushdoctor serves", "address", s.url(), "store", config.Store.Path)
	if s.webhook != nil {
		g.Go(func() error { return s.webhook.serve(ctx) })
		s.log.InfoContext(ctx, "the webhook listens", "address", s.webhook.listener.Addr().String())
	}
	if s.otlp != nil {
		g.Go(func() error { s.otlp.Run(ctx); return nil })
	}
	g.Go(func() error { return s.work(ctx) })
	g.Go(func() error { return s.collect(ctx) })
	g.Go(func() error { return s.prune(ctx) })
	g.Go(func() error { return s.flushEach(ctx) })
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

// collect reads what the configuration in force names until ctx ends, and begins anew when another one comes into force.
func (s *service) collect(ctx context.Context) error {
	for {
		own, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		config, estate := s.settings()
		watching.Go(func() { s.watchAll(own, config, estate) })
		err := s.renewed(ctx)
		stop()
		watching.Wait()
		s.flush(ctx, estate)
		if err != nil {
			return err
		}
	}
}

// renewed waits until another configuration is in force, or returns ctx's error.
func (s *service) renewed(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case answer := <-s.reloads:
			err := s.renew()
			s.exporter.Reloaded(err == nil)
			answer <- err
			if err == nil {
				s.log.InfoContext(ctx, "the configuration was read anew")
				return nil
			}
			s.log.ErrorContext(ctx, "the configuration stays as it was", "err", err)
		}
	}
}

// renew puts the configuration into force as it is now. An error says why the one before stays.
func (s *service) renew() error {
	if s.load == nil {
		return errors.New("this service has no configuration to read anew")
	}
	config, err := s.load()
	if err != nil {
		return err
	}
	before, old := s.settings()
	if keys := fixed(before, config); len(keys) > 0 {
		return fmt.Errorf("%s cannot change while the service runs: restart it", strings.Join(keys, ", "))
	}
	if len(config.Repositories) == 0 {
		return errNothing
	}
	estate, err := s.newEstate(config, old)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config, s.estate = config, estate
	clear(s.refused)
	clear(s.rests)
	return nil
}

// fixed are the keys in which two configurations differ that are read at the start only.
func fixed(a, b configs.Config) (keys []string) {
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"store.path", a.Store.Path == b.Store.Path},
		{"web.listen_address", a.Web.ListenAddress == b.Web.ListenAddress},
		{"web.config_file", a.Web.ConfigFile == b.Web.ConfigFile},
		{"web.external_url", a.Web.ExternalURL == b.Web.ExternalURL},
		{"webhook.listen_address", a.Webhook.ListenAddress == b.Webhook.ListenAddress},
		{"webhook.secret_file", a.Webhook.SecretFile == b.Webhook.SecretFile},
		{"metrics.max_series", a.Metrics.MaxSeries == b.Metrics.MaxSeries},
		{"metrics.birth", a.Metrics.Birth == b.Metrics.Birth},
		{"otlp", a.OTLP == b.OTLP},
	} {
		if !k.same {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// reload reads the configuration anew, and says why that changed nothing.
func (s *service) reload(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case s.reloads <- answer:
		return <-answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *service) serveReload(w http.ResponseWriter, r *http.Request) {
	if config, _ := s.settings(); !config.Web.Lifecycle {
		http.Error(w, "web.lifecycle is false in this service's configuration: send it SIGHUP", http.StatusForbidden)
		return
	}
	if err := s.reload(r.Context()); err != nil {
		http.Error(w, "the configuration stays as it was: "+err.Error(), http.StatusInternalServerError)
	}
}

// endOrder breaks off the order that is being carried out: who waits for it would keep the service from ending.
func (s *service) endOrder() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.breakOff != nil {
		s.breakOff(errEnds)
	}
}

// prune removes what is older than the retention, at once and then each day.
func (s *service) prune(ctx context.Context) error {
	for {
		config, _ := s.settings()
		findings, executions, err := s.db.Prune(time.Now(), time.Duration(config.Store.Retention))
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

// flushTime is how often what is kept of GitHub's lists is written. What a kill takes away before that costs a request each.
const flushTime = 5 * time.Minute

func (s *service) flushEach(ctx context.Context) error {
	for {
		if err := sleep(ctx, flushTime); err != nil {
			return err
		}
		if s.storeDown() > 0 {
			continue // which was said
		}
		_, estate := s.settings()
		s.flush(ctx, estate)
	}
}

func (s *service) flush(ctx context.Context, e *estate) {
	if err := e.flush(); err != nil {
		s.log.WarnContext(ctx, "GitHub's lists are not kept for the next start", "err", err)
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
