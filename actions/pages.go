package actions

import (
	"bytes"
	"compress/gzip"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// maxPageBytes bounds the answers that are kept to be asked for again with their ETag.
const maxPageBytes = 16 << 20

// cacheable are the endpoints whose answers are kept: those that a poll or the next start asks again.
var cacheable = map[string]bool{
	"repository": true, "repositories": true, "runs": true, "installation_repositories": true, "workflow": true, "file": true,
}

// A fingerprint tells one token from another without being one.
type fingerprint [16]byte

func fingerprintOf(token string) fingerprint {
	sum := sha256.Sum256([]byte(token))
	return fingerprint(sum[:16])
}

// A page is an answer as it came, with the ETag by which GitHub says that it still holds. GitHub makes the ETag for one
// token: asked with another one, it sends all again (https://github.com/github/docs/issues/34689).
type page struct {
	etag   string
	token  fingerprint
	header http.Header
	body   []byte
	fresh  bool // not handed to Options.PutPages
}

// key is under what the page of an address is kept that was asked for with the token.
func (f fingerprint) key(address string) string { return hex.EncodeToString(f[:]) + " " + address }

// fields are those of the answers that this package reads. A page that outlives the process has no others: commits' messages, for
// one, are strangers' text, and may hold what must not be written anywhere.
var fields = map[string]bool{
	"total_count": true, "workflow_runs": true, "repositories": true, "repository": true, "head_repository": true,
	"id": true, "name": true, "full_name": true, "archived": true, "disabled": true, "default_branch": true,
	"workflow_id": true, "run_attempt": true, "head_branch": true, "head_sha": true, "event": true, "status": true, "conclusion": true,
	"created_at": true, "updated_at": true, "run_started_at": true, "html_url": true, "path": true, "state": true,
}

func keepFields(v any) {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(name string, _ any) bool { return !fields[name] })
		for _, one := range v {
			keepFields(one)
		}
	case []any:
		for _, one := range v {
			keepFields(one)
		}
	}
}

// encode returns p as Options.PutPages gets it: the ETag and the links in a line each, and the fields of the body, packed.
func (p page) encode() ([]byte, error) {
	body, err := unpack(p.body, p.header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // ids are longer than a float is exact
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	keepFields(v)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\n%s\n", p.etag, p.header.Get("Link"))
	z := gzip.NewWriter(&out)
	if err := errors.Join(json.NewEncoder(z).Encode(v), z.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decodePage returns the page of that token that encode has made a value of, and whether it is one.
func decodePage(value []byte, token fingerprint) (page, bool) {
	etag, rest, _ := strings.Cut(string(value), "\n")
	link, body, ok := strings.Cut(rest, "\n")
	if !ok || etag == "" {
		return page{}, false
	}
	h := http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	if link != "" {
		h.Set("Link", link)
	}
	return page{etag, token, h, []byte(body), false}, true
}

// kept returns the page of an address: the one of the last answer, or that of a process before this one, which must be the token's.
func (g *gate) kept(endpoint, address string, token fingerprint) (page, bool) {
	p, ok := g.pages.get(address)
	if ok || g.page == nil || !cacheable[endpoint] {
		return p, ok
	}
	if p, ok = decodePage(g.page(token.key(address)), token); ok {
		g.pages.put(address, p)
	}
	return p, ok
}

// cost is what p counts for: the header and the book-keeping are about a kilobyte.
func (p page) cost() int { return len(p.body) + 1<<10 }

// pages are the pages used last, one an address: that of a new token takes the place of the one before.
type pages struct {
	mu    sync.Mutex // guards all below
	max   int
	bytes int
	order *list.List // of *entry, the one used last in front
	by    map[string]*list.Element
}

type entry struct {
	address string
	page
}

func newPages(limit int) *pages {
	return &pages{max: limit, order: list.New(), by: map[string]*list.Element{}}
}

func (p *pages) get(address string) (page, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.by[address]
	if !ok {
		return page{}, false
	}
	p.order.MoveToFront(e)
	return e.Value.(*entry).page, true
}

func (p *pages) put(address string, v page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.by[address]; ok {
		p.drop(e)
	}
	p.by[address] = p.order.PushFront(&entry{address, v})
	p.bytes += v.cost()
	for p.bytes > p.max {
		p.drop(p.order.Back())
	}
}

// unwritten returns the fresh pages by address.
func (p *pages) unwritten() map[string]page {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]page{}
	for address, e := range p.by {
		if one := e.Value.(*entry).page; one.fresh {
			all[address] = one
		}
	}
	return all
}

// wrote notes that these are no longer fresh, but for those that have changed meanwhile.
func (p *pages) wrote(all map[string]page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, one := range all {
		if e, ok := p.by[address]; ok && e.Value.(*entry).etag == one.etag && e.Value.(*entry).token == one.token {
			e.Value.(*entry).fresh = false
		}
	}
}

func (p *pages) drop(e *list.Element) {
	old := p.order.Remove(e).(*entry)
	delete(p.by, old.address)
	p.bytes -= old.cost()
}
