package classifier_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
)

// holds says what a report claims that its log does not bear out, or what no report may hold.
func holds(log string, r classifier.Report) []string {
	var wrong []string
	fault := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if len(r.Findings) > classifier.MaxFindings {
		fault("%d findings", len(r.Findings))
	}
	if r.More != 0 && len(r.Findings) < classifier.MaxFindings || r.More < 0 {
		fault("%d findings and %d more", len(r.Findings), r.More)
	}
	if !slices.IsSortedFunc(r.Findings, func(a, b pushdoctor.Finding) int { return a.Line - b.Line }) {
		fault("the findings do not stand by line")
	}
	lines := map[int]parser.Line{}
	for _, f := range r.Findings {
		lines[f.Line] = parser.Line{}
		for _, e := range f.Evidence {
			lines[e.Line] = parser.Line{}
		}
	}
	in := parser.New(strings.NewReader(log))
	for ln := range in.Lines() {
		if _, ok := lines[ln.Number]; ok {
			lines[ln.Number] = ln
		}
	}
	for i, f := range r.Findings {
		if !f.Registry.Valid() || !f.Client.Valid() || !f.Operation.Valid() || !f.Cause.Valid() {
			fault("finding %d is outside the closed sets: %q %q %q %q", i, f.Registry, f.Client, f.Operation, f.Cause)
		}
		switch f.StatusSource {
		case pushdoctor.StatusNone:
			if f.Status != 0 {
				fault("finding %d has status %d from nowhere", i, f.Status)
			}
		case pushdoctor.StatusExplicit, pushdoctor.StatusImplied:
			if f.Status < 100 || f.Status > 599 {
				fault("finding %d has %s status %d", i, f.StatusSource, f.Status)
			}
		default:
			fault("finding %d has status source %q", i, f.StatusSource)
		}
		if !(f.Confidence > 0 && f.Confidence <= 1) {
			fault("finding %d has confidence %v", i, f.Confidence)
		}
		if at, ok := lines[f.Line]; !ok || at.Number != f.Line {
			fault("finding %d stands on line %d, which the log has not", i, f.Line)
		} else if !f.Time.Equal(at.Time()) {
			fault("finding %d has time %v, its line %v", i, f.Time, at.Time())
		}
		if len(f.Evidence) == 0 {
			fault("finding %d has no evidence", i)
		}
		for _, s := range append([]string{f.Host, f.Image, f.Step, f.Message, f.Rule}, texts(f.Evidence)...) {
			if strings.ContainsAny(s, "\x1b\n\x00") {
				fault("finding %d holds control characters: %q", i, s)
			}
			if len(s) > 400 {
				fault("finding %d holds %d bytes: %q", i, len(s), s)
			}
		}
		for _, e := range f.Evidence {
			if e.Text == "" || !stands(e.Text, lines[e.Line].Text) {
				fault("finding %d quotes line %d as %q, which is %q", i, e.Line, e.Text, lines[e.Line].Text)
			}
		}
	}
	return wrong
}

func texts(evidence []pushdoctor.Evidence) []string {
	var out []string
	for _, e := range evidence {
		out = append(out, e.Text)
	}
	return out
}

// stands reports whether what is left of a quotation after redaction stands in the line, in order.
func stands(quoted, line string) bool {
	for part := range strings.SplitSeq(quoted, "<redacted>") {
		_, behind, ok := strings.Cut(line, part)
		if !ok {
			return false
		}
		line = behind
	}
	return true
}

// split hands out a text in pieces of random sizes.
type split struct {
	text string
	r    *rand.Rand
}

func (s *split) Read(p []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:1+s.r.IntN(len(p))], s.text[:1+s.r.IntN(len(s.text))])
	s.text = s.text[n:]
	return n, nil
}

// FuzzClassify takes any bytes for a log. It turns red if a report claims what its log does not hold, if it
// depends on how the reader hands out the bytes, or if Explain says other than Classify.
func FuzzClassify(f *testing.F) {
	for _, folder := range []string{"found", "none"} {
		for _, c := range cases(f, folder) {
			f.Add([]byte(c.log()))
		}
	}
	f.Add([]byte("#14 ERROR: failed to push \x1b]8;;x\x07a/b:1\x1b]8;;\x07: 403 Forbidden\n##[error]denied\n"))
	f.Add([]byte("level=fatal msg=\"writing blob: uploading layer to https://a/v2/b/blobs/uploads/: denied\\nunauthorized\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		log := string(data)
		want := classify(t, log)
		for _, wrong := range holds(log, want) {
			t.Error(wrong)
		}
		same := func(name string, r io.Reader) {
			got, err := classifier.Builtin().Classify(parser.New(r))
			if err != nil {
				t.Fatal(err)
			}
			if !cmp.Equal(want, got) {
				t.Errorf("the report depends on the reader (-whole +%s):\n%s", name, cmp.Diff(want, got))
			}
		}
		same("bytes", iotest.OneByteReader(strings.NewReader(log)))
		same("halves", iotest.DataErrReader(iotest.HalfReader(strings.NewReader(log))))
		same("pieces", &split{log, rand.New(rand.NewPCG(uint64(len(data)), 1))})

		var said strings.Builder
		explained, err := classifier.Builtin().Explain(parser.New(strings.NewReader(log)), &said)
		if err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(want, explained) {
			t.Errorf("Explain says other than Classify:\n%s", cmp.Diff(want, explained))
		}
		if i := strings.IndexFunc(said.String(), func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
			t.Errorf("Explain writes a control character: %q", said.String()[i:min(i+80, said.Len())])
		}
	})
}

// Lines of all cases in any order, with their words in any order, make logs that a fuzzer of bytes does not come
// upon. It turns red as FuzzClassify does.
func TestMixedLines(t *testing.T) {
	var lines []string
	for _, folder := range []string{"found", "none"} {
		for _, c := range cases(t, folder) {
			lines = append(lines, strings.SplitAfter(c.log(), "\n")...)
		}
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 150 {
		var log strings.Builder
		for range 1 + r.IntN(60) {
			line := lines[r.IntN(len(lines))]
			if r.IntN(4) == 0 {
				words := strings.SplitAfter(line, " ")
				other := strings.SplitAfter(lines[r.IntN(len(lines))], " ")
				line = strings.Join(words[:r.IntN(len(words)+1)], "") + strings.Join(other[r.IntN(len(other)+1):], "")
			}
			log.WriteString(line)
		}
		for _, wrong := range holds(log.String(), classify(t, log.String())) {
			t.Errorf("%s\nin %q", wrong, log.String())
		}
	}
}

// A reader that breaks off is the error, and the report holds what was read before.
func TestReaderThatBreaksOff(t *testing.T) {
	const log = "The push refers to repository [ghcr.io/octo-lab/api]\ndenied: permission_denied: write_package\n"
	report, err := classifier.Builtin().Classify(parser.New(io.MultiReader(strings.NewReader(log), iotest.ErrReader(io.ErrUnexpectedEOF))))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error = %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if diff := cmp.Diff(classify(t, log), report); diff != "" {
		t.Errorf("report (-whole +broken off):\n%s", diff)
	}
}
