package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akkospace/pushdoctor/web"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A request under way that is cut off when the service ends, or a listener that stays open, turns this red.
func TestServeEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	begun, goOn := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-goOn
		fmt.Fprint(w, "whole")
	})
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, l, h, "", slog.New(slog.DiscardHandler)) }()

	answer := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer shut(t, r.Body)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(body)
	}()
	<-begun
	stop()
	// The listener closes at once, the request goes on.
	for {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		shut(t, c)
	}
	close(goOn)
	if got := <-answer; got != "whole" {
		t.Errorf("the request under way was answered with %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A request that never ends and keeps the service from ending within ten seconds turns this red.
func TestServeCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		begun := make(chan struct{})
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		})
		l := &pipes{made: make(chan net.Conn), closed: make(chan struct{})}
		var log bytes.Buffer
		served := make(chan error, 1)
		go func() { served <- web.Serve(ctx, l, h, "", slog.New(slog.NewTextHandler(&log, nil))) }()
		ours, theirs := net.Pipe()
		defer func() { _ = ours.Close() }()
		l.made <- theirs
		if _, err := io.WriteString(ours, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-begun
		stop()
		select {
		case err := <-served:
			if err != nil || !strings.Contains(log.String(), "requests were cut off") {
				t.Errorf("Serve returned %v and said: %s", err, log.String())
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve had not ended after ten seconds")
			shut(t, ours) // lets it end
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	})
}

// pipes listens without a network, so that a test can have a clock of its own.
type pipes struct {
	made   chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// A service that goes on without the users or the certificate that its configuration names turns this red.
func TestServeConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, bad := range []string{filepath.Join(dir, "missing.yml"), write("bad.yml", "tls_server_config: {cert_file: none.pem, key_file: none.pem}\n"), write("word.yml", "user: {}\n")} {
		l := listen(t)
		err := web.Serve(t.Context(), l, http.NotFoundHandler(), bad, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "serve "+l.Addr().String()) {
			t.Errorf("Serve with %s returned %v", filepath.Base(bad), err)
		}
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			shut(t, c)
			t.Errorf("the listener of %s stayed open", filepath.Base(bad))
		}
	}

	// The password is "test", at bcrypt's least cost.
	users := write("users.yml", "basic_auth_users: {octo: $2a$04$LX73PBE.yKrQUvbswbkh2.v6/S9djsEgOPbCE.JBTmsGqqPGoe.Xa}\n")
	ctx, stop := context.WithCancel(t.Context())
	l := listen(t)
	served := make(chan error, 1)
	go func() {
		served <- web.Serve(ctx, l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), users, slog.New(slog.DiscardHandler))
	}()
	for password, want := range map[string]int{"": 401, "wrong": 401, "test": 200} {
		r, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth("octo", password)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		shut(t, answer.Body)
		if answer.StatusCode != want {
			t.Errorf("password %q was answered with %d, want %d", password, answer.StatusCode, want)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
