package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

// historyPath is where a service tells history.
const historyPath = "/api/v1/history.om"

// writeHistory writes what the store holds of history into a file, "-" for stdout. Where a service holds the store, or server names one, that
// service is asked for it.
func (p *program) writeHistory(ctx context.Context, config configs.Config, server, file string) error {
	var told history
	if file == "-" {
		out := &guard{w: p.stdout}
		if err := p.tellHistory(ctx, config, server, io.MultiWriter(out, &told)); err != nil {
			return fmt.Errorf("history: %w", err)
		}
		return errors.Join(told.whole(), out.flush())
	}
	out, err := newFile(file)
	if err != nil {
		return fmt.Errorf("--openmetrics: %w", err)
	}
	err = p.tellHistory(ctx, config, server, io.MultiWriter(out, &told))
	if err == nil {
		err = told.whole()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s was not written: %w", file, err), out.drop())
	}
	if err := out.keep(0o644); err != nil { // it is for Prometheus' user, and holds what /metrics tells everybody
		return err
	}
	if told.samples == 0 {
		fmt.Fprintf(p.stderr, "pushdoctor: %s holds no sample: nothing in the store ended more than three hours ago and before its repository was watched\n", file)
		return nil
	}
	fmt.Fprintf(p.stderr, "pushdoctor: %s holds %s, none of the last three hours; load it with\n  promtool tsdb create-blocks-from openmetrics --max-block-duration=720h %s DIR\n",
		file, count(told.samples, "sample"), shellWord(file))
	return nil
}

// tellHistory writes history to w.
func (p *program) tellHistory(ctx context.Context, config configs.Config, server string, w io.Writer) error {
	return p.tell(ctx, config, server, historyPath, exporter.ContentTypeHistory, w, func(db *store.DB) error {
		return exporter.WriteHistory(ctx, w, db, p.clock()().Add(-exporter.HistoryLag))
	})
}

// A history looks at what is written of one.
type history struct {
	samples int
	line    []byte // the beginning of the last line, as much as is needed
	last    []byte // the line before, if it is the end
}

var endOfHistory = []byte("# EOF")

// Write counts the samples in b. It does not err.
func (h *history) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if room := len(endOfHistory) + 1 - len(h.line); room > 0 {
			h.line = append(h.line, line[:min(room, len(line))]...)
		}
		if ended {
			h.last = append(h.last[:0], h.line...)
			if len(h.line) > 0 && h.line[0] != '#' {
				h.samples++
			}
			h.line = h.line[:0]
		}
		rest = after
	}
	return len(b), nil
}

// whole returns an error unless the end was written.
func (h *history) whole() error {
	if len(h.line) > 0 || !bytes.Equal(h.last, endOfHistory) {
		return errors.New("the history broke off before its end")
	}
	return nil
}

// mayWrite returns an error if writeHistory would not be able to write the file.
func mayWrite(file string) error {
	if file == "-" {
		return nil
	}
	f, err := newFile(file)
	if err != nil {
		return fmt.Errorf("--openmetrics: %w; - is standard output", err)
	}
	return f.drop()
}

// serveHistory tells history: it is gigabytes where there is much.
func (s *service) serveHistory(w http.ResponseWriter, r *http.Request) {
	s.handOut(w, r, exporter.ContentTypeHistory, func(out io.Writer) error {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			return s.writeHistory(r.Context(), out)
		}
		w.Header().Set("Content-Encoding", "gzip") // a hundredth of the bytes
		z := gzip.NewWriter(out)
		if err := s.writeHistory(r.Context(), z); err != nil {
			return err
		}
		return z.Close()
	})
}

func (s *service) writeHistory(ctx context.Context, w io.Writer) error {
	return exporter.WriteHistory(ctx, w, s.db, s.program.clock()().Add(-exporter.HistoryLag))
}
