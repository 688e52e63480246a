package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A guard is the last writer before a terminal or a step's log. It passes whole lines on,
// none of which the runner of GitHub Actions can take for a workflow command: it obeys a
// line that begins, after blanks, with "::", and "##[" anywhere in a line.
type guard struct {
	w     io.Writer
	plain bool // control characters are made visible too: there are no colours of ours in the text
	line  []byte
	err   error
}

// Write takes p. The error, which stays, is that of the writer behind the guard.
func (g *guard) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		g.line = append(g.line, p[:i]...)
		g.pass("\n")
		p = p[i+1:]
	}
	g.line = append(g.line, p...)
	if g.err != nil {
		return 0, g.err
	}
	return n, nil
}

// flush passes on what follows the last line break.
func (g *guard) flush() error {
	if len(g.line) > 0 {
		g.pass("")
	}
	return g.err
}

func (g *guard) pass(end string) {
	line := string(g.line)
	g.line = g.line[:0]
	if g.plain {
		line = visible(line)
	}
	if g.err == nil {
		_, g.err = io.WriteString(g.w, harmless(line)+end)
	}
}

// harmless returns a line that is no workflow command, and is line where that is none.
func harmless(line string) string {
	line = strings.ReplaceAll(line, "##[", "# #[")
	if rest := strings.TrimLeftFunc(line, unicode.IsSpace); strings.HasPrefix(rest, "::") {
		line = line[:len(line)-len(rest)] + "\\" + rest
	}
	return line
}

// visible returns s, one line, without a character that a terminal obeys or that hides or
// reorders others: each stands there as an escape, \x1b or \u202e. A tab becomes a blank.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return r < ' ' || r > '~' && !unicode.IsPrint(r) }

// shorten returns the first n runes of s, and says how much it left out.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	at := 0
	for i := range s {
		if at == n {
			return fmt.Sprintf("%s... (%d more bytes)", s[:i], len(s)-i)
		}
		at++
	}
	return s
}
