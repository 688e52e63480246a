// Package remedy says what to do about a failed push: it turns a finding and the
// facts of its job into hints, the best first. What it knows is data
// (catalogue.en.yaml, and its texts in Chinese in catalogue.zh.yaml); the code judges the image's name, looks at the job and puts
// the finding's own names into the texts. It is pure: nothing is read but its
// arguments, and nothing that it says is stored.
//
// Each name in a hint comes from a log that strangers wrote. A name that holds
// anything beyond the characters of image references is left out, and the text says
// OWNER or HOST in its place.
package remedy

import (
	"cmp"
	_ "embed"
	"slices"
	"sync"

	"github.com/akkospace/pushdoctor"
)

// maxHints is how many hints somebody reads before they try something of their own.
const maxHints = 5

//go:embed catalogue.en.yaml
var english []byte

var builtin = sync.OnceValue(func() []entry {
	entries, err := load("catalogue.en.yaml", english)
	if err != nil {
		panic(err) // TestCatalogue proves that it is sound
	}
	return entries
})

// Advise returns what to do about f, the likeliest cure first: one hint at least, five
// at most. A hint's cause is the one that it cures, which may be another than f.Cause
// where the log does not tell the two apart. facts may be the zero value. Titles and steps are in the language l, in
// English where that is not set; which hints there are does not hang on it, and patches are the same in all.
func Advise(f pushdoctor.Finding, facts pushdoctor.Facts, l Language) []pushdoctor.Hint {
	if !f.Cause.Valid() {
		f.Cause = pushdoctor.CauseUnknown // a finding stored by a newer version may hold a word that is not ours
	}
	s := look(f, facts)
	type choice struct {
		entry      *entry
		confidence float64
	}
	var choices []choice
	entries := builtin()
	for i := range entries {
		if c := entries[i].confidence(s); c > 0 {
			choices = append(choices, choice{&entries[i], c})
		}
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(b.confidence, a.confidence) })
	choices = choices[:min(len(choices), maxHints)]

	patch := func(e *entry) string {
		switch {
		case f.Client == pushdoctor.ClientBuildx && e.PatchBuildx != "":
			return e.PatchBuildx
		case len(e.PatchClients) > 0 && !slices.Contains(e.PatchClients, f.Client):
			return ""
		}
		return e.Patch
	}
	hints := make([]pushdoctor.Hint, len(choices))
	for i, c := range choices {
		title, steps := c.entry.in(l)
		hints[i] = pushdoctor.Hint{
			ID:         c.entry.ID.text,
			Cause:      c.entry.Cause,
			Title:      s.fill(title),
			Confidence: c.confidence,
			Patch:      s.fill(patch(c.entry)),
			Docs:       slices.Clone(c.entry.Docs),
		}
		for _, step := range steps {
			hints[i].Steps = append(hints[i].Steps, s.fill(step))
		}
	}
	return hints
}
