package exporter

import (
	"time"

	"github.com/akkospace/pushdoctor/store"
)

// lookups bounds how many findings one scrape asks the store for. After a start there may be thousands of
// series; Prometheus wants an exemplar of those that grow, and gets the others' by and by.
const lookups = 500

// exemplars remembers when the findings happened that raised the series last. An exemplar without a time of
// its own would be a new one at each scrape. The time is zero where there is none: the finding may have been pruned since, or
// replaced by another reading.
type exemplars map[string]time.Time

// next returns the exemplars for totals, with those of e that still stand.
func (e exemplars) next(db *store.DB, totals []store.Total) (exemplars, error) {
	out, asked := exemplars{}, 0
	for _, t := range totals {
		if t.Finding == "" {
			continue
		}
		at, known := e[t.Finding]
		if !known {
			if asked++; asked > lookups {
				continue
			}
			f, ok, err := db.Finding(t.Finding)
			if err != nil {
				return e, err
			}
			if ok {
				at = f.CompletedAt
			}
		}
		out[t.Finding] = at
	}
	return out, nil
}
