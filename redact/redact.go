// Package redact takes secrets out of text that strangers wrote: tokens that are
// known by their shape, values that are known by their name, credentials and
// signatures in addresses, and private keys.
//
// It looks at one text at a time, so it cannot know a line of base64 that stands
// alone between the first and the last line of a key, a secret without a known
// shape or name beside it, or user:password@host without a scheme.
package redact

import (
	"slices"
	"strings"
)

// mask stands where a secret stood.
const mask = "<redacted>"

// passes bounds the work of String. A text needs a second pass where taking out
// one secret lays bare the beginning of the next; no text is known that needs a third
// to change anything.
const passes = 4

// String returns s with every secret in it replaced by "<redacted>"; all other
// bytes stay as they are, and s itself comes back where it holds no secret.
// String(String(s)) is String(s). The time grows linearly with len(s).
func String(s string) string {
	for range passes {
		sc := scanner{s: s}
		sc.scan()
		if len(sc.spans) == 0 {
			break
		}
		s = sc.redacted()
	}
	return s
}

// A span is the part s[from:to] of the text that is a secret.
type span struct{ from, to int }

// A scanner walks once over a text and stops at the few bytes by which a secret
// can be known: the last byte of a token's prefix, the separator between a name and its
// value, and so on. What it finds may overlap.
type scanner struct {
	s     string
	spans []span
	query int // where the last query ends: a "?" before that is part of it
}

func (sc *scanner) scan() {
	s := sc.s
	for i := 0; i < len(s); {
		c := s[i]
		if !hot[c] {
			i++
			continue
		}
		end := i + 1
		for n := range shapes[c] {
			end = max(end, sc.token(i, &shapes[c][n]))
		}
		switch c {
		case '=':
			end = max(end, sc.named(i, i+1))
		case '%':
			if len(s)-i > 2 && s[i+1] == '3' && (s[i+2] == 'D' || s[i+2] == 'd') {
				end = max(end, sc.named(i, i+3))
			}
		case ':':
			if strings.HasPrefix(s[i:], "://") {
				end = max(end, sc.userinfo(i+3))
			} else {
				end = max(end, sc.named(i, i+1))
			}
		case '?':
			sc.readQuery(i + 1)
		case ' ':
			end = max(end, sc.authorization(i), sc.configured(i))
		case '-':
			end = max(end, sc.flag(i), sc.pem(i))
		}
		i = end
	}
}

// add marks s[from:to] as a secret and returns to, where the scan goes on: no
// byte of a secret is looked at twice, which keeps the scan linear.
func (sc *scanner) add(from, to int) int {
	if from < to {
		sc.spans = append(sc.spans, span{from, to})
	}
	return to
}

func (sc *scanner) redacted() string {
	slices.SortFunc(sc.spans, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	done := 0
	for i := 0; i < len(sc.spans); {
		from, to := sc.spans[i].from, sc.spans[i].to
		for i++; i < len(sc.spans) && sc.spans[i].from <= to; i++ {
			to = max(to, sc.spans[i].to)
		}
		b.WriteString(sc.s[done:from])
		b.WriteString(mask)
		done = to
	}
	b.WriteString(sc.s[done:])
	return b.String()
}

// A set is a set of bytes.
type set [256]bool

func bytesOf(s string) *set {
	var b set
	for i := range len(s) {
		b[s[i]] = true
	}
	return &b
}

// run returns the end of the run of b's bytes in s that begins at i.
func (b *set) run(s string, i int) int {
	for i < len(s) && b[s[i]] {
		i++
	}
	return i
}

const (
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower = "abcdefghijklmnopqrstuvwxyz"
	digit = "0123456789"
)

var (
	alnum   = bytesOf(upper + lower + digit)
	keyByte = bytesOf(upper + lower + digit + "_-.")
	blank   = bytesOf(" \t\r\n")
	hot     = hotBytes()
)

// hotBytes are the bytes at which scan stops.
func hotBytes() set {
	b := *bytesOf("=%:?- ")
	for c, list := range shapes {
		b[c] = b[c] || len(list) > 0
	}
	return b
}
