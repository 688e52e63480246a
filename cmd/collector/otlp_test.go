package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// A service that does not push its metrics where otlp.endpoint says, at its end at the latest, turns this red, and so does one that pushes them
// after its store is closed: then there is nothing of the store among them.
func TestServePushes(t *testing.T) {
	g := fakeGitHub(t, fakegithub.NewWorld(), fakegithub.Options{})
	pushed := make(chan []byte, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/metrics" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		pushed <- body
	}))
	defer collector.Close()
	config := configs.Default()
	config.GitHub.URL, config.GitHub.Token = g.URL(), configs.NewSecret(testToken)
	config.Repositories = []string{repoA}
	config.Store.Path = filepath.Join(t.TempDir(), "pushdoctor.db")
	config.Web.ListenAddress = "127.0.0.1:0"
	config.OTLP.Endpoint = collector.URL
	var stderr said
	s, err := (&program{stdout: &stderr, stderr: &guard{w: &stderr, plain: true}}).newService(config, config.Store.Path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.run(ctx, func(context.Context) error { cancel(); return nil }); err != nil {
		t.Error(err)
	}
	if len(pushed) != 1 {
		t.Fatalf("%d pushes, want 1\n%s", len(pushed), stderr.String())
	}
	body := <-pushed
	for _, name := range []string{"pushdoctor_build_info", "pushdoctor_log_bytes_total"} {
		if !bytes.Contains(body, []byte(name)) {
			t.Errorf("%s is not among what was pushed", name)
		}
	}
}
