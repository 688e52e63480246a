package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// What jobs did is kept as events, each under what it speaks of and by the time at which its job ended. The groups are a
// fold of them: a run of failures of one thing without a good push in between. Nothing of the result comes from the order in
// which events are put or taken away, since each of these folds anew what lies beside the event.

// A kind is the first byte of an event's key.
type kind byte

const (
	kindFailure  kind = 'f' // under a group: failureEvent
	kindGood     kind = 'g' // under a channel: goodEvent
	kindGone     kind = 'x' // under a group: the reason
	kindObserved kind = 'o' // under a group, at its newest failure then: time_to_recovery has counted it
)

type failureEvent struct {
	Cause  pushdoctor.Cause `json:"cause"`
	Status int              `json:"status,omitempty"`
}

type goodEvent struct {
	Run int64  `json:"run"`
	URL string `json:"url,omitempty"`
}

// A digest stands for words that may be longer than a key.
type digest [16]byte

func digestOf(format string, words ...any) (d digest) {
	sum := sha256.Sum256(fmt.Appendf(nil, format, words...))
	copy(d[:], sum[:])
	return d
}

// scopeOf is the digest of the executions that may speak of the same groups.
func scopeOf(repo int64, workflow, ref, job string) digest {
	return digestOf("%d %q %q %q", repo, workflowLabel(workflow), ref, job)
}

func (d digest) group(registry pushdoctor.Registry, image string) digest {
	return digestOf("%x group %q %q", d[:], registry, image)
}

// channel is under which the good pushes stand that close a group: those of its image; any to its registry where the log of
// the failure names no image; any at all where it names no registry.
func (d digest) channel(registry pushdoctor.Registry, image string) digest {
	switch {
	case registry == pushdoctor.RegistryUnknown:
		return digestOf("%x any", d[:])
	case image == "":
		return digestOf("%x registry %q", d[:], registry)
	}
	return digestOf("%x image %q", d[:], image) // its host says more than what the log let us call the registry
}

func eventKey(k kind, of digest, at uint64, job int64, n int) []byte {
	return slices.Concat([]byte{byte(k)}, of[:], key(at, uint64(job), uint64(n)))
}

// eventAt is when the event of a key happened.
func eventAt(k []byte) []byte { return k[17:25] }

const eventLen = 1 + 16 + 8 + 8 + 8

// groupRow is a group as it stands in the file.
type groupRow struct {
	pushdoctor.Group

	RepositoryID int64 `json:"repository_id"`
}

// A folder keeps groups in step with the events of one scope.
type folder struct {
	tx    *bbolt.Tx
	scope digest
	stale uint64 // seconds after which a group without news is stale
	live  func(time.Time) bool

	all []thing // that were ever broken, once they were asked for; nil again after a failure, which may add one
}

// A thing is what a group is of, within a scope.
type thing struct {
	folder

	id, channel digest
}

func (f folder) thing(registry pushdoctor.Registry, image string) thing {
	return thing{folder{tx: f.tx, scope: f.scope, stale: f.stale, live: f.live}, f.scope.group(registry, image), f.scope.channel(registry, image)}
}

// things are those of the scope that were ever broken.
func (f *folder) things() ([]thing, error) {
	if f.all != nil {
		return f.all, nil
	}
	out := []thing{}
	c := f.tx.Bucket(bucketGroups).Cursor()
	for k, v := c.Seek(f.scope[:]); bytes.HasPrefix(k, f.scope[:]); {
		var r groupRow
		if err := decode(v, &r); err != nil {
			return nil, fmt.Errorf("group %x: %w", k, err)
		}
		out = append(out, f.thing(r.Registry, r.Image))
		k, v = c.Seek(append(bytes.Clone(k[:32]), bytes.Repeat([]byte{0xff}, 9)...))
	}
	f.all = out
	return out, nil
}

func (t thing) prefix() []byte { return slices.Concat(t.scope[:], t.id[:]) }

// before is the newest group that was opened at that time or earlier, nil where there is none.
func (t thing) before(at uint64) (*groupRow, error) {
	c := t.tx.Bucket(bucketGroups).Cursor()
	if k, _ := c.Seek(append(t.prefix(), key(at+1)...)); k == nil {
		return t.row(c.Last())
	}
	return t.row(c.Prev())
}

// after is the oldest group that was opened later.
func (t thing) after(at uint64) (*groupRow, error) {
	return t.row(t.tx.Bucket(bucketGroups).Cursor().Seek(append(t.prefix(), key(at+1)...)))
}

func (t thing) row(k, v []byte) (*groupRow, error) {
	if !bytes.HasPrefix(k, t.prefix()) {
		return nil, nil //nolint:nilnil // none is no error
	}
	r := new(groupRow)
	if err := decode(v, r); err != nil {
		return nil, fmt.Errorf("group %x: %w", k, err)
	}
	return r, nil
}

// closing is the first event from that time on which ends a group: a good push, or the word that it is gone.
func (t thing) closing(at uint64) (k kind, when uint64, value []byte, err error) {
	c := t.tx.Bucket(bucketGroupEvents).Cursor()
	for _, look := range []struct {
		kind kind
		of   digest
	}{{kindGood, t.channel}, {kindGone, t.id}} {
		from := eventKey(look.kind, look.of, at, 0, 0)
		row, v := c.Seek(from)
		if !bytes.HasPrefix(row, from[:17]) {
			continue
		}
		found, err := number(eventAt(row))
		if err != nil {
			return 0, 0, nil, err
		}
		if k == 0 || found < when {
			k, when, value = look.kind, found, v
		}
	}
	return k, when, value, nil
}

// connected reports whether two failures, the earlier one first, are of one group.
func (t thing) connected(a, b uint64) (bool, error) {
	if b-a > t.stale {
		return false, nil
	}
	k, when, _, err := t.closing(a)
	return k == 0 || when >= b, err
}

// put writes a group after it has found out its state.
func (t thing) put(g *groupRow) error {
	newest := seconds(g.Newest)
	k, when, value, err := t.closing(newest)
	if err != nil {
		return err
	}
	next, err := t.after(newest)
	if err != nil {
		return err
	}
	g.State, g.Closed, g.FixedRun, g.FixedURL, g.Reason = pushdoctor.GroupOpen, time.Time{}, 0, "", ""
	switch {
	case k == kindGood && when-newest <= t.stale:
		var good goodEvent
		if err := decode(value, &good); err != nil {
			return err
		}
		g.State, g.Closed, g.FixedRun, g.FixedURL = pushdoctor.GroupFixed, moment(when), good.Run, good.URL
	case k == kindGone && when-newest <= t.stale:
		g.State, g.Closed, g.Reason = pushdoctor.GroupStale, moment(when), string(value)
	case k != 0 || next != nil:
		g.State, g.Closed = pushdoctor.GroupStale, moment(newest+t.stale)
	}
	if err := t.write(g); err != nil || g.State != pushdoctor.GroupFixed {
		return err
	}
	return t.observe(g)
}

func (t thing) write(g *groupRow) error {
	v, err := json.Marshal(g)
	if err != nil {
		return err
	}
	at := append(t.prefix(), key(seconds(g.Opened))...)
	open := append(key(uint64(g.RepositoryID)), at...)
	if err := t.tx.Bucket(bucketGroups).Put(at, v); err != nil {
		return err
	}
	if g.State == pushdoctor.GroupOpen {
		return t.tx.Bucket(bucketOpen).Put(open, nil)
	}
	return t.tx.Bucket(bucketOpen).Delete(open)
}

func (t thing) remove(g *groupRow) error {
	at := append(t.prefix(), key(seconds(g.Opened))...)
	return errors.Join(t.tx.Bucket(bucketGroups).Delete(at), t.tx.Bucket(bucketOpen).Delete(append(key(uint64(g.RepositoryID)), at...)))
}

// observe counts how long a group took that was fixed, once: what is read later may move its ends, or take its newest
// failure away, and the mark stays.
func (t thing) observe(g *groupRow) error {
	if !t.live(g.Opened) {
		return nil
	}
	opened, newest := seconds(g.Opened), seconds(g.Newest)
	events := t.tx.Bucket(bucketGroupEvents)
	from := eventKey(kindObserved, t.id, opened, 0, 0)
	if k, _ := events.Cursor().Seek(from); bytes.HasPrefix(k, from[:17]) && bytes.Compare(eventAt(k), key(newest)) <= 0 {
		return nil
	}
	if err := events.Put(eventKey(kindObserved, t.id, newest, 0, 0), nil); err != nil {
		return err
	}
	took := g.Closed.Sub(g.Opened).Seconds()
	within := "+Inf"
	if i := slices.IndexFunc(RecoveryBuckets, func(b float64) bool { return took <= b }); i >= 0 {
		within = strconv.FormatFloat(RecoveryBuckets[i], 'f', -1, 64)
	}
	tally := tally{bucket: t.tx.Bucket(bucketTotals), live: true, now: time.Now()}
	tally.raise(MetricTimeToRecovery, 0, 1, string(g.Registry), string(g.Cause), within)
	tally.raise(MetricTimeToRecovery, 0, took, string(g.Registry), string(g.Cause), RecoverySum)
	return tally.err
}

// fail adds a failure whose event was put. one is the group of it alone.
func (t thing) fail(one *groupRow) error {
	at := seconds(one.Newest)
	prev, err := t.before(at)
	if err != nil {
		return err
	}
	if prev != nil && at <= seconds(prev.Newest) { // amidst those of a group
		if prev.Failures++; at == seconds(prev.Newest) && laterID(one.Finding, prev.Finding) {
			prev.Finding, prev.Cause, prev.Status = one.Finding, one.Cause, one.Status
		}
		return t.put(prev)
	}
	next, err := t.after(at)
	if err != nil {
		return err
	}
	alone := prev
	if prev != nil {
		joined, err := t.connected(seconds(prev.Newest), at)
		if err != nil {
			return err
		}
		if joined {
			alone, one.Opened, one.Failures = nil, prev.Opened, prev.Failures+1
		}
	}
	if next != nil {
		joined, err := t.connected(at, seconds(next.Opened))
		if err != nil {
			return err
		}
		if joined {
			if err := t.remove(next); err != nil {
				return err
			}
			next.Opened, next.Failures = one.Opened, one.Failures+next.Failures
			one = next
		}
	}
	if err := t.put(one); err != nil || alone == nil {
		return err
	}
	return t.put(alone) // it may have been open, and a failure after a long time says that it was stale
}

// mend brings the groups in step with a good push or the word that they are gone, which was put at that time.
func (t thing) mend(at uint64) error {
	prev, err := t.before(at)
	if prev == nil || err != nil {
		return err
	}
	if seconds(prev.Newest) <= at {
		return t.put(prev)
	}
	return t.refold(at)
}

// refold makes the groups anew round an event that was taken away, or that cuts a group in two.
func (t thing) refold(at uint64) error {
	var old []*groupRow
	next, err := t.after(at)
	if err != nil {
		return err
	}
	if next != nil {
		old = append(old, next)
	}
	for range 2 { // the one before may go on where this one ended
		prev, err := t.before(at)
		if err != nil {
			return err
		}
		if prev == nil || forgotten(t.tx, seconds(prev.Newest)) { // Prune has let go of its failures
			break
		}
		old = append(old, prev)
		at = seconds(prev.Opened) - 1
	}
	if len(old) == 0 {
		return nil
	}
	slices.Reverse(old)
	first, last := old[0], old[len(old)-1]
	for _, g := range old {
		if err := t.remove(g); err != nil {
			return err
		}
	}
	made, err := t.fold(*first, seconds(first.Opened), seconds(last.Newest))
	if err != nil {
		return err
	}
	if len(made) > 0 && forgotten(t.tx, seconds(first.Opened)) && !first.Newest.Before(made[0].Opened) {
		made[0].Opened = first.Opened // its oldest failures are pruned, and it goes on
	}
	for _, g := range slices.Backward(made) { // a group's state hangs on the one after it
		if err := t.put(g); err != nil {
			return err
		}
	}
	return nil
}

// fold makes groups of the failures between two times. like has the words of all of them.
func (t thing) fold(like groupRow, from, to uint64) ([]*groupRow, error) {
	var out []*groupRow
	var newest []byte // the value of the newest failure so far
	last := func() error {
		if len(out) == 0 {
			return nil
		}
		var e failureEvent
		err := decode(newest, &e)
		out[len(out)-1].Cause, out[len(out)-1].Status = e.Cause, e.Status
		return err
	}
	low := eventKey(kindFailure, t.id, from, 0, 0)
	// The buckets that connected looks into are read only: the cursor stays where it is.
	c := t.tx.Bucket(bucketGroupEvents).Cursor()
	for k, v := c.Seek(low); bytes.HasPrefix(k, low[:17]) && bytes.Compare(eventAt(k), key(to)) <= 0; k, v = c.Next() {
		at, err := number(eventAt(k))
		if err != nil {
			return nil, err
		}
		joined := false
		if len(out) > 0 {
			if joined, err = t.connected(seconds(out[len(out)-1].Newest), at); err != nil {
				return nil, err
			}
		}
		if !joined {
			if err := last(); err != nil {
				return nil, err
			}
			g := like
			g.Opened, g.Failures = moment(at), 0
			out = append(out, &g)
		}
		g := out[len(out)-1]
		g.Newest, g.Failures, newest = moment(at), g.Failures+1, v
		g.Finding = eventID(k)
	}
	return out, last()
}

// eventID is the id of the finding of a failure's key.
func eventID(k []byte) string {
	return findingID(int64(binary.BigEndian.Uint64(k[25:])), int(binary.BigEndian.Uint64(k[33:eventLen])))
}

// laterID reports whether a finding comes after another one whose job ended in the same second.
func laterID(a, b string) bool {
	jobA, nA, _ := parseID(a)
	jobB, nB, _ := parseID(b)
	return cmp.Or(cmp.Compare(jobA, jobB), cmp.Compare(nA, nB)) > 0
}

// imageName is an image's name as groups are told apart by it: lower case, without tag and digest, with the host where it is not Docker
// Hub. It is "" for a masked name, and for one that no registry could hold: whoever cures it pushes another name.
func imageName(image, host string) string {
	image = strings.ToLower(image)
	for _, scheme := range []string{"docker://", "oci://", "https://", "http://"} {
		image = strings.TrimPrefix(image, scheme)
	}
	image, _, _ = strings.Cut(image, "@")
	first, path, slash := strings.Cut(image, "/")
	if !slash || !strings.ContainsAny(first, ".:") && first != "localhost" {
		path, first = image, strings.ToLower(host)
	}
	path, _, _ = strings.Cut(path, ":") // slashes get into tags more often than colons into paths
	if first == "" || first == "docker.io" || strings.HasSuffix(first, ".docker.io") || first == "registry.hub.docker.com" {
		path = strings.TrimPrefix(path, "library/")
	} else {
		path = first + "/" + path
	}
	illegal := func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-/:", r) }
	if strings.ContainsFunc(path, illegal) || strings.Contains(path, "//") || strings.HasSuffix(path, "/") || strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}
