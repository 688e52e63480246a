package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A call is one run of the program.
type call struct {
	args  []string
	env   []string
	stdin string
}

// An end is what a run leaves behind.
type end struct {
	status         int
	stdout, stderr string
}

func (c call) run(t *testing.T) end {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), c.args, c.env, strings.NewReader(c.stdin), &stdout, &stderr)
	return end{status, stdout.String(), stderr.String()}
}

// diagnose runs `pushdoctor diagnose` with args.
func diagnose(t *testing.T, args ...string) end {
	t.Helper()
	return call{args: append([]string{"diagnose"}, args...)}.run(t)
}

// write writes files into a new folder, makes it the working directory, and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// The logs that the tests take: one that pushed nothing, and one whose push was refused.
const (
	cleanLog  = "2026-03-01T10:00:00.0000000Z ##[group]Run make test\n2026-03-01T10:00:01.0000000Z ok\n"
	failedLog = "2026-03-01T10:00:00.0000000Z ##[group]Run docker/build-push-action@v6\n" +
		"2026-03-01T10:00:00.0000000Z ##[endgroup]\n" +
		"2026-03-01T10:00:01.0000000Z " + refusal + "\n"
	refusal = "ERROR: failed to push ghcr.io/octo-lab/api:dev: unexpected status from POST request to https://ghcr.io/v2/octo-lab/api/blobs/uploads/: 403 Forbidden"
)

// Red where a mistake at the command line is answered with the help and status 0, or without
// saying what would have been right.
func TestUsage(t *testing.T) {
	write(t, map[string]string{"clean.log": cleanLog, "failed.log": failedLog})
	for _, test := range []struct {
		args   string
		status int
		stderr string
	}{
		{"", 0, ""},
		{"--help", 0, ""},
		{"diagnose --help", 0, ""},
		{"completion bash", 0, ""},
		{"diagnos", 2, "pushdoctor: unknown command \"diagnos\" for \"pushdoctor\"\n\nDid you mean this?\n diagnose\n"},
		{"diagnose", 2, "pushdoctor: diagnose needs a log, a folder or an archive to read; pushdoctor diagnose --help shows examples\n"},
		{"diagnose --formt json clean.log", 2, "pushdoctor: unknown flag: --formt\npushdoctor diagnose --help shows the flags\n"},
		{"diagnose --format yaml clean.log", 2, "pushdoctor: unknown format \"yaml\": it is one of text, json, markdown, github\n"},
		{"diagnose --rules none.yaml clean.log", 2, "pushdoctor: rule file none.yaml: there is no such file or folder\n"},
		{"diagnose clean.log", 0, ""},
		{"diagnose failed.log clean.log", 1, ""},
		{"diagnose failed.log none.log", 2, "pushdoctor: 1 input could not be read\n"},
		{"rules", 2, "pushdoctor: pushdoctor rules needs a command; pushdoctor rules --help shows them\n"},
		{"rules chek x.yaml", 2, "pushdoctor: unknown command \"chek\" for \"pushdoctor rules\"; did you mean check?\n"},
		{"rules check", 2, "pushdoctor: rules check needs a rule file; pushdoctor rules check --help shows an example\n"},
		{"rules list --format csv", 2, "pushdoctor: unknown format \"csv\": it is one of table, json\n"},
		{"rules list x", 2, "pushdoctor: pushdoctor rules list takes no arguments, got [\"x\"]\n"},
		{"config check pushdoctor.yaml", 2, "pushdoctor: config check takes the file as a flag: pushdoctor config check --config pushdoctor.yaml\n"},
		{"version", 0, ""},
		{"--version", 0, ""},
		{"help", 0, ""},
		{"help rules check", 0, ""},
		{"help nope", 2, "pushdoctor: there is no command \"nope\"; pushdoctor --help shows them\n"},
		{"help rules chek", 2, "pushdoctor: there is no command \"rules chek\"; pushdoctor --help shows them\n"},
		{"completion fooshell", 2, "pushdoctor: unknown command \"fooshell\" for \"pushdoctor completion\"\n"},
		{"config check --config nope.yaml", 2, "pushdoctor: configuration: open nope.yaml: no such file or directory\n"},
		{"diagnose --config nope.yaml clean.log", 2, "pushdoctor: configuration: open nope.yaml: no such file or directory\n"},
	} {
		got := call{args: strings.Fields(test.args)}.run(t)
		if got.status != test.status {
			t.Errorf("pushdoctor %s: status %d, want %d", test.args, got.status, test.status)
		}
		if diff := cmp.Diff(test.stderr, got.stderr); diff != "" {
			t.Errorf("pushdoctor %s: stderr (-want +got):\n%s", test.args, diff)
		}
		if test.status == 0 && got.stdout == "" {
			t.Errorf("pushdoctor %s: nothing on stdout", test.args)
		}
	}
}

// Red where the flag and the command tell different versions.
func TestVersion(t *testing.T) {
	command, flag := call{args: []string{"version"}}.run(t), call{args: []string{"--version"}}.run(t)
	if diff := cmp.Diff(command, flag, cmp.AllowUnexported(end{})); diff != "" {
		t.Errorf("-version +--version:\n%s", diff)
	}
}

// Red where a command has no example, or promises what does not exist.
func TestHelp(t *testing.T) {
	for _, c := range []string{"diagnose", "findings", "serve", "backfill", "demo", "rules check", "rules list", "config check", "store check", "store compact", "store forget", "version"} {
		got := call{args: append(strings.Fields(c), "--help")}.run(t)
		if !strings.Contains(got.stdout, "Examples:\n  ") || !strings.Contains(got.stdout, "pushdoctor "+c) {
			t.Errorf("%s --help has no example:\n%s", c, got.stdout)
		}
	}
}

// A typist has typed a log, and nothing more comes: the next read waits until the test is over.
type typist struct {
	log     io.Reader
	waiting func() // called when the read that waits has begun
	over    <-chan struct{}
}

func (r *typist) Read(p []byte) (int, error) {
	if n, _ := r.log.Read(p); n > 0 {
		return n, nil
	}
	r.waiting()
	<-r.over
	return 0, io.EOF
}

// Red where an interrupted read from a terminal keeps the program from ending.
func TestInterrupted(t *testing.T) {
	for _, args := range [][]string{{"diagnose", "-"}, {"diagnose", "--explain", "-"}} {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		ended := make(chan end, 1)
		go func() {
			var stdout, stderr bytes.Buffer
			status := run(ctx, args, nil, &typist{strings.NewReader(failedLog), cancel, over}, &stdout, &stderr)
			ended <- end{status, stdout.String(), stderr.String()}
		}()
		select {
		case got := <-ended:
			if got.status != 130 || got.stderr != "pushdoctor: interrupted; 0 logs read, 0 findings\n" {
				t.Errorf("%v: %+v", args, got)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%v does not end", args)
		}
		close(over)
	}
}

// Red where a new operation is printed as nothing.
func TestWords(t *testing.T) {
	for _, o := range pushdoctor.Operations {
		if operationWords[o] == "" {
			t.Errorf("there are no words for the operation %s", o)
		}
	}
}
