package actions

import (
	"container/list"
	"crypto/sha256"
	"net/http"
	"sync"
)

// maxPageBytes bounds the answers that are kept to be asked for again with their ETag.
const maxPageBytes = 16 << 20

// cacheable are the endpoints whose answers are kept: those that a poll asks again and again.
var cacheable = map[string]bool{"repository": true, "repositories": true, "runs": true, "installation_repositories": true}

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

func (p *pages) drop(e *list.Element) {
	old := p.order.Remove(e).(*entry)
	delete(p.by, old.address)
	p.bytes -= old.cost()
}
