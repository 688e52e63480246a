package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/redact"
	"github.com/akkospace/pushdoctor/remedy"
	"github.com/akkospace/pushdoctor/store"
	"github.com/prometheus/common/model"
)

// batch is how many findings are in memory at a time while the API writes them.
const batch = 200

// jsonLines is one JSON object a line.
const jsonLines = "application/x-ndjson; charset=utf-8"

// advise returns what to do about f, in the language l, after it has redacted it once more: what redact has learned
// since f was stored serves old findings too.
func advise(f *store.Stored, l remedy.Language) []pushdoctor.Hint {
	f.Message = redact.String(f.Message)
	f.Evidence = slices.Clone(f.Evidence)
	for i := range f.Evidence {
		f.Evidence[i].Text = redact.String(f.Evidence[i].Text)
	}
	return remedy.Advise(f.Finding, f.Facts, l)
}

// AppendJSON appends f to b as one line of JSON, as the API and the command line print it: the fields of the job and
// of the finding, then its hints, whose titles and steps are in the language l, then the address of its page, if the service has an
// external one.
func AppendJSON(b []byte, f store.Stored, l remedy.Language, external string) ([]byte, error) {
	hints := advise(&f, l)
	finding, err := json.Marshal(f)
	if err != nil {
		return b, fmt.Errorf("finding %s: %w", f.ID, err)
	}
	advice, err := json.Marshal(hints)
	if err != nil {
		return b, fmt.Errorf("hints of finding %s: %w", f.ID, err)
	}
	b = append(b, bytes.TrimSuffix(finding, []byte("}"))...)
	b = append(b, `,"hints":`...)
	b = append(b, advice...)
	if page, _ := json.Marshal(pageOf(f.ID, external)); external != "" { // a string can always be written
		b = append(b, `,"page":`...)
		b = append(b, page...)
	}
	return append(b, "}\n"...), nil
}

// pageOf is the address of a finding's page, "" without an external address.
func pageOf(id, external string) string {
	if external == "" {
		return ""
	}
	return strings.TrimRight(external, "/") + "/findings/" + url.PathEscape(id)
}

func (h *handler) apiFindings(w http.ResponseWriter, r *http.Request) {
	q, language, err := h.query(r.URL.RawQuery)
	if err != nil {
		apiError(w, http.StatusBadRequest, err.Error())
		return
	}
	left := q.Limit // 0: all
	out := bufio.NewWriterSize(w, 64<<10)
	for first := true; ; first = false {
		q.Limit = batch
		if left > 0 {
			q.Limit = min(batch, left)
		}
		found, err := h.Store.Find(q)
		if err == nil && first {
			w.Header().Set("Content-Type", jsonLines)
		}
		var line []byte
		for _, f := range found {
			if line, err = AppendJSON(line[:0], f, language, h.ExternalURL); err != nil {
				break
			}
			if _, gone := out.Write(line); gone != nil {
				return
			}
		}
		switch {
		case first && errors.Is(err, store.ErrNoFinding):
			apiError(w, http.StatusBadRequest, fmt.Sprintf("after: the store has no finding %.40q", q.After))
			return
		case err != nil && first:
			h.Log.Error("the store could not be read", "err", err)
			apiError(w, http.StatusInternalServerError, "the store could not be read; the log of the service says why")
			return
		case err != nil:
			h.Log.Error("the store could not be read", "err", err)
			panic(http.ErrAbortHandler) // the reader must not take what came for all there is
		}
		left -= len(found)
		if len(found) < q.Limit || left == 0 {
			break
		}
		q.After = found[len(found)-1].ID
	}
	_ = out.Flush() // a reader who has gone is nobody's fault
}

// parameters reads a query by the readers of its parameters, and tells all faults at once. A word that has no reader is a fault: a filter
// with a slip of the pen in its name would answer with everything.
func parameters(raw string, readers map[string]func(value string) error) error {
	form, err := url.ParseQuery(raw)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(form)) {
		read, ok := readers[name]
		if !ok {
			faults = append(faults, fmt.Errorf("%s: there is no such parameter; there are %s", name, strings.Join(slices.Sorted(maps.Keys(readers)), ", ")))
			continue
		}
		if err := read(form[name][len(form[name])-1]); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// query reads the parameters of /api/v1/findings.
func (h *handler) query(raw string) (q store.Query, language remedy.Language, err error) {
	language = remedy.English
	err = parameters(raw, map[string]func(string) error{
		"since":      func(v string) (err error) { q.Since, err = ParseTime(v, h.Now()); return err },
		"until":      func(v string) (err error) { q.Until, err = ParseTime(v, h.Now()); return err },
		"repository": func(v string) error { q.Repository = v; return nil },
		"after":      func(v string) error { q.After = v; return nil },
		"lang":       func(v string) (err error) { language, err = remedy.ParseLanguage(v); return err },
		"cause": func(v string) error {
			if q.Cause = pushdoctor.Cause(v); !q.Cause.Valid() {
				return fmt.Errorf("%q is not one of the causes", v)
			}
			return nil
		},
		"limit": func(v string) (err error) {
			if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 {
				return fmt.Errorf("%q is not a number from 1 up", v)
			}
			return nil
		},
	})
	return q, language, err
}

// ParseTime reads a time as RFC 3339, as a day, which is its first moment in UTC, or as a span before now, "7d". It is in
// UTC and whole seconds, as the API tells times.
func ParseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-03-01T10:00:00Z, nor a day such as 2026-03-01, nor a span such as 7d", s)
	}
	return now.Add(-time.Duration(d)).UTC().Truncate(time.Second), nil
}

func (h *handler) apiRepositories(w http.ResponseWriter, _ *http.Request) {
	repositories, err := h.Store.Repositories()
	if err != nil {
		h.Log.Error("the store could not be read", "err", err)
		apiError(w, http.StatusInternalServerError, "the store could not be read; the log of the service says why")
		return
	}
	w.Header().Set("Content-Type", jsonLines)
	out := json.NewEncoder(w)
	for _, r := range repositories {
		if out.Encode(struct {
			ID        int64     `json:"id"`
			Name      string    `json:"repository"`
			LiveSince time.Time `json:"live_since,omitzero"`
			Through   time.Time `json:"through,omitzero"`
			Swept     time.Time `json:"swept,omitzero"`
			State     string    `json:"state"`
			Reason    string    `json:"reason,omitempty"`
		}{r.ID, r.Name, r.LiveSince, r.Cursor.Through, r.Cursor.Swept, r.State, r.Reason}) != nil {
			return // a reader who has gone
		}
	}
}

func apiError(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
}
