package remedy

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// An entry is one hint of the catalogue and the rows that say for which findings it is meant.
type entry struct {
	ID    word             `yaml:"id"`
	Cause pushdoctor.Cause `yaml:"cause"` // that it cures
	Title string           `yaml:"title"`
	Steps []string         `yaml:"steps"`
	Patch string           `yaml:"patch"`
	// PatchClients are those that Patch is meant for, all where there are none: docker push
	// finds nothing where ko or crane pushed.
	PatchClients []pushdoctor.Client `yaml:"patch_clients"`
	// PatchBuildx stands in for Patch where BuildKit pushed: its result is in no local store
	// from which docker push could send it again.
	PatchBuildx string   `yaml:"patch_buildx"`
	Docs        []string `yaml:"docs"`
	Widens      bool     `yaml:"widens"` // gives rights to more than the job that failed: never the first hint
	For         []row    `yaml:"for"`    // the first row that holds decides
}

// A word is a scalar and the line on which it stands.
type word struct {
	text string
	line int
}

// A row holds where each of its conditions has one of its words, or one of its pieces of text.
type row struct {
	conditions []condition
	confidence float64 // that the hint cures; 0: not a hint here
	line       int
	fault      string
}

type condition struct {
	key   word
	words []word
}

// vocabulary are the words that a row's conditions may use. The words of "status" are
// numbers and those of "message" are text; both are checked apart.
var vocabulary = map[string][]string{
	"cause":          texts(pushdoctor.Causes),
	"registry":       texts(pushdoctor.Registries),
	"client":         texts(pushdoctor.Clients),
	"operation":      texts(pushdoctor.Operations),
	"token.packages": {"none", "read", "write", "unknown"},
	"secret_source":  {"Actions", "Dependabot", "None", "unknown"},
	"login":          {"ok", "refused", "other_host", "none", "unknown"},
	"owner":          {"own", "foreign", "unknown"},
	"name": {nameUnknown, nameOK, nameScheme, nameEmptyPart, nameWrongHost, nameHostTwice, nameUpperCase, nameEmptyTag,
		nameBadTag, nameIllegal, nameNoHost, nameNoOwner, nameTooMany, nameTooFew},
	"host":    {"named", "absent", "unknown"},
	"runner":  {"github-hosted", "self-hosted", "unknown"},
	"pushed":  {"some", "none"},
	"status":  nil,
	"message": nil,
}

func texts[T ~string](set []T) []string {
	out := make([]string, len(set))
	for i, v := range set {
		out[i] = string(v)
	}
	return out
}

// confidence returns that of the first row that holds, 0 where none does.
func (e *entry) confidence(s *situation) float64 {
	for _, r := range e.For {
		if r.holds(s) {
			return r.confidence
		}
	}
	return 0
}

func (r row) holds(s *situation) bool {
	for _, c := range r.conditions {
		if !slices.ContainsFunc(c.words, func(w word) bool { return s.is(c.key.text, w.text) }) {
			return false
		}
	}
	return true
}

// UnmarshalYAML reads a scalar and keeps its line.
func (w *word) UnmarshalYAML(n ast.Node) error {
	w.text, w.line = n.GetToken().Value, n.GetToken().Position.Line
	return nil
}

// UnmarshalYAML reads a row of conditions; what is wrong in it is told by check, together
// with all other faults.
func (r *row) UnmarshalYAML(n ast.Node) error {
	r.line = n.GetToken().Position.Line
	m, ok := n.(ast.MapNode)
	if !ok {
		r.fault = "a row is a mapping"
		return nil
	}
	for it := m.MapRange(); it.Next(); {
		var key word
		if err := key.UnmarshalYAML(it.Key()); err != nil {
			return err
		}
		if key.text == "confidence" {
			c, err := strconv.ParseFloat(it.Value().GetToken().Value, 64)
			if err != nil || !(c >= 0 && c <= 1) {
				r.fault = "confidence is a number from 0 to 1"
			}
			r.confidence = c
			continue
		}
		c := condition{key: key}
		list, ok := it.Value().(*ast.SequenceNode)
		if !ok {
			r.fault = key.text + " is a list of words"
			return nil
		}
		for _, v := range list.Values {
			c.words = append(c.words, word{v.GetToken().Value, v.GetToken().Position.Line})
		}
		r.conditions = append(r.conditions, c)
	}
	return nil
}

// load reads a catalogue. Its error names file and line of each fault.
func load(file string, data []byte) ([]entry, error) {
	var entries []entry
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&entries); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var faults []error
	ids := map[string]bool{}
	for _, e := range entries {
		for _, f := range e.check() {
			faults = append(faults, fmt.Errorf("%s:%d: %s: %s", file, f.line, e.ID.text, f.text))
		}
		if ids[e.ID.text] {
			faults = append(faults, fmt.Errorf("%s:%d: %s: the id stands twice", file, e.ID.line, e.ID.text))
		}
		ids[e.ID.text] = true
	}
	return entries, errors.Join(faults...)
}

func (e *entry) check() []word {
	var faults []word
	say := func(line int, format string, args ...any) {
		faults = append(faults, word{fmt.Sprintf(format, args...), line})
	}
	if e.ID.text == "" || strings.Trim(e.ID.text, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		say(e.ID.line, "an id is lower-case words joined by hyphens")
	}
	if !e.Cause.Valid() {
		say(e.ID.line, "unknown cause %q", e.Cause)
	}
	if e.Title == "" || len(e.Steps) < 2 || len(e.For) == 0 {
		say(e.ID.line, "a hint has a title, two steps or more and a row under for")
	}
	for _, client := range e.PatchClients {
		if !client.Valid() {
			say(e.ID.line, "unknown client %q", client)
		}
	}
	for _, text := range append(slices.Clone(e.Steps), e.Title, e.Patch, e.PatchBuildx) {
		for _, name := range slot.FindAllString(text, -1) {
			if _, ok := fallbacks[strings.Trim(name, "{}")]; !ok && !strings.HasPrefix(name, "{{") {
				say(e.ID.line, "unknown name %s", name)
			}
		}
	}
	for _, doc := range e.Docs {
		if u, err := url.Parse(doc); err != nil || u.Scheme != "https" || u.Host == "" {
			say(e.ID.line, "%q is no https address", doc)
		}
	}
	for _, r := range e.For {
		if r.fault != "" {
			say(r.line, "%s", r.fault)
			continue
		}
		if !slices.ContainsFunc(r.conditions, func(c condition) bool { return c.key.text == "cause" }) {
			say(r.line, "a row names its causes")
		}
		for _, c := range r.conditions {
			faults = append(faults, c.check()...)
		}
	}
	return faults
}

func (c condition) check() []word {
	words, ok := vocabulary[c.key.text]
	if !ok {
		return []word{{fmt.Sprintf("unknown key %q", c.key.text), c.key.line}}
	}
	if len(c.words) == 0 {
		return []word{{c.key.text + " has no words", c.key.line}}
	}
	var faults []word
	for _, w := range c.words {
		switch c.key.text {
		case "status":
			if n, err := strconv.Atoi(w.text); err != nil || n != 0 && (n < 100 || n > 599) {
				faults = append(faults, word{fmt.Sprintf("%q is no HTTP status", w.text), w.line})
			}
		case "message":
			// A shorter piece, or one in upper case, would match by chance or never.
			if len(w.text) < 3 || strings.ToLower(w.text) != w.text {
				faults = append(faults, word{fmt.Sprintf("message %q is not lower case of three bytes or more", w.text), w.line})
			}
		default:
			if !slices.Contains(words, w.text) {
				faults = append(faults, word{fmt.Sprintf("unknown word %q for %s", w.text, c.key.text), w.line})
			}
		}
	}
	return faults
}
