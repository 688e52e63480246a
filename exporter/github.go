package exporter

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An Exchange is one request to GitHub with its answer. It has the fields of actions.Exchange, from which it is converted.
type Exchange struct {
	Endpoint   string
	Code       int    // the HTTP status; 0: no answer came
	Credential string // the name, never the value, of what the request was signed with; "" on the host of the logs, to which none is sent
	Renewed    bool   // it cost quota since the credential had another token by then: ETags belong to a token

	Resource         string // of the limit; "": the answer told of none, and the next three are not used
	Limit, Remaining int
	Reset            time.Time

	Expires  time.Time // when the credential ends, as GitHub says; zero where it does not
	Duration time.Duration
	Err      error // of no use here
}

// github holds the metrics of exchanges with GitHub.
type github struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	limit     *prometheus.GaugeVec
	remaining *prometheus.GaugeVec
	reset     *prometheus.GaugeVec
	valid     *prometheus.GaugeVec
	expiry    *prometheus.GaugeVec
	renewed   *prometheus.CounterVec

	mu          sync.Mutex      // guards credentials
	credentials map[string]bool // of which there are series
}

func newGitHub() *github {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &github{
		requests: counter("pushdoctor_github_requests_total",
			"Requests to GitHub by endpoint and HTTP status; the code is none where no answer came.", "endpoint", "code"),
		duration: prometheus.NewHistogramVec(histogram(
			"pushdoctor_github_request_duration_seconds",
			"How long requests to GitHub took until the answer's headers were there.",
			0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
		), []string{"endpoint", "code"}),
		limit: gauge("pushdoctor_github_rate_limit_limit",
			"Requests that GitHub allows the credential in one window.", "credential", "resource"),
		remaining: gauge("pushdoctor_github_rate_limit_remaining",
			"Requests that are left to the credential in this window.", "credential", "resource"),
		reset: gauge("pushdoctor_github_rate_limit_reset_timestamp_seconds",
			"When the window of the rate limit ends.", "credential", "resource"),
		valid: gauge("pushdoctor_github_credential_valid",
			"1 while GitHub accepts the credential, 0 once it answered 401.", "credential"),
		expiry: gauge("pushdoctor_github_credential_expiry_timestamp_seconds",
			"When the credential ends, where GitHub says that it does.", "credential"),
		renewed: counter("pushdoctor_github_renewed_requests_total",
			"Requests that cost quota since the token was another one than that of the answer that was kept.", "credential"),
		credentials: map[string]bool{},
	}
}

// collectors are all metrics of g.
func (g *github) collectors() []prometheus.Collector {
	return []prometheus.Collector{g.requests, g.duration, g.limit, g.remaining, g.reset, g.valid, g.expiry, g.renewed}
}

// Exchange counts one exchange with GitHub, and notes what its answer says of the credential.
func (e *Exporter) Exchange(x Exchange) {
	g := e.github
	endpoint, credential, resource := label(x.Endpoint), label(x.Credential), label(x.Resource)
	answer := "none"
	if x.Code != 0 {
		answer = strconv.Itoa(x.Code)
	}
	g.requests.WithLabelValues(endpoint, answer).Inc()
	g.duration.WithLabelValues(endpoint, answer).Observe(x.Duration.Seconds())
	if credential == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.credentials[credential] = true
	renewed := g.renewed.WithLabelValues(credential) // at 0 from the credential's first request on
	if x.Renewed {
		renewed.Inc()
	}
	switch {
	case x.Code == http.StatusUnauthorized:
		g.valid.WithLabelValues(credential).Set(0)
	case x.Code >= 200 && x.Code < 400, x.Code == http.StatusNotFound:
		// A 403 says nothing: GitHub answers so to everybody who has sent a bad token for a while.
		g.valid.WithLabelValues(credential).Set(1)
	}
	switch {
	case !x.Expires.IsZero():
		g.expiry.WithLabelValues(credential).Set(seconds(x.Expires))
	case x.Code == http.StatusOK: // an answer of another kind may leave it out
		g.expiry.DeleteLabelValues(credential)
	}
	if resource == "" {
		return
	}
	g.limit.WithLabelValues(credential, resource).Set(float64(x.Limit))
	g.remaining.WithLabelValues(credential, resource).Set(float64(x.Remaining))
	g.reset.WithLabelValues(credential, resource).Set(seconds(x.Reset))
}

// Credentials notes which credentials are in use: what was said of others is taken back, since nobody will hear of them again.
func (e *Exporter) Credentials(inUse []string) {
	g := e.github
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.credentials {
		if slices.ContainsFunc(inUse, func(name string) bool { return label(name) == c }) {
			continue
		}
		delete(g.credentials, c)
		of := prometheus.Labels{"credential": c}
		for _, vec := range []interface{ DeletePartialMatch(prometheus.Labels) int }{g.limit, g.remaining, g.reset, g.valid, g.expiry, g.renewed} {
			vec.DeletePartialMatch(of)
		}
	}
}
