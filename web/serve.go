package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
)

// patience is how long a request may go on after the service was told to end. It ends within ten seconds.
const patience = 8 * time.Second

// Serve answers on l by h until ctx ends, then lets the requests under way finish, for eight seconds at most, and
// returns nil. It closes l. configFile is a web configuration of the Prometheus exporter-toolkit, for TLS
// and users; without a name there is neither. An error says that the service could not begin, or not go on.
func Serve(ctx context.Context, l net.Listener, h http.Handler, configFile string, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // findings of a year over a slow line
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	done := make(chan error, 1)
	go func() {
		done <- toolkit.Serve(l, server, &toolkit.FlagConfig{WebConfigFile: &configFile}, log)
	}()

	select {
	case err := <-done:
		return errors.Join(fmt.Errorf("serve %s: %w", l.Addr(), err), closed(l.Close()))
	case <-ctx.Done():
	}
	// ctx has ended, so the deadline hangs on a context of its own.
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := server.Shutdown(deadline)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("requests were cut off", "after", patience)
		err = server.Close()
	}
	if end := <-done; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err = errors.Join(err, closed(l.Close())); err != nil {
		return fmt.Errorf("end serving %s: %w", l.Addr(), err)
	}
	return nil
}

// closed returns err unless it says that the listener was closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
