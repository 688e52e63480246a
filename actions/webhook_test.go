package actions_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/actions"
)

// The vector is GitHub's own. What is signed otherwise, or by a secret that is no longer there, and passes turns this red.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func TestSigned(t *testing.T) {
	const (
		secret = "It's a Secret to Everybody"
		body   = "Hello, World!"
		digits = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	)
	for _, test := range []struct {
		name      string
		secrets   []string
		body      string
		signature string
		want      bool
	}{
		{"GitHub's", []string{secret}, body, "sha256=" + digits, true},
		{"the second of two secrets", []string{"new secret", secret}, body, "sha256=" + digits, true},
		{"the first of two secrets", []string{secret, "new secret"}, body, "sha256=" + digits, true},
		{"in capitals", []string{secret}, body, "sha256=" + strings.ToUpper(digits), true},
		{"another secret", []string{"new secret"}, body, "sha256=" + digits, false},
		{"no secret", nil, body, "sha256=" + digits, false},
		{"another body", []string{secret}, "Hello, World", "sha256=" + digits, false},
		{"cut", []string{secret}, body, "sha256=" + digits[:62], false},
		{"nothing after the name", []string{secret}, body, "sha256=", false},
		{"another digest", []string{secret}, body, "sha1=" + digits, false},
		{"without a name", []string{secret}, body, digits, false},
		{"no digits", []string{secret}, body, "sha256=" + strings.Repeat("x", 64), false},
		{"none", []string{secret}, body, "", false},
	} {
		if got := actions.Signed(test.secrets, []byte(test.body), test.signature); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

func payload(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "webhook", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func asForm(body []byte) []byte { return []byte(url.Values{"payload": {string(body)}}.Encode()) }

// What is read wrongly of a payload as GitHub sends it, or only in one of its two forms, turns this red.
func TestReadDelivery(t *testing.T) {
	run := actions.Delivery{
		Event: "workflow_run", Action: "completed", Repository: "octo-lab/api", RepositoryID: 700001013,
		RunID: 14000000137, Attempt: 2, Conclusion: "failure",
	}
	job := run
	job.Event, job.JobID = "workflow_job", 41000000029
	for _, test := range []struct {
		file, event string
		want        actions.Delivery
		ended       bool
		relists     bool
	}{
		{"workflow_run.completed.json", "workflow_run", run, true, false},
		{"workflow_job.completed.json", "workflow_job", job, true, false},
		{"workflow_job.queued.json", "workflow_job", actions.Delivery{Event: "workflow_job", Action: "queued"}, false, false},
		{"repository.renamed.json", "repository", actions.Delivery{Event: "repository", Action: "renamed"}, false, true},
		{"repository.edited.json", "repository", actions.Delivery{Event: "repository", Action: "edited"}, false, false},
		{"installation_repositories.added.json", "installation_repositories", actions.Delivery{Event: "installation_repositories", Action: "added"}, false, true},
		{"installation_repositories.added.json", "installation", actions.Delivery{Event: "installation", Action: "added"}, false, true},
		{"workflow_run.completed.json", "ping", actions.Delivery{Event: "ping"}, false, false},
		{"workflow_run.completed.json", "push", actions.Delivery{Event: "other"}, false, false},
		{"workflow_run.completed.json", "\xff\n", actions.Delivery{Event: "other"}, false, false},
	} {
		body := payload(t, test.file)
		for name, read := range map[string]func() (actions.Delivery, error){
			"JSON": func() (actions.Delivery, error) { return actions.ReadDelivery(test.event, false, body) },
			"form": func() (actions.Delivery, error) { return actions.ReadDelivery(test.event, true, asForm(body)) },
		} {
			got, err := read()
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%s as %s, %s: %v (-want +got)\n%s", test.file, test.event, name, err, diff)
			}
			if got.Ended() != test.ended || got.Relists() != test.relists {
				t.Errorf("%s as %s: Ended %t, Relists %t", test.file, test.event, got.Ended(), got.Relists())
			}
		}
	}
}

// A payload that says one thing to us and another to who checked it, or ids that GitHub never gives, and that is taken
// turns this red.
func TestReadDeliveryRefuses(t *testing.T) {
	good := `{"action":"completed","repository":{"id":7,"full_name":"octo-lab/api"},"workflow_job":{"id":3,"run_id":2,"run_attempt":1,"conclusion":"failure"}}`
	if _, err := actions.ReadDelivery("workflow_job", false, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{"cut", `}}`, `}`, "EOF"},
		{"two objects", `}}`, `}}{}`, "something stands after"},
		{"a list", good, `[` + good + `]`, "not a JSON object"},
		{"nothing", good, ``, "not a JSON object"},
		{"null", good, `null`, "not a JSON object"},
		{"action twice", `"repository"`, `"action":"completed","repository"`, "action stands there twice"},
		{"repository twice", `"workflow_job"`, `"repository":{"id":8},"workflow_job"`, "repository stands there twice"},
		{"id twice", `"run_id":2`, `"run_id":2,"id":4`, "id stands there twice"},
		{"id twice, escaped", `"run_id":2`, `"run_id":2,"\u0069d":4`, "id stands there twice"},
		{"id in capitals", `"id":3`, `"ID":3`, "out of range"},
		{"negative id", `"id":3`, `"id":-3`, "out of range"},
		{"no id", `"id":3`, `"id":null`, "out of range"},
		{"huge id", `"id":3`, `"id":9223372036854775808`, "id is of another type, or too large"},
		{"broken id", `"id":3`, `"id":3.5`, "id is of another type, or too large"},
		{"id in quotes", `"id":3`, `"id":"3"`, "id is of another type, or too large"},
		{"no run", `"run_id":2,`, ``, "out of range"},
		{"negative attempt", `"run_attempt":1`, `"run_attempt":-1`, "out of range"},
		{"conclusion", `"failure"`, `"failure\n"`, "out of range"},
		{"action", `"completed"`, `"` + strings.Repeat("x", 1<<20) + `"`, "action: not a word"},
		{"no repository", `"repository"`, `"repositories"`, "repository: not a JSON object"},
		{"no id of the repository", `"id":7,`, ``, "repository: no id"},
		{"path in the name", `octo-lab/api`, `octo-lab/api/../web`, "repository: no id, or no name"},
		{"dots for a name", `octo-lab/api`, `octo-lab/..`, "repository: no id, or no name"},
		{"no job", `"workflow_job"`, `"workflow_run"`, "workflow_job: not a JSON object"},
		{"deep", `"failure"`, strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000), "exceeded max depth"},
		{"deep and passed over", `"repository"`, `"x":` + strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000) + `,"repository"`, "exceeded max depth"},
	} {
		body := strings.Replace(good, test.old, test.new, 1)
		for form, body := range map[bool]string{false: body, true: string(asForm([]byte(body)))} {
			got, err := actions.ReadDelivery("workflow_job", form, []byte(body))
			if err == nil || !strings.Contains(err.Error(), test.want) || got != (actions.Delivery{Event: "workflow_job"}) {
				t.Errorf("%s: %+v, %v, want %s", test.name, got, err, test.want)
			}
		}
	}
	for _, form := range []string{"", "payload", "payload=%zz", "payload=" + url.QueryEscape(good) + "&payload=" + url.QueryEscape(good), good} {
		if _, err := actions.ReadDelivery("workflow_job", true, []byte(form)); err == nil || strings.Contains(err.Error(), "zz") {
			t.Errorf("form %.40q: %v", form, err)
		}
	}
}

// A body that ends the program, or that makes work of what could not be asked for, turns this red.
func FuzzReadDelivery(f *testing.F) {
	for _, name := range []string{"workflow_run.completed.json", "workflow_job.completed.json", "repository.renamed.json"} {
		body := payload(f, name)
		event, _, _ := strings.Cut(name, ".")
		f.Add(event, false, body)
		f.Add(event, true, asForm(body))
	}
	f.Fuzz(func(t *testing.T, event string, form bool, body []byte) {
		d, err := actions.ReadDelivery(event, form, body)
		if err != nil && d.Ended() {
			t.Errorf("%v, and it tells of run %d", err, d.RunID)
		}
		if d.Ended() && (d.RunID < 0 || d.JobID < 0 || d.RepositoryID <= 0 || strings.Count(d.Repository, "/") != 1 || d.Action != "completed") {
			t.Errorf("%+v", d)
		}
	})
}
