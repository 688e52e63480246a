package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// A githubPrinter writes workflow annotations: an error for a failed push and for what was
// not read, a warning for a push that a retry cured.
type githubPrinter struct{ w io.Writer }

func (p *githubPrinter) print(a answer) error {
	var b strings.Builder
	path := visible(shorten(a.Path, maxName))
	if a.Error != "" {
		annotate(&b, "error", "Log not read", fmt.Sprintf("%s: %s", path, visible(a.Error)))
	}
	for _, f := range a.Findings {
		level, title := "error", "Image push failed"
		if f.Recovered {
			level, title = "warning", "Image push failed, a retry cured it"
		}
		annotate(&b, level, title+": "+causeWords(f.Cause), annotation(path, f))
	}
	if a.More > 0 {
		annotate(&b, "warning", "More failed pushes", fmt.Sprintf("%s: %s not shown", path, count(a.More, "more finding")))
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

func (p *githubPrinter) end(totals) error { return nil }

// annotation says what failed and what to do first: the page shows few lines of it.
func annotation(path string, f diagnosed) string {
	line, _ := decisive(f.Finding)
	said := []string{
		fmt.Sprintf("%s (%s sure): %s from %s", f.Cause, percent(f.Confidence), statusWords(f.Finding), visible(shorten(registryWords(f.Finding), maxName))),
	}
	if f.Image != "" {
		said = append(said, "Image: "+visible(shorten(f.Image, maxName)))
	}
	said = append(said, fmt.Sprintf("%s:%d: %s", path, line.Line, visible(shorten(line.Text, maxQuote))))
	if len(f.Hints) > 0 {
		said = append(said, first(f.Hints[0]))
	}
	return strings.Join(said, "\n")
}

func first(h pushdoctor.Hint) string {
	var b strings.Builder
	b.WriteString("What to do: " + visible(h.Title) + "\n")
	for _, s := range h.Steps {
		b.WriteString("- " + visible(s) + "\n")
	}
	return strings.TrimSuffix(b.String()+"\n"+lines(h.Patch), "\n")
}

// GitHub's own escaping (actions/toolkit, packages/core/src/command.ts). Without it a value could
// end its command and begin the next.
var (
	message  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func annotate(b *strings.Builder, level, title, text string) {
	// The runner looks for "##[" anywhere in a line, of a command too.
	fmt.Fprintln(b, strings.ReplaceAll(fmt.Sprintf("::%s title=%s::%s", level, property.Replace(title), message.Replace(text)), "##[", "# #["))
}
