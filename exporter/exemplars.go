package exporter

import (
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

// lookups bounds how many findings one scrape asks the store for. After a start there may be thousands of
// series; Prometheus wants an exemplar of those that grow, and gets the others' by and by.
const lookups = 500

// exemplars remembers of the findings that the series name when they happened and why. An exemplar without a time of its own would be a new one
// at each scrape. The time is zero where there is none: the finding may have been pruned since, or replaced by another reading.
type exemplars map[string]exemplar

type exemplar struct {
	at    time.Time
	cause pushdoctor.Cause
}

// next returns the exemplars for totals, with those of e that still stand.
func (e exemplars) next(db *store.DB, totals []store.Total) (exemplars, error) {
	out, asked := exemplars{}, 0
	for _, t := range totals {
		if t.Finding == "" {
			continue
		}
		of, known := e[t.Finding]
		if !known {
			if asked++; asked > lookups {
				continue
			}
			f, ok, err := db.Finding(t.Finding)
			if err != nil {
				return e, err
			}
			if ok {
				of = exemplar{f.CompletedAt, f.Cause}
			}
		}
		out[t.Finding] = of
	}
	return out, nil
}
