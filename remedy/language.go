package remedy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

// A Language is one that the hints are written in. Its values are the words of the flag --lang and of the API's
// parameter lang.
type Language string

// The languages of the catalogue. Of Chinese it has the simplified script only.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// languages are all of them, the default first.
var languages = []Language{English, Chinese}

// languageTag is a language as BCP 47 or a locale of POSIX writes it: zh, zh-Hans-CN, zh_CN.UTF-8.
var languageTag = regexp.MustCompile(`^([a-zA-Z]{2,8})(?:[-_][a-zA-Z0-9]{2,8}){0,4}(?:\.[a-zA-Z0-9-]{1,20})?$`)

// ParseLanguage returns the language that s names, as "zh", "zh-CN" or "zh_CN.UTF-8" do; region and encoding do not
// count. Its error lists the languages that there are.
func ParseLanguage(s string) (Language, error) {
	if m := languageTag.FindStringSubmatch(s); m != nil {
		if l := Language(strings.ToLower(m[1])); slices.Contains(languages, l) {
			return l, nil
		}
	}
	return "", fmt.Errorf("unknown language %.40q: it is one of %s", s, strings.Join(texts(languages), ", "))
}

// A translation is the texts of an entry in another language. All else is the entry's own.
type translation struct {
	ID    word     `yaml:"id"`
	Title string   `yaml:"title"`
	Steps []string `yaml:"steps"`
}

//go:embed catalogue.zh.yaml
var chinese []byte

var builtinChinese = sync.OnceValue(func() map[string]translation {
	translations, err := loadTranslations("catalogue.zh.yaml", chinese, builtin())
	if err != nil {
		panic(err) // TestTranslations proves that it is sound
	}
	return translations
})

// in returns the texts of e in l, in English where l is no language of ours.
func (e *entry) in(l Language) (title string, steps []string) {
	if l != Chinese {
		return e.Title, e.Steps
	}
	t := builtinChinese()[e.ID.text]
	return t.Title, t.Steps
}

// loadTranslations reads the texts of all entries in another language, by id. Its error names file and line of each
// fault: a text that is missing would be an empty hint, and a {name} that is missing would take what the log knows out of it.
func loadTranslations(file string, data []byte, entries []entry) (map[string]translation, error) {
	var list []translation
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	byID := make(map[string]*entry, len(entries))
	for i := range entries {
		byID[entries[i].ID.text] = &entries[i]
	}
	var faults []error
	out := make(map[string]translation, len(list))
	for _, t := range list {
		say := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("%s:%d: %s: %s", file, t.ID.line, t.ID.text, fmt.Sprintf(format, args...)))
		}
		if _, ok := out[t.ID.text]; ok {
			say("the id stands twice")
		}
		out[t.ID.text] = t
		e := byID[t.ID.text]
		switch {
		case e == nil:
			say("the catalogue has no such hint")
			continue
		case len(t.Steps) != len(e.Steps):
			say("it has %d steps, and the catalogue %d", len(t.Steps), len(e.Steps))
			continue
		}
		if t.Title == "" || !slices.Equal(slots(t.Title), slots(e.Title)) {
			say("the title is empty, or has other {names} than the catalogue's: %q", slots(e.Title))
		}
		for i, step := range t.Steps {
			if step == "" || !slices.Equal(slots(step), slots(e.Steps[i])) {
				say("step %d is empty, or has other {names} than the catalogue's: %q", i+1, slots(e.Steps[i]))
			}
		}
	}
	for _, e := range entries {
		if _, ok := out[e.ID.text]; !ok {
			faults = append(faults, fmt.Errorf("%s: there is no %s", file, e.ID.text))
		}
	}
	return out, errors.Join(faults...)
}

// slots returns the {names} in text, sorted: languages put them in different orders.
func slots(text string) []string {
	names := slot.FindAllString(text, -1)
	slices.Sort(names)
	return names
}
