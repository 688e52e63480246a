package classifier_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Logs of real jobs may not be published with the project; where a checkout has a folder of them beside it, each
// must end as its index says: no finding in a job that did not fail at a push, and the cause of one that did.
func TestRealLogs(t *testing.T) {
	folder := filepath.Join("..", "..", "shared", "reallogs")
	index, err := os.ReadFile(filepath.Join(folder, "INDEX.tsv"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there are no real logs beside this checkout: they may not be published with it")
	}
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(index)) {
		// file, outcome, registry, client, operation, status, cause
		columns := strings.Split(strings.TrimRight(row, "\n"), "\t")
		if len(columns) < 7 || columns[0] == "file" {
			continue
		}
		t.Run(columns[0], func(t *testing.T) {
			log, err := os.ReadFile(filepath.Join(folder, columns[0]))
			if err != nil {
				t.Fatal(err)
			}
			report := classify(t, string(log))
			for _, wrong := range holds(string(log), report) {
				t.Error(wrong)
			}
			want := ""
			if columns[1] == "push-failure" {
				want = columns[6]
			}
			got := ""
			if len(report.Findings) > 0 {
				got = string(report.Findings[0].Cause)
			}
			if got != want || len(report.Findings) > 1 {
				t.Errorf("want one finding of %q, got:\n%s", want, printed(report))
			}
		})
	}
}
