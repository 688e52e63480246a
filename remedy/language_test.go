package remedy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/akkospace/pushdoctor"
	gocmp "github.com/google/go-cmp/cmp"
)

func TestParseLanguage(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Language
	}{
		{"en", English}, {"EN", English}, {"en-GB", English}, {"en_US.UTF-8", English},
		{"zh", Chinese}, {"zh-CN", Chinese}, {"zh_CN.UTF-8", Chinese}, {"zh-Hans-CN", Chinese}, {"ZH-cn", Chinese},
	} {
		if got, err := ParseLanguage(test.in); got != test.want || err != nil {
			t.Errorf("%q: %q, %v, want %q", test.in, got, err, test.want)
		}
	}
	// A word that merely begins like a language must not pass for it.
	for _, in := range []string{"", "de", "english", "zhuang", "zh-", "zh CN", "zh;en", "C.UTF-8", "-zh", "en\n", strings.Repeat("x", 1000)} {
		got, err := ParseLanguage(in)
		if want := fmt.Sprintf("unknown language %.40q: it is one of en, zh", in); got != "" || fmt.Sprint(err) != want {
			t.Errorf("%.40q: %q, %v, want %s", in, got, err, want)
		}
	}
}

// What a text must keep in every language, for it is typed, clicked or looked for: expressions and addresses.
var kept = regexp.MustCompile(`\$\{\{[^}]*\}\}|https://[a-z0-9.]+[a-z0-9](?:/[a-z0-9/.-]*[a-z0-9/])?`)

// A step left in English, one that lost an address or an expression, one that advises what the English one advises against, or
// that no longer verifies.
func TestTranslations(t *testing.T) {
	translations, err := loadTranslations("catalogue.zh.yaml", chinese, builtin())
	if err != nil {
		t.Fatal(err)
	}
	han := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
	}
	for _, e := range builtin() {
		z := translations[e.ID.text]
		ours := append([]string{e.Title}, e.Steps...)
		for i, text := range append([]string{z.Title}, z.Steps...) {
			if !han(text) {
				t.Errorf("%s is not in Chinese: %q", e.ID.text, text)
			}
			if strings.ContainsAny(text, "\n\r`") || text != strings.TrimSpace(text) || strings.Contains(text, "::") {
				t.Errorf("%s: %q", e.ID.text, text)
			}
			want, got := kept.FindAllString(ours[i], -1), kept.FindAllString(text, -1)
			slices.Sort(want)
			slices.Sort(got)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s, text %d (-English +Chinese):\n%s", e.ID.text, i, diff)
			}
		}
		for i, step := range z.Steps {
			if strings.HasPrefix(step, "不要") != strings.HasPrefix(e.Steps[i], "Do not ") {
				t.Errorf("%s advises in one language what it advises against in the other: %s", e.ID.text, step)
			}
			if strings.HasPrefix(step, "验证：") != strings.HasPrefix(e.Steps[i], "Verify: ") {
				t.Errorf("%s: only one language verifies: %s", e.ID.text, step)
			}
		}
	}
}

// A cause whose hints are missing in a language, or hints that differ by language in more than their words.
func TestAdviseInEachLanguage(t *testing.T) {
	for _, cause := range pushdoctor.Causes {
		for _, registry := range pushdoctor.Registries {
			f := pushdoctor.Finding{Cause: cause, Registry: registry, Client: "docker", Operation: "push", Host: "ghcr.io", Image: "ghcr.io/octo-lab/api:dev"}
			want := Advise(f, pushdoctor.Facts{}, English)
			got := Advise(f, pushdoctor.Facts{}, Chinese)
			for i := range got {
				if got[i].Title == "" || got[i].Title == want[i].Title || slices.Equal(got[i].Steps, want[i].Steps) {
					t.Errorf("%s at %s: hint %s is the same in both languages", cause, registry, got[i].ID)
				}
				got[i].Title, got[i].Steps = want[i].Title, want[i].Steps
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s at %s (-English +Chinese):\n%s", cause, registry, diff)
			}
			if diff := gocmp.Diff(want, Advise(f, pushdoctor.Facts{}, "")); diff != "" {
				t.Errorf("%s at %s: no language is not English (-English +none):\n%s", cause, registry, diff)
			}
		}
	}
}

// The finding's own names must come into the Chinese texts too.
func TestChineseNamesTheImage(t *testing.T) {
	hints := Advise(pushdoctor.Finding{Cause: "workflow_permission_missing", Registry: "ghcr", Image: "ghcr.io/octo-lab/api:dev"}, pushdoctor.Facts{}, Chinese)
	if got, want := hints[0].Steps[0], "打开工作流文件，找到推送 ghcr.io/octo-lab/api:dev 的作业。"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLoadTranslationsNamesEachFault(t *testing.T) {
	entries := []entry{
		{ID: word{text: "a"}, Title: "T {host}", Steps: []string{"{tag} of {image}", "b"}},
		{ID: word{text: "b"}, Title: "T", Steps: []string{"a"}},
	}
	const good = "- id: a\n  title: 题 {host}\n  steps: [\"{image} 的 {tag}\", 二]\n- id: b\n  title: 题\n  steps: [一]\n"
	if _, err := loadTranslations("c.yaml", []byte(good), entries); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ in, want string }{
		{strings.Replace(good, "id: b", "id: c", 1), "c.yaml:4: c: the catalogue has no such hint\nc.yaml: there is no b"},
		{good[:strings.Index(good, "- id: b")], "c.yaml: there is no b"},
		{good + "- id: b\n  title: 题\n  steps: [一]\n", "c.yaml:7: b: the id stands twice"},
		{strings.Replace(good, "steps: [一]", "steps: [一, 二]", 1), "c.yaml:4: b: it has 2 steps, and the catalogue 1"},
		{strings.Replace(good, "题 {host}", "题", 1), `c.yaml:1: a: the title is empty, or has other {names} than the catalogue's: ["{host}"]`},
		{strings.Replace(good, "的 {tag}", "的 {host}", 1), `c.yaml:1: a: step 1 is empty, or has other {names} than the catalogue's: ["{image}" "{tag}"]`},
		{strings.Replace(good, "[一]", "[\"\"]", 1), `c.yaml:4: b: step 1 is empty, or has other {names} than the catalogue's: []`},
	} {
		_, err := loadTranslations("c.yaml", []byte(test.in), entries)
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("load of %q:\ngot  %s\nwant %s", test.in, got, test.want)
		}
	}
	// Conditions and patches have one home; a second copy would drift.
	_, err := loadTranslations("c.yaml", []byte(good+"  patch: x\n"), entries)
	if got := fmt.Sprint(err); !strings.Contains(got, `unknown field "patch"`) {
		t.Errorf("load with a patch: %s", got)
	}
}
