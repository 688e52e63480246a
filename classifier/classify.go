// Package classifier turns the lines of a job's log into findings. It takes the clients' wordings apart
// (frame.go), follows what a step is doing so that a bare "denied" is known to be a push's (context.go),
// asks the rules what an answer proves (rules.yaml), folds the copies of one failure into one finding
// (fold.go) and lets the job's facts decide where the answer alone does not (facts.go). It quotes lines
// only after redaction, and it does no I/O beyond reading the log it is given.
package classifier

import (
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

// MaxFindings is how many findings of one log are kept; the others are counted.
const MaxFindings = 100

// A Report is what one log says.
type Report struct {
	Facts    pushdoctor.Facts
	Findings []pushdoctor.Finding // by line, at most MaxFindings
	More     int                  // findings beyond those, of different images or steps
}

// Classify reads a log to its end and reports what failed in it. The error is the reader's alone; the
// report then holds what was read before it. A log of several jobs (gh run view --log) gives the findings
// of all, and the facts of the last.
func (r *Rules) Classify(log *parser.Log) (Report, error) { return r.classify(log, nil) }

// Explain is Classify, and writes to w for each line that was looked at which rules looked, which matched
// and why the winner won. What it quotes is redacted and holds no control characters.
func (r *Rules) Explain(log *parser.Log, w io.Writer) (Report, error) { return r.classify(log, w) }

func (r *Rules) classify(log *parser.Log, explain io.Writer) (Report, error) {
	s := &state{rules: r, log: log, explain: explain}
	for ln := range log.Lines() {
		s.read(ln)
	}
	s.endStep()
	report := s.report()
	s.flush()
	return report, log.Err()
}

// state is one pass over one log.
type state struct {
	rules    *Rules
	log      *parser.Log
	explain  io.Writer
	remarks  []remark // for explain
	step     step
	job      string
	failures []*failure
	more     int
	pushed   []string
	isPushed map[string]bool

	logins      map[int]string  // lines that tell a login's outcome, by number; at most maxLogins
	secretLogin map[string]bool // hosts that a script logs in to with a secret of the user's own; at most maxLogins
}

// read is the way of one line.
func (s *state) read(ln parser.Line) {
	s.flush()
	ln.Text = cut(ln.Text, maxRead)
	if ln.Step != s.step.number || ln.Job != s.job {
		s.endStep()
		s.step = step{number: ln.Step, title: ln.Title}
		s.job = ln.Job
		if s.step.login = loginAction.MatchString(ln.Title); strings.HasPrefix(ln.Title, "Run docker/login-action@") {
			s.step.loginHost = "docker.io"
		}
		if strings.HasPrefix(ln.Title, "Run goreleaser/goreleaser-action@") {
			s.step.wrapper = pushdoctor.ClientGoreleaser
		}
		s.command(strings.TrimPrefix(ln.Title, "Run "), true)
	}
	if ln.Post || ln.Text == "" {
		return
	}
	if strings.HasPrefix(ln.Text, "+ echo ") || strings.HasPrefix(ln.Text, "++ echo ") {
		return // a shell's trace of words that a script holds ready
	}
	switch ln.Kind {
	case parser.Script:
		s.script(ln.Text)
		return
	case parser.Group, parser.EndGroup, parser.Debug, parser.Section:
		return
	case parser.Command:
		s.command(ln.Text, s.step.pushes())
		return
	}
	if s.step.window > 0 {
		s.step.window--
		s.continues(ln)
	}
	if s.step.inputs > 0 {
		s.step.inputs--
		s.input(ln.Text)
	}
	if !s.interesting(ln) {
		return
	}
	bareLine := ln
	bareLine.Text = cut(undecorate(ln.Text), maxContext)
	if s.observe(bareLine) {
		return
	}
	a, ok := read(ln)
	s.judgeLine(a, ok)
}

// interesting is the gate before all else: nearly every line of a log stops here.
func (s *state) interesting(ln parser.Line) bool {
	text := ln.Text
	switch {
	case text[0] == '#' && len(text) > 1 && '0' <= text[1] && text[1] <= '9':
		return true
	case s.step.inPush(), s.step.list > 0:
		return true
	case ln.Kind == parser.Error:
		return true
	case strings.HasPrefix(text, "Preparing "), strings.HasPrefix(text, "Uploading "), strings.HasPrefix(text, "Uploaded "), text == "errors:":
		return true
	}
	return s.rules.filter.match(text) || startsWithCode(text)
}

// startsWithCode reports whether a line begins with a registry's error code, as docker prints it.
func startsWithCode(text string) bool {
	if text == "" {
		return false
	}
	text = undecorate(text)
	for _, prefix := range []string{"ERROR: ", "error: ", "Error: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	word := text
	if i := strings.IndexByte(text[:min(len(text), 24)], ':'); i > 0 {
		word = text[:i]
	}
	if len(word) > 24 {
		return false
	}
	_, ok := codes[lower(word)]
	return ok
}

// judgeLine decides what a line is: an answer in a push's context, a line that a rule knows by itself, or nothing.
func (s *state) judgeLine(a answer, framed bool) {
	if strings.Contains(a.lowMessage, "context canceled") {
		// The other half of a build that failed elsewhere: a consequence, never a cause.
		s.tracef(a.line, "a consequence: another part of the build failed first")
		return
	}
	if framed {
		s.place(&a)
	}
	alone := s.rules.loner(&a, s)
	if a.dir == undecided && !a.begins && a.line.Kind != parser.Error && !s.step.asked && !a.ofPush() && (a.code != "" || quotedCode.MatchString(a.text)) {
		alone = nil // somebody quotes a registry: a commit's subject, a page of help
	}
	switch {
	case a.dir == pull && (alone == nil || framed):
		s.tracef(a.line, "no push: the line speaks of a pull, a build step or another service")
		return
	case alone != nil:
		if a.dir == undecided {
			s.place(&a)
		}
		if a.dir == pull {
			return
		}
		a.dir = push
	case !framed:
		// docker push prints some failures as a bare word or two.
		if d := s.step.docker; d == nil || d.done || len(a.line.Text) > maxExcerpt {
			return
		}
		a.dir, a.client = push, s.step.docker.client
	}
	s.decorate(&a)
	if !s.judge(&a) || a.cause == pushdoctor.CauseUnknown && !a.begins && !s.step.asked && alone == nil && !(a.strong && a.failed) {
		return
	}
	if a.dir == undecided {
		if len(s.step.undecided) < MaxFindings {
			s.step.undecided = append(s.step.undecided, a)
		} else if !a.vague() && !a.wasPull {
			s.step.beyond++
		}
		return
	}
	s.fold(a)
}

// quotedCode matches a registry's error in quotation marks: somebody speaks of it.
var quotedCode = regexp.MustCompile(`["'\x60](?:denied|unauthorized): `)

// ofPush reports whether the line itself speaks, in whatever words, of a push to a registry that failed: it names
// the deed, the failure and an image with its host, and holds a registry's error code.
func (a *answer) ofPush() bool {
	if a.code == "" || codes[a.code] == 0 || a.jsonBody && a.method == "" {
		return false
	}
	return pushDeed.MatchString(a.low) && pushFailed.MatchString(a.low) && hostedImage.MatchString(a.low)
}

var (
	pushDeed    = regexp.MustCompile(`\b(?:push(?:ing|ed)?|publish(?:ing)?|upload(?:ing)?)\b`)
	pushFailed  = regexp.MustCompile(`\b(?:fail(?:ed|ure)?|errors?|unable|could not|couldn't|cannot|can't)\b`)
	hostedImage = regexp.MustCompile(`(?:^|[\s"'(\[/])[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?/[a-z0-9._-]+`)
)

// vague reports whether an answer, of which the step does not show that it is a push's, is too little to be
// one: it does not begin with a client's words, or it holds neither an address of a registry, nor a status, nor
// more than one word of a code.
func (a *answer) vague() bool {
	if a.ofPush() {
		return false
	}
	if !a.begins || strings.HasPrefix(a.line.Text, "    ") && a.url == "" && a.statusSource != pushdoctor.StatusExplicit {
		return true // the second: an example in a text
	}
	if a.statusSource == pushdoctor.StatusExplicit || splitURL(a.url).registry && a.operation == pushdoctor.OperationLogin {
		return false
	}
	switch a.code {
	case "":
		return !splitURL(a.url).registry
	case "conflict", "precondition", "unknown", "not found", "unsupported":
		return true // words of any API
	}
	return essence(a.message) == a.code && !strings.Contains(a.code, " ")
}

// loner is the first rule that knows a line by itself to be a failed push.
func (r *Rules) loner(a *answer, s *state) *rule {
	for _, ru := range r.loners {
		if ru.speaks(a.low, a.lowMessage) && (ru.read == nil || ru.read.MatchString(a.text)) && ru.when.holds(func(w string) string { return s.word(a, w) }) {
			return ru
		}
	}
	return nil
}

// judge asks the rules, the first of which to match decides. It reports false if none does and no frame
// says that something failed.
func (s *state) judge(a *answer) bool {
	a.registry = registryOf(a.host)
	if a.registry == pushdoctor.RegistryUnknown || a.registry == pushdoctor.RegistryOther {
		for _, w := range s.rules.wordings {
			if strings.Contains(a.low, w.literal) {
				a.registry = w.registry
				break
			}
		}
	}
	for _, ru := range s.rules.rules {
		if !ru.speaks(a.low, a.lowMessage) {
			continue
		}
		if !ru.when.holds(func(w string) string { return s.word(a, w) }) {
			if ru.literal != "" {
				s.tracef(a.line, "rule %s: the literal is there, but not: %s", ru.id, ru.when)
			}
			continue
		}
		if ru.read != nil {
			m := ru.read.FindStringSubmatch(a.text)
			if m == nil {
				s.tracef(a.line, "rule %s: the literal is there, its expression does not match", ru.id)
				continue
			}
			ru.fill(a, m)
		}
		s.tracef(a.line, "rule %s matched: %s, confidence %.2f: %s", ru.id, ru.cause, ru.confidence, strings.TrimSpace(ru.why))
		a.rule, a.cause, a.confidence = ru, ru.cause, ru.confidence
		ru.say(a)
		if s.ofLogin(a); a.registry == pushdoctor.RegistryUnknown {
			a.registry = registryOf(a.host)
		}
		return true
	}
	if !a.failed && a.status < 400 && a.code == "" {
		return false
	}
	a.cause, a.confidence = pushdoctor.CauseUnknown, 0.55
	s.tracef(a.line, "no rule matched: a push failed and the line does not say why")
	return true
}

// fill takes what the rule's expression reads.
func (ru *rule) fill(a *answer, m []string) {
	for i, name := range ru.read.SubexpNames() {
		if m[i] == "" {
			continue
		}
		switch name {
		case "image":
			if a.image == "" || ru.alone {
				a.image = cleanImage(m[i])
				if a.host == "" {
					a.host = hostOf(a.image)
				}
			}
		case "host":
			a.host = lower(m[i])
		case "status":
			a.setStatus(m[i])
		}
	}
	if r := registryOf(a.host); a.registry == pushdoctor.RegistryUnknown || a.registry == "" {
		a.registry = r
	}
}

// say takes what the rule knows beyond the cause.
func (ru *rule) say(a *answer) {
	if ru.says.registry != "" && (a.registry == pushdoctor.RegistryUnknown || a.registry == pushdoctor.RegistryOther) {
		a.registry = ru.says.registry
	}
	if ru.says.operation != "" && opOutranks(ru.says.operation, a.operation) {
		a.operation = ru.says.operation
	}
	if ru.says.client != "" && !a.strong && a.client != pushdoctor.ClientCompose {
		a.client = ru.says.client
	}
	if ru.says.status != 0 && (a.status == 0 || a.statusSource == pushdoctor.StatusImplied) {
		a.status, a.statusSource = ru.says.status, pushdoctor.StatusImplied
	}
}

// word is the value of a condition's word for an answer.
func (s *state) word(a *answer, word string) string {
	switch word {
	case "registry":
		if a.registry == "" {
			return string(registryOf(a.host))
		}
		return string(a.registry)
	case "client":
		return string(a.client)
	case "operation":
		if a.operation == "" {
			return string(pushdoctor.OperationPush)
		}
		return string(a.operation)
	case "status":
		return strconv.Itoa(a.status)
	case "code":
		return orElse(a.code, "none")
	case "method":
		return orElse(a.method, "none")
	case "body":
		if a.html {
			return "html"
		}
		return "none"
	case "anonymous":
		return strconv.FormatBool(a.anonymous)
	case "image":
		if name := repositoryKey(a.image); hostOf(a.image) == "ghcr.io" && strings.Count(name, "/") == 1 {
			return "no_owner"
		}
		return "other"
	case "step":
		if s.step.login {
			return "login"
		}
		return "other"
	case "push":
		if s.step.asked {
			return "asked"
		}
		return "unknown"
	}
	if word == "shown" {
		return strconv.FormatBool(s.step.shown && !s.step.ownLogin)
	}
	return factWord(word, a.host, a.image, s.log.Facts())
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
