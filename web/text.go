package web

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/akkospace/pushdoctor"
)

// text returns s with what a browser would not show as it stands made visible: control characters, and those that
// turn the direction of writing or hide what follows. Escaping is html/template's work.
func text(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ':
			return '␀' + r // the picture of the control character
		case r == 0x7f:
			return '␡'
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// address reports whether s leads to a page; anything else in a link could be a script.
func address(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// short returns an address without its scheme, as a link's text.
func short(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	return text(strings.TrimPrefix(rest, "www."))
}

func percent(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// status says which HTTP status decided a failure and how it is known.
func status(code int, source pushdoctor.StatusSource) string {
	if code == 0 {
		return "no answer that the log shows"
	}
	s := fmt.Sprintf("%d", code)
	if name := http.StatusText(code); name != "" {
		s += " " + name
	}
	if source == pushdoctor.StatusImplied {
		s += ", implied by the registry's error code"
	}
	return s
}

// ago returns how long ago something was, in its greatest unit.
func ago(d time.Duration) string {
	for _, unit := range []struct {
		name string
		span time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		switch n := d / unit.span; {
		case n == 1:
			return "1 " + unit.name + " ago"
		case n > 1:
			return fmt.Sprintf("%d %ss ago", n, unit.name)
		}
	}
	return "just now"
}

// parse returns the pages, which tell times as seen from now.
func parse(now func() time.Time) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"text": text, "address": address, "short": short, "percent": percent, "stamp": stamp, "status": status, "lasts": lasts,
		"took": func(g pushdoctor.Group) string { return span(g.Closed.Sub(g.Opened)) },
		"ago":  func(t time.Time) string { return ago(now().Sub(t)) },
	}).ParseFS(pages, "*.html"))
}
