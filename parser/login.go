package parser

import (
	"strings"

	"github.com/akkospace/pushdoctor"
)

const (
	maxLogins = 100 // that are kept of a job
	maxOpen   = 20  // attempts of one step whose outcome is awaited
	maxVars   = 200 // variables of a step
	maxValue  = 512 // bytes of a variable or an input

	dockerHub = "docker.io"
)

// An attempt is a login whose outcome is awaited.
type attempt struct {
	host, user string // as they stand in the command, with variables
	fallback   string // the host where that one is empty
	line       int
	program    string
	action     bool // an action makes it: any ##[error] of the step refuses it
	announced  bool // the action has named the host
}

// logins gathers the logins of a job: those that ended, and the attempts of the step being read.
type logins struct {
	done   []pushdoctor.Login
	open   []attempt
	vars   map[string]string // of the step: env: and assignments in the script
	inputs map[string]string // with: of the step
	title  string
	start  int    // the line at which the step begins
	echo   bool   // the step's header is not over yet
	loops  bool   // the script does something over and over
	line   string // what of the script was read of a command over several lines
	lineAt int
}

// all returns the logins so far, those with an open end as good ones.
func (l *logins) all() []pushdoctor.Login {
	if len(l.done)+len(l.open) == 0 {
		return nil
	}
	all := make([]pushdoctor.Login, 0, len(l.done)+len(l.open))
	all = append(all, l.done...)
	for i := range l.open {
		all = append(all, l.ended(&l.open[i], true, l.open[i].line))
	}
	return all[:min(len(all), maxLogins)]
}

// begin takes up the first line of a step.
func (l *logins) begin(ln *Line) {
	l.closeAll()
	*l = logins{done: l.done, vars: map[string]string{}, inputs: map[string]string{}, title: ln.Title, start: ln.Number, echo: true}
}

func (l *logins) closeAll() {
	for len(l.open) > 0 {
		l.close(0, true, l.open[0].line)
	}
}

// close ends the attempt at i.
func (l *logins) close(i int, ok bool, line int) {
	if len(l.done) < maxLogins {
		l.done = append(l.done, l.ended(&l.open[i], ok, line))
	}
	l.open = append(l.open[:i], l.open[i+1:]...)
}

func (l *logins) ended(a *attempt, ok bool, line int) pushdoctor.Login {
	user, known := expand(a.user, l.vars)
	if !known || len(user) > maxText {
		user = ""
	}
	return pushdoctor.Login{Host: l.host(a), User: user, OK: ok, Line: line}
}

// host returns the host of an attempt, "" where the log does not name it.
func (l *logins) host(a *attempt) string {
	host, known := expand(a.host, l.vars)
	if !known {
		return ""
	}
	if host == "" {
		host = a.fallback
	}
	return canonical(host)
}

// canonical returns the host of an address as a Login has it, "" where there is none.
func canonical(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	switch s {
	case "index.docker.io", "registry-1.docker.io", "registry.docker.io", "registry.hub.docker.com", "hub.docker.com", "docker.com":
		return dockerHub
	}
	if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return notName(r) && r != ':' && r != '*' && r != '[' && r != ']' }) {
		return ""
	}
	return strings.Clone(s)
}

// value takes up NAME: VALUE of the step's with: or env:.
func (l *logins) value(p part, name, value string) {
	to := l.vars
	if p == with {
		to = l.inputs
	}
	// An assignment in the script, read before, is the later one for the program.
	if _, ok := to[name]; !ok && to != nil && len(to) < maxVars && len(name)+len(value) <= maxValue {
		to[strings.Clone(name)] = strings.Clone(value)
	}
}

// script takes up a line of the step's script.
func (l *logins) script(ln *Line) {
	text := ln.Text
	if l.line == "" {
		l.lineAt = ln.Number
	}
	if len(l.line)+len(text) > maxCommand {
		l.line = ""
		return
	}
	text = l.line + text
	l.loops = l.loops || isLoop(text)
	if more, ok := strings.CutSuffix(text, `\`); ok {
		l.line = more
		return
	}
	l.line = ""
	l.run(text, l.lineAt, false)
}

// isLoop says whether a line of a script begins a loop, or calls for a retry.
func isLoop(text string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return word == "for" || word == "while" || word == "until" || strings.Contains(text, "retry")
}

// run takes up the logins in a line of shell. traced: the line was printed because it runs now.
func (l *logins) run(text string, line int, traced bool) {
	if l.vars == nil {
		l.vars = map[string]string{} // there was no step yet
	}
	if len(text) > maxCommand {
		return
	}
	for _, words := range commands(text) {
		c, hosts, user := login(words, l.vars)
		if c == nil {
			continue
		}
		for _, host := range hosts {
			a := attempt{host: host, fallback: c.host, user: user, line: line, program: c.path[0]}
			if i := l.planned(&a); traced && i >= 0 {
				l.open[i] = a
			} else if len(l.open) < maxOpen {
				l.open = append(l.open, a)
			}
		}
	}
}

// planned returns the index of the attempt in the script that a is, or -1.
func (l *logins) planned(a *attempt) int {
	for i := range l.open {
		o := &l.open[i]
		if o.program == a.program && (l.host(o) == "" || l.host(o) == l.host(a)) {
			return i
		}
	}
	return -1
}

// read takes up a line that is not part of an echo.
func (l *logins) read(log *Log) {
	if log.head.open {
		return
	}
	ln := &log.at
	if l.echo {
		l.echo = false
		l.loginAction()
	}
	switch ln.Kind {
	case Output:
		l.output(ln)
	case Command:
		if strings.Contains(ln.Text, "login") {
			l.run(ln.Text, ln.Number, true)
		}
	case Error:
		for i := range l.open {
			if l.open[i].action {
				l.close(i, false, ln.Number)
				return
			}
		}
		l.refused(ln)
	}
}

// loginActions are the actions that do nothing but log in, without their owners.
var loginActions = []string{"/login-action@", "/docker-login@", "/podman-login@", "/ghaction-docker-login@"}

// loginAction opens the attempt that the step's action makes.
func (l *logins) loginAction() {
	for _, name := range loginActions {
		if !strings.Contains(l.title, name) || l.inputs["registry-auth"] != "" {
			continue
		}
		l.open = append(l.open, attempt{host: l.input(), fallback: dockerHub, user: l.inputs["username"], line: l.start, program: name, action: true})
		return
	}
}

// input returns the registry that the step's action was given.
func (l *logins) input() string {
	if host := l.inputs["registry"]; host != "" {
		return host
	}
	return l.inputs["login-server"]
}

// prompts stand before a command that a shell prints as it runs it.
var prompts = []string{"+ ", "++ ", "$ ", "$> ", "Run "}

func (l *logins) output(ln *Line) {
	text := strings.TrimSpace(ln.Text)
	if text == "" {
		return
	}
	switch text[0] {
	case 'L':
		if host, ok := strings.CutPrefix(text, "Logging into "); ok {
			l.announced(host, ln.Number)
			return
		}
	case '+', '$', 'R':
		for _, p := range prompts {
			if rest, ok := strings.CutPrefix(text, p); ok && (strings.Contains(rest, "login") || strings.Contains(rest, "configure-docker")) {
				l.run(rest, ln.Number, true)
				return
			}
		}
	case 'T':
		if strings.HasPrefix(text, "The push refers to ") {
			l.closeAll() // the script has come past its logins
			return
		}
	}
	switch {
	case len(text) > 200:
	case strings.HasSuffix(text, "Login Succeeded!"), strings.HasSuffix(text, "Login Succeeded"):
		l.succeeded(ln.Number)
		return
	case len(l.open) > 0 && (strings.Contains(text, "logged in via ") || strings.Contains(text, "Successfully logged in to ")):
		l.succeeded(ln.Number)
		return
	}
	l.refused(ln)
}

// announced takes up what docker/login-action and aws-actions/amazon-ecr-login print before they
// log in: "Logging into ghcr.io...", "Logging into registry 123456789012.dkr.ecr....".
func (l *logins) announced(host string, line int) {
	host = strings.TrimSuffix(host, "...")
	if host == "Docker Hub" {
		host = dockerHub
	}
	host = strings.TrimPrefix(strings.TrimPrefix(host, "Docker "), "registry ")
	if len(host) > maxText || strings.Contains(host, " ") || !strings.ContainsAny(host, ".:*") {
		return
	}
	for i := range l.open {
		if a := &l.open[i]; a.action && !a.announced {
			a.host, a.line, a.announced = strings.Clone(host), line, true
			return
		}
	}
	if len(l.open) < maxOpen {
		l.open = append(l.open, attempt{host: strings.Clone(host), user: l.inputs["username"], line: line, action: true, announced: true})
	}
}

func (l *logins) succeeded(line int) {
	for i := range l.open {
		// gcloud only writes a file, and says other words.
		if l.open[i].program != "gcloud" {
			l.close(i, true, line)
			return
		}
	}
	if again := l.refusedHere(); again != nil {
		if len(l.done) < maxLogins {
			l.done = append(l.done, pushdoctor.Login{Host: again.Host, User: again.User, OK: true, Line: line})
		}
		return
	}
	l.open = append(l.open, attempt{host: l.input(), user: l.inputs["username"]})
	l.close(len(l.open)-1, true, line)
}

// refusedHere returns the login that the step's script makes once more after a refusal, nil where it makes none
// over and over, or several.
func (l *logins) refusedHere() *pushdoctor.Login {
	if !l.loops {
		return nil
	}
	var again *pushdoctor.Login
	for i := range l.done {
		d := &l.done[i]
		switch {
		case d.Line < l.start:
		case again != nil && d.Host != again.Host:
			return nil
		default:
			again = d
		}
	}
	if again == nil || again.OK {
		return nil
	}
	return again
}

// refusals are words of clients that give up a login. Each is one only while a login is awaited.
var refusals = []string{
	"annot perform an interactive login",
	"Username and password required", "Must provide --username with --password-stdin",
	"username is empty", "password is empty",
	"login attempt to ", "no successful auth challenge for ",
	`authenticating creds for "`, `authenticating creds for \"`, `logging into "`, `logging into \"`,
	"Login did not succeed", "failed to validate the credentials for ", "failed to ping registry ",
	"Could not login to registry", "Wrong login/password", "ncorrect username or password",
	"failed login attempts", "Error saving credentials",
	"/v2/registry/docker-credentials", "Access to registry '", // doctl, az
}

// refused ends the attempt that the line refuses, if it refuses one.
func (l *logins) refused(ln *Line) {
	if len(l.open) == 0 || !isRefusal(ln.Text) {
		return
	}
	named := hostIn(ln.Text)
	at := 0
	for i := range l.open {
		if host := l.host(&l.open[i]); host != "" && (host == named || strings.Contains(ln.Text, host)) {
			at = i
			break
		}
	}
	if named != "" && l.host(&l.open[at]) == "" {
		l.open[at].host = named
	}
	l.close(at, false, ln.Number)
}

func isRefusal(text string) bool {
	for _, words := range refusals {
		if strings.Contains(text, words) {
			return true
		}
	}
	_, answer, ok := strings.Cut(text, "rror response from ")
	if !ok {
		return false
	}
	// The root of the registry's API is what a login asks for.
	if strings.Contains(answer, `/v2/": `) || strings.Contains(answer, "/v2/: ") {
		return true
	}
	return strings.HasPrefix(answer, "daemon: ") && !strings.Contains(answer, "pull access denied") &&
		(strings.Contains(answer, "unauthorized") || strings.Contains(answer, "denied"))
}

// hostIn returns the host of the first https://HOST/v2/ in text, or "".
func hostIn(text string) string {
	_, rest, ok := strings.Cut(text, "https://")
	if !ok {
		return ""
	}
	host, _, ok := strings.Cut(rest, "/v2/")
	if !ok || strings.ContainsAny(host, " \"/") {
		return ""
	}
	return canonical(host)
}
