package parser_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/akkospace/pushdoctor/parser"
)

// generated returns a log of about size bytes: a preamble, then steps that build and push an image.
func generated(size int) []byte {
	var b bytes.Buffer
	n := 0
	say := func(format string, a ...any) {
		n++
		fmt.Fprintf(&b, "2026-03-01T10:%02d:%02d.%07dZ "+format+"\n", append([]any{n / 6000 % 60, n / 100 % 60, n % 100 * 1e5}, a...)...)
	}
	say("Current runner version: '2.327.0'")
	say("##[group]GITHUB_TOKEN Permissions")
	say("Packages: write")
	say("##[endgroup]")
	for b.Len() < size {
		say("##[group]Run docker login ghcr.io")
		say("\x1b[36;1mdocker login ghcr.io -u octo --password-stdin\x1b[0m")
		say("shell: /usr/bin/bash -e {0}")
		say("##[endgroup]")
		say("Login Succeeded")
		for i := range 200 {
			say("#%d [build %d/9] RUN go build -trimpath -o /out/api ./cmd/api (module %d of 200)", i%20, i%9, i)
			say("")
			say("#%d 12.%02d sha256:0f7a3fc2a908e1c5d1b8d1a6f3c2b5 4.19MB / 47.83MB", i%20, i%60)
		}
		say("\x1b[32mok\x1b[0m  \texample.test/api\t0.412s")
	}
	return b.Bytes()
}

func BenchmarkLines(b *testing.B) {
	log := generated(8 << 20)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		for range parser.New(bytes.NewReader(log)).Lines() {
		}
	}
}

// The rest of an overlong line must cost no more than reading it.
func BenchmarkLongLine(b *testing.B) {
	log := bytes.Repeat([]byte("0123456789abcdef"), 50<<16)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		for range parser.New(bytes.NewReader(log)).Lines() {
		}
	}
}
