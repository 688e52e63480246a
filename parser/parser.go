// Package parser turns the log of one job of GitHub Actions into lines and facts.
//
// It knows the forms in which such a log comes (the raw log of a job, the text of
// `gh run view --log`, text copied from the web page) and the markers that the
// runner writes into it. It has no opinion on what a line means for a push: that
// is the classifier's. It takes any bytes, and its memory does not grow with the
// log, nor with a line of it.
package parser

import (
	"bufio"
	"io"
	"iter"
	"time"

	"github.com/akkospace/pushdoctor"
)

// MaxLine is the number of bytes at which the text of a line is cut.
const MaxLine = 64 << 10

// A Kind says who wrote a line, and as what.
type Kind uint8

// The kinds of lines. A marker is one only at the beginning of a line.
const (
	Output   Kind = iota // what a program printed
	Script               // echoed by the runner in a step's "Run" group: script lines, with:, env:, shell:
	Group                // ##[group]TITLE: Text is TITLE
	EndGroup             // ##[endgroup]
	Command              // ##[command]X or [command]X: Text is X
	Error                // ##[error]X: Text is X
	Warning              // ##[warning]X: Text is X
	Notice               // ##[notice]X: Text is X
	Debug                // ##[debug]X: Text is X
	Section              // ##[section]X: Text is X
)

var kinds = [...]string{"output", "script", "group", "endgroup", "command", "error", "warning", "notice", "debug", "section"}

// String returns the name of the kind in lower case, "output".
func (k Kind) String() string { return kinds[k] }

// A Line is one line of a log, with its place in the job.
type Line struct {
	Number int // in the file, counted from 1; lines are separated by \n
	// Text has no BOM, timestamp, marker, ANSI sequence, NUL or final CR. It is valid
	// UTF-8: each run of other bytes is one U+FFFD. It has at most MaxLine bytes.
	Text  string
	Kind  Kind
	Step  int    // counts the steps from 1; 0 before the first step
	Title string // the step's group title, "Run docker/build-push-action@v6"; "Post job cleanup." in a post step
	Post  bool   // the line belongs to a post step, to service-container logs or to the clean-up
	Job   string // first column of `gh run view --log`; "" elsewhere
	Cut   bool   // the line was longer than Text
	stamp string
}

// Time returns the line's stamp, or that of the last line of its job that had one,
// in UTC. It is zero where there is none.
func (l Line) Time() time.Time {
	t, err := time.Parse(time.RFC3339Nano, l.stamp)
	if err != nil {
		return time.Time{}
	}
	return t
}

// A Log is one pass over one log. It is not safe for concurrent use.
type Log struct {
	in    *bufio.Reader
	err   error
	begun bool
	ended bool

	form   form
	marked bool // a ##[marker] was seen
	at     Line // the line that was read last; the next one inherits its place
	first  int  // the number of the job's first line
	head   header
	facts  facts
}

// New returns a pass over the log that r holds. It reads nothing before Lines is ranged over.
func New(r io.Reader) *Log {
	// Twice MaxLine: what is stripped from a line must not shorten the text that is left of it.
	return &Log{in: bufio.NewReaderSize(r, 2*MaxLine), first: 1}
}

// Lines returns the lines of the log, in order. It can be ranged over once; where a range
// was left early, the next one goes on after it.
func (l *Log) Lines() iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for l.next() {
			if !yield(l.at) {
				return
			}
		}
	}
}

// Err returns the error, other than io.EOF, with which the reader ended Lines.
func (l *Log) Err() error { return l.err }

// Facts returns what the lines read so far say of the job: all fields but Pushed. Where
// several jobs follow one another in `gh run view --log`, it speaks of the last one.
//
// A login is OK unless the log shows that it was refused: one whose outcome the log does not
// show (its output went to /dev/null; azure/docker-login and `gcloud auth configure-docker`
// ask no registry) is OK, and its Line is that of the command. A login's Host is "" where
// the log does not name it. At most 100 logins are kept, the first ones.
func (l *Log) Facts() pushdoctor.Facts { return l.facts.facts() }
