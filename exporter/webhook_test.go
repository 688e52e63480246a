package exporter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// A label of deliveries that a sender can choose turns this red, a series that is not there before the first delivery,
// and a queue whose length is not that of the store.
func TestDeliveries(t *testing.T) {
	s := newService(t, exporter.Options{})
	if n := len(lines(s.page(t, ""), "pushdoctor_webhook_deliveries_total")); n != 7*7 {
		t.Errorf("%d series at the start, want 49", n)
	}
	compare(t, lines(s.page(t, ""), "pushdoctor_queue_length"), []string{"pushdoctor_queue_length 0"})

	s.Delivered("workflow_run", exporter.DeliveryAccepted)
	s.Delivered("workflow_run", exporter.DeliveryAccepted)
	s.Delivered("", exporter.DeliveryBadSignature)
	s.Delivered("\xffpush\n", exporter.DeliveryIgnored)
	for run := range int64(3) {
		if _, err := s.db.Enqueue(store.Work{Repository: "octo-lab/api", RepositoryID: 7, RunID: run + 1, Queued: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	page := s.page(t, "")
	var counted []string
	for _, line := range lines(page, "pushdoctor_webhook_deliveries_total") {
		if !strings.HasSuffix(line, " 0") {
			counted = append(counted, line)
		}
	}
	compare(t, counted, []string{
		`pushdoctor_webhook_deliveries_total{event="other",result="bad_signature"} 1`,
		`pushdoctor_webhook_deliveries_total{event="other",result="ignored"} 1`,
		`pushdoctor_webhook_deliveries_total{event="workflow_run",result="accepted"} 2`,
	})
	compare(t, lines(page, "pushdoctor_queue_length"), []string{"pushdoctor_queue_length 3"})
}
