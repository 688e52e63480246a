package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
	"github.com/akkospace/pushdoctor/store"
)

// contents says what is in a store, by find, and that it is sound.
func contents(t *testing.T, file string) (ids []string) {
	t.Helper()
	db, err := store.OpenReadOnly(file)
	if err != nil {
		t.Fatal(err)
	}
	found, err := db.Find(store.Query{})
	if err != nil {
		t.Error(err)
	}
	for _, f := range found {
		ids = append(ids, f.ID+" "+f.Repository)
	}
	if err := db.Check(); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	return ids
}

// Red where a copy misses something, is seen before it is whole, is open to everybody, or takes the place of the store; and where a service
// has to be stopped for it, or hands it to everybody.
func TestStoreBackup(t *testing.T) {
	keep(t, concluded("octo-lab/api", "2026-03-01", 2), concluded("octo-lab/web", "2026-03-02", 1))
	want := contents(t, "pushdoctor.db")
	dir := t.TempDir()
	copied := filepath.Join(dir, "copy.db")
	if got := (call{args: []string{"store", "backup", copied}}).run(t); got.status != 0 || got.stdout != "" || !strings.Contains(got.stderr, "store check --store ") {
		t.Fatalf("%+v", got)
	}
	if diff := cmp.Diff(want, contents(t, copied)); diff != "" {
		t.Errorf("copy (-want +got)\n%s", diff)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for name, complaint := range map[string]string{
		"pushdoctor.db": "is the store itself", dir: "is not a regular file", filepath.Join(dir, "none", "copy.db"): "no such file",
	} {
		if got := (call{args: []string{"store", "backup", name}}).run(t); got.status != exitFailed || !strings.Contains(got.stderr, complaint) {
			t.Errorf("%s: %+v", name, got)
		}
	}

	g := fakeGitHub(t, fakegithub.NewWorld(), fakegithub.Options{})
	config := configs.Default()
	config.GitHub.URL, config.GitHub.Token = g.URL(), configs.NewSecret(testToken)
	config.Repositories = []string{"octo-lab/*"}
	config.Web.ListenAddress = "127.0.0.1:0"
	for _, admin := range []bool{false, true} {
		config.Web.Admin = admin
		s, err := (&program{stderr: &guard{w: &said{}, plain: true}}).newService(config, "pushdoctor.db")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx, nil) }()
		beside := filepath.Join(dir, "beside.db")
		got := call{args: []string{"store", "backup", beside}, env: []string{"PUSHDOCTOR_WEB_LISTEN_ADDRESS=" + s.listener.Addr().String()}}.run(t)
		switch {
		case !admin && (got.status != exitFailed || !strings.Contains(got.stderr, "web.admin is false")):
			t.Errorf("without web.admin: %+v", got)
		case admin && got.status != 0:
			t.Errorf("beside a service: %+v", got)
		case admin:
			if diff := cmp.Diff(want, contents(t, beside)); diff != "" {
				t.Errorf("copy of a running service (-want +got)\n%s", diff)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// Red where half a store, or something else, is kept for a backup, or takes the place of the one of yesterday.
func TestBackupNotTold(t *testing.T) {
	keep(t, concluded("octo-lab/api", "2026-03-01", 2))
	whole := kept(t)
	for complaint, answer := range map[string]http.HandlerFunc{
		"damaged": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:len(whole)/2]) },
		"unexpected EOF": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(whole[:100])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"text/html":     func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") },
		"somebody else": func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusConflict, "told to somebody else") },
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeBackup)
			answer(w, r)
		}))
		dir := t.TempDir()
		file := filepath.Join(dir, "copy.db")
		if err := os.WriteFile(file, []byte("of yesterday"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := call{args: []string{"store", "backup", "--server", s.URL, file}}.run(t)
		if got.status != exitFailed || !strings.Contains(got.stderr, complaint) {
			t.Errorf("%s: %+v", complaint, got)
		}
		text, err := os.ReadFile(file)
		entries, unread := os.ReadDir(dir)
		if err != nil || unread != nil || string(text) != "of yesterday" || len(entries) != 1 {
			t.Errorf("%s: %.20q, %v, %v, %v", complaint, text, entries, err, unread)
		}
		s.Close()
	}
}

// A hanging reader takes nothing until it is let go.
type hanging struct {
	http.ResponseWriter
	began, free chan struct{}
}

// Write waits.
func (h hanging) Write(b []byte) (int, error) {
	select {
	case h.began <- struct{}{}:
	default:
	}
	<-h.free
	return len(b), nil
}

// Red where somebody who fetches a copy slowly holds up all who write, and those who read behind them.
func TestBackupSlowlyRead(t *testing.T) {
	keep(t, concluded("octo-lab/api", "2026-03-01", 2))
	db, err := store.Open("pushdoctor.db")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{db: db, log: slog.New(slog.DiscardHandler)}
	s.config.Web.Admin, s.config.Store.Path = true, "pushdoctor.db"
	reader := hanging{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
	served := make(chan struct{})
	go func() {
		s.serveStore(reader, httptest.NewRequest(http.MethodGet, backupPath, nil))
		close(served)
	}()
	<-reader.began
	wrote := make(chan error, 1)
	go func() { wrote <- db.PutPages(time.Now(), map[string][]byte{"a page": make([]byte, 4<<20)}) }()
	select {
	case err := <-wrote:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a write waits for the reader of a backup")
	}
	close(reader.free)
	<-served
	if left, err := filepath.Glob(".pushdoctor.db.backup.*"); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
