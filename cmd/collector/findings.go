package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/redact"
	"github.com/akkospace/pushdoctor/remedy"
	"github.com/akkospace/pushdoctor/store"
	"github.com/akkospace/pushdoctor/web"
	"github.com/spf13/cobra"
)

// rowFormats are the names of the printers of findings.
var rowFormats = []string{"table", "json", "csv"}

// pageSize is how many findings are in memory at a time.
const pageSize = 500

func (p *program) findingsCommand() *cobra.Command {
	var since, until, repository, cause, format, lang, server, file string
	var similar bool
	c := &cobra.Command{
		Use:   "findings [flags]",
		Short: "Show the failed pushes that the store holds",
		Long: `Shows the failed pushes that serve and backfill have recorded, by the end of their jobs,
the newest last. The table is for people: values that do not fit are cut, images and
repositories at their beginning. json gives all of a finding, an object a line, with what
to do about it in the language of --lang; csv is for spreadsheets: a cell that one would
take for a formula begins with an apostrophe.

--since and --until take an age (12h, 7d, 4w), a day (2026-09-01) or a time such as
2026-09-01T10:00:00Z.

While serve or backfill has the store open, nobody else can read it. Then the service at
web.listen_address is asked, or the one that --server names
(https://USER:PASSWORD@HOST where it asks for a login).

Exit status: 0 none found, or all were cured by a retry; 1 findings; 2 the findings could
not be read, or not all of them; 130 interrupted.`,
		Example: `  pushdoctor findings
  pushdoctor findings --since 30d --repository octo-lab/api --cause rate_limited
  pushdoctor findings --since 90d --format csv > findings.csv
  pushdoctor findings --since 90d --cause unknown --similar > drafts.yaml
  pushdoctor findings --format json --server http://pushdoctor.example.test:9877`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(rowFormats, format) {
				return fmt.Errorf("unknown format %q: it is one of %s", format, strings.Join(rowFormats, ", "))
			}
			language, err := remedy.ParseLanguage(lang)
			if err != nil {
				return fmt.Errorf("--lang: %w", err)
			}
			q, err := findingsQuery(since, until, repository, cause, time.Now())
			if err != nil {
				return err
			}
			next, err := p.findingsSource(server, file, language)
			if err != nil {
				return err
			}
			if similar {
				return p.similar(c.Context(), next, q)
			}
			return p.findings(c.Context(), next, q, format, language)
		},
	}
	c.Flags().StringVar(&since, "since", "7d", "jobs that ended at this `TIME` or later")
	c.Flags().StringVar(&until, "until", "", "jobs that ended before this `TIME`")
	c.Flags().StringVar(&repository, "repository", "", "only this `OWNER/NAME`")
	c.Flags().StringVar(&cause, "cause", "", "only this `CAUSE`")
	c.Flags().StringVar(&format, "format", "table", "`FORMAT` of the result: "+strings.Join(rowFormats, ", "))
	c.Flags().StringVar(&lang, "lang", string(remedy.English), "`LANGUAGE` of the hints: "+strings.Join(languages, ", "))
	c.Flags().StringVar(&file, "store", "", "the database `FILE`")
	c.Flags().StringVar(&server, "server", "", "ask the service at this `URL`, not the store")
	c.Flags().BoolVar(&similar, "similar", false, "group by message, with the skeleton of a rule for each group")
	c.MarkFlagsMutuallyExclusive("similar", "format")
	c.MarkFlagsMutuallyExclusive("store", "server")
	causes := make([]string, len(pushdoctor.Causes))
	for i, c := range pushdoctor.Causes {
		causes[i] = string(c)
	}
	// They err only for flags that do not exist.
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(rowFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(languages, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("cause", cobra.FixedCompletions(causes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// repositoryName is the form of OWNER/NAME.
var repositoryName = regexp.MustCompile(`^[\w.-]+/[\w.-]+$`)

// findingsQuery reads the flags. Each fault would otherwise look like a store without findings.
func findingsQuery(since, until, repository, cause string, now time.Time) (store.Query, error) {
	q := store.Query{Repository: repository, Cause: pushdoctor.Cause(cause), Limit: pageSize}
	var err error
	if q.Since, err = instant("since", since, now); err != nil {
		return q, err
	}
	if until != "" {
		if q.Until, err = instant("until", until, now); err != nil {
			return q, err
		}
		if !q.Until.After(q.Since) {
			return q, fmt.Errorf("--until %s is not after --since %s", until, since)
		}
	}
	if repository != "" && !repositoryName.MatchString(repository) {
		return q, fmt.Errorf("--repository: %q is not of the form OWNER/NAME", repository)
	}
	if cause != "" && !q.Cause.Valid() {
		var near []string
		for _, c := range pushdoctor.Causes {
			if strings.Contains(string(c), cause) || strings.HasPrefix(string(c), cause[:min(len(cause), 4)]) {
				near = append(near, string(c))
			}
		}
		if len(near) == 0 {
			return q, fmt.Errorf("--cause: %q is not one of the causes, such as %s", cause, pushdoctor.CauseRateLimited)
		}
		return q, fmt.Errorf("--cause: %q is not one of the causes; did you mean %s?", cause, strings.Join(near, " or "))
	}
	return q, nil
}

// A row is a finding of the store.
type row struct {
	store.Stored
	line []byte // its JSON from a service; nil from a file
}

// A findingsPage returns what stands on the next page of a query.
type findingsPage func(context.Context, store.Query) ([]row, error)

// findingsSource returns the pages of a service, or those of the store and, while another process has it, of the
// service at web.listen_address.
func (p *program) findingsSource(server, file string, l remedy.Language) (findingsPage, error) {
	if server != "" {
		return remotePage(server, l)
	}
	flags := map[string]string{}
	if file != "" {
		flags["store.path"] = file
	}
	config, err := p.config(flags)
	if err != nil {
		return nil, err
	}
	var ask findingsPage
	return func(ctx context.Context, q store.Query) ([]row, error) {
		if ask != nil {
			return ask(ctx, q)
		}
		rows, locked := localPage(config.Store.Path, q)
		if !errors.Is(locked, store.ErrLocked) {
			return rows, locked
		}
		address, err := listenURL(config.Web)
		if err != nil {
			return nil, fmt.Errorf("%w, and %w: name the service with --server", locked, err)
		}
		if ask, err = remotePage(address, l); err != nil {
			return nil, fmt.Errorf("%w, and web.listen_address: %w", locked, err)
		}
		fmt.Fprintf(p.stderr, "pushdoctor: %v; asking the service at %s\n", locked, address)
		if rows, err = ask(ctx, q); err != nil {
			return nil, fmt.Errorf("%w\n--server names another service; a backfill has to end first", err)
		}
		return rows, nil
	}, nil
}

// localPage reads a page from the file. The file is open for no longer than that: whoever reads the output slowly keeps
// no service from starting.
func localPage(path string, q store.Query) ([]row, error) {
	db, err := store.OpenReadOnly(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no store %s yet: pushdoctor serve and pushdoctor backfill make it (store.path or --store names another)", path)
	}
	if err != nil {
		return nil, err
	}
	found, err := db.Find(q)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	rows := make([]row, len(found))
	for i, f := range found {
		rows[i].Stored = f
	}
	return rows, nil
}

// findings prints all pages of a query. Only JSON has hints, which are in the language l.
func (p *program) findings(ctx context.Context, next findingsPage, q store.Query, format string, l remedy.Language) (err error) {
	out := &guard{w: p.stdout}
	var show func(row) error
	end := out.flush
	switch format {
	case "json":
		show = func(r row) error { return printRow(p.stdout, r, l) }
	case "csv":
		// RFC 4180 wants lines that end in CRLF.
		w := csv.NewWriter(out)
		w.UseCRLF = true
		if err := w.Write(csvHeader); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		show = func(r row) error { return w.Write(csvCells(r)) }
		end = func() error { w.Flush(); return errors.Join(w.Error(), out.flush()) }
	default:
		t := newTable(out, p.style())
		show = t.row
		if p.env("GITHUB_ACTIONS") != "" {
			defer deaf(p.stdout, out.flush)()
		}
	}
	var t totals
	for {
		rows, err := next(ctx, q)
		if ctx.Err() != nil {
			fmt.Fprintf(p.stderr, "pushdoctor: interrupted after %s\n", count(t.findings, "finding"))
			return errors.Join(exitStatus(exitInterrupted), end())
		}
		if err != nil {
			if t.findings > 0 {
				err = fmt.Errorf("not all findings were read: %w", err)
			}
			return errors.Join(err, end())
		}
		for _, r := range rows {
			if t.findings++; r.Recovered {
				t.recovered++
			}
			if err := show(r); err != nil {
				return fmt.Errorf("writing the result: %w", err)
			}
		}
		if len(rows) < q.Limit {
			break
		}
		q.After = rows[len(rows)-1].ID
	}
	if err := end(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	switch {
	case t.findings == 0:
		fmt.Fprintf(p.stderr, "pushdoctor: no findings%s\n", queryWords(q))
	case format == "table":
		fmt.Fprintf(p.stderr, "pushdoctor: %s%s, %d cured by a retry\n", count(t.findings, "finding"), queryWords(q), t.recovered)
	}
	if t.findings > t.recovered {
		return exitStatus(exitFound)
	}
	return nil
}

// queryWords says what was asked for.
func queryWords(q store.Query) string {
	s := " since " + q.Since.Format(time.RFC3339)
	if !q.Until.IsZero() {
		s += " until " + q.Until.Format(time.RFC3339)
	}
	if q.Repository != "" {
		s += " of " + q.Repository
	}
	if q.Cause != "" {
		s += " with cause " + string(q.Cause)
	}
	return s
}

// printRow writes a finding as a line of JSON that a terminal may show.
func printRow(w io.Writer, r row, l remedy.Language) error {
	line := r.line
	if line == nil {
		var err error
		if line, err = web.AppendJSON(nil, r.Stored, l, ""); err != nil {
			return err
		}
	}
	_, err := w.Write(escapeJSON(line))
	return err
}

var csvHeader = []string{
	"id", "completed_at", "repository", "workflow", "run_id", "run_attempt", "job_id", "job", "branch", "event", "url",
	"registry", "host", "image", "client", "operation", "status", "status_source", "cause", "confidence", "recovered",
	"step", "line", "message", "rule",
}

func csvCells(r row) []string {
	cells := []string{
		r.ID, r.CompletedAt.UTC().Format(time.RFC3339), r.Repository, r.Workflow, strconv.FormatInt(r.RunID, 10), strconv.Itoa(r.RunAttempt),
		strconv.FormatInt(r.JobID, 10), r.Job.Name, r.Branch, r.Event, r.URL,
		string(r.Registry), r.Host, r.Image, string(r.Client), string(r.Operation), strconv.Itoa(r.Status), string(r.StatusSource),
		string(r.Cause), strconv.FormatFloat(r.Confidence, 'g', -1, 64), strconv.FormatBool(r.Recovered),
		r.Step, strconv.Itoa(r.Line), redact.String(r.Message), r.Rule,
	}
	for i, c := range cells {
		cells[i] = csvCell(c)
	}
	return cells
}

// csvCell returns s so that no spreadsheet takes it for a formula, and no terminal obeys it. Some programs leave out blanks
// before they look, and some take the full-width forms for the signs.
func csvCell(s string) string {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u00a0\u3000"))
	s = visible(s)
	if strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}

// A table shows findings in columns of fixed widths, since it is written page by page.
type table struct {
	w                      io.Writer
	style                  style
	begun                  bool
	repository, image, job int // widths; a column of width 0 is left out
}

// The columns that are as wide as their widest values, and the space between two.
const (
	timeWidth   = len("2026-03-01 10:04")
	statusWidth = len("STATUS")
	causeWidth  = len(pushdoctor.CauseWorkflowPermissionMissing)
	tableGap    = 2
)

func newTable(w io.Writer, st style) *table {
	t := &table{w: w, style: st}
	room := max(st.width, 72) - timeWidth - statusWidth - causeWidth - 3*tableGap
	switch {
	case room < 36: // too narrow for an image
		t.repository = room
	case room < 90:
		t.repository = (room - tableGap) * 2 / 5
		t.image = room - tableGap - t.repository
	default:
		t.repository, t.job = 30, 16
		t.image = min(room-2*tableGap-t.repository-t.job, 80)
	}
	return t
}

func (t *table) row(r row) error {
	if !t.begun {
		t.begun = true
		if err := t.line(t.style.bold, "ENDED (UTC)", "REPOSITORY", "JOB", "STATUS", "CAUSE", "IMAGE"); err != nil {
			return err
		}
	}
	status := "none"
	if r.Status != 0 {
		status = strconv.Itoa(r.Status)
	}
	paint := func(s string) string { return s }
	if r.Recovered {
		status, paint = "cured", t.style.dim
	}
	return t.line(paint, r.CompletedAt.UTC().Format("2006-01-02 15:04"), r.Repository, r.Job.Name, status, string(r.Cause), cmp.Or(r.Image, r.Host, "-"))
}

func (t *table) line(paint func(string) string, ended, repository, job, status, cause, image string) error {
	var b strings.Builder
	column := func(s string, width int, cut func(string, int) string) {
		if width == 0 {
			return
		}
		if b.Len() > 0 {
			b.WriteString(strings.Repeat(" ", tableGap))
		}
		s = cut(visible(s), width)
		b.WriteString(s + strings.Repeat(" ", width-utf8.RuneCountInString(s)))
	}
	column(ended, timeWidth, cutEnd)
	column(repository, t.repository, cutStart)
	column(job, t.job, cutEnd)
	column(status, statusWidth, cutEnd)
	column(cause, causeWidth, cutEnd)
	column(image, t.image, cutStart)
	_, err := io.WriteString(t.w, paint(strings.TrimRight(b.String(), " "))+"\n")
	return err
}

// cutEnd returns s in at most width runes, with an ellipsis in place of its end.
func cutEnd(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// cutStart is cutEnd for names that differ in their ends.
func cutStart(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return "…" + string(r[len(r)-width+1:])
	}
	return s
}
