//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// sameOwner gives a file the owner and the group of another.
func sameOwner(f *os.File, as fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	want, both := as.Sys().(*syscall.Stat_t)
	if !ok || !both || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// syncFolder writes the names in a folder to the disk. Without it, a crash of the machine may bring back those before a rename.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // a file system that has no such thing
	}
	return errors.Join(err, d.Close())
}
