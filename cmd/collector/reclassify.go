package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/store"
)

func (p *program) reclassifyCommand() *cobra.Command {
	var (
		flags             = map[string]string{}
		since, repository string
		dry, verbose      bool
	)
	c := &cobra.Command{
		Use:   "reclassify [flags]",
		Short: "Judge the findings of the store again, by today's rules",
		Long: `Asks the rules that are in force now about the findings that are in the store, by the
lines that were kept of each. Says which causes became which, and rewrites the findings.

A finding keeps its cause where the kept lines do not decide: no log is read again. The
counters keep what was counted, so metrics do not change; findings, pages and JSON do.
Copy the store before: what a rule turned is not turned back as it was.

It may be broken off and begun again at will. It needs the store to itself: stop serve
before.

Exit status: 0 all was judged; 2 the store could not be read or written; 130 broken off.`,
		Example: "  pushdoctor reclassify --dry-run -v\n  pushdoctor reclassify --since 30d --repository octo-lab/api",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := p.config(flags)
			if err != nil {
				return err
			}
			q, err := findingsQuery(since, "", repository, "", time.Now())
			if err != nil {
				return err
			}
			rules, err := rulesOf(config, nil)
			if err != nil {
				return err
			}
			return p.reclassify(c.Context(), config, rules, q, dry, verbose)
		},
	}
	c.Flags().StringVar(&since, "since", "400d", "jobs that ended at this `TIME` or later: an age (90d), a day (2026-09-01) or RFC 3339")
	c.Flags().StringVar(&repository, "repository", "", "only this `OWNER/NAME`")
	c.Flags().BoolVar(&dry, "dry-run", false, "change nothing")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show each finding that changes")
	c.Flags().Func("store", "the database `FILE`", func(v string) error {
		flags["store.path"] = v
		return nil
	})
	return c
}

// A turn is a change of cause.
type turn struct{ from, to pushdoctor.Cause }

// reclassify judges the findings of a query again, a page in a transaction.
func (p *program) reclassify(ctx context.Context, config configs.Config, rules *classifier.Rules, q store.Query, dry, verbose bool) (err error) {
	path, open := config.Store.Path, store.Open
	if dry {
		open = store.OpenReadOnly
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no store %s: serve and backfill make it (store.path or --store names another)", path)
	}
	db, err := open(path)
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("%w\nstop it, reclassify, and start it again; or reclassify a copy, with --store", err)
	}
	if err != nil {
		return storeAdvice(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetStaleAfter(time.Duration(config.Metrics.StaleAfter))
	out := &guard{w: p.stdout, plain: true}
	turns := map[turn]int{}
	judged := 0
	for ctx.Err() == nil {
		page, err := db.Find(q)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		q.After = page[len(page)-1].ID
		judged += len(page)
		var changed []store.Stored
		for _, f := range page {
			now, ok := rules.Judge(f.Finding, f.Facts)
			if !ok {
				continue
			}
			turns[turn{f.Cause, now.Cause}]++
			if verbose {
				fmt.Fprintf(out, "%s  %s -> %s  %s\n", f.ID, f.Cause, now.Cause, now.Rule)
			}
			f.Finding = now
			changed = append(changed, f)
		}
		if dry || len(changed) == 0 {
			continue
		}
		if _, err := db.Rewrite(changed); err != nil {
			return errors.Join(fmt.Errorf("%w\nthe pages before were rewritten", err), out.flush())
		}
	}
	p.showTurns(out, turns, judged, dry)
	if err := out.flush(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(p.stderr, "pushdoctor: broken off; the same command goes on")
		return exitStatus(exitInterrupted)
	}
	return nil
}

// showTurns prints which causes became which, the most frequent first.
func (p *program) showTurns(out *guard, turns map[turn]int, judged int, dry bool) {
	order := make([]turn, 0, len(turns))
	width, others, same := 0, 0, 0
	for t, n := range turns {
		if t.from == t.to {
			same += n
			continue
		}
		others += n
		width = max(width, len(t.from)+len(" -> ")+len(t.to))
		order = append(order, t)
	}
	slices.SortFunc(order, func(a, b turn) int {
		return cmp.Or(cmp.Compare(turns[b], turns[a]), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	for _, t := range order {
		fmt.Fprintf(out, "%-*s  %d\n", width, fmt.Sprintf("%s -> %s", t.from, t.to), turns[t])
	}
	end := ""
	if dry {
		end = "; nothing was written"
	}
	fmt.Fprintf(p.stderr, "pushdoctor: %s judged, %d with another cause, %d with another rule or confidence for the same%s\n", count(judged, "finding"), others, same, end)
}
