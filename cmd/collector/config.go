package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/spf13/cobra"
)

func (p *program) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and tell all faults at once",
		Long: `Reads the defaults, the file that --config names, and the PUSHDOCTOR_* variables, and
tells every fault with its place. Nothing is started.

Exit status: 0 no fault; 1 faults; 2 the file could not be read.`,
		Example: "  pushdoctor config check --config pushdoctor.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("config check takes the file as a flag: %s --config %s", c.CommandPath(), args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return p.checkConfig() },
	}
	return group("config", "Check the configuration", check)
}

func (p *program) checkConfig() error {
	out := &guard{w: p.stdout, plain: true}
	_, err := configs.Load(p.configFile, p.environ, nil)
	if faults, ok := errors.AsType[configs.Faults](err); ok {
		fmt.Fprintln(out, faults)
		return errors.Join(exitStatus(exitFound), out.flush())
	}
	if err != nil {
		return err
	}
	name := p.configFile
	if name == "" {
		name = "defaults and environment"
	}
	fmt.Fprintf(out, "%s: no fault\n", name)
	return out.flush()
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show version, commit and Go version",
		Example: "  pushdoctor version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, versionText())
			return err
		},
	}
}

// versionText is what version and --version print.
func versionText() string {
	version, commit := buildInfo()
	return fmt.Sprintf("pushdoctor %s\ncommit %s\n%s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildInfo returns the version and the commit that the program was built from.
func buildInfo() (version, commit string) {
	version, commit = "(devel)", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		commit = revision(info.Settings)
	}
	return version, commit
}

// revision returns the commit that the program was built from, and whether files had been changed since.
func revision(settings []debug.BuildSetting) string {
	commit, changed := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return commit + changed
}

// noArgs refuses arguments. Cobra's own calls them unknown commands.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, got %q", c.CommandPath(), args)
	}
	return nil
}
