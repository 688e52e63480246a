package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// unknown is a reading with one finding of a message that no rule knows.
func unknown(ago time.Duration, image, line, message string) store.Reading {
	r := reading("octo-lab/api", ago, pushdoctor.CauseUnknown, 1)
	f := &r.Findings[0]
	f.Image, f.Message, f.Rule, f.Confidence, f.Client, f.Status = image, message, "", 0.55, pushdoctor.ClientDocker, 0
	f.Evidence[0].Text = line
	return r
}

// unknowns are two families, the more frequent of which came first, and one that holds nothing but names and numbers.
func unknowns() []store.Reading {
	gate := func(ago time.Duration, tag, id string) store.Reading {
		image := "ghcr.io/octo-lab/api:" + tag
		message := "the gate ##[of] \"" + id + "\" is closed for " + image + " until 1" + tag + ":00"
		return unknown(ago, image, "ERROR: failed to push "+image+": "+message, message)
	}
	return []store.Reading{
		gate(50*time.Hour, "1", "req-8f3a0b"),
		gate(40*time.Hour, "2", "req-77c1ff"),
		unknown(30*time.Hour, "ghcr.io/octo-lab/web", "blob store reports moonquake 77", "blob store reports moonquake 77"),
		gate(20*time.Hour, "3", "req-000000"),
		unknown(10*time.Hour, "ghcr.io/octo-lab/web", "denied: 7f", "denied: 7f"),
	}
}

var skeletonID = regexp.MustCompile(`(?m)^  - id: (.*)$`)

// Red where names or numbers keep two messages apart, where the order is another, where the file is accepted as it comes,
// and where it is not when a person has filled it in.
func TestSimilar(t *testing.T) {
	keep(t, unknowns()...)
	got := findings(t, "--cause", "unknown", "--similar")
	if got.status != 1 || !strings.Contains(got.stderr, "5 findings") || !strings.Contains(got.stderr, "3 messages") {
		t.Fatalf("status %d: %s", got.status, got.stderr)
	}
	var seen []string
	for _, m := range regexp.MustCompile(`(?m)^  # (?:(\d+ findings?),|message: (.*)|(No skeleton))`).FindAllStringSubmatch(got.stdout, -1) {
		seen = append(seen, m[1]+m[2]+m[3])
	}
	want := []string{
		"3 findings", `the gate # #[of] <name> is closed for <name> until <n>`,
		"1 finding", "denied: <n>", "No skeleton",
		"1 finding", "blob store reports moonquake <n>",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("families (-want +got):\n%s\n%s", diff, got.stdout)
	}
	var rules []string
	for _, m := range skeletonID.FindAllStringSubmatch(got.stdout, -1) {
		rules = append(rules, m[1])
	}
	if diff := cmp.Diff([]string{"the-gate-of", "blob-store-reports-moonquake"}, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	check := func(content string) end {
		if err := os.WriteFile("own.yaml", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return call{args: []string{"rules", "check", "own.yaml"}}.run(t)
	}
	if c := check(got.stdout); c.status != 1 || strings.Count(c.stdout, `unknown cause "TODO"`) != 2 {
		t.Errorf("rules check as it comes: status %d\n%s", c.status, c.stdout)
	}
	if c := check(filled(got.stdout)); c.status != 0 {
		t.Errorf("rules check of what is filled in: status %d\n%s%s", c.status, c.stdout, got.stdout)
	}
	// And the rules then know the findings that they were drawn from.
	again := call{args: []string{"reclassify"}, env: []string{"PUSHDOCTOR_CLASSIFY_RULES=own.yaml"}}.run(t)
	if again.status != 0 || again.stdout != "unknown -> policy_denied  4\n" {
		t.Errorf("reclassify: status %d\n%s%s", again.status, again.stdout, again.stderr)
	}
}

// filled is a rule file as a person fills it in.
func filled(file string) string {
	return strings.NewReplacer("cause: TODO", "cause: policy_denied", "why: TODO", "why: Our gate says so.", `miss: ["TODO"]`, `miss: ["the moon is open"]`).Replace(file)
}

// Red where --similar gives a shape that was not asked for, or takes a store without findings for an error.
func TestSimilarOfNothing(t *testing.T) {
	keep(t, reading("octo-lab/api", time.Hour, pushdoctor.CauseTimeout, 1))
	if got := findings(t, "--cause", "unknown", "--similar"); got.status != 0 || got.stdout != "" {
		t.Errorf("status %d: %q", got.status, got.stdout)
	}
	if got := findings(t, "--similar", "--format", "json"); got.status != 2 {
		t.Errorf("--format json: status %d: %q", got.status, got.stderr)
	}
}

// Each row is red where what differs between two messages of one family stays, or what makes them two is taken out.
func TestShapeOf(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"Unexpected answer 418 from https://registry.example.test/v2/a/blobs/uploads/?_state=x", "unexpected answer <n> from <url>"},
		{"blob sha256:0123456789abcdef0123 is torn", "blob <hash> is torn"},
		{"request 6f1c2f6e-58a0-4b0c-9a51-0f2b5c1d9e7a refused", "request <hash> refused"},
		{"no room for ghcr.io/octo-lab/api:1 in octo-lab/api", "no room for <name> in <name>"},
		{`tag "v1.2" of registry.example.test:5000/octo/x is held`, "tag <name> of <name> is held"},
		{"password *** at 12:30:05 was <redacted>", "password <secret> at <n> was <secret>"},
		{"can't read or write: it isn't there", "can't read or write: it isn't there"},
	} {
		if got := shapeOf(pushdoctor.Finding{Image: "ghcr.io/octo-lab/api:1", Host: "ghcr.io", Message: test.in}); got != test.want {
			t.Errorf("shapeOf(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}
