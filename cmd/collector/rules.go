package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/akkospace/pushdoctor/classifier"
	"github.com/spf13/cobra"
)

// maxRules is the largest rule file that is read.
const maxRules = 1 << 20

func (p *program) rulesCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check FILE...",
		Short: "Check rule files and run the examples in them",
		Long: `Tells every fault in the rule files with its place, and runs each rule's examples:
the lines that it must match, and those that it must not.

Exit status: 0 no fault; 1 faults; 2 a file could not be read.`,
		Example: "  pushdoctor rules check my-registry.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("rules check needs a rule file; %s --help shows an example", c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return p.checkRules(args) },
	}
	var (
		format string
		files  []string
	)
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the rules in force, in the order in which they are tried",
		Example: "  pushdoctor rules list --format json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if format != "table" && format != "json" {
				return fmt.Errorf("unknown format %q: it is one of table, json", format)
			}
			config, err := p.config(nil)
			if err != nil {
				return err
			}
			rules, err := rulesOf(config, files)
			if err != nil {
				return err
			}
			return p.listRules(rules, format)
		},
	}
	list.Flags().StringVar(&format, "format", "table", "`FORMAT` of the result: table, json (an object a line)")
	list.Flags().StringArrayVar(&files, "rules", nil, "rule `FILE` to try before the built-in rules; may be repeated")
	// It errs only for a flag that does not exist.
	_ = list.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return group("rules", "Check a rule file, list the rules", check, list)
}

// checkRules tells the faults of each file and, where the files alone have none, those that they have together.
func (p *program) checkRules(names []string) error {
	out := &guard{w: p.stdout, plain: true}
	var files []classifier.File
	unread, faulty := 0, 0
	for _, name := range names {
		f, err := ruleFile(name)
		if err != nil {
			fmt.Fprintf(p.stderr, "pushdoctor: %v\n", err)
			unread++
			continue
		}
		examples, faults := classifier.Check(f)
		for _, fault := range faults {
			fmt.Fprintln(out, &fault)
		}
		if faulty += len(faults); len(faults) == 0 {
			fmt.Fprintf(out, "%s: %s, no fault\n", name, count(examples, "example"))
			files = append(files, f)
		}
	}
	if len(files) > 1 {
		if _, err := classifier.Load(files...); err != nil {
			fmt.Fprintln(out, err)
			faulty++
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	switch {
	case unread > 0:
		return exitStatus(exitFailed)
	case faulty > 0:
		return exitStatus(exitFound)
	}
	return nil
}

// ruleFile reads a rule file.
func ruleFile(name string) (classifier.File, error) {
	// To open a pipe is to wait for its writer, and nothing breaks that off. A folder is refused by its first read.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return classifier.File{}, fmt.Errorf("rule file %s: this is %s: save the rules to a file and name the file", name, kind(info.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return classifier.File{}, fmt.Errorf("rule file %s: %s", name, reason(err))
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxRules+1))
	if err == nil && len(data) > maxRules {
		err = errors.New("it is over 1 MB, which no rule file is")
	}
	if err != nil {
		return classifier.File{}, fmt.Errorf("rule file %s: %s", name, reason(err))
	}
	return classifier.File{Name: name, Data: data}, nil
}

func (p *program) listRules(rules *classifier.Rules, format string) error {
	if format == "json" {
		for _, r := range rules.List() {
			if err := writeJSON(p.stdout, r); err != nil {
				return err
			}
		}
		return nil
	}
	out := &guard{w: p.stdout, plain: true}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RULE\tKIND\tCAUSE\tFILE\tWHEN")
	for _, r := range rules.List() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", visible(r.ID), visible(r.Kind), visible(r.Cause), visible(r.File), visible(r.When))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return out.flush()
}
