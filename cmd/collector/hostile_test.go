package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// evil is what a log may hold to harm its reader. The word marks where it comes out.
const evil = "EVIL ##[error]EVIL ::error::EVIL \x1b]0;EVIL\x07\x1b[2J \u009b31mEVIL \u202eEVIL \u2066 \u200b \r::set-env name=EVIL::1 " +
	"```EVIL ````` <script>EVIL</script> <img src=x onerror=EVIL> | EVIL | @EVIL [EVIL](http://evil.test/EVIL) **EVIL** &lt;EVIL %0A::error::EVIL </details> \\| \\` EVIL"

// hostileLog is a log whose every part that we quote tries to get out of where it is quoted.
var hostileLog = "2026-03-01T10:00:00.0000000Z ##[group]Run " + evil + "\n" +
	"2026-03-01T10:00:00.0000000Z ##[endgroup]\n" +
	"2026-03-01T10:00:01.0000000Z ::error::EVIL\n" +
	"2026-03-01T10:00:02.0000000Z ::stop-commands::EVIL\n" +
	"2026-03-01T10:00:03.0000000Z " + refusal + " " + evil + "\n" +
	"2026-03-01T10:00:04.0000000Z ##[group]Run ::warning::EVIL ##[error]\n" +
	"2026-03-01T10:00:05.0000000Z ##[endgroup]\n" +
	"2026-03-01T10:00:06.0000000Z \x1b[31m::error::EVIL \x1b[0m" + strings.ReplaceAll(refusal, "octo-lab/api", "octo-lab/other") + " ##[error]" + strings.Repeat(" ::error::EVIL", 30) + "\n"

const hostileName = "::error::EVIL\n::error::EVIL ##[error]\x1b[2J <b>EVIL | `EVIL` .log"

func hostileOutput(t *testing.T, format string) string {
	t.Helper()
	write(t, map[string]string{hostileName: hostileLog, "second.log": hostileLog})
	got := diagnose(t, "--explain", "--format", format, hostileName, "second.log", hostileName+"missing", "octo-lab/EVIL#1")
	if got.status != 2 {
		t.Errorf("status %d, want 2", got.status)
	}
	if !strings.Contains(got.stdout, "EVIL") {
		t.Fatalf("the hostile parts are not quoted at all:\n%s", got.stdout)
	}
	inert(t, "stderr", got.stderr)
	return got.stdout
}

// inert fails where a terminal or the runner would obey something in a text.
func inert(t *testing.T, name, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
			t.Errorf("%s: the runner obeys %q", name, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: %q at %d of %q", name, line[i:i+1], i, line)
		}
	}
}

// Red where a quoted line, a step, a path or an explanation reaches the terminal or the runner as it is.
func TestHostileText(t *testing.T) { inert(t, "text", hostileOutput(t, "text")) }

// Red where the evidence in JSON is not exactly what stands in the log, or where a raw character is left in its line.
func TestHostileJSON(t *testing.T) {
	stdout := hostileOutput(t, "json")
	inert(t, "json", stdout)
	all := answers(t, stdout)
	if len(all) != 4 || len(all[0].Findings) == 0 {
		t.Fatalf("%d answers:\n%s", len(all), stdout)
	}
	for _, f := range all[0].Findings {
		for _, e := range f.Evidence {
			for part := range strings.SplitSeq(e.Text, "<redacted>") {
				line := strings.Split(hostileLog, "\n")[e.Line-1]
				line = regexp.MustCompile("\x1b\\][^\x07]*\x07|\x1b\\[[0-9;]*[A-Za-z]").ReplaceAllString(line, "")
				if !strings.Contains(line, part) {
					t.Errorf("%q is not in line %d", part, e.Line)
				}
			}
		}
	}
	if diff := cmp.Diff(all[0].Findings, all[1].Findings); diff != "" || all[0].Path != hostileName {
		t.Errorf("path %q, findings differ by the name of the file:\n%s", all[0].Path, diff)
	}
}

// Red where an annotation ends early and another command begins, or where one of ours is lost.
func TestHostileAnnotations(t *testing.T) {
	stdout := hostileOutput(t, "github")
	command := regexp.MustCompile(`^::(error|warning) title=([^,:\r\n]+)::([^\r\n]+)$`)
	n := 0
	for line := range strings.Lines(stdout) {
		m := command.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Fatalf("not an annotation: %q", line)
		}
		text := strings.NewReplacer("%25", "%", "%0A", "\n", "%0D", "\r").Replace(m[3])
		if strings.Contains(text, "\r") || strings.Contains(m[2], "EVIL") {
			t.Errorf("title %q, text %q", m[2], text)
		}
		if strings.Contains(line, "##[") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", line)
		}
		n++
	}
	findings := 0
	for _, a := range answers(t, diagnose(t, "--format", "json", hostileName, "second.log").stdout) {
		findings += len(a.Findings)
	}
	if n != findings+2 { // the two inputs that are not there
		t.Errorf("%d annotations for %d findings and 2 errors", n, findings)
	}
}

// Red where something of the log stands in the summary outside of code, or as HTML.
func TestHostileMarkdown(t *testing.T) {
	stdout := hostileOutput(t, "markdown")
	inert(t, "markdown", stdout)
	fence, depth := "", 0
	for line := range strings.Lines(stdout) {
		line = strings.TrimSuffix(line, "\n")
		if fence != "" {
			// A fence ends at a line of at least as many backticks and nothing else.
			if ticks := strings.TrimLeft(line, " "); strings.Trim(ticks, "`") == "" && len(ticks) >= len(fence) {
				fence = ""
			}
			continue
		}
		if ticks := len(line) - len(strings.TrimLeft(line, "`")); ticks >= 3 {
			fence = line[:ticks]
			continue
		}
		depth += strings.Count(line, "<details>") - strings.Count(line, "</details>")
		row := strings.HasPrefix(line, "|")
		outside := withoutCode(line)
		if strings.Contains(outside, "EVIL") {
			t.Errorf("outside of code: %q", line)
		}
		if row && strings.Count(line, "|") != 6 {
			t.Errorf("a row of other than five cells: %q", line)
		}
		for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(outside, -1) {
			if !strings.HasPrefix(tag, "<https://") && !strings.Contains(" <details> <summary> </summary> </details> ", " "+tag+" ") {
				t.Errorf("tag %s in %q", tag, line)
			}
		}
	}
	if fence != "" || depth != 0 {
		t.Errorf("open at the end: fence %q, details %d", fence, depth)
	}
}

// withoutCode takes the code spans of Markdown and the <code> of HTML out of a line.
func withoutCode(line string) string {
	line = regexp.MustCompile(`<code>[^<]*</code>`).ReplaceAllString(line, "")
	var b strings.Builder
	for line != "" {
		i := strings.IndexByte(line, '`')
		if i < 0 {
			break
		}
		b.WriteString(line[:i])
		ticks := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
		rest := line[i+ticks:]
		// A span ends at the next run of exactly as many backticks.
		end := -1
		for at := 0; at < len(rest); {
			if rest[at] != '`' {
				at++
				continue
			}
			n := len(rest[at:]) - len(strings.TrimLeft(rest[at:], "`"))
			if n == ticks {
				end = at + n
				break
			}
			at += n
		}
		if end < 0 {
			b.WriteString(line[i : i+ticks])
			line = rest
			continue
		}
		line = rest[end:]
	}
	b.WriteString(line)
	return b.String()
}

// Red where backticks in a text end the code that it stands in.
func TestCode(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a", "` a `"},
		{"`", "`` ` ``"},
		{"a```b``", "```` a```b`` ````"},
		{" \t", ""},
		{"a\nb", "` a\\x0ab `"},
	} {
		if got := code(test.in); got != test.want {
			t.Errorf("code(%q) = %q, want %q", test.in, got, test.want)
		}
	}
	if got, want := fenced("text", "a\n````\nb\n"), "`````text\na\n````\nb\n`````\n"; got != want {
		t.Errorf("fenced: %q, want %q", got, want)
	}
}

// Red where a line that is a command, cut into any writes, comes through the guard.
func TestGuard(t *testing.T) {
	for _, test := range []struct {
		plain    bool
		in, want string
	}{
		{false, "a :: b\n", "a :: b\n"},
		{false, "::error::x\n \t::x\n\u00a0::x", "\\::error::x\n \t\\::x\n\u00a0\\::x"},
		{false, "a ##[error]x ###[x]##[\n", "a # #[error]x ## #[x]# #[\n"},
		{true, "\x1b[31m\ttab \u202e\U000e0041\x7f\n", `\x1b[31m tab \u202e\U000e0041\x7f` + "\n"},
		{true, "bad \xff utf8\n", "bad \ufffd utf8\n"},
		{true, "\x1b::x\n", `\x1b::x` + "\n"},
		{false, "no end", "no end"},
	} {
		for size := 1; size <= len(test.in); size++ {
			var b strings.Builder
			g := &guard{w: &b, plain: test.plain}
			for in := test.in; in != ""; in = in[min(size, len(in)):] {
				if _, err := g.Write([]byte(in[:min(size, len(in))])); err != nil {
					t.Fatal(err)
				}
			}
			if err := g.flush(); err != nil || b.String() != test.want {
				t.Errorf("%q in writes of %d: %q, want %q (%v)", test.in, size, b.String(), test.want, err)
			}
		}
	}
}
