package configs

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A Secret is a string that no printing shows: as text, in Go syntax, as JSON and as YAML it is
// "<secret>", or empty where it is not set.
type Secret struct {
	// A pointer, since fmt prints the unexported fields of a struct without asking their methods.
	value *string
}

// NewSecret returns the Secret that holds value; an empty value is not set.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns what s hides, "" where it is not set. Whoever calls it must not print it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String returns "<secret>", or "" where s is not set.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return "<secret>"
}

// GoString returns what String returns, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes what String returns for every verb, so that %x or %d show no more.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText returns what String returns, for JSON, YAML and log/slog. It never fails.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Size is a number of bytes, written with its unit: "256MB", "1GiB".
type Size int64

const megabyte Size = 1e6

// units are the units of a Size, the greatest first.
var units = []struct {
	name  string
	bytes Size
}{
	{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// String returns s in the greatest unit of which it is a multiple, as UnmarshalText reads it.
func (s Size) String() string {
	if s == 0 {
		return "0B"
	}
	for _, unit := range units {
		if s%unit.bytes == 0 {
			return strconv.FormatInt(int64(s/unit.bytes), 10) + unit.name
		}
	}
	panic("configs: a size is not a multiple of one byte")
}

// MarshalText returns what String returns. It never fails.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number with a unit: B, KB, MB, GB in steps of 1000, KiB, MiB,
// GiB in steps of 1024. A number without a unit is an error.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range units {
		number, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || n > uint64(math.MaxInt64/unit.bytes) {
			break
		}
		*s = Size(n) * unit.bytes
		return nil
	}
	return fmt.Errorf("%q is not a size; write a whole number and a unit, such as 256MB or 1GiB", text)
}
