package parser

import "strings"

// stripANSI returns s without terminal control sequences: CSI (colours, cursor), OSC and the
// other strings (titles, links), charset switches, and any ESC that is left. Of a sequence that
// is broken off only what is certainly its own is dropped, since an error may stand behind it.
func stripANSI(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for {
		i := strings.IndexByte(s, '\x1b')
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i+escapeLen(s[i:]):]
	}
}

// escapeLen returns the length of the sequence with which s begins; s[0] is ESC.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		i := span(s, 2, 0x30, 0x3f, len(s))
		i = span(s, i, 0x20, 0x2f, len(s))
		return span(s, i, 0x40, 0x7e, 1)
	case ']', 'P', 'X', '^', '_':
		end := strings.IndexAny(s[2:], "\a\x1b")
		switch {
		case end < 0:
			return 2
		case s[2+end] == '\a':
			return 2 + end + 1
		case strings.HasPrefix(s[2+end:], "\x1b\\"):
			return 2 + end + 2
		}
		return 2
	case '(', ')', '*', '+', '#', '%', ' ':
		return span(s, 2, 0x30, 0x7e, 1)
	case '7', '8', '=', '>', 'c', 'M', '\\':
		return 2
	}
	return 1
}

// span returns the index after the bytes of s from i on that are in [low, high], at most n of them.
func span(s string, i int, low, high byte, n int) int {
	for ; n > 0 && i < len(s) && s[i] >= low && s[i] <= high; n-- {
		i++
	}
	return i
}
