package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/akkospace/pushdoctor"
)

// An input is one log to read, or why there is none.
type input struct {
	path    string
	open    func(context.Context) (io.ReadCloser, error)
	done    func()          // to be called after the last read; may be nil
	err     error           // it cannot be read
	skipped string          // it is no log, and is left out for this reason
	said    string          // it is no log, but something to say about those that follow
	job     *pushdoctor.Job // of which it is the log; nil for a file
}

// A source finds the inputs that the arguments name.
type source struct {
	args  []string
	stdin io.Reader
	used  bool                 // stdin was read
	hub   func() (*hub, error) // where addresses lead to
	run   *place               // what is read besides, at the hub; may be nil
}

// inputs yields the inputs in the order of the arguments. What stands in a folder or an
// archive is found while the inputs before it are being read.
func (s *source) inputs(ctx context.Context) iter.Seq[input] {
	return func(yield func(input) bool) {
		if s.run != nil {
			h, err := s.hub()
			if err != nil {
				yield(input{path: s.run.String(), err: err})
				return
			}
			if !h.inputs(ctx, *s.run, yield) {
				return
			}
		}
		for _, arg := range s.args {
			if !s.named(ctx, arg, yield) {
				return
			}
		}
	}
}

// named yields what one argument names. It returns false where yield did.
func (s *source) named(ctx context.Context, arg string, yield func(input) bool) bool {
	if arg == "-" {
		if s.used {
			return yield(input{path: arg, err: errors.New("standard input was read already")})
		}
		s.used = true
		return yield(input{path: arg, open: func(ctx context.Context) (io.ReadCloser, error) {
			return io.NopCloser(&interruptible{r: s.stdin, done: ctx.Done()}), nil
		}})
	}
	info, err := os.Stat(arg)
	switch {
	case err != nil && isAddress(arg):
		return s.address(ctx, arg, yield)
	case err != nil:
		return yield(input{path: arg, err: err})
	case info.IsDir():
		return folder(arg, yield)
	case info.Mode()&fs.ModeNamedPipe != 0:
		return yield(input{path: arg, open: func(ctx context.Context) (io.ReadCloser, error) {
			return io.NopCloser(&interruptible{r: &pipe{path: arg}, done: ctx.Done()}), nil
		}})
	case !info.Mode().IsRegular():
		return yield(input{path: arg, err: fmt.Errorf("this is %s, not a file: hand it over as standard input (pushdoctor diagnose - < %s)", kind(info.Mode()), arg)})
	}
	return file(arg, yield)
}

// folder yields each regular file below root, in the order of names. What it leaves out, it yields as skipped.
func folder(root string, yield func(input) bool) bool {
	found := false
	// The slash makes WalkDir follow a root that is a symbolic link, as it was named itself.
	err := filepath.WalkDir(root+string(filepath.Separator), func(path string, entry fs.DirEntry, err error) error {
		hidden := strings.HasPrefix(filepath.Base(path), ".") && filepath.Clean(path) != filepath.Clean(root)
		goOn := true
		switch {
		case err != nil:
			found = true
			goOn = yield(input{path: path, err: err})
		case entry.IsDir() && hidden:
			if !yield(input{path: path, skipped: "hidden folder"}) {
				return fs.SkipAll
			}
			return fs.SkipDir
		case entry.IsDir():
		case hidden:
			goOn = yield(input{path: path, skipped: "hidden file"})
		case !entry.Type().IsRegular():
			goOn = yield(input{path: path, skipped: kind(entry.Type())})
		default:
			found = true
			goOn = file(path, yield)
		}
		if !goOn {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return yield(input{path: root, err: err})
	}
	if !found {
		return yield(input{path: root, err: errors.New("there is no log in this folder")})
	}
	return true
}

// file yields a regular file, or the logs in it where it is an archive.
func file(path string, yield func(input) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(input{path: path, err: err})
	}
	head := make([]byte, 4)
	n, _ := io.ReadFull(f, head) // an error comes again with the first read of the log
	if magic := string(head[:n]); magic == "PK\x03\x04" || magic == "PK\x05\x06" || n > 0 && strings.EqualFold(filepath.Ext(path), ".zip") {
		return archive(path, f, yield)
	}
	if err := f.Close(); err != nil {
		return yield(input{path: path, err: err})
	}
	return yield(input{path: path, open: func(context.Context) (io.ReadCloser, error) { return os.Open(path) }})
}

// kind names what is neither a file nor a folder.
func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// reason says why an input was not read. The path is left out: it stands before the reason.
func reason(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "there is no such file or folder"
		case errors.Is(err, fs.ErrPermission):
			return "no permission to read it"
		}
		return pathError.Err.Error()
	}
	return err.Error()
}

// The errors of a log that is none.
var (
	errEmpty  = errors.New("the log is empty: was the job skipped, or is it still running? Fetch the log again when the job has ended")
	errBinary = errors.New("this is not text: name the log itself, unpacked")
	errZip    = errors.New("this is a zip archive: save it to a file and name the file")
)

// sample is how much of a log decides whether it is text: more than any executable's or
// image's header, which may be full of words.
const sample = 64 << 10

// A logReader passes on the bytes of a log. It fails at the end of a log without a character in it,
// within the first bytes of what is not text, and where it is stopped. Without it, an
// executable or an empty file would be called a log without failures.
type logReader struct {
	r       io.Reader
	stopped func() error
	head    []byte // the first sample bytes; nil once they are judged
	seen    bool   // there was a character
	over    bool   // head was judged
}

func (l *logReader) Read(p []byte) (int, error) {
	if err := l.stopped(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	for i := 0; i < n && !l.seen; i++ {
		// The bytes of a BOM are no character, and no valid UTF-8 is made of them alone.
		l.seen = p[i] > ' ' && strings.IndexByte("\xef\xbb\xbf\xfe\xff", p[i]) < 0
	}
	if !l.over {
		l.head = append(l.head, p[:min(n, sample-len(l.head))]...)
		if len(l.head) == sample || err != nil {
			if fault := judge(l.head); fault != nil && (err == nil || err == io.EOF) {
				return 0, fault
			}
			l.over, l.head = true, nil
		}
	}
	if err == io.EOF && !l.seen {
		return n, errEmpty
	}
	return n, err
}

// judge says why b, the beginning of a log, is not one. A log may hold some NULs, and text in an old
// code page; what is compressed or compiled has a quarter and more of bytes that no text has.
func judge(b []byte) error {
	if strings.HasPrefix(string(b), "PK\x03\x04") {
		return errZip
	}
	zero, bad := 0, 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size == 1 {
				bad++
			}
			i += size
			continue
		case c == 0:
			zero++
			bad++
		case c < ' ' && strings.IndexByte("\a\b\t\n\v\f\r\x1b", c) < 0:
			bad++
		}
		i++
	}
	if utf16 := strings.HasPrefix(string(b), "\xff\xfe") || strings.HasPrefix(string(b), "\xfe\xff"); utf16 {
		// Every second byte of ASCII is a NUL. A log has some ASCII in any language.
		if len(b) > 100 && (zero*20 < len(b) || zero*10 > len(b)*6) {
			return errBinary
		}
		return nil
	}
	if bad*4 > len(b) {
		return errBinary
	}
	return nil
}

// A pipe is one with a name, as of diagnose <(gh run view --log). Its first read opens it, since that waits
// for a writer; the file is left to the program's end, as a read that waits may hold it.
type pipe struct {
	path string
	f    *os.File
}

func (p *pipe) Read(b []byte) (int, error) {
	if p.f == nil {
		f, err := os.Open(p.path)
		if err != nil {
			return 0, err
		}
		p.f = f
	}
	return p.f.Read(b)
}

// An interruptible reads what a read may wait for without end, and gives up when done is closed: a
// terminal's read cannot be broken off, so the goroutine that waits in it is left to the program's end.
type interruptible struct {
	r    io.Reader
	done <-chan struct{}
	buf  []byte
}

func (i *interruptible) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	if i.buf == nil {
		i.buf = make([]byte, sample)
	}
	ended := make(chan result, 1)
	buf := i.buf[:min(len(p), len(i.buf))]
	go func() {
		n, err := i.r.Read(buf)
		ended <- result{n, err}
	}()
	select {
	case r := <-ended:
		return copy(p, buf[:r.n]), r.err
	case <-i.done:
		i.buf = nil // the goroutine may still write into it
		return 0, context.Canceled
	}
}
