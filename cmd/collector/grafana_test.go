//go:build grafana && prometheus

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

const (
	shown    = 3 * 24 * time.Hour            // what the dashboards are asked about: a day of history, then the service
	watched  = 47*time.Hour + 38*time.Minute // within an hour, since Grafana asks for whole steps: the newest bar is one that is not over
	scraping = 2 * time.Minute
)

// Every expression of every dashboard must have data in a real Prometheus, without a warning: red where one joins what has no common labels, compares
// with a value that does not exist, or has a window that holds one sample only. The Prometheus has two days of a service with things going
// wrong, scraped every two minutes in a bubble, and the day before them as its history has it. It needs prometheus and promtool.
//
// With a folder in PUSHDOCTOR_PICTURE, the answers are written there for picture.mjs.
func TestGrafana(t *testing.T) {
	dir := t.TempDir()
	record(t, filepath.Join(dir, "scrapes.om"))
	data := filepath.Join(dir, "data")
	// The blocks are as long as all that there is, since promtool reads the file once for each of them.
	if said, err := exec.CommandContext(t.Context(), "promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", "-q",
		filepath.Join(dir, "scrapes.om"), data).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	p := runPrometheus(t, "dashboards", "", "--storage.tsdb.path="+data) // it scrapes nothing

	files, err := filepath.Glob("../../configs/grafana/dashboards/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("dashboards: %q, %v", files, err)
	}
	end := begin.Add(watched + scraping) // after the last scrape
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d board
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		d.ask(t, p, end)
		d.holdFigures(t, p, end)
		if folder := os.Getenv("PUSHDOCTOR_PICTURE"); folder != "" {
			answers, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), answers, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A board is a dashboard, as far as its queries need it. What is not named here is only for the picture.
type board struct {
	Title string `json:"title"`
	Time  struct {
		From string `json:"from"`
	} `json:"time"`
	Panels []struct {
		Type          string          `json:"type"`
		Title         string          `json:"title"`
		GridPos       json.RawMessage `json:"gridPos"`
		FieldConfig   json.RawMessage `json:"fieldConfig"`
		Interval      string          `json:"interval"`
		MaxDataPoints int             `json:"maxDataPoints"`
		Step          float64         `json:"step"` // seconds, as asked
		Targets       []*struct {
			RefID        string          `json:"refId"`
			Expr         string          `json:"expr"`
			Instant      bool            `json:"instant"`
			LegendFormat string          `json:"legendFormat"`
			Format       string          `json:"format"`
			Answer       json.RawMessage `json:"answer"`
		} `json:"targets"`
		Transformations json.RawMessage `json:"transformations"`
		Options         json.RawMessage `json:"options"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string          `json:"name"`
			Type  string          `json:"type"`
			Query json.RawMessage `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name   string `json:"name"`
			Target *struct {
				Expr string `json:"expr"`
			} `json:"target"`
		} `json:"list"`
	} `json:"annotations"`
	From, To int64
}

// ask asks Prometheus all that the dashboard would, and wants an answer with a number to each.
func (d *board) ask(t *testing.T, p *scraper, end time.Time) {
	span := shown
	if d.Time.From == "now-6h" {
		span = 6 * time.Hour
	}
	d.From, d.To = end.Add(-span).Unix(), end.Unix()
	for _, v := range d.Templating.List {
		var q struct {
			Query string `json:"query"`
		}
		if v.Type != "query" {
			continue
		}
		if err := json.Unmarshal(v.Query, &q); err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(q.Query)
		if m == nil {
			t.Fatalf("%s: variable %s: %s", d.Title, v.Name, q.Query)
		}
		var values []string
		p.ask(t.Context(), t, "label/"+m[2]+"/values", url.Values{
			"match[]": {interpolated(m[1], span, time.Minute)}, "start": {unix(end.Add(-span))}, "end": {unix(end)},
		}, &values)
		if len(values) == 0 {
			t.Errorf("%s: variable %s has no value", d.Title, v.Name)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Target != nil && !hasNumber(t, p.rangeOf(t, interpolated(a.Target.Expr, span, time.Minute), end.Add(-span), end, time.Minute), false) {
			t.Errorf("%s: annotation %s marks nothing", d.Title, a.Name)
		}
	}
	for i := range d.Panels {
		panel := &d.Panels[i]
		step := stepOf(t, panel.Interval, panel.MaxDataPoints, span)
		panel.Step = step.Seconds()
		from, to := end.Add(-span).Truncate(step), end.Truncate(step) // as Grafana does
		for _, q := range panel.Targets {
			expr := interpolated(q.Expr, span, step)
			if q.Instant {
				q.Answer = p.at(t, expr, end)
			} else {
				q.Answer = p.rangeOf(t, expr, from, to, step)
			}
			// What stands after "or" is 0, for when nothing is broken or was cured. Here something is.
			if !hasNumber(t, q.Answer, strings.Contains(q.Expr, " or ")) {
				t.Errorf("%s: %s: no number comes of %s", d.Title, panel.Title, expr)
			}
			if panel.Title == "All failures" && q.RefID == "A" && !hasNumber(t, p.at(t, expr, begin), false) {
				t.Errorf("%s: %s: nothing of the time before the service began", d.Title, panel.Title)
			}
			if strings.Contains(string(panel.Options), `"sum"`) {
				p.counts(t, d.Title+": "+panel.Title, expr, q.Answer, from, end, step)
			}
		}
	}
}

// What a panel counts, and of which repository where it is of one.
var (
	counted   = regexp.MustCompile(`increase\((\w+)\{`)
	countedOf = regexp.MustCompile(`repository="[^"]*"`)
)

// counts holds all bars of a panel, and the newest ones, against how far the counters came: red where what is newest is in no bar, where live and history
// are counted twice or one of them not at all, and where it is no count. Each bar takes in one scrape more than its time, and Prometheus scales to the
// window: so it may be more, never less.
func (p *scraper) counts(t *testing.T, title, expr string, answer json.RawMessage, from, end time.Time, step time.Duration) {
	t.Helper()
	m := counted.FindStringSubmatch(expr)
	if m == nil {
		t.Fatalf("%s: %s counts nothing", title, expr)
	}
	total := func(at time.Time) float64 {
		return onlyNumber(t, p.at(t, fmt.Sprintf("sum(last_over_time(%s{%s}[%.0fs])) or vector(0)", m[1], countedOf.FindString(expr), shown.Seconds()), at))
	}
	var all []struct {
		Values [][2]any `json:"values"`
	}
	if err := json.Unmarshal(answer, &all); err != nil {
		t.Fatal(err)
	}
	for _, since := range []time.Time{from, end.Truncate(step)} {
		got, least, most := 0.0, total(end)-total(since), (total(end)-total(since.Add(-interval)))*(1+2*float64(interval)/float64(step))+1
		for _, series := range all {
			for _, v := range series.Values {
				if v[0].(float64) >= float64(since.Unix()) {
					got += valueOf(t, v)
				}
			}
		}
		if got < least*0.999 || got > most {
			t.Errorf("%s: %g in the bars since %s, of %g to %g", title, got, since, least, most)
		}
	}
}

// figures are what panels say, by other means: all these counters begin with 0 in the time shown. $of is a repository, or all.
var figures = map[string]string{
	"Broken now":              `sum(pushdoctor_push_broken{repository=~"$of"})`,
	"Of these, lasting":       `sum(pushdoctor_push_broken{repository=~"$of"} * on (cause) group_left () pushdoctor_cause_info{lasting="true"})`,
	"Broken for longest":      `time() - min(pushdoctor_push_broken_since_timestamp_seconds{repository=~"$of"})`,
	"Failed pushes":           `sum(last_over_time(pushdoctor_push_failures_total{repository=~"$of"}[3d]))`,
	"Cured by a retry":        `sum(last_over_time(pushdoctor_pushes_total{repository=~"$of", result="retried"}[3d])) / sum(last_over_time(pushdoctor_pushes_total{repository=~"$of", result!="good"}[3d]))`,
	"Runs that failed":        `sum(last_over_time(pushdoctor_runs_total{repository=~"$of", conclusion="failure"}[3d])) / sum(last_over_time(pushdoctor_runs_total{repository=~"$of"}[3d]))`,
	"Median time to recovery": `histogram_quantile(0.5, sum by (le) (last_over_time(pushdoctor_time_to_recovery_seconds_bucket[3d])))`,
	"Nine of ten within":      `histogram_quantile(0.9, sum by (le) (last_over_time(pushdoctor_time_to_recovery_seconds_bucket[3d])))`,
	"Last collection":         `time() - max(pushdoctor_last_collect_timestamp_seconds)`,
	"Repositories not read":   "vector(1)", // octo-lab/hidden
	"Services down":           "vector(2)", // the standbys
}

// holdFigures wants them to be what the panels say. Red where a panel counts something else than its title says.
func (d *board) holdFigures(t *testing.T, p *scraper, end time.Time) {
	t.Helper()
	of := ".*"
	if d.Title == "pushdoctor: repository" {
		of = "octo-lab/api"
	}
	for _, panel := range d.Panels {
		expr, ok := figures[panel.Title]
		if !ok || panel.Type != "stat" {
			continue
		}
		got, want := onlyNumber(t, panel.Targets[0].Answer), onlyNumber(t, p.at(t, strings.ReplaceAll(expr, "$of", of), end))
		if math.Abs(got-want) > want/20 {
			t.Errorf("%s: %s: %g, and %s is %g", d.Title, panel.Title, got, expr, want)
		}
	}
}

// onlyNumber is the only value of a result.
func onlyNumber(t *testing.T, result json.RawMessage) float64 {
	t.Helper()
	var all []struct {
		Value [2]any `json:"value"`
	}
	if err := json.Unmarshal(result, &all); err != nil || len(all) != 1 {
		t.Fatalf("%v: %s", err, result)
	}
	return valueOf(t, all[0].Value)
}

// valueOf is the value of a sample.
func valueOf(t *testing.T, sample [2]any) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(sample[1].(string), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// interval is the data source's of configs/grafana/provisioning, as long as the scrapes here are apart.
const interval = scraping

// stepOf is the time between two points that Grafana asks for.
func stepOf(t *testing.T, least string, points int, span time.Duration) time.Duration {
	t.Helper()
	step := interval
	if least != "" {
		d, err := model.ParseDuration(least)
		if err != nil {
			t.Fatal(err)
		}
		step = time.Duration(d)
	}
	if points == 0 {
		points = 1000
	}
	return max(step, (span / time.Duration(points)).Truncate(time.Minute))
}

// interpolated is what Grafana makes of an expression with All chosen everywhere, and one repository where it can be one only.
func interpolated(expr string, span, step time.Duration) string {
	// https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
	rate := max(step+interval, 4*interval)
	return strings.NewReplacer(
		"$__rate_interval", fmt.Sprintf("%.0fs", rate.Seconds()),
		"$__range", fmt.Sprintf("%.0fs", span.Seconds()),
		"$__interval", fmt.Sprintf("%.0fs", step.Seconds()),
		`="$repository"`, `="octo-lab/api"`,
		"$job", ".*", "$instance", ".*", "$repositories", ".*", "$workflow", ".*",
	).Replace(expr)
}

// hasNumber says whether a result holds one, or one that is not 0.
func hasNumber(t *testing.T, result json.RawMessage, more bool) bool {
	t.Helper()
	var all []struct {
		Value  []any   `json:"value"`
		Values [][]any `json:"values"`
	}
	if err := json.Unmarshal(result, &all); err != nil {
		t.Fatalf("%v: %s", err, result)
	}
	for _, s := range all {
		for _, v := range append(s.Values, s.Value) {
			if len(v) != 2 {
				continue
			}
			if f, err := strconv.ParseFloat(v[1].(string), 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) && (f != 0 || !more) {
				return true
			}
		}
	}
	return false
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

func (p *scraper) at(t *testing.T, expr string, at time.Time) json.RawMessage {
	t.Helper()
	var data struct {
		Result json.RawMessage `json:"result"`
	}
	p.ask(t.Context(), t, "query", url.Values{"query": {expr}, "time": {unix(at)}}, &data)
	return data.Result
}

func (p *scraper) rangeOf(t *testing.T, expr string, from, to time.Time, step time.Duration) json.RawMessage {
	t.Helper()
	var data struct {
		Result json.RawMessage `json:"result"`
	}
	p.ask(t.Context(), t, "query_range", url.Values{"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {fmt.Sprint(step.Seconds())}}, &data)
	return data.Result
}

// scrapes writes what a Prometheus would have scraped.
type scrapes struct{ w *bufio.Writer }

// add writes a page of metrics as of now, with the labels that Prometheus gives them, and its own series of this scrape.
func (s *scrapes) add(page string) {
	const ours = `job="pushdoctor",instance="pushdoctor:9877"`
	now := unix(time.Now())
	samples := 0
	for line := range strings.Lines(page) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		// A value of a label may hold a blank; a sample's value does not.
		if i := strings.LastIndexByte(strings.TrimSpace(line), ' '); ok && i > len(name) {
			name, value = line[:i], strings.TrimSpace(line[i+1:])
		}
		if before, labels, ok := strings.Cut(name, "{"); ok {
			name = before + "{" + ours + "," + labels
		} else {
			name += "{" + ours + "}"
		}
		fmt.Fprintf(s.w, "%s %s %s\n", name, value, now)
		samples++
	}
	fmt.Fprintf(s.w, "up{%[1]s} 1 %[2]s\nscrape_samples_scraped{%[1]s} %[3]d %[2]s\nscrape_duration_seconds{%[1]s} 0.0%[4]d %[2]s\n", ours, now, samples, 10+samples%7)
}

// standbys writes what is scraped of two more services, which do nothing.
func (s *scrapes) standbys(answer bool) {
	now := unix(time.Now())
	for _, theirs := range []string{`job="pushdoctor",instance="standby-1:9877"`, `job="pushdoctor",instance="standby-2:9877"`} {
		if !answer {
			fmt.Fprintf(s.w, "up{%s} 0 %s\n", theirs, now)
			continue
		}
		fmt.Fprintf(s.w, "up{%[1]s} 1 %[2]s\npushdoctor_build_info{%[1]s,version=\"v0.9.0\"} 1 %[2]s\n", theirs, now)
	}
}

// record lets a service watch six repositories for two days, and writes its metrics to a file.
func record(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	out := &scrapes{w: bufio.NewWriter(f)}
	inLab(t, fakegithub.Options{}, func(t *testing.T, l *lab) {
		l.config.Repositories = append(slices.Clone(estateOfTheTest), "octo-lab/hidden")
		l.config.Webhook.ListenAddress = "127.0.0.1:0"
		l.config.Webhook.SecretFile = secretFile(t, testSecret)
		l.config.Collect.Interval = model.Duration(5 * time.Minute)
		l.config.Metrics.Birth = model.Duration(2 * scraping)
		events(l)
		r := l.serve()
		for told := time.Now(); time.Since(begin) < watched; {
			time.Sleep(scraping)
			r.mail(l, told)
			told = time.Now()
			switch time.Since(begin).Truncate(scraping) {
			case watched - 4*time.Hour:
				l.world.Change("octo-lab/api", func(r *fakegithub.Repository) { r.Forbidden = true })
			case watched - 3*time.Hour:
				l.world.Change("octo-lab/api", func(r *fakegithub.Repository) { r.Forbidden = false })
				if err := r.reload(t.Context()); err != nil {
					t.Error(err)
				}
			}
			out.add(r.get("/metrics"))
			out.standbys(time.Since(begin) < watched-time.Hour)
		}
		fmt.Fprint(out.w, r.get(historyPath)) // with "# EOF"
		r.stop()
	})
	if err := out.w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// mail brings what GitHub tells since then of one of the repositories, and now and then something with another secret.
func (r *running) mail(l *lab, since time.Time) {
	r.t.Helper()
	for _, d := range l.fake.Deliveries(since, time.Now(), fakegithub.Mail{}) {
		if !bytes.Contains(d.Body, []byte("octo-lab/api")) {
			continue
		}
		secret := testSecret
		if since.Hour()%4 == 1 {
			secret = "another"
		}
		req, err := d.Request(r.t.Context(), "http://webhook.test/webhook", secret)
		if err != nil {
			r.t.Fatal(err)
		}
		resp, err := r.hook.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // read to its end
		if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusNoContent && secret == testSecret {
			r.t.Errorf("a delivery was answered with %s", resp.Status)
		}
	}
}

var estateOfTheTest = []string{"octo-lab/api", "octo-lab/web", "octo-tools/builder", "octo-tools/agent", "northwind-ci/ledger", "northwind-ci/site"}

// The logs' lines of how a push ends.
var endsOfPushes = map[string][]string{
	"denied":   {"denied: permission_denied: write_package"},
	"down":     {"received unexpected HTTP status: 503 Service Unavailable"},
	"many":     {"toomanyrequests: retry-after: 1.2s, allowed: 44000/minute"},
	"password": {"unauthorized: incorrect username or password"},
	"strange":  {"received unexpected HTTP status: 418 I'm a teapot"},
}

// events plans what happens in the two days, and in the day before, which the first poll reads as history (collect.lookback): most runs are good, what fails
// does so for hours, and for an hour a registry is down.
func events(l *lab) {
	l.world.AddRepository(fakegithub.Repository{Name: "octo-lab/hidden", Hidden: true})
	dice := rand.New(rand.NewPCG(9, 77))
	for n, name := range estateOfTheTest {
		l.world.AddRepository(fakegithub.Repository{Name: name})
		for at := time.Duration(n)*time.Minute - 23*time.Hour; at < watched; at += 15*time.Minute + time.Duration(dice.Int64N(int64(40*time.Minute))) {
			workflow, branch, host := "image.yml", "main", "ghcr.io"
			if n%3 == 1 {
				host = "docker.io"
			}
			if dice.IntN(4) == 0 {
				workflow, branch = "release.yml", "release/2.4"
			}
			hour := at.Hours()
			outcome := "good"
			switch d := dice.Float64(); {
			case n == 4 && hour > 6 && hour < 20, n == 0 && hour > 44, n == 5 && branch == "main" && hour > 30:
				outcome = "denied"
			case n == 1 && hour > 33 && hour < 36, n == 1 && hour > 46:
				outcome = "password"
			case d < 0.04, n == 2 && hour > 45:
				outcome = "strange"
			case d < 0.08:
				outcome = "many"
			case d < 0.13:
				outcome = "retried"
			case d < 0.16:
				outcome = "tests"
			}
			l.push(name, workflow, branch, host, outcome, begin.Add(at))
		}
		for at := 25 * time.Hour; at < 26*time.Hour; at += 12 * time.Minute {
			l.push(name, "image.yml", "main", "ghcr.io", "down", begin.Add(at+time.Duration(n)*time.Minute))
		}
	}
}

// push adds a run whose job build ends so.
func (l *lab) push(repository, workflow, branch, host, outcome string, at time.Time) {
	image := host + "/" + repository
	attempt := []string{"##[group]Run docker push " + image + ":main", "docker push " + image + ":main", "shell: /usr/bin/bash -e {0}", "##[endgroup]", "The push refers to repository [" + image + "]"}
	good := []string{"5f195e58a773: Pushed", "main: digest: sha256:" + strings.Repeat("5c0ffee1", 8) + " size: 1579"}
	lines := []string{"##[group]GITHUB_TOKEN Permissions", "Contents: read", "Packages: write", "##[endgroup]"}
	j := fakegithub.Job{Job: pushdoctor.Job{Name: "build", Conclusion: "failure"}}
	switch outcome {
	case "good":
		lines = append(append(lines, attempt...), good...)
		j.Conclusion = "success"
	case "retried":
		lines = append(append(lines, attempt...), endsOfPushes["down"]...)
		lines = append(append(append(lines, "attempt 1 of 3 did not get through"), attempt[4]), good...)
		lines = append(lines, "##[group]Run ./smoke-test.sh", "##[endgroup]", "##[error]Process completed with exit code 1.")
	case "tests":
		lines = append(lines, "##[group]Run make test", "##[endgroup]", "##[error]Process completed with exit code 2.")
	default:
		lines = append(append(append(lines, attempt...), endsOfPushes[outcome]...), "##[error]Process completed with exit code 1.")
	}
	var log strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&log, "%s %s\n", at.Add(time.Duration(i)*time.Second).UTC().Format("2006-01-02T15:04:05.0000000Z"), line)
	}
	j.Log = []byte(log.String())
	if outcome == "strange" {
		j.LogAt = at.Add(10 * time.Minute) // until then the job waits to be read
	}
	l.world.AddRun(pushdoctor.Run{Repository: repository, Workflow: workflow, WorkflowName: map[string]string{"image.yml": "Image", "release.yml": "Release"}[workflow], Branch: branch, CreatedAt: at}, j)
}
