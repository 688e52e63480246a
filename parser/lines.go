package parser

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

const bom = "\ufeff"

// A form is the way in which a log was saved.
type form uint8

const (
	bare   form = iota // no stamp so far
	raw                // STAMP TEXT
	ghText             // JOB \t STEP \t STAMP TEXT
)

// next reads one line into l.at. It returns false at the end.
func (l *Log) next() bool {
	b, cut, ok := l.read()
	if !ok {
		return false
	}
	ln := &l.at
	ln.Number++
	ln.Kind, ln.Cut = Output, cut

	b = bytes.TrimRight(b, "\r")
	if bytes.IndexByte(b, 0) >= 0 {
		b = bytes.ReplaceAll(b, []byte{0}, nil)
	}
	text := string(b)
	if !utf8.Valid(b) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	text, stamped := l.unframe(text)

	// The runner colours the lines of a script that it echoes, and nothing else so.
	echoed := strings.HasPrefix(text, "\x1b[36;1m")
	if strings.IndexByte(text, '\x1b') >= 0 {
		text = stripANSI(text)
	}
	ln.Text = trimBOM(text)
	l.place(stamped, echoed)
	if len(ln.Text) > MaxLine {
		ln.Text, ln.Cut = cutRune(ln.Text, MaxLine), true
	}
	l.facts.read(l)
	return true
}

// read returns the next line without its \n. What is over the buffer's size is read and dropped.
// The bytes are good until the next call.
func (l *Log) read() (b []byte, cut, ok bool) {
	if l.ended {
		return nil, false, false
	}
	if !l.begun {
		l.begun = true
		l.in = decoded(l.in)
	}
	b, err := l.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		b, cut = bytes.Clone(b), true
		for err == bufio.ErrBufferFull {
			_, err = l.in.ReadSlice('\n')
		}
	}
	if err != nil {
		l.ended = true
		if err != io.EOF {
			l.err = err
		}
		if len(b) == 0 {
			return nil, false, false
		}
	}
	return bytes.TrimSuffix(b, []byte{'\n'}), cut, true
}

// unframe takes what the runner and gh put before a line off it, and says whether there was a stamp.
func (l *Log) unframe(s string) (string, bool) {
	s = trimBOM(s)
	if l.form != raw {
		if rest, ok := l.columns(s); ok {
			s = trimBOM(rest)
		}
	}
	n := stampLen(s)
	if n == 0 {
		return s, false
	}
	if l.form == bare {
		l.form = raw
	}
	l.at.stamp = s[:n]
	return trimBOM(strings.TrimPrefix(s[n:], " ")), true
}

// columns takes JOB \t STEP \t off s, the form of `gh run view --log`. Only a stamp in the third
// column shows that form; from there on, the lines that go on without a stamp have the columns too.
func (l *Log) columns(s string) (string, bool) {
	job, rest, ok := strings.Cut(s, "\t")
	if !ok {
		return s, false
	}
	_, rest, ok = strings.Cut(rest, "\t")
	if !ok {
		return s, false
	}
	stamped := stampLen(trimBOM(rest)) > 0
	if !stamped && (l.form != ghText || job != l.at.Job) {
		return s, false
	}
	if l.form != ghText || job != l.at.Job {
		l.form = ghText
		l.at = Line{Number: l.at.Number, Cut: l.at.Cut, Job: strings.Clone(job)}
		l.first = l.at.Number
		l.head = header{}
		l.facts = facts{}
	}
	return rest, true
}

// stampLen returns the length of the stamp with which s begins: "2006-01-02T15:04:05.0000000Z",
// then a space or the end of the line. It returns 0 where there is none.
func stampLen(s string) int {
	const shape = "0000-00-00T00:00:00.0"
	if len(s) < len(shape)+1 || s[10] != 'T' || s[4] != '-' {
		return 0
	}
	for i := range len(shape) {
		if c := s[i]; shape[i] == '0' && (c < '0' || c > '9') || shape[i] != '0' && c != shape[i] {
			return 0
		}
	}
	i := len(shape)
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i > len(shape)+8 || i == len(s) || s[i] != 'Z' {
		return 0
	}
	if i++; i < len(s) && s[i] != ' ' {
		return 0
	}
	return i
}

// place says what the line in l.at is, and in which step it stands.
func (l *Log) place(stamped, echoed bool) {
	ln := &l.at
	kind, text := marker(ln.Text)
	if l.head.open {
		// Where lines have stamps, one without goes on with the line before it. Neither that nor a
		// line of the script can be a marker: the runner begins a line for each of its own.
		goesOn := !stamped && l.form != bare
		if goesOn || echoed || kind == Output && !isCleanup(text) {
			if l.head.open = l.head.takes(ln.Text, goesOn, echoed); l.head.open {
				ln.Kind = Script
				return
			}
		} else if kind != Debug {
			l.head.open = false
		}
	}
	ln.Kind, ln.Text = kind, text
	switch kind {
	case Group:
		l.marked = true
		if strings.HasPrefix(text, "Run ") {
			l.step(text, false)
			l.head = header{open: true, action: isAction(text[len("Run "):])}
		} else if isCleanup(text) {
			l.step(text, true)
		}
	case Output:
		switch {
		case isCleanup(text):
			l.step(text, true)
		case l.copied() && strings.HasPrefix(text, "Run "):
			l.step(text, false)
			l.head = header{open: true, copied: true, script: text[len("Run "):]}
		}
	default:
		l.marked = true
	}
}

// isCleanup says whether the runner begins a part of the job after its steps with this line.
func isCleanup(text string) bool {
	if text == "" || text[0] < 'C' || text[0] > 'S' {
		return false
	}
	switch text {
	case "Post job cleanup.", "Stop containers", "Evaluate and set job outputs", "Cleaning up orphan processes":
		return true
	}
	return strings.HasPrefix(text, "Print service container logs: ")
}

// copied says that the log is text copied from the web page, as far as one can tell: it has
// neither stamps nor markers.
func (l *Log) copied() bool { return l.form == bare && !l.marked }

func (l *Log) step(title string, post bool) {
	l.head = header{}
	l.at.Step++
	l.at.Title, l.at.Post = title, post
}

// isAction says whether title names an action, "docker/login-action@v3", and is no script.
func isAction(title string) bool {
	return !strings.ContainsAny(title, " \t;|&$\"'") && strings.Contains(title, "/") && strings.Contains(title, "@")
}

var markers = [...]struct {
	word string
	kind Kind
}{
	{"##[group]", Group}, {"##[endgroup]", EndGroup}, {"##[command]", Command}, {"[command]", Command},
	{"##[error]", Error}, {"##[warning]", Warning}, {"##[notice]", Notice}, {"##[debug]", Debug},
	{"##[section]", Section},
}

func marker(s string) (Kind, string) {
	if s == "" || s[0] != '#' && s[0] != '[' {
		return Output, s
	}
	for _, m := range markers {
		if rest, ok := strings.CutPrefix(s, m.word); ok {
			return m.kind, rest
		}
	}
	return Output, s
}

// A part is what the runner echoes in a "Run" group.
type part uint8

const (
	none part = iota
	script
	with
	shell
	env
)

// maxPlain is the number of lines without colour that a "Run" group may have.
const maxPlain = 1000

// A header is the "Run" group in which the runner echoes what a step is going to do:
//
//	##[group]Run X
//	the lines of the script, in colour; or with: and indented inputs
//	shell: /usr/bin/bash -e {0}
//	env:
//	  NAME: value
//	##[endgroup]
//
// A log that was edited may lack the last line, and the output that follows must not pass for
// an echo: the header also ends at a marker, at the first line that is not indented after
// shell:, with: or env:, at the first line without colour after a script in colour, and after
// maxPlain lines. A value of several lines goes on in lines without a stamp.
type header struct {
	open     bool
	action   bool   // the step runs an action, so there is no script
	copied   bool   // from the web page: no end, all of it indented by two spaces
	script   string // copied: the script's first line
	part     part
	coloured bool
	plain    int
}

// takes says whether a line that is no marker belongs to the header. goesOn: it goes on with the
// line before it; echoed: it has the colour of a script.
func (h *header) takes(text string, goesOn, echoed bool) bool {
	if echoed && h.part <= script {
		h.part, h.coloured = script, true
		return true
	}
	if h.copied {
		if strings.TrimSpace(text) == "" {
			return h.part != none
		}
		inner, ok := strings.CutPrefix(text, "  ")
		if !ok {
			return false
		}
		text = inner
	}
	if h.plain++; h.plain > maxPlain {
		return false
	}
	switch {
	case text == "with:" && h.part == none:
		h.part = with
	case strings.HasPrefix(text, "shell: ") && h.part <= script:
		h.part = shell
	case text == "env:":
		h.part = env
	case goesOn:
	case h.part == with, h.part == env:
		return strings.HasPrefix(text, "  ")
	case h.part == shell, h.coloured, h.action:
		return false
	case h.copied && h.part == none && strings.TrimSpace(text) != strings.TrimSpace(h.script):
		return false
	default:
		h.part = script
	}
	return true
}

func trimBOM(s string) string {
	for len(s) >= len(bom) && s[0] == bom[0] && s[:len(bom)] == bom {
		s = s[len(bom):]
	}
	return s
}

// cutRune returns the first n bytes of s or a little less, so as not to part a rune.
func cutRune(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
