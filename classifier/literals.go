package classifier

import "math/bits"

// minLiteral is how long a literal must be to be found by a filter of this stride: every occurrence of a
// literal of stride+3 bytes holds a position that is a multiple of the stride and begins one of its first
// stride four-byte groups. Rules ask for 8 bytes, one more.
const (
	stride     = 4
	minLiteral = stride + 3
)

// A filter says which texts can hold one of a set of literals, without regard to ASCII case. It looks at
// every stride-th position only, so that the lines in which nothing happens, nearly all, cost next to nothing.
type filter struct {
	bitmap [1 << 10]uint64 // of the hashes of the groups
	groups map[uint32][]group
}

type group struct {
	literal string
	offset  int // of the group in the literal
}

func newFilter(literals []string) *filter {
	f := &filter{groups: map[uint32][]group{}}
	seen := map[string]bool{}
	for _, lit := range literals {
		if lit = lower(lit); len(lit) < minLiteral || seen[lit] {
			continue
		}
		seen[lit] = true
		for offset := range stride {
			key := fold4(lit, offset)
			h := hash(key)
			f.bitmap[h>>6] |= 1 << (h & 63)
			f.groups[key] = append(f.groups[key], group{lit, offset})
		}
	}
	return f
}

// match reports whether text holds one of the literals.
func (f *filter) match(text string) bool {
	for i := 0; i+4 <= len(text); i += stride {
		key := fold4(text, i)
		h := hash(key)
		if f.bitmap[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, g := range f.groups[key] {
			if at := i - g.offset; at >= 0 && at+len(g.literal) <= len(text) && equalFold(text[at:at+len(g.literal)], g.literal) {
				return true
			}
		}
	}
	return false
}

// fold4 is the four bytes at i with ASCII letters made lower case. It also folds some other bytes onto each
// other, which costs a comparison and nothing else.
func fold4(s string, i int) uint32 {
	return (uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24) | 0x20202020
}

func hash(v uint32) uint32 { return bits.RotateLeft32(v*0x9E3779B1, 16) & (1<<16 - 1) }

// equalFold compares s with a lower-case literal of the same length, ASCII only.
func equalFold(s, literal string) bool {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != literal[i] {
			return false
		}
	}
	return true
}
