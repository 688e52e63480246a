package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// maxBroken is how many groups stand on the first page; there is a line that tells of the others.
const maxBroken = 100

// A brokenList is the part of the first page that says what is broken now.
type brokenList struct {
	Groups []pushdoctor.Group
	More   int // that are not shown
}

// broken returns what is broken now of a repository and of a cause, "" for all, the longest broken first.
func (h *handler) broken(repository string, cause pushdoctor.Cause) (brokenList, error) {
	open, err := h.Store.Groups(store.GroupQuery{Now: h.Now(), State: pushdoctor.GroupOpen, Repository: repository})
	if err != nil {
		return brokenList{}, err
	}
	if cause != "" {
		open = slices.DeleteFunc(open, func(g pushdoctor.Group) bool { return g.Cause != cause })
	}
	shown := open[:min(len(open), maxBroken)]
	return brokenList{shown, len(open) - len(shown)}, nil
}

// lasts says whether a cause may pass by itself; of one that is not known there is nothing to say.
func lasts(c pushdoctor.Cause) string {
	switch {
	case c == pushdoctor.CauseUnknown:
		return ""
	case c.Lasting():
		return "lasts until something is changed"
	}
	return "may pass by itself"
}

func (h *handler) apiGroups(w http.ResponseWriter, r *http.Request) {
	q, err := h.groupQuery(r.URL.RawQuery)
	if err != nil {
		apiError(w, http.StatusBadRequest, err.Error())
		return
	}
	groups, err := h.Store.Groups(q)
	if err != nil {
		h.Log.Error("the store could not be read", "err", err)
		apiError(w, http.StatusInternalServerError, "the store could not be read; the log of the service says why")
		return
	}
	w.Header().Set("Content-Type", jsonLines)
	out := json.NewEncoder(w)
	for _, g := range groups {
		if out.Encode(struct {
			pushdoctor.Group
			Lasting bool   `json:"lasting"`        // false: the cause may pass by itself
			Page    string `json:"page,omitempty"` // of the newest failure
		}{g, g.Cause.Lasting(), pageOf(g.Finding, h.ExternalURL)}) != nil {
			return // a reader who has gone
		}
	}
}

// groupQuery reads the parameters of /api/v1/groups. Without any it asks for what is broken now.
func (h *handler) groupQuery(raw string) (store.GroupQuery, error) {
	q := store.GroupQuery{Now: h.Now()}
	err := parameters(raw, map[string]func(string) error{
		"since":      func(v string) (err error) { q.Since, err = ParseTime(v, h.Now()); return err },
		"repository": func(v string) error { q.Repository = v; return nil },
		"state": func(v string) error {
			if q.State = pushdoctor.GroupState(v); !q.State.Valid() {
				return fmt.Errorf("%q is none of fixed, open and stale", v)
			}
			return nil
		},
	})
	if q.State == "" && q.Since.IsZero() {
		q.State = pushdoctor.GroupOpen
	}
	return q, err
}

// span returns a length of time in its greatest unit, "3 hours".
func span(d time.Duration) string {
	s, long := strings.CutSuffix(ago(d), " ago")
	if !long {
		return "less than a minute"
	}
	return s
}
