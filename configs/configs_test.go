package configs_test

import (
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// compare looks at what a Secret hides, not at its address.
var compare = cmp.Comparer(func(a, b configs.Secret) bool { return a.Reveal() == b.Reveal() })

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pushdoctor.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, file string, environ []string, flags map[string]string) configs.Config {
	t.Helper()
	c, err := configs.Load(file, environ, flags)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// example is the configuration file that says what each key does.
//
//go:embed pushdoctor.yaml
var example []byte

// Red where the example, the defaults and the checks no longer agree.
func TestExampleIsDefault(t *testing.T) {
	if diff := cmp.Diff(configs.Default(), load(t, write(t, string(example)), nil, nil), compare); diff != "" {
		t.Errorf("the example is not the default (-default +example):\n%s", diff)
	}
	if diff := cmp.Diff(configs.Default(), load(t, "", nil, nil), compare); diff != "" {
		t.Errorf("no file is not the default (-default +none):\n%s", diff)
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "~\n", "store:\nrepositories:\nweb: {listen_address: }\n"} {
		if diff := cmp.Diff(configs.Default(), load(t, write(t, text), nil, nil), compare); diff != "" {
			t.Errorf("%q is not the default (-default +got):\n%s", text, diff)
		}
	}
}

// Red where a key of the configuration is missing in the example.
func TestExampleHasEveryKey(t *testing.T) {
	for line := range strings.Lines(string(example)) {
		key, _, ok := strings.Cut(line, ":")
		if !ok || strings.Contains(line, "#") || strings.HasSuffix(strings.TrimSpace(line), ":") {
			continue
		}
		without := strings.Replace(string(example), line, strings.Replace(line, key, key+"_x", 1), 1)
		var faults configs.Faults
		if _, err := configs.Load(write(t, without), nil, nil); !errors.As(err, &faults) || !strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%q misspelt: %v", strings.TrimSpace(key), err)
		}
	}
	var got, want map[string]any
	if err := yaml.Unmarshal(example, &got); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(configs.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if g, w := leaves(got), leaves(want)-1; g != w { // GitHub.Token has no key
		t.Errorf("the example sets %d keys, the configuration has %d", g, w)
	}
}

func leaves(m map[string]any) (n int) {
	for _, v := range m {
		if section, ok := v.(map[string]any); ok {
			n += leaves(section)
		} else {
			n++
		}
	}
	return n
}

// Every testdata/invalid-*.yaml is refused with exactly the text beside it: all faults, each
// with its line and key. Red where a fault is lost, hides another, or shows a secret.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		c, err := configs.Load(filepath.ToSlash(file), nil, nil)
		if _, ok := errors.AsType[configs.Faults](err); !ok {
			t.Errorf("%s: %v, want faults", file, err)
			continue
		}
		if diff := cmp.Diff(configs.Config{}, c, compare); diff != "" {
			t.Errorf("%s: a configuration beside the faults:\n%s", file, diff)
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		got := err.Error() + "\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
		if strings.Contains(got, "hunter") || strings.Contains(got, "aaaaaaaa") {
			t.Errorf("%s: a message shows a secret:\n%s", file, got)
		}
	}
}

// Red where a layer does not win over the one below it, or a variable is ignored since
// viper knows no default for its key.
func TestLayers(t *testing.T) {
	file := write(t, "repositories: [octo-lab/api, octo-lab/web]\nstore: {path: file.db, retention: 90d}\nweb: {listen_address: '127.0.0.1:1', admin: true}\nmetrics: {max_series: 5}\n")
	environ := []string{
		"PUSHDOCTOR_STORE_PATH=env.db", "PUSHDOCTOR_REPOSITORIES=octo-lab/api, octo-tools/* ,", "PUSHDOCTOR_COLLECT_INTERVAL=30s",
		"PUSHDOCTOR_GITHUB_APP_ID=7", "PUSHDOCTOR_GITHUB_APP_PRIVATE_KEY_FILE=app.pem", "PUSHDOCTOR_COLLECT_MAX_LOG=1GiB", "PUSHDOCTOR_GITHUB_RESERVE=0.25",
		"PUSHDOCTOR_WEB_LISTEN_ADDRESS=127.0.0.1:2", "PUSHDOCTOR_METRICS_MAX_SERIES=", "PUSHDOCTOR_PORT=tcp://10.0.0.1:9877", "HOME=/", "GH_TOKEN=second", "GITHUB_TOKEN=first",
	}
	got := load(t, file, environ, map[string]string{"web.listen_address": "127.0.0.1:3", "metrics.refs": "main,v*"})

	want := configs.Default()
	want.Repositories = []string{"octo-lab/api", "octo-tools/*"}
	want.Store = configs.Store{Path: "env.db", Retention: model.Duration(90 * 24 * time.Hour)}
	want.Web.ListenAddress, want.Web.Admin = "127.0.0.1:3", true
	want.Collect.Interval, want.Collect.MaxLog = model.Duration(30*time.Second), 1<<30
	want.GitHub.App = configs.App{ID: 7, PrivateKeyFile: "app.pem"}
	want.GitHub.Reserve, want.GitHub.Token = 0.25, configs.NewSecret("first")
	want.Metrics.MaxSeries, want.Metrics.Refs = 5, []string{"main", "v*"}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := load(t, "", []string{"GH_TOKEN=second"}, nil).GitHub.Token.Reveal(); got != "second" {
		t.Errorf("GH_TOKEN alone: token is %q", got)
	}
}

// Red where a fault names the file although another layer won, or a misspelt variable is passed over.
func TestPlaces(t *testing.T) {
	file := write(t, "repositories: [octo-lab]\nstore: {path: a.db}\nwebhook: {listen_address: ':9878'}\n")
	environ := []string{
		"PUSHDOCTOR_STORE_PAHT=b.db", "PUSHDOCTOR_REPOSITORIES=octo-lab/api,octo", "PUSHDOCTOR_COLLECT_SWEEP=30", "PUSHDOCTOR_WEB_ADMIN=1",
		"PUSHDOCTOR_GITHUB_TOKEN=hunter2", "PUSHDOCTOR_GITHUB_URL=https://octo:hunter2@github.example.test",
	}
	_, err := configs.Load(file, environ, map[string]string{"collect.workers": "0"})
	want := `PUSHDOCTOR_COLLECT_SWEEP: collect.sweep: "30" is not a duration; write a number and a unit, such as 30s or 30d
PUSHDOCTOR_GITHUB_TOKEN: unknown variable; set GITHUB_TOKEN, or PUSHDOCTOR_GITHUB_TOKEN_FILE
PUSHDOCTOR_STORE_PAHT: unknown variable, did you mean "PUSHDOCTOR_STORE_PATH"?
PUSHDOCTOR_WEB_ADMIN: web.admin: "1" is neither true nor false
PUSHDOCTOR_GITHUB_URL: github.url: holds a user name; write the address without it
PUSHDOCTOR_REPOSITORIES: repositories[1]: "octo" is not a repository; write owner/name, owner/* or !owner/name-*
command line: collect.workers: 0 is out of range; write 1 to 64
` + file + `:3: webhook.secret_file: is empty; name the file with the webhook's secret, or anybody could send deliveries`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What is no configuration at all is no fault in one: the caller could not do its work.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	big := write(t, "# "+strings.Repeat("x", 1<<20))
	for _, test := range []struct{ file, want string }{
		{filepath.Join(dir, "none.yaml"), "configuration: open " + filepath.Join(dir, "none.yaml") + ": no such file or directory"},
		{dir, "configuration: read " + dir + ": is a directory"},
		{big, "configuration: " + big + " is larger than 1 MB"},
	} {
		_, err := configs.Load(test.file, nil, nil)
		var faults configs.Faults
		if fmt.Sprint(err) != test.want || errors.As(err, &faults) {
			t.Errorf("Load(%q) = %v\nwant %s", test.file, err, test.want)
		}
	}
}

// Each row changes one field of a good configuration, and must be refused for that field alone, or not at all.
func TestValidate(t *testing.T) {
	for _, test := range []struct {
		change func(*configs.Config)
		want   string // the key
	}{
		{func(c *configs.Config) { c.GitHub.URL = "http://127.0.0.1:8080" }, ""},
		{func(c *configs.Config) { c.GitHub.URL = "http://[::1]:8080" }, ""},
		{func(c *configs.Config) { c.GitHub.URL = "http://localhost" }, ""},
		{func(c *configs.Config) { c.GitHub.URL = "http://localhost.example.test" }, "github.url"},
		{func(c *configs.Config) { c.GitHub.URL = "http://127.0.0.1.example.test" }, "github.url"},
		{func(c *configs.Config) { c.GitHub.URL = "https://github.example.test?x=y" }, "github.url"},
		{func(c *configs.Config) { c.GitHub.URL = "" }, "github.url"},
		{func(c *configs.Config) { c.GitHub.Reserve = 0 }, ""},
		{func(c *configs.Config) { c.GitHub.Reserve = 1 }, "github.reserve"},
		{func(c *configs.Config) { c.GitHub.Reserve = -0.1 }, "github.reserve"},
		{func(c *configs.Config) { c.GitHub.App.ID = 7 }, "github.app.private_key_file"},
		{func(c *configs.Config) { c.GitHub.App = configs.App{ID: -7, PrivateKeyFile: "x"} }, "github.app.id"},
		{func(c *configs.Config) { c.Repositories = []string{"octo-lab/*", "!octo-lab/pat-*", "a/b.c_d"} }, ""},
		{func(c *configs.Config) { c.Repositories = []string{"octo-lab/"} }, "repositories[0]"},
		{func(c *configs.Config) { c.Repositories = []string{"octo-*/api"} }, "repositories[0]"},
		{func(c *configs.Config) { c.Collect.CancelledAfter = 0 }, ""},
		{func(c *configs.Config) { c.Collect.CancelledAfter = -1 }, "collect.cancelled_after"},
		{func(c *configs.Config) { c.Collect.Sweep = c.Collect.Interval }, ""},
		{func(c *configs.Config) { c.Collect.Sweep = c.Collect.Interval - 1 }, "collect.sweep"},
		{func(c *configs.Config) { c.Collect.Conclusions = []string{"success", "success"} }, "collect.conclusions[1]"},
		{func(c *configs.Config) { c.Collect.Workers = 64 }, ""},
		{func(c *configs.Config) { c.Collect.MaxLog = 1e6 - 1 }, "collect.max_log"},
		{func(c *configs.Config) { c.Webhook = configs.Webhook{ListenAddress: ":9878", SecretFile: "x"} }, ""},
		{func(c *configs.Config) { c.Webhook = configs.Webhook{ListenAddress: ":9877", SecretFile: "x"} }, "webhook.listen_address"},
		{func(c *configs.Config) { c.Web.ListenAddress = "" }, "web.listen_address"},
		{func(c *configs.Config) { c.Web.ListenAddress = "localhost:65536" }, "web.listen_address"},
		{func(c *configs.Config) { c.Web.Admin = true }, "web.admin"},
		{func(c *configs.Config) { c.Web.Admin, c.Web.ListenAddress = true, "[::1]:9877" }, ""},
		{func(c *configs.Config) { c.Web.Admin, c.Web.ConfigFile = true, "web.yaml" }, ""},
		{func(c *configs.Config) { c.Web.ExternalURL = "https://ci.example.test/pushdoctor" }, ""},
		{func(c *configs.Config) { c.Web.ExternalURL = "ci.example.test" }, "web.external_url"},
		{func(c *configs.Config) { c.Metrics.Refs = nil }, ""},
		{func(c *configs.Config) { c.Metrics.Refs = []string{"v[0-9"} }, "metrics.refs[0]"},
		{func(c *configs.Config) { c.Metrics.Birth = -1 }, "metrics.birth"},
		{func(c *configs.Config) { c.OTLP.Endpoint = "http://collector:4318/tenants/octo" }, ""},
		{func(c *configs.Config) { c.OTLP.Endpoint = "collector:4318" }, "otlp.endpoint"},
		{func(c *configs.Config) { c.OTLP.Endpoint = "https://octo:secret@collector:4318" }, "otlp.endpoint"},
		{func(c *configs.Config) { c.OTLP.Endpoint = "http://collector:4318/v1/metrics/" }, "otlp.endpoint"},
		{func(c *configs.Config) { c.OTLP.Interval = 0 }, "otlp.interval"},
	} {
		c := configs.Default()
		test.change(&c)
		got := ""
		faults, _ := errors.AsType[configs.Faults](c.Validate())
		for _, f := range faults {
			got += f.Key
		}
		if got != test.want {
			t.Errorf("%+v\n is refused for %q, want %q", c, got, test.want)
		}
	}
}

// Red where any way of printing shows what a Secret hides.
func TestSecretIsNotPrinted(t *testing.T) {
	const hidden = "hunter2"
	c := configs.Default()
	c.GitHub.Token = configs.NewSecret(hidden)
	inside := struct{ token configs.Secret }{c.GitHub.Token} // fmt asks no methods of unexported fields
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+verb+verb+verb+"\n", c, &c, c.GitHub.Token, inside)
		if got := fmt.Sprintf(verb, c.GitHub.Token); got != "<secret>" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", c.GitHub.Token, "all", c)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", c.GitHub.Token, "all", c)
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		data, err := marshal(c)
		if err != nil || !strings.Contains(strings.ReplaceAll(string(data), `\u003c`, "<"), "<secret") {
			t.Errorf("marshalled: %s, %v", data, err)
		}
		out.Write(data)
	}
	if s := out.String(); strings.Contains(s, hidden) || strings.Contains(s, fmt.Sprintf("%x", hidden)) || strings.Contains(s, fmt.Sprintf("%X", hidden)) {
		t.Errorf("the secret shows in\n%s", s)
	}
	if got := c.GitHub.Token.Reveal(); got != hidden {
		t.Errorf("Reveal() = %q", got)
	}
	if got := fmt.Sprint(configs.NewSecret("")); got != "" {
		t.Errorf("a secret that is not set prints %q", got)
	}
}

func TestSize(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"256MB", "256MB"}, {"1GiB", "1GiB"}, {"1024MiB", "1GiB"}, {"1000KB", "1MB"}, {"1KiB", "1KiB"}, {"1500B", "1500B"}, {"0B", "0B"},
		{"9223372036GB", "9223372036GB"},
	} {
		var s configs.Size
		if err := s.UnmarshalText([]byte(test.in)); err != nil || s.String() != test.want {
			t.Errorf("%s is read as %v, %v; want %s", test.in, s, err, test.want)
		}
	}
	// Red where a bare number, a sign, a fraction or an overflow passes.
	for _, in := range []string{"", "256", "MB", "-1MB", "+1MB", "1.5GB", "256mb", "256 MB", "1TB", "9223372037GB", "99999999999999999999B"} {
		s := configs.Size(7)
		want := fmt.Sprintf("%q is not a size; write a whole number and a unit, such as 256MB or 1GiB", in)
		if err := s.UnmarshalText([]byte(in)); err == nil || err.Error() != want || s != 7 {
			t.Errorf("%q is read as %v, %v", in, s, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(string(example))
	f.Add("a: &a [*a]\n? {b: c}\n: !!binary x\n<<: *a\n")
	file := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configs.Load(file, nil, nil)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%q is read, but does not hold: %v", text, err)
		}
	})
}
