package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

const (
	// compactStep is how many bytes of rows one transaction of a compaction copies. It takes some times as much memory.
	compactStep = 4 << 20
	// copySuffix ends the name of the copy while it is written.
	copySuffix = ".compacting"
)

// Compact writes the rows of the store at path into a new file beside it, without the pages that are free, and puts
// that in the store's place. It returns the size of the file before and after, in bytes. What Forget and Prune have
// removed is in no page after that. It needs as much room again as the rows take, and the store for itself all the time.
//
// The copy takes the store's name once it was compared with it, row by row, checked, and written to the disk: before
// that, whatever goes wrong, even kill -9, leaves the store as it was. A copy that was never finished is removed by
// the next Compact or Forget. A file with faults is left as it is, with an error that is ErrDamaged.
func Compact(path string) (before, after int64, err error) {
	// A rename over a link would take the link away, and leave the store where it is.
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return 0, 0, fmt.Errorf("store: %w", err)
	}
	db, err := Open(path)
	if err != nil {
		return 0, 0, err
	}
	// The last to be closed: who waits for the lock gets it when the copy is in its place.
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Check(); err != nil {
		return 0, 0, err
	}
	err = db.guard("compact", func() error {
		before, after, err = db.replace()
		if err = roomless(err); errors.Is(err, ErrFull) {
			err = fmt.Errorf("the copy takes up to %d bytes beside the store, which is as it was: %w", before, err)
		}
		return err
	})
	return before, after, err
}

// replace puts a copy in the place of the file, and returns the sizes of both.
func (db *DB) replace() (before, after int64, err error) {
	old, err := os.Stat(db.path)
	if err != nil {
		return 0, 0, err
	}
	before = old.Size()
	if err := removeCopy(db.path); err != nil {
		return before, 0, err
	}
	name, done := db.path+copySuffix, false
	var f *os.File
	into, err := bbolt.Open(name, 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType,
		NoSync:       true, // once, at the end
		NoGrowSync:   true, // which would also make the file larger than it needs to be
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			f, err = os.OpenFile(name, flag|os.O_EXCL, mode)
			return f, err
		},
	})
	defer func() {
		if into != nil {
			err = errors.Join(err, into.Close()) // after the rename: nobody opens the copy before it is whole
		}
		if !done && f != nil {
			err = errors.Join(err, removeCopy(db.path))
		}
	}()
	if err != nil {
		return before, 0, err
	}
	if err := errors.Join(sameOwner(f, old), f.Chmod(old.Mode().Perm())); err != nil {
		return before, 0, fmt.Errorf("the copy would belong to somebody else: %w: compact it as its owner", err)
	}
	if err := bbolt.Compact(into, db.bolt, compactStep); err != nil {
		return before, 0, err
	}
	duplicate := &DB{bolt: into, path: name}
	if err := errors.Join(db.same(duplicate), duplicate.Check()); err != nil {
		return before, 0, fmt.Errorf("the copy is not whole; the store is as it was: %w", err)
	}
	// The last pages may be free ones that were never written: a file that ends before them looks cut off.
	after = duplicate.Size()
	if err := errors.Join(f.Truncate(after), f.Sync()); err != nil {
		return before, 0, err
	}
	if err := os.Rename(name, db.path); err != nil {
		return before, 0, err
	}
	done = true
	return before, after, syncFolder(filepath.Dir(db.path))
}

// same returns an error unless both hold the same rows.
func (db *DB) same(as *DB) error {
	return db.bolt.View(func(a *bbolt.Tx) error {
		return as.bolt.View(func(b *bbolt.Tx) error {
			return a.ForEach(func(name []byte, left *bbolt.Bucket) error {
				right := b.Bucket(name)
				if right == nil {
					return fmt.Errorf("bucket %s is not there", name)
				}
				l, r := left.Cursor(), right.Cursor()
				lk, lv := l.First()
				for rk, rv := r.First(); lk != nil || rk != nil; rk, rv = r.Next() {
					if !bytes.Equal(lk, rk) || !bytes.Equal(lv, rv) {
						return fmt.Errorf("bucket %s: %x is not there, or differs", name, lk)
					}
					lk, lv = l.Next()
				}
				return nil
			})
		})
	})
}

// removeCopy removes what a Compact that was killed has left beside the store at path. Only who has the store open for
// writing may call it.
func removeCopy(path string) error {
	err := os.Remove(path + copySuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
