package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// A bar shows how far a backfill has come: on a terminal in one line that changes, elsewhere in a line now and then.
type bar struct {
	w       *guard
	now     func() time.Time
	columns int // 0: no terminal
	began   time.Time
	shown   time.Time
	drawn   bool
}

func newBar(w *guard, now func() time.Time) *bar {
	b := &bar{w: w, now: now, began: now()}
	if f, ok := w.w.(*os.File); ok {
		if columns, terminal := terminalWidth(f); terminal {
			b.columns = columns
		}
	}
	b.shown = b.began
	return b
}

func (b *bar) show(a advance) {
	every := 10 * time.Second
	if b.columns > 0 {
		every = 200 * time.Millisecond
	}
	now := b.now()
	if now.Sub(b.shown) < every && a.Runs != a.Of {
		return
	}
	b.shown = now
	text := fmt.Sprintf("%s of %s runs, %s", thousands(a.Runs), thousands(a.Of), count(a.Logs, "log"))
	if spent := now.Sub(b.began); a.Runs > 0 && a.Runs < a.Of && spent > 2*time.Second {
		text += ", " + rough(time.Duration(float64(spent)*float64(a.Of-a.Runs)/float64(a.Runs))) + " to go"
	}
	text += "  " + visible(a.Repository)
	if b.columns == 0 {
		fmt.Fprintln(b.w, text)
		return
	}
	const width = 20
	full := 0
	if a.Of > 0 {
		full = min(width, width*a.Runs/a.Of)
	}
	text = "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + text
	// The guard would make the carriage return visible; the rest of the line has been through visible.
	fmt.Fprintf(b.w.w, "\r%-*.*s", b.columns-1, b.columns-1, text)
	b.drawn = true
}

// line writes a line of its own.
func (b *bar) line(format string, args ...any) {
	b.end()
	fmt.Fprintf(b.w, format+"\n", args...)
}

func (b *bar) end() {
	if b.drawn {
		fmt.Fprintf(b.w.w, "\r%-*s\r", b.columns-1, "")
		b.drawn = false
	}
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rough writes a duration as people say it.
func rough(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
