package actions

import (
	"testing"
	"time"
)

// White-box, since it takes 16 MB of lists to reach the bound from outside. Without it a service that watches
// an organisation grows for ever.
func TestPagesAreBounded(t *testing.T) {
	p := newPages(10 << 10)
	for _, address := range []string{"a", "b", "c", "a", "d"} {
		if _, ok := p.get(address); !ok {
			p.put(address, page{etag: address, body: make([]byte, 2<<10)})
		}
	}
	var kept string
	for _, address := range []string{"a", "b", "c", "d"} {
		if _, ok := p.get(address); ok {
			kept += address
		}
	}
	if kept != "acd" || p.bytes != 9<<10 || p.order.Len() != 3 {
		t.Errorf("%s are kept in %d bytes and %d places, want acd: b was used least recently", kept, p.bytes, p.order.Len())
	}
	p.put("huge", page{body: make([]byte, 1<<20)})
	if p.bytes != 0 || len(p.by) != 0 {
		t.Errorf("%d bytes for %d pages after one that is too big", p.bytes, len(p.by))
	}
}

// White-box, since the order in which answers arrive cannot be arranged from outside. An answer that was overtaken
// must not give back what is used up, nor bring back the hour before.
func TestQuotaOfAnswersThatOvertake(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	hour := now.Add(30 * time.Minute)
	for _, test := range []struct {
		name            string
		told            quota
		remaining, left int // after it; minutes to the end
	}{
		{"later", quota{"core", 5000, 90, hour}, 90, 30},
		{"overtaken", quota{"core", 5000, 110, hour.Add(time.Second)}, 100, 30},
		{"next hour", quota{"core", 5000, 4999, hour.Add(time.Hour)}, 4999, 90},
		{"hour before", quota{"core", 5000, 2, now.Add(time.Minute)}, 100, 30},
		{"of search", quota{"search", 30, 1, hour}, 100, 30},
	} {
		q := quota{"core", 5000, 100, hour}
		q.update(test.told, now)
		if got := int(q.reset.Sub(now).Minutes()); q.remaining != test.remaining || got != test.left {
			t.Errorf("%s: %d remain for %d minutes, want %d for %d", test.name, q.remaining, got, test.remaining, test.left)
		}
	}
}
