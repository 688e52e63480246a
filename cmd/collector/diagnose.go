package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
	"github.com/akkospace/pushdoctor/remedy"
	"github.com/spf13/cobra"
)

// formats are the names of the printers, for the flag and its completion.
var formats = []string{"text", "json", "markdown", "github"}

// languages are the words of the flag --lang. All but the hints stays English: programs read it, and people search for it.
var languages = []string{string(remedy.English), string(remedy.Chinese)}

func (p *program) diagnoseCommand() *cobra.Command {
	var (
		format  string
		lang    string
		explain bool
		thisRun bool
		files   []string
	)
	c := &cobra.Command{
		Use:   "diagnose [flags] WHAT...",
		Short: "Say what failed in job logs, and what to do about it",
		Long: `Reads job logs and says which pushes of images failed, for which cause, on what
evidence, and what to do. WHAT is a job log (a file or a pipe), a folder of logs, a
run's archive (.zip), - for standard input, or an address at GitHub:

  https://github.com/OWNER/NAME/actions/runs/ID/job/ID   that job
  https://github.com/OWNER/NAME/actions/runs/ID          the jobs that failed, timed out or
  OWNER/NAME#ID                                          were cancelled in its newest attempt
  https://github.com/OWNER/NAME/actions/runs/ID/attempts/N

An address needs a token that may read Actions: GITHUB_TOKEN, or github.token_file in the
configuration. Only addresses of the GitHub in github.url are read. Its jobs are called
"OWNER/NAME#RUN job NAME"; JSON has their run_id, job_id and url too.

--this-run, in a job of GitHub Actions, reads the jobs of its own run that have failed by
then. The job needs "permissions: actions: read", GITHUB_TOKEN in the step's env, and to
come last: "needs:" with the jobs before it, and "if: failure()".

--lang zh writes the titles and steps of the hints in Chinese, in every format. All else,
patches too, stays English.

Exit status: 0 nothing failed, or a retry cured it; 1 a push failed; 2 something could
not be read (the rest was); 130 interrupted.`,
		Example: `  pushdoctor diagnose job.txt
  gh run view --job 123456 --log | pushdoctor diagnose -
  GITHUB_TOKEN=$(gh auth token) pushdoctor diagnose octo-lab/api#14000000137
  pushdoctor diagnose --this-run --format markdown >> "$GITHUB_STEP_SUMMARY"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 && thisRun {
				return errors.New("--this-run reads this run only: leave out the other arguments")
			}
			if len(args) == 0 && !thisRun {
				return fmt.Errorf("diagnose needs a log, a folder or an archive to read; %s --help shows examples", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(formats, format) {
				return fmt.Errorf("unknown format %q: it is one of %s", format, strings.Join(formats, ", "))
			}
			language, err := remedy.ParseLanguage(lang)
			if err != nil {
				return fmt.Errorf("--lang: %w", err)
			}
			config, err := p.config(nil)
			if err != nil {
				return err
			}
			rules, err := rulesOf(config, files)
			if err != nil {
				return err
			}
			p.stderr.w = &serial{w: p.stderr.w} // the client at GitHub tells there what it waits for
			s := &source{args: args, stdin: p.stdin}
			s.hub = sync.OnceValues(func() (*hub, error) { return p.hub(nil, "") })
			if thisRun {
				run, h, err := p.thisRun()
				if err != nil {
					return err
				}
				s.run, s.hub = &run, func() (*hub, error) { return h, nil }
			}
			d := &diagnosis{rules: rules, source: s, language: language}
			return p.diagnose(c.Context(), d, format, explain)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the result: "+strings.Join(formats, ", "))
	c.Flags().StringVar(&lang, "lang", string(remedy.English), "`LANGUAGE` of the hints: "+strings.Join(languages, ", "))
	c.Flags().BoolVar(&thisRun, "this-run", false, "read the run of GitHub Actions that this is a job of")
	c.Flags().BoolVar(&explain, "explain", false, "show which rules looked and why one won")
	c.Flags().StringArrayVar(&files, "rules", nil, "rule `FILE` to try before the built-in rules; may be repeated")
	// They err only for flags that do not exist.
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(languages, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (p *program) diagnose(ctx context.Context, d *diagnosis, format string, explain bool) (err error) {
	out := &guard{w: p.stdout}
	inActions := p.env("GITHUB_ACTIONS") != ""
	var pr printer
	switch format {
	case "json":
		pr = &jsonPrinter{w: p.stdout}
	case "github":
		pr = &githubPrinter{w: p.stdout}
	case "markdown":
		pr = &markdownPrinter{w: out}
	default:
		pr = &textPrinter{w: out, style: p.style()}
	}
	// JSON and Markdown go to files and pipes that no foreign line may enter, and are harmless by
	// their form; annotations are meant to be obeyed. What is left are texts that a step's log shows.
	if inActions && format == "text" {
		defer deaf(p.stdout, out.flush)()
	}
	if explain {
		d.explain = p.stderr
		if format == "text" {
			d.explain = &guard{w: out, plain: true}
		} else if inActions && format != "github" {
			// The runner reads both streams as one: this would silence the annotations too.
			defer deaf(p.stderr.w, p.stderr.flush)()
		}
	}

	var t totals
	err = d.each(ctx, func(a answer) error {
		if a.said != "" {
			fmt.Fprintf(p.stderr, "pushdoctor: %s: %s\n", a.Path, a.said)
			return nil
		}
		t.add(a)
		if a.Truncated {
			fmt.Fprintf(p.stderr, "pushdoctor: %s: the log is longer than collect.max_log: of its middle, nothing was read, and line numbers behind it are too low\n", a.Path)
		}
		if a.skipped != "" {
			fmt.Fprintf(p.stderr, "pushdoctor: skipped %s: %s\n", a.Path, a.skipped)
			return nil
		}
		return pr.print(a)
	})
	if ctx.Err() != nil {
		fmt.Fprintf(p.stderr, "pushdoctor: interrupted; %s\n", t)
		return errors.Join(exitStatus(exitInterrupted), out.flush())
	}
	if err == nil {
		err = pr.end(t)
	}
	if err := errors.Join(err, out.flush()); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	switch {
	case t.unread > 0:
		fmt.Fprintf(p.stderr, "pushdoctor: %s could not be read\n", count(t.unread, "input"))
		return exitStatus(exitFailed)
	case t.findings > t.recovered:
		return exitStatus(exitFound)
	}
	return nil
}

// deaf tells the runner of GitHub Actions to obey no command until the function that it returns is called.
func deaf(w io.Writer, flush func() error) func() {
	token := rand.Text()
	fmt.Fprintf(w, "::stop-commands::%s\n", token)
	return func() {
		_ = flush() // its error comes again with the next flush
		fmt.Fprintf(w, "::%s::\n", token)
	}
}

// An answer is what was read of one input.
type answer struct {
	Path  string `json:"path"`
	Error string `json:"error,omitempty"`
	// The job is nil for a file.
	*pushdoctor.Job
	Truncated bool `json:"truncated,omitempty"` // the middle of the log was not read
	// Facts and Findings are nil where nothing was read. Where reading broke off, there
	// are those of the part before, if something was found in it.
	Facts    *pushdoctor.Facts `json:"facts,omitempty"`
	Findings []diagnosed       `json:"findings,omitzero"`
	More     int               `json:"more,omitempty"` // findings that were dropped
	skipped  string            // why the input is no log
	said     string            // what there is to say, where there is nothing to read
}

// A diagnosed is a finding with its hints.
type diagnosed struct {
	pushdoctor.Finding
	Hints []pushdoctor.Hint `json:"hints"`
}

// A printer writes answers in a format.
type printer interface {
	print(answer) error
	end(totals) error
}

// totals count what the answers hold.
type totals struct {
	read, unread, skipped, findings, recovered int
}

func (t *totals) add(a answer) {
	switch {
	case a.skipped != "":
		t.skipped++
	case a.Error != "":
		t.unread++
	default:
		t.read++
	}
	t.findings += len(a.Findings) + a.More
	for _, f := range a.Findings {
		if f.Recovered {
			t.recovered++
		}
	}
}

// String returns the totals as a phrase: "3 logs read, 2 findings, 1 cured by a retry".
func (t totals) String() string {
	s := fmt.Sprintf("%s read, %s", count(t.read, "log"), count(t.findings, "finding"))
	if t.recovered > 0 {
		s += fmt.Sprintf(", %d cured by a retry", t.recovered)
	}
	if t.unread > 0 {
		s += fmt.Sprintf(", %d not read", t.unread)
	}
	return s
}

func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "sh"):
		noun += "e"
	case strings.HasSuffix(noun, "ry"):
		noun = strings.TrimSuffix(noun, "y") + "ie"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// A diagnosis reads the inputs of a source.
type diagnosis struct {
	rules    *classifier.Rules
	source   *source
	language remedy.Language // of the hints
	explain  *guard          // where the explanations go; nil without
}

// each calls show for each input in the order of the arguments, while the next ones are
// being read. It returns the first error of show, or ctx's.
func (d *diagnosis) each(ctx context.Context, show func(answer) error) error {
	if d.explain != nil {
		return d.explained(ctx, show)
	}
	ctx, stop := context.WithCancel(ctx)
	// The queue's size is the number of logs that are read at a time.
	queue := make(chan chan answer, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	workers.Go(func() {
		defer close(queue)
		for in := range d.source.inputs(ctx) {
			slot := make(chan answer, 1)
			select {
			case queue <- slot:
			case <-ctx.Done():
				if in.done != nil {
					in.done()
				}
				return
			}
			workers.Go(func() { slot <- d.read(ctx, in, nil) })
		}
	})
	err := consume(ctx, queue, show)
	stop()
	workers.Wait()
	return err
}

func consume(ctx context.Context, queue <-chan chan answer, show func(answer) error) error {
	for slot := range queue {
		select {
		case a := <-slot:
			if ctx.Err() != nil {
				return ctx.Err() // a may be of a log that was broken off
			}
			if err := show(a); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// explained is each with explanations, which are written while a log is read: one after the other.
func (d *diagnosis) explained(ctx context.Context, show func(answer) error) error {
	next, stop := iter.Pull(d.source.inputs(ctx))
	defer stop()
	for {
		in, ok := next()
		if !ok || ctx.Err() != nil {
			return ctx.Err()
		}
		if in.open != nil {
			fmt.Fprintf(d.explain, "Explanation of %s\n", in.path)
		}
		a := d.read(ctx, in, d.explain)
		if err := errors.Join(ctx.Err(), d.explain.flush()); err != nil {
			return err
		}
		if err := show(a); err != nil {
			return err
		}
	}
}

// read reads one input. Its explanation goes to explain, which may be nil.
func (d *diagnosis) read(ctx context.Context, in input, explain io.Writer) answer {
	if in.done != nil {
		defer in.done()
	}
	a := answer{Path: in.path, Job: in.job, skipped: in.skipped, said: in.said}
	switch {
	case in.skipped != "" || in.said != "":
		return a
	case in.err != nil:
		a.Error = reason(in.err)
		return a
	}
	r, err := in.open(ctx)
	if errors.Is(err, errNeverRan) {
		a.skipped = reason(err)
		return a
	}
	if err != nil {
		a.Error = reason(err)
		return a
	}
	defer r.Close() //nolint:errcheck // nothing was written
	log := parser.New(&logReader{stopped: ctx.Err, r: r})
	var report classifier.Report
	if explain != nil {
		report, err = d.rules.Explain(log, explain)
	} else {
		report, err = d.rules.Classify(log)
	}
	if err != nil {
		a.Error = reason(err)
		if len(report.Findings) == 0 {
			return a
		}
	}
	if l, ok := r.(*jobLog); ok && l.Truncated() {
		// What is not in the rest may have happened in the part that is missing.
		a.Truncated, report.Facts.Whole = true, false
	}
	a.Facts, a.More = &report.Facts, report.More
	a.Findings = make([]diagnosed, 0, len(report.Findings))
	for _, f := range report.Findings {
		a.Findings = append(a.Findings, diagnosed{f, remedy.Advise(f, report.Facts, d.language)})
	}
	return a
}

// A jsonPrinter writes an object a line.
type jsonPrinter struct{ w io.Writer }

func (p *jsonPrinter) print(a answer) error { return writeJSON(p.w, a) }

func (p *jsonPrinter) end(totals) error { return nil }

// writeJSON writes v as one line.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON writes what a terminal or the runner would obey as \u escapes. The strings that are decoded stay the same,
// so that a piece of evidence is still what stands in the log.
func escapeJSON(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("##["), []byte(`\u0023#[`))
	if !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x7f && hidden(r) }) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		switch {
		case r < 0x7f || !hidden(r):
			out = utf8.AppendRune(out, r)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out
}
