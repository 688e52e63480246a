package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/akkospace/pushdoctor"
)

// A Repository is what the store knows of one repository.
type Repository struct {
	ID        int64             `json:"id"`
	Name      string            `json:"name"`                // owner/name, as GitHub spells it now
	LiveSince time.Time         `json:"live_since,omitzero"` // its first successful poll or webhook; zero before that
	Cursor    pushdoctor.Cursor `json:"cursor"`
	State     string            `json:"state,omitempty"`  // how its last collecting ended, in the collector's words
	Reason    string            `json:"reason,omitempty"` // why it ended so

	// Workflows are the names of workflows by the base names of their files, as the last live run that was counted has them.
	Workflows map[string]string `json:"workflows,omitempty"`
}

// maxWorkflows and maxName bound what a repository says of its workflows.
const (
	maxWorkflows = 1000
	maxName      = 200 // bytes
)

var errNoRepository = errors.New("the store has no such repository")

// live reports whether what ended then belongs to the live totals.
func (r Repository) live(ended time.Time) bool {
	return !r.LiveSince.IsZero() && !ended.Before(r.LiveSince)
}

// Repository returns the repository with that id, and whether the store has it.
func (db *DB) Repository(id int64) (Repository, bool, error) {
	var r Repository
	var ok bool
	err := db.view(fmt.Sprintf("repository %d", id), func(tx *bbolt.Tx) (err error) {
		r, ok, err = repository(tx, id)
		return err
	})
	return r, ok, err
}

// Repositories returns all repositories by id.
func (db *DB) Repositories() ([]Repository, error) {
	var out []Repository
	err := db.view("repositories", func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRepositories).ForEach(func(_, v []byte) error {
			var r Repository
			err := decode(v, &r)
			out = append(out, r)
			return err
		})
	})
	return out, err
}

// PutRepository writes r over what the store knows of it, but for three things: LiveSince is set once and never
// moves, the cursor only goes forward, and Workflows are those that CountRuns was told of. What was counted before LiveSince was set
// stays history.
func (db *DB) PutRepository(r Repository) error {
	what := fmt.Sprintf("repository %d", r.ID)
	if r.ID <= 0 {
		return fmt.Errorf("store %s: %s: %w", db.path, what, errNoRepository)
	}
	return db.update(what, func(tx *bbolt.Tx) error {
		old, _, err := repository(tx, r.ID)
		if err != nil {
			return err
		}
		if !old.LiveSince.IsZero() {
			r.LiveSince = old.LiveSince
		}
		r.Cursor = later(old.Cursor, r.Cursor)
		r.Workflows = old.Workflows
		return putRepository(tx, r)
	})
}

// Advance moves the repository's cursor to c, and never back: each of its times is the later one.
func (db *DB) Advance(repo int64, c pushdoctor.Cursor) error {
	return db.update(fmt.Sprintf("cursor of repository %d", repo), func(tx *bbolt.Tx) error {
		r, ok, err := repository(tx, repo)
		if err != nil {
			return err
		}
		if !ok {
			return errNoRepository
		}
		r.Cursor = later(r.Cursor, c)
		return putRepository(tx, r)
	})
}

func later(a, b pushdoctor.Cursor) pushdoctor.Cursor {
	if b.Through.After(a.Through) {
		a.Through = b.Through
	}
	if b.From.After(a.From) {
		a.From = b.From
	}
	if b.Swept.After(a.Swept) {
		a.Swept = b.Swept
	}
	return a
}

func repository(tx *bbolt.Tx, id int64) (r Repository, ok bool, err error) {
	v := tx.Bucket(bucketRepositories).Get(key(uint64(id)))
	if v == nil {
		return Repository{}, false, nil
	}
	return r, true, decode(v, &r)
}

func putRepository(tx *bbolt.Tx, r Repository) error {
	v, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketRepositories).Put(key(uint64(r.ID)), v)
}

// ensureRepository is the repository, made where PutRepository has not told of it.
func ensureRepository(tx *bbolt.Tx, id int64, name string) (Repository, error) {
	r, ok, err := repository(tx, id)
	if ok || err != nil {
		return r, err
	}
	r = Repository{ID: id, Name: name}
	return r, putRepository(tx, r)
}

func repositoryNames(tx *bbolt.Tx) (map[int64]string, error) {
	names := map[int64]string{}
	err := tx.Bucket(bucketRepositories).ForEach(func(_, v []byte) error {
		var r Repository
		err := decode(v, &r)
		names[r.ID] = r.Name
		return err
	})
	return names, err
}

// named returns r with the name of the run's workflow, and whether that is news. A run of long ago does not bring back an old name.
func (r Repository) named(run pushdoctor.Run) (Repository, bool) {
	file := run.Workflow
	name := strings.ToValidUTF8(run.WorkflowName[:min(len(run.WorkflowName), maxName)], "")
	known, ok := r.Workflows[file]
	if file == "" || file == "other" || name == "" || known == name || ok && !r.live(run.UpdatedAt) || !ok && len(r.Workflows) >= maxWorkflows {
		return r, false
	}
	if r.Workflows = maps.Clone(r.Workflows); r.Workflows == nil {
		r.Workflows = map[string]string{}
	}
	r.Workflows[file] = name
	return r, true
}
