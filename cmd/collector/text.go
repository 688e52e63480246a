package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/akkospace/pushdoctor"
)

// The bounds of a text, in columns and in runes of one value.
const (
	defaultWidth = 100
	minWidth     = 40 // narrower terminals break the lines themselves
	maxWidth     = 120
	maxQuote     = 1000 // of a log line
	maxName      = 200  // of an image, a step, a path
)

// A style says how a text looks.
type style struct {
	width  int
	colour bool
}

func (s style) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string { return s.paint("1", text) }
func (s style) dim(text string) string  { return s.paint("2", text) }
func (s style) bad(text string) string  { return s.paint("1;31", text) }
func (s style) warn(text string) string { return s.paint("33", text) }

// A textPrinter writes for a person at a terminal.
type textPrinter struct {
	w     io.Writer
	style style
}

func (p *textPrinter) print(a answer) error {
	var b strings.Builder
	path := visible(shorten(a.Path, maxName))
	if a.Error != "" {
		p.wrap(&b, "", "  ", fmt.Sprintf("%s: not read: %s", path, visible(a.Error)))
		b.WriteByte('\n')
	}
	for _, f := range a.Findings {
		p.finding(&b, path, f)
	}
	if a.More > 0 {
		fmt.Fprintf(&b, "%s: %s more, of other images or steps, not shown.\n\n", path, count(a.More, "finding"))
	}
	if a.Error == "" && len(a.Findings) == 0 {
		fmt.Fprintf(&b, "%s: no failed push%s.\n", path, cleanWords(*a.Facts))
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

// cleanWords says what is known of a log without a finding.
func cleanWords(facts pushdoctor.Facts) string {
	switch n := len(facts.Pushed); {
	case n > 0:
		s := "; pushed well: " + visible(shorten(facts.Pushed[0], maxName))
		if n > 1 {
			s += fmt.Sprintf(" and %d more", n-1)
		}
		return s
	case !facts.Whole:
		return " in this part of a log"
	}
	return ""
}

func (p *textPrinter) finding(b *strings.Builder, path string, f diagnosed) {
	st := p.style
	what := st.bad(causeWords(f.Cause))
	if f.Recovered {
		what = st.warn("cured by a retry: " + causeWords(f.Cause))
	}
	fmt.Fprintf(b, "%s: %s\n", st.bold(fmt.Sprintf("%s:%d", path, f.Line)), what)
	row := func(name, value string) {
		p.wrap(b, "  "+pad(name, 6)+" ", "         ", value)
	}
	row("cause", fmt.Sprintf("%s (%s sure)", f.Cause, percent(f.Confidence)))
	row("answer", fmt.Sprintf("%s from %s while %s with %s", statusWords(f.Finding), visible(shorten(registryWords(f.Finding), maxName)), operationWords[f.Operation], f.Client))
	if f.Image != "" {
		row("image", visible(shorten(f.Image, maxName)))
	}
	if f.Step != "" {
		row("step", visible(shorten(f.Step, maxName)))
	}
	if !f.Time.IsZero() {
		row("time", f.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	line, others := decisive(f.Finding)
	b.WriteByte('\n')
	p.quote(b, line)
	for _, e := range others {
		p.quote(b, e)
	}
	b.WriteByte('\n')
	if len(f.Hints) > 0 {
		b.WriteString("  " + st.bold("What to do, the likeliest first") + "\n")
	}
	for i, h := range f.Hints {
		p.hint(b, i+1, h)
	}
	b.WriteByte('\n')
}

func (p *textPrinter) hint(b *strings.Builder, n int, h pushdoctor.Hint) {
	number := fmt.Sprintf("  %d. ", n)
	p.wrap(b, number, strings.Repeat(" ", len(number)), fmt.Sprintf("%s (%s)", visible(h.Title), percent(h.Confidence)))
	for _, s := range h.Steps {
		p.wrap(b, "     - ", "       ", visible(s))
	}
	if h.Patch != "" {
		b.WriteByte('\n')
		for line := range strings.Lines(strings.TrimRight(h.Patch, "\n")) {
			b.WriteString(strings.TrimRight("         "+visible(strings.TrimRight(line, "\n")), " ") + "\n")
		}
		b.WriteByte('\n')
	}
	for _, d := range h.Docs {
		b.WriteString("     " + p.style.dim(visible(d)) + "\n")
	}
}

// quote writes a line of the log behind its number. Where it must be broken, each piece stands behind a bar,
// so that none of them begins the line of a terminal.
func (p *textPrinter) quote(b *strings.Builder, e pushdoctor.Evidence) {
	label := fmt.Sprintf("  %6d | ", e.Line)
	room := max(p.width()-len(label), 20)
	text := visible(shorten(e.Text, maxQuote))
	for first := true; first || text != ""; first = false {
		piece := text
		if utf8.RuneCountInString(text) > room {
			piece = string([]rune(text)[:room])
			// Break at a blank, if there is one in the second half.
			if i := strings.LastIndexByte(piece, ' '); i > len(piece)/2 {
				piece = piece[:i+1]
			}
		}
		text = text[len(piece):]
		if !first {
			label = "         | "
		}
		b.WriteString(p.style.dim(label) + strings.TrimRight(piece, " ") + "\n")
	}
}

func (p *textPrinter) width() int { return min(max(p.style.width, minWidth), maxWidth) }

// wrap writes text in lines of the style's width: first before the first, rest before the others. A word
// that is longer than a line stays whole, so that addresses and names can be copied. Between two Chinese characters
// a line may end too.
func (p *textPrinter) wrap(b *strings.Builder, first, rest, text string) {
	b.WriteString(first)
	column := columns(first)
	begun := false
	for word := range strings.FieldsSeq(text) {
		for i, piece := range breakable(word) {
			blank := 0
			if begun && i == 0 {
				blank = 1
			}
			if n := columns(piece); begun && column+blank+n > p.width() {
				b.WriteString("\n" + rest + piece)
				column = columns(rest) + n
			} else {
				b.WriteString(" "[:blank] + piece)
				column += blank + n
			}
			begun = true
		}
	}
	b.WriteByte('\n')
}

// wide are the characters of Chinese, which take two columns.
func wide(r rune) bool {
	return unicode.Is(unicode.Han, r) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xff60
}

func columns(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if wide(r) {
			n++
		}
	}
	return n
}

// breakable cuts a word before each Chinese character, and behind those; punctuation stays with what it closes or opens.
func breakable(word string) []string {
	var pieces []string
	start, last := 0, rune(0)
	for i, r := range word {
		opened := strings.ContainsRune("（“《", last)
		if i > start && (wide(r) || wide(last)) && !opened && !strings.ContainsRune("，。；：、！？）”》", r) {
			pieces, start = append(pieces, word[start:i]), i
		}
		last = r
	}
	return append(pieces, word[start:])
}

func (p *textPrinter) end(t totals) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", t)
	if t.read > 0 && t.findings == 0 {
		b.WriteString("If a job failed all the same, it failed at something else than a push: a build, a test, a pull.\n")
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-len(s))) }
