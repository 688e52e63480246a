package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// outcomes returns what became of each input: the path, and the error or the number of findings.
func outcomes(t *testing.T, stdout string) []string {
	t.Helper()
	var rows []string
	for _, a := range answers(t, stdout) {
		row := fmt.Sprintf("%s: %d found", a.Path, len(a.Findings))
		if a.Error != "" {
			row = a.Path + ": " + a.Error
		}
		rows = append(rows, row)
	}
	return rows
}

// Each row is red where what is no log is called a clean one, or where the message does not say what to do.
// The last argument is always good.log, which must be read all the same.
func TestNoLog(t *testing.T) {
	random := make([]byte, 100<<10)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	write(t, map[string]string{
		"good.log":        failedLog,
		"empty.log":       "",
		"blank.log":       "\ufeff\r\n \n\t\n",
		"long-blank.log":  strings.Repeat("\n", 200<<10),
		"nul.log":         strings.Repeat("\x00", 4096),
		"random.bin":      string(random),
		"log.gz":          "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + string(random[:1000]),
		"program":         "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 400) + "usage: program [flags]\n" + strings.Repeat("\x00\x01\x00\x00", 300),
		"utf16.bin":       "\xff\xfe" + strings.Repeat("\x12\x93\x44\x71", 500),
		"folder/deep/ok":  cleanLog,
		"no-log/.git/log": cleanLog,
	})
	for _, step := range []error{
		os.Mkdir("nothing", 0o755),
		os.Symlink("loop", "loop"),
		os.Symlink("good.log", "link.log"),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	const binaryFile = "this is not text: name the log itself, unpacked"
	const emptyLog = "the log is empty: was the job skipped, or is it still running? Fetch the log again when the job has ended"
	const anAddress = "reading it from GitHub needs a token that may read Actions: set GITHUB_TOKEN (to $(gh auth token), if you have the GitHub CLI) or github.token_file; or save the log and name the file"
	for _, test := range []struct{ arg, want string }{
		{"none.log", "there is no such file or folder"},
		{"empty.log", emptyLog},
		{"blank.log", emptyLog},
		{"long-blank.log", emptyLog},
		{"nul.log", binaryFile},
		{"random.bin", binaryFile},
		{"log.gz", binaryFile},
		{"program", binaryFile},
		{"utf16.bin", binaryFile},
		{"nothing", "there is no log in this folder"},
		{"no-log", "there is no log in this folder"},
		{"loop", "too many levels of symbolic links"},
		{os.DevNull, "this is a device, not a file: hand it over as standard input (pushdoctor diagnose - < /dev/null)"},
		{"https://github.com/octo-lab/api/actions/runs/1/job/2", anAddress},
		{"octo-lab/api#1", anAddress},
		{strings.Repeat("x", 300), "file name too long"},
		{"link.log", "1 found"},
		{"folder/", "0 found"},
	} {
		got := diagnose(t, "--format", "json", test.arg, "good.log")
		path := test.arg
		status := 2
		if strings.HasSuffix(test.want, "found") {
			status = 1
		}
		if test.arg == "folder/" {
			path = "folder/deep/ok"
		}
		if diff := cmp.Diff([]string{path + ": " + test.want, "good.log: 1 found"}, outcomes(t, got.stdout)); diff != "" || got.status != status {
			t.Errorf("%s: status %d, want %d (-want +got):\n%s", test.arg, got.status, status, diff)
		}
	}
}

// Red where a log from diagnose <(gh run view --log) is refused, or a pipe to which nobody writes cannot be interrupted.
func TestPipe(t *testing.T) {
	dir := write(t, nil)
	if err := syscall.Mkfifo("log", 0o644); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(filepath.Join(dir, "log"), []byte(failedLog), 0o644) }()
	got := diagnose(t, "--format", "json", "log")
	if diff := cmp.Diff([]string{"log: 1 found"}, outcomes(t, got.stdout)); diff != "" || got.status != 1 {
		t.Errorf("status %d (-want +got):\n%s", got.status, diff)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var stdout, stderr strings.Builder
	if status := run(ctx, []string{"diagnose", "log"}, nil, nil, &stdout, &stderr); status != 130 {
		t.Errorf("status %d\n%s", status, stderr.String())
	}
	// The reader that was left behind goes away with the writer that it waits for.
	if err := os.WriteFile("log", nil, 0o644); err != nil {
		t.Error(err)
	}
}

// Red where the program waits for ever for somebody to write into a pipe that is named as its rules or configuration.
func TestPipeAsSettings(t *testing.T) {
	write(t, map[string]string{"clean.log": cleanLog})
	if err := syscall.Mkfifo("fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	const (
		rules  = "pushdoctor: rule file fifo: this is a pipe: save the rules to a file and name the file\n"
		config = "pushdoctor: configuration: fifo is no regular file\n"
	)
	for _, test := range []struct{ args, want string }{
		{"rules check fifo", rules},
		{"diagnose --rules fifo clean.log", rules},
		{"config check --config fifo", config},
		{"diagnose --config fifo clean.log", config},
	} {
		if got := (call{args: strings.Fields(test.args)}).run(t); got.status != 2 || got.stderr != test.want {
			t.Errorf("%s: %+v", test.args, got)
		}
	}
}

// Red where a pipe or a device in a folder is opened, which could wait for ever, a symbolic link is followed out
// of the folder, or one of them is passed over in silence.
func TestFolder(t *testing.T) {
	dir := write(t, map[string]string{
		"secret.log":       failedLog,
		"logs/b.log":       cleanLog,
		"logs/a.log":       failedLog,
		"logs/a/z.txt":     cleanLog,
		"logs/.cache/x":    failedLog,
		"logs/.hidden.log": failedLog,
		"logs/data.bin":    "\x00\x01\x02\x03",
	})
	socket, err := net.Listen("unix", filepath.Join(dir, "logs", "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	for _, step := range []error{
		os.Symlink("../secret.log", "logs/link.log"),
		os.Symlink("..", "logs/up"),
		syscall.Mkfifo("logs/fifo", 0o644),
		os.Symlink("logs", "named"),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	for _, root := range []string{"logs", "named"} {
		got := diagnose(t, "--format", "json", root)
		if diff := cmp.Diff([]string{
			root + "/a/z.txt: 0 found",
			root + "/a.log: 1 found",
			root + "/b.log: 0 found",
			root + "/data.bin: this is not text: name the log itself, unpacked",
		}, outcomes(t, got.stdout)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", root, diff)
		}
		want := strings.ReplaceAll(`pushdoctor: skipped ROOT/.cache: hidden folder
pushdoctor: skipped ROOT/.hidden.log: hidden file
pushdoctor: skipped ROOT/fifo: a pipe
pushdoctor: skipped ROOT/link.log: a symbolic link
pushdoctor: skipped ROOT/socket: a socket
pushdoctor: skipped ROOT/up: a symbolic link
pushdoctor: 1 input could not be read
`, "ROOT", root)
		if diff := cmp.Diff(want, got.stderr); diff != "" {
			t.Errorf("%s: stderr (-want +got):\n%s", root, diff)
		}
	}
}

// Red where standard input is read twice, where a zip on it passes for a binary file, or a slow writer for an empty log.
func TestStandardInput(t *testing.T) {
	got := call{args: []string{"diagnose", "--format", "json", "-", "-"}, stdin: failedLog}.run(t)
	if diff := cmp.Diff([]string{"-: 1 found", "-: standard input was read already"}, outcomes(t, got.stdout)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got = call{args: []string{"diagnose", "--format", "json", "-"}, stdin: "PK\x03\x04" + strings.Repeat("\x99\x01", 600)}.run(t)
	if diff := cmp.Diff([]string{"-: this is a zip archive: save it to a file and name the file"}, outcomes(t, got.stdout)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var stdout, stderr strings.Builder
	status := run(t.Context(), []string{"diagnose", "--format", "json", "-"}, nil, oneByte{strings.NewReader(failedLog)}, &stdout, &stderr)
	if diff := cmp.Diff([]string{"-: 1 found"}, outcomes(t, stdout.String())); diff != "" || status != 1 {
		t.Errorf("byte by byte: status %d (-want +got):\n%s", status, diff)
	}
}

// A oneByte gives what is read byte by byte, and now and then nothing.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if rand.IntN(10) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:min(1, len(p))])
}

// Red where a log of an odd form is refused, read for ever, or gives a finding of unbounded size.
func TestOddLogs(t *testing.T) {
	wide := utf16.Encode([]rune("\ufeff" + strings.ReplaceAll(failedLog, "\n", "\r\n")))
	var little, big bytes.Buffer
	if err := errors.Join(binary.Write(&little, binary.LittleEndian, wide), binary.Write(&big, binary.BigEndian, wide)); err != nil {
		t.Fatal(err)
	}

	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "2026-03-01T10:00:01.0000000Z %s\n", strings.Replace(refusal, "/api:dev", fmt.Sprintf("/api-%d:dev", i), 1))
		}
		return b.String()
	}
	lines := strings.SplitAfter(failedLog, "\n")
	write(t, map[string]string{
		"little.log":   little.String(),
		"big.log":      big.String(),
		"backward.log": strings.Replace(failedLog, lines[2], strings.Replace(lines[2], "2026", "1999", 1), 1),
		"long.log":     failedLog + strings.Repeat("x", 50<<20) + "\n" + cleanLog,
		"name.log":     strings.ReplaceAll(failedLog, "/api", "/"+strings.Repeat("a", 10<<10)),
		"most.log":     many(5_000),
		"many.log":     many(150),
		"nul.log":      strings.ReplaceAll(failedLog, " ERROR", " \x00\x00ERROR"),
		"latin1.log":   failedLog + strings.Repeat("schl\xe4gt f\xfcr Gr\xf6\xdfe fehl\n", 100),
		"chinese.log":  failedLog + strings.Repeat("\xcd\xc6\xcb\xcd\xca\xa7\xb0\xdc (GBK) step 12 of 40, image layers\n", 100),
	})
	names := []string{"little.log", "big.log", "backward.log", "long.log", "name.log", "nul.log", "latin1.log", "chinese.log"}
	got := diagnose(t, append([]string{"--format", "json"}, names...)...)
	var want []string
	for _, n := range names {
		want = append(want, n+": 1 found")
	}
	if diff := cmp.Diff(want, outcomes(t, got.stdout)); diff != "" || got.status != 1 {
		t.Errorf("status %d (-want +got):\n%s", got.status, diff)
	}
	for _, a := range answers(t, got.stdout) {
		if f := a.Findings[0]; f.Status != 403 || f.Line != 3 {
			t.Errorf("%s: status %d on line %d", a.Path, f.Status, f.Line)
		}
	}
	if n := len(diagnose(t, "name.log").stdout); n > 10<<10 {
		t.Errorf("a name of 10 KB makes a text of %d bytes", n)
	}

	got = diagnose(t, "--format", "json", "most.log")
	if a := answers(t, got.stdout)[0]; len(a.Findings) != 100 || a.More != 4_900 {
		t.Errorf("%d findings and %d more, want 100 and 4900", len(a.Findings), a.More)
	}
	if text := diagnose(t, "many.log").stdout; !strings.HasSuffix(text, "\n\nmany.log: 50 findings more, of other images or steps, not shown.\n\n1 log read, 150 findings.\n") {
		t.Errorf("the text does not tell of the rest: ...%s", text[max(0, len(text)-300):])
	}
	// GitHub drops a summary of more than 1 MiB as a whole.
	if n := len(diagnose(t, "--format", "markdown", "many.log", "many.log", "many.log", "many.log").stdout); n > 1<<20 {
		t.Errorf("the summary has %d bytes", n)
	}
}
