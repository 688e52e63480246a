package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Pages are kept for as long as the lists of runs that they are of are asked for, and in so many bytes.
const (
	maxPageAge   = 40 * 24 * time.Hour
	maxPageBytes = 64 << 20
)

// Page returns what PutPages was last given under the key, nil where it was given nothing or that is let go of.
func (db *DB) Page(key string) ([]byte, error) {
	var value []byte
	err := db.view("page", func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketPages).Get([]byte(key))
		if v == nil {
			return nil
		}
		_, err := pagePut(v)
		if err == nil {
			value = slices.Clone(v[8:])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// PutPages keeps each value under its key, in place of the one before: what can be asked for again, and need not be while it
// has not changed. What was put more than 40 days before now goes, and then the oldest, until 64 MB are left.
func (db *DB) PutPages(now time.Time, pages map[string][]byte) error {
	return db.update(fmt.Sprintf("%d pages", len(pages)), func(tx *bbolt.Tx) error {
		b, at := tx.Bucket(bucketPages), key(seconds(now))
		for k, v := range pages {
			if err := b.Put([]byte(k), slices.Concat(at, v)); err != nil {
				return err
			}
		}
		return trimPages(tx, now)
	})
}

// trimPages lets go of the pages that are too old or too many.
func trimPages(tx *bbolt.Tx, now time.Time) error {
	type held struct {
		key  []byte
		at   uint64
		size int
	}
	var all []held
	total := 0
	b := tx.Bucket(bucketPages)
	if err := b.ForEach(func(k, v []byte) error {
		at, err := pagePut(v)
		all = append(all, held{slices.Clone(k), at, len(k) + len(v)})
		total += len(k) + len(v)
		return err
	}); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.at, b.at) })
	horizon := seconds(now.Add(-maxPageAge))
	for _, h := range all {
		if h.at >= horizon && total <= maxPageBytes {
			break
		}
		if err := b.Delete(h.key); err != nil {
			return err
		}
		total -= h.size
	}
	return nil
}

// pagePut is when the page was put.
func pagePut(v []byte) (uint64, error) {
	if len(v) < 8 {
		return 0, fmt.Errorf("%w: a page of %d bytes", ErrDamaged, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
