package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The values of the labels reason and endpoint that docs/metrics.md names must be those that come. The reasons of no error stand in the code
// where they come to be, and the endpoints in the comment on actions.Exchange.
func TestLabelsOfMetricsPage(t *testing.T) {
	text := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	page := text("../../docs/metrics.md")
	named := func(label string) (values []string) {
		item := regexp.MustCompile("(?m)^- `" + label + "`: (.*(?:\n  \\S.*)*)").FindStringSubmatch(page)
		if item == nil {
			t.Fatalf("docs/metrics.md has no list of %s", label)
		}
		list, _, _ := strings.Cut(item[1], ". ")
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(list, -1) {
			values = append(values, m[1])
		}
		return slices.Sorted(slices.Values(values))
	}

	want := []string{"other"}
	for _, r := range reasons {
		want = append(want, r.reason)
	}
	for file, made := range map[string]*regexp.Regexp{
		"collect.go": regexp.MustCompile(`c\.absent\(.*, "(\w+)", tries\)`),
		"queue.go":   regexp.MustCompile(`reason = "(\w+)"`),
	} {
		for _, m := range made.FindAllStringSubmatch(text(file), -1) {
			want = append(want, m[1])
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), named("reason")); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}

	comment := regexp.MustCompile(`(?s)Endpoint is one of (.*?)\n\tEndpoint `).FindStringSubmatch(text("../../actions/actions.go"))
	if comment == nil {
		t.Fatal("actions.Exchange does not say what its endpoints are")
	}
	want = nil
	for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(comment[1], -1) {
		want = append(want, m[1])
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), named("endpoint")); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}
