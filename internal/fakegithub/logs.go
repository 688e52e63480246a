package fakegithub

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serveLog serves the logs' host: GET /logs/{job} with a signed link. It takes ranges, unless Options say that it does not.
func (s *Server) serveLog(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.stats.Requests["log_blob"]++
	if r.Header.Get("Authorization") != "" {
		s.violation("the token was sent to the logs' host")
	}
	s.mu.Unlock()
	s.wait(r, s.o.Latency)
	f := s.fault(1, r)
	if s.strike(f, w, r) {
		return
	}
	now := s.o.Now()
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))

	id, _ := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/logs/"), 10, 64)
	until := r.URL.Query().Get("se")
	seconds, _ := strconv.ParseInt(until, 10, 64)
	switch {
	case r.Header.Get("Authorization") != "":
		blobError(w, http.StatusBadRequest, "InvalidAuthenticationInfo")
		return
	case f == FaultExpired || now.Unix() >= seconds || r.URL.Query().Get("sig") != signature(id, until):
		blobError(w, http.StatusForbidden, "AuthenticationFailed")
		return
	}
	s.world.mu.RLock()
	j := s.world.jobs[id]
	s.world.mu.RUnlock()
	if j == nil {
		blobError(w, http.StatusNotFound, "BlobNotFound")
		return
	}

	w = s.halved(f, &meter{w, s}, r)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("ETag", fmt.Sprintf(`"0x%X"`, id))
	if s.o.NoRange {
		r.Header.Del("Range")
	}
	if s.o.NoLength {
		for part := range slices.Chunk(j.Log, 64<<10) {
			if _, err := w.Write(part); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // so that no length is made up
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(j.Log))
}

// blobError answers as a storage account does.
func blobError(w http.ResponseWriter, code int, name string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(code)
	fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code></Error>", name)
}

// A meter counts what is sent. It has no ReadFrom, by which net/http would pass it by.
type meter struct {
	http.ResponseWriter
	s *Server
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.ResponseWriter.Write(b)
	m.s.mu.Lock()
	m.s.stats.LogBytes += int64(n)
	m.s.mu.Unlock()
	return n, err
}

func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }
