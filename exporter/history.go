package exporter

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor/store"
)

// HistoryJob is the value of the label job by which history is told from what a service counts live.
const HistoryJob = "pushdoctor-history"

// HistoryLag is how old a sample must be to be handed to a Prometheus as a block: younger ones may be in the part that it still writes.
//
// Source: https://prometheus.io/docs/prometheus/latest/storage/#backfilling-from-openmetrics-format
const HistoryLag = 3 * time.Hour

// ContentTypeHistory is the media type of what WriteHistory writes.
const ContentTypeHistory = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// historyFamilies are the metrics that history has, in the order in which they are written.
var historyFamilies = []string{store.MetricPushFailures, store.MetricPushFailuresRetried, store.MetricPushes, store.MetricRuns, store.MetricJobsRead}

// WriteHistory writes to w what the store holds of history, as counters in OpenMetrics with the times at which things happened. What is live is
// not among them: a service's own counters count it.
//
// A sample stands at each full hour UTC, and counts what ended before it. A series begins at the hour of its first event,
// with 0, and goes on to the midnight after its last one. So from one midnight to the next, or from hour to hour, the difference of two samples is what
// ended in between, and a range of a day that ends at midnight has samples at both of its ends: Prometheus extrapolates nothing, not on a
// series' last day either. Series are sorted, and so are the samples of each.
//
// Neither a sample nor what it would count is later than until: a Prometheus that is handed a block for a time of which it still takes samples
// refuses those, of all that it scrapes. See HistoryLag.
//
// Memory is bounded by how many hours have events in them, not by the samples. The store is read before anything is written, as of one moment;
// a slow reader of w does not hold it. An error leaves w without the line "# EOF" that ends the whole.
func WriteHistory(ctx context.Context, w io.Writer, db *store.DB, until time.Time) error {
	end := until.Unix() / hour
	by := map[string]map[string]*past{}
	for _, name := range historyFamilies {
		by[name] = map[string]*past{}
	}
	if err := db.History(func(e store.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if by[e.Metric] == nil || len(e.Labels) != len(families[e.Metric].labels) {
			return fmt.Errorf("events of %s: the store has other labels", e.Metric)
		}
		at := e.Ended.Unix() / hour
		if at >= end {
			return nil
		}
		for i, l := range e.Labels {
			e.Labels[i] = label(l)
		}
		k := key(e.Labels)
		p := by[e.Metric][k]
		if p == nil {
			p = &past{labels: e.Labels}
			by[e.Metric][k] = p
		}
		p.add(at, e.Count)
		return nil
	}); err != nil {
		return err
	}

	out := bufio.NewWriterSize(w, 64<<10)
	for _, name := range historyFamilies {
		f := families[name]
		family := strings.TrimSuffix(name, "_total")
		if _, err := fmt.Fprintf(out, "# HELP %s %s\n# TYPE %[1]s counter\n", family, f.help); err != nil {
			return err
		}
		var all []*past
		for _, p := range by[name] {
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b *past) int { return slices.Compare(a.labels, b.labels) })
		for _, p := range all {
			if err := p.write(ctx, out, name, f.labels, end); err != nil {
				return err
			}
		}
	}
	if _, err := out.WriteString("# EOF\n"); err != nil {
		return err
	}
	return out.Flush()
}

const (
	hour = 60 * 60 // seconds
	day  = 24      // hours
)

// A past is one series of history.
type past struct {
	labels []string
	hours  []hourly
	sorted int // how many of hours are in order, each hour once
}

// An hourly is how many events one hour has.
type hourly struct {
	hour int64 // since 1970
	n    int
}

func (p *past) add(hour int64, n int) {
	if last := len(p.hours) - 1; last >= 0 && p.hours[last].hour == hour {
		p.hours[last].n += n
		return
	}
	p.hours = append(p.hours, hourly{hour, n})
	// Executions come in no order. Without this a series of many events in few hours would grow by each of them.
	if len(p.hours) > 2*p.sorted+1000 {
		p.sort()
	}
}

// sort brings the hours into order, each once.
func (p *past) sort() {
	slices.SortFunc(p.hours, func(a, b hourly) int { return cmp.Compare(a.hour, b.hour) })
	once := p.hours[:0]
	for _, h := range p.hours {
		if last := len(once) - 1; last >= 0 && once[last].hour == h.hour {
			once[last].n += h.n
			continue
		}
		once = append(once, h)
	}
	p.hours, p.sorted = once, len(once)
}

// write writes the samples, none after the hour end.
func (p *past) write(ctx context.Context, out *bufio.Writer, name string, labels []string, end int64) error {
	p.sort()
	line := append([]byte(name), `{job="`+HistoryJob+`"`...)
	for i, l := range labels {
		line = append(line, ","+l+`="`+escape.Replace(p.labels[i])+`"`...)
	}
	line = append(line, "} "...)
	begin := len(line)
	total := 0
	next := 0 // of p.hours
	last := p.hours[len(p.hours)-1].hour
	for at := p.hours[0].hour; at <= min(last-last%day+day, end); at++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for next < len(p.hours) && p.hours[next].hour < at {
			total += p.hours[next].n
			next++
		}
		line = strconv.AppendInt(line[:begin], int64(total), 10)
		line = append(line, ' ')
		line = strconv.AppendInt(line, at*hour, 10)
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// escape brings a label's value into the form of OpenMetrics.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
