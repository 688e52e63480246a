package classifier

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/akkospace/pushdoctor"
)

//go:embed rules.yaml
var builtin []byte

// BuiltinFile is the name of the embedded rule file in Rule.File and Fault.File.
const BuiltinFile = "rules.yaml"

// Rules is a set of rules, compiled: those of the user's files in the order given, then the embedded ones.
// It is safe for concurrent use.
type Rules struct {
	version  string
	wordings []wording
	rules    []*rule
	loners   []*rule // those of rules that know a failed push by one line
	facts    []*factRule
	filter   *filter
}

// A File is a rule file that a user wrote.
type File struct {
	Name string // for messages
	Data []byte
}

// A Rule is one rule in force, for people to read.
type Rule struct {
	ID    string `json:"id"`
	File  string `json:"file"`
	Kind  string `json:"kind"` // "rule", or "fact" for a row of the second table
	Cause string `json:"cause"`
	When  string `json:"when"` // the literal and what must hold besides
	Why   string `json:"why"`
}

// A Fault is a fault in a rule file.
type Fault struct {
	File         string
	Line, Column int    // counted from 1; 0 where the fault has no place
	Rule         string // the rule's id, "" where the fault is in none
	Message      string
}

// Error returns the fault as compilers print one: file:line:column: message.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	if f.Rule != "" {
		fmt.Fprintf(&b, "rule %s: ", f.Rule)
	}
	b.WriteString(f.Message)
	return b.String()
}

// An anchor says where a rule's literal must stand, or that the rule has none and looks only at lines which
// the grammar of the clients took apart.
type anchor string

const (
	anchorNone   anchor = ""       // anywhere in the line
	anchorStart  anchor = "start"  // at the beginning of the message
	anchorWhole  anchor = "whole"  // the message is the literal, but for a full stop
	anchorEnd    anchor = "end"    // at the end of the message
	anchorAnswer anchor = "answer" // anywhere in the message of an answer; there may be no literal at all
)

// A rule turns an answer into a cause.
type rule struct {
	id, file   string
	line       int
	literal    string // lower case
	anchor     anchor
	read       *regexp.Regexp
	when       condition
	alone      bool // the line proves by itself that a push failed
	cause      pushdoctor.Cause
	confidence float64
	says       saying
	why        string
	match      []string
	miss       []string
}

// A factRule turns a finding and the job's facts into a better cause.
type factRule struct {
	id, file   string
	line       int
	from       []pushdoctor.Cause
	when       condition
	cause      pushdoctor.Cause
	confidence float64
	evidence   pushdoctor.EvidenceKind
	why        string
}

// A wording is a phrase that only one product uses.
type wording struct {
	literal  string
	registry pushdoctor.Registry
}

// A saying is what a rule knows beyond the cause.
type saying struct {
	registry  pushdoctor.Registry
	operation pushdoctor.Operation
	client    pushdoctor.Client
	status    int
}

// A condition holds if each of its words has one of the listed values.
type condition []clause

type clause struct {
	word   string
	values []string
}

func (c condition) String() string {
	var parts []string
	for _, cl := range c {
		parts = append(parts, cl.word+" "+strings.Join(cl.values, "|"))
	}
	return strings.Join(parts, ", ")
}

// vocabulary is what a condition may speak of, with the values that each word can have; nil is any
// number ("403", "5xx"). A word that is not here is a fault when the file is loaded: a condition with
// a slip would never hold, and nobody would see it.
var vocabulary = map[string][]string{
	"registry":       toStrings(pushdoctor.Registries),
	"client":         toStrings(pushdoctor.Clients),
	"operation":      toStrings(pushdoctor.Operations),
	"status":         nil,
	"code":           codeWords(),
	"method":         {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "none"},
	"body":           {"html", "none"},
	"anonymous":      {"true", "false"},
	"image":          {"no_owner", "other"},
	"push":           {"asked", "unknown"},
	"step":           {"login", "other"},
	"token.packages": {"none", "read", "write", "unknown"},
	"secret_source":  {"Actions", "Dependabot", "None", "unknown"},
	"login":          {"ok", "refused", "other_host", "none", "unknown"},
	"identity":       {"job", "other"},
	"owner":          {"own", "foreign", "unknown"},
	"shown":          {"true", "false"},
}

func toStrings[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

func codeWords() []string {
	out := []string{"none"}
	for c := range codes {
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

// Builtin returns the embedded rules. It panics if they are at fault, which a test rules out.
func Builtin() *Rules { return loadBuiltin() }

var loadBuiltin = sync.OnceValue(func() *Rules {
	r, err := Load()
	if err != nil {
		panic(err)
	}
	return r
})

// Load compiles the user's files, in order, before the embedded rules. Its error joins a *Fault for every
// fault in every file; the rules are then nil.
func Load(files ...File) (*Rules, error) {
	r := &Rules{}
	var faults []error
	ids := map[string]string{}
	claim := func(p *parsed, id string, line int) {
		if at, ok := ids[id]; ok {
			p.faults = append(p.faults, Fault{p.file, line, 1, id, "this id stands in " + at + " already"})
		}
		ids[id] = p.file
	}
	// The embedded ids are claimed first: a user who takes one wants to read of the own file.
	all := []*parsed{parseFile(File{BuiltinFile, builtin})}
	for _, f := range files {
		all = append(all, parseFile(f))
	}
	for _, p := range all {
		for _, ru := range p.rules {
			claim(p, ru.id, ru.line)
		}
		for _, fr := range p.facts {
			claim(p, fr.id, fr.line)
		}
	}
	for _, p := range append(all[1:], all[0]) {
		for i := range p.faults {
			faults = append(faults, &p.faults[i])
		}
		r.wordings = append(r.wordings, p.wordings...)
		r.rules = append(r.rules, p.rules...)
		r.facts = append(r.facts, p.facts...)
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	literals := append(frameLiterals(), contextLiterals...)
	for _, ru := range r.rules {
		// A rule with an anchor that does not stand alone looks at lines that a frame or a context found already.
		if ru.anchor == anchorNone || ru.alone {
			literals = append(literals, ru.literal)
		}
		if ru.alone {
			r.loners = append(r.loners, ru)
		}
	}
	r.filter = newFilter(literals)
	r.version = versionOf(append(slices.Clone(files), File{BuiltinFile, builtin}))
	return r, nil
}

// Check reads a rule file and runs the examples in it, as they would run in force: before the embedded
// rules. It returns the number of examples that were run, and all faults.
func Check(f File) (examples int, faults []Fault) {
	p := parseFile(f)
	if len(p.faults) > 0 {
		return 0, p.faults
	}
	r, err := Load(f)
	if err != nil {
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			if fault, ok := errors.AsType[*Fault](e); ok {
				faults = append(faults, *fault)
			}
		}
		return 0, faults
	}
	for _, ru := range p.rules {
		n, found := r.runExamples(ru)
		examples += n
		faults = append(faults, found...)
	}
	return examples, faults
}

// List returns the rules in force, in the order in which they are tried.
func (r *Rules) List() []Rule {
	var out []Rule
	for _, ru := range r.rules {
		when := ru.when.String()
		if ru.literal != "" {
			when = strings.TrimSuffix(fmt.Sprintf("%q, %s", ru.literal, when), ", ")
		}
		out = append(out, Rule{ru.id, ru.file, "rule", string(ru.cause), when, ru.why})
	}
	for _, fr := range r.facts {
		out = append(out, Rule{fr.id, fr.file, "fact", string(fr.cause), "from " + strings.Join(toStrings(fr.from), "|") + ", " + fr.when.String(), fr.why})
	}
	return out
}

// holds reports whether each clause has its value; value gives a word's.
func (c condition) holds(value func(word string) string) bool {
	for _, cl := range c {
		if !cl.admits(value(cl.word)) {
			return false
		}
	}
	return true
}

// admits reports whether v is one of the clause's values.
func (cl clause) admits(v string) bool {
	return slices.ContainsFunc(cl.values, func(want string) bool {
		return want == v || cl.word == "status" && len(want) == 3 && strings.HasSuffix(want, "xx") && len(v) == 3 && v[0] == want[0]
	})
}

// speaks reports whether the rule's literal stands where its anchor asks for it. line and message are lower case.
func (ru *rule) speaks(line, message string) bool {
	switch ru.anchor {
	case anchorNone:
		return strings.Contains(line, ru.literal)
	case anchorStart:
		return strings.HasPrefix(message, ru.literal)
	case anchorWhole:
		return strings.TrimRight(message, ". :") == ru.literal
	case anchorEnd:
		return strings.HasSuffix(strings.TrimRight(message, `. "'`), ru.literal)
	}
	return strings.Contains(message, ru.literal)
}
