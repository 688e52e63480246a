package store

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// Rewrite puts each of findings in place of the one with its id, with the indexes and what they say of groups, all in one transaction, and returns
// how many of them the store still had. Their jobs and facts stay as they are, and so do totals: what was counted
// under a cause remains counted under it.
func (db *DB) Rewrite(findings []Stored) (rewritten int, err error) {
	for _, f := range findings {
		if _, _, ok := parseID(f.ID); !ok || !f.Cause.Valid() || !f.Registry.Valid() {
			return 0, fmt.Errorf("store %s: finding %.40q: unknown cause %q or registry %q, or no id", db.path, f.ID, f.Cause, f.Registry)
		}
	}
	n := 0
	err = db.update(fmt.Sprintf("%d findings", len(findings)), func(tx *bbolt.Tx) error {
		for _, f := range findings {
			job, at, _ := parseID(f.ID)
			ended := tx.Bucket(bucketByID).Get(key(uint64(job), uint64(at)))
			if ended == nil {
				continue
			}
			old, err := removeFinding(tx, append(bytes.Clone(ended), key(uint64(job), uint64(at))...))
			if err != nil {
				return err
			}
			old.Facts.TokenLine = old.TokenLine
			if err := putFinding(tx, seconds(old.Job.CompletedAt), old.Job.job(), at, f.Finding, old.Facts); err != nil {
				return fmt.Errorf("finding %s: %w", f.ID, err)
			}
			if err := db.reweigh(tx, old.Job.job(), at, f.Finding); err != nil {
				return fmt.Errorf("group of finding %s: %w", f.ID, err)
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
