package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/google/go-cmp/cmp"
)

// The first hint for failedLog and for a timeout, in both languages.
var hintTitles = map[string]map[string]string{
	"diagnose": {"en": "Let this repository write to the package", "zh": "允许这个仓库写入该包"},
	"findings": {"en": "Try again with pauses, and send less at once", "zh": "间隔重试，并减少同时发送的量"},
}

// Red where a format forgets the language, or has the words of the other one.
func TestDiagnoseLanguage(t *testing.T) {
	write(t, map[string]string{"failed.log": failedLog})
	titles := hintTitles["diagnose"]
	for args, want := range map[string]string{"": "en", "--lang en": "en", "--lang zh": "zh", "--lang zh-CN": "zh", "--lang zh_CN.UTF-8": "zh"} {
		other := map[string]string{"en": "zh", "zh": "en"}[want]
		for _, format := range formats {
			got := diagnose(t, append(strings.Fields(args), "--format", format, "failed.log")...)
			if got.status != 1 || !strings.Contains(got.stdout, titles[want]) || strings.Contains(got.stdout, titles[other]) {
				t.Errorf("%s --format %s: status %d, want the hint %q in\n%s%s", args, format, got.status, titles[want], got.stdout, got.stderr)
			}
		}
	}
}

// Red where the file, the service beside it and the service that --server names answer in different languages.
func TestFindingsLanguage(t *testing.T) {
	keep(t, reading("octo-lab/api", time.Hour, pushdoctor.CauseTimeout, 1))
	title := func(args ...string) string {
		t.Helper()
		got := findings(t, append([]string{"--format", "json"}, args...)...)
		var f struct{ Hints []pushdoctor.Hint }
		if err := json.Unmarshal([]byte(got.stdout), &f); err != nil || len(f.Hints) == 0 {
			t.Fatalf("%v: %v, %+v", args, err, got)
		}
		return f.Hints[0].Title
	}
	want := []string{hintTitles["findings"]["en"], hintTitles["findings"]["en"], hintTitles["findings"]["zh"]}
	each := func(args ...string) []string {
		return []string{title(args...), title(append(args, "--lang", "en")...), title(append(args, "--lang", "zh_CN.UTF-8")...)}
	}
	if diff := cmp.Diff(want, each()); diff != "" {
		t.Errorf("of the file (-want +got):\n%s", diff)
	}
	s := api(t)
	if diff := cmp.Diff(want, each("--server", s.URL)); diff != "" {
		t.Errorf("of the service (-want +got):\n%s", diff)
	}
	beside := call{args: []string{"findings", "--format", "json", "--lang", "zh"}, env: []string{"PUSHDOCTOR_WEB_LISTEN_ADDRESS=" + s.Listener.Addr().String()}}.run(t)
	if !strings.Contains(beside.stdout, want[2]) {
		t.Errorf("of the service beside the file: %+v", beside)
	}
}

// Red where a language that there is not passes for English.
func TestUnknownLanguage(t *testing.T) {
	write(t, map[string]string{"failed.log": failedLog})
	want := end{2, "", "pushdoctor: --lang: unknown language \"de\": it is one of en, zh\n"}
	for name, got := range map[string]end{
		"diagnose": diagnose(t, "--lang", "de", "failed.log"),
		"findings": findings(t, "--lang", "de"),
	} {
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
