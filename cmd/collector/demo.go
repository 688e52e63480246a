package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/samples"
	"github.com/akkospace/pushdoctor/store"
)

func (p *program) demoCommand() *cobra.Command {
	var once bool
	var listen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole service on sample history, without token and network",
		Long: `Runs the service against an embedded GitHub that holds 30 days of sample history, in
which new runs go on appearing. Nothing is read but the samples, and nothing stays.`,
		Example: "  pushdoctor demo\n  pushdoctor demo --once",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.demo(c.Context(), once, listen)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "collect, print what there was, and end")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "`ADDRESS` of metrics, pages and JSON; port 0 is a free one")
	return c
}

const (
	demoToken   = "demo"             // the embedded GitHub takes this one only
	demoWatched = 7 * 24 * time.Hour // the service shows itself as one that has run for so long
)

// watchedSince makes the repositories live from then on, so that the counters hold something to look at.
func (s *service) watchedSince(ctx context.Context, then time.Time) error {
	config, estate := s.settings()
	for _, name := range config.Repositories {
		info, err := estate.token.github.Repository(ctx, name)
		if err != nil {
			return err
		}
		if err := s.db.PutRepository(store.Repository{ID: info.ID, Name: info.Name, LiveSince: then}); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) demo(ctx context.Context, once bool, listen string) (err error) {
	now := time.Now()
	world, err := fakegithub.Demo(now, samples.Logs)
	if err != nil {
		return fmt.Errorf("the samples: %w", err)
	}
	server := fakegithub.New(world, fakegithub.Options{Token: demoToken, PrimaryLimit: -1, PerMinute: 1 << 20})
	if err := server.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	dir, err := os.MkdirTemp("", "pushdoctor-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	config := configs.Default()
	config.GitHub.URL = server.URL()
	config.GitHub.Token = configs.NewSecret(demoToken)
	config.GitHub.Reserve = 0
	config.Repositories = world.Repositories()
	config.Collect.Interval = model.Duration(5 * time.Second)
	config.Collect.Lookback = model.Duration(31 * 24 * time.Hour)
	config.Metrics.Birth = model.Duration(20 * time.Second)
	config.Store.Path = filepath.Join(dir, "pushdoctor.db")
	config.Web.ListenAddress = listen
	if once {
		o := order{Since: now.Add(-31 * 24 * time.Hour), Until: now, Repositories: config.Repositories}
		return p.backfill(ctx, config, o, "", "", "")
	}
	s, err := p.newService(config, config.Store.Path)
	if err != nil {
		return err
	}
	if err := s.watchedSince(ctx, now.Add(-demoWatched)); err != nil {
		return errors.Join(err, s.close())
	}
	fmt.Fprintf(p.stdout, `pushdoctor shows %d repositories of an embedded GitHub; Ctrl-C ends it.
  page      %[2]s/
  metrics   %[2]s/metrics
  findings  %[2]s/api/v1/findings
`, len(config.Repositories), s.url())
	return s.run(ctx, func(ctx context.Context) error {
		for {
			world.Grow(time.Now())
			if err := sleep(ctx, 5*time.Second); err != nil {
				return err
			}
		}
	})
}
