// Program pushdoctor reads job logs of GitHub Actions, finds each failed attempt to
// push a container image in them, and says why it failed and what to do about it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	exitFound       = 1   // found what it looks for: findings that no retry cured, faults in rules or configuration
	exitFailed      = 2   // could not do its work, or not all of it
	exitInterrupted = 130 // broken off
)

// An exitStatus ends a command that has already said what is the matter.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills, whatever the program waits for
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop() // os.Exit skips deferred calls
	os.Exit(code)
}

// run is the program: it returns the exit status. What it writes to stderr comes out
// without control characters and workflow commands.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{environ: environ, stdin: stdin, stdout: stdout, stderr: &guard{w: stderr, plain: true}}
	defer func() { _ = p.stderr.flush() }() // there is no other place to say so
	root := p.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	fmt.Fprintf(p.stderr, "pushdoctor: %s\n", strings.TrimSpace(err.Error()))
	return exitFailed
}

// A program is what the commands share.
type program struct {
	environ    []string
	stdin      io.Reader
	stdout     io.Writer
	stderr     *guard
	configFile string
	now        func() time.Time  // nil: the machine's clock
	transport  http.RoundTripper // to GitHub; nil: the network
}

// env returns the value of an environment variable, "" where it is not set.
func (p *program) env(name string) string {
	for _, kv := range p.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "pushdoctor",
		Short: "Says why a container image could not be pushed from GitHub Actions",
		Long: `pushdoctor reads job logs of GitHub Actions, finds each failed attempt to push a
container image, and says with which HTTP status and for which cause it failed,
on what evidence, and what to do about it.`,
		Example: `  gh run view --job 123456 --log | pushdoctor diagnose -
  pushdoctor diagnose job.txt logs/ run.zip`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&p.configFile, "config", "", "configuration `FILE` (YAML)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w\n%s --help shows the flags", err, c.CommandPath())
	})
	root.AddCommand(p.diagnoseCommand(), p.findingsCommand(), p.serveCommand(), p.backfillCommand(), p.reclassifyCommand(), p.storeCommand(), p.demoCommand(), p.rulesCommand(), p.configCommand(), p.versionCommand())
	// Without a flag of ours cobra takes -v for it too.
	root.Flags().Bool("version", false, "show version, commit and Go version")
	root.Version = versionText()
	root.SetVersionTemplate("{{.Version}}")
	root.SetHelpCommand(helpCommand())
	root.SetOut(p.stdout) // completion takes it where it is made
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			onlyCommands(c)
		}
	}
	return root
}

// helpCommand is cobra's, but for the status where there is no such command.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(c *cobra.Command, args []string) error {
			topic, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no command %q; %s --help shows them", strings.Join(args, " "), c.Root().Name())
			}
			topic.InitDefaultHelpFlag() // shows --help among the flags
			return topic.Help()
		},
	}
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short}
	onlyCommands(g)
	g.AddCommand(commands...)
	return g
}

// onlyCommands makes g refuse what is no command of its own. Cobra itself would answer with the help and status 0.
func onlyCommands(g *cobra.Command) {
	g.Args = cobra.ArbitraryArgs
	g.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a command; %s --help shows them", c.CommandPath(), c.CommandPath())
		}
		message := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
		c.SuggestionsMinimumDistance = 2
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			message += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return errors.New(message)
	}
}
