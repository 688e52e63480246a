package classifier

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/akkospace/pushdoctor"
)

const (
	maxRuleFile   = 1 << 20 // bytes
	maxDepth      = 32      // of brackets, or of markers on one line
	defaultTrust  = 0.9     // a rule's confidence where it does not say one
	minRuleLength = 8       // bytes of a literal without an anchor
)

// parsed is what one rule file holds, and what is wrong with it.
type parsed struct {
	file     string
	wordings []wording
	rules    []*rule
	facts    []*factRule
	faults   []Fault

	id string // of the row that is being read, for faults
}

func (p *parsed) fault(n ast.Node, format string, args ...any) {
	f := Fault{File: p.file, Rule: p.id, Message: fmt.Sprintf(format, args...)}
	if n != nil && n.GetToken() != nil {
		f.Line, f.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	p.faults = append(p.faults, f)
}

// parseFile reads a rule file. It walks the syntax tree rather than decode into structs, since a decoder
// stops at the first fault and the author of a rule wants to see them all.
func parseFile(f File) *parsed {
	p := &parsed{file: f.Name}
	if len(f.Data) > maxRuleFile {
		p.fault(nil, "the file is larger than %d bytes", maxRuleFile)
		return p
	}
	if line := deepLine(f.Data); line > 0 {
		p.faults = append(p.faults, Fault{File: f.Name, Line: line, Column: 1, Message: fmt.Sprintf("the file nests deeper than %d levels", maxDepth)})
		return p
	}
	tree, err := yamlparser.ParseBytes(f.Data, 0, yamlparser.AllowDuplicateMapKey())
	if err != nil {
		fault := Fault{File: f.Name, Message: "not YAML: " + err.Error()}
		if syntax, ok := err.(*yaml.SyntaxError); ok { //nolint:errorlint // the parser returns it bare
			fault.Message = "not YAML: " + syntax.Message
			fault.Line, fault.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
		}
		p.faults = append(p.faults, fault)
		return p
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		p.fault(nil, "a rule file is one document with the key rules")
		return p
	}
	for _, kv := range p.mapping(tree.Docs[0].Body, "a rule file is a mapping with the key rules") {
		var row func(ast.Node)
		switch kv.key {
		case "rules":
			row = p.rule
		case "facts":
			row = p.factRule
		case "wordings":
			row = p.wording
		default:
			p.fault(kv.node, "unknown key %q: there are rules, facts and wordings", kv.key)
			continue
		}
		seq, ok := kv.value.(*ast.SequenceNode)
		if !ok {
			p.fault(kv.value, "%s is a list", kv.key)
			continue
		}
		for _, n := range seq.Values {
			p.id = ""
			row(n)
		}
		p.id = ""
	}
	return p
}

// deepLine is the first line that nests deeper than a rule file may, or 0. The parser's memory grows with
// the square of the depth: 100 KB of brackets would end the process, and no bound on the size prevents it.
func deepLine(data []byte) int {
	brackets, markers, line := 0, 0, 0
	for _, tk := range lexer.Tokenize(string(data)) {
		if tk.Position.Line != line {
			line, markers = tk.Position.Line, 0
		}
		switch tk.Type { //nolint:exhaustive // the others open nothing
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.MappingValueType:
			markers++
		}
		if brackets > maxDepth || markers > maxDepth && brackets == 0 {
			return line
		}
	}
	return 0
}

type pair struct {
	key         string
	node, value ast.Node
}

// mapping is the keys and values of a mapping. A key that stands twice is a fault.
func (p *parsed) mapping(n ast.Node, want string) []pair {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		p.fault(n, "%s", want)
		return nil
	}
	var out []pair
	for _, v := range values {
		key := v.Key.GetToken().Value
		if slices.ContainsFunc(out, func(o pair) bool { return o.key == key }) {
			p.fault(v.Key, "the key %s stands twice", key)
		}
		out = append(out, pair{key, v.Key, v.Value})
	}
	return out
}

func (p *parsed) rule(n ast.Node) {
	ru := &rule{file: p.file, confidence: defaultTrust}
	pairs := p.mapping(n, "a rule is a mapping")
	if pairs == nil {
		return
	}
	p.id = idOf(pairs)
	ru.line = n.GetToken().Position.Line
	before := len(p.faults)
	for _, kv := range pairs {
		switch kv.key {
		case "id":
			ru.id = p.ident(kv)
		case "literal":
			ru.literal = lower(p.text(kv))
		case "anchor":
			ru.anchor = anchor(p.oneOf(kv, []string{"start", "whole", "end", "answer"}))
		case "read":
			re, err := regexp.Compile(p.text(kv))
			if err != nil {
				p.fault(kv.value, "read: %v", err)
				continue
			}
			for _, name := range re.SubexpNames()[1:] {
				if name != "" && !slices.Contains([]string{"image", "host", "status"}, name) {
					p.fault(kv.value, "read: unknown group %q: there are image, host and status", name)
				}
			}
			ru.read = re
		case "when":
			ru.when = p.condition(kv)
		case "alone":
			ru.alone = p.boolean(kv)
		case "cause":
			ru.cause = pushdoctor.Cause(p.oneOf(kv, toStrings(pushdoctor.Causes)))
		case "confidence":
			ru.confidence = p.confidence(kv)
		case "says":
			ru.says = p.saying(kv)
		case "why":
			ru.why = p.text(kv)
		case "match":
			ru.match = p.texts(kv)
		case "miss":
			ru.miss = p.texts(kv)
		default:
			p.fault(kv.node, "unknown key %q", kv.key)
		}
	}
	at := pairs[0].node
	sound := len(p.faults) == before
	for _, need := range []struct {
		key     string // the key that is missing; a row without one is told only where nothing else is wrong
		missing bool
		message string
	}{
		{"id", ru.id == "", "a rule needs an id"},
		{"cause", ru.cause == "", "a rule needs a cause"},
		{"why", ru.why == "", "a rule needs a why"},
		{"match", len(ru.match) == 0, "a rule needs at least one line under match"},
		{"miss", len(ru.miss) == 0, "a rule needs at least one near miss under miss"},
		{"", len(ru.literal) < minRuleLength && ru.anchor == anchorNone, fmt.Sprintf("a literal has at least %d bytes, or the rule has an anchor", minRuleLength)},
		{"", ru.literal == "" && ru.anchor != anchorNone && ru.anchor != anchorAnswer, "this anchor needs a literal"},
		{"", ru.literal == "" && ru.anchor == anchorAnswer && len(ru.when) == 0 && ru.read == nil, "a rule without a literal needs a when"},
		{"", ru.alone && ru.literal == "" && ru.anchor != anchorNone, "a rule that stands alone needs a literal"},
	} {
		if need.missing && (sound || need.key != "" && !has(pairs, need.key)) {
			p.fault(at, "%s", need.message)
		}
	}
	if len(p.faults) == before {
		p.rules = append(p.rules, ru)
	}
}

var validID = regexp.MustCompile(`^[a-z0-9]+(?:-[a-z0-9]+)*$`)

func (p *parsed) factRule(n ast.Node) {
	fr := &factRule{file: p.file, confidence: defaultTrust}
	pairs := p.mapping(n, "a fact rule is a mapping")
	if pairs == nil {
		return
	}
	p.id = idOf(pairs)
	fr.line = n.GetToken().Position.Line
	before := len(p.faults)
	for _, kv := range pairs {
		switch kv.key {
		case "id":
			fr.id = p.ident(kv)
		case "from":
			for _, s := range p.oneOfs(kv, toStrings(pushdoctor.Causes)) {
				fr.from = append(fr.from, pushdoctor.Cause(s))
			}
		case "when":
			fr.when = p.condition(kv)
		case "cause":
			fr.cause = pushdoctor.Cause(p.oneOf(kv, toStrings(pushdoctor.Causes)))
		case "confidence":
			fr.confidence = p.confidence(kv)
		case "evidence":
			fr.evidence = pushdoctor.EvidenceKind(p.oneOf(kv, []string{string(pushdoctor.EvidenceToken), string(pushdoctor.EvidenceLogin)}))
		case "why":
			fr.why = p.text(kv)
		default:
			p.fault(kv.node, "unknown key %q", kv.key)
		}
	}
	if len(p.faults) == before && (fr.id == "" || fr.cause == "" || fr.why == "" || len(fr.from) == 0 || len(fr.when) == 0) {
		p.fault(pairs[0].node, "a fact rule needs id, from, when, cause and why")
	}
	if len(p.faults) == before {
		p.facts = append(p.facts, fr)
	}
}

func (p *parsed) wording(n ast.Node) {
	var w wording
	pairs := p.mapping(n, "a wording is a mapping")
	if pairs == nil {
		return
	}
	before := len(p.faults)
	for _, kv := range pairs {
		switch kv.key {
		case "literal":
			w.literal = lower(p.text(kv))
		case "registry":
			w.registry = pushdoctor.Registry(p.oneOf(kv, toStrings(pushdoctor.Registries)))
		default:
			p.fault(kv.node, "unknown key %q", kv.key)
		}
	}
	if len(p.faults) == before && (len(w.literal) < minRuleLength || w.registry == "") {
		p.fault(pairs[0].node, "a wording needs a literal of at least %d bytes and a registry", minRuleLength)
	}
	if len(p.faults) == before {
		p.wordings = append(p.wordings, w)
	}
}

func has(pairs []pair, key string) bool {
	return slices.ContainsFunc(pairs, func(kv pair) bool { return kv.key == key })
}

func idOf(pairs []pair) string {
	for _, kv := range pairs {
		if kv.key == "id" {
			return kv.value.GetToken().Value
		}
	}
	return ""
}

func (p *parsed) text(kv pair) string {
	switch v := kv.value.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return strings.TrimRight(v.Value.Value, "\n")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value
	}
	p.fault(kv.value, "%s is a text", kv.key)
	return ""
}

func (p *parsed) texts(kv pair) []string {
	seq, ok := kv.value.(*ast.SequenceNode)
	if !ok {
		p.fault(kv.value, "%s is a list", kv.key)
		return nil
	}
	var out []string
	for _, n := range seq.Values {
		out = append(out, p.text(pair{kv.key, n, n}))
	}
	return out
}

func (p *parsed) boolean(kv pair) bool {
	b, ok := kv.value.(*ast.BoolNode)
	if !ok {
		p.fault(kv.value, "%s is true or false", kv.key)
		return false
	}
	return b.Value
}

func (p *parsed) ident(kv pair) string {
	before := len(p.faults)
	id := p.text(kv)
	if len(p.faults) == before && !validID.MatchString(id) {
		p.fault(kv.value, "an id is made of lower-case letters, digits and hyphens")
	}
	return id
}

func (p *parsed) confidence(kv pair) float64 {
	before := len(p.faults)
	x, err := strconv.ParseFloat(p.text(kv), 64)
	if ok := err == nil && x > 0 && x <= 1; !ok && len(p.faults) == before {
		p.fault(kv.value, "a confidence is a number above 0 and up to 1")
	}
	return x
}

func (p *parsed) oneOf(kv pair, set []string) string {
	before := len(p.faults)
	s := p.text(kv)
	if len(p.faults) == before && !slices.Contains(set, s) {
		p.fault(kv.value, "unknown %s %q: there are %s", kv.key, s, strings.Join(set, ", "))
	}
	return s
}

func (p *parsed) oneOfs(kv pair, set []string) []string {
	seq, ok := kv.value.(*ast.SequenceNode)
	if !ok {
		return []string{p.oneOf(kv, set)}
	}
	var out []string
	for _, n := range seq.Values {
		out = append(out, p.oneOf(pair{kv.key, n, n}, set))
	}
	return out
}

func (p *parsed) condition(kv pair) condition {
	var c condition
	for _, word := range p.mapping(kv.value, "when is a mapping") {
		set, ok := vocabulary[word.key]
		if !ok {
			p.fault(word.node, "unknown word %q in when: there are %s", word.key, strings.Join(words(), ", "))
			continue
		}
		if set != nil {
			c = append(c, clause{word.key, p.oneOfs(word, set)})
			continue
		}
		values := []string{}
		nodes := []ast.Node{word.value}
		if seq, ok := word.value.(*ast.SequenceNode); ok {
			nodes = seq.Values
		}
		for _, n := range nodes {
			s := p.text(pair{word.key, n, n})
			if !validStatus.MatchString(s) {
				p.fault(n, "a status is a number from 100 to 599, 0 for none, or 5xx")
			}
			values = append(values, s)
		}
		c = append(c, clause{word.key, values})
	}
	return c
}

var validStatus = regexp.MustCompile(`^(?:0|[1-5]\d\d|[1-5]xx)$`)

func words() []string {
	out := make([]string, 0, len(vocabulary))
	for w := range vocabulary {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

func (p *parsed) saying(kv pair) saying {
	var s saying
	for _, v := range p.mapping(kv.value, "says is a mapping") {
		switch v.key {
		case "registry":
			s.registry = pushdoctor.Registry(p.oneOf(v, toStrings(pushdoctor.Registries)))
		case "operation":
			s.operation = pushdoctor.Operation(p.oneOf(v, toStrings(pushdoctor.Operations)))
		case "client":
			s.client = pushdoctor.Client(p.oneOf(v, toStrings(pushdoctor.Clients)))
		case "status":
			n, err := strconv.Atoi(p.text(v))
			if err != nil || n < 100 || n > 599 {
				p.fault(v.value, "a status is a number from 100 to 599")
			}
			s.status = n
		default:
			p.fault(v.node, "unknown key %q", v.key)
		}
	}
	return s
}
