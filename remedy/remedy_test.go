package remedy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/akkospace/pushdoctor"
	"github.com/goccy/go-yaml"
	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite testdata and docs/causes.md")

// The ranked ids for findings of all kinds. A changed confidence that moves a hint shows here.
func TestAdvise(t *testing.T) {
	const file = "testdata/advise.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(archive.Files)%2 != 0 || len(archive.Files) < 60 {
		t.Fatalf("%s has %d files, want pairs of NAME.json and NAME.want, 30 at least", file, len(archive.Files))
	}
	for i := 0; i < len(archive.Files); i += 2 {
		in, want := archive.Files[i], &archive.Files[i+1]
		name := strings.TrimSuffix(in.Name, ".json")
		if want.Name != name+".want" {
			t.Fatalf("%s is followed by %s", in.Name, want.Name)
		}
		var c struct {
			Finding pushdoctor.Finding
			Facts   pushdoctor.Facts
		}
		d := json.NewDecoder(bytes.NewReader(in.Data))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			t.Fatalf("%s: %v", in.Name, err)
		}
		var got strings.Builder
		for _, h := range Advise(c.Finding, c.Facts, English) {
			fmt.Fprintf(&got, "%.2f %s %s\n", h.Confidence, h.ID, h.Cause)
		}
		if *update {
			want.Data = []byte(got.String())
		} else if diff := gocmp.Diff(string(want.Data), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// A finding without a hint, hints out of order, and a first hint that gives rights to more than
// the job turn it red, for every pair of cause and registry.
func TestAdviseHoldsItsPromises(t *testing.T) {
	widens := map[string]bool{}
	for _, e := range builtin() {
		widens[e.ID.text] = e.Widens
	}
	seen := map[string]bool{}
	check := func(f pushdoctor.Finding, facts pushdoctor.Facts) {
		t.Helper()
		hints := Advise(f, facts, English)
		if len(hints) == 0 || len(hints) > maxHints {
			t.Fatalf("%s at %s has %d hints", f.Cause, f.Registry, len(hints))
		}
		if widens[hints[0].ID] {
			t.Errorf("%s at %s: the first hint, %s, widens rights beyond the job", f.Cause, f.Registry, hints[0].ID)
		}
		if !slices.IsSortedFunc(hints, func(a, b pushdoctor.Hint) int { return cmp.Compare(b.Confidence, a.Confidence) }) {
			t.Errorf("%s at %s: hints out of order", f.Cause, f.Registry)
		}
		for _, h := range hints {
			seen[h.ID] = true
		}
	}
	for _, cause := range append(slices.Clone(pushdoctor.Causes), "a_cause_of_tomorrow", "") {
		for _, registry := range pushdoctor.Registries {
			for _, operation := range pushdoctor.Operations {
				for _, packages := range []string{"", "none", "write"} {
					facts := pushdoctor.Facts{}
					if packages != "" {
						facts.Token = map[string]string{"packages": packages}
					}
					check(pushdoctor.Finding{Cause: cause, Registry: registry, Operation: operation, Client: "docker"}, facts)
				}
			}
			for _, source := range []string{"None", "Dependabot"} {
				for _, client := range pushdoctor.Clients {
					check(pushdoctor.Finding{Cause: cause, Registry: registry, Client: client, Operation: "push"}, pushdoctor.Facts{SecretSource: source})
				}
			}
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d hints were ever given", len(seen))
	}
}

// In a run of a fork or of Dependabot no permissions block helps: it must not be advised.
func TestNoPermissionsForForks(t *testing.T) {
	for _, test := range []struct{ source, want string }{
		{"None", "ghcr-fork-no-push"},
		{"Dependabot", "ghcr-dependabot-no-push"},
	} {
		for _, cause := range []pushdoctor.Cause{"workflow_permission_missing", "permission_denied", "package_creation_denied"} {
			hints := Advise(pushdoctor.Finding{Cause: cause, Registry: "ghcr", Operation: "push", Client: "buildx", Status: 403},
				pushdoctor.Facts{SecretSource: test.source, Token: map[string]string{"packages": "read"}}, English)
			if hints[0].ID != test.want {
				t.Errorf("%s, secret source %s: first hint %s, want %s", cause, test.source, hints[0].ID, test.want)
			}
			for _, h := range hints {
				if strings.Contains(h.Patch, "packages: write") {
					t.Errorf("%s, secret source %s: %s patches permissions", cause, test.source, h.ID)
				}
			}
		}
	}
}

// A block that drops a right of the job, or names a key that workflows do not know, breaks the job.
func TestPermissionsPatch(t *testing.T) {
	for _, test := range []struct {
		token map[string]string
		want  map[string]string
	}{
		{nil, map[string]string{"contents": "read", "packages": "write"}},
		{map[string]string{"contents": "read", "metadata": "read", "packages": "none"}, map[string]string{"contents": "read", "packages": "write"}},
		{
			map[string]string{"contents": "write", "id-token": "write", "packages": "read", "pull-requests": "write", "organization-packages": "write"},
			map[string]string{"contents": "write", "id-token": "write", "packages": "write", "pull-requests": "write"},
		},
		{map[string]string{"contents": "read\n  actions: write", "packages": "none"}, map[string]string{"packages": "write"}},
	} {
		hints := Advise(pushdoctor.Finding{Cause: "workflow_permission_missing", Registry: "ghcr"}, pushdoctor.Facts{Token: test.token}, English)
		var got struct{ Permissions map[string]string }
		if hints[0].ID != "ghcr-job-permissions" {
			t.Fatalf("first hint %s", hints[0].ID)
		}
		if err := yaml.UnmarshalWithOptions([]byte(hints[0].Patch), &got, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(test.want, got.Permissions); diff != "" {
			t.Errorf("token %v (-want +got):\n%s", test.token, diff)
		}
	}
}

// Answers of the guide that this program grew out of, which do harm: a text may name them only to
// advise against them, and each must be named.
func TestAdvisedAgainst(t *testing.T) {
	for _, harm := range []string{
		"approve pull requests", "make the repository public", "docker system prune", "Read and write permissions",
		"pull_request_target", "chmod 666",
	} {
		named := false
		for _, e := range builtin() {
			for _, step := range e.Steps {
				if strings.Contains(step, harm) {
					named = true
					if !strings.HasPrefix(step, "Do not ") || !strings.Contains(step, ":") {
						t.Errorf("%s advises %q, or gives no reason against it: %s", e.ID.text, harm, step)
					}
				}
			}
			if strings.Contains(e.Patch+e.PatchBuildx+e.Title, harm) {
				t.Errorf("%s advises %q", e.ID.text, harm)
			}
		}
		if !named {
			t.Errorf("no hint advises against %q", harm)
		}
	}
}

// Hosts of documentation and status pages, so that no hint leads to a page of somebody else.
var docHosts = []string{
	"docs.github.com", "github.com", "docs.docker.com", "docs.aws.amazon.com", "cloud.google.com", "learn.microsoft.com",
	"docs.gitlab.com", "docs.quay.io", "www.githubstatus.com", "status.docker.com",
}

// A patch that is no YAML, a hint that does not say how to verify it, a text with a line end in it.
func TestCatalogue(t *testing.T) {
	entries, err := load("catalogue.en.yaml", english)
	if err != nil {
		t.Fatal(err)
	}
	cured := map[pushdoctor.Cause]bool{}
	empty := &situation{}
	for _, e := range entries {
		cured[e.Cause] = true
		if last := e.Steps[len(e.Steps)-1]; !strings.HasPrefix(last, "Verify: ") {
			t.Errorf("%s: the last step does not verify: %s", e.ID.text, last)
		}
		for _, text := range append(slices.Clone(e.Steps), e.Title) {
			if strings.ContainsAny(text, "\n\r`") || text != strings.TrimSpace(text) || strings.Contains(text, "::") {
				t.Errorf("%s: %q", e.ID.text, text)
			}
		}
		for _, r := range e.For {
			if e.Widens && r.confidence > 0.1 {
				t.Errorf("%s widens rights and has confidence %v", e.ID.text, r.confidence)
			}
		}
		if len(e.Docs) == 0 {
			t.Errorf("%s has no address to read", e.ID.text)
		}
		for _, doc := range e.Docs {
			if u, err := url.Parse(doc); err != nil || !slices.Contains(docHosts, u.Host) {
				t.Errorf("%s: %s", e.ID.text, doc)
			}
		}
		for _, patch := range []string{empty.fill(e.Patch), empty.fill(e.PatchBuildx)} {
			var v any
			if err := yaml.Unmarshal([]byte(patch), &v); err != nil && !strings.HasPrefix(patch, "# in a shell") {
				t.Errorf("%s: patch: %v", e.ID.text, err)
			}
		}
	}
	for _, cause := range pushdoctor.Causes {
		if !cured[cause] && cause != pushdoctor.CauseUnknown {
			t.Errorf("no hint cures %s", cause)
		}
	}
}

func TestLoadNamesEachFault(t *testing.T) {
	const good = "- id: a\n  cause: timeout\n  title: T\n  steps: [a, b]\n  for: [{cause: [timeout], confidence: 0.5}]\n"
	if _, err := load("c.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ in, want string }{
		{strings.Replace(good, "[timeout], c", "[timeout], registry: [ghrc], c", 1), `c.yaml:5: a: unknown word "ghrc" for registry`},
		{strings.Replace(good, "[timeout], c", "[timeout], registrys: [ghcr], c", 1), `c.yaml:5: a: unknown key "registrys"`},
		{strings.Replace(good, "[timeout], c", "[timeout], status: [42], c", 1), `c.yaml:5: a: "42" is no HTTP status`},
		{strings.Replace(good, "[timeout], c", "[timeout], message: [\"EOF\"], c", 1), `c.yaml:5: a: message "EOF" is not lower case of three bytes or more`},
		{strings.Replace(good, "[timeout], c", "timeout, c", 1), `c.yaml:5: a: cause is a list of words`},
		{strings.Replace(good, "0.5", "1.5", 1), `c.yaml:5: a: confidence is a number from 0 to 1`},
		{strings.Replace(good, "cause: [timeout], ", "registry: [ghcr], ", 1), `c.yaml:5: a: a row names its causes`},
		{strings.Replace(good, "cause: timeout\n", "cause: slow\n", 1), `c.yaml:1: a: unknown cause "slow"`},
		{strings.Replace(good, "title: T", "title: \"T {hots}\"", 1), `c.yaml:1: a: unknown name {hots}`},
		{good + "  patch_clients: [dokcer]\n", `c.yaml:1: a: unknown client "dokcer"`},
		{strings.Replace(good, "steps: [a, b]", "steps: [a]", 1), `c.yaml:1: a: a hint has a title, two steps or more and a row under for`},
		{good + "  docs: [\"http://example.test\"]\n", `c.yaml:1: a: "http://example.test" is no https address`},
		{good + good, `c.yaml:6: a: the id stands twice`},
	} {
		_, err := load("c.yaml", []byte(test.in))
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("load of %q:\ngot  %s\nwant %s", test.in, got, test.want)
		}
	}
	// The library words this one; it must name the key and the line.
	_, err := load("c.yaml", []byte(good+"  stepz: [a]\n"))
	if got := fmt.Sprint(err); !strings.Contains(got, `unknown field "stepz"`) || !strings.Contains(got, "[6:") {
		t.Errorf("load with an unknown key: %s", got)
	}
}

// Nobody can paste docker push where another client pushed: there is no such image in docker's store.
func TestPatchFitsClient(t *testing.T) {
	pushes := map[pushdoctor.Client]map[string]bool{}
	for _, client := range pushdoctor.Clients {
		pushes[client] = map[string]bool{}
		for _, cause := range pushdoctor.Causes {
			hints := Advise(pushdoctor.Finding{Cause: cause, Registry: "ghcr", Host: "ghcr.io", Image: "ghcr.io/octo-lab/api:dev", Client: client, Operation: "push"}, pushdoctor.Facts{}, English)
			for _, h := range hints {
				for _, tool := range []string{"docker", "podman"} {
					if strings.Contains(h.Patch, tool+" push ghcr.io/octo-lab/api:dev") {
						pushes[client][tool] = true
					}
				}
			}
		}
	}
	want := map[pushdoctor.Client]map[string]bool{}
	for _, client := range pushdoctor.Clients {
		want[client] = map[string]bool{}
	}
	want["docker"]["docker"], want["compose"]["docker"], want["podman"]["podman"] = true, true, true
	want["buildx"]["docker"] = true // of what --load put into docker's store
	if diff := gocmp.Diff(want, pushes); diff != "" {
		t.Errorf("patches that push (-want +got):\n%s", diff)
	}
}

// The words of rows about logins are those of classifier's rules: a login that was refused elsewhere is no login there.
func TestLogin(t *testing.T) {
	elsewhere := pushdoctor.Login{Host: "docker.io"}
	for _, test := range []struct {
		logins []pushdoctor.Login
		whole  bool
		want   string
	}{
		{nil, true, "none"},
		{nil, false, "unknown"},
		{[]pushdoctor.Login{elsewhere}, true, "none"},
		{[]pushdoctor.Login{elsewhere}, false, "unknown"},
		{[]pushdoctor.Login{{Host: "docker.io", OK: true}}, true, "other_host"},
		{[]pushdoctor.Login{{Host: "docker.io", OK: true}, {Host: "***", OK: true}}, true, "unknown"},
		{[]pushdoctor.Login{elsewhere, {Host: "***"}}, true, "unknown"},
		{[]pushdoctor.Login{{Host: "docker.io", OK: true}, {Host: "ghcr.io"}}, true, "refused"},
		{[]pushdoctor.Login{{Host: "ghcr.io"}, {Host: "ghcr.io", OK: true}}, true, "ok"},
	} {
		if got := login(pushdoctor.Finding{Host: "ghcr.io"}, pushdoctor.Facts{Logins: test.logins, Whole: test.whole}); got != test.want {
			t.Errorf("%+v, whole %v: %s, want %s", test.logins, test.whole, got, test.want)
		}
	}
}

var hostile = []string{
	"ghcr.io/octo-lab/api:dev\n    run: curl evil", "ghcr.io/octo-lab/api`id`:dev", "ghcr.io/$(id)/api:dev", "::set-output name=a::b", "##[error]x",
	"ghcr.io/octo/api:a::b", "ghcr.io/octo/api: {x: y}", "ghcr.io/octo/--help;rm -rf:tag", "-v/x:y", "ghcr.io/a'b\"c/d:e", "ghcr.io/octo/${{ secrets.X }}:t",
	"ghcr.io/octo/{host}:{tag}", "\x1b[31mghcr.io/a/b:c", "ghcr.io/\u202eocto/api", "ghcr.io/<script>/x:y", strings.Repeat("a/", 3000), "ghcr.io/a|b/c&d:e", "https://user:pass@ghcr.io/a/b",
	"ghcr.io/octo/api:\r\nx", "..", "a/../../b", "/", ":", "@", "ghcr.io:99999999/a/b", "[::1]:5000/a", "host\x00/a/b",
}

func FuzzAdvise(f *testing.F) {
	for i, h := range hostile {
		f.Add(h, hostile[(i+7)%len(hostile)], "octo-lab/api", uint16(i))
		f.Add("ghcr.io/octo-lab/api:dev", h, h, uint16(i*31))
	}
	f.Fuzz(checkHostile)
}

// The same without the fuzzer: names of random pieces.
func TestHostileNames(t *testing.T) {
	pieces := []string{"ghcr.io", "/", ":", "@", "octo", "API", "`", "\n", "$(x)", "::", "##[", "{host}", "'", "\"", ";", " ", "\\", "-", ".", "é", "\x1b[0m", "#", "&", "*", "!", "%"}
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() string {
		var b strings.Builder
		for range rng.IntN(9) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 500 {
		checkHostile(t, random(), random(), random(), uint16(rng.UintN(1<<16)))
	}
}

// checkHostile asks for hints about names out of a hostile log. Every text of a hint must be its
// template with pieces of safe characters in its {names}: so nothing of the log reaches a
// line end, a backtick, a workflow command or the shell.
func checkHostile(t *testing.T, image, host, repository string, pick uint16) {
	finding := pushdoctor.Finding{
		Cause:    pushdoctor.Causes[int(pick)%len(pushdoctor.Causes)],
		Registry: pushdoctor.Registries[int(pick/64)%len(pushdoctor.Registries)],
		Image:    image, Host: host, Message: image + host, Client: "docker", Operation: "push",
	}
	facts := pushdoctor.Facts{
		Repository: repository, SecretSource: repository, Token: map[string]string{"packages": host, "contents": image},
		Logins: []pushdoctor.Login{{Host: host, User: image, OK: true}}, Pushed: []string{image},
	}
	for _, language := range languages {
		for _, h := range Advise(finding, facts, language) {
			at := slices.IndexFunc(builtin(), func(e entry) bool { return e.ID.text == h.ID })
			e := builtin()[at]
			title, steps := e.in(language)
			got := append([]string{h.Title, h.Patch}, h.Steps...)
			for i, template := range append([]string{title, e.Patch}, steps...) {
				if !inert(template).MatchString(got[i]) {
					t.Errorf("image %q, host %q: %s says %q", image, host, h.ID, got[i])
				}
				if strings.Contains(got[i], "::") || strings.Contains(got[i], "##[") {
					t.Errorf("image %q, host %q: %s holds a workflow command: %q", image, host, h.ID, got[i])
				}
			}
		}
	}
}

var inertOf = map[string]*regexp.Regexp{}

func inert(template string) *regexp.Regexp {
	if re := inertOf[template]; re != nil {
		return re
	}
	var b strings.Builder
	b.WriteString(`\A`)
	rest := template
	for _, at := range slot.FindAllStringIndex(template, -1) {
		text := template[at[0]:at[1]]
		b.WriteString(regexp.QuoteMeta(template[len(template)-len(rest) : at[0]]))
		switch {
		case text == "{permissions}":
			b.WriteString(`permissions:(\n  [a-z-]+: (read|write))+`)
		case strings.HasPrefix(text, "{{"):
			b.WriteString(regexp.QuoteMeta(text))
		default:
			b.WriteString(`[A-Za-z0-9_][A-Za-z0-9_.:/%-]*`)
		}
		rest = template[at[1]:]
	}
	b.WriteString(regexp.QuoteMeta(rest) + `\z`)
	inertOf[template] = regexp.MustCompile(b.String())
	return inertOf[template]
}

const causesPage = "../docs/causes.md"

// The page must name every cause, in the order of the set, and every hint that cures it.
func TestCausesPage(t *testing.T) {
	page, err := os.ReadFile(causesPage)
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?s)<!-- hints ([a-z_]+) -->\n.*?<!-- end -->`)
	var causes []pushdoctor.Cause
	got := list.ReplaceAllStringFunc(string(page), func(s string) string {
		cause := pushdoctor.Cause(list.FindStringSubmatch(s)[1])
		causes = append(causes, cause)
		if !strings.Contains(string(page), "\n## "+string(cause)+"\n") {
			t.Errorf("%s has no heading", cause)
		}
		lines := []string{fmt.Sprintf("<!-- hints %s -->", cause)}
		for _, e := range builtin() {
			if e.Cause == cause {
				lines = append(lines, fmt.Sprintf("- %s (`%s`)", (&situation{}).fill(e.Title), e.ID.text))
			}
		}
		return strings.Join(append(lines, "<!-- end -->"), "\n")
	})
	if diff := gocmp.Diff(pushdoctor.Causes, causes); diff != "" {
		t.Errorf("causes of %s (-want +got):\n%s", causesPage, diff)
	}
	if *update {
		if err := os.WriteFile(causesPage, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(string(page), got); diff != "" {
		t.Errorf("%s is behind the catalogue; run go test ./remedy -update (-page +catalogue):\n%s", causesPage, diff)
	}
}

func BenchmarkAdvise(b *testing.B) {
	f := pushdoctor.Finding{Cause: "permission_denied", Registry: "ghcr", Host: "ghcr.io", Image: "ghcr.io/octo-lab/api:dev", Client: "buildx", Operation: "upload", Status: 403,
		Message: "unexpected status from POST request to https://ghcr.io/v2/octo-lab/api/blobs/uploads/: 403 Forbidden"}
	facts := pushdoctor.Facts{Token: map[string]string{"contents": "read", "packages": "none"}, Repository: "octo-lab/api"}
	b.ReportAllocs()
	for b.Loop() {
		Advise(f, facts, English)
	}
}
