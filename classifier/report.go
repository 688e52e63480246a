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

	maxRead    = 32 << 10 // bytes of a line that are looked at
	maxContext = 4 << 10  // bytes of a line in which what a step is doing may stand
)

// report makes findings of the failures.
func (s *state) report() Report {
	facts := s.log.Facts()
	facts.Pushed = s.pushed
	out := Report{Facts: shown(facts), More: s.more}
	for _, f := range s.failures {
		if f.operation == pushdoctor.OperationLogin {
			f.recovered = slices.ContainsFunc(facts.Logins, func(l pushdoctor.Login) bool {
				return l.OK && l.Line > f.line.Number && l.Host == f.host
			})
		}
		out.Findings = append(out.Findings, s.finding(f, out.Facts))
	}
	slices.SortStableFunc(out.Findings, func(a, b pushdoctor.Finding) int { return cmp.Compare(a.Line, b.Line) })
	return out
}

func (s *state) finding(f *failure, facts pushdoctor.Facts) pushdoctor.Finding {
	out := pushdoctor.Finding{
		Registry: f.registry, Host: safe(f.host, maxName), Image: shownImage(f), Client: f.client, Operation: f.operation,
		Status: f.status, StatusSource: f.statusSource, Cause: f.cause, Confidence: f.confidence, Recovered: f.recovered,
		Step: safe(f.title, maxName), Line: f.line.Number, Time: f.line.Time(), Message: safe(f.message, maxMessage),
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

// shownImage is the image as a report may show it: none where its line does not show it once it is redacted. Then it is the
// value of a secret that was taken for an image, {"auth":"a/b=="}, and without the name beside it nothing knows it for one.
func shownImage(f *failure) string {
	image := redact.String(f.image)
	for _, ln := range append([]parser.Line{f.line}, f.lines...) {
		if strings.Contains(ln.Text, f.image) && !strings.Contains(redact.String(ln.Text), image) {
			return ""
		}
	}
	return safe(f.image, maxName)
}

// shown is what a report may show of the facts: a stranger's text stands in each of their strings.
func shown(f pushdoctor.Facts) pushdoctor.Facts {
	if f.Token != nil {
		token := make(map[string]string, len(f.Token))
		for scope, right := range f.Token {
			token[safe(scope, maxName)] = safe(right, maxName)
		}
		f.Token = token
	}
	f.Logins, f.Pushed = slices.Clone(f.Logins), slices.Clone(f.Pushed)
	for i := range f.Logins {
		l := &f.Logins[i]
		l.Host, l.User = safe(l.Host, maxName), safe(l.User, maxName)
	}
	for i := range f.Pushed {
		f.Pushed[i] = safe(f.Pushed[i], maxName)
	}
	for _, s := range []*string{&f.SecretSource, &f.Repository, &f.Ref, &f.Runner} {
		*s = safe(*s, maxName)
	}
	f.TokenLine.Text = oneLine(excerpt(f.TokenLine.Text, ""))
	return f
}

// safe is a stranger's text as a report may show it: redacted, on one line, of at most n bytes.
func safe(s string, n int) string { return clip(oneLine(redact.String(s)), n) }

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
	n = len(cut(s, n))
	if i := strings.LastIndexByte(s[:n], '<'); i >= 0 && strings.HasPrefix(s[i:], "<redacted>") && i+len("<redacted>") > n {
		n = i
	}
	return strings.TrimSpace(s[:n])
}

// cut is at most n bytes of a text, up to a rune's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// A remark explains a decision about a line. It waits until the line is known to be no copy of one explained before.
type remark struct {
	line int
	text string
}

// tracef explains a decision about a line.
func (s *state) tracef(ln parser.Line, format string, args ...any) {
	if s.explain == nil {
		return
	}
	s.remarks = append(s.remarks, remark{ln.Number, oneLine(fmt.Sprintf(format, args...))})
}

// flush writes the explanations that wait.
func (s *state) flush() {
	for _, r := range s.remarks {
		fmt.Fprintf(s.explain, "line %d: %s\n", r.line, r.text)
	}
	s.remarks = s.remarks[:0]
}
