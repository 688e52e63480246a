package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/store"
)

// backupPath is where a service hands out a copy of its store, and typeBackup says that it is one.
const (
	backupPath = "/api/v1/store"
	typeBackup = "application/vnd.pushdoctor.store"
)

// backupStore writes a copy of the store into a file: of the one that the configuration names, or of that of the service which holds it, or which server
// names. The file gets its name once the copy is whole.
func (p *program) backupStore(ctx context.Context, config configs.Config, server, file string) error {
	if here, err := os.Stat(config.Store.Path); err == nil {
		if there, err := os.Stat(file); err == nil && os.SameFile(here, there) {
			return fmt.Errorf("%s is the store itself: name another file for the copy", file)
		}
	}
	out, err := newFile(file)
	if err != nil {
		return err
	}
	err = p.tell(ctx, config, server, backupPath, typeBackup, out, func(db *store.DB) error {
		_, err := db.Backup(out)
		return err
	})
	if err == nil {
		err = readable(out.Name())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s was not written: %w", file, err), out.drop())
	}
	info, err := out.Stat()
	if err != nil {
		return errors.Join(err, out.drop())
	}
	if err := out.keep(0o600); err != nil { // as the store
		return err
	}
	fmt.Fprintf(p.stderr, "pushdoctor: %s holds %s; pushdoctor store check --store %s looks at all of it\n", file, megabytes(info.Size()), shellWord(file))
	return nil
}

// readable returns an error if a copy cannot be opened, or is not as long as it says that it is.
func readable(file string) error {
	db, err := store.OpenReadOnly(file)
	if err != nil && !errors.Is(err, store.ErrOlder) {
		return err
	}
	if err == nil {
		err = db.Close()
	}
	return err
}

// copyStore writes a copy of the store to w, by way of a file beside it: a slow reader would hold up all who write.
func (s *service) copyStore(w io.Writer) (err error) {
	config, _ := s.settings()
	f, err := os.CreateTemp(filepath.Dir(config.Store.Path), "."+filepath.Base(config.Store.Path)+".backup.*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := s.db.Backup(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// serveStore hands out a copy of the store: each takes room on the disk.
func (s *service) serveStore(w http.ResponseWriter, r *http.Request) {
	if config, _ := s.settings(); !config.Web.Admin {
		refuse(w, http.StatusForbidden, "web.admin is false in this service's configuration: it hands out no copy of its store")
		return
	}
	s.handOut(w, r, typeBackup, s.copyStore)
}
