package exporter_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A selector is a metric with its matchers, as an expression names it.
type selector struct {
	metric   string
	matchers []matcher
}

type matcher struct{ label, op, value string }

// An expression is what of PromQL can be held against an exporter.
type expression struct {
	selectors []selector
	labels    []string // those of by, without, on, ignoring, group_left and group_right
}

var (
	// A number or a span comes before a name, or "5m" would be the name m.
	promToken   = regexp.MustCompile(`^(\s+|#[^\n]*|[0-9][0-9a-zA-Z.]*|[a-zA-Z_:][a-zA-Z0-9_:]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|` + "`[^`]*`" + `|=~|!~|!=|==|>=|<=|.)`)
	promName    = regexp.MustCompile(`^[a-zA-Z_:]`)
	promMatch   = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	promWords   = []string{"and", "or", "unless", "bool", "offset", "inf", "nan"}
	promListing = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	promSums    = []string{"sum", "min", "max", "avg", "count", "group", "topk", "bottomk", "quantile", "stddev", "stdvar", "count_values"}
)

// promql finds the selectors in an expression; whether it is one, promtool says in "make alerts". Prometheus' own parser is a module
// that would raise the Go and five of the modules that pushdoctor is built with, and bring a hundred lines into go.sum.
func promql(expr string) (e expression, err error) {
	var tokens []string
	for rest := expr; rest != ""; {
		token := promToken.FindString(rest)
		if token == "" {
			return e, fmt.Errorf("%q: no token at %q", expr, rest)
		}
		if strings.TrimSpace(token) != "" && token[0] != '#' {
			tokens = append(tokens, token)
		}
		rest = rest[len(token):]
	}
	// upTo returns the tokens after the i-th, which opens something, to the one that closes it, and where that is.
	upTo := func(i int, closing string) ([]string, int) {
		n := slices.Index(tokens[i+1:], closing)
		if n < 0 {
			n = len(tokens) - i - 1
		}
		return tokens[i+1 : i+1+n], i + 1 + n
	}
	for i := 0; i < len(tokens); i++ {
		next := ""
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		switch token := tokens[i]; {
		case token == "[":
			_, i = upTo(i, "]")
		case token == "{":
			return e, fmt.Errorf("%q: a selector without a name", expr)
		case !promName.MatchString(token) || slices.Contains(promWords, strings.ToLower(token)):
		case slices.Contains(promListing, token):
			if next == "(" {
				var list []string
				list, i = upTo(i+1, ")")
				e.labels = append(e.labels, slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "," })...)
			}
		case next == "(" || slices.Contains(promSums, token):
		case next == "{":
			var in []string
			in, i = upTo(i+1, "}")
			s := selector{metric: token}
			for _, m := range promMatch.FindAllStringSubmatch(strings.Join(in, ""), -1) {
				s.matchers = append(s.matchers, matcher{m[1], m[2], m[3]})
			}
			if len(s.matchers) == 0 && len(in) > 0 {
				return e, fmt.Errorf("%q: no matcher in %q", expr, in)
			}
			e.selectors = append(e.selectors, s)
		default:
			e.selectors = append(e.selectors, selector{metric: token})
		}
	}
	return e, nil
}

// A metric or label that is passed over turns this red, or a word of PromQL that is taken for one.
func TestPromQL(t *testing.T) {
	got, err := promql(`sum by (job, cause) (increase(a_total{cause="x y", job!="h"}[1h:5m] offset 1d)) / on (job) group_left () b:c:ratio > bool 0.5e3
		or absent(up{job=~"a|b"}) # sum(z)
		and time() - max without (z) (d) == 1 unless avg(-e)`)
	want := expression{
		selectors: []selector{
			{"a_total", []matcher{{"cause", "=", "x y"}, {"job", "!=", "h"}}},
			{"b:c:ratio", nil},
			{"up", []matcher{{"job", "=~", "a|b"}}},
			{"d", nil},
			{"e", nil},
		},
		labels: []string{"job", "cause", "job", "z"},
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(expression{}, selector{}, matcher{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}
