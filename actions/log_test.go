package actions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

// numbered returns a log of at least size bytes, whose lines have numbers.
func numbered(size int) []byte {
	var b bytes.Buffer
	for i := 1; b.Len() < size; i++ {
		fmt.Fprintf(&b, "2026-03-01T10:00:00.0000000Z line %d\n", i)
	}
	return b.Bytes()
}

func oneLog(t *testing.T, w *fakegithub.World, j fakegithub.Job) pushdoctor.Job {
	t.Helper()
	run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: begin}, j)
	return w.Jobs(run.ID)[0].Job
}

// The token must not reach the logs' host: the fake answers 400 to it and complains.
func TestLog(t *testing.T) {
	for _, fake := range []fakegithub.Options{{}, {NoRange: true}, {NoLength: true}, {NoRange: true, NoLength: true}} {
		w := fakegithub.NewWorld()
		text := numbered(3 << 20)
		job := oneLog(t, w, fakegithub.Job{Log: text})
		c, _ := start(t, w, fake, actions.Options{})
		if got := read(t, c, job); got != string(text) {
			t.Errorf("%+v: %d bytes, want %d", fake, len(got), len(text))
		}
	}
}

// Of a log that is too long the beginning has the facts and the end the errors. A seam within a line must not
// make one line of two, nor part of a line that looks whole.
func TestLogTooLong(t *testing.T) {
	const maxLog = 2 << 20
	for _, test := range []struct {
		name      string
		fake      fakegithub.Options
		size      int
		truncated bool
		head      int   // bytes before the seam
		tail      int   // bytes at least after it
		bytes     int64 // sent by the host at most: ranges are there to be used
	}{
		{"just not", fakegithub.Options{}, maxLog + 1<<20 - 100, false, 0, 0, 0},
		{"ranges", fakegithub.Options{}, 32 << 20, true, 1 << 20, maxLog - 100, 20 << 20},
		{"no ranges", fakegithub.Options{NoRange: true}, 9 << 20, true, 1 << 20, maxLog - 100, 20 << 20},
		{"no length", fakegithub.Options{NoLength: true}, 9 << 20, true, maxLog + 1<<20, 1<<20 - 100, 10 << 20},
		{"no length, just too long", fakegithub.Options{NoLength: true}, maxLog + 1<<20 + 40_000, false, 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := fakegithub.NewWorld()
			text := numbered(test.size)
			job := oneLog(t, w, fakegithub.Job{Log: text})
			c, s := start(t, w, test.fake, actions.Options{MaxLog: maxLog})
			l, err := c.Log(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			got, err := io.ReadAll(l)
			if err != nil || l.Truncated() != test.truncated {
				t.Fatalf("Truncated() = %v, want %v; error %v", l.Truncated(), test.truncated, err)
			}
			if !test.truncated {
				if !bytes.Equal(got, text) {
					t.Errorf("%d bytes, want %d", len(got), len(text))
				}
				return
			}
			head, tail := got[:test.head], got[test.head+1:]
			if !bytes.HasPrefix(text, head) || got[test.head] != '\n' || !bytes.HasSuffix(text, tail) || !bytes.HasPrefix(tail, []byte("2026-")) || len(tail) < test.tail {
				t.Errorf("%d bytes; round the seam stands %q", len(got), got[test.head-40:test.head+40])
			}
			if n := s.Stats().LogBytes; n > test.bytes {
				t.Errorf("the host sent %d bytes for these %d", n, len(got))
			}
		})
	}
}

// A log of any size passes through in the memory of a buffer.
func TestLogMemory(t *testing.T) {
	w := fakegithub.NewWorld()
	text := numbered(32 << 20)
	job := oneLog(t, w, fakegithub.Job{Log: text})
	c, _ := start(t, w, fakegithub.Options{NoLength: true}, actions.Options{MaxLog: 8 << 20})
	l, err := c.Log(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := io.Copy(io.Discard, l); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 { // the fake's own writes included
		t.Errorf("%d MB allocated for a log of 32 MB", grown>>20)
	}
}

// Half of the log arrives, then the connection breaks: the rest is asked for, never the beginning a second time
// to the reader. A reader that took the break for the end would call a log clean that it had not read.
func TestLogBroken(t *testing.T) {
	for _, fake := range []fakegithub.Options{{}, {NoRange: true}, {NoLength: true}} {
		w := fakegithub.NewWorld()
		text := numbered(1 << 20)
		job := oneLog(t, w, fakegithub.Job{Log: text})
		fake.Faults = fakegithub.Faults{Rate: 0.9, Kinds: []fakegithub.Fault{fakegithub.FaultTruncated, fakegithub.FaultExpired}}
		c, s := start(t, w, fake, actions.Options{})
		if got := read(t, c, job); got != string(text) {
			t.Errorf("%+v: %d bytes, want %d", fake, len(got), len(text))
		}
		if s.Stats().Faults == 0 {
			t.Error("nothing broke")
		}
	}
}

// 404 may change, 410 does not; and a log is not there before the job's end.
func TestLogNotThere(t *testing.T) {
	w := fakegithub.NewWorld()
	gone := oneLog(t, w, fakegithub.Job{Gone: true})
	lost := oneLog(t, w, fakegithub.Job{Lost: true})
	late := oneLog(t, w, fakegithub.Job{LogAt: begin.Add(10 * time.Minute), Log: []byte("here\n")})
	now := begin.Add(5 * time.Minute)
	c, _ := start(t, w, fakegithub.Options{Now: func() time.Time { return now }}, actions.Options{})
	for _, test := range []struct {
		job  pushdoctor.Job
		want error
	}{{gone, actions.ErrLogGone}, {lost, actions.ErrLogNotThere}, {late, actions.ErrLogNotThere}} {
		if _, err := c.Log(t.Context(), test.job); !errors.Is(err, test.want) {
			t.Errorf("log of job %d: %v, want %v", test.job.JobID, err, test.want)
		}
	}
	now = begin.Add(11 * time.Minute)
	if got := read(t, c, late); got != "here\n" {
		t.Errorf("the late log is %q", got)
	}
}

// A link is good for a minute. A reader that takes longer, and whose connection then breaks, needs another one.
func TestLogLinkRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fakegithub.NewWorld()
		text := numbered(1 << 20)
		run := w.AddRun(pushdoctor.Run{Repository: "octo-lab/api", CreatedAt: time.Now().Add(-time.Hour)}, fakegithub.Job{Log: text})
		s := fakegithub.New(w, fakegithub.Options{Token: token, Faults: fakegithub.Faults{Rate: 1, Kinds: []fakegithub.Fault{fakegithub.FaultTruncated}}})
		pipe := s.Pipe()
		c := client(t, s, actions.Options{Transport: pipe})
		l, err := c.Log(t.Context(), w.Jobs(run.ID)[0].Job)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		var got strings.Builder
		if _, err := io.CopyN(&got, l, 1000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := io.Copy(&got, l); err != nil || got.String() != string(text) {
			t.Errorf("%d bytes, want %d; error %v", got.Len(), len(text), err)
		}
		if n := s.Stats().Requests["job_log"]; n < 2 {
			t.Errorf("asked for %d links", n)
		}
	})
}

// The connection of a log falls silent, then the log is another one than before. The first must be taken up again within
// a minute, the second must not be made one log of two.
func TestLogStallsAndChanges(t *testing.T) {
	for _, test := range []struct{ etag, want string }{{`"1"`, "0123456789"}, {`"2"`, "the log changed while it was read"}} {
		synctest.Test(t, func(t *testing.T) {
			links := 0
			c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "api.github.com" {
					links++
					return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"https://logs.github.test/1"}}, Body: http.NoBody, Request: r}, nil
				}
				if r.Header.Get("Range") == "" {
					body := io.NopCloser(io.MultiReader(strings.NewReader("0123"), silent{r.Context()}))
					return &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"1"`}}, ContentLength: 10, Body: body, Request: r}, nil
				}
				h := http.Header{"Etag": {test.etag}, "Content-Range": {"bytes 4-9/10"}}
				return &http.Response{StatusCode: 206, Header: h, ContentLength: 6, Body: io.NopCloser(strings.NewReader("456789")), Request: r}, nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			l, err := c.Log(t.Context(), pushdoctor.Job{Repository: "octo-lab/api", JobID: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			b, err := io.ReadAll(l)
			got := string(b)
			if err != nil {
				got = err.Error()
			}
			if got != test.want || time.Since(begin) > time.Minute || links != 1 {
				t.Errorf("%q after %v and %d links, want %q", got, time.Since(begin), links, test.want)
			}
		})
	}
}

// A host of logs that falls silent for good: before its answer, or after each of them. Its error must not look like
// the end of the caller's context, for which a collector gives up all that it does.
func TestLogStallsForEver(t *testing.T) {
	for _, answers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, err := actions.New(actions.Options{Token: token, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "api.github.com" {
					return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"https://logs.github.test/1"}}, Body: http.NoBody, Request: r}, nil
				}
				if !answers {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 10, Body: io.NopCloser(silent{r.Context()}), Request: r}, nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			whole := func(ctx context.Context) error {
				l, err := c.Log(ctx, pushdoctor.Job{Repository: "octo-lab/api", JobID: 1})
				if err != nil {
					return err
				}
				defer func() { _ = l.Close() }()
				_, err = io.ReadAll(l)
				return err
			}
			err = whole(t.Context())
			if !errors.Is(err, actions.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), "nothing came for 30s") {
				t.Errorf("answers %t: %v", answers, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Second, cancel)
			if err := whole(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("answers %t: after the end of the caller's context: %v", answers, err)
			}
		})
	}
}

// silent is the body of a request that says nothing more.
type silent struct{ context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.Done()
	return 0, s.Err()
}
