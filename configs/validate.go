package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Fault is one thing wrong with a configuration.
type Fault struct {
	Source  string // the file, the variable, or "command line"; "" where the value is a default
	Line    int    // in the file, counted from 1; 0 where there is none
	Key     string // "collect.interval", "repositories[2]"; "" where the fault is about the source
	Message string // what is wrong, and what to write instead
}

// Error returns source, line, key and message, as far as they are known.
func (f Fault) Error() string {
	var b strings.Builder
	if f.Source != "" {
		b.WriteString(f.Source)
		if f.Line > 0 {
			b.WriteString(":" + strconv.Itoa(f.Line))
		}
		b.WriteString(": ")
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults are all faults of a configuration, in the order of the file.
type Faults []Fault

// Error returns the faults, one a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// conclusions are those that GitHub gives to jobs.
var conclusions = []string{"action_required", "cancelled", "failure", "neutral", "skipped", "success", "timed_out"}

const (
	maxWorkers = 64
	minLog     = megabyte
)

var (
	ownerName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	repoName   = regexp.MustCompile(`^[A-Za-z0-9._*-]{1,100}$`)
	secretText = regexp.MustCompile(`gh[opsru]_[A-Za-z0-9]{16}|github_pat_|BEGIN [A-Z ]*PRIVATE KEY`)
)

// Validate returns nil, or Faults: everything that is wrong with c, each with its key.
func (c Config) Validate() error {
	if faults := c.faults(); len(faults) > 0 {
		return faults
	}
	return nil
}

func (c Config) faults() (fs Faults) {
	c.checkGitHub(&fs)
	c.checkRepositories(&fs)
	c.checkTimes(&fs)
	c.checkCollect(&fs)
	c.checkListeners(&fs)
	c.checkClassify(&fs)
	c.checkMetrics(&fs)
	return fs
}

func (fs *Faults) add(key, format string, args ...any) {
	*fs = append(*fs, Fault{Key: key, Message: fmt.Sprintf(format, args...)})
}

func (c Config) checkGitHub(fs *Faults) {
	if msg := checkURL(c.GitHub.URL); msg != "" {
		fs.add("github.url", "%s", msg)
	} else if u, _ := url.Parse(c.GitHub.URL); u.Scheme != "https" && !loopback(u.Hostname()) {
		fs.add("github.url", "%s would send the token unencrypted; write https:// (http:// is for loopback hosts)", show(c.GitHub.URL))
	}
	if c.GitHub.App.ID < 0 {
		fs.add("github.app.id", "%d is negative; write the App ID from the app's settings, or 0 for no app", c.GitHub.App.ID)
	}
	if c.GitHub.App.ID > 0 && c.GitHub.App.PrivateKeyFile == "" {
		fs.add("github.app.private_key_file", "is empty; name the file with the key of app %d", c.GitHub.App.ID)
	}
	if c.GitHub.App.ID == 0 && c.GitHub.App.PrivateKeyFile != "" {
		fs.add("github.app.id", "is 0; write the App ID that the private key belongs to")
	}
	if r := c.GitHub.Reserve; !(r >= 0 && r < 1) { // in this form, NaN is refused too
		fs.add("github.reserve", "%v is not a share; write a number from 0 to less than 1", r)
	}
	for _, file := range []struct{ key, name string }{
		{"github.token_file", c.GitHub.TokenFile},
		{"github.app.private_key_file", c.GitHub.App.PrivateKeyFile},
		{"webhook.secret_file", c.Webhook.SecretFile},
	} {
		if secretText.MatchString(file.name) {
			fs.add(file.key, "holds the secret itself; write it to a file and name the file here")
		}
	}
}

func (c Config) checkRepositories(fs *Faults) {
	included := false
	for i, pattern := range c.Repositories {
		name, excluded := strings.CutPrefix(pattern, "!")
		included = included || !excluded
		owner, repo, _ := strings.Cut(name, "/")
		if !ownerName.MatchString(owner) || !repoName.MatchString(repo) {
			fs.add(item("repositories", i), "%s is not a repository; write owner/name, owner/* or !owner/name-*", show(pattern))
		}
	}
	if len(c.Repositories) > 0 && !included {
		fs.add("repositories", "only excludes; name what to read, such as owner/*")
	}
}

// checkTimes looks at the spans of time, which are held against one another.
func (c Config) checkTimes(fs *Faults) {
	co := c.Collect
	for _, d := range []struct {
		key     string
		value   fmt.Stringer
		good    bool
		example string
	}{
		{"collect.interval", co.Interval, co.Interval > 0, "1m"},
		{"collect.lookback", co.Lookback, co.Lookback > 0, "1d"},
		{"collect.sweep", co.Sweep, co.Sweep > 0, "6h"},
		{"store.retention", c.Store.Retention, c.Store.Retention > 0, "400d"},
		{"metrics.stale_after", c.Metrics.StaleAfter, c.Metrics.StaleAfter > 0, "14d"},
		{"otlp.interval", c.OTLP.Interval, c.OTLP.Interval > 0, "1m"},
	} {
		if !d.good {
			fs.add(d.key, "%v is not positive; write a duration such as %s", d.value, d.example)
		}
	}
	if co.Sweep > 0 && co.Sweep < co.Interval {
		fs.add("collect.sweep", "%v is less than collect.interval (%v); write at least that", co.Sweep, co.Interval)
	}
	if co.CancelledAfter < 0 {
		fs.add("collect.cancelled_after", "%v is negative; write 0s to read every cancelled job", co.CancelledAfter)
	}
	if c.Store.Retention > 0 && c.Store.Retention < co.Lookback {
		fs.add("store.retention", "%v is less than collect.lookback (%v); write at least that", c.Store.Retention, co.Lookback)
	}
}

func (c Config) checkCollect(fs *Faults) {
	co := c.Collect
	if len(co.Conclusions) == 0 {
		fs.add("collect.conclusions", "is empty; write some of %s", strings.Join(conclusions, ", "))
	}
	for i, conclusion := range co.Conclusions {
		if !slices.Contains(conclusions, conclusion) {
			fs.add(item("collect.conclusions", i), "%s is no conclusion of a job; write some of %s%s",
				show(conclusion), strings.Join(conclusions, ", "), suggestion(conclusion, conclusions))
		} else if slices.Contains(co.Conclusions[:i], conclusion) {
			fs.add(item("collect.conclusions", i), "%s stands there twice; remove one", show(conclusion))
		}
	}
	if co.Workers < 1 || co.Workers > maxWorkers {
		fs.add("collect.workers", "%d is out of range; write 1 to %d", co.Workers, maxWorkers)
	}
	if co.MaxLog < minLog {
		fs.add("collect.max_log", "%v is less than the first part of a log that is always read; write at least %v", co.MaxLog, minLog)
	}
	for i, pattern := range co.Workflows {
		switch {
		case strings.Contains(pattern, "/"):
			fs.add(item("collect.workflows", i), "%s has a folder; write the file's name, such as image.yml", show(pattern))
		case !goodPattern(pattern):
			fs.add(item("collect.workflows", i), "%s is not a pattern; write a file's name, such as image.yml or *.yml", show(pattern))
		}
	}
	for i, pattern := range co.Jobs {
		if !goodPattern(pattern) {
			fs.add(item("collect.jobs", i), "%s is not a pattern; write a job's name, such as build or push*", show(pattern))
		}
	}
}

func (c Config) checkListeners(fs *Faults) {
	if a := c.Webhook.ListenAddress; a != "" {
		if msg := checkAddress(a); msg != "" {
			fs.add("webhook.listen_address", "%s", msg)
		} else if _, port, _ := net.SplitHostPort(a); a == c.Web.ListenAddress && port != "0" {
			fs.add("webhook.listen_address", "is web.listen_address too; GitHub must not reach the pages: write a port of its own, such as :9878")
		}
		if c.Webhook.SecretFile == "" {
			fs.add("webhook.secret_file", "is empty; name the file with the webhook's secret, or anybody could send deliveries")
		}
	}
	if msg := checkAddress(c.Web.ListenAddress); msg != "" {
		fs.add("web.listen_address", "%s", msg)
	} else if host, _, _ := net.SplitHostPort(c.Web.ListenAddress); c.Web.ConfigFile == "" && !loopback(host) {
		for _, right := range []struct {
			key string
			on  bool
		}{{"web.admin", c.Web.Admin}, {"web.lifecycle", c.Web.Lifecycle}} {
			if right.on {
				fs.add(right.key, "would let anybody who reaches %s administrate; set web.config_file, or listen on 127.0.0.1", c.Web.ListenAddress)
			}
		}
	}
	if u := c.Web.ExternalURL; u != "" {
		if msg := checkURL(u); msg != "" {
			fs.add("web.external_url", "%s", msg)
		}
	}
}

func (c Config) checkClassify(fs *Faults) {
	for i, file := range c.Classify.Rules {
		switch ext := path.Ext(file); {
		case ext != ".yaml" && ext != ".yml":
			fs.add(item("classify.rules", i), "%s is not a rule file; name a .yaml file", show(file))
		case slices.Contains(c.Classify.Rules[:i], file):
			fs.add(item("classify.rules", i), "%s stands there twice; remove one", show(file))
		}
	}
}

// checkMetrics looks at what is told of what was found, and at where that is kept.
func (c Config) checkMetrics(fs *Faults) {
	if c.Store.Path == "" {
		fs.add("store.path", "is empty; write a file name such as pushdoctor.db")
	}
	if c.Metrics.MaxSeries < 1 {
		fs.add("metrics.max_series", "%d is not positive; write a number such as 10000", c.Metrics.MaxSeries)
	}
	for i, pattern := range c.Metrics.Refs {
		switch {
		case strings.HasPrefix(pattern, "refs/"):
			fs.add(item("metrics.refs", i), "%s is a full ref; write the branch or tag alone, such as main or v*", show(pattern))
		case !goodPattern(pattern) || strings.ContainsAny(pattern, " ~^:\\"):
			fs.add(item("metrics.refs", i), "%s is not a pattern; write a branch or tag, such as main or release/*", show(pattern))
		}
	}
	if c.Metrics.Birth < 0 {
		fs.add("metrics.birth", "%v is negative; write a duration such as 2m", c.Metrics.Birth)
	}
	if u := c.OTLP.Endpoint; u != "" {
		if msg := checkURL(u); msg != "" {
			fs.add("otlp.endpoint", "%s", msg)
		} else if strings.HasSuffix(strings.TrimRight(u, "/"), "/v1/metrics") {
			fs.add("otlp.endpoint", "ends with /v1/metrics, which is added to it; write the address without that")
		}
	}
}

// show quotes s for a message, unless it holds a secret or is too long to help.
func show(s string) string {
	if len(s) > 200 || strings.Contains(s, "@") || secretText.MatchString(s) {
		return "the value (not shown)"
	}
	return strconv.Quote(s)
}

func item(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

func goodPattern(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err == nil && strings.TrimSpace(pattern) == pattern && pattern != ""
}

// checkURL returns what is wrong with the base address s. It does not quote an address with a
// password in it.
func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not an address; write one such as https://github.example.test"
	case u.User != nil:
		return "holds a user name; write the address without it"
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return fmt.Sprintf("%s is not an address; write one such as https://github.example.test", show(s))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a query or a fragment; write the address without it"
	}
	return ""
}

func checkAddress(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /@") {
		return fmt.Sprintf("%s is not an address; write host:port or :port, such as 127.0.0.1:9877", show(s))
	}
	return ""
}

// loopback reports whether host is this machine alone, without asking a name server.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// suggestion returns `, did you mean "x"?` with the nearest of known, or "" where none is near.
func suggestion(name string, known []string) string {
	best, least := "", min(3, len(name)/2+1)
	for _, k := range known {
		if d := min(distance(name, k), distance(strings.ToLower(name), k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance counts the bytes to add, drop, change or swap with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	var before, row, next [65]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
