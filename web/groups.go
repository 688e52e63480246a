package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
			Lasting bool `json:"lasting"` // false: the cause may pass by itself
		}{g, g.Cause.Lasting()}) != nil {
			return // a reader who has gone
		}
	}
}

// groupQuery reads the parameters of /api/v1/groups. Without any it asks for what is broken now.
func (h *handler) groupQuery(raw string) (store.GroupQuery, error) {
	form, err := url.ParseQuery(raw)
	if err != nil {
		return store.GroupQuery{}, fmt.Errorf("query: %w", err)
	}
	q := store.GroupQuery{Now: h.Now()}
	var faults []error
	for name, values := range form {
		value := values[len(values)-1]
		var err error
		switch name {
		case "since":
			q.Since, err = ParseTime(value, h.Now())
		case "repository":
			q.Repository = value
		case "state":
			if q.State = pushdoctor.GroupState(value); !q.State.Valid() {
				err = fmt.Errorf("%q is none of fixed, open and stale", value)
			}
		default:
			err = errors.New("there is no such parameter; there are repository, since and state")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	if q.State == "" && q.Since.IsZero() {
		q.State = pushdoctor.GroupOpen
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return q, errors.Join(faults...)
}

// span returns a length of time in its greatest unit, "3 hours".
func span(d time.Duration) string {
	s, long := strings.CutSuffix(ago(d), " ago")
	if !long {
		return "less than a minute"
	}
	return s
}
