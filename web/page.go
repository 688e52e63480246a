package web

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/remedy"
	"github.com/akkospace/pushdoctor/store"
)

// perPage is how many findings stand on the first page.
const perPage = 20

// A frame is what all pages have.
type frame struct {
	Title     string
	Root      string          // the way to the first page, "./" or "../": a proxy may serve us below a path
	Language  remedy.Language // of the hints
	Keep      string          // "?lang=zh" behind a link of ours, "" in English
	Switch    string          // this page in the other language
	Version   string
	Collected time.Time
	Banners   []banner
}

// A banner is what a reader must know before believing the page.
type banner struct {
	Kind        string // "bad" or "note"
	Title, Text string
	Items       []string
}

// An answer is a finding with what to do about it.
type answer struct {
	store.Stored
	Hints []pushdoctor.Hint
	Open  bool // the first hint is unfolded
}

type listPage struct {
	frame
	Empty        string
	Repository   string
	Cause        pushdoctor.Cause
	Repositories []string
	Causes       []pushdoctor.Cause
	Broken       brokenList // on the first page of the list alone
	Answers      []answer
	Paged        bool
	First, Next  string
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	language, err := languageOf(form)
	if err != nil {
		h.noLanguage(w, r, "./", err)
		return
	}
	repositories, err := h.Store.Repositories()
	if err != nil {
		h.fault(w, r, "./", err)
		return
	}
	p := listPage{
		frame:      h.frame(r, "Failed pushes", "./", repositories),
		Repository: form.Get("repository"),
		Cause:      pushdoctor.Cause(form.Get("cause")),
		Causes:     pushdoctor.Causes,
		Paged:      form.Get("after") != "",
	}
	for _, r := range repositories {
		p.Repositories = append(p.Repositories, r.Name)
		if strings.EqualFold(r.Name, p.Repository) {
			p.Repository = r.Name
		}
	}
	slices.Sort(p.Repositories)
	if p.Repository != "" && !slices.Contains(p.Repositories, p.Repository) {
		p.Repositories = append(p.Repositories, p.Repository) // the form must not say "all" above a page of one
	}
	if p.Cause != "" && !p.Cause.Valid() {
		h.message(w, r, http.StatusBadRequest, "./", "No such cause", fmt.Sprintf("%q is not one of the causes.", p.Cause))
		return
	}
	if !p.Paged {
		if p.Broken, err = h.broken(p.Repository, p.Cause); err != nil {
			h.fault(w, r, "./", err)
			return
		}
	}
	found, err := h.Store.Find(store.Query{
		Repository: p.Repository, Cause: p.Cause, After: form.Get("after"), Newest: true, Limit: perPage + 1,
	})
	if errors.Is(err, store.ErrNoFinding) {
		h.message(w, r, http.StatusNotFound, "./", "No such page", "The store has let go of the findings that stood here.")
		return
	}
	if err != nil {
		h.fault(w, r, "./", err)
		return
	}
	link := func(after string) string {
		to := url.Values{}
		for name, value := range map[string]string{"repository": p.Repository, "cause": string(p.Cause), "after": after, "lang": keptLanguage(language)} {
			if value != "" {
				to.Set(name, value)
			}
		}
		if len(to) == 0 {
			return "./"
		}
		return "?" + to.Encode()
	}
	if len(found) > perPage {
		found = found[:perPage]
		p.Next = link(found[perPage-1].ID)
	}
	p.First = link("")
	for i, f := range found {
		p.Answers = append(p.Answers, answer{f, advise(&f, language), i == 0})
	}
	switch {
	case p.Repository != "" || p.Cause != "" || p.Paged:
		p.Empty = "No failed push that fits."
	case p.Collected.IsZero():
		p.Empty = "No failed push is known yet."
	default:
		p.Empty = "No push has failed."
	}
	h.page(w, http.StatusOK, "list.html", p)
}

func (h *handler) finding(w http.ResponseWriter, r *http.Request) {
	language, err := languageOf(r.URL.Query())
	if err != nil {
		h.noLanguage(w, r, "../", err)
		return
	}
	f, ok, err := h.Store.Finding(r.PathValue("id"))
	switch {
	case err != nil:
		h.fault(w, r, "../", err)
		return
	case !ok:
		h.message(w, r, http.StatusNotFound, "../", "No such finding",
			"It may be older than the store keeps findings, or its job was read again with another result.")
		return
	}
	repositories, err := h.Store.Repositories()
	if err != nil {
		h.fault(w, r, "../", err)
		return
	}
	var group *pushdoctor.Group
	if g, ok, err := h.Store.GroupOf(f.ID, h.Now()); err != nil {
		h.fault(w, r, "../", err)
		return
	} else if ok {
		group = &g
	}
	h.page(w, http.StatusOK, "finding.html", struct {
		frame
		Answer answer
		Group  *pushdoctor.Group // nil: the finding opened none
	}{
		h.frame(r, f.Cause.Title()+" · "+f.Job.Repository, "../", repositories),
		answer{f, advise(&f, language), true}, group,
	})
}

// frame returns what stands round each page. Nothing is passed over in silence: what keeps findings from
// coming in stands above those that are there.
func (h *handler) frame(r *http.Request, title, root string, repositories []store.Repository) frame {
	form := r.URL.Query()
	language, err := languageOf(form)
	if err != nil {
		language = remedy.English // this is the page that says so
	}
	f := frame{Title: title, Root: root, Version: h.Version, Language: language, Switch: "?"}
	if kept := keptLanguage(language); kept != "" {
		f.Keep = "?lang=" + kept
		form.Del("lang")
	} else {
		form.Set("lang", string(remedy.Chinese))
	}
	f.Switch += form.Encode()
	if h.Options.Status == nil {
		return f
	}
	status := h.Options.Status()
	f.Collected = status.Collected
	switch {
	case status.TokenRefused:
		f.Banners = append(f.Banners, banner{Kind: "bad", Title: "GitHub refuses the token.",
			Text: "Nothing new is read until it is replaced: it has expired, was revoked, or is not a token of this GitHub."})
	case status.Collected.IsZero():
		f.Banners = append(f.Banners, banner{Kind: "note", Title: "Nothing was collected yet.",
			Text: "The first poll of the repositories has not ended. If this stays, the log of the service says why."})
	}
	faulty := slices.Sorted(maps.Keys(status.Faults))
	var ill []string
	for _, name := range faulty {
		ill = append(ill, name+": "+status.Faults[name])
	}
	for _, r := range repositories {
		told := slices.ContainsFunc(faulty, func(name string) bool { return strings.EqualFold(name, r.Name) })
		if r.Reason != "" && !told {
			ill = append(ill, r.Name+": "+r.Reason)
		}
	}
	if len(ill) > 0 {
		f.Banners = append(f.Banners, banner{Kind: "note", Title: "Not all repositories can be read.", Items: ill})
	}
	return f
}

// languageOf returns the language that a page's form asks for, English where it asks for none.
func languageOf(form url.Values) (remedy.Language, error) {
	if form.Get("lang") == "" {
		return remedy.English, nil
	}
	return remedy.ParseLanguage(form.Get("lang"))
}

// keptLanguage returns what links must hold for the next page to be in l, "" for the default.
func keptLanguage(l remedy.Language) string {
	if l == remedy.English {
		return ""
	}
	return string(l)
}

func (h *handler) nothing(w http.ResponseWriter, r *http.Request) {
	// The way back from a path of unknown depth; the first segment costs nothing.
	root := "./" + strings.Repeat("../", strings.Count(r.URL.EscapedPath(), "/")-1)
	h.message(w, r, http.StatusNotFound, root, "No such page", "")
}

// fault answers that the store could not be read. The reason goes to the log: it may name paths of this machine.
func (h *handler) fault(w http.ResponseWriter, r *http.Request, root string, err error) {
	h.Log.Error("the store could not be read", "err", err)
	h.message(w, r, http.StatusInternalServerError, root, "The store could not be read", "The log of the service says why.")
}

func (h *handler) noLanguage(w http.ResponseWriter, r *http.Request, root string, err error) {
	h.message(w, r, http.StatusBadRequest, root, "No such language", err.Error()+".")
}

func (h *handler) message(w http.ResponseWriter, r *http.Request, code int, root, title, text string) {
	h.page(w, code, "nothing.html", struct {
		frame
		Text string
	}{h.frame(r, title, root, nil), text})
}

// page writes a page whole or, where its template fails, says so: half a page would look like all there is.
func (h *handler) page(w http.ResponseWriter, code int, name string, data any) {
	var b bytes.Buffer
	if err := h.templates.ExecuteTemplate(&b, name, data); err != nil {
		h.Log.Error("a page could not be made", "page", name, "err", err)
		plain(w, http.StatusInternalServerError, "The page could not be made. The log of the service says why.\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // a reader who has gone is nobody's fault
}
