package actions

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/akkospace/pushdoctor"
)

const (
	headBytes = 1 << 20 // of a log that is too long: with the job's preamble, from which the facts come
	tailBytes = 1 << 20 // of one that is too long and whose length was not told
)

// A Log is the log of a job, as a stream. A stream that breaks off is taken up again where it did, so
// that io.EOF means that all was read. It must be closed.
type Log struct {
	io.Reader
	truncated bool
	sources   []*source
}

// Truncated reports whether bytes in the middle were left out, since the log is longer than Options.MaxLog. It is certain
// after io.EOF. What was left out leaves a line that may be cut, and wrong numbers of the lines after it. Where
// the host does not tell a log's length, the first MaxLog and 1 MB are read, and the last 1 MB.
func (l *Log) Truncated() bool { return l.truncated }

// Close ends the stream. It returns nil.
func (l *Log) Close() error {
	for _, s := range l.sources {
		s.drop()
	}
	return nil
}

// Log opens the log of a job, by the job's Repository and JobID. Its error is ErrLogNotThere where the log is not
// there, which may change within minutes of the job's end, and ErrLogGone where it was deleted; both too by Read.
// The context holds for reading as well.
func (c *Client) Log(ctx context.Context, job pushdoctor.Job) (*Log, error) {
	first, err := c.source(ctx, job)
	if err == nil {
		err = first.open()
	}
	if err != nil {
		return nil, fmt.Errorf("log of job %d: %w", job.JobID, err)
	}
	l := &Log{Reader: first, sources: []*source{first}}
	switch {
	case first.size < 0:
		l.Reader = &tailing{in: bufio.NewReaderSize(first, 64<<10), left: headBytes + c.maxLog, log: l}
	case first.size > headBytes+c.maxLog:
		last := &source{client: c, ask: first.ask, link: first.link, size: first.size, etag: first.etag, at: first.size - c.maxLog}
		l.sources = append(l.sources, last)
		l.truncated = true
		l.Reader = io.MultiReader(io.LimitReader(first, headBytes), strings.NewReader("\n"), &whole{in: bufio.NewReader(last)})
	}
	return l, nil
}

// whole leaves out a reader's first line, which is cut at its beginning.
type whole struct {
	in  *bufio.Reader
	cut bool
}

func (w *whole) Read(p []byte) (int, error) {
	for !w.cut {
		_, err := w.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		w.cut = err == nil
	}
	return w.in.Read(p)
}

// tailing reads a log of unknown length: the first bytes, and, if there are more, the last megabyte.
type tailing struct {
	in   *bufio.Reader
	left int64
	log  *Log
	tail io.Reader
}

func (t *tailing) Read(p []byte) (int, error) {
	if t.left > 0 {
		n, err := t.in.Read(p[:min(int64(len(p)), t.left)])
		t.left -= int64(n)
		return n, err
	}
	if t.tail == nil {
		tail, over, err := last(t.in)
		if err != nil {
			return 0, err
		}
		t.tail = bytes.NewReader(tail)
		if over {
			t.log.truncated = true
			t.tail = io.MultiReader(strings.NewReader("\n"), &whole{in: bufio.NewReader(t.tail)})
		}
	}
	return t.tail.Read(p)
}

// last reads to the end, and returns the last bytes and whether there were others before them.
func last(r io.Reader) (tail []byte, over bool, err error) {
	buf := make([]byte, 0, 2*tailBytes)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) == cap(buf) {
			copy(buf, buf[tailBytes:])
			buf, over = buf[:tailBytes], true
		}
		if errors.Is(err, io.EOF) {
			return buf, over, nil
		}
		if err != nil {
			return nil, over, err
		}
	}
}
