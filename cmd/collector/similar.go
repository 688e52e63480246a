package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/redact"
	"github.com/akkospace/pushdoctor/store"
)

const (
	maxFamilies  = 10_000 // of messages that are told apart
	maxSkeletons = 50     // that are printed
	minLiteral   = 8      // bytes, as a rule file asks for
	maxLiteral   = 80
)

// A family is the findings whose messages are the same but for names and numbers.
type family struct {
	shape       string // the message with a placeholder for each
	count       int
	first, last time.Time // when their jobs ended
	example     row       // the newest
}

// similar prints the findings of a query by the family of their messages, the most frequent first, with a rule's
// skeleton for each. What it prints is a rule file in which a person has to fill in what is marked TODO.
func (p *program) similar(ctx context.Context, next findingsPage, q store.Query) error {
	config, err := p.config(nil)
	if err != nil {
		return err
	}
	rules, err := rulesOf(config, nil)
	if err != nil {
		return err
	}
	families := map[string]*family{}
	var t totals
	for {
		rows, err := next(ctx, q)
		if ctx.Err() != nil {
			return exitStatus(exitInterrupted)
		}
		if err != nil {
			return err
		}
		for _, r := range rows {
			if t.findings++; r.Recovered {
				t.recovered++
			}
			shape := shapeOf(r.Finding)
			s := families[shape]
			if s == nil {
				if len(families) >= maxFamilies {
					continue
				}
				s = &family{shape: shape, first: r.CompletedAt}
				families[shape] = s
			}
			s.count++
			s.last, s.example = r.CompletedAt, r
		}
		if len(rows) < q.Limit {
			break
		}
		q.After = rows[len(rows)-1].ID
	}
	order := slices.SortedFunc(maps.Values(families), func(a, b *family) int {
		return cmp.Or(cmp.Compare(b.count, a.count), b.last.Compare(a.last), cmp.Compare(a.shape, b.shape))
	})
	out := &guard{w: p.stdout, plain: true}
	if len(order) > 0 {
		fmt.Fprintf(out, "# Fill in what is marked TODO, and run: pushdoctor rules check FILE\nrules:\n")
	}
	draft := newDraft(rules)
	left := t.findings
	for _, s := range order[:min(len(order), maxSkeletons)] {
		left -= s.count
		draft.print(out, s)
		if ctx.Err() != nil {
			return exitStatus(exitInterrupted)
		}
	}
	if left > 0 {
		fmt.Fprintf(out, "\n# and %s with other messages\n", count(left, "finding"))
	}
	if err := out.flush(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	fmt.Fprintf(p.stderr, "pushdoctor: %s%s, %s\n", count(t.findings, "finding"), queryWords(q), count(len(families), "message"))
	if t.findings > t.recovered {
		return exitStatus(exitFound)
	}
	return nil
}

// What differs between two messages that say the same, in the order in which it is looked for.
var variable = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`<redacted>|\*\*\*`), "<secret>"},
	{regexp.MustCompile(`"[^"\s]*"|'[^'\s]*'|\x60[^\x60\s]*\x60`), "<name>"},
	{regexp.MustCompile(`(?i)\b(?:sha256:)?[0-9a-f]{8}[0-9a-f-]*`), "<hash>"},
	{regexp.MustCompile(`(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?(?:/[\w.:@<>-]+)*`), "<name>"}, // a host, an image
	{regexp.MustCompile(`[\w.-]*[\d.:-][\w.:-]*(?:/[\w.:@-]+)+|[\w.-]+/[\w.-]*[\d.:-][\w./:@-]*`), "<name>"},
	{regexp.MustCompile(`[\w.-]*(?:/[\w.-]+){2,}`), "<name>"}, // a path
	{regexp.MustCompile(`[\w-]*\d(?:[\w.:-]*\w)?`), "<n>"},
}

var address = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://(?:<redacted>|[^\s"'<>])+`)

var placeholder = regexp.MustCompile(`<(?:secret|url|name|hash|n)>`)

// shapeOf returns a finding's message in lower case, with placeholders for names, addresses, hashes and numbers.
func shapeOf(f pushdoctor.Finding) string {
	text := f.Message
	if text == "" {
		line, _ := decisive(f)
		text = line.Text
	}
	text = strings.ToLower(redact.String(text))
	text = fold(text, address, "<url>")
	repository := f.Image
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i]
	}
	_, path, _ := strings.Cut(repository, "/")
	for _, name := range []string{f.Image, repository, f.Host, path} {
		if len(name) >= 4 { // a shorter one stands in words
			text = strings.ReplaceAll(text, strings.ToLower(name), "<name>")
		}
	}
	for _, v := range variable {
		text = fold(text, v.re, v.with)
	}
	return strings.TrimSpace(text)
}

// fold replaces what re matches between the placeholders: <url> is not to become <<name>>.
func fold(text string, re *regexp.Regexp, with string) string {
	var b strings.Builder
	at := 0
	for _, m := range append(placeholder.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		b.WriteString(re.ReplaceAllString(text[at:m[0]], with) + text[m[0]:m[1]])
		at = m[1]
	}
	return b.String()
}

// A draft is a rule file that grows by one skeleton for each family of messages.
type draft struct {
	ids  map[string]bool
	file string // the skeletons so far, filled in for a trial
}

func newDraft(rules *classifier.Rules) *draft {
	d := &draft{ids: map[string]bool{}, file: "rules:\n"}
	for _, r := range rules.List() {
		d.ids[r.ID] = true
	}
	return d
}

// print writes what is known of a family, and its skeleton.
func (d *draft) print(out *guard, s *family) {
	r := s.example
	fmt.Fprintf(out, "\n  # %s, %s to %s\n", count(s.count, "finding"), s.first.UTC().Format(time.RFC3339), s.last.UTC().Format(time.RFC3339))
	fmt.Fprintf(out, "  # message: %s\n", visible(shorten(s.shape, maxName)))
	fmt.Fprintf(out, "  # example: %s\n", visible(strings.TrimSpace(strings.Join([]string{r.ID, r.Repository, r.URL}, " "))))
	for _, try := range skeletons(s) {
		try.id = d.id(try.literal)
		// The rule must decide its example in front of all other rules of this file.
		file := d.file + try.yaml("policy_denied", "x", everyday...)
		if _, faults := classifier.Check(classifier.File{Name: "skeletons", Data: []byte(file)}); len(faults) > 0 {
			continue
		}
		d.file, d.ids[try.id] = d.file+try.yaml("policy_denied", "x", "nothing"), true
		if try.alone {
			fmt.Fprintf(out, "  # Without alone, nothing in the line would say that it is of a push: make sure that its words do.\n")
		}
		fmt.Fprint(out, try.yaml("TODO", "TODO", "TODO"))
		return
	}
	fmt.Fprintf(out, "  # No skeleton: no %d bytes of the line are the same in all of them and of no other answer.\n", minLiteral)
}

// id returns a rule's id of the literal's words that no other rule has.
func (d *draft) id(literal string) string {
	words := regexp.MustCompile(`[a-z0-9]+`).FindAllString(literal, 5)
	if words == nil {
		words = []string{"own"}
	}
	id := strings.Join(words, "-")
	for n := 2; d.ids[id]; n++ {
		id = fmt.Sprintf("%s-%d", strings.Join(words, "-"), n)
	}
	return id
}

// everyday are answers of which a rule for an unknown message must decide none: the words around the registry's own are
// every registry's.
var everyday = []string{
	"ERROR: failed to push registry.example.test/octo/api:1: unexpected status from POST request to https://registry.example.test/v2/octo/api/blobs/uploads/: 403 Forbidden",
	"ERROR: failed to push registry.example.test/octo/api:1: unexpected status from PUT request to https://registry.example.test/v2/octo/api/manifests/1: 401 Unauthorized",
	"ERROR: failed to push registry.example.test/octo/api:1: unexpected status from HEAD request to https://registry.example.test/v2/octo/api/manifests/1: 500 Internal Server Error",
	"ERROR: failed to push registry.example.test/octo/api:1: failed to authorize: failed to fetch oauth token: failed with status: 401 Unauthorized",
	"The push refers to repository [registry.example.test/octo/api]\nreceived unexpected HTTP status: 503 Service Unavailable",
	"The push refers to repository [registry.example.test/octo/api]\nerror parsing HTTP 502 response body: invalid character '<' looking for beginning of value: \"<html>\\r\\n<head><title>502 Bad Gateway</title></head>\\r\\n\"",
	"The push refers to repository [registry.example.test/octo/api]\ndenied: requested access to the resource is denied",
	"The push refers to repository [registry.example.test/octo/api]\nunauthorized: authentication required",
	"The push refers to repository [registry.example.test/octo/api]\nunknown: unknown error",
	"Error: writing blob: initiating layer upload to /v2/octo/api/blobs/uploads/ in registry.example.test: unexpected http status 500",
	"Error: PUT https://registry.example.test/v2/octo/api/manifests/1: unexpected status code 500 Internal Server Error",
}

// A skeleton is a rule without what only a person knows.
type skeleton struct {
	id, literal, match string
	alone              bool
}

// skeletons returns the rules that may know a family's messages, the best first: by the longest words that stay the same, and
// with as little of a log around the line as shows that it is of a push.
func skeletons(s *family) []skeleton {
	var literals []string
	for _, part := range placeholder.Split(s.shape, -1) {
		part = cutWords(strings.Trim(part, " \t:;,.=()[]{}<>\"'`-"), maxLiteral)
		if len(part) >= minLiteral && !slices.Contains(literals, part) {
			literals = append(literals, part)
		}
	}
	slices.SortStableFunc(literals, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	quote, _ := decisive(s.example.Finding)
	line := strings.ToValidUTF8(redact.String(quote.Text), "\uFFFD")
	var out []skeleton
	for _, alone := range []bool{false, true} {
		for _, literal := range literals[:min(len(literals), 3)] {
			for _, before := range contexts(s.example.Finding) {
				out = append(out, skeleton{literal: literal, match: before + line, alone: alone})
			}
		}
	}
	return out
}

// contexts returns what a log may hold before the finding's line, nothing first. A marker that the parser took off a line is
// put back by the last.
func contexts(f pushdoctor.Finding) []string {
	image := cmp.Or(f.Image, cmp.Or(f.Host, "registry.example.test")+"/name:tag")
	if strings.ContainsAny(image, " \t\n\"'$<>|;&*") {
		image = "registry.example.test/name:tag"
	}
	program := string(f.Client)
	switch f.Client { //nolint:exhaustive // the others are called as they are named
	case pushdoctor.ClientBuildx, pushdoctor.ClientCompose, pushdoctor.ClientOther, pushdoctor.ClientJib, pushdoctor.ClientKaniko:
		program = "docker"
	}
	if f.Operation == pushdoctor.OperationLogin {
		return []string{"", "##[group]Run docker/login-action@v3\nwith:\n  registry: " + cmp.Or(f.Host, "docker.io") + "\n##[endgroup]\n##[error]", "$ " + program + " login " + f.Host + "\n", "##[error]"}
	}
	repository, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i]
	}
	all := []string{"", "The push refers to repository [" + repository + "]\n", "$ " + program + " push " + image + "\n", "##[error]"}
	if f.Client == pushdoctor.ClientBuildx {
		all[1] = "#6 exporting to image\n#6 pushing layers\n"
	}
	return all
}

// cutWords returns the first words of s that have at most n bytes together.
func cutWords(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if i := strings.LastIndexByte(s[:n], ' '); i >= minLiteral {
		return s[:i]
	}
	return strings.ToValidUTF8(s[:n], "")
}

// yaml returns the skeleton as an item of a rule file.
func (s skeleton) yaml(cause, why string, misses ...string) string {
	alone := ""
	if s.alone {
		alone = "    alone: true\n"
	}
	misses = slices.Clone(misses)
	for i, miss := range misses {
		misses[i] = yamlText(miss)
	}
	return fmt.Sprintf("  - id: %s\n    literal: %s\n%s    cause: %s\n    why: %s\n    match: [%s]\n    miss: [%s]\n",
		s.id, yamlText(s.literal), alone, cause, why, yamlText(s.match), strings.Join(misses, ", "))
}

// yamlText returns s as YAML. Go's escapes are YAML's too; the guard would change what a runner takes for a command.
func yamlText(s string) string {
	return strings.ReplaceAll(strconv.QuoteToGraphic(s), "##[", `#\x23[`)
}
