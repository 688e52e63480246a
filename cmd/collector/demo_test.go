package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/akkospace/pushdoctor"
)

// A demonstration that does not end well, or shows fewer than fifteen causes, turns this red.
func TestDemoOnce(t *testing.T) {
	got := call{args: []string{"demo", "--once"}}.run(t)
	if got.status != 0 {
		t.Fatalf("status %d\n%s", got.status, got.stderr)
	}
	causes := 0
	for _, c := range pushdoctor.Causes {
		if regexp.MustCompile(`(?m)^ +[1-9]\d*  ` + string(c) + ` `).MatchString(got.stdout) {
			causes++
		}
	}
	if causes < 15 {
		t.Errorf("%d causes are named, want 15:\n%s", causes, got.stdout)
	}
}

// A demonstration whose page or metrics hold no failure within a minute turns this red.
func TestDemo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan int, 1)
	var stderr said
	go func() {
		status := run(ctx, []string{"demo"}, nil, strings.NewReader(""), write, &stderr)
		_ = write.Close() // never fails
		ended <- status
	}()
	addresses := map[string]string{}
	lines := bufio.NewScanner(read)
	for len(addresses) < 3 && lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 2 {
			addresses[f[0]] = f[1]
		}
	}
	go func() { _, _ = io.Copy(io.Discard, read) }() // ends with the program
	if len(addresses) != 3 {
		t.Fatalf("the addresses are %v\n%s", addresses, stderr.String())
	}
	until := time.Now().Add(time.Minute)
	for name, want := range map[string]string{
		"page":     `href="findings/`,
		"metrics":  `(?m)^pushdoctor_push_failures_total\{cause="[a-z_]+",registry="[a-z_]+",repository="[\w./-]+",status="\w+",workflow="[\w.-]+"\} `,
		"findings": `(?m)^\{.*"cause":"[a-z_]+".*"hints":\[\{`,
	} {
		for body := ""; !regexp.MustCompile(want).MatchString(body); body = fetch(t, addresses[name]) {
			if time.Now().After(until) {
				t.Fatalf("%s shows no failure:\n%.2000s", addresses[name], body)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	stop()
	select {
	case status := <-ended:
		if status != 0 {
			t.Errorf("status %d\n%s", status, stderr.String())
		}
	case <-time.After(10 * time.Second):
		t.Error("the demonstration does not end")
	}
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // nothing was written
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
