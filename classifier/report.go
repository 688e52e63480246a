package classifier

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
	"github.com/akkospace/pushdoctor/redact"
)

const (
	maxExcerpt = 400 // bytes of a quoted line
	maxMessage = 300 // bytes of a finding's message
	maxName    = 255 // bytes of an image's name in a finding
)

// report makes findings of the failures.
func (s *state) report() Report {
	out := Report{Facts: s.log.Facts(), More: s.more}
	out.Facts.Pushed = s.pushed
	for _, f := range s.failures {
		if f.operation == pushdoctor.OperationLogin {
			f.recovered = slices.ContainsFunc(out.Facts.Logins, func(l pushdoctor.Login) bool {
				return l.OK && l.Line > f.line.Number && (l.Host == f.host && f.host != "" || l.Host == "")
			})
		}
		out.Findings = append(out.Findings, s.finding(f, out.Facts))
	}
	slices.SortStableFunc(out.Findings, func(a, b pushdoctor.Finding) int { return cmp.Compare(a.Line, b.Line) })
	return out
}

func (s *state) finding(f *failure, facts pushdoctor.Facts) pushdoctor.Finding {
	out := pushdoctor.Finding{
		Registry: f.registry, Host: clip(oneLine(redact.String(f.host)), maxName), Image: clip(oneLine(redact.String(f.image)), maxName), Client: f.client, Operation: f.operation,
		Status: f.status, StatusSource: f.statusSource, Cause: f.cause, Confidence: f.confidence, Recovered: f.recovered,
		Step: clip(redact.String(f.title), maxName), Line: f.line.Number, Time: f.line.Time(), Message: clip(oneLine(redact.String(f.message)), maxMessage),
	}
	if f.rule != nil {
		out.Rule = f.rule.id
	}
	for _, ln := range f.lines {
		if text := excerpt(ln.Text, f.message); text != "" {
			out.Evidence = append(out.Evidence, pushdoctor.Evidence{Kind: pushdoctor.EvidenceAnswer, Line: ln.Number, Text: text})
		}
	}
	s.decide(f, &out, facts)
	out.Confidence = math.Round(out.Confidence*100) / 100
	return out
}

// oneLine makes a blank of each control character: a logger's line may hold newlines that it wrote as \n.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// excerpt quotes a line: redacted, and cut at its end; a long line that holds the message far from its
// beginning is quoted from the message on.
func excerpt(text, message string) string {
	if len(text) > maxExcerpt {
		if i := strings.Index(text, message); i > maxExcerpt/2 {
			text = text[i:]
		}
	}
	return clip(strings.TrimSpace(redact.String(text)), maxExcerpt)
}

// clip cuts a text at a rune's border, and never inside a "<redacted>".
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if i := strings.LastIndexByte(s[:n], '<'); i >= 0 && strings.HasPrefix(s[i:], "<redacted>") && i+len("<redacted>") > n {
		n = i
	}
	return strings.TrimSpace(s[:n])
}

// tracef explains a decision about a line.
func (s *state) tracef(ln parser.Line, format string, args ...any) {
	if s.explain == nil {
		return
	}
	fmt.Fprintf(s.explain, "line %d: %s\n", ln.Number, fmt.Sprintf(format, args...))
}
