package classifier

import (
	"regexp"
	"slices"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
	"github.com/akkospace/pushdoctor/redact"
)

const (
	maxEvidence = 4 // lines quoted for one finding, the facts' apart
	maxPushed   = 200
	maxOvertake = 30 // lines by which standard error was seen to stand before the output it belongs to

	unplaced = 0.95 // what is left of the confidence in an answer of which the step does not say that it is a push's
)

// A failure is one failed push while its copies are still coming in.
type failure struct {
	answer    // the decisive one
	step      int
	job       string
	title     string
	lines     []parser.Line // quoted: the decisive line, then others that add something
	texts     []string      // of what was folded into it, to know copies by
	recovered bool
	push      *dockerPush
	facts     pushdoctor.Facts // when it failed: logins that come later do not count
	shown     bool
}

var (
	manifestCodes = map[string]bool{"manifest unknown": true, "manifest invalid": true, "tag invalid": true, "manifest blob unknown": true, "manifest unverified": true}
	uploadCodes   = map[string]bool{"blob upload unknown": true, "blob upload invalid": true, "digest invalid": true, "size invalid": true, "range invalid": true, "unknown blob": true, "blob unknown": true}
)

// settleUndecided decides the answers that waited for BuildKit's summary to name the step that failed.
func (s *state) settleUndecided(kind vertexKind) {
	waiting := s.step.undecided
	beyond := s.step.beyond
	s.step.undecided, s.step.beyond = nil, 0
	for _, a := range waiting {
		switch kind {
		case vertexOther:
			continue
		case vertexCache:
			a.operation = pushdoctor.OperationCacheExport
		case vertexUnknown:
			if a.vague() || a.wasPull {
				s.tracef(a.line, "no push: nothing in the line or the step says that it is one")
				continue
			}
			a.confidence *= unplaced
		}
		s.fold(a)
	}
	if kind != vertexOther && len(s.failures) >= MaxFindings {
		s.more += beyond // with fewer failures they were copies
	}
}

// fold adds an answer to the failure that it repeats, or makes a new one of it.
func (s *state) fold(a answer) {
	if a.operation == "" {
		a.operation = pushdoctor.OperationPush
	}
	if a.client == "" {
		a.client = pushdoctor.ClientOther
	}
	s.step.written = false
	for _, f := range slices.Backward(s.failures) {
		if s.step.list > 0 && f == s.step.last && authCode(a.code) {
			a.client, a.strong, a.operation = f.client, f.strong, f.operation
		}
		if s.same(f, &a) {
			if !a.beats(&f.answer) {
				s.remarks = slices.DeleteFunc(s.remarks, func(r remark) bool { return r.line == a.line.Number })
			}
			s.tracef(a.line, "the same failure as line %d", f.line.Number)
			f.merge(s, a)
			s.step.last, s.step.lastLine = f, a.line.Number
			return
		}
	}
	if len(s.failures) >= MaxFindings {
		s.more++
		return
	}
	f := &failure{answer: a, step: s.step.number, title: s.step.title, lines: []parser.Line{a.line}, texts: []string{essence(a.message)}, job: s.job, shown: s.step.shown && !s.step.ownLogin}
	if d := s.step.docker; d != nil && !d.done && a.operation != pushdoctor.OperationLogin {
		f.push = d
	}
	s.step.lastLine = a.line.Number
	f.facts = s.log.Facts()
	f.facts.Pushed = slices.Clone(s.pushed)
	s.failures = append(s.failures, f)
	s.step.last = f
	s.opens(a)
}

// opens notes that the registry's answer may go on in the next lines: a page of HTML, a list of errors.
func (s *state) opens(a answer) {
	switch {
	case strings.HasSuffix(a.text, "errors:"):
		s.step.list = 4
	case a.html && a.statusSource != pushdoctor.StatusExplicit, a.client == pushdoctor.ClientJib, a.cause == pushdoctor.CauseCredentialsInvalid && a.status == 0:
		s.step.window = 12
	case strings.Contains(a.low, "registry push failed; "), bodiless.MatchString(a.message):
		s.step.window = 1
	}
}

// continues reads a line that may belong to the body of the answer before it.
func (s *state) continues(ln parser.Line) {
	f := s.step.last
	if f == nil {
		return
	}
	if m := jibPart.FindStringSubmatch(ln.Text); m != nil && f.client == pushdoctor.ClientJib && f.operation == pushdoctor.OperationPush {
		f.operation = map[string]pushdoctor.Operation{"Blob": pushdoctor.OperationUpload, "Manifest": pushdoctor.OperationManifest}[m[1]]
	}
	if m := azureLogin.FindStringSubmatch(ln.Text); m != nil && f.operation == pushdoctor.OperationLogin && f.host == "" {
		f.host = lower(m[1])
		f.setStatus(m[2])
		f.quote(ln)
		s.step.window = 0
	}
	if with, ok := f.answer.withBody(ln.Number, ln.Text); ok && s.judge(&with) && with.rule != f.rule && with.confidence >= f.confidence {
		with.message = f.message
		f.answer = with
		f.quote(ln)
	}
	if m := dotnetURI.FindStringSubmatch(ln.Text); m != nil && f.client == pushdoctor.ClientOther && f.url == "" {
		u := splitURL(m[1])
		f.url, f.host, f.registry = m[1], u.host, registryOf(u.host)
		if u.repository != "" {
			f.image = u.host + "/" + u.repository
		}
		f.quote(ln)
		s.step.window = 0
	}
	if m := htmlTitle.FindStringSubmatch(ln.Text); m != nil && f.statusSource != pushdoctor.StatusExplicit {
		f.setStatus(m[1])
		f.html = true
		f.quote(ln)
		s.judge(&f.answer)
		s.step.window = 0
	}
}

// withBody returns the answer with the line after it, where that is the body of an answer of which no more is told than its status: behind a line
// of BuildKit's progress. Elsewhere it may be a script's own guess.
func (a answer) withBody(number int, text string) (answer, bool) {
	if a.vertex == "" || number != a.line.Number+1 || !bodiless.MatchString(a.message) || !bodyLine.MatchString(text) {
		return a, false
	}
	a.text, a.message = a.text+"\n"+text, a.message+"\n"+text
	a.low, a.lowMessage = lower(a.text), lower(a.message)
	return a, true
}

var (
	jibPart = regexp.MustCompile(`RegistryClient\.push(Blob|Manifest)\(`)
	// bodiless matches an answer of which no more is told than its status, and bodyLine what an answer's body may be on the next line.
	bodiless = regexp.MustCompile(`: [45]\d\d [A-Z][A-Za-z ]{2,40}$`)
	bodyLine = regexp.MustCompile(`^[A-Z][^:]{10,}`)

	dotnetURI  = regexp.MustCompile(`\): error : +URI: (https?://\S+)`)
	azureLogin = regexp.MustCompile(`Access to registry '([^']+)' was denied\. Response code: (\d{3})`)
)

// class groups the operations of which one push is made; a login, a cache and a signature are pushes of their own.
func class(op pushdoctor.Operation) pushdoctor.Operation {
	switch op {
	case pushdoctor.OperationLogin, pushdoctor.OperationCacheExport, pushdoctor.OperationSign:
		return op
	}
	return pushdoctor.OperationPush
}

// same reports whether an answer is one more line about a failure that is known.
//
// One refusal is printed up to three times: "#15 ERROR: ..." by the vertex, "ERROR: ..." in BuildKit's summary,
// "##[error]buildx failed with: ERROR: ..." by the action; and once for each retry.
func (s *state) same(f *failure, a *answer) bool {
	if f.job != s.job {
		return false
	}
	inStep := f.step == s.step.number
	if inStep && f == s.step.last && s.step.list > 0 && authCode(a.code) {
		return true
	}
	if inStep && f == s.step.last && (a.guessed || f.guessed) && a.cause == f.cause {
		return true
	}
	kf, ka := repositoryKey(f.image), repositoryKey(a.image)
	if class(f.operation) != class(a.operation) {
		// A summary without the frame that says "cache" or "sign".
		return inStep && a.summary && f == s.step.last && f.says(a.message) || inStep && class(a.operation) == pushdoctor.OperationPush && f == s.step.last && a.image == "" && a.url == "" && f.says(a.message)
	}
	if kf != "" && ka != "" && kf != ka && !masked(kf) && !masked(ka) {
		bareName := f.pathOnly || a.pathOnly || f.host == "" || a.host == ""
		return bareName && inStep && (strings.HasSuffix(kf, "/"+ka) || strings.HasSuffix(ka, "/"+kf))
	}
	if kf != "" && kf == ka {
		tf, ta := tagOf(f.image), tagOf(a.image)
		if tf != "" && ta != "" && tf != ta && f.vertex != a.vertex && !a.summary {
			return false
		}
		if f.recovered {
			return inStep && f.retry
		}
		return inStep || f.cause == a.cause
	}
	if class(a.operation) == pushdoctor.OperationLogin {
		return f.host == a.host || f.host == "" || a.host == "" || masked(a.host)
	}
	if !inStep || f != s.step.last {
		return inStep && f.says(a.message) && (kf == "" || ka == "")
	}
	d := s.step.docker
	if f.push != nil && d != nil && f.push != d && !d.done && ka != "" && kf != ka {
		return false
	}
	return true
}

func masked(s string) bool { return strings.Contains(s, "***") }

// says reports whether the failure's lines hold the message already, or it theirs.
func (f *failure) says(message string) bool {
	e := essence(message)
	if len(e) < 4 {
		return false
	}
	return slices.ContainsFunc(f.texts, func(t string) bool { return strings.Contains(t, e) || len(t) >= 12 && strings.Contains(e, t) })
}

// essence is a message without what differs between its copies.
func essence(message string) string {
	return strings.Trim(lower(strings.ReplaceAll(message, `\"`, `"`)), ` ."'`)
}

// merge takes from a copy what it says better.
func (f *failure) merge(s *state, a answer) {
	if len(f.texts) < 8 && !f.says(a.message) {
		f.texts = append(f.texts, essence(a.message))
	}
	if f.recovered && a.line.Number > f.line.Number {
		f.recovered = false
	}
	f.retry = f.retry && a.retry
	if f.code == "denied" && a.code == "unauthorized" && s.step.list > 0 {
		// containers/image and docker print both of what Docker Hub answers with 401.
		f.status, f.statusSource = 401, pushdoctor.StatusImplied
		f.quote(a.line)
	}
	if a.beats(&f.answer) {
		old := f.answer
		f.answer = a
		if !a.partShown && old.partShown {
			f.operation = old.operation
		}
		f.inherit(old)
		f.lines = slices.Insert(f.lines, 0, a.line)
		if len(f.lines) > maxEvidence {
			f.lines = f.lines[:maxEvidence]
		}
		s.opens(a)
		return
	}
	was := f.status
	f.inherit(a)
	if f.status != was {
		f.quote(a.line)
		rule, cause, confidence := f.rule, f.cause, f.confidence
		if s.judge(&f.answer); f.cause == pushdoctor.CauseUnknown {
			f.rule, f.cause, f.confidence = rule, cause, confidence
		}
	}
}

// beats reports whether an answer says more of the cause than another.
func (a *answer) beats(other *answer) bool {
	return a.weight() > other.weight()+0.04
}

func (a *answer) weight() float64 {
	switch a.cause {
	case pushdoctor.CauseUnknown:
		return 0
	case pushdoctor.CauseUnauthorized, pushdoctor.CausePermissionDenied:
		return a.confidence * 0.8
	}
	if a.rule != nil && a.rule.literal == "" {
		return a.confidence * 0.9 // a status alone: words say more
	}
	return a.confidence
}

// inherit fills in what is not known yet.
func (f *failure) inherit(a answer) {
	if f.image == "" || tagOf(f.image) == "" && tagOf(a.image) != "" && repositoryKey(f.image) == repositoryKey(a.image) {
		if a.image != "" {
			f.image = a.image
			if a.host != "" {
				f.host = a.host
				if f.registry == pushdoctor.RegistryUnknown || f.registry == pushdoctor.RegistryOther || a.registry != pushdoctor.RegistryOther {
					f.registry = a.registry
				}
			}
		}
	}
	if f.host == "" && a.host != "" {
		f.host = a.host
	}
	if (f.registry == pushdoctor.RegistryUnknown || f.registry == "" || f.registry == pushdoctor.RegistryOther) && a.registry != "" && a.registry != pushdoctor.RegistryUnknown {
		f.registry = a.registry
	}
	if a.client != "" && a.client != pushdoctor.ClientOther && !f.strong && (f.client == pushdoctor.ClientOther || startsWithCode(f.text) && f.push == nil) {
		f.client = a.client
	}
	if f.status == 0 && a.status != 0 || f.statusSource == pushdoctor.StatusImplied && a.statusSource == pushdoctor.StatusExplicit {
		f.status, f.statusSource = a.status, a.statusSource
	}
	if f.operation == pushdoctor.OperationPush && a.operation != "" {
		f.operation = a.operation
	}
	if a.strong && !f.strong {
		f.client, f.strong = a.client, true
	}
	f.html = f.html || a.html
	if f.url == "" {
		f.url, f.method = a.url, a.method
	}
}

func (f *failure) quote(ln parser.Line) {
	if len(f.lines) < maxEvidence && !slices.ContainsFunc(f.lines, func(l parser.Line) bool { return l.Number == ln.Number }) {
		f.lines = append(f.lines, ln)
	}
}

// adopt gives a push that has just begun the failures that stood before it: standard error may overtake standard output.
func (s *state) adopt(d *dockerPush) {
	for i, a := range slices.Backward(s.step.undecided) {
		if a.image == "" && a.client == pushdoctor.ClientDocker && a.code != "" && d.line.Number-a.line.Number <= maxOvertake {
			s.step.undecided = slices.Delete(s.step.undecided, i, i+1)
			a.dir = push
			s.fold(a)
			break
		}
	}
	f := s.step.last
	if f == nil || f.image != "" && !(masked(f.image) && strings.HasSuffix(d.repository, "/"+repositoryKey(f.image))) || f.push != nil || f.step != s.step.number || class(f.operation) != pushdoctor.OperationPush || f.client != pushdoctor.ClientDocker {
		return
	}
	f.push = d
	f.image, f.host = d.repository, hostOf(d.repository)
	f.registry = registryOf(f.host)
	s.judge(&f.answer)
}

// succeeded notes an image that was pushed well, and the failures that it cures.
func (s *state) succeeded(image string, ln parser.Line) {
	image = cleanImage(image)
	if image == "" {
		return
	}
	image, _, _ = strings.Cut(image, "@")
	s.cure(image, ln)
	if d := s.step.docker; d != nil && d.retried {
		s.retriedSilently(d, image)
	}
	if s.isPushed == nil {
		s.isPushed = map[string]bool{}
	}
	if len(image) <= maxName && !s.isPushed[image] && len(s.pushed) < maxPushed {
		s.isPushed[image] = true
		s.pushed = append(s.pushed, redact.String(image))
	}
}

// cure marks the failures that are over now that an image was pushed well.
func (s *state) cure(image string, ln parser.Line) {
	key, tag := repositoryKey(image), tagOf(image)
	for _, f := range s.failures {
		if class(f.operation) == pushdoctor.OperationPush && f.line.Number < ln.Number && repositoryKey(f.image) == key {
			if t := tagOf(f.image); t == "" || tag == "" || t == tag {
				f.recovered = true
			}
		}
	}
}

// serviceUp marks the failures that are over now that compose pushed a service: those whose line names it.
func (s *state) serviceUp(service string) {
	for _, f := range s.failures {
		if f.step == s.step.number && f.client == pushdoctor.ClientCompose && strings.HasPrefix(undecorate(f.line.Text), service+" ") {
			f.recovered = true
		}
	}
}

// retriedSilently makes a finding of layers that the daemon sent again without a word on why.
func (s *state) retriedSilently(d *dockerPush, image string) {
	for _, f := range s.failures {
		if f.push == d {
			return
		}
	}
	d.retried = false
	a := answer{
		line: d.line, text: d.line.Text, message: "the daemon sent a layer again and does not say why", client: d.client, operation: pushdoctor.OperationPush, dir: push,
		image: image, host: hostOf(image), statusSource: pushdoctor.StatusNone,
		judged: judged{cause: pushdoctor.CauseUnknown, confidence: 0.55, registry: registryOf(hostOf(image))},
	}
	s.fold(a)
	if s.step.last != nil && s.step.last.push == d {
		s.step.last.recovered = true
	}
}

// copySettled ends a copy by containers/image that wrote its manifest and met no error after that.
func (s *state) copySettled() {
	if s.step.written {
		if c := s.step.cmd; c.verb == verbPush && c.image != "" {
			s.succeeded(c.image, s.step.writtenAt)
		}
		for _, f := range s.failures {
			if f.step == s.step.number && f.retry && slices.Contains([]pushdoctor.Client{pushdoctor.ClientPodman, pushdoctor.ClientBuildah, pushdoctor.ClientSkopeo}, f.client) {
				f.recovered = true
			}
		}
	}
	s.step.written, s.step.copies = false, false
}

// dockerUnexplained is for a push that neither ended well nor failed with a word, in a step that failed.
func (s *state) dockerUnexplained() {
	d := s.step.docker
	if d == nil || d.done {
		return
	}
	if d.client == pushdoctor.ClientCompose && d.retried && d.allUp() {
		s.succeeded(d.repository, d.line) // compose prints no digest
	}
	d.done = true
}

// endStep decides what the step left open.
func (s *state) endStep() {
	s.settleUndecided(s.step.block)
	s.copySettled()
	s.dockerUnexplained()
}
