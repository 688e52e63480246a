package exporter

import (
	"slices"

	"github.com/akkospace/pushdoctor/store"
	"github.com/prometheus/client_golang/prometheus"
)

// A DeliveryResult says what became of a webhook's delivery.
type DeliveryResult string

// The results.
const (
	DeliveryAccepted     DeliveryResult = "accepted"      // it is work, or was before
	DeliveryIgnored      DeliveryResult = "ignored"       // it tells nothing of use
	DeliveryNotAdmitted  DeliveryResult = "not_admitted"  // the configuration does not name the repository
	DeliveryBadSignature DeliveryResult = "bad_signature" // or none
	DeliveryBadRequest   DeliveryResult = "bad_request"   // not what GitHub sends
	DeliveryTooLarge     DeliveryResult = "too_large"
	DeliveryFailed       DeliveryResult = "failed" // for a reason of ours: GitHub may send it again
)

var (
	deliveryResults = []DeliveryResult{
		DeliveryAccepted, DeliveryIgnored, DeliveryNotAdmitted, DeliveryBadSignature, DeliveryBadRequest, DeliveryTooLarge, DeliveryFailed,
	}
	deliveryEvents = []string{"ping", "workflow_run", "workflow_job", "repository", "installation", "installation_repositories", other}
)

// newDeliveries returns the counter with all its series: both sets are closed.
func newDeliveries() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushdoctor_webhook_deliveries_total",
		Help: "Deliveries to the webhook by what became of them; the event is other until the signature is known to be good.",
	}, []string{"event", "result"})
	for _, event := range deliveryEvents {
		for _, result := range deliveryResults {
			c.WithLabelValues(event, string(result))
		}
	}
	return c
}

// Delivered counts a delivery to the webhook. An event that is not read is counted as other, and so is "".
func (e *Exporter) Delivered(event string, result DeliveryResult) {
	if !slices.Contains(deliveryEvents, event) {
		event = other
	}
	e.deliveries.WithLabelValues(event, string(result)).Inc()
}

// A queue is the metric of how much work of the webhook waits in the store.
type queue struct {
	db   *store.DB
	desc *prometheus.Desc
}

func newQueue(db *store.DB) queue {
	return queue{db, prometheus.NewDesc("pushdoctor_queue_length", "What the webhook has told of and was not looked at.", nil, nil)}
}

// Describe implements prometheus.Collector.
func (q queue) Describe(ch chan<- *prometheus.Desc) { ch <- q.desc }

// Collect implements prometheus.Collector.
func (q queue) Collect(ch chan<- prometheus.Metric) {
	n, err := q.db.QueueLength()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(q.desc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(q.desc, prometheus.GaugeValue, float64(n))
}
