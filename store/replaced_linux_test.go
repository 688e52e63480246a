package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor/store"
)

// opened reports whether this process has the file of that name open for just what mode says.
func opened(t *testing.T, path string, mode int) bool {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err != nil || name != path {
			continue
		}
		var flags int
		info, err := os.ReadFile("/proc/self/fdinfo/" + filepath.Base(fd))
		if err != nil {
			continue // closed by now
		}
		_, line, _ := strings.Cut(string(info), "flags:")
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "%o", &flags); err != nil {
			t.Fatal(err)
		}
		if flags&syscall.O_ACCMODE == mode {
			return true
		}
	}
	return false
}

// Who waits for a file while another takes its name gets the lock on a file without a name. An Open that goes on with that
// one turns this red: what it writes is lost, and what it reads is old.
func TestOpenWaitsForWhatWasReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		open func(string) (*store.DB, error)
		held bool // for reading only: Open looks first, and must get to where it waits for the right to write
		mode int
	}{
		"Open":         {store.Open, true, os.O_RDWR},
		"OpenReadOnly": {store.OpenReadOnly, false, os.O_RDONLY},
	} {
		t.Run(name, func(t *testing.T) {
			path, next := filled(t), worn(t)
			bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: test.held, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			var db *store.DB
			ended := make(chan error, 1)
			go func() {
				var err error
				db, err = test.open(path)
				ended <- err
			}()
			for deadline := time.Now().Add(time.Minute); !opened(t, path, test.mode); {
				if time.Now().After(deadline) {
					t.Fatal("nobody waits")
				}
			}
			if err := errors.Join(os.Rename(next, path), bolt.Close(), <-ended); err != nil {
				t.Fatal(err)
			}
			if got := len(find(t, db, store.Query{})); got != 150 {
				t.Errorf("%d findings, want the 150 of the new file", got)
			}
			closeAndCheck(t, db, path)
		})
	}
}
