package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/akkospace/pushdoctor/store"
)

func (p *program) storeCommand() *cobra.Command {
	var (
		flags      = map[string]string{}
		repository string
		server     string
		yes        bool
	)
	check := &cobra.Command{
		Use:   "check",
		Short: "Say what the store holds, and what is wrong with it",
		Long: `Reads the whole store, says what it holds, and tells every fault: rows that cannot be
read, indexes that disagree, pages that are lost. Nothing is written.

Exit status: 0 no fault; 1 faults; 2 the store could not be looked at.`,
		Example: "  pushdoctor store check --config pushdoctor.yaml\n  pushdoctor store check --store copy.db",
		Args:    noArgs,
		RunE:    p.withStore(flags, p.checkStore),
	}
	compact := &cobra.Command{
		Use:   "compact",
		Short: "Take the free pages out of the store",
		Long: `Writes the store into a new file beside it, without the pages that retention and "store
forget" have freed, compares the two, and puts the new one in the place of the old. Whatever
breaks it off leaves the store as it was. It needs room for both on the disk.

Exit status: 0 done; 2 it could not be done, and the store is as it was.`,
		Example: "  pushdoctor store compact --config pushdoctor.yaml",
		Args:    noArgs,
		RunE:    p.withStore(flags, p.compactStore),
	}
	forget := &cobra.Command{
		Use:   "forget --repository OWNER/NAME [--yes]",
		Short: "Remove a repository from the store",
		Long: `Removes what the store holds of a repository: findings, what was read and counted, and its
series of metrics. Without --yes it only says what that is. Broken off, the same command goes
on. A service that still watches the repository reads its last day anew.

Exit status: 0 done, or said; 2 it could not be done, or the store does not know the repository.`,
		Example: "  pushdoctor store forget --repository octo-lab/api\n  pushdoctor store forget --repository octo-lab/api --yes && pushdoctor store compact",
		Args:    noArgs,
		RunE: p.withStore(flags, func(_ context.Context, path string) error {
			return p.forget(path, repository, yes)
		}),
	}
	forget.Flags().StringVar(&repository, "repository", "", "the `OWNER/NAME`, or the id of the repository")
	forget.Flags().BoolVar(&yes, "yes", false, "remove it")
	backup := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store, also while a service writes to it",
		Long: `Copies the store into FILE, as it is at one moment. Beside a running service, that service is asked
for the copy, and goes on; it needs web.admin: true in its configuration. FILE gets its name once the copy
is whole, with mode 0600: it holds the redacted lines of logs. To bring it back, stop the service and
move FILE to store.path.

Exit status: 0 done; 2 it could not be done, and FILE is as it was.`,
		Example: "  pushdoctor store backup --config pushdoctor.yaml /backup/pushdoctor-$(date +%a).db",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("store backup takes one file for the copy, got %q", args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			config, err := p.config(flags)
			if err != nil {
				return err
			}
			return p.backupStore(c.Context(), config, server, args[0])
		},
	}
	backup.Flags().StringVar(&server, "server", "", "the `URL` of the service whose store is copied")
	for _, c := range []*cobra.Command{backup, check, compact, forget} {
		c.Flags().Func("store", "the database `FILE`", func(v string) error {
			flags["store.path"] = v
			return nil
		})
	}
	return group("store", "Copy, check, compact or clean the store", backup, check, compact, forget)
}

// withStore calls do with the path of the store, if there is one, and says what to do where a service has it.
func (p *program) withStore(flags map[string]string, do func(ctx context.Context, path string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		config, err := p.config(flags)
		if err != nil {
			return err
		}
		path := config.Store.Path
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no store %s: serve and backfill make it (store.path or --store names another)", path)
		}
		err = do(c.Context(), path)
		switch {
		case errors.Is(err, store.ErrLocked):
			return fmt.Errorf("%w\nthe store cannot be shared: stop the service, do this, and start it again", err)
		case errors.Is(err, store.ErrOlder):
			return fmt.Errorf("%w\nserve and backfill do so; keep a copy of the file before", err)
		}
		return storeAdvice(err)
	}
}

func (p *program) checkStore(_ context.Context, path string) (err error) {
	out := &guard{w: p.stdout, plain: true}
	db, err := store.OpenReadOnly(path)
	if err == nil {
		defer func() { err = errors.Join(err, db.Close()) }()
		var s store.Summary
		if s, err = db.Summary(); err == nil {
			summarize(out, path, s)
			err = db.Check()
		}
	}
	switch faults, several := errors.AsType[store.Faults](err); {
	case several:
		for _, f := range faults {
			fmt.Fprintln(out, "fault:", strings.ReplaceAll(f.Error(), "\n", " "))
		}
		fmt.Fprintf(p.stderr, "pushdoctor: %s in %s: bring back a copy, or move it away to begin anew; nothing was changed\n", count(len(faults), "fault"), path)
		err = exitStatus(exitFound)
	case errors.Is(err, store.ErrDamaged):
		fmt.Fprintln(out, "fault:", err)
		err = exitStatus(exitFound)
	case err == nil:
		fmt.Fprintln(out, "no fault")
	}
	return errors.Join(err, out.flush())
}

func summarize(out *guard, path string, s store.Summary) {
	fmt.Fprintf(out, "%s: schema %d, %s, of which %s are free\n", path, s.Schema, megabytes(s.Size), megabytes(s.Free))
	rows := func(n int, what string) { fmt.Fprintf(out, "%9d %s\n", n, what) }
	rows(s.Repositories, "repositories")
	period := ""
	if s.Executions > 0 {
		period = fmt.Sprintf(" that ended from %s to %s", s.Oldest.Format(time.DateTime), s.Newest.Format(time.DateTime+" MST"))
	}
	rows(s.Executions, "executions of jobs"+period)
	rows(s.Findings, "findings")
	for _, year := range slices.Sorted(maps.Keys(s.Years)) {
		rows(s.Years[year], fmt.Sprintf("  of %d", year))
	}
	rows(s.Groups, "groups of failures")
	rows(s.Pending, "logs to be asked for again")
	rows(s.Queued, "webhook deliveries to be read")
	rows(s.Totals, "totals")
	rows(s.Pages, "pages of GitHub's lists")
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

func (p *program) compactStore(_ context.Context, path string) error {
	before, after, err := store.Compact(path)
	if err != nil {
		return err
	}
	out := &guard{w: p.stdout, plain: true}
	fmt.Fprintf(out, "%s: %s before, %s now\n", path, megabytes(before), megabytes(after))
	return out.flush()
}

// forget removes a repository, or says what there is to remove.
func (p *program) forget(path, repository string, yes bool) (err error) {
	if repository == "" {
		return errors.New("store forget needs a repository: --repository OWNER/NAME, or its id")
	}
	open := store.OpenReadOnly
	if yes {
		open = store.Open
	}
	db, err := open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	held, err := db.Held(repository)
	if err != nil {
		return err
	}
	if len(held) == 0 {
		return unknownRepository(db, repository)
	}
	if yes {
		held, err = db.Forget(repository)
	}
	out := &guard{w: p.stdout, plain: true}
	for _, h := range held {
		fmt.Fprintf(out, "%9d %s\n", h.Rows, h.What)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("%w\nwhat is listed was removed; the same command goes on", err)
	case yes:
		fmt.Fprintf(p.stderr, "pushdoctor: %s is forgotten; its text is in the file until: pushdoctor store compact --store %s\n", repository, path)
	default:
		fmt.Fprintln(p.stderr, "pushdoctor: nothing was removed; with --yes it is")
	}
	return errors.Join(err, out.flush())
}

// maxNear is how many names are offered for one that is not known.
const maxNear = 5

func unknownRepository(db *store.DB, name string) error {
	repositories, err := db.Repositories()
	if err != nil {
		return err
	}
	var near []string
	for _, r := range repositories {
		if distance(strings.ToLower(r.Name), strings.ToLower(name)) <= 1+len(name)/4 && len(near) < maxNear {
			near = append(near, r.Name)
		}
	}
	message := fmt.Sprintf("the store holds nothing of %s", name)
	if len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(message)
}

// distance is how many letters of a are to be changed, added or taken away to make b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0] // above and to the left
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			row[j+1] = min(row[j], above) + 1
			if a[i] == b[j] {
				row[j+1] = min(row[j+1], left)
			} else {
				row[j+1] = min(row[j+1], left+1)
			}
			left = above
		}
	}
	return row[len(b)]
}
