package classifier_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata want")

var signs = strings.NewReplacer("␛", "\x1b", "␍", "\r", "␀", "\x00", "␉", "\t", "⟨BOM⟩", "\ufeff")

// written returns the log of a case: the signs of control characters become these, and an "@"
// that begins a line's text becomes the stamp of a second of its own.
func written(log string) string {
	var b strings.Builder
	for n, line := range strings.SplitAfter(log, "\n") {
		line = signs.Replace(line)
		head, text, ok := strings.Cut(line, "@")
		if ok && (head == "" || strings.HasSuffix(head, "\t") || strings.HasSuffix(head, "\ufeff")) {
			line = head + stamp(n) + text
		}
		b.WriteString(line)
	}
	return b.String()
}

func stamp(second int) string {
	return time.Date(2026, 3, 1, 10, 0, second, 0, time.UTC).Format("2006-01-02T15:04:05.0000000Z")
}

// A logCase is one file of testdata: a comment on the bug that turns it red, a log, and what is wanted of it.
type logCase struct {
	file string
	*txtar.Archive
}

func (c logCase) log() string { return written(string(c.Files[0].Data)) }

func cases(t testing.TB, folder string) []logCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var out []logCase
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Files) != 2 || a.Files[0].Name != "log" || a.Files[1].Name != "want" {
			t.Fatalf("%s: a case has a log and a want", file)
		}
		out = append(out, logCase{filepath.ToSlash(file), a})
	}
	return out
}

func classify(t testing.TB, log string) classifier.Report {
	t.Helper()
	report, err := classifier.Builtin().Classify(parser.New(strings.NewReader(log)))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// printed is a report as the cases write it.
func printed(r classifier.Report) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
	}
	fact := func(name, value string) {
		if value != "" {
			line("%s %s", name, value)
		}
	}
	if r.Facts.Token != nil {
		var rights []string
		for _, scope := range slices.Sorted(maps.Keys(r.Facts.Token)) {
			rights = append(rights, scope+"="+r.Facts.Token[scope])
		}
		line("token %s", strings.Join(rights, " "))
	}
	fact("secrets", r.Facts.SecretSource)
	fact("repository", strings.TrimSpace(r.Facts.Repository+" "+r.Facts.Ref))
	for _, l := range r.Facts.Logins {
		outcome := "refused"
		if l.OK {
			outcome = "ok"
		}
		line("login %q user %q %s at line %d", l.Host, l.User, outcome, l.Line)
	}
	for _, image := range r.Facts.Pushed {
		line("pushed %s", image)
	}
	if r.Facts.Whole {
		line("whole")
	}
	for _, f := range r.Findings {
		line("")
		line("line %d: %s %s %s, %d %s, %s %.2f", f.Line, f.Registry, f.Client, f.Operation, f.Status, f.StatusSource, f.Cause, f.Confidence)
		line("  image   %q at %q", f.Image, f.Host)
		if f.Recovered {
			line("  recovered")
		}
		line("  step    %s", f.Step)
		line("  rule    %s", f.Rule)
		line("  message %s", f.Message)
		for _, e := range f.Evidence {
			line("  %-7s %d: %s", e.Kind, e.Line, e.Text)
		}
	}
	if len(r.Findings) == 0 {
		line("nothing")
	}
	if r.More > 0 {
		line("and %d more", r.More)
	}
	return b.String()
}

// TestCases classifies the logs in testdata. Each file says which bug turns it red. In found a log without
// a finding is red whatever it wants, in none one with a finding.
func TestCases(t *testing.T) {
	for _, folder := range []string{"found", "none"} {
		for _, c := range cases(t, folder) {
			t.Run(folder+"/"+strings.TrimSuffix(filepath.Base(c.file), ".txtar"), func(t *testing.T) {
				report := classify(t, c.log())
				got := printed(report)
				if found := len(report.Findings) > 0; found != (folder == "found") {
					t.Errorf("a case of %s has %d findings:\n%s", folder, len(report.Findings), got)
				}
				if *update {
					c.Files[1].Data = []byte(got)
					if err := os.WriteFile(c.file, txtar.Format(c.Archive), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				if diff := cmp.Diff(string(c.Files[1].Data), got); diff != "" {
					t.Errorf("want (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// A cause, client, operation or registry of the closed sets that no case ends in turns this red: nobody would
// see it break.
func TestCasesCoverTheClosedSets(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases(t, "found") {
		for _, f := range classify(t, c.log()).Findings {
			seen["cause "+string(f.Cause)] = true
			seen["client "+string(f.Client)] = true
			seen["operation "+string(f.Operation)] = true
			seen["registry "+string(f.Registry)] = true
		}
	}
	check := func(kind, value string) {
		if !seen[kind+" "+value] {
			t.Errorf("no case in testdata/found has the %s %s", kind, value)
		}
	}
	for _, c := range pushdoctor.Causes {
		check("cause", string(c))
	}
	for _, c := range pushdoctor.Clients {
		check("client", string(c))
	}
	for _, o := range pushdoctor.Operations {
		check("operation", string(o))
	}
	for _, r := range pushdoctor.Registries {
		check("registry", string(r))
	}
}
