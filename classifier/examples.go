package classifier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/akkospace/pushdoctor/parser"
)

// runExamples runs a rule's own examples through the whole classifier: each under match must end in a
// finding that this rule decided, none under miss may.
func (r *Rules) runExamples(ru *rule) (ran int, faults []Fault) {
	decided := func(example string) (bool, string) {
		s := &state{rules: r, log: parser.New(strings.NewReader(example))}
		for ln := range s.log.Lines() {
			s.read(ln)
		}
		s.endStep()
		var others []string
		if slices.ContainsFunc(s.failures, func(f *failure) bool {
			if f.rule != nil {
				others = append(others, f.rule.id)
			}
			return f.rule != nil && f.rule.id == ru.id
		}) {
			return true, ""
		}
		if others == nil {
			return false, "nothing was found in it"
		}
		return false, "decided by " + strings.Join(others, ", ")
	}
	for _, e := range ru.match {
		ran++
		if ok, instead := decided(e); !ok {
			faults = append(faults, Fault{ru.file, ru.line, 1, ru.id, fmt.Sprintf("does not match its example %q: %s", e, instead)})
		}
	}
	for _, e := range ru.miss {
		ran++
		if ok, _ := decided(e); ok {
			faults = append(faults, Fault{ru.file, ru.line, 1, ru.id, fmt.Sprintf("matches its near miss %q", e)})
		}
	}
	return ran, faults
}
