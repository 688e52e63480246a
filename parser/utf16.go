package parser

import (
	"bufio"
	"encoding/binary"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// decoded returns in, or a reader that makes UTF-8 of it where it begins with the BOM of UTF-16:
// PowerShell writes its redirects so.
func decoded(in *bufio.Reader) *bufio.Reader {
	head, _ := in.Peek(2) // an error comes again with the first read
	var order binary.ByteOrder
	switch string(head) {
	case "\xff\xfe":
		order = binary.LittleEndian
	case "\xfe\xff":
		order = binary.BigEndian
	default:
		return in
	}
	return bufio.NewReaderSize(&utf16Reader{in: in, order: order}, in.Size())
}

type utf16Reader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	rest  []byte // of the last rune, where p was too short for it
}

// Read fills p. A lone surrogate or a lone last byte becomes U+FFFD.
func (r *utf16Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 {
			c, err := r.rune()
			if err != nil {
				return n, err
			}
			r.rest = utf8.AppendRune(r.rest[:0], c)
		}
		m := copy(p[n:], r.rest)
		n, r.rest = n+m, r.rest[m:]
	}
	return n, nil
}

func (r *utf16Reader) rune() (rune, error) {
	b, err := r.in.Peek(2)
	if len(b) == 1 && err == io.EOF {
		r.in.Discard(1)
		return utf8.RuneError, nil
	}
	if err != nil {
		return 0, err
	}
	c := rune(r.order.Uint16(b))
	r.in.Discard(2)
	if !utf16.IsSurrogate(c) {
		return c, nil
	}
	b, err = r.in.Peek(2)
	if err != nil {
		return utf8.RuneError, nil
	}
	pair := utf16.DecodeRune(c, rune(r.order.Uint16(b)))
	if pair != utf8.RuneError {
		r.in.Discard(2)
	}
	return pair, nil
}
