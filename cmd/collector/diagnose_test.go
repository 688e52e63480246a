package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// Each file of testdata/diagnose holds the log job.txt and what each format makes of it.
func TestFormats(t *testing.T) {
	files, err := filepath.Glob("testdata/diagnose/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, map[string]string{"job.txt": section(archive, "log")})
			got := txtar.Archive{Comment: archive.Comment, Files: []txtar.File{{Name: "log", Data: []byte(section(archive, "log"))}}}
			for _, format := range formats {
				e := diagnose(t, "--format", format, "job.txt")
				if e.stderr != "" {
					t.Errorf("%s: stderr %q", format, e.stderr)
				}
				got.Files = append(got.Files, txtar.File{Name: fmt.Sprintf("%s %d", format, e.status), Data: []byte(e.stdout)})
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(&got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(txtar.Format(&got))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// answers reads the JSON output, one object a line.
func answers(t *testing.T, stdout string) []answer {
	t.Helper()
	var all []answer
	for line := range strings.Lines(stdout) {
		var a answer
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&a); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

// Red where a fast log overtakes a slow one, or an unreadable one ends the others.
func TestOrder(t *testing.T) {
	files, args := map[string]string{}, []string{"--format", "json"}
	var want []string
	for i := range 120 {
		name := fmt.Sprintf("%d.log", i)
		args, want = append(args, name), append(want, name)
		switch i % 4 {
		case 0:
			files[name] = strings.Repeat(cleanLog, 2000)
		case 1:
			files[name] = cleanLog
		case 2:
			files[name] = failedLog
		}
	}
	write(t, files)
	got := diagnose(t, args...)
	var paths []string
	for i, a := range answers(t, got.stdout) {
		paths = append(paths, a.Path)
		if failed, missing := len(a.Findings) == 1, a.Error != ""; failed != (i%4 == 2) || missing != (i%4 == 3) {
			t.Errorf("%s: %d findings, error %q", a.Path, len(a.Findings), a.Error)
		}
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if got.status != 2 {
		t.Errorf("status %d, want 2", got.status)
	}
}

// Red where what was read before a fault is lost, or passes for the whole log.
func TestBrokenOff(t *testing.T) {
	in := io.MultiReader(strings.NewReader(failedLog), iotest.ErrReader(errors.New("connection reset")))
	var stdout, stderr strings.Builder
	status := run(t.Context(), []string{"diagnose", "--format", "json", "-"}, nil, in, &stdout, &stderr)
	all := answers(t, stdout.String())
	if status != 2 || len(all) != 1 || all[0].Error != "connection reset" || len(all[0].Findings) != 1 {
		t.Errorf("status %d\n%s", status, stdout.String())
	}
}

// Red where the text of a log that is written to a step's log is not fenced off from the
// runner, where the fence can be guessed, or where it lands in JSON.
func TestStopCommands(t *testing.T) {
	write(t, map[string]string{"job.txt": failedLog})
	inActions := []string{"GITHUB_ACTIONS=true"}
	var tokens []string
	for range 2 {
		got := call{args: []string{"diagnose", "job.txt"}, env: inActions}.run(t)
		m := regexp.MustCompile(`(?s)^::stop-commands::([A-Z2-7]{26})\n.*\n::([A-Z2-7]{26})::\n$`).FindStringSubmatch(got.stdout)
		if m == nil || m[1] != m[2] {
			t.Fatalf("stdout:\n%s", got.stdout)
		}
		tokens = append(tokens, m[1])
	}
	if tokens[0] == tokens[1] {
		t.Errorf("the token %s came twice", tokens[0])
	}
	for _, format := range []string{"json", "markdown", "github"} {
		args := []string{"diagnose", "--format", format, "job.txt"}
		if diff := cmp.Diff(call{args: args}.run(t), call{args: args, env: inActions}.run(t), cmp.AllowUnexported(end{})); diff != "" {
			t.Errorf("%s differs in Actions:\n%s", format, diff)
		}
	}
	for format, stops := range map[string]bool{"json": true, "markdown": true, "github": false} {
		got := call{args: []string{"diagnose", "--explain", "--format", format, "job.txt"}, env: inActions}.run(t)
		if strings.Contains(got.stderr, "::stop-commands::") != stops || !strings.Contains(got.stderr, "Explanation of job.txt\n") {
			t.Errorf("%s: the explanation stops commands: %v, want %v\n%s", format, !stops, stops, got.stderr)
		}
	}
}

// Red where --explain does not name the winner, or mixes with JSON.
func TestExplain(t *testing.T) {
	write(t, map[string]string{"job.txt": failedLog})
	text := diagnose(t, "--explain", "job.txt")
	asJSON := diagnose(t, "--explain", "--format", "json", "job.txt")
	finding := answers(t, asJSON.stdout)[0].Findings[0]
	for _, explained := range []string{text.stdout, asJSON.stderr} {
		if !strings.HasPrefix(explained, "Explanation of job.txt\n") || !strings.Contains(explained, "rule "+finding.Rule+" ") {
			t.Errorf("rule %s is not in:\n%s", finding.Rule, explained)
		}
	}
	if plain := diagnose(t, "job.txt"); !strings.HasSuffix(text.stdout, plain.stdout) {
		t.Errorf("the result differs with --explain:\n%s", text.stdout)
	}
}

// Red where colours leak into the text itself: without them it must be the same. There is
// no terminal in a test, so this looks at the printer.
func TestColour(t *testing.T) {
	write(t, map[string]string{"job.txt": failedLog})
	a := answers(t, diagnose(t, "--format", "json", "job.txt").stdout)[0]
	var plain, coloured strings.Builder
	for b, st := range map[*strings.Builder]style{&plain: {width: 60}, &coloured: {width: 60, colour: true}} {
		if err := (&textPrinter{w: b, style: st}).print(a); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(coloured.String(), "\x1b[1;31m") {
		t.Error("there is no red")
	}
	if diff := cmp.Diff(plain.String(), regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(coloured.String(), "")); diff != "" {
		t.Errorf("-plain +coloured:\n%s", diff)
	}
	quote := regexp.MustCompile(`^ +\d* \| `)
	for line := range strings.Lines(plain.String()) {
		// Addresses, paths and patches stay whole, so that they can be copied.
		if n := len(strings.TrimRight(line, "\n")); n > 60 && quote.MatchString(line) {
			t.Errorf("a quote has %d columns: %s", n, line)
		}
	}
}

// Red where a user's rule does not come before the built-in ones, from the flag or the configuration.
func TestOwnRules(t *testing.T) {
	write(t, map[string]string{
		"job.txt": failedLog,
		"own.yaml": `rules:
  - id: own-refusal
    literal: "403 forbidden"
    cause: policy_denied
    why: In this company it always is.
    match: ["` + refusal + `"]
    miss: ["403 is only a number"]
`,
		"pushdoctor.yaml": "classify:\n  rules: [own.yaml]\n",
	})
	for _, args := range [][]string{{"--rules", "own.yaml"}, {"--config", "pushdoctor.yaml"}} {
		got := diagnose(t, append(args, "--format", "json", "job.txt")...)
		if got.status != 1 {
			t.Fatalf("%v: %+v", args, got)
		}
		if f := answers(t, got.stdout)[0].Findings[0]; f.Rule != "own-refusal" || f.Cause != "policy_denied" {
			t.Errorf("%v: rule %s, cause %s", args, f.Rule, f.Cause)
		}
	}
}
