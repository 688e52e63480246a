package parser

import (
	"maps"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// The titles of groups in which the runner tells of the job.
const (
	tokenTable   = "GITHUB_TOKEN Permissions"
	preambleSpan = 10 // lines at the beginning of a whole log of which one is the runner's first word
	maxScopes    = 64
	maxText      = 255 // bytes of a name, a ref, a host or a user that are believed
)

// facts gathers what the lines of one job say of it.
type facts struct {
	token     map[string]string
	tokenLine pushdoctor.Evidence
	inToken   bool
	secrets   string
	whole     bool
	hosted    bool
	named     bool   // there is a runner's name, as self-hosted and larger runners have it
	defined   string // repository and ref of the workflow file in which the job stands
	ref       string
	reusable  bool   // that file was called by another one
	checkout  string // the first repository that was checked out
	envRef    string
	step      int
	logins    logins
}

// facts returns what was gathered.
func (f *facts) facts() pushdoctor.Facts {
	p := pushdoctor.Facts{
		Token:        maps.Clone(f.token),
		SecretSource: f.secrets,
		Logins:       f.logins.all(),
		Repository:   f.defined,
		Ref:          f.ref,
		Whole:        f.whole,
		TokenLine:    f.tokenLine,
	}
	// "Job defined at" names the called file where a workflow calls another one, and that may be
	// another repository's: then the checkout knows better, and the ref is not the job's.
	if f.checkout != "" && (p.Repository == "" || f.reusable) {
		if p.Repository != f.checkout {
			p.Ref = ""
		}
		p.Repository = f.checkout
	}
	if p.Ref == "" {
		p.Ref = f.envRef
	}
	if p.Token != nil && p.Token["packages"] == "" {
		p.Token["packages"] = "none"
	}
	switch {
	case f.hosted:
		p.Runner = "github-hosted"
	case f.named:
		p.Runner = "self-hosted"
	}
	return p
}

// read takes up the line at which l stands.
func (f *facts) read(l *Log) {
	ln := &l.at
	if ln.Step != f.step {
		f.step = ln.Step
		f.logins.begin(ln)
	}
	switch ln.Kind {
	case Group:
		f.inToken = false
		f.title(ln, ln.Text)
	case EndGroup:
		f.inToken = false
	case Script:
		f.echo(l)
		return
	case Output:
		if ln.Text == "" {
			break
		}
		if f.inToken && f.scope(ln, l.copied()) {
			return
		}
		if l.copied() {
			f.title(ln, ln.Text)
		}
		f.output(l)
	case Section:
		if ln.Step == 0 && ln.Text == "Starting: Request a runner to run this job" {
			f.begins(l)
		}
	}
	if !ln.Post {
		f.logins.read(l)
	}
}

// title takes up the title of a group.
func (f *facts) title(ln *Line, title string) {
	if ln.Step > 0 {
		return
	}
	switch title {
	case tokenTable:
		if f.token == nil {
			f.token = map[string]string{}
			f.tokenLine = evidence(ln)
			f.inToken = true
		}
	case "Runner Image", "Virtual Environment", "Runner Image Provisioner", "Virtual Environment Provisioner", "Hosted Compute Agent":
		f.hosted = true
	}
}

// scope takes up a row of the token's table, "PullRequests: write", and says whether the line is one.
func (f *facts) scope(ln *Line, copied bool) bool {
	name, right, ok := strings.Cut(strings.TrimSpace(ln.Text), ": ")
	if !ok || strings.Contains(name, " ") || copied && !strings.HasPrefix(ln.Text, "  ") {
		f.inToken = false
		return false
	}
	switch {
	case len(name) > maxText || strings.ContainsFunc(name, notLetter):
		return true
	case right != "read" && right != "write" && right != "none":
		if name = kebab(name); name == "packages" {
			f.token[name] = "unknown" // masked: there is a row, but nobody can read it
		}
		return true
	case len(f.token) >= maxScopes:
		return true
	}
	name = kebab(name)
	if len(f.token) == 0 || name == "packages" {
		f.tokenLine = evidence(ln)
	}
	f.token[name] = strings.Clone(right)
	return true
}

func evidence(ln *Line) pushdoctor.Evidence {
	return pushdoctor.Evidence{Kind: pushdoctor.EvidenceToken, Line: ln.Number, Text: strings.Clone(strings.TrimSpace(ln.Text))}
}

// kebab returns a name of the token's table as workflow files have it: "PullRequests" is "pull-requests".
func kebab(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			if i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
				b.WriteByte('-')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// output takes up what the runner or an action prints of the job.
func (f *facts) output(l *Log) {
	ln := &l.at
	if v, ok := strings.CutPrefix(ln.Text, "Syncing repository: "); ok {
		f.checkedOut(v)
		return
	}
	if ln.Step > 0 {
		return
	}
	word, v, ok := strings.Cut(ln.Text, ": ")
	if !ok {
		return
	}
	switch word {
	case "Current runner version", "Requested labels":
		f.begins(l)
	case "Job defined at":
		f.begins(l)
		file, ref, _ := strings.Cut(v, "@")
		name, _, ok := strings.Cut(file, "/.github/")
		if ok && f.defined == "" && isRepository(name) {
			f.defined = strings.Clone(name)
			if len(ref) <= maxText {
				f.ref = strings.Clone(ref)
			}
		}
	case "Job is about to start running on the hosted runner":
		f.hosted = true
	case "Job is about to start running on the runner", "Runner name":
		f.named = true
	case "Secret source":
		if f.secrets == "" && (v == "Actions" || v == "Dependabot" || v == "None") {
			f.secrets = strings.Clone(v)
		}
	case "Uses":
		f.reusable = true
	}
}

// begins takes up one of the lines with which the log of a job begins. Text copied from the web
// page is never whole: it lacks the steps that were folded.
func (f *facts) begins(l *Log) {
	if l.at.Number-l.first < preambleSpan && l.form != bare {
		f.whole = true
	}
}

func (f *facts) checkedOut(name string) {
	if f.checkout == "" && isRepository(name) {
		f.checkout = strings.Clone(name)
	}
}

// isRepository says whether s is OWNER/NAME, with no part of it masked.
func isRepository(s string) bool {
	owner, name, ok := strings.Cut(s, "/")
	return ok && owner != "" && name != "" && len(s) <= 200 && !strings.ContainsFunc(s[len(owner)+1:], notName) && !strings.ContainsFunc(owner, notName)
}

func notLetter(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }

func notName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// echo takes up a line of a step's header.
func (f *facts) echo(l *Log) {
	ln, text := &l.at, l.at.Text
	if l.head.copied {
		text = strings.TrimPrefix(text, "  ")
	}
	switch l.head.part {
	case script:
		f.logins.script(ln)
	case with, env:
		name, value, ok := strings.Cut(strings.TrimPrefix(text, "  "), ":")
		if !ok || !strings.HasPrefix(text, "  ") || strings.HasPrefix(name, " ") {
			return
		}
		value = strings.TrimSpace(value)
		f.logins.value(l.head.part, name, value)
		switch {
		case l.head.part == env && name == "GITHUB_REF" && f.envRef == "" && len(value) <= maxText:
			f.envRef = strings.Clone(value)
		case l.head.part == with && name == "repository" && strings.HasPrefix(ln.Title, "Run actions/checkout@"):
			f.checkedOut(value)
		}
	}
}
