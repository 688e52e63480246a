//go:build prometheus

package main

import (
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A daemon is a program that runs beside the test.
type daemon struct {
	address string // that it says it listens on
	out     *said
	stop    func() // ends it, and wants that to go well; the test's end does so too
}

// start runs cmd until it is stopped. says matches what it writes once it listens, with the address in a group.
func start(t *testing.T, cmd *exec.Cmd, says *regexp.Regexp) (d daemon) {
	t.Helper()
	d.out = &said{}
	cmd.Stdout, cmd.Stderr = d.out, d.out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; make test installs what this needs", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // one that has ended tells so below
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v", cmd.Path, err)
			}
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("%s did not end within 20 s", cmd.Path)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, d.out)
		}
	})
	t.Cleanup(d.stop)
	d.address = listening(t, cmd.Path, d.out, says)
	return d
}

// prometheusListens is what Prometheus and Alertmanager write.
var prometheusListens = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// listening waits until a program says at which address it listens.
func listening(t *testing.T, program string, out *said, says *regexp.Regexp) (address string) {
	t.Helper()
	wait(t.Context(), t, 20*time.Second, program+" to listen", func() bool {
		if m := says.FindStringSubmatch(out.String()); m != nil {
			address = m[1]
		}
		return address != ""
	})
	return address
}
