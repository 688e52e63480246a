package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/store"
)

func work(repo, run, job int64, queued time.Time) store.Work {
	return store.Work{Repository: fmt.Sprintf("octo-lab/r%d", repo), RepositoryID: repo, RunID: run, Attempt: 1, JobID: job, Queued: queued}
}

func enqueue(t *testing.T, db *store.DB, w store.Work, want bool) {
	t.Helper()
	if added, err := db.Enqueue(w); added != want || err != nil {
		t.Errorf("Enqueue(%+v) = %t, %v, want %t", w, added, err, want)
	}
}

// next compares what is due with the wanted "repository/run/job".
func next(t *testing.T, db *store.DB, now time.Time, each int, want string) []store.Work {
	t.Helper()
	got, err := db.NextWork(now, each)
	if err != nil {
		t.Fatal(err)
	}
	var short []string
	for _, w := range got {
		short = append(short, fmt.Sprintf("%d/%d/%d", w.RepositoryID, w.RunID, w.JobID))
	}
	if have := strings.Join(short, " "); have != want {
		t.Errorf("due at %s: %s, want %s", now.Format(time.TimeOnly), have, want)
	}
	return got
}

func queueLength(t *testing.T, db *store.DB, want int) {
	t.Helper()
	if n, err := db.QueueLength(); n != want || err != nil {
		t.Errorf("QueueLength = %d, %v, want %d", n, err, want)
	}
}

// Work that a restart loses, that is queued twice, that comes before older work, or that a flood from another
// repository hides turns this red. So does a length that does not agree with the rows.
func TestQueue(t *testing.T) {
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for run := int64(1); run <= 20; run++ {
		enqueue(t, db, work(7, run, 0, day.Add(time.Duration(run)*time.Second)), true)
	}
	enqueue(t, db, work(7, 3, 0, day.Add(time.Hour)), false) // redelivered
	enqueue(t, db, work(7, 3, 31, day.Add(40*time.Second)), true)
	again := work(7, 3, 0, day.Add(50*time.Second))
	again.Attempt = 2
	enqueue(t, db, again, true)
	enqueue(t, db, work(8, 5, 0, day.Add(30*time.Second)), true)
	queueLength(t, db, 23)
	closeAndCheck(t, db, path)

	db = open(t, path)
	queueLength(t, db, 23)
	next(t, db, day, 100, "")
	next(t, db, day.Add(2*time.Second), 100, "7/1/0 7/2/0")
	due := next(t, db, day.Add(time.Minute), 3, "7/1/0 7/2/0 7/3/0 8/5/0")
	want := work(8, 5, 0, day.Add(30*time.Second))
	want.Due = want.Queued
	if diff := cmp.Diff(want, due[3]); diff != "" {
		t.Errorf("work as it comes back (-want +got):\n%s", diff)
	}
	if err := errors.Join(db.RetryWork(due[0], day.Add(35*time.Second)), db.RetryWork(due[0], day.Add(time.Hour)), db.DoneWork(due[1]), db.DoneWork(due[1])); err != nil {
		t.Fatal(err)
	}
	queueLength(t, db, 22)
	next(t, db, day.Add(time.Minute), 1, "7/3/0 8/5/0")
	late := next(t, db, day.Add(time.Hour), 100,
		"7/3/0 7/4/0 7/5/0 7/6/0 7/7/0 7/8/0 7/9/0 7/10/0 7/11/0 7/12/0 7/13/0 7/14/0 7/15/0 7/16/0 7/17/0 7/18/0 7/19/0 7/20/0 8/5/0 7/3/31 7/3/0 7/1/0")
	if got := late[len(late)-1]; got.Tries != 2 || !got.Due.Equal(day.Add(time.Hour)) {
		t.Errorf("work that was tried twice: %+v", got)
	}
	enqueue(t, db, work(7, 1, 0, day), false) // it is put off, and there
	for _, w := range late {
		if err := db.DoneWork(w); err != nil {
			t.Fatal(err)
		}
	}
	queueLength(t, db, 0)
	if err := errors.Join(db.RetryWork(late[0], day), db.Check()); err != nil {
		t.Error(err)
	}
	next(t, db, day.Add(24*time.Hour), 100, "")
}

// A redelivery of what was done long ago that makes work turns this red.
func TestEnqueueOfWhatIsDone(t *testing.T) {
	db := open(t, file(t))
	record(t, db, reading(31, day, denied("api")), true)
	if err := db.CountRuns(7, []pushdoctor.Run{{ID: 3, Attempt: 2, Conclusion: "failure", UpdatedAt: day}}); err != nil {
		t.Fatal(err)
	}
	enqueue(t, db, work(7, 3, 31, day), false)
	enqueue(t, db, work(7, 3, 32, day), true)
	enqueue(t, db, work(7, 3, 0, day), true) // the first attempt was not counted
	second := work(7, 3, 0, day)
	second.Attempt = 2
	enqueue(t, db, second, false)
	queueLength(t, db, 2)
}

// A delivery that two handlers keep at once and that is counted twice turns this red.
func TestEnqueueAtOnce(t *testing.T) {
	db := open(t, file(t))
	var all sync.WaitGroup
	for range 8 {
		for run := range int64(5) {
			all.Go(func() {
				if _, err := db.Enqueue(work(7, run+1, 0, day)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	queueLength(t, db, 5)
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}

// A queue without an end, and work that nothing could be asked of, turn this red.
func TestEnqueueRefuses(t *testing.T) {
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []store.Work{work(0, 1, 0, day), work(7, 0, 0, day), work(7, 1, -1, day), {RepositoryID: 7, RunID: 1, Attempt: -1}} {
		if added, err := db.Enqueue(w); added || err == nil || !strings.Contains(err.Error(), "no repository or run") {
			t.Errorf("Enqueue(%+v) = %t, %v", w, added, err)
		}
	}
	enqueue(t, db, work(7, 1, 0, day), true)
	closeAndCheck(t, db, path)
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("queued"), binary.BigEndian.AppendUint64(nil, 100_000))
	})
	if db, err = store.Open(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()         // its count is wrong: it passes no Check
	enqueue(t, db, work(7, 1, 0, day), false) // what is there needs no room
	if added, err := db.Enqueue(work(7, 2, 0, day)); added || !errors.Is(err, store.ErrQueueFull) {
		t.Errorf("Enqueue into a full queue = %t, %v", added, err)
	}
	if err := db.DoneWork(work(7, 1, 0, day)); err != nil {
		t.Fatal(err)
	}
	enqueue(t, db, work(7, 2, 0, day), true)
}

// A store of the schema before the queue that cannot be opened, or whose queue does not work, turns this red.
func TestQueueMigration(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bbolt.Tx) error {
		return errors.Join(
			tx.DeleteBucket([]byte("queue")), tx.DeleteBucket([]byte("queue_due")), tx.Bucket([]byte("meta")).Delete([]byte("queued")),
			tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 1)),
		)
	})
	if _, err := store.OpenReadOnly(path); !errors.Is(err, store.ErrOlder) {
		t.Errorf("OpenReadOnly: %v, want %v", err, store.ErrOlder)
	}
	db := open(t, path)
	queueLength(t, db, 0)
	enqueue(t, db, work(7, 1000, 0, day), true)
	if n := len(find(t, db, store.Query{})); n != 100 {
		t.Errorf("%d findings after the migration, want 100", n)
	}
	if err := db.Check(); err != nil {
		t.Error(err)
	}
}

// A fault of the queue that Check does not see turns this red.
func TestCheckTellsOfTheQueue(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(queue, due, meta *bbolt.Bucket) error
		want   string
	}{
		{"row cut", func(queue, _, _ *bbolt.Bucket) error {
			k, _ := queue.Cursor().First()
			return queue.Put(k, []byte(`{"run`))
		}, "unexpected end of JSON input"},
		{"row of another run", func(queue, _, _ *bbolt.Bucket) error {
			k, _ := queue.Cursor().First()
			return queue.Put(k, []byte(`{"repository_id":7,"run_id":9,"attempt":1}`))
		}, "holds work on attempt 1 of run 9"},
		{"row that is never due", func(_, due, _ *bbolt.Bucket) error { k, _ := due.Cursor().First(); return due.Delete(k) }, "not in queue_due"},
		{"due and gone", func(queue, _, _ *bbolt.Bucket) error { k, _ := queue.Cursor().First(); return queue.Delete(k) }, "queue_due has 1 rows for 0"},
		{"count", func(_, _, meta *bbolt.Bucket) error { return meta.Put([]byte("queued"), make([]byte, 8)) }, "queue is said to have 0 rows and has 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := file(t)
			db, err := store.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			enqueue(t, db, work(7, 1, 0, day), true)
			closeAndCheck(t, db, path)
			edit(t, path, func(tx *bbolt.Tx) error {
				return test.change(tx.Bucket([]byte("queue")), tx.Bucket([]byte("queue_due")), tx.Bucket([]byte("meta")))
			})
			db, err = store.OpenReadOnly(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if err := db.Check(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check: %v, want %s", err, test.want)
			}
		})
	}
}
