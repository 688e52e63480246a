package classifier_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
)

func BenchmarkClassify(b *testing.B) {
	var logs strings.Builder
	for _, folder := range []string{"found", "none"} {
		for _, c := range cases(b, folder) {
			logs.WriteString(c.log())
		}
	}
	var failures strings.Builder
	for n := range 100_000 {
		fmt.Fprintf(&failures, "%s ERROR: failed to push registry.example.test/octo/api%d:1.4: denied: requested access to the resource is denied\n", stamp(n), n)
	}
	long := strings.Repeat(strings.Repeat("docker -a b pushing ", 3200)+"denied: denied\n", 40)
	for _, bench := range []struct{ name, log string }{
		{"cases", logs.String()},
		{"build-8MB", buildLog(8 << 20)},
		{"failures-100000", failures.String()},
		{"lines-of-64KB", "docker push ghcr.io/octo-lab/api\n" + long},
	} {
		b.Run(bench.name, func(b *testing.B) {
			rules := classifier.Builtin()
			b.SetBytes(int64(len(bench.log)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.Classify(parser.New(strings.NewReader(bench.log))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// buildLog is a log of size bytes as most are: a long build, its push, and one failure at the end.
func buildLog(size int) string {
	var b strings.Builder
	b.WriteString(stamp(0) + " ##[group]Run docker/build-push-action@v6\n" + stamp(0) + " with:\n" + stamp(0) + "   push: true\n" + stamp(0) + " ##[endgroup]\n")
	for n := 0; b.Len() < size; n++ {
		at := stamp(n)
		switch n % 8 {
		case 0:
			fmt.Fprintf(&b, "%s #%d [build %d/9] RUN npm ci && npm run build\n", at, 5+n/800, n%9)
		case 1, 2:
			fmt.Fprintf(&b, "%s #%d %d.%03d Get:%d https://deb.example.test/debian bookworm/main amd64 libtool%d all 2.4.7-7 [517 kB]\n", at, 5+n/800, n%60, n%1000, n, n)
		case 3:
			fmt.Fprintf(&b, "%s #%d sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0 %d.58MB / 30.44MB 2.1s\n", at, 5+n/800, n%30)
		case 4:
			fmt.Fprintf(&b, "%s src/server/handlers/user_%d.go:%d:12: declared and not used: err\n", at, n, n%400)
		case 5:
			fmt.Fprintf(&b, "%s \x1b[32mPASS\x1b[0m src/components/Button%d.test.tsx (%d ms)\n", at, n, n%900)
		case 6:
			fmt.Fprintf(&b, "%s added %d packages, and audited %d packages in %ds\n", at, n, n+1, n%60)
		case 7:
			fmt.Fprintf(&b, "%s INFO  request GET /v1/users/%d answered 200 in %dms\n", at, n, n%300)
		}
	}
	at := stamp(1)
	fmt.Fprintf(&b, "%s #14 exporting to image\n%s #14 ERROR: failed to push ghcr.io/octo-lab/api:1.4: denied: permission_denied: write_package\n", at, at)
	return b.String()
}
