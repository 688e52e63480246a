//go:build openapi

package fakegithub_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A description is GitHub's, of its API and webhooks, in OpenAPI 3.0.
type description struct {
	Paths      map[string]map[string]any
	Webhooks   map[string]map[string]any `json:"x-webhooks"`
	Components map[string]any
}

// describe reads the description that make openapi has fetched.
func describe(t *testing.T) *description {
	t.Helper()
	file := os.Getenv("PUSHDOCTOR_OPENAPI")
	if file == "" {
		t.Fatal("PUSHDOCTOR_OPENAPI names no file: run make openapi, which fetches GitHub's description")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Paths) < 500 || len(d.Webhooks) < 100 {
		t.Fatalf("%s describes %d paths and %d webhooks: it is not the API's", file, len(d.Paths), len(d.Webhooks))
	}
	return &d
}

type object = map[string]any

// resolve follows references within the description.
func (d *description) resolve(v any) object {
	o, _ := v.(object)
	for {
		ref, ok := o["$ref"].(string)
		if !ok {
			return o
		}
		at := any(object(d.Components))
		for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/components/"), "/") {
			at = at.(object)[name]
		}
		o = at.(object)
	}
}

// operation returns what is described for a request, and the values of the parameters in its path.
func (d *description) operation(method, path string) (template string, o object, values map[string]string) {
	parts := strings.Split(path, "/")
	best := -1
	for candidate, operations := range d.Paths {
		told := d.resolve(operations[strings.ToLower(method)])
		want := strings.Split(candidate, "/")
		multi := slices.ContainsFunc(d.parameters(told), func(p object) bool { return p["x-multi-segment"] == true })
		if told == nil || len(parts) != len(want) && !(multi && len(parts) > len(want)) {
			continue
		}
		found, literal := map[string]string{}, 0
		for i, w := range want {
			switch {
			case !strings.HasPrefix(w, "{"):
				literal++
				if w != parts[i] {
					found = nil
				}
			case found != nil && multi && i == len(want)-1:
				found[strings.Trim(w, "{}")] = strings.Join(parts[i:], "/")
			case found != nil:
				found[strings.Trim(w, "{}")] = parts[i]
			}
			if found == nil {
				break
			}
		}
		if found != nil && literal > best {
			best, template, o, values = literal, candidate, told, found
		}
	}
	return template, o, values
}

func (d *description) parameters(operation object) (all []object) {
	list, _ := operation["parameters"].([]any)
	for _, p := range list {
		all = append(all, d.resolve(p))
	}
	return all
}

// maxOf reads "(max 100)": the description of per_page has its bound in words only.
var maxOf = regexp.MustCompile(`\(max (\d+)\)`)

// text says what is wrong with the value of a parameter, "" for nothing.
func (d *description) text(parameter object, value string) string {
	schema := d.resolve(parameter["schema"])
	words, _ := parameter["description"].(string)
	var v any = value
	switch schema["type"] {
	case "string":
		// Its format says a time, its words say a span: https://docs.github.com/search-github/getting-started-with-searching-on-github/understanding-the-search-syntax
		if strings.Contains(words, "date-time range") {
			times := strings.Split(strings.TrimLeft(value, "<>="), "..")
			for _, one := range times {
				if _, err := time.Parse(time.RFC3339, one); err != nil || len(times) > 2 {
					return fmt.Sprintf("%q is no span of time", value)
				}
			}
			return ""
		}
	case "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Sprintf("%q is no integer", value)
		}
		if m := maxOf.FindStringSubmatch(words); m != nil {
			if most, _ := strconv.ParseInt(m[1], 10, 64); n > most {
				return fmt.Sprintf("%d is more than %d", n, most)
			}
		}
		v = json.Number(value)
	case "boolean":
		b, err := strconv.ParseBool(value)
		if err != nil || value != strconv.FormatBool(b) {
			return fmt.Sprintf("%q is no boolean", value)
		}
		v = b
	}
	return strings.Join(d.check("", schema, v), "; ")
}

// check says what in v is against the schema. What the schema wants and v lacks is not: the fake tells less than GitHub.
func (d *description) check(at string, s any, v any) []string {
	faults := d.shape(at, s, v)
	if o, ok := v.(object); ok {
		names, open := d.names(s)
		for name := range o {
			if !open && !slices.Contains(names, name) {
				faults = append(faults, at+"/"+name+": GitHub tells no such thing")
			}
		}
	}
	return faults
}

// names are those of a schema's properties; open says that there may be others.
func (d *description) names(s any) (names []string, open bool) {
	schema := d.resolve(s)
	properties, _ := schema["properties"].(object)
	names = slices.Collect(maps.Keys(properties))
	all, _ := schema["allOf"].([]any)
	parts := slices.Concat(all, alternatives(schema))
	for _, one := range parts {
		more, any := d.names(one)
		names, open = append(names, more...), open || any
	}
	more, told := schema["additionalProperties"]
	return names, open || told && more != false || len(parts) == 0 && properties == nil
}

func (d *description) shape(at string, s any, v any) (faults []string) {
	schema := d.resolve(s)
	fault := func(format string, args ...any) []string {
		return append(faults, strings.TrimPrefix(at+": ", ": ")+fmt.Sprintf(format, args...))
	}
	if v == nil {
		if schema["nullable"] == true || len(schema) == 0 || slices.ContainsFunc(alternatives(schema), func(one any) bool { return d.shape(at, one, nil) == nil }) {
			return nil
		}
		return fault("null")
	}
	if all, ok := schema["allOf"].([]any); ok {
		for _, one := range all {
			faults = append(faults, d.shape(at, one, v)...)
		}
	}
	if some := alternatives(schema); some != nil {
		var least []string
		for i, one := range some {
			if f := d.shape(at, one, v); i == 0 || len(f) < len(least) {
				least = f
			}
		}
		faults = append(faults, least...)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.ContainsFunc(enum, func(e any) bool { return fmt.Sprint(e) == fmt.Sprint(v) }) {
		return fault("%v is none of %v", v, enum)
	}
	switch v := v.(type) {
	case object:
		if schema["type"] != nil && schema["type"] != "object" {
			return fault("an object in place of %v", schema["type"])
		}
		properties, _ := schema["properties"].(object)
		for name, value := range v {
			if property, told := properties[name]; told {
				faults = append(faults, d.check(at+"/"+name, property, value)...)
			} else if more, ok := schema["additionalProperties"].(object); ok {
				faults = append(faults, d.check(at+"/"+name, more, value)...)
			}
		}
	case []any:
		if schema["type"] != nil && schema["type"] != "array" {
			return fault("a list in place of %v", schema["type"])
		}
		for i, value := range v {
			faults = append(faults, d.check(fmt.Sprintf("%s/%d", at, i), schema["items"], value)...)
		}
	case string:
		if schema["type"] != nil && schema["type"] != "string" {
			return fault("a string in place of %v", schema["type"])
		}
		if schema["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				return fault("%q is no time", v)
			}
		}
		if schema["format"] == "uri" {
			if u, err := url.Parse(v); err != nil || u.Host == "" {
				return fault("%q is no address", v)
			}
		}
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			return fault("%q is not as %s", v, pattern)
		}
	case json.Number:
		if schema["type"] != nil && schema["type"] != "integer" && schema["type"] != "number" {
			return fault("a number in place of %v", schema["type"])
		}
		if _, err := v.Int64(); err != nil && schema["type"] == "integer" {
			return fault("%v is no integer", v)
		}
		n, _ := v.Float64()
		if least, ok := schema["minimum"].(float64); ok && n < least {
			return fault("%v is less than %v", v, least)
		}
		if most, ok := schema["maximum"].(float64); ok && n > most {
			return fault("%v is more than %v", v, most)
		}
	case bool:
		if schema["type"] != nil && schema["type"] != "boolean" {
			return fault("a boolean in place of %v", schema["type"])
		}
	}
	return faults
}

func alternatives(schema object) []any {
	some, ok := schema["anyOf"].([]any)
	if !ok {
		some, _ = schema["oneOf"].([]any)
	}
	return some
}

func decode(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return v, d.Decode(&v)
}

// A notary is a transport that holds each exchange with the API against the description.
type notary struct {
	*testing.T
	*description
	next http.RoundTripper
	host string

	mu    sync.Mutex      // guards what follows
	given map[string]bool // addresses that the API gave out itself
	asked map[string]int  // by method and template
}

func (n *notary) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := n.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // read to its end
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	n.mu.Lock()
	defer n.mu.Unlock()
	given := n.given[r.URL.String()]
	if to, err := resp.Location(); err == nil {
		n.given[to.String()] = true
	}
	what := r.Method + " " + r.URL.Path
	if strings.TrimPrefix(n.host, "http://") != r.URL.Host {
		if !given || r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			n.Errorf("%s at another host: %v", what, r.Header)
		}
		return resp, nil
	}
	for _, fault := range headers(r.Header) {
		n.Errorf("%s: %s", what, fault)
	}
	if given {
		return resp, nil // the address by id of a repository that was renamed, which is not described
	}
	template, operation, values := n.operation(r.Method, r.URL.Path)
	if operation == nil {
		n.Errorf("%s: there is no such route", what)
		return resp, nil
	}
	n.asked[r.Method+" "+template]++
	described := map[string]object{}
	for _, p := range n.parameters(operation) {
		described[fmt.Sprint(p["in"], " ", p["name"])] = p
		if value, ok := values[fmt.Sprint(p["name"])]; ok && p["in"] == "path" {
			if fault := n.text(p, value); fault != "" {
				n.Errorf("%s: %s", what, fault)
			}
		}
	}
	for name, all := range r.URL.Query() {
		p := described["query "+name]
		if p == nil {
			n.Errorf("%s: there is no parameter %s", what, name)
			continue
		}
		for _, value := range all {
			if fault := n.text(p, value); fault != "" {
				n.Errorf("%s: parameter %s: %s", what, name, fault)
			}
		}
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if body, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	n.answer(what, operation, resp, body)
	return resp, nil
}

// usual are the statuses that any route may answer with, described or not.
var usual = []int{301, 304, 401, 403, 404, 429}

func (n *notary) answer(what string, operation object, resp *http.Response, body []byte) {
	responses, _ := operation["responses"].(object)
	told := n.resolve(responses[strconv.Itoa(resp.StatusCode)])
	if told == nil && !slices.Contains(usual, resp.StatusCode) {
		n.Errorf("%s: GitHub does not answer with status %d", what, resp.StatusCode)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	content, _ := told["content"].(object)
	media, ok := content[kind].(object)
	if !ok || resp.StatusCode >= 400 {
		return
	}
	v, err := decode(body)
	if err != nil {
		n.Errorf("%s: %v", what, err)
	}
	faults := n.check("", media["schema"], v)
	slices.Sort(faults)
	for _, fault := range slices.Compact(faults)[:min(5, len(slices.Compact(faults)))] {
		n.Errorf("%s: the answer: %s", what, fault)
	}
}

// headers says what is not as GitHub asks for it: https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api#headers
func headers(h http.Header) (faults []string) {
	if !regexp.MustCompile(`^application/(json|vnd\.github(\.[a-z0-9-]+)*\+json)(, application/vnd\.github(\.[a-z0-9-]+)*\+json)*$`).MatchString(h.Get("Accept")) {
		faults = append(faults, fmt.Sprintf("Accept is %q", h.Get("Accept")))
	}
	if v := h.Get("X-GitHub-Api-Version"); v != "2022-11-28" {
		faults = append(faults, fmt.Sprintf("X-GitHub-Api-Version is %q", v))
	}
	if h.Get("User-Agent") == "" || strings.HasPrefix(h.Get("User-Agent"), "Go-http-client") {
		faults = append(faults, fmt.Sprintf("User-Agent is %q", h.Get("User-Agent")))
	}
	if !strings.HasPrefix(h.Get("Authorization"), "Bearer ") {
		faults = append(faults, "Authorization is no bearer token")
	}
	if h.Get("Cookie") != "" {
		faults = append(faults, "a Cookie is sent")
	}
	return faults
}

// A town is a World in which each call has something to answer, on as many pages as it takes.
type town struct {
	run    pushdoctor.Run
	job    pushdoctor.Job
	window actions.Window
}

func build(w *fakegithub.World) town {
	begin := time.Now().Add(-48 * time.Hour).Truncate(time.Hour)
	w.AddUser("marlow")
	w.AddRepository(fakegithub.Repository{Name: "marlow/site"})
	w.AddRepository(fakegithub.Repository{Name: "octo-lab/old", Archived: true, Private: true})
	w.AddRepository(fakegithub.Repository{Name: "octo-lab/moved"})
	w.Change("octo-lab/moved", func(r *fakegithub.Repository) { r.Name = "northwind-ci/moved" })
	for i := range 130 {
		w.AddRepository(fakegithub.Repository{Name: fmt.Sprintf("octo-lab/part-%d", i)})
	}
	w.Live(fakegithub.Life{Start: time.Now().Add(-30 * time.Second), Length: time.Minute, Past: 24 * time.Hour, Runs: 150, Repositories: []string{"octo-lab/api"}})
	var jobs []fakegithub.Job
	for i := range 120 {
		jobs = append(jobs, fakegithub.Job{Job: pushdoctor.Job{Name: fmt.Sprintf("build (%d)", i), Conclusion: "failure"}, Log: []byte("the log\n")})
	}
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin}, jobs...)
	w.Rerun(run.ID, begin.Add(time.Hour), jobs[0])
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: time.Now()}, fakegithub.Job{Job: pushdoctor.Job{StartedAt: time.Now().Add(time.Hour)}}) // queued
	return town{run: w.Runs("octo-lab/api", time.Now())[len(w.Runs("octo-lab/api", time.Now()))-1], job: w.Jobs(run.ID)[0].Job, window: actions.Window{From: begin.Add(-time.Hour)}}
}

// calls are those of actions.Client that ask GitHub, each in all forms. A method that has none turns the test red.
var calls = map[string]func(context.Context, *actions.Client, town) error{
	"Repository": func(ctx context.Context, c *actions.Client, _ town) error {
		_, err := c.Repository(ctx, "octo-lab/api")
		return err
	},
	"Repository of one that was moved": func(ctx context.Context, c *actions.Client, _ town) error {
		_, err := c.Repository(ctx, "octo-lab/moved")
		return err
	},
	"Repositories": func(ctx context.Context, c *actions.Client, _ town) error {
		_, err := c.Repositories(ctx, "octo-lab")
		return err
	},
	"Repositories of a user": func(ctx context.Context, c *actions.Client, _ town) error {
		_, err := c.Repositories(ctx, "marlow")
		return err
	},
	"Runs": func(ctx context.Context, c *actions.Client, in town) error {
		n := 0
		for _, err := range c.Runs(ctx, "octo-lab/api", in.window, false) {
			if err != nil {
				return err
			}
			n++
		}
		if n < 100 {
			return fmt.Errorf("%d runs are no second page", n)
		}
		return nil
	},
	"Runs of a closed window": func(ctx context.Context, c *actions.Client, in town) error {
		for _, err := range c.Runs(ctx, "octo-lab/api", actions.Window{From: in.window.From, To: time.Now()}, false) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"Count": func(ctx context.Context, c *actions.Client, in town) error {
		_, err := c.Count(ctx, "octo-lab/api", in.window)
		return err
	},
	"Run": func(ctx context.Context, c *actions.Client, in town) error {
		_, err := c.Run(ctx, "octo-lab/api", in.run.ID)
		return err
	},
	"Attempt": func(ctx context.Context, c *actions.Client, in town) error {
		_, err := c.Attempt(ctx, "octo-lab/api", in.run.ID, 1)
		return err
	},
	"Jobs": func(ctx context.Context, c *actions.Client, in town) error {
		jobs, err := c.Jobs(ctx, in.run)
		if err == nil && len(jobs) <= 100 {
			err = fmt.Errorf("%d jobs are no second page", len(jobs))
		}
		return err
	},
	"Job": func(ctx context.Context, c *actions.Client, in town) error {
		_, err := c.Job(ctx, "octo-lab/api", in.job.JobID)
		return err
	},
	"Log": func(ctx context.Context, c *actions.Client, in town) error {
		log, err := c.Log(ctx, in.job)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, log)
		return err
	},
	"Workflows": func(ctx context.Context, c *actions.Client, _ town) error {
		_, err := c.Workflows(ctx, "octo-lab/api")
		return err
	},
	"BranchGone": func(ctx context.Context, c *actions.Client, _ town) error {
		for branch, want := range map[string]bool{"main": false, "feature/none": true} {
			if gone, err := c.BranchGone(ctx, "octo-lab/api", branch); err != nil || gone != want {
				return fmt.Errorf("branch %s is gone: %t, %w", branch, gone, err)
			}
		}
		return nil
	},
	"FileGone": func(ctx context.Context, c *actions.Client, _ town) error {
		if gone, err := c.FileGone(ctx, "octo-lab/api", ".github/workflows/none.yml"); err != nil || !gone {
			return fmt.Errorf("the file is gone: %t, %w", gone, err)
		}
		return nil
	},
	"WorkflowName": func(ctx context.Context, c *actions.Client, in town) error {
		_, _, err := c.WorkflowName(ctx, "octo-lab/api", in.run.WorkflowID)
		return err
	},
}

// silent are the methods of actions.Client that ask nothing.
var silent = []string{"Budget", "Credential", "Date", "Flush"}

// byApp asks what only an App may, and reads by its installation's token.
func byApp(ctx context.Context, o actions.Options) error {
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())})
	app, err := actions.NewApp(o, appID, key)
	if err != nil {
		return err
	}
	all, err := app.Installations(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Suspended {
			continue
		}
		c, err := app.Client(i)
		if err != nil {
			return err
		}
		repositories, err := c.Accessible(ctx)
		if err == nil && len(repositories) <= 100 {
			err = fmt.Errorf("%d repositories are no second page", len(repositories))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A request of the client's that GitHub does not describe, or an answer of the fake's that GitHub would not give, turns this red.
func TestOpenAPI(t *testing.T) {
	w := fakegithub.NewWorld()
	in := build(w)
	key := appKey()
	s := fakegithub.New(w, fakegithub.Options{Token: "ghp_plain", Login: "marlow", App: fakegithub.App{ID: appID, Key: &key.PublicKey}})
	n := &notary{T: t, description: describe(t), next: s.Pipe(), given: map[string]bool{}, asked: map[string]int{}}
	n.host = s.URL()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	client, err := actions.New(actions.Options{URL: s.URL(), Token: "ghp_plain", Transport: n})
	if err != nil {
		t.Fatal(err)
	}
	covered := map[string]bool{"Accessible": true}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		method, _, _ := strings.Cut(name, " ")
		covered[method] = true
		for range 2 { // the second time with ETags
			if err := calls[name](t.Context(), client, in); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for method := range reflect.TypeFor[*actions.Client]().Methods() {
		if !covered[method.Name] && !slices.Contains(silent, method.Name) {
			t.Errorf("the calls do not know actions.Client.%s", method.Name)
		}
	}

	// What the fake has beyond that.
	install := w.Install(fakegithub.Installation{Account: "octo-lab", All: true})
	w.Install(fakegithub.Installation{Account: "marlow", SuspendedAt: time.Now()})
	if err := byApp(t.Context(), actions.Options{URL: s.URL(), Transport: n}); err != nil {
		t.Errorf("as an App: %v", err)
	}
	by, _, _ := caller{t, s.Pipe()}.grant(s, install)
	run := fmt.Sprintf("/repos/octo-lab/api/actions/runs/%d", in.run.ID)
	for _, r := range []struct{ method, path, by string }{
		{"GET", "/app/installations?per_page=1&page=2", asApp(t)},
		{"POST", fmt.Sprintf("/app/installations/%d/access_tokens", install), asApp(t)},
		{"GET", "/installation/repositories?per_page=100", by},
		{"GET", "/repos/octo-lab/api", by},
		{"GET", "/rate_limit", by},
		{"GET", "/user", "Bearer ghp_plain"},
		{"GET", "/user/repos?affiliation=owner&per_page=100", "Bearer ghp_plain"},
		{"GET", run + "/attempts/1/jobs?per_page=100", "Bearer ghp_plain"},
		{"GET", run + "/jobs?filter=latest", "Bearer ghp_plain"},
		{"GET", "/repos/octo-lab/api/actions/runs?status=failure&branch=main&event=push&actor=octo-dev", "Bearer ghp_plain"},
		{"GET", "/repos/octo-lab/api/actions/runs?status=queued", "Bearer ghp_plain"},
		{"GET", "/repos/octo-lab/api/contents/.github/workflows/image.yml", "Bearer ghp_plain"},
	} {
		resp, body := caller{t, n}.do(r.method, s.URL()+r.path, "Authorization", r.by, "Accept", "application/vnd.github+json", "User-Agent", "test", "X-GitHub-Api-Version", "2022-11-28")
		if resp.StatusCode >= 300 {
			t.Errorf("%s %s: status %d: %s", r.method, r.path, resp.StatusCode, body)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(n.asked)) {
		t.Logf("%4d %s", n.asked[route], route)
	}
	if v := s.Stats().Violations; v != nil {
		t.Errorf("violations: %q", v)
	}
	if n := s.Stats().Requests["other"]; n != 0 {
		t.Errorf("%d requests for what the fake does not know", n)
	}
}

// A delivery whose fields GitHub does not send, or in another form, turns this red.
func TestOpenAPIWebhooks(t *testing.T) {
	d := describe(t)
	w, l := life(1)
	w.Install(fakegithub.Installation{Account: "octo-lab", All: true})
	s := fakegithub.New(w, fakegithub.Options{})
	s.Pipe() // gives addresses
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, delivery := range s.Deliveries(l.Start, l.Start.Add(l.Length), fakegithub.Mail{}) {
		v, err := decode(delivery.Body)
		if err != nil {
			t.Fatal(err)
		}
		hook := d.Webhooks[strings.ReplaceAll(delivery.Event, "_", "-")+"-completed"]
		body := d.resolve(d.resolve(hook["post"])["requestBody"])
		media := d.resolve(d.resolve(body["content"])["application/json"])
		if faults := d.check("", media["schema"], v); media["schema"] == nil || faults != nil {
			t.Fatalf("%s: %q", delivery.Event, faults)
		}
	}
}

// A check that lets through what is wrong proves nothing.
func TestOpenAPIRefuses(t *testing.T) {
	d := describe(t)
	for _, test := range []struct{ method, path string }{
		{"GET", "/repos/octo-lab/api/actions/run"}, {"POST", "/repos/octo-lab/api"}, {"GET", "/orgs/octo-lab/repositories"},
	} {
		if template, o, _ := d.operation(test.method, test.path); o != nil {
			t.Errorf("%s %s is taken for %s", test.method, test.path, template)
		}
	}
	_, runs, _ := d.operation("GET", "/repos/octo-lab/api/actions/runs")
	for _, p := range d.parameters(runs) {
		wrong := map[any]string{"per_page": "101", "page": "x", "status": "red", "exclude_pull_requests": "1", "created": "yesterday"}[p["name"]]
		if wrong != "" && d.text(p, wrong) == "" {
			t.Errorf("%v=%s is let through", p["name"], wrong)
		}
	}
	schema := object{"$ref": "#/components/schemas/workflow-run"}
	for _, body := range []string{`{"id":"1"}`, `{"id":1.5}`, `{"created_at":"yesterday"}`, `{"event":null}`, `{"head_repository":[]}`, `{"repository":{"owner":{"login":7}}}`, `{"repository":{"colour":"red"}}`, `{"colour":"red"}`} {
		v, err := decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if d.check("", schema, v) == nil {
			t.Errorf("%s is let through", body)
		}
	}
}
