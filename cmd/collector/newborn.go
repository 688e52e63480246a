package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A newborn file is written beside its name, which it gets once it is whole.
type newborn struct {
	*os.File
	name string
}

// newFile begins a file that will have this name, or that of the file to which a link of this name leads, if it is there. What has the name now must be a file, or
// nothing.
func newFile(name string) (newborn, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return newborn{}, fmt.Errorf("%s is not a regular file", name)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return newborn{}, err
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return newborn{}, err
	}
	return newborn{f, name}, nil
}

// keep gives the file its name.
func (f newborn) keep(mode fs.FileMode) error {
	err := errors.Join(f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.File.Name(), f.name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.File.Name()))
	}
	return nil
}

// drop removes the file.
func (f newborn) drop() error { return errors.Join(f.Close(), os.Remove(f.File.Name())) }
