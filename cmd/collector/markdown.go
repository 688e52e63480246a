package main

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// maxSummary bounds the details and the table of a job summary: GitHub refuses one of more than 1 MiB as a whole.
const maxSummary = 400 << 10

// A markdownPrinter writes a job summary. What comes from a log stands in code, where neither Markdown nor HTML,
// mentions or links mean anything.
type markdownPrinter struct {
	w       io.Writer
	rows    strings.Builder
	details strings.Builder
	left    int // rows and details that had no room
}

func (p *markdownPrinter) print(a answer) error {
	path := shorten(a.Path, maxName)
	if a.Error != "" {
		p.row("not read", path, shorten(a.Error, maxQuote), "", "")
	}
	for _, f := range a.Findings {
		result := "failed"
		if f.Recovered {
			result = "cured by a retry"
		}
		status := "none"
		if f.Status != 0 {
			status = fmt.Sprint(f.Status)
		}
		p.row(result, fmt.Sprintf("%s:%d", path, f.Line), string(f.Cause), status, shorten(f.Image, maxName))
		var b strings.Builder
		p.finding(&b, path, f)
		if p.details.Len()+b.Len() > maxSummary {
			p.left++
			continue
		}
		p.details.WriteString(b.String())
	}
	if a.More > 0 {
		p.row("failed", path, count(a.More, "more finding"), "", "")
	}
	return nil
}

func (p *markdownPrinter) row(cells ...string) {
	var b strings.Builder
	for i, c := range cells {
		b.WriteString("| ")
		switch {
		case c == "":
		case i == 0:
			b.WriteString(c)
		default:
			// A bar ends the cell even in code, and how a backslash before it counts differs by version.
			b.WriteString(strings.ReplaceAll(code(c), "|", `\x7c`))
		}
		b.WriteByte(' ')
	}
	if p.rows.Len()+b.Len() > maxSummary {
		p.left++
		return
	}
	p.rows.WriteString(b.String() + "|\n")
}

func (p *markdownPrinter) finding(b *strings.Builder, path string, f diagnosed) {
	// A <details> is an HTML block up to the first empty line: no Markdown is read in it.
	fmt.Fprintf(b, "\n<details><summary><code>%s</code> %s</summary>\n\n", html.EscapeString(visible(fmt.Sprintf("%s:%d", path, f.Line))), html.EscapeString(causeWords(f.Cause)))
	fmt.Fprintf(b, "Cause %s (%s sure): %s from %s while %s with %s.\n", code(string(f.Cause)), percent(f.Confidence),
		statusWords(f.Finding), code(shorten(registryWords(f.Finding), maxName)), operationWords[f.Operation], code(string(f.Client)))
	if f.Image != "" {
		fmt.Fprintf(b, "Image %s.\n", code(shorten(f.Image, maxName)))
	}
	if f.Step != "" {
		fmt.Fprintf(b, "Step %s.\n", code(shorten(f.Step, maxName)))
	}
	if !f.Time.IsZero() {
		fmt.Fprintf(b, "At %s.\n", f.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	line, others := decisive(f.Finding)
	var quote strings.Builder
	for _, e := range append([]pushdoctor.Evidence{line}, others...) {
		fmt.Fprintf(&quote, "%6d | %s\n", e.Line, visible(shorten(e.Text, maxQuote)))
	}
	b.WriteString("\n" + fenced("text", quote.String()))
	for i, h := range f.Hints {
		fmt.Fprintf(b, "\n**%d. %s** (%s)\n\n", i+1, prose(h.Title), percent(h.Confidence))
		for _, s := range h.Steps {
			fmt.Fprintf(b, "- %s\n", prose(s))
		}
		if h.Patch != "" {
			b.WriteString("\n" + fenced("yaml", lines(h.Patch)))
		}
		for _, d := range h.Docs {
			fmt.Fprintf(b, "\n<%s>\n", d)
		}
	}
	b.WriteString("\n</details>\n")
}

func (p *markdownPrinter) end(t totals) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### pushdoctor: %s\n", t)
	if p.rows.Len() > 0 {
		b.WriteString("\n| Result | Log | Cause | Status | Image |\n| --- | --- | --- | --- | --- |\n")
		b.WriteString(p.rows.String())
	} else {
		b.WriteString("\nNo push of an image failed in these logs. If a job failed all the same, it failed at something else.\n")
	}
	b.WriteString(p.details.String())
	if p.left > 0 {
		fmt.Fprintf(&b, "\nThere was no room for %s of the table or of the details: --format json has them all.\n", count(p.left, "more part"))
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

// code returns s as a code span.
func code(s string) string {
	s = visible(s)
	if strings.TrimSpace(s) == "" {
		return ""
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	return ticks + " " + s + " " + ticks // one blank at each end is not shown
}

// fenced returns text, which ends with a line break, as a code block.
func fenced(language, text string) string {
	fence := strings.Repeat("`", max(3, longestRun(text, '`')+1))
	return fence + language + "\n" + text + fence + "\n"
}

// lines returns a text of several lines with all characters visible, ended by a line break.
func lines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(visible(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return b.String()
}

// longestRun returns the length of the longest run of c in s.
func longestRun(s string, c byte) int {
	longest, n := 0, 0
	for i := range len(s) {
		if s[i] != c {
			n = 0
			continue
		}
		n++
		longest = max(longest, n)
	}
	return longest
}

// markup is what has a meaning in Markdown and HTML. A mention has no escape, so its @ is cut
// off from the name by a mark of no width. A registry that is called www.something must not become a link.
var markup = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "|", `\|`,
	"~", `\~`, "!", `\!`, "&", "&amp;", "<", "&lt;", ">", "&gt;", " @", " @&#8203;", "(@", "(@&#8203;", "www.", `www\.`)

// prose returns words of ours, with names of the log in them, as Markdown text.
func prose(s string) string {
	s = markup.Replace(visible(s))
	if strings.HasPrefix(s, "@") {
		s = "@&#8203;" + s[1:]
	}
	return s
}
