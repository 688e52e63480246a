package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var sampleRow = regexp.MustCompile("(?m)^\\| `([^`]+\\.log)` \\|.*\\| (?:`([a-z_]+)`|none) \\|$")

// The table in samples/README.md is what a reader takes for true. Red if a sample is classed otherwise than
// its row says, has two findings, or has no row.
func TestSamples(t *testing.T) {
	table, err := os.ReadFile("../../samples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range sampleRow.FindAllStringSubmatch(string(table), -1) {
		rows[m[1]] = m[2]
	}
	files, err := filepath.Glob("../../samples/*.log")
	if err != nil || len(files) == 0 || len(files) != len(rows) {
		t.Fatalf("%d samples and %d rows: %v", len(files), len(rows), err)
	}
	for _, file := range files {
		want, ok := rows[filepath.Base(file)]
		if !ok {
			t.Errorf("%s has no row", file)
			continue
		}
		got := answers(t, diagnose(t, "--format", "json", file).stdout)
		switch {
		case want == "" && len(got[0].Findings) != 0, want != "" && len(got[0].Findings) != 1:
			t.Errorf("%s: %d findings, the table says %q", file, len(got[0].Findings), want)
		case want != "" && string(got[0].Findings[0].Cause) != want:
			t.Errorf("%s: %s, the table says %s", file, got[0].Findings[0].Cause, want)
		}
	}
}
