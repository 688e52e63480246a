package store_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor/store"
)

func putPages(t *testing.T, db *store.DB, at time.Time, pages map[string][]byte) {
	t.Helper()
	if err := db.PutPages(at, pages); err != nil {
		t.Fatal(err)
	}
}

// pages are those of the keys that the store has a page for, with the pages.
func pages(t *testing.T, db *store.DB, keys ...string) string {
	t.Helper()
	out := ""
	for _, k := range keys {
		page, err := db.Page(k)
		if err != nil {
			t.Fatal(err)
		}
		if page != nil {
			out += fmt.Sprintf("%s=%.9s ", k, page)
		}
	}
	return out
}

// A page that a restart or a Compact loses, that is older than the one put last, that stays for ever or goes too early turns this red,
// and so does one that outlives a Forget.
func TestPages(t *testing.T) {
	path := file(t)
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"a", "b", "c", "d"}
	if err := db.PutRepository(store.Repository{ID: 7, Name: "octo-lab/api"}); err != nil {
		t.Fatal(err)
	}
	putPages(t, db, day, map[string][]byte{"a": []byte("one"), "b": []byte("two")})
	putPages(t, db, day.AddDate(0, 0, 20), map[string][]byte{"b": []byte("three"), "c": {}})
	closeAndCheck(t, db, path)
	if _, _, err := store.Compact(path); err != nil {
		t.Fatal(err)
	}
	if db, err = store.Open(path); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		days int
		want string
	}{{39, "a=one b=three c= "}, {41, "b=three c= "}, {61, ""}} {
		if _, _, err := db.Prune(day.AddDate(0, 0, test.days), 0); err != nil {
			t.Fatal(err)
		}
		if got := pages(t, db, all...); got != test.want {
			t.Errorf("after %d days: %q, want %q", test.days, got, test.want)
		}
	}
	for i, k := range all {
		putPages(t, db, day.Add(time.Duration(i)*time.Minute), map[string][]byte{k: bytes.Repeat([]byte(k), 20<<20)})
	}
	if got, want := pages(t, db, all...), "b=bbbbbbbbb c=ccccccccc d=ddddddddd "; got != want {
		t.Errorf("of 80 MB: %q, want %q", got, want)
	}
	if s, err := db.Summary(); err != nil || s.Pages != 3 {
		t.Errorf("Summary tells of %d pages, %v", s.Pages, err)
	}
	if _, err := db.Forget("octo-lab/api"); err != nil {
		t.Fatal(err)
	}
	if got := pages(t, db, all...); got != "" {
		t.Errorf("after Forget: %q", got)
	}
	closeAndCheck(t, db, path)
}

// Red where a page that is no page is handed out.
func TestPageDamaged(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("pages")).Put([]byte("a"), []byte("short")) })
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if page, err := db.Page("a"); err == nil {
		t.Errorf("%q was handed out", page)
	}
	if err := db.Check(); err == nil {
		t.Error("Check finds no fault")
	}
}
