package classifier_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
)

// checked is what Check says of a file, a fault a line.
func checked(f classifier.File) string {
	examples, faults := classifier.Check(f)
	var b strings.Builder
	for _, fault := range faults {
		b.WriteString(fault.Error() + "\n")
	}
	fmt.Fprintf(&b, "%d examples\n", examples)
	return b.String()
}

// TestFaults reads the broken files in testdata/rules and compares all that is said of each, word for word: a
// message without its place, a fault that hides another one, or a fault that is not seen turns it red.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/rules/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := checked(classifier.File{Name: name, Data: data})
			if !strings.Contains(got, "\n") || strings.HasPrefix(got, "0 examples") {
				t.Errorf("nothing is wrong with the file: %s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// A file over the bound is refused by its size, before a parser sees it.
func TestLargeRuleFile(t *testing.T) {
	data := append(bytes.Repeat([]byte("# moon\n"), 1<<20/7+1), "rules: ["...)
	want := "large.yaml: the file is larger than 1048576 bytes\n0 examples\n"
	if got := checked(classifier.File{Name: "large.yaml", Data: data}); got != want {
		t.Errorf("Check = %q, want %q", got, want)
	}
}

const moon = `
rules:
  - id: %s
    literal: "permission_denied: write_package"
    when: {registry: [ghcr]}
    cause: %s
    confidence: 0.6
    why: In this house it means something else.
    match: ["ERROR: failed to push ghcr.io/octo-lab/api:1: denied: permission_denied: write_package"]
    miss: ["ERROR: failed to push registry.example.test/octo/api:1: denied: access denied"]
`

func house(name, id string, cause pushdoctor.Cause) classifier.File {
	return classifier.File{Name: name, Data: fmt.Appendf(nil, moon, id, cause)}
}

// A user's rule is tried before the embedded ones, and a file before the next.
func TestUsersRulesComeFirst(t *testing.T) {
	rules, err := classifier.Load(house("a.yaml", "first", pushdoctor.CausePolicyDenied), house("b.yaml", "second", pushdoctor.CauseQuotaExceeded))
	if err != nil {
		t.Fatal(err)
	}
	log := "ERROR: failed to push ghcr.io/octo-lab/api:1: denied: permission_denied: write_package\n"
	report, err := rules.Classify(parser.New(strings.NewReader(log)))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 1 || report.Findings[0].Rule != "first" || report.Findings[0].Cause != pushdoctor.CausePolicyDenied || report.Findings[0].Confidence != 0.6 {
		t.Errorf("with the user's rules:\n%s", printed(report))
	}
	if report := classify(t, log); report.Findings[0].Rule != "ghcr-write-package" {
		t.Errorf("without them:\n%s", printed(report))
	}

	list := rules.List()
	want := []classifier.Rule{
		{ID: "first", File: "a.yaml", Kind: "rule", Cause: "policy_denied", When: `"permission_denied: write_package", registry ghcr`, Why: "In this house it means something else."},
		{ID: "second", File: "b.yaml", Kind: "rule", Cause: "quota_exceeded", When: `"permission_denied: write_package", registry ghcr`, Why: "In this house it means something else."},
	}
	if diff := cmp.Diff(want, list[:2]); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if embedded := len(classifier.Builtin().List()); len(list) != embedded+2 || list[2].File != classifier.BuiltinFile {
		t.Errorf("List has %d rules, the third of %s; %d are embedded", len(list), list[2].File, embedded)
	}
}

// Load tells the faults of all files at once, each as a *Fault, and an id that stands in two of them.
func TestLoadJoinsFaults(t *testing.T) {
	rules, err := classifier.Load(
		classifier.File{Name: "a.yaml", Data: []byte("rulez: []\n")},
		house("b.yaml", "moon", pushdoctor.CausePolicyDenied),
		house("c.yaml", "moon", "blue"),
		house("d.yaml", "moon", pushdoctor.CausePolicyDenied),
	)
	if rules != nil || err == nil {
		t.Fatalf("Load = %v, %v", rules, err)
	}
	var first *classifier.Fault
	if !errors.As(err, &first) || first.File != "a.yaml" || first.Line != 1 || first.Column != 1 {
		t.Errorf("the first fault is %+v", first)
	}
	said := strings.Split(err.Error(), "\n")
	if len(said) != 3 || !strings.HasPrefix(said[0], "a.yaml:1:1: ") || !strings.HasPrefix(said[1], "c.yaml:6:12: rule moon: ") || !strings.Contains(said[2], "d.yaml:3:") || !strings.Contains(said[2], "b.yaml") {
		t.Errorf("Load says:\n%v", err)
	}
}

// Check runs the examples among the embedded rules, and counts them.
func TestCheckGoodFile(t *testing.T) {
	if got, want := checked(house("good.yaml", "house", pushdoctor.CausePolicyDenied)), "2 examples\n"; got != want {
		t.Errorf("Check = %q, want %q", got, want)
	}
}

// FuzzRules takes any bytes for a rule file. It turns red if Check panics, or if it calls a file good that Load
// refuses.
func FuzzRules(f *testing.F) {
	files, err := filepath.Glob("testdata/rules/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(fmt.Appendf(nil, moon, "moon", "unknown"))
	f.Add([]byte("rules:\n  - !!binary x\n  - ? [a]\n  : b\n  - <<: *x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := classifier.File{Name: "fuzz.yaml", Data: data}
		_, faults := classifier.Check(file)
		rules, err := classifier.Load(file)
		if (rules == nil) == (err == nil) {
			t.Errorf("Load = %v, %v", rules, err)
		}
		if err != nil && len(faults) == 0 {
			t.Errorf("Check finds no fault, Load says: %v", err)
		}
	})
}

// Explain says why the winner won, in the words of its rule, and of a failure's copies only that they are copies.
func TestExplain(t *testing.T) {
	rules, err := classifier.Load(house("a.yaml", "first", pushdoctor.CausePolicyDenied))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	log := "#14 exporting to image\n" + strings.Repeat("#14 ERROR: failed to push ghcr.io/octo-lab/api:1: denied: permission_denied: write_package\n", 3)
	if _, err := rules.Explain(parser.New(strings.NewReader(log)), &said); err != nil {
		t.Fatal(err)
	}
	want := "line 2: rule first matched: policy_denied, confidence 0.60: In this house it means something else.\n" +
		"line 3: the same failure as line 2\nline 4: the same failure as line 2\n"
	if diff := cmp.Diff(want, said.String()); diff != "" {
		t.Errorf("Explain (-want +got):\n%s", diff)
	}
}
