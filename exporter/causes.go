package exporter

import (
	"strconv"

	"github.com/akkospace/pushdoctor"
	"github.com/prometheus/client_golang/prometheus"
)

const causePage = "https://github.com/akkospace/pushdoctor/blob/main/docs/causes.md#"

// causes returns cause_info, with which a dashboard or an alert puts words to a cause.
func causes() prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pushdoctor_cause_info",
		Help: "1; what a cause means, whether it lasts until somebody changes something, and where to read on.",
	}, []string{"cause", "category", "lasting", "title", "docs"})
	for _, c := range pushdoctor.Causes {
		info.WithLabelValues(string(c), string(c.Category()), strconv.FormatBool(c.Lasting()), c.Title(), causePage+string(c)).Set(1)
	}
	return info
}
