package classifier_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
)

// Red where the rules that made a finding see another one in what is kept of it: every reclassify would then spoil the store.
func TestJudgeChangesNothingUnderTheSameRules(t *testing.T) {
	for _, c := range cases(t, "found") {
		report := classify(t, c.log())
		for _, f := range report.Findings {
			for name, facts := range map[string]pushdoctor.Facts{"its": report.Facts, "no": {}} {
				if got, changed := classifier.Builtin().Judge(f, facts); changed || !cmp.Equal(f, got) {
					t.Errorf("%s with %s facts: changed %t (-want +got):\n%s", c.file, name, changed, cmp.Diff(f, got))
				}
			}
		}
	}
}

// forgotten is a finding of rules that did not know the answer.
func forgotten(f pushdoctor.Finding) pushdoctor.Finding {
	f.Rule, f.Cause, f.Confidence = "", pushdoctor.CauseUnknown, 0.55
	return f
}

// Red where Judge makes up a cause that the whole log refutes, where it knows none of what the line alone says, where it
// is of two minds the second time, and where it touches what no rule may.
func TestJudgeOfWhatWasUnknown(t *testing.T) {
	less := []pushdoctor.Cause{pushdoctor.CauseUnknown, pushdoctor.CauseUnauthorized, pushdoctor.CausePermissionDenied}
	ruled := cmpopts.IgnoreFields(pushdoctor.Finding{}, "Cause", "Confidence", "Rule", "Status", "StatusSource", "Evidence")
	all, found := 0, 0
	for _, c := range cases(t, "found") {
		report := classify(t, c.log())
		for _, f := range report.Findings {
			if f.Rule == "" {
				continue
			}
			all++
			old := forgotten(f)
			got, changed := classifier.Builtin().Judge(old, report.Facts)
			if changed == cmp.Equal(old, got) {
				t.Errorf("%s: changed %t:\n%s", c.file, changed, cmp.Diff(old, got))
			}
			if got.Cause == f.Cause {
				found++
			} else if !slices.Contains(less, got.Cause) {
				t.Errorf("%s: %s by %s, the whole log says %s by %s", c.file, got.Cause, got.Rule, f.Cause, f.Rule)
			}
			if diff := cmp.Diff(f, got, ruled); diff != "" || len(got.Evidence) < len(f.Evidence) || !cmp.Equal(got.Evidence[:len(f.Evidence)], f.Evidence) {
				t.Errorf("%s: no rule says that (-want +got):\n%s", c.file, diff)
			}
			if again, changed := classifier.Builtin().Judge(got, report.Facts); changed {
				t.Errorf("%s: the second time (-first +second):\n%s", c.file, cmp.Diff(got, again))
			}
		}
	}
	if found*5 < all*4 {
		t.Errorf("%d of %d causes found again, want four in five", found, all)
	}
}

const ownRule = `rules:
  - id: own-gate
    literal: "the gate is shut"
    cause: policy_denied
    confidence: 0.8
    says: {status: 403}
    why: Our gate.
    match: ["ERROR: failed to push registry.example.test/octo/api:1: the gate is shut"]
    miss: ["the gate is open"]
`

func load(t *testing.T, file string) *classifier.Rules {
	t.Helper()
	r, err := classifier.Load(classifier.File{Name: "own.yaml", Data: []byte(file)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each row is red where Judge does to a kept finding what its name denies.
func TestJudge(t *testing.T) {
	finding := func(cause pushdoctor.Cause, rule string, lines ...string) pushdoctor.Finding {
		f := pushdoctor.Finding{
			Registry: pushdoctor.RegistryOther, Host: "registry.example.test", Image: "registry.example.test/octo/api:1", Client: pushdoctor.ClientBuildx,
			Operation: pushdoctor.OperationPush, StatusSource: pushdoctor.StatusNone, Cause: cause, Confidence: 0.55, Line: 10, Rule: rule,
		}
		for i, line := range lines {
			f.Evidence = append(f.Evidence, pushdoctor.Evidence{Kind: pushdoctor.EvidenceAnswer, Line: 10 + i, Text: line})
		}
		return f
	}
	const (
		shut  = "ERROR: failed to push registry.example.test/octo/api:1: the gate is shut"
		plain = "ERROR: failed to push registry.example.test/octo/api:1: closed"
		login = "ERROR: failed to push registry.example.test/octo/api:1: unexpected status from POST request to https://registry.example.test/v2/octo/api/blobs/uploads/: 401 Unauthorized"
	)
	long := plain + strings.Repeat(" and so on", 40)
	for _, test := range []struct {
		name, rules string
		in          pushdoctor.Finding
		cause       pushdoctor.Cause
		rule        string
		status      int
	}{
		{"a user's rule knows what was unknown", ownRule, finding("unknown", "", shut), "policy_denied", "own-gate", 403},
		{"a user's rule knows it in a line that did not decide", ownRule, finding("unknown", "", plain, shut), "policy_denied", "own-gate", 403},
		{"a user's rule goes before the one that decided", ownRule, finding("registry_unavailable", "lost-eof", shut), "policy_denied", "own-gate", 403},
		{"words that are not kept leave a cause", ownRule, finding("timeout", "gone-rule", plain), "timeout", "gone-rule", 0},
		{"the cut end of a line leaves a cause", ownRule, finding("policy_denied", "own-gate", long), "policy_denied", "own-gate", 0},
		{"no line leaves a cause", ownRule, finding("timeout", "gone-rule"), "timeout", "gone-rule", 0},
		{"a status does not undo what a fact proved", "rules: []", finding("credentials_missing", "login-missing", login), "credentials_missing", "login-missing", 0},
		{"a rule's cause was corrected", strings.Replace(ownRule, "policy_denied", "quota_exceeded", 1), finding("policy_denied", "own-gate", shut), "quota_exceeded", "own-gate", 0},
		{"a whole line may say less where the rule that said more is behind", strings.Replace(ownRule, "policy_denied", "permission_denied", 1), finding("timeout", "lost-eof", shut), "permission_denied", "own-gate", 403},
		{"a rule that asks for the step's lines decides nothing", strings.Replace(ownRule, "says: {status: 403}", "when: {push: [asked]}", 1), finding("unknown", "", shut), "unknown", "", 0},
	} {
		got, changed := load(t, test.rules).Judge(test.in, pushdoctor.Facts{})
		if got.Cause != test.cause || got.Rule != test.rule || got.Status != test.status || changed == cmp.Equal(got, test.in) {
			t.Errorf("%s: %s by %q with status %d, changed %t", test.name, got.Cause, got.Rule, got.Status, changed)
		}
	}
}

// Red where a fact that is in the store does not count, or where the line that proves it is not quoted.
func TestJudgeByTheFacts(t *testing.T) {
	token := pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: 3, Text: "Packages: read"}
	facts := pushdoctor.Facts{Token: map[string]string{"packages": "read"}, TokenLine: token, Whole: true}
	f := pushdoctor.Finding{
		Registry: pushdoctor.RegistryGHCR, Host: "ghcr.io", Image: "ghcr.io/octo-lab/api", Client: pushdoctor.ClientDocker, Operation: pushdoctor.OperationPush,
		StatusSource: pushdoctor.StatusNone, Line: 10, Message: "denied: installation not allowed to Create organization package",
		Evidence: []pushdoctor.Evidence{{Kind: pushdoctor.EvidenceAnswer, Line: 10, Text: "denied: installation not allowed to Create organization package"}},
	}
	got, changed := classifier.Builtin().Judge(forgotten(f), facts)
	if !changed || got.Cause != pushdoctor.CauseWorkflowPermissionMissing || got.Rule != "token-lacks-packages-create" || !cmp.Equal(got.Evidence[1:], []pushdoctor.Evidence{token}) {
		t.Errorf("changed %t: %s by %s on %v", changed, got.Cause, got.Rule, got.Evidence)
	}
}
