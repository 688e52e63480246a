package classifier

import (
	"regexp"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

// step is what is known of the step whose lines are being read.
type step struct {
	number int
	title  string

	asked  bool    // a push was asked for: by a command, by an action's input, or by a builder's progress
	shown  bool    // the push stands where the log shows it whole: an action's step or a client's own command
	login  bool    // the step is one of a login action, or its script logs in
	cmd    command // the client's command seen last
	docker *dockerPush
	copies bool // containers/image is copying an image

	written    bool // containers/image has begun to write the manifest: success, unless an error follows
	vertices   map[string]*vertex
	block      vertexKind // of the last header " > NAME:" in BuildKit's summary
	authHost   string     // of BuildKit's line "[auth] NAME:pull,push token for HOST"
	authImage  string
	cacheHost  string               // of the cache that BuildKit imported: the registry of this project, most likely
	anonymous  bool                 // the client said that it found no credentials
	loginHost  string               // of a login whose inputs stand in a page copied from the web
	inputs     int                  // lines in which those inputs may stand
	orasPart   pushdoctor.Operation // what oras was sending last
	list       int                  // lines in which a list of the registry's errors may go on
	lastLine   int                  // of the newest failure
	publishing string               // the image that ko, a buildpack or a script said it is pushing
	undecided  []answer
	last       *failure // the newest failure of this step
	window     int      // lines in which the body of the last answer may go on
}

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

// dockerPush is a push by the Docker daemon, from "The push refers to repository" on.
type dockerPush struct {
	repository string
	client     pushdoctor.Client
	moving     bool            // bytes went up
	sent       bool            // a layer arrived
	retried    bool            // a layer was tried again
	layers     map[string]bool // by layer: it is in the registry; at most maxLayers
	done       bool
	line       parser.Line
}

const (
	maxLayers   = 512
	maxVertices = 4096
)

// allUp reports whether every layer that the push spoke of is in the registry: what fails now is the manifest.
func (d *dockerPush) allUp() bool {
	for _, up := range d.layers {
		if !up {
			return false
		}
	}
	return len(d.layers) > 0
}

// A vertex is one numbered step of a BuildKit build.
type vertex struct {
	kind   vertexKind
	images []string // whose manifests were sent
	next   bool     // layers of another image are going up since
}

type vertexKind int8

const (
	vertexUnknown vertexKind = iota
	vertexImage              // exporting to image, pushing
	vertexCache              // exporting cache to registry
	vertexOther              // a build step, metadata, an import, a cache that is no registry's
)

// contextLiterals are what a line must hold to tell what a step is doing.
var contextLiterals = []string{
	"the push refers to", ": digest: sha256:", "getting image source signatures", "writing manifest to image destination", "storing signatures",
	" > exporting", " > pushing", " > importing", " > [", "=> error ", "pulling from ", "trying to pull ", "unable to find image", "pull down action image",
	"docker push", "image push", "podman push", "buildah push", "skopeo copy", "crane push", "crane copy", "crane append", "crane tag", "oras push", "oras attach", "helm push",
	"helm chart push", "nerdctl push", "compose push", "compose up", "docker login", "docker pull", "docker run ", "podman login", "manifest push", "kaniko/executor", "ko publish", "pack build",
	"cosign sign", "cosign attest", "cosign verify", "imagetools create", "buildx build", "docker build ", "helm pull", "helm install", "goreleaser",
	"publishing ", "published ", "pushing image", "pushing signature", "pushed image to", "built and pushed image", "pushed [registry]", "pushed: ", "start upload of ",
	"please login prior", "login succeeded", "regctl image copy", "wasme push", "pushing to ", " preparing", "retrying in ", "step 1/", "step 1 : ", " pulling ", "pulling ", "no matching credentials", "attestation created for", "exited with error code",
	"pushing ", "container push", "login-action@", "==> analyzing", "[analyzer]", "installing with helm", "conftest pull", "annotating resources",
}

var (
	pushRefers  = regexp.MustCompile(`(?i)the push refers to (?:a )?repository \[([^\]\s]+)\]`)
	digestLine  = regexp.MustCompile(`^\s*([\w][\w.-]{0,127}): digest: sha256:[0-9a-f]{64} size: \d+`)
	layerLine   = regexp.MustCompile(`^\s*([0-9a-f]{12}): (Preparing|Waiting|Pushing|Pushed|Layer already exists|Mounted from|Retrying in|Skipped foreign layer|Image (?:successfully|already) push\w*|Image already exists|Image push failed)`)
	composeLine = regexp.MustCompile(`^\s*(?:Container )?Pushing (\S+): ([0-9a-f]{12}) (\w+)`)
	composeV1   = regexp.MustCompile(`^\s*Pushing \S+ \(([^)\s]+)\)\.\.\.`)
	vertexName  = regexp.MustCompile(`^(#\d{1,5}) (.*)$`)
	blockName   = regexp.MustCompile(`^ > (.+?):?$`)
	ttyError    = regexp.MustCompile(`=> ERROR (.+?)(?:\s{2,}|$)`)
	authVertex  = regexp.MustCompile(`^\[auth\] (\S+?):pull,push (?:\S+ )?token for (\S+)`)
	retryLine   = regexp.MustCompile(`^[\d.]+ retrying in`)
	orasLine    = regexp.MustCompile(`^(?:Preparing \S+$|(?:Uploading|Uploaded|Exists)\s+([0-9a-f]{12}) (\S+))`)
	pushingRef  = regexp.MustCompile(`(?i)(?:pushing manifest for|\[internal\] pushing|^pushing(?: image)?(?: \d+ of \d+)?|publishing|pushing image(?: to)?|pushing signature to:|start upload of|attestation created for) "?\[?([^\s"\]@]+[./:][^\s"\]@]*)`)
	pushedRef   = regexp.MustCompile(`(?i)(?:^|\s)(?:published|pushed:|pushed \[registry\]|built and pushed image as|built and pushed images? (?:to|as)) "?([^\s"@,]+)`)
)

// observe follows what the step is doing. It reports true for a line that is progress and nothing else.
func (s *state) observe(ln parser.Line) bool {
	text := ln.Text
	if m := vertexName.FindStringSubmatch(text); m != nil {
		return s.vertex(ln, m[1], m[2])
	}
	if m := blockName.FindStringSubmatch(text); m != nil {
		s.step.block = kindOf(m[1])
		if im, ok := strings.CutPrefix(m[1], "importing cache manifest from "); ok {
			s.step.cacheHost = hostOf(cleanImage(im))
			return true
		}
		s.settleUndecided(s.step.block)
		if im := strings.TrimSuffix(strings.TrimPrefix(m[1], "pushing "), " with docker"); im != m[1] {
			s.step.publishing = cleanImage(im)
		}
		return true
	}
	if m := ttyError.FindStringSubmatch(text); m != nil {
		s.step.block = kindOf(m[1])
		return true
	}
	if s.observeDocker(ln) {
		return true
	}
	low := lower(text)
	switch {
	case strings.Contains(low, "getting image source signatures"):
		s.copySettled()
		s.step.copies = true
		return true
	case strings.Contains(low, "writing manifest to image destination"):
		s.step.written = s.step.copies
		return true
	case low == "storing signatures":
		s.copySettled()
		return true
	case strings.Contains(low, "no matching credentials were found"):
		s.step.anonymous = true
		return true
	case strings.Contains(low, "login succeeded"):
		if s.logins == nil {
			s.logins = map[int]string{}
		}
		if len(s.logins) < maxLogins {
			s.logins[ln.Number] = text
		}
		if s.step.cmd.verb == verbLogin {
			s.step.cmd = command{}
		}
		return true
	case strings.HasPrefix(low, "pulling ") && !strings.Contains(low, "rror"), strings.Contains(low, ": pulling from "), strings.HasPrefix(low, "trying to pull "),
		strings.Contains(low, "pull down action image"), strings.HasPrefix(strings.TrimSpace(low), "step 1/"), strings.HasPrefix(low, "step 1 : "), strings.HasPrefix(low, "annotating resources"):
		s.step.cmd = command{verb: verbPull}
		return true
	case strings.Contains(low, "built and pushed image"), strings.HasPrefix(low, "pushed"), strings.Contains(low, " published "), strings.HasPrefix(low, "published "):
		if m := pushedRef.FindStringSubmatch(text); m != nil {
			s.succeeded(m[1], ln)
			return true
		}
	}
	if strings.Contains(low, "pushed image to ") && s.step.publishing != "" {
		s.succeeded(s.step.publishing, ln)
		return true
	}
	if m := orasLine.FindStringSubmatch(text); m != nil {
		if s.step.cmd.verb != verbPush {
			s.step.cmd = command{client: pushdoctor.ClientOras, verb: verbPush}
		}
		s.step.asked = true
		s.step.orasPart = pushdoctor.OperationUpload
		if m[1] == "" {
			s.step.orasPart = ""
		} else if strings.Contains(m[2], ".manifest.") {
			s.step.orasPart = pushdoctor.OperationManifest
		}
		return true
	}
	s.command(text, false)
	if loginAction.MatchString(text) {
		// A page copied from the web has no groups: the inputs follow.
		s.step.login, s.step.cmd = true, command{verb: verbLogin}
		s.step.loginHost, s.step.inputs = "docker.io", 12
	}
	if m := pushingRef.FindStringSubmatch(text); m != nil && !strings.Contains(low, "error") && !strings.Contains(low, "fail") {
		image := cleanImage(strings.TrimRight(m[1], "."))
		if image != "" && !strings.Contains(image, "://") {
			s.step.publishing, s.step.asked = image, true
			if s.step.cmd.verb == verbPull {
				s.step.cmd = command{}
			}
			if strings.Contains(low, " publishing ") && s.step.cmd.verb != verbPush {
				s.step.cmd = command{client: pushdoctor.ClientKo, verb: verbPush}
			}
		}
	}
	return false
}

// vertex reads a line of BuildKit's plain progress. Errors in it are answers; all else is progress.
func (s *state) vertex(ln parser.Line, id, rest string) bool {
	st := &s.step
	if st.vertices == nil {
		st.vertices = map[string]*vertex{}
	}
	v := st.vertices[id]
	if v == nil {
		if len(st.vertices) >= maxVertices {
			clear(st.vertices)
		}
		v = &vertex{}
		st.vertices[id] = v
	}
	switch {
	case strings.HasPrefix(rest, "ERROR"), strings.Contains(rest, " error: "), strings.HasPrefix(rest, "error: "):
		return false
	case strings.HasPrefix(rest, "DONE"), strings.HasPrefix(rest, "CACHED"):
		if strings.HasPrefix(rest, "DONE") {
			s.vertexDone(id, v, ln)
		}
		return true
	}
	if kind := kindOf(rest); kind != vertexUnknown {
		v.kind = kind
		if kind == vertexImage && strings.Contains(rest, "pushing") {
			st.asked = true
		}
	}
	if m := authVertex.FindStringSubmatch(rest); m != nil {
		st.authImage, st.authHost, st.asked = m[2]+"/"+m[1], m[2], true
	}
	if im, ok := strings.CutPrefix(rest, "importing cache manifest from "); ok {
		st.cacheHost = hostOf(cleanImage(im))
	}
	if retryLine.MatchString(rest) && st.last != nil && st.last.vertex == id {
		st.last.retry = true
	}
	if strings.HasPrefix(rest, "pushing layers") && len(v.images) > 0 {
		v.next = true
	}
	if m := pushingRef.FindStringSubmatch(rest); m != nil && len(v.images) < 64 {
		v.kind, v.next = vertexImage, false
		if im := cleanImage(m[1]); im != "" {
			v.images = append(v.images, im)
			st.publishing = im
		}
	}
	return !strings.Contains(rest, " unauthorized") && !strings.Contains(rest, "retrying in")
}

// vertexDone is a BuildKit step that ended well: what it pushed is in the registry, and what it had to try
// again was cured.
func (s *state) vertexDone(id string, v *vertex, ln parser.Line) {
	for _, f := range s.failures {
		if f.step == s.step.number && f.vertex == id && f.retry {
			f.recovered = true
		}
	}
	if v.kind != vertexImage {
		return
	}
	for _, im := range v.images {
		s.succeeded(im, ln)
	}
	v.images = nil
}

// kindOf tells what a BuildKit step does from its name.
// https://github.com/moby/buildkit/blob/master/solver/llbsolver/solver.go
func kindOf(name string) vertexKind {
	switch {
	case strings.HasPrefix(name, "exporting to image"), strings.HasPrefix(name, "pushing "), strings.HasPrefix(name, "[internal] pushing"),
		strings.HasPrefix(name, "exporting to registry"), strings.HasPrefix(name, "exporting manifest"), strings.HasPrefix(name, "exporting layers"):
		return vertexImage
	case strings.HasPrefix(name, "exporting cache to GitHub"), strings.HasPrefix(name, "exporting to GitHub"), strings.HasPrefix(name, "exporting cache to client"),
		strings.HasPrefix(name, "exporting cache to s3"), strings.HasPrefix(name, "exporting cache to Azure"):
		return vertexOther
	case strings.HasPrefix(name, "exporting cache"), strings.HasPrefix(name, "sending cache export"), strings.HasPrefix(name, "preparing build cache"), strings.HasPrefix(name, "writing layer "):
		return vertexCache
	case strings.HasPrefix(name, "[auth]"), strings.HasPrefix(name, "[internal] booting"):
		return vertexOther
	case strings.HasPrefix(name, "["), strings.HasPrefix(name, "importing "), strings.HasPrefix(name, "resolve image config"), strings.HasPrefix(name, "https://"):
		return vertexOther
	}
	return vertexUnknown
}

// observeDocker follows a push by the Docker daemon.
func (s *state) observeDocker(ln parser.Line) bool {
	st := &s.step
	text := ln.Text
	if s.step.list > 0 {
		s.step.list--
	}
	if strings.TrimSpace(text) == "errors:" {
		s.step.list = 4
		return true
	}
	if m := pushRefers.FindStringSubmatch(text); m != nil {
		client := pushdoctor.ClientDocker
		if a, _ := read(ln); a.strong {
			client = a.client
		} else if st.cmd.verb == verbPush && st.cmd.client != "" {
			client = st.cmd.client
		}
		s.dockerUnexplained()
		d := &dockerPush{repository: cleanImage(m[1]), client: client, layers: map[string]bool{}, line: ln}
		s.adopt(d)
		st.docker, st.asked = d, true
		return true
	}
	if m := composeV1.FindStringSubmatch(text); m != nil {
		st.cmd = command{client: pushdoctor.ClientCompose, verb: verbPush, image: cleanImage(m[1])}
		st.asked = true
		return true
	}
	if m := composeLine.FindStringSubmatch(text); m != nil {
		if st.docker == nil || st.docker.repository != m[1] {
			st.docker = &dockerPush{repository: cleanImage(m[1]), client: pushdoctor.ClientCompose, layers: map[string]bool{}, line: ln}
			st.asked = true
		}
		st.docker.layer(m[2], text[strings.Index(text, m[2])+len(m[2])+1:])
		return true
	}
	if st.docker == nil && st.cmd.verb != verbPull {
		// The log is cut, or its lines are out of order: layers that are prepared or pushed are a push's.
		if m := layerLine.FindStringSubmatch(text); m != nil && m[2] != "Waiting" {
			st.docker = &dockerPush{client: pushdoctor.ClientDocker, layers: map[string]bool{}, line: ln}
			st.asked = true
		}
	}
	if st.docker == nil || st.docker.done {
		return false
	}
	if m := digestLine.FindStringSubmatch(text); m != nil {
		image := st.docker.repository
		if tagOf(image) == "" {
			image += ":" + m[1]
		}
		st.docker.done = true
		s.succeeded(image, ln)
		return true
	}
	if m := layerLine.FindStringSubmatch(text); m != nil {
		st.docker.layer(m[1], m[2])
		return true
	}
	return false
}

func (d *dockerPush) layer(id, what string) {
	switch {
	case strings.HasPrefix(what, "Pushed"), strings.HasPrefix(what, "Layer already"), strings.HasPrefix(what, "Mounted"), strings.HasPrefix(what, "Skipped"),
		strings.HasPrefix(what, "Image success"), strings.HasPrefix(what, "Image already"):
		if _, ok := d.layers[id]; ok || len(d.layers) < maxLayers {
			d.layers[id] = true
		}
		d.sent = d.sent || strings.HasPrefix(what, "Pushed")
		return
	case strings.HasPrefix(what, "Retrying"):
		d.retried = true
	case strings.HasPrefix(what, "Pushing"), strings.HasPrefix(what, "Image push failed"):
		d.moving = true
	}
	if _, ok := d.layers[id]; !ok && len(d.layers) < maxLayers {
		d.layers[id] = false
	}
}

// clientCommand matches a client's command where a shell, a trace or an action shows one.
var clientCommand = regexp.MustCompile(`(?:^|[$#>+] |/bin/|/kaniko/|[Cc]ommand:? |sudo |;\s*|&& |\|\| |\| ?|['"(])(docker-compose|docker|podman|buildah|skopeo|crane|ko|executor|oras|helm|nerdctl|regctl|cosign|pack|goreleaser|wasme|ansible-container|sinker|notation)(?: --?[a-z][\w-]*(?:[= ][^\s-][^\s]*)?)*? +(compose|buildx|image|manifest|container|registry|chart|auth|index)?\s*([a-z]+)\b(.*)$`)

var clientOf = map[string]pushdoctor.Client{
	"docker": pushdoctor.ClientDocker, "docker-compose": pushdoctor.ClientCompose, "podman": pushdoctor.ClientPodman, "buildah": pushdoctor.ClientBuildah,
	"skopeo": pushdoctor.ClientSkopeo, "crane": pushdoctor.ClientCrane, "ko": pushdoctor.ClientKo, "executor": pushdoctor.ClientKaniko, "oras": pushdoctor.ClientOras,
	"helm": pushdoctor.ClientHelm, "cosign": pushdoctor.ClientCosign, "pack": pushdoctor.ClientPack, "goreleaser": pushdoctor.ClientGoreleaser, "wasme": pushdoctor.ClientOras,
}

// command notes a client's command in text. own says that the line is one that runs: a script's, an action's.
func (s *state) command(text string, own bool) {
	if len(text) > 4096 {
		text = text[:4096]
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
	client, ok := clientOf[program]
	if !ok {
		client = pushdoctor.ClientOther
	}
	c := command{client: client}
	switch {
	case sub == "compose":
		c.client = pushdoctor.ClientCompose
		c.verb = verbOf(what)
	case sub == "buildx", program == "docker" && what == "build":
		c.client = pushdoctor.ClientBuildx
		c.verb = verbBuild
		if what == "imagetools" || strings.Contains(rest, "--push") || strings.Contains(rest, "push=true") || strings.Contains(rest, "type=registry") {
			c.verb = verbPush
		}
	case program == "docker" && sub == "manifest":
		c.verb = verbPush
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
	if c.verb == verbLogin && program == "docker" {
		s.step.loginHost = loginArgument(rest)
		s.scriptLogin(text, s.step.loginHost)
	}
	if c.verb == verbPush && c.image == "" && (what == "push" || what == "sign") {
		c.image = imageArgument(rest)
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
		st.asked = true
		st.shown = st.shown || own
	case verbLogin:
		st.login = true
	}
}

func verbOf(what string) verb {
	switch what {
	case "push", "publish", "resolve", "apply", "create", "attach", "sign", "attest", "copy", "cp", "append", "mutate", "tag":
		if what == "tag" || what == "create" {
			return verbNone
		}
		return verbPush
	case "pull", "run", "install", "upgrade", "verify", "up", "inspect", "template", "show":
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

// imageArgument is the argument of a push that looks like an image, "" where a shell's variable hides it.
func imageArgument(rest string) string {
	for _, f := range strings.Fields(rest) {
		f = strings.Trim(f, `"'`)
		if strings.HasPrefix(f, "-") || strings.ContainsAny(f, "$`{}") || !strings.ContainsAny(f, "/:") {
			continue
		}
		return cleanImage(f)
	}
	return ""
}

// loginAction matches the title of a step that only logs in.
var loginAction = regexp.MustCompile(`(?i)^Run [\w.-]+/[\w.-]*(?:login|ecr-login)[\w.-]*@`)

// pushActions are actions that push with the logins of the steps before them.
var pushActions = []string{"docker/build-push-action@", "docker/bake-action@"}

// script reads a line that the runner echoes: it is what a step does, not what came of it.
func (s *state) script(text string) {
	st := &s.step
	trimmed := strings.TrimSpace(text)
	if host, ok := strings.CutPrefix(trimmed, "registry:"); ok && st.login {
		st.loginHost = orElse(strings.TrimSpace(host), "docker.io")
	}
	for _, a := range pushActions {
		if strings.HasPrefix(st.title, "Run "+a) && trimmed == "push: true" {
			st.asked, st.shown = true, true
			st.cmd = command{client: pushdoctor.ClientBuildx, verb: verbPush}
		}
	}
	if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, "echo ") && !strings.Contains(trimmed, "|") {
		return
	}
	if strings.HasPrefix(trimmed, "command: ") || strings.HasPrefix(trimmed, "run: ") {
		_, trimmed, _ = strings.Cut(trimmed, ": ")
	}
	s.command(trimmed, true)
}
