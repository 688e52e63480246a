package classifier

import (
	"regexp"
	"slices"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// A command is one that a script, an action or a shell's trace shows.
type command struct {
	client pushdoctor.Client
	verb   verb
	image  string
}

type verb int8

const (
	verbNone verb = iota
	verbPush
	verbPull // pull, run, install, verify: it reads
	verbLogin
	verbBuild // a build without a push
)

// clientCommand matches a client's command where a shell, a trace or an action shows one.
var clientCommand = regexp.MustCompile(`(?:^|[$#>+] |/bin/|/kaniko/|[Cc]ommand:? |failed: |sudo |;\s*|&& |\|\| |\| ?|['"(])(docker-compose|docker|podman|buildah|skopeo|crane|ko|executor|oras|helm|nerdctl|regctl|cosign|pack|goreleaser|wasme|ansible-container|sinker|notation)(?: --?[a-z][\w-]*(?:[= ][^\s-][^\s]*)?)*? +(compose|buildx|image|manifest|container|registry|chart|auth|index|repo)?\s*([a-z]+)\b(.*)$`)

var clientOf = map[string]pushdoctor.Client{
	"docker": pushdoctor.ClientDocker, "docker-compose": pushdoctor.ClientCompose, "podman": pushdoctor.ClientPodman, "buildah": pushdoctor.ClientBuildah,
	"skopeo": pushdoctor.ClientSkopeo, "crane": pushdoctor.ClientCrane, "ko": pushdoctor.ClientKo, "executor": pushdoctor.ClientKaniko, "oras": pushdoctor.ClientOras,
	"helm": pushdoctor.ClientHelm, "cosign": pushdoctor.ClientCosign, "pack": pushdoctor.ClientPack, "goreleaser": pushdoctor.ClientGoreleaser, "wasme": pushdoctor.ClientOras,
	"nerdctl": pushdoctor.ClientOther, "regctl": pushdoctor.ClientOther, "ansible-container": pushdoctor.ClientOther, "sinker": pushdoctor.ClientOther, "notation": pushdoctor.ClientOther,
}

// mayBeCommand is a cheap sign that a line shows a client's command.
func mayBeCommand(low string) bool {
	return slices.ContainsFunc(programs, func(p string) bool { return strings.Contains(low, p) })
}

// programs are the clients' names with the blank that stands behind one in a command.
var programs = func() (out []string) {
	for program := range clientOf {
		out = append(out, program+" ")
	}
	return out
}()

// command notes a client's command in text. own says that the line is one that runs: a script's, an action's.
func (s *state) command(text string, own bool) {
	text = cut(text, maxContext)
	s.step.cache(text)
	if strings.Contains(text, "/_temp/.docker_") { // the runner logs in to pull the job's own containers
		s.step.cmd = command{verb: verbPull}
		return
	}
	if own && strings.Contains(text, "/kaniko/executor") || strings.Contains(text, "$ /kaniko/executor") {
		s.ran(command{client: pushdoctor.ClientKaniko, verb: verbPush}, own)
		return
	}
	m := clientCommand.FindStringSubmatch(text)
	if m == nil {
		return
	}
	program, sub, what, rest := m[1], m[2], m[3], m[4]
	c := command{client: clientOf[program]}
	switch {
	case sub == "compose":
		c.client = pushdoctor.ClientCompose
		c.verb = verbOf(what)
	case sub == "buildx", program == "docker" && what == "build":
		c.client = pushdoctor.ClientBuildx
		if c.verb = verbBuild; what == "inspect" || what == "create" {
			c.verb = verbPull // it boots a builder
		}
		if what == "imagetools" && strings.HasPrefix(rest, " inspect") {
			c.verb = verbPull
		} else if what == "imagetools" || strings.Contains(rest, "--push") || strings.Contains(rest, "push=true") || strings.Contains(rest, "type=registry") {
			c.verb = verbPush
		}
	case program == "docker" && sub == "manifest":
		if c.verb = verbPush; what == "inspect" {
			c.verb = verbPull
		}
	case program == "skopeo" && (what == "copy" || what == "sync"):
		if i := strings.LastIndex(rest, "docker://"); i >= 0 && strings.LastIndexByte(strings.TrimRight(rest, " "), ' ') < i {
			c.verb = verbPush
			c.image = cleanImage(firstField(rest[i:]))
		} else {
			c.verb = verbPull
		}
	case program == "crane" && what == "tag":
		c.verb = verbPush
	case program == "goreleaser":
		c.verb = verbPush
	case program == "pack" && strings.Contains(rest, "--publish"):
		c.verb = verbPush
	default:
		c.verb = verbOf(what)
	}
	if c.verb == verbNone {
		return
	}
	if c.client == pushdoctor.ClientBuildx && c.verb == verbPush {
		c.image = buildTag(rest)
	}
	if c.verb == verbLogin && program == "docker" {
		s.step.loginHost = loginArgument(rest)
		s.scriptLogin(text, s.step.loginHost)
	}
	if c.verb == verbPush && c.image == "" && slices.Contains([]string{"push", "sign", "copy", "cp", "attach", "tag"}, what) {
		c.image = imageArgument(rest, program != "oras" && program != "cosign")
	}
	s.ran(c, own)
}

func (s *state) ran(c command, own bool) {
	st := &s.step
	if own && c.verb != verbPush && st.cmd.verb == verbPush {
		return // a script that pushes and does other things besides: which line runs when, it does not say
	}
	st.cmd = c
	switch c.verb {
	case verbPush:
		st.asked, st.testing = true, false
		st.shown = st.shown || own && !ownLogin.MatchString(st.title)
	case verbLogin:
		st.login = true
	}
}

func verbOf(what string) verb {
	switch what {
	case "push", "publish", "apply", "create", "attach", "sign", "attest", "copy", "cp", "append", "mutate", "tag":
		if what == "tag" || what == "create" {
			return verbNone
		}
		return verbPush
	case "pull", "run", "install", "upgrade", "verify", "up", "inspect", "template", "show", "digest", "manifest", "ls", "discover", "resolve", "fetch", "config", "export", "tree", "search", "images", "tags":
		return verbPull
	case "login":
		return verbLogin
	case "build":
		return verbBuild
	}
	return verbNone
}

// input reads a login action's input in a page copied from the web.
func (s *state) input(text string) {
	if host, ok := strings.CutPrefix(strings.TrimSpace(text), "registry:"); ok {
		s.step.loginHost = strings.TrimSpace(host)
		s.step.inputs = 0
	}
}

// loginArgument is the host in the arguments of docker login: "docker.io" where there is none, "" where a
// variable hides it.
func loginArgument(rest string) string {
	fields := strings.Fields(rest)
	for i := 0; i < len(fields); i++ {
		f := strings.Trim(fields[i], "\"'")
		switch {
		case f == "-u", f == "-p", f == "-e", f == "--username", f == "--password", f == "--email":
			i++
		case strings.HasPrefix(f, "-"):
		case strings.ContainsAny(f, "$`{};|&<>"):
			return ""
		default:
			host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(f, "https://"), "http://"), "/")
			return host
		}
	}
	return "docker.io"
}

func firstField(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}

// imageArgument is the argument of a push that names where to: the last one, or the first for a client that
// takes files behind it. It is "" where a shell's variable hides it.
func imageArgument(rest string, last bool) string {
	image := ""
	for f := range strings.FieldsSeq(rest) {
		if strings.ContainsAny(f, "|;&<>") {
			break
		}
		f = strings.Trim(f, `"'`)
		if strings.HasPrefix(f, "-") || !strings.ContainsAny(f, "/:") {
			continue
		}
		if image = cleanImage(f); strings.ContainsAny(f, "$`{}") {
			image = ""
		}
		if !last {
			break
		}
	}
	return image
}

// ownLogin matches an input or an option by which a push brings its own credentials.
var ownLogin = regexp.MustCompile(`^(?:username|password|registry-username|registry-password|creds|token): |--creds\b|--(?:dest-)?(?:username|password|registry-token|creds)\b`)

// loginAction matches the title of a step that only logs in.
var loginAction = regexp.MustCompile(`(?i)^Run [\w.-]+/[\w.-]*(?:login|ecr-login)[\w.-]*@`)

// tagOption matches the option that names what a build is to be pushed as.
var tagOption = regexp.MustCompile(`(?:^| )(?:--tag|-t)[= ]"?([^\s"$,]+)`)

// buildTag is the name that a build's options give, "" where they give none or names of several registries.
func buildTag(options string) string {
	image := ""
	for _, m := range tagOption.FindAllStringSubmatch(options, 16) {
		if image != "" && hostOf(m[1]) != hostOf(image) {
			return ""
		}
		if image == "" {
			image = cleanImage(m[1])
		}
	}
	return image
}

// pushActions are actions that push with the logins of the steps before them.
var pushActions = []string{"docker/build-push-action@", "docker/bake-action@"}

// cacheTo matches the option or input that says where a build's cache goes, if that is a registry.
// https://docs.docker.com/build/cache/backends/registry/
var cacheTo = regexp.MustCompile(`cache-to[=: ]+["']?(?:\S*?type=registry\S*?\bref=([^\s,"']+)|\S*?\bref=([^\s,"']+)\S*?type=registry|([^\s,="']+[/.][^\s,="']+)(?:["'\s]|$))`)

// cache notes where the build's cache goes.
func (st *step) cache(text string) {
	if !strings.Contains(text, "cache-to") {
		return
	}
	if m := cacheTo.FindStringSubmatch(text); m != nil {
		st.cacheTo, st.cacheHost = true, hostOf(cleanImage(m[1]+m[2]+m[3]))
	}
}

// script reads a line that the runner echoes: it is what a step does, not what came of it.
func (s *state) script(text string) {
	st := &s.step
	trimmed := strings.TrimSpace(text)
	if ownLogin.MatchString(trimmed) && !st.login {
		st.ownLogin = true // the action or command hands its credentials over: no other step need log in
	}
	if subject, ok := strings.CutPrefix(trimmed, "subject-name:"); ok {
		st.publishing = cleanImage(strings.TrimSpace(subject)) // actions/attest-*
	}
	if host, ok := strings.CutPrefix(trimmed, "registry:"); ok && (st.login || strings.Contains(host, ".")) {
		st.loginHost = orElse(strings.TrimSpace(host), "docker.io")
	}
	if trimmed == "push: true" && st.pushes() {
		st.asked, st.shown = true, true
		st.cmd = command{client: pushdoctor.ClientBuildx, verb: verbPush}
	}
	st.cache(trimmed)
	if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, "echo ") && !strings.Contains(trimmed, "|") {
		return
	}
	if strings.HasPrefix(trimmed, "command: ") || strings.HasPrefix(trimmed, "run: ") {
		_, trimmed, _ = strings.Cut(trimmed, ": ")
	}
	s.command(trimmed, true)
}

// pushes reports whether the step is an action that pushes with the logins of the steps before it.
func (st *step) pushes() bool {
	return slices.ContainsFunc(pushActions, func(a string) bool { return strings.HasPrefix(st.title, "Run "+a) })
}
