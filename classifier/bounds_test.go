package classifier_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/parser"
)

// A generated log is made while it is read, so that what the heap holds is the classifier's. It notes the
// largest heap that it sees.
type generated struct {
	next func() string // "" at the end
	rest string
	read int
	heap uint64
}

func (g *generated) Read(p []byte) (int, error) {
	if g.rest == "" {
		if g.rest = g.next(); g.rest == "" {
			g.heap = max(g.heap, heap())
			return 0, io.EOF
		}
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	if before := g.read; before>>20 != (before+n)>>20 {
		g.heap = max(g.heap, heap())
	}
	g.read += n
	return n, nil
}

// heap is the number of bytes that are alive.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bounded classifies a generated log and turns red if the heap grows with it.
func bounded(t *testing.T, next func() string) classifier.Report {
	t.Helper()
	rules := classifier.Builtin()
	before := heap()
	in := &generated{next: next}
	report, err := rules.Classify(parser.New(in))
	if err != nil {
		t.Fatal(err)
	}
	const limit = 1 << 20
	if in.heap > before+limit {
		t.Errorf("the heap grew by %d KB over a log of %d KB", (in.heap-before)>>10, in.read>>10)
	}
	return report
}

// A log of countless failures: a hundred are kept, the others counted, and nothing grows with them.
func TestManyFailures(t *testing.T) {
	const failures = 1_200 // the benchmark has 100,000
	n := 0
	report := bounded(t, func() string {
		if n++; n > failures {
			return ""
		}
		return fmt.Sprintf("%s ERROR: failed to push registry.example.test/octo/api%d:1.4: denied: requested access to the resource is denied\n", stamp(n), n)
	})
	if len(report.Findings) != classifier.MaxFindings || report.More != failures-classifier.MaxFindings {
		t.Errorf("%d findings and %d more, want %d and %d", len(report.Findings), report.More, classifier.MaxFindings, failures-classifier.MaxFindings)
	}
}

// What a step is doing is remembered by image, layer and vertex: none of the three may grow without bound.
func TestMuchToRemember(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines int
		line  string
	}{
		{"vertices", 10_000, "#%d [build 1/2] RUN make\n"},
		{"images of a vertex", 12_000, "#7 pushing manifest for registry.example.test/octo/api%d:1.4@sha256:aa 0.1s done\n"},
		{"layers", 16_000, "%012x: Preparing\n"},
		{"pushes", 3_500, "The push refers to repository [registry.example.test/octo/api%0200d]\n1.4: digest: sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0 size: 1\n"},
		{"undecided", 1_000, "Error response from daemon: unauthorized: authentication required of %0600d\n"},
		{"steps", 5_000, "##[group]Run docker push registry.example.test/octo/api:%d\n##[endgroup]\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			bounded(t, func() string {
				if n++; n > test.lines {
					return ""
				}
				return fmt.Sprintf(test.line, n)
			})
		})
	}
}

// A line of 50 MB is cut, not kept; what its beginning says counts, and so does the next line.
func TestLongLine(t *testing.T) {
	pieces := append([]string{"The push refers to repository [registry.example.test/octo/api]\nreceived unexpected HTTP status: 503 "},
		make([]string, 50, 51)...)
	for i := range 50 {
		pieces[1+i] = strings.Repeat("a", 1<<20)
	}
	pieces = append(pieces, "\nThe push refers to repository [registry.example.test/octo/web]\ndenied: permission_denied\n")
	n := 0
	report := bounded(t, func() string {
		if n++; n > len(pieces) {
			return ""
		}
		return pieces[n-1]
	})
	var got []string
	for _, f := range report.Findings {
		got = append(got, fmt.Sprintf("line %d: %s, %d", f.Line, f.Cause, f.Status))
	}
	want := []string{
		fmt.Sprintf("line 2: %s, 503", pushdoctor.CauseRegistryUnavailable),
		fmt.Sprintf("line 4: %s, 403", pushdoctor.CausePermissionDenied),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("findings = %q, want %q", got, want)
	}
}

// Names of 10 KB, wherever a name may stand, are cut in the finding.
func TestLongNames(t *testing.T) {
	name := "registry.example.test/" + strings.Repeat("octo/", 2000) + "api:1.4"
	for _, log := range []string{
		"#14 exporting to image\n#14 ERROR: failed to push " + name + ": denied: denied\n",
		"The push refers to repository [" + name + "]\ndenied: denied\n",
		"Error: PUT https://" + name + "/v2/octo/api/manifests/1: DENIED: denied\n",
		"Error: PUT https://" + strings.Repeat("a.", 5000) + "test/v2/octo/api/manifests/1: DENIED: denied\n",
		"##[group]Run docker push " + name + "\n##[endgroup]\nThe push refers to repository [ghcr.io/octo-lab/api]\ndenied: denied\n",
	} {
		report := classify(t, log)
		if len(report.Findings) != 1 {
			t.Errorf("%.60q has %d findings", log, len(report.Findings))
		}
		for _, wrong := range holds(log, report) {
			t.Errorf("%.60q: %s", log, wrong)
		}
		for _, f := range report.Findings {
			if len(f.Image) > 255 || len(f.Host) > 255 || len(f.Step) > 255 {
				t.Errorf("%.60q: image of %d bytes, host of %d, step of %d", log, len(f.Image), len(f.Host), len(f.Step))
			}
		}
	}
}

// A clock that is set back in the middle of a job changes neither what is found nor its order.
func TestStampsBackwards(t *testing.T) {
	const lines = "The push refers to repository [ghcr.io/octo-lab/api]\ndenied: permission_denied: write_package\n" +
		"The push refers to repository [ghcr.io/octo-lab/web]\ndenied: permission_denied: create_package\n"
	var log strings.Builder
	for n, line := range strings.SplitAfter(strings.TrimSuffix(lines, "\n"), "\n") {
		log.WriteString(stamp(50-10*n) + " " + line)
	}
	report := classify(t, log.String())
	for _, wrong := range holds(log.String(), report) {
		t.Error(wrong)
	}
	if len(report.Findings) != 2 || report.Findings[0].Cause != pushdoctor.CausePackageAccessDenied || report.Findings[1].Cause != pushdoctor.CausePackageCreationDenied {
		t.Errorf("findings:\n%s", printed(report))
	}
}

// A failing line that carries workflow commands, terminal escapes and markers of the runner brings none of
// them into a finding.
func TestLogThatFightsBack(t *testing.T) {
	for _, evil := range []string{
		"::error file=a::b", "::stop-commands::x", "::set-output name=a::b", "##[error]", "##[endgroup]", "\x1b]0;title\x07", "\x1b[2J\x1b[H",
		"\x1b]8;;https://x.example.test\x1b\\link\x1b]8;;\x1b\\", "\x1bP+q\x1b\\", "\u009b31m", "\r\r\r", "\x00\x00", "\u202e", "%0A::error::x",
	} {
		for _, log := range []string{
			evil + "The push refers to repository [ghcr.io/octo-lab/api]\n" + evil + "denied: permission_denied: write_package" + evil + "\n",
			"#14 ERROR: failed to push " + evil + "ghcr.io/octo-lab/api:1" + evil + ": denied: permission_denied: write_package " + evil + "\n",
			"##[group]Run docker push " + evil + "\n##[endgroup]\nERROR: failed to push ghcr.io/octo-lab/api:1: unexpected status: 403 Forbidden" + evil + "\n",
		} {
			for _, wrong := range holds(log, classify(t, log)) {
				t.Errorf("%q: %s", log, wrong)
			}
		}
	}
}

// Facts of 60 KB each, in a log of a few lines, are not taken for facts: a report of them would be larger than its log
// is worth, and goes to a page and into a store. A masked right is one that nobody can read, not one that is missing.
func TestLongFacts(t *testing.T) {
	long := strings.Repeat("a", 60<<10)
	log := "Current runner version: '2.330.0'\n##[group]GITHUB_TOKEN Permissions\nContents: read " + long + "\n" + long + ": write\nPackages: ***\n##[endgroup]\n" +
		"Secret source: " + long + "\nJob defined at: octo-lab/api/.github/workflows/image.yml@refs/heads/" + long + "\n" +
		"##[group]Run docker login\n\x1b[36;1mdocker login " + long[:7<<10] + " -u octo\x1b[0m\n\x1b[36;1mdocker login ghcr.io -u " + long[:7<<10] + "\x1b[0m\n##[endgroup]\n" +
		"Logging into registry " + long + ".example.test...\nLogin Succeeded\nLogin Succeeded\n"
	want := pushdoctor.Facts{
		Token:      map[string]string{"packages": "unknown"},
		Repository: "octo-lab/api",
		Logins:     []pushdoctor.Login{{User: "octo", OK: true, Line: 14}, {Host: "ghcr.io", OK: true, Line: 15}},
		TokenLine:  pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: 2, Text: "GITHUB_TOKEN Permissions"},
	}
	if diff := cmp.Diff(want, classify(t, log).Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

// Answers that wait for the end of their step to be known as a push's are a hundred at most: the others are counted.
func TestManyUndecided(t *testing.T) {
	var log strings.Builder
	for n := range 130 {
		fmt.Fprintf(&log, "%s ERROR: unexpected status from HEAD request to https://registry.example.test/v2/octo/api%d/manifests/1.4: 403 Forbidden\n", stamp(n), n)
	}
	if report := classify(t, log.String()); len(report.Findings) != classifier.MaxFindings || report.More != 30 {
		t.Errorf("%d findings and %d more, want %d and 30", len(report.Findings), report.More, classifier.MaxFindings)
	}
}
