//go:build alerts && prometheus

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/samples"
)

const (
	alertRules   = "../../configs/prometheus/rules.yaml"
	alertExample = "../../configs/alertmanager/alertmanager.yaml"
)

// Failed pushes become messages: the service reads a fake GitHub, Debian's Prometheus scrapes it by the rules, and Debian's Alertmanager sends
// by the example. Red where three repositories with one cause are more than one message, where six that share a dead secret are more than one
// alert, where the page that a message names is another, or where a repaired push is not told. So that it does not take half an hour,
// each minute of "for" and of group_wait is a second here, and group_interval is 2 s.
func TestAlerts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	w := fakegithub.NewWorld()
	l := &lab{t: t, world: w}
	now := time.Now()
	expired, err := samples.Logs.ReadFile("dockerhub-401-token-expired.log")
	if err != nil {
		t.Fatal(err)
	}
	var watched []string
	for i, name := range []string{"api", "web", "cli", "docs", "site", "bot", "app", "hub", "lab"} {
		repository := "octo-lab/" + name
		watched = append(watched, repository)
		job := failedFor("build", repository)
		if i >= 3 {
			job.Log = expired
		}
		l.run(repository, now.Add(-time.Duration(10+i)*time.Minute), job)
	}
	g := fakeGitHub(t, w, fakegithub.Options{})
	env := append(environment(g), "PUSHDOCTOR_COLLECT_INTERVAL=1s", "PUSHDOCTOR_REPOSITORIES="+strings.Join(watched, ","))
	address := serveAlerts(t, env)

	box := newInbox(t)
	manager := startAlertmanager(t, box.url)
	dir := t.TempDir()
	rules, err := os.ReadFile(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	rules = regexp.MustCompile(`(for|interval): (\d+)m`).ReplaceAll(rules, []byte("$1: ${2}s"))
	rules = regexp.MustCompile(`for: 1h`).ReplaceAll(rules, []byte("for: 60s"))
	for name, content := range map[string][]byte{
		"rules.yaml": rules,
		"prometheus.yml": fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
  - job_name: pushdoctor
    static_configs: [{targets: [%q]}]
`, manager, address),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	prometheus := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--rules.alert.resend-delay=1s")
	p := &scraper{features: "alerts", api: "http://" + start(t, prometheus, prometheusListens).address}

	broken := "firing PushdoctorPushBroken octo-lab/%s ghcr permission_denied"
	three := []string{fmt.Sprintf(broken, "api"), fmt.Sprintf(broken, "cli"), fmt.Sprintf(broken, "web")}
	wait(ctx, t, 40*time.Second, "a message about three repositories", func() bool { return len(box.about("PushdoctorPushBroken")) > 0 })
	if diff := cmp.Diff([][]string{three}, box.about("PushdoctorPushBroken")); diff != "" {
		t.Errorf("messages about repositories (-want +got):\n%s", diff)
	}
	shared := [][]string{{"firing PushdoctorRegistryCredentialsRefused  dockerhub "}}
	if diff := cmp.Diff(shared, box.about("PushdoctorRegistryCredentialsRefused")); diff != "" {
		t.Errorf("messages about the secret that six share (-want +got):\n%s", diff)
	}
	if paths := box.paths(); !slices.Equal(paths, []string{"/pager", "/platform"}) {
		t.Errorf("messages went to %q", paths)
	}
	if bad := p.query(ctx, t, `ALERTS{alertname!~"PushdoctorPushBroken|PushdoctorRegistryCredentialsRefused", alertstate="firing"}`); len(bad) > 0 {
		t.Errorf("other alerts: %s", bad)
	}
	if all := p.query(ctx, t, `count(ALERTS{alertname="PushdoctorPushBroken", alertstate="firing"}) == 9`); len(all) == 0 {
		t.Error("the six repositories have no alerts, so nothing was inhibited")
	}

	at := time.Now()
	mended := pushed("build", "ghcr.io/octo-lab/web:1")
	mended.StartedAt, mended.CompletedAt = at, at.Add(time.Second)
	w.AddRun(pushdoctor.Run{Repository: "octo-lab/web", Workflow: "image.yml", CreatedAt: at}, mended)
	resolved := "resolved" + strings.TrimPrefix(three[2], "firing")
	wait(ctx, t, 40*time.Second, "a message that one is mended", func() bool {
		return slices.ContainsFunc(box.about("PushdoctorPushBroken"), func(m []string) bool { return slices.Contains(m, resolved) })
	})
	if faults := p.faultyRules(ctx, t); len(faults) > 0 {
		t.Errorf("rules that could not be evaluated: %q", faults)
	}
}

// serveAlerts runs the service until the test ends, and returns its address.
func serveAlerts(t *testing.T, env []string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background()) // t's own ends before it can be seen how the service ends
	var out said
	ended := make(chan int, 1)
	go func() {
		args := []string{"serve", "--store", filepath.Join(t.TempDir(), "pushdoctor.db"), "--listen", "127.0.0.1:0"}
		ended <- run(ctx, args, env, strings.NewReader(""), &out, &out)
	}()
	t.Cleanup(func() {
		stop()
		if status := <-ended; status != 0 || t.Failed() {
			t.Errorf("serve ended with %d\n%s", status, out.String())
		}
	})
	return listening(t, "serve", &out, regexp.MustCompile(`msg="pushdoctor serves" address=http://(\S+)`))
}

// faultyRules are the rules whose last evaluation went wrong.
func (p *scraper) faultyRules(ctx context.Context, t *testing.T) (faults []string) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.ask(ctx, t, "rules", nil, &data)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				faults = append(faults, r.Name+": "+r.Health+" "+r.LastError)
			}
		}
	}
	return faults
}

// What the example for Alertmanager says to inhibit must be, and nothing else: a label that differs, another registry.
func TestAlertsInhibited(t *testing.T) {
	box := newInbox(t)
	manager := "http://" + startAlertmanager(t, box.url)
	type labels map[string]string
	ghcr := func(name string, more ...string) labels {
		l := labels{"alertname": name, "job": "pushdoctor", "registry": "ghcr", "severity": "warning"}
		for i := 0; i < len(more); i += 2 {
			l[more[i]] = more[i+1]
		}
		return l
	}
	service := func(name, job string) labels { return labels{"alertname": name, "job": job, "severity": "warning"} }
	var posted []map[string]any
	for _, l := range []labels{
		{"alertname": "PushdoctorRegistryIncident", "registry": "ghcr", "severity": "warning"},
		ghcr("PushdoctorPushNotRecovered", "repository", "octo-lab/api"),
		ghcr("PushdoctorPushNotRecovered", "repository", "octo-lab/api", "registry", "quay"),
		ghcr("PushdoctorPushBroken", "repository", "octo-lab/web", "cause", "permission_denied"),
		ghcr("PushdoctorPushNotRecovered", "repository", "octo-lab/web", "registry", "quay"),
		ghcr("PushdoctorFaultWidespread", "cause", "package_access_denied"),
		ghcr("PushdoctorPushBroken", "repository", "octo-lab/cli", "cause", "package_access_denied"),
		ghcr("PushdoctorRegistryCredentialsRefused", "category", "credentials", "registry", "acr"),
		ghcr("PushdoctorPushBroken", "repository", "octo-lab/docs", "category", "credentials", "cause", "unauthorized", "registry", "acr"),
		ghcr("PushdoctorPushNotRecovered", "repository", "octo-lab/docs", "registry", "acr"),
		ghcr("PushdoctorPushBroken", "repository", "octo-lab/site", "category", "permissions", "cause", "permission_denied", "registry", "acr"),
		service("PushdoctorGitHubCredentialRefused", "pushdoctor"),
		service("PushdoctorNothingCollected", "pushdoctor"),
		service("PushdoctorCollectLagging", "pushdoctor"),
		service("PushdoctorRepositoryUnread", "pushdoctor"),
		service("PushdoctorNothingCollected", "second"),
		service("PushdoctorRepositoryUnread", "second"),
		service("PushdoctorCollectLagging", "third"),
		service("PushdoctorRepositoryUnread", "third"),
		service("PushdoctorRepositoryUnread", "fourth"),
		service("PushdoctorStoreNotWritable", "fifth"),
		service("PushdoctorNothingCollected", "fifth"),
		service("PushdoctorRepositoryUnread", "fifth"),
		service("PushdoctorRepositoriesUnknown", "second"),
		service("PushdoctorRepositoriesUnknown", "fourth"),
		service("PushdoctorWebhookDeliveriesFailed", "fifth"),
		service("PushdoctorWebhookDeliveriesFailed", "second"),
	} {
		posted = append(posted, map[string]any{"labels": l})
	}
	body, err := json.Marshal(posted)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(manager+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	want := []string{
		"PushdoctorCollectLagging pushdoctor  ",
		"PushdoctorPushBroken pushdoctor acr octo-lab/docs",
		"PushdoctorPushBroken pushdoctor ghcr octo-lab/cli",
		"PushdoctorPushNotRecovered pushdoctor acr octo-lab/docs",
		"PushdoctorPushNotRecovered pushdoctor ghcr octo-lab/api",
		"PushdoctorRepositoriesUnknown second  ",
		"PushdoctorRepositoryUnread fifth  ",
		"PushdoctorRepositoryUnread pushdoctor  ",
		"PushdoctorRepositoryUnread second  ",
		"PushdoctorRepositoryUnread third  ",
		"PushdoctorWebhookDeliveriesFailed fifth  ",
	}
	var inhibited []string
	wait(t.Context(), t, 10*time.Second, "so many inhibited alerts", func() bool {
		var all []struct {
			Labels labels
			Status struct{ InhibitedBy []string }
		}
		if err := json.Unmarshal(get(t.Context(), t, manager+"/api/v2/alerts"), &all); err != nil {
			t.Fatal(err)
		}
		inhibited = nil
		for _, a := range all {
			if len(a.Status.InhibitedBy) > 0 {
				inhibited = append(inhibited, strings.Join([]string{a.Labels["alertname"], a.Labels["job"], a.Labels["registry"], a.Labels["repository"]}, " "))
			}
		}
		t.Logf("%d of %d alerts are inhibited", len(inhibited), len(all))
		return len(all) == len(posted) && len(inhibited) >= len(want)
	})
	slices.Sort(inhibited)
	if diff := cmp.Diff(want, inhibited); diff != "" {
		t.Errorf("inhibited (-want +got):\n%s", diff)
	}
}

// An inbox takes Alertmanager's messages.
type inbox struct {
	url      string
	mu       sync.Mutex // guards messages
	messages []mail
}

type mail struct {
	path   string
	alerts []string // "firing NAME REPOSITORY REGISTRY CAUSE", sorted
}

func newInbox(t *testing.T) *inbox {
	box := &inbox{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var sent struct {
			Alerts []struct {
				Status              string
				Labels, Annotations map[string]string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		m := mail{path: r.URL.Path}
		for _, a := range sent.Alerts {
			m.alerts = append(m.alerts, strings.Join([]string{a.Status, a.Labels["alertname"], a.Labels["repository"], a.Labels["registry"], a.Labels["cause"]}, " "))
			want := "docs/causes.md#" + a.Labels["cause"]
			if a.Labels["cause"] == "" {
				want = "docs/operations.md#" + strings.ToLower(a.Labels["alertname"])
			}
			if !strings.HasSuffix(a.Annotations["runbook_url"], want) || a.Annotations["summary"] == "" {
				t.Errorf("a message has the annotations %q, want a page %s", a.Annotations, want)
			}
		}
		slices.Sort(m.alerts)
		box.mu.Lock()
		defer box.mu.Unlock()
		box.messages = append(box.messages, m)
	}))
	t.Cleanup(server.Close)
	box.url = server.URL
	return box
}

// about returns the messages that hold an alert of that name.
func (b *inbox) about(alert string) (all [][]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if slices.ContainsFunc(m.alerts, func(a string) bool { return strings.Contains(a, alert+" ") }) {
			all = append(all, m.alerts)
		}
	}
	return all
}

// paths are where messages came in.
func (b *inbox) paths() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		all = append(all, m.path)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// startAlertmanager runs an Alertmanager by the example, with the inbox for its receivers and shorter waits, and returns
// its address.
func startAlertmanager(t *testing.T, inbox string) string {
	t.Helper()
	config, err := os.ReadFile(alertExample)
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.ReplaceAll(config, []byte("https://hooks.example.test"), []byte(inbox))
	config = regexp.MustCompile(`(group_wait: \d+)m`).ReplaceAll(config, []byte("${1}s"))
	config = regexp.MustCompile(`group_interval: \w+`).ReplaceAll(config, []byte("group_interval: 2s"))
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yaml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus-alertmanager", "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
	return start(t, cmd, prometheusListens).address
}
