//go:build prometheus

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A Prometheus that scrapes the demonstration must see its first failures. Red where a new counter is not born at 0: then it
// begins with 1, and has no increase. Red too where a format that Prometheus asks for cannot be read whole, where
// promtool finds fault with the metrics, or where the service does not end cleanly. It needs prometheus and promtool, of Debian's
// package prometheus.
func TestPrometheus(t *testing.T) {
	for _, name := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%v; install the package prometheus", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 80*time.Second)
	defer cancel()
	page := startDemo(t)

	// Without native histograms, Prometheus asks for OpenMetrics; with them, for protocol buffers.
	text := startPrometheus(t, page, "exemplar-storage")
	native := startPrometheus(t, page, "exemplar-storage,native-histograms")
	for _, p := range []*scraper{text, native} {
		// What stands at 1 and has increased was seen at 0.
		p.until(ctx, t, `pushdoctor_push_failures_total == 1 and increase(pushdoctor_push_failures_total[5m]) > 0`)
		if missed := p.query(ctx, t, `pushdoctor_push_failures_total == 1 unless increase(pushdoctor_push_failures_total[5m]) > 0`); len(missed) > 0 {
			t.Errorf("%s: first failures without an increase: %v", p.features, missed)
		}
		if bad := p.query(ctx, t, `min_over_time(up[5m]) < 1 or absent(up)`); len(bad) > 0 {
			t.Errorf("%s: scrapes that went wrong: %v", p.features, bad)
		}
		if len(p.exemplars(ctx, t)) == 0 {
			t.Errorf("%s: no failure names its finding as an exemplar", p.features)
		}
		for line := range strings.Lines(p.log.String()) {
			if strings.Contains(line, "level=warn") || strings.Contains(line, "level=error") {
				t.Errorf("%s: Prometheus says: %s", p.features, line)
			}
		}
	}
	if len(text.query(ctx, t, `pushdoctor_diagnose_duration_seconds_bucket{le="0.1"} > 0`)) == 0 {
		t.Error("no classic histogram")
	}
	if len(native.query(ctx, t, `histogram_count(pushdoctor_diagnose_duration_seconds) > 0`)) == 0 {
		t.Error("no native histogram")
	}

	metrics := get(ctx, t, page+"/metrics")
	promtool := exec.CommandContext(ctx, "promtool", "check", "metrics")
	promtool.Stdin = bytes.NewReader(metrics)
	if out, err := promtool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// startDemo runs the demonstration until the test ends, and returns the address of its page.
func startDemo(t *testing.T) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background()) // t's own ends before it can be seen how the service ends
	stdout, said := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"demo"}, nil, strings.NewReader(""), said, &stderr)
		_ = said.Close() // never errs
	}()
	t.Cleanup(func() {
		stop()
		select {
		case status := <-ended:
			if status != 0 {
				t.Errorf("demo ended with %d\n%s", status, &stderr)
			}
		case <-time.After(10 * time.Second):
			t.Error("demo did not end within 10 s")
		}
	})
	page := firstMatch(t, stdout, regexp.MustCompile(`http://127\.0\.0\.1:[1-9]\d*`))
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // or demo would wait for a reader
	return page
}

// firstMatch reads from r until re matches a line, and returns the match.
func firstMatch(t *testing.T, r io.Reader, re *regexp.Regexp) string {
	t.Helper()
	var read []byte
	for {
		chunk := make([]byte, 4096)
		n, err := r.Read(chunk)
		read = append(read, chunk[:n]...)
		if m := re.Find(read); m != nil && bytes.ContainsRune(read[bytes.Index(read, m):], '\n') {
			return string(m)
		}
		if err != nil {
			t.Fatalf("%v, and no %s in:\n%s", err, re, read)
		}
	}
}

// A scraper is a Prometheus that scrapes one target each second.
type scraper struct {
	features string
	api      string
	log      *said
}

// startPrometheus runs a Prometheus with these features until the test ends.
func startPrometheus(t *testing.T, target, features string) *scraper {
	t.Helper()
	return runPrometheus(t, features, fmt.Sprintf(`
scrape_configs:
  - job_name: pushdoctor
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(target, "http://")), "--storage.tsdb.path="+filepath.Join(t.TempDir(), "data"), "--enable-feature="+features)
}

// runPrometheus runs a Prometheus with this configuration until the test ends. name is for messages.
func runPrometheus(t *testing.T, name, yaml string, args ...string) *scraper {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	d := start(t, exec.Command("prometheus", append(args, "--config.file="+config, "--web.listen-address=127.0.0.1:0")...), prometheusListens)
	return &scraper{features: name, api: "http://" + d.address, log: d.out}
}

// until waits until expr has a result.
func (p *scraper) until(ctx context.Context, t *testing.T, expr string) {
	t.Helper()
	wait(ctx, t, time.Minute, p.features+": "+expr, func() bool { return len(p.query(ctx, t, expr)) > 0 })
}

// query returns the series that expr comes to.
func (p *scraper) query(ctx context.Context, t *testing.T, expr string) []json.RawMessage {
	t.Helper()
	var data struct {
		Result []json.RawMessage `json:"result"`
	}
	p.ask(ctx, t, "query", url.Values{"query": {expr}}, &data)
	return data.Result
}

// exemplars returns those that name a finding.
func (p *scraper) exemplars(ctx context.Context, t *testing.T) []string {
	t.Helper()
	var data []struct {
		Exemplars []struct {
			Labels struct {
				Finding string `json:"finding"`
			} `json:"labels"`
		} `json:"exemplars"`
	}
	now := time.Now()
	p.ask(ctx, t, "query_exemplars", url.Values{
		"query": {`sum by (cause) (increase(pushdoctor_push_failures_total{job=~".*"}[5m])) > 0`}, // as the dashboards ask
		"start": {now.AddDate(0, -1, 0).Format(time.RFC3339)},
		"end":   {now.Format(time.RFC3339)},
	}, &data)
	var found []string
	for _, series := range data {
		for _, e := range series.Exemplars {
			if e.Labels.Finding != "" {
				found = append(found, e.Labels.Finding)
			}
		}
	}
	return found
}

// ask asks Prometheus' API for data.
func (p *scraper) ask(ctx context.Context, t *testing.T, endpoint string, form url.Values, data any) {
	t.Helper()
	body := get(ctx, t, p.api+"/api/v1/"+endpoint+"?"+form.Encode())
	answer := struct {
		Warnings []string `json:"warnings"`
		Data     any      `json:"data"`
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Warnings) > 0 {
		t.Fatalf("%s: %v %v\n%s", endpoint, err, answer.Warnings, body)
	}
}

// get returns the body of a good answer.
func get(ctx context.Context, t *testing.T, address string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", address, resp.Status, err, body)
	}
	return body
}

// wait asks done, four times a second, until it says so. Real processes have a clock of their own.
func wait(ctx context.Context, t *testing.T, atMost time.Duration, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for %s: %v", what, ctx.Err())
		}
	}
}
