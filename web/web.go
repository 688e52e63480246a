// Package web shows what the store holds: pages for people, JSON lines for programs. It only reads,
// and it needs no script in the browser. All that comes out of a log is taken as a stranger's text.
package web

import (
	"cmp"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/akkospace/pushdoctor/store"
)

// Options are what a Handler shows and whom it asks. Store and Metrics must be set.
type Options struct {
	Store   *store.DB
	Metrics http.Handler  // serves /metrics
	Status  func() Status // nil: a service that never tells of itself
	Version string        // of the program; shown at the foot of each page
	Now     func() time.Time
	Log     *slog.Logger // nil: slog.Default

	ExternalURL string // by which people reach the pages; "": the API links to none of them
}

// A Status says how the service fares that fills the store.
type Status struct {
	TokenRefused bool      // GitHub answered 401 when it was last asked
	Collected    time.Time // the end of the last poll that went well, of any repository; zero before the first
	// Faults say why a repository, or those of a pattern, cannot be read, by the name that the configuration has for them.
	Faults map[string]string
}

//go:embed style.css
var style []byte

//go:embed *.html
var pages embed.FS

// A handler answers from one store.
type handler struct {
	Options
	templates *template.Template
}

// Handler returns the handler of all paths: the pages, the JSON under /api/v1, /metrics and the two of health.
func Handler(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Log = cmp.Or(o.Log, slog.Default())
	h := &handler{o, parse(o.Now)}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.list)
	mux.HandleFunc("GET /findings/{id}", h.finding)
	mux.HandleFunc("GET /style.css", h.style)
	mux.HandleFunc("GET /api/v1/findings", h.apiFindings)
	mux.HandleFunc("GET /api/v1/groups", h.apiGroups)
	mux.HandleFunc("GET /api/v1/repositories", h.apiRepositories)
	mux.HandleFunc("GET /-/healthy", h.healthy)
	mux.HandleFunc("GET /-/ready", h.ready)
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /", h.nothing)
	return guard(mux)
}

// guard sets what keeps a browser from doing anything with our pages but showing them.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer") // a link to GitHub need not tell where this service is
		header.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

func (h *handler) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(style) // a reader who has gone is nobody's fault
}

func (h *handler) healthy(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "pushdoctor is healthy.\n")
}

func (h *handler) ready(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "pushdoctor is ready.\n")
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}
