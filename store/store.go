// Package store keeps what pushdoctor has read in one bbolt file: which executions of jobs were
// read, the findings in them, what is broken now, the totals that the metrics show, how far each
// repository's history has been read, and the work that must survive a restart.
//
// What belongs together is written in one transaction, and every key is made of what GitHub
// calls the thing, so that doing it twice counts once: after kill -9 at any moment the file holds
// a finding, its indexes and its part of the totals, or none of them.
//
// A file has one writer. Several programs may read it together, but not beside a writer.
// Readers within the writer's process never wait for it.
//
// A file that is damaged, of another program or of a newer schema is told apart and left as it is.
// The package knows nothing of GitHub, of rules or of metrics' formats, and it keeps what it
// is given: redaction is its caller's.
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Errors of Open and OpenReadOnly. ErrDamaged may come from any method, since bbolt believes a page
// until it reads it, and ErrFull from any that writes.
var (
	// ErrLocked is returned when another process holds the file.
	ErrLocked = errors.New("in use")
	// ErrNotBolt is returned when the file is not a bbolt file.
	ErrNotBolt = errors.New("not a bbolt file")
	// ErrForeign is returned when the file is the bbolt file of another program.
	ErrForeign = errors.New("bbolt file of another program")
	// ErrNewer is returned when a newer pushdoctor has written the file.
	ErrNewer = errors.New("written by a newer pushdoctor")
	// ErrOlder is returned by OpenReadOnly when the file waits for a migration.
	ErrOlder = errors.New("written by an older pushdoctor")
	// ErrDamaged is returned when the file contradicts itself. Nothing is written to it after that.
	ErrDamaged = errors.New("damaged")
	// ErrFull is returned by what writes when the disk, a quota or a limit of the process has no room for it. Its
	// last transaction was not written, the store goes on to answer, and the same call succeeds once there is room.
	ErrFull = errors.New("no room")
)

// lockTimeout is how long Open waits for a process that is about to end.
const lockTimeout = time.Second

// DB is an open store. Its methods may be called from several goroutines at once.
type DB struct {
	bolt    *bbolt.DB
	path    string
	damaged atomic.Bool
	failing atomic.Bool // what was to be written last is not in the file

	staleAfter atomic.Int64 // nanoseconds; 0: defaultStaleAfter
	series     seriesCache
}

// Open opens the store in the file at path for reading and writing, makes it where there is none, and
// migrates it where it is of an older schema. It waits a second for another process to let go of the file.
func Open(path string) (*DB, error) {
	info, err := regular(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && info.Size() > 0 {
		// Opening for writing may write a list of free pages before anybody has seen whose file it is.
		look, err := open(path, true)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(look.inspect(), look.bolt.Close()); err != nil {
			return nil, err
		}
	}
	fresh := err != nil
	db, err := open(path, false)
	if err != nil {
		if fresh && !errors.Is(err, ErrLocked) {
			// What a full disk leaves of a new file is neither a store nor empty, and would be in the way for good.
			if gone := os.Remove(path); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
		return nil, err
	}
	err = db.view("schema", current)
	if errors.Is(err, ErrOlder) {
		err = db.update("migration", migrate)
	}
	if err != nil {
		return nil, errors.Join(err, db.bolt.Close())
	}
	return db, nil
}

// OpenReadOnly opens the store in the file at path for reading. Several processes may do so at once, but not
// beside one that writes.
func OpenReadOnly(path string) (*DB, error) {
	if _, err := regular(path); err != nil {
		return nil, err
	}
	db, err := open(path, true)
	if err != nil {
		return nil, err
	}
	if err = db.inspect(); err == nil {
		err = db.view("schema", current)
	}
	if err != nil {
		return nil, errors.Join(err, db.bolt.Close())
	}
	return db, nil
}

// regular is the file's info. Opening a pipe would wait for ever.
func regular(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("store %s: %w: not a regular file", path, ErrNotBolt)
	}
	return info, nil
}

// errReplaced is returned by openFile when the file has another name by now, or none.
var errReplaced = errors.New("the file was replaced")

func open(path string, readOnly bool) (*DB, error) {
	for tries := 0; ; tries++ {
		db, err := openFile(path, readOnly)
		if !errors.Is(err, errReplaced) || tries == 10 {
			return db, err
		}
	}
}

func openFile(path string, readOnly bool) (db *DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			// bbolt gives up in the middle, with the file open and locked.
			db, err = nil, errors.Join(advised(path, "open", recovered(r)), release(file))
		}
	}()
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockTimeout,
		ReadOnly:        readOnly,
		PreLoadFreelist: true, // Check needs it; bbolt's loading of it on demand is not safe beside readers
		FreelistType:    bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			file = f
			return f, err
		},
	})
	switch {
	case err == nil:
		// A lock is on the file, not on its name. Who waited for it beside a Compact has got the old file.
		now, err := os.Stat(path)
		is, e := file.Stat()
		if err != nil || e != nil || !os.SameFile(now, is) {
			return nil, errors.Join(fmt.Errorf("store %s: %w", path, errReplaced), bolt.Close())
		}
		return &DB{bolt: bolt, path: path}, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("store %s: %w by %s: end it, or ask it through its API", path, ErrLocked, holder(path))
	case file == nil:
		return nil, fmt.Errorf("store: %w", roomless(err))
	case isErrno(err): // a file system without locks, a full disk
		return nil, fmt.Errorf("store %s: open: %w", path, roomless(err))
	case hasMagic(path):
		return nil, advised(path, "open", fmt.Errorf("%w: %w", ErrDamaged, err))
	default:
		return nil, fmt.Errorf("store %s: %w (%w): move it away, or name another file", path, ErrNotBolt, err)
	}
}

func isErrno(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// roomless is err, and ErrFull too where it says that there is no room.
func roomless(err error) error {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// bbolt keeps only the words of what went wrong while the file grew (grow in its db.go).
		if err != nil && (errors.Is(err, no) || strings.HasSuffix(err.Error(), ": "+no.Error())) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// hasMagic reports whether one of the file's two meta pages begins as bbolt's do. The second one is where the
// page size of the machine that made the file puts it.
func hasMagic(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // it was only read
	magic := binary.NativeEndian.AppendUint32(nil, 0xED0CDAED)
	for _, page := range []int64{0, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
		var b [4]byte
		if _, err := f.ReadAt(b[:], page+16); err == nil && bytes.Equal(b[:], magic) {
			return true
		}
	}
	return false
}

// advised says of a damaged file what to do about it.
func advised(path, what string, err error) error {
	return fmt.Errorf("store %s: %s: %w: bring back a copy, or move it away to begin anew", path, what, err)
}

// recovered is the error for a panic of bbolt's.
func recovered(r any) error { return fmt.Errorf("%w: %.400v", ErrDamaged, r) }

// inspect returns an error if the file is cut off or not ours to write to.
func (db *DB) inspect() error {
	return db.view("schema", func(tx *bbolt.Tx) error {
		info, err := os.Stat(db.path)
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("%w: %d bytes are there of %d", ErrDamaged, info.Size(), tx.Size())
		}
		_, err = schema(tx)
		return err
	})
}

// Close waits for transactions under way and lets go of the file.
func (db *DB) Close() error {
	if err := db.bolt.Close(); err != nil {
		return fmt.Errorf("store %s: close: %w", db.path, err)
	}
	return nil
}

// Backup writes a copy of the whole file to w, as it is at this moment, and returns its size in bytes. Others go on reading and writing meanwhile,
// until one of them needs the file to grow: then all wait for the end of the copy. So w must be quick, a file and not a network.
func (db *DB) Backup(w io.Writer) (size int64, err error) {
	err = db.view("backup", func(tx *bbolt.Tx) (err error) {
		size, err = tx.WriteTo(w)
		return err
	})
	return size, err
}

// Size returns the size of the file in bytes.
func (db *DB) Size() int64 {
	var size int64
	if err := db.view("size", func(tx *bbolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		return 0
	}
	return size
}

func (db *DB) view(what string, do func(*bbolt.Tx) error) error {
	return db.guard(what, func() error { return db.bolt.View(do) })
}

func (db *DB) update(what string, do func(*bbolt.Tx) error) error {
	return db.guard(what, func() error {
		if db.damaged.Load() {
			return ErrDamaged
		}
		var refused error
		err := db.bolt.Update(func(tx *bbolt.Tx) error {
			refused = do(tx)
			return refused
		})
		if refused == nil { // else it never came to writing
			db.failing.Store(err != nil)
		}
		return roomless(err)
	})
}

// Writable reports whether the last transaction that was to be written is in the file. It is true until one was tried, and false for good
// once damage was seen.
func (db *DB) Writable() bool { return !db.failing.Load() && !db.damaged.Load() }

// guard turns bbolt's panics into errors. bbolt trusts the numbers that it reads from its pages: a damaged one
// is an index out of range, or an address outside of the mapped file.
func (db *DB) guard(what string, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
		switch {
		case errors.Is(err, ErrDamaged):
			db.damaged.Store(true)
			err = advised(db.path, what, err)
		case err != nil:
			err = fmt.Errorf("store %s: %s: %w", db.path, what, err)
		}
	}()
	return do()
}
