package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/store"
)

// An estate is what may be read, and by which credential: the installations of a GitHub App, each for what it was installed
// on, and a token for the rest.
type estate struct {
	config configs.Config
	app    *actions.App                            // nil: none
	token  *collector                              // nil: none
	reader func(github *actions.Client) *collector // makes that of an installation
	now    func() time.Time

	busy          chan struct{} // holds an element while a survey goes on, which guards what follows
	installations map[int64]*collector
	lists         map[string]list[actions.RepositoryInfo] // by owner, or "app/" and the installation's account
	installed     list[actions.Installation]
	missing       map[int64]bool // installations that GitHub did not tell the last time
}

// A list is what GitHub last told.
type list[T any] struct {
	told  []T
	empty time.Time // since when GitHub tells none, where it told some before; zero: it tells some
}

// emptyFor is how long a list that became empty from one time to the next is taken for a fault of GitHub's.
const emptyFor = 24 * time.Hour

// take returns the list after GitHub has told one, which is the one before for a day where the new one is empty.
func (l list[T]) take(told []T, now time.Time) list[T] {
	if len(told) > 0 || len(l.told) == 0 {
		return list[T]{told: told}
	}
	if l.empty.IsZero() {
		l.empty = now
	}
	if now.Sub(l.empty) < emptyFor {
		return l
	}
	return list[T]{}
}

// A plot is one repository that is to be read.
type plot struct {
	name string
	by   *collector
}

// A survey is what the patterns stand for.
type survey struct {
	plots  []plot           // sorted by name
	faults map[string]error // by pattern or name: why the repositories of it, or some of them, are not known
	idle   []idle

	credentials []string // in use
}

// An idle repository is one that a pattern names and in which nothing runs.
type idle struct {
	actions.RepositoryInfo
	by  *collector
	err error
}

// errArchived and errDisabled say why a repository is not read.
var (
	errArchived = errors.New("the repository is archived")
	errDisabled = errors.New("the repository is disabled")
)

// fault returns why it is not known whether the repository is there, nil if it is.
func (s survey) fault(name string) error {
	for pattern, err := range s.faults {
		if like(pattern, name) {
			return err
		}
	}
	return nil
}

// survey looks up which repositories the patterns stand for. A name without "*" stands for itself, wherever a list is
// silent about it: a token may read what it does not list.
func (e *estate) survey(ctx context.Context, patterns []string) survey {
	out := survey{faults: map[string]error{}}
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	case <-ctx.Done():
		return out
	}
	excluded := func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return strings.HasPrefix(p, "!") && like(p[1:], name) })
	}
	taken := map[string]bool{}
	take := func(info actions.RepositoryInfo, by *collector) {
		switch folded := strings.ToLower(info.Name); {
		case taken[folded] || excluded(info.Name):
		case info.Archived:
			taken[folded] = true
			out.idle = append(out.idle, idle{info, by, errArchived})
		case info.Disabled:
			taken[folded] = true
			out.idle = append(out.idle, idle{info, by, errDisabled})
		default:
			taken[folded] = true
			out.plots = append(out.plots, plot{info.Name, by})
		}
	}

	included := slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return strings.HasPrefix(p, "!") })
	held := map[string]error{} // owners whose installation could not be asked
	installed := map[string]bool{}
	for _, h := range e.holdings(ctx, included, out.faults) {
		installed[strings.ToLower(h.account)] = true
		if h.err != nil {
			held[strings.ToLower(h.account)] = h.err
		}
		for _, info := range h.infos {
			if slices.ContainsFunc(included, func(p string) bool { return like(p, info.Name) }) {
				take(info, h.by)
			}
		}
	}
	for _, p := range included {
		owner, repo, _ := strings.Cut(p, "/")
		if err := held[strings.ToLower(owner)]; err != nil {
			out.faults[p] = err
			continue
		}
		switch {
		case !strings.Contains(repo, "*"):
			if taken[strings.ToLower(p)] {
				continue
			}
			if e.token == nil {
				if out.faults[p] = errNotInstalled; installed[strings.ToLower(owner)] {
					out.faults[p] = errNotListed
				}
				continue
			}
			take(actions.RepositoryInfo{Name: p}, e.token)
		case e.token == nil:
			if !installed[strings.ToLower(owner)] {
				out.faults[p] = errNotInstalled
			}
		default:
			infos, err := e.listed(strings.ToLower(owner), func() ([]actions.RepositoryInfo, error) { return e.token.github.Repositories(ctx, owner) })
			if err != nil {
				out.faults[p] = err
			}
			for _, info := range infos {
				if like(p, info.Name) {
					take(info, e.token)
				}
			}
		}
	}
	out.credentials = e.credentials(included)
	slices.SortFunc(out.plots, func(a, b plot) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	return out
}

// credentials names those that requests are signed with: none of an installation that is gone, or on an owner that no pattern names.
func (e *estate) credentials(patterns []string) (names []string) {
	if e.token != nil {
		names = append(names, e.token.github.Credential())
	}
	if e.app != nil {
		names = append(names, e.app.Credential())
	}
	for _, i := range e.installed.told {
		if c := e.installations[i.ID]; c != nil && named(patterns, i.Account) {
			names = append(names, c.github.Credential())
		}
	}
	return names
}

// errNotInstalled: there is no token, and the App is not installed on the owner. errNotListed: it is, and does not list a repository of that name,
// which may have another one by now.
var (
	errNotInstalled = fmt.Errorf("%w: no installation of the GitHub App has it", actions.ErrNotFound)
	errNotListed    = fmt.Errorf("%w: the installation of the GitHub App does not list it", actions.ErrNotFound)
)

// named reports whether a pattern is of the owner.
func named(patterns []string, owner string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { of, _, _ := strings.Cut(p, "/"); return strings.EqualFold(of, owner) })
}

// A holding is what one installation may read.
type holding struct {
	account string
	by      *collector
	infos   []actions.RepositoryInfo
	err     error
}

// holdings asks the App for its installations on owners that the patterns name, and these for their repositories.
func (e *estate) holdings(ctx context.Context, patterns []string, faults map[string]error) (all []holding) {
	if e.app == nil {
		return nil
	}
	told, err := e.app.Installations(ctx)
	if err == nil {
		e.installed = e.installed.take(e.missed(told), e.now())
	} else {
		for _, p := range patterns {
			faults[p] = err
		}
		// Those that are known go on.
		for _, p := range patterns {
			owner, _, _ := strings.Cut(p, "/")
			all = append(all, holding{account: owner, err: err})
		}
		return all
	}
	for _, i := range e.installed.told {
		if !named(patterns, i.Account) {
			continue
		}
		h := holding{account: i.Account}
		switch h.by = e.installations[i.ID]; {
		case i.Suspended:
			h.err = actions.ErrSuspended
		case h.by == nil:
			client, err := e.app.Client(i)
			if err != nil {
				h.err = err
				break
			}
			h.by = e.reader(client)
			e.installations[i.ID] = h.by
		}
		if h.err == nil {
			h.infos, h.err = e.listed("app/"+i.Account, func() ([]actions.RepositoryInfo, error) { return h.by.github.Accessible(ctx) })
		}
		all = append(all, h)
	}
	return all
}

// missed returns the installations that GitHub has told, and those that are missing for the first time: what is read by one that is gone is
// closed for good.
func (e *estate) missed(told []actions.Installation) []actions.Installation {
	before := e.missing
	e.missing = map[int64]bool{}
	if len(told) == 0 {
		return told // that is believed after a day
	}
	for _, i := range e.installed.told {
		if slices.ContainsFunc(told, func(t actions.Installation) bool { return t.ID == i.ID }) {
			continue
		}
		if e.missing[i.ID] = true; !before[i.ID] {
			told = append(told, i)
		}
	}
	return told
}

// listed asks for a list of repositories. It is kept under key.
func (e *estate) listed(key string, ask func() ([]actions.RepositoryInfo, error)) ([]actions.RepositoryInfo, error) {
	told, err := ask()
	if err != nil {
		return told, err
	}
	e.lists[key] = e.lists[key].take(told, e.now())
	return e.lists[key].told, nil
}

// newEstate logs in as the configuration says. Where the one before logs in likewise, its clients go on: what they know of
// limits must not be forgotten. set may change the options of each client, and each collector is shown to met; any of them may be nil.
func (p *program) newEstate(c configs.Config, before *estate, db *store.DB, log *slog.Logger, set func(*actions.Options), met func(*collector)) (*estate, error) {
	rules, err := rulesOf(c, nil)
	if err != nil {
		return nil, err
	}
	o, err := p.clientOptions(c)
	if err != nil {
		return nil, err
	}
	e := &estate{
		config: c, now: p.clock(), busy: make(chan struct{}, 1),
		installations: map[int64]*collector{}, lists: map[string]list[actions.RepositoryInfo]{},
	}
	o.Log = log
	o.Page = func(key string) []byte {
		page, err := db.Page(key)
		if err != nil {
			log.Error("what was kept of GitHub's lists cannot be read", "err", err)
		}
		return page
	}
	o.PutPages = func(pages map[string][]byte) error { return db.PutPages(e.now(), pages) }
	if set != nil {
		set(&o)
	}
	db.SetStaleAfter(time.Duration(c.Metrics.StaleAfter))
	e.reader = func(github *actions.Client) *collector {
		one := newCollector(github, db, rules, c, log)
		one.now = e.now
		if met != nil {
			met(one)
		}
		return one
	}
	if before != nil && sameLogin(c, before.config) {
		e.app, e.token = before.app, nil
		if before.token != nil {
			e.token = e.reader(before.token.github)
		}
		before.busy <- struct{}{} // a backfill's survey may go on
		defer func() { <-before.busy }()
		for id, old := range before.installations {
			e.installations[id] = e.reader(old.github)
		}
		e.lists, e.installed = maps.Clone(before.lists), before.installed
		return e, nil
	}
	if e.app, err = p.app(c, o); err != nil {
		return nil, err
	}
	switch {
	case o.Tokens != nil || o.Token != "":
		github, err := actions.New(o)
		if err != nil {
			return nil, err
		}
		e.token = e.reader(github)
	case e.app == nil:
		return nil, errors.New("no token: give one in github.token_file, GITHUB_TOKEN or GH_TOKEN; it needs to read Actions and metadata")
	}
	return e, nil
}

// sameLogin reports whether two configurations speak to GitHub in the same way.
func sameLogin(a, b configs.Config) bool {
	return a.GitHub == b.GitHub && a.Collect.Workers == b.Collect.Workers && a.Collect.MaxLog == b.Collect.MaxLog
}

// flush writes to the store what is kept of GitHub's lists, so that the next start need not pay for those that do not change. The
// pages of an installation are not among them.
func (e *estate) flush() error {
	if e.token == nil {
		return nil
	}
	return e.token.github.Flush()
}

// like reports whether the pattern matches the name; GitHub does not tell upper from lower case.
func like(pattern, name string) bool {
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return ok && err == nil
}
