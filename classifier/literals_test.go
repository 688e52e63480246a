package classifier

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// The filter must find what a search for each literal finds: a line that it passes over is never looked at again.
// Its stride is invisible through Classify, hence the test from within.
func TestFilterFindsWhatASearchFinds(t *testing.T) {
	alphabet := []rune("aAbB :/@[`{\x00é世")
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) string {
		b := make([]rune, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	found := 0
	for range 20_000 {
		literals := make([]string, 1+r.IntN(4))
		for i := range literals {
			literals[i] = fold(random(minLiteral + r.IntN(8)))
		}
		text := random(r.IntN(40))
		if r.IntN(2) == 0 {
			text = random(r.IntN(9)) + shout(r, literals[0]) + random(r.IntN(9))
		}
		want := false
		for _, lit := range literals {
			want = want || strings.Contains(fold(text), lit)
		}
		if want {
			found++
		}
		if got := newFilter(literals).match(text); got != want {
			t.Fatalf("match(%q) = %v with the literals %q", text, got, literals)
		}
	}
	if found < 5_000 {
		t.Errorf("only %d texts held a literal", found)
	}
}

// The embedded rules' own literals are found at every offset, in every case. Red if a literal is too short for
// the stride.
func TestFilterFindsTheRulesLiterals(t *testing.T) {
	rules := Builtin()
	r := rand.New(rand.NewPCG(5, 6))
	literals := append(frameLiterals(), contextLiterals...)
	for _, ru := range rules.rules {
		if ru.anchor == anchorNone || ru.alone {
			literals = append(literals, ru.literal)
		}
	}
	for _, lit := range literals {
		for before := range stride + 1 {
			if text := strings.Repeat("x", before) + shout(r, lit); len(lit) >= minLiteral && !rules.filter.match(text) {
				t.Errorf("%q is not found in %q", lit, text)
			}
		}
	}
}

// fold makes ASCII letters lower case and leaves all other bytes alone.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// shout makes some of the letters upper case.
func shout(r *rand.Rand, s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' && r.IntN(2) == 0 {
			b[i] = c &^ 0x20
		}
	}
	return string(b)
}
