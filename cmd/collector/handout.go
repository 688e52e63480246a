package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/store"
)

// tell writes to w what read makes of the store that the configuration names, or what the service tells at path that holds it, or that server
// names.
func (p *program) tell(ctx context.Context, config configs.Config, server, path, kind string, w io.Writer, read func(*store.DB) error) (err error) {
	if server == "" {
		db, err := store.OpenReadOnly(config.Store.Path)
		if err == nil {
			return errors.Join(read(db), db.Close())
		}
		if !errors.Is(err, store.ErrLocked) {
			return storeAdvice(err)
		}
		var unknown error
		if server, unknown = listenURL(config.Web); unknown != nil {
			return fmt.Errorf("%w\n%w", storeAdvice(err), unknown)
		}
	}
	return ask(ctx, server, path, kind, w)
}

// ask copies what a running service tells at a path, which must be of this type.
func ask(ctx context.Context, server, path, kind string, w io.Writer) error {
	base, name, err := serviceAt(server)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(path).String(), nil)
	if err != nil {
		return errors.New("no request can be made of the service's address") // err quotes it
	}
	resp, err := (&http.Client{CheckRedirect: stay}).Do(req)
	if err != nil {
		return fmt.Errorf("asking the service: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("service at %s: %w", name, refusedPage(resp))
	}
	if got := resp.Header.Get("Content-Type"); got != kind {
		return fmt.Errorf("service at %s: the answer is not pushdoctor's: %.100q", name, got)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("copying what the service at %s tells: %w", name, err)
	}
	return nil
}

// handOut answers with what write writes, to one client at a time, and lets nobody take the beginning of it for the whole.
func (s *service) handOut(w http.ResponseWriter, r *http.Request, kind string, write func(io.Writer) error) {
	if !s.handing.TryLock() {
		refuse(w, http.StatusConflict, "history or the store is being told to somebody else")
		return
	}
	defer s.handing.Unlock()
	w.Header().Set("Content-Type", kind)
	if r.Method == http.MethodHead {
		return
	}
	out := &patient{answer: http.NewResponseController(w), w: w}
	err := write(out)
	if err == nil {
		return
	}
	if r.Context().Err() == nil {
		s.log.ErrorContext(r.Context(), "what was asked for could not be told whole", "path", r.URL.Path, "err", err)
	}
	if out.begun {
		panic(http.ErrAbortHandler)
	}
	w.Header().Del("Content-Encoding")
	refuse(w, http.StatusInternalServerError, "the store cannot be read: the service's log says why")
}

// A patient writer gives its reader a minute for each part: the listener's deadline is made for pages.
type patient struct {
	answer *http.ResponseController
	w      io.Writer
	begun  bool
}

// Write writes b.
func (p *patient) Write(b []byte) (int, error) {
	p.begun = true
	_ = p.answer.SetWriteDeadline(time.Now().Add(time.Minute)) // a server without deadlines needs none
	return p.w.Write(b)
}

// refuse answers with an error, as the API does.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, "{\"error\": %q}\n", text)
}
