package classifier

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

// Judge asks the rules once more about a finding that was made from a log which is gone, by the lines that it quotes
// and the facts of its job. It returns the finding as the rules see it now, and whether that is another one: cause,
// confidence, rule and status may change, and evidence may be added.
//
// A rule that asks for what is not kept (the step's other lines, the cut end of a line) neither holds nor fails. It
// leaves a known cause as it is, and never is one replaced by one that says less, unless a rule's words in the line
// decide so. Under the rules that made it a finding does not change.
func (r *Rules) Judge(f pushdoctor.Finding, facts pushdoctor.Facts) (pushdoctor.Finding, bool) {
	old := r.origin(f.Rule)
	var best *opinion
	for i, e := range answersFirst(f) {
		m := remember(f, e, facts, r.wordings)
		o := r.opinion(m, old)
		if o == nil || i > 0 && (o.rule.literal == "" || !m.whole || o.rule == old.rule || o.weight() <= weightNow(f, best, old)+0.04) {
			continue
		}
		best = o
	}
	if best == nil || !best.mayReplace(f, old) {
		return f, false
	}
	return best.onto(f, facts)
}

// An origin is what made a finding, as far as it is in force: a row of one of the two tables, or neither.
type origin struct {
	rule *rule
	fact *factRule
	at   int // place of rule in its table
}

func (r *Rules) origin(id string) origin {
	var o origin
	if o.at = slices.IndexFunc(r.rules, func(ru *rule) bool { return ru.id == id }); o.at >= 0 {
		o.rule = r.rules[o.at]
	}
	if i := slices.IndexFunc(r.facts, func(fr *factRule) bool { return fr.id == id }); i >= 0 {
		o.fact = r.facts[i]
	}
	return o
}

// answersFirst is the finding's lines that quote an answer, the decisive one first.
func answersFirst(f pushdoctor.Finding) []pushdoctor.Evidence {
	var out []pushdoctor.Evidence
	for _, e := range f.Evidence {
		if e.Kind != pushdoctor.EvidenceAnswer || e.Text == "" {
			continue
		}
		if e.Line == f.Line && (len(out) == 0 || out[0].Line != f.Line) {
			out = slices.Insert(out, 0, e)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// An opinion is what the rules say of one line of a finding.
type opinion struct {
	rule *rule
	fact *factRule // that made a better cause of the rule's, nil for none
	at   int       // place of rule
	m    memory
}

func (o *opinion) id() string {
	if o.fact != nil {
		return o.fact.id
	}
	return o.rule.id
}

func (o *opinion) cause() pushdoctor.Cause {
	if o.fact != nil {
		return o.fact.cause
	}
	return o.rule.cause
}

func (o *opinion) confidence() float64 {
	if o.fact != nil {
		return o.fact.confidence
	}
	return o.rule.confidence
}

// weight is that of answer.beats.
func (o *opinion) weight() float64 { return weigh(o.rule.cause, o.rule.confidence, o.rule) }

func weigh(cause pushdoctor.Cause, confidence float64, ru *rule) float64 {
	return (&answer{judged: judged{rule: ru, cause: cause, confidence: confidence}}).weight()
}

// weightNow is the weight of the opinion so far, or else of the finding's own cause.
func weightNow(f pushdoctor.Finding, best *opinion, old origin) float64 {
	if best != nil {
		return best.weight()
	}
	return weigh(f.Cause, f.Confidence, old.rule)
}

// opinion is what the rules say of a line, nil where they say nothing or what is kept does not decide it.
func (r *Rules) opinion(m memory, old origin) *opinion {
	known := m.finding.Cause != pushdoctor.CauseUnknown
	o := &opinion{m: m, at: -1}
	for i, ru := range r.rules {
		v := m.asked(ru)
		if ru == old.rule && v == no && !m.whole {
			v = maybe // its words may stand in what was cut off
		}
		if v == yes || v == maybe && ru == old.rule {
			o.rule, o.at = ru, i
			break
		}
		if v == maybe && (known || ru.literal != "") {
			return nil
		}
	}
	if o.rule == nil {
		return nil
	}
	for _, fr := range r.facts {
		if !slices.Contains(fr.from, o.rule.cause) {
			continue
		}
		if v := m.holds(fr.when); v == yes || v == maybe && fr == old.fact {
			o.fact = fr
			break
		}
	}
	return o
}

// mayReplace reports whether an opinion may take the place of the finding's cause.
func (o *opinion) mayReplace(f pushdoctor.Finding, old origin) bool {
	if o.id() == f.Rule || says(o.cause()) >= says(f.Cause) {
		return true
	}
	// Less is said only where the words of the whole line ask for it, and the rule that said more does not come first.
	return o.cause() != pushdoctor.CauseUnknown && o.rule.literal != "" && o.m.whole && old.fact == nil && (old.rule == nil || o.at < old.at)
}

// says ranks causes by how much they say.
func says(c pushdoctor.Cause) int {
	switch c {
	case pushdoctor.CauseUnknown:
		return 0
	case pushdoctor.CauseUnauthorized, pushdoctor.CausePermissionDenied:
		return 1
	}
	return 2
}

// onto is the finding with the opinion in it, and whether that changes it.
func (o *opinion) onto(f pushdoctor.Finding, facts pushdoctor.Facts) (pushdoctor.Finding, bool) {
	rounded := func(x float64) float64 { return math.Round(x*100) / 100 }
	if o.id() == f.Rule {
		changed := f.Cause != o.cause()
		f.Cause = o.cause()
		// An answer that no step showed to be a push's was made less sure of.
		if c := o.confidence(); f.Confidence != rounded(c) && f.Confidence != rounded(c*unplaced) {
			f.Confidence, changed = rounded(c), true
		}
		return f, changed
	}
	f.Rule, f.Cause, f.Confidence = o.id(), o.cause(), rounded(o.confidence())
	a := answer{status: f.Status, statusSource: f.StatusSource}
	if o.rule.read != nil {
		if i := o.rule.read.SubexpIndex("status"); i > 0 {
			if m := o.rule.read.FindStringSubmatch(o.m.text); m != nil {
				a.setStatus(m[i])
			}
		}
	}
	o.rule.say(&a)
	f.Status, f.StatusSource = a.status, a.statusSource
	if o.fact != nil && o.fact.evidence == pushdoctor.EvidenceToken && facts.TokenLine.Text != "" && !slices.Contains(f.Evidence, facts.TokenLine) {
		f.Evidence = append(slices.Clone(f.Evidence), facts.TokenLine)
	}
	return f, true
}

// A memory is one kept line of a finding, read again. What the step and the whole log said besides is known as far as it
// went into the finding.
type memory struct {
	answer
	finding pushdoctor.Finding
	whole   bool               // the line is kept to its end, and no secret was taken out of it
	begun   bool               // it is kept from its beginning, as far as one can tell
	said    string             // the message as it was read first, lower case
	page    bool               // a quoted line is of a page
	facts   []pushdoctor.Facts // as they may have been when the answer came
}

func remember(f pushdoctor.Finding, e pushdoctor.Evidence, facts pushdoctor.Facts, wordings []wording) memory {
	m := memory{finding: f}
	m.answer, _ = read(parser.Line{Number: e.Line, Text: e.Text})
	m.whole = len(e.Text) < maxExcerpt-len("<redacted>")-4 && !strings.Contains(e.Text, "<redacted>")
	m.said = m.lowMessage
	if e.Line == f.Line && f.Message != "" {
		m.said = lower(f.Message)
	}
	// A long line is quoted from its message on.
	m.begun = !strings.HasPrefix(lower(e.Text), m.said)
	m.registry = registryOf(f.Host)
	if m.registry == pushdoctor.RegistryUnknown || m.registry == pushdoctor.RegistryOther {
		if i := slices.IndexFunc(wordings, func(w wording) bool { return strings.Contains(m.low, w.literal) }); i >= 0 {
			m.registry = wordings[i].registry
		}
	}
	for _, other := range f.Evidence {
		m.page = m.page || htmlBody.MatchString(other.Text) || htmlTitle.MatchString(other.Text)
		if with, ok := m.withBody(other.Line, other.Text); ok {
			m.answer, m.said = with, m.said+"\n"+lower(other.Text)
		}
	}
	// Logins that came later do not count; the copy that came first is not always the one that was kept.
	first := f.Line
	for _, other := range f.Evidence {
		if other.Kind == pushdoctor.EvidenceAnswer {
			first = min(first, other.Line)
		}
	}
	m.facts = []pushdoctor.Facts{loginsUntil(facts, first), loginsUntil(facts, f.Line), facts}
	return m
}

func loginsUntil(facts pushdoctor.Facts, line int) pushdoctor.Facts {
	facts.Logins = slices.DeleteFunc(slices.Clone(facts.Logins), func(l pushdoctor.Login) bool { return l.Line > line })
	return facts
}

// A verdict says whether a rule holds for what is kept of a finding.
type verdict int8

const (
	no verdict = iota
	maybe
	yes
)

// asked says whether a rule matches.
func (m *memory) asked(ru *rule) verdict {
	first, again := ru.speaks(m.low, m.said), ru.speaks(m.low, m.lowMessage)
	if !first && !again {
		return no
	}
	v := m.holds(ru.when)
	if first != again {
		v = min(v, maybe)
	}
	switch {
	case ru.read == nil || ru.read.MatchString(m.text):
		return v
	case m.whole:
		return no
	}
	return min(v, maybe)
}

// holds says whether a condition holds.
func (m *memory) holds(c condition) verdict {
	v := yes
	for _, cl := range c {
		values := m.values(cl.word)
		admitted := 0
		for _, value := range values {
			if cl.admits(value) {
				admitted++
			}
		}
		switch {
		case values == nil, admitted > 0 && admitted < len(values):
			v = maybe
		case admitted == 0:
			return no
		}
	}
	return v
}

// values are those that a condition's word may have had, nil for any. The finding holds what the rule that made it left
// of them: a rule may say a status or a registry, and the step the client.
func (m *memory) values(word string) []string {
	f := &m.finding
	switch word {
	case "registry":
		return []string{string(m.registry), string(f.Registry)}
	case "client":
		out := []string{string(f.Client)}
		if m.client != "" || f.Client == pushdoctor.ClientOther {
			out = append(out, string(m.client))
		}
		return out
	case "operation":
		return []string{orElse(string(m.operation), string(f.Operation)), string(f.Operation)}
	case "status":
		out := []string{strconv.Itoa(f.Status)}
		if m.status != 0 || f.StatusSource == pushdoctor.StatusImplied {
			out = append(out, strconv.Itoa(m.status))
		}
		return out
	case "code":
		if m.whole || m.code != "" {
			return []string{orElse(m.code, "none")}
		}
	case "method":
		if m.begun && m.whole || m.method != "" {
			return []string{orElse(m.method, "none")}
		}
	case "body":
		if m.html {
			return []string{"html"}
		}
		if m.whole && !m.page {
			return []string{"none"}
		}
	case "anonymous":
		if m.anonymous {
			return []string{"true"}
		}
	case "image":
		return []string{(&state{}).word(&answer{image: f.Image}, word)}
	case "step":
		if loginAction.MatchString(f.Step) {
			return []string{"login"}
		}
	case "token.packages", "secret_source", "login", "identity", "owner":
		var out []string
		for _, facts := range m.facts {
			value := factWord(word, f.Host, f.Image, facts)
			// A login by a secret is seen in a script, and scripts are not kept.
			if value == "unknown" || word == "identity" && value == "job" {
				return nil
			}
			out = append(out, value)
		}
		return out
	}
	return nil
}
