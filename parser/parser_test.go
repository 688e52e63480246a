package parser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata want")

var signs = strings.NewReplacer("␛", "\x1b", "␍", "\r", "␀", "\x00", "␇", "\a", "␉", "\t", "⟨BOM⟩", "\ufeff")

// written returns the log of a case: the signs of control characters become these, and an "@"
// that begins a line's text becomes the stamp of a second of its own.
func written(log string) string {
	var b strings.Builder
	for n, line := range strings.SplitAfter(log, "\n") {
		line = signs.Replace(line)
		head, text, ok := strings.Cut(line, "@")
		if ok && (head == "" || strings.HasSuffix(head, "\t") || strings.HasSuffix(head, "\ufeff")) {
			line = head + time.Date(2026, 3, 1, 10, 0, n, 0, time.UTC).Format("2006-01-02T15:04:05.0000000Z") + text
		}
		b.WriteString(line)
	}
	return b.String()
}

// read returns the lines and facts of a log as the cases write them.
func read(t *testing.T, r io.Reader) (lines, facts string) {
	t.Helper()
	log := parser.New(r)
	var b strings.Builder
	job := ""
	for ln := range log.Lines() {
		if ln.Job != job {
			job = ln.Job
			fmt.Fprintf(&b, "job %s\n", job)
		}
		step := fmt.Sprint(ln.Step)
		if ln.Post {
			step += "p"
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%2d %-8s %-2s  %s", ln.Number, ln.Kind, step, ln.Text), " ") + "\n")
	}
	if err := log.Err(); err != nil {
		t.Fatal(err)
	}
	got := log.Facts()
	at := ""
	if e := got.TokenLine; e != (pushdoctor.Evidence{}) {
		at = fmt.Sprintf("%s, line %d: %s", e.Kind, e.Line, e.Text)
	}
	type plain pushdoctor.Facts
	j, err := json.MarshalIndent(struct {
		plain
		TokenLine string `json:"token_line,omitempty"`
	}{plain(got), at}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), string(j) + "\n"
}

// TestCases reads the logs in testdata. Each file says which bug turns it red.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.ToSlash(file), func(t *testing.T) {
			c, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines, facts := read(t, strings.NewReader(written(string(c.Files[0].Data))))
			for i, f := range c.Files[1:] {
				got := map[string]string{"lines": lines, "facts": facts}[f.Name]
				if *update {
					c.Files[i+1].Data = []byte(got)
					continue
				}
				if diff := cmp.Diff(string(f.Data), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(c), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A line without a stamp has the time of the last one that had one; a stamp that goes
// backwards is believed.
func TestTime(t *testing.T) {
	log := parser.New(strings.NewReader("no stamp yet\n" +
		"2026-03-01T10:00:02.1234567Z a\ngoes on\n2026-03-01T10:00:01.0000000Z back\n2026-13-01T10:00:01.0000000Z no month\n"))
	var got []string
	for ln := range log.Lines() {
		got = append(got, ln.Time().Format(time.RFC3339Nano)+" "+ln.Text)
	}
	want := []string{
		"0001-01-01T00:00:00Z no stamp yet",
		"2026-03-01T10:00:02.1234567Z a", "2026-03-01T10:00:02.1234567Z goes on", "2026-03-01T10:00:01Z back",
		"0001-01-01T00:00:00Z no month",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

// PowerShell writes UTF-16. Red if a rune beyond the basic plane, or one that is split between
// two reads, is lost, or if a lone surrogate or an odd last byte makes invalid text.
func TestUTF16(t *testing.T) {
	const text = "2026-03-01T10:00:00.0000000Z ##[error]zurückgewiesen 🚫\n2026-03-01T10:00:01.0000000Z 第二行\n"
	for _, test := range []struct {
		name string
		put  func([]byte, uint16) []byte
	}{
		{"little", func(b []byte, u uint16) []byte { return append(b, byte(u), byte(u>>8)) }},
		{"big", func(b []byte, u uint16) []byte { return append(b, byte(u>>8), byte(u)) }},
	} {
		var in []byte
		for _, u := range append(utf16.Encode([]rune("\ufeff"+text)), 'x', 0xd83d, 'y') {
			in = test.put(in, u)
		}
		in = append(in, 0x41)
		lines, _ := read(t, iotest.OneByteReader(bytes.NewReader(in)))
		want := " 1 error    0   zurückgewiesen 🚫\n 2 output   0   第二行\n 3 output   0   x\ufffdy\ufffd\n"
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("%s endian (-want +got):\n%s", test.name, diff)
		}
	}
}

// A line of 50 MB must cost no memory, keep the number of the next line, and not part a rune.
func TestLongLine(t *testing.T) {
	long := io.MultiReader(
		strings.NewReader("2026-03-01T10:00:00.0000000Z ##[error]a"),
		io.LimitReader(new(repeated), 50<<20),
		strings.NewReader("\nnext"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var got []string
	for ln := range parser.New(long).Lines() {
		if len(ln.Text) > parser.MaxLine || !utf8.ValidString(ln.Text) {
			t.Errorf("line %d has %d bytes, valid: %t", ln.Number, len(ln.Text), utf8.ValidString(ln.Text))
		}
		got = append(got, fmt.Sprintf("%d %s %t %d %.3s", ln.Number, ln.Kind, ln.Cut, len(ln.Text), ln.Text))
	}
	runtime.ReadMemStats(&after)
	want := []string{"1 error true 65535 aéé", "2 output false 4 nex"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("a line of 50 MB took %d bytes", n)
	}
}

// repeated is a reader of "é" without end; its value says whether the first byte of one was read.
type repeated bool

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "é"[0]
		if *r {
			p[i] = "é"[1]
		}
		*r = !*r
	}
	return len(p), nil
}

// What the reader gave before its error is read; the error is told, io.EOF is none.
func TestErr(t *testing.T) {
	broken := errors.New("connection reset")
	log := parser.New(io.MultiReader(strings.NewReader("one\ntw"), iotest.ErrReader(broken)))
	var got []string
	for ln := range log.Lines() {
		got = append(got, ln.Text)
	}
	if diff := cmp.Diff([]string{"one", "tw"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if !errors.Is(log.Err(), broken) {
		t.Errorf("Err() = %v, want %v", log.Err(), broken)
	}
}

// Lines that were not ranged over are still there for the next range: a reader that stops early
// must not lose one.
func TestLinesGoOn(t *testing.T) {
	log := parser.New(strings.NewReader("one\ntwo\nthree"))
	var got []string
	for ln := range log.Lines() {
		got = append(got, ln.Text)
		break
	}
	for ln := range log.Lines() {
		got = append(got, ln.Text)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// A hostile log can name logins without end; the first 100 are kept, and the first 1000 lines
// without colour of a header that never ends.
func TestBounds(t *testing.T) {
	log := parser.New(strings.NewReader(strings.Repeat("Login Succeeded\n", 150) +
		"##[group]Run ./x\n" + strings.Repeat("docker login a.example.test\n", 1500)))
	kinds := map[parser.Kind]int{}
	for ln := range log.Lines() {
		kinds[ln.Kind]++
	}
	if got := len(log.Facts().Logins); got != 100 {
		t.Errorf("%d logins, want 100", got)
	}
	if diff := cmp.Diff(map[parser.Kind]int{parser.Output: 650, parser.Group: 1, parser.Script: 1000}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

// Facts are the caller's: what it does to them must not change what the log knows.
func TestFactsAreCopied(t *testing.T) {
	log := parser.New(strings.NewReader("##[group]GITHUB_TOKEN Permissions\nPackages: read\n##[endgroup]\nLogin Succeeded\n"))
	for range log.Lines() {
	}
	f := log.Facts()
	f.Token["packages"], f.Logins[0].Host = "write", "ghcr.io"
	want := pushdoctor.Facts{
		Token:     map[string]string{"packages": "read"},
		Logins:    []pushdoctor.Login{{OK: true, Line: 4}},
		TokenLine: pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: 2, Text: "Packages: read"},
	}
	if diff := cmp.Diff(want, log.Facts()); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func FuzzLines(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		c, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(written(string(c.Files[0].Data))))
	}
	f.Add([]byte("\xff\xfe\x3d\xd8\xab\xde\n\x00"))
	f.Add([]byte("\x1b(\xc3\xa9 \x1b[31\x1b]0;\x1b[m"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := parser.New(bytes.NewReader(in))
		var lines []parser.Line
		for ln := range whole.Lines() {
			if ln.Number != len(lines)+1 {
				t.Errorf("line %d has number %d", len(lines)+1, ln.Number)
			}
			if len(ln.Text) > parser.MaxLine || strings.ContainsAny(ln.Text, "\n\x1b\x00") || !utf8.ValidString(ln.Text) {
				t.Errorf("line %d: unclean text %q", ln.Number, ln.Text)
			}
			lines = append(lines, ln)
		}
		split := parser.New(iotest.OneByteReader(bytes.NewReader(in)))
		var again []parser.Line
		for ln := range split.Lines() {
			again = append(again, ln)
		}
		opt := cmp.AllowUnexported(parser.Line{})
		if diff := cmp.Diff(lines, again, opt); diff != "" {
			t.Errorf("another split, other lines:\n%s", diff)
		}
		if diff := cmp.Diff(whole.Facts(), split.Facts()); diff != "" {
			t.Errorf("another split, other facts:\n%s", diff)
		}
	})
}
