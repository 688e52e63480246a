package classifier

import (
	"regexp"
	"slices"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

// place works out what an answer belongs to: which way it goes, which image and which client.
func (s *state) place(a *answer) {
	st := &s.step
	kind := vertexUnknown
	if v := st.vertices[a.vertex]; v != nil {
		kind = v.kind
	} else if a.vertex == "" && (a.client == pushdoctor.ClientBuildx || strings.HasPrefix(a.text, "ERROR: ")) {
		kind = st.block
	}
	daemonPing := pingLine.MatchString(a.text) || strings.HasSuffix(strings.TrimRight(a.url, "/"), "/v2") && a.client == pushdoctor.ClientOras
	if a.dir == undecided {
		switch {
		case kind == vertexOther:
			a.dir = pull
		case a.reads && (st.cmd.verb != verbPush || strings.Contains(a.text, "Get ") || st.cmd.image != "" && repositoryKey(st.cmd.image) != repositoryKey(a.image)):
			a.dir = pull // Go's own errors say Get, crane's GET; a copy reads its source
		case kind == vertexImage, kind == vertexCache, a.ofPush():
			a.dir = push
		case st.inPush():
			a.dir = push
		case st.cmd.verb == verbPull && a.client == pushdoctor.ClientOras:
			a.wasPull = true
		case a.client == pushdoctor.ClientOras:
			a.dir = push
		case st.last != nil && a.line.Number-st.lastLine <= 4:
			a.dir = push // the answer's body, or the client's second word on it
		case st.cmd.verb == verbPull || a.pullWords:
			a.wasPull = true
		case daemonPing:
			a.dir = push
		case st.cmd.verb == verbPush, st.cmd.verb == verbLogin, st.publishing != "":
			a.dir = push
		}
	} else if a.dir == push && kind == vertexOther && !(a.operation == pushdoctor.OperationCacheExport && splitURL(a.url).registry) {
		a.dir = pull
	}
	if s.step.testing && a.vertex == "" && kind == vertexUnknown && !st.inPush() {
		a.dir = pull // a test of a client prints what the client would
	}
	if kind == vertexCache {
		a.operation = pushdoctor.OperationCacheExport
	}
	inPush := st.inPush()
	if daemonPing && !inPush && a.dir == push && (a.operation == "" || a.operation == pushdoctor.OperationToken) {
		a.operation = pushdoctor.OperationLogin
	}
	if st.cmd.verb == verbLogin && !inPush && a.operation == "" && a.vertex == "" && !a.summary && a.dir != pull {
		a.operation = pushdoctor.OperationLogin
	}
}

// decorate fills in from the context what the line itself does not say.
func (s *state) decorate(a *answer) {
	st := &s.step
	s.ofLogin(a)
	a.anonymous = a.anonymous || st.anonymous
	st.nameImage(a)
	st.nameHost(a)
	st.nameClient(a)
	st.nameOperation(a)
	if st.inPush() && st.docker.client == pushdoctor.ClientCompose {
		a.client = pushdoctor.ClientCompose
	}
}

// inPush reports whether the Docker daemon is pushing an image.
func (st *step) inPush() bool { return st.docker != nil && !st.docker.done }

func (st *step) nameImage(a *answer) {
	inPush := st.inPush()
	if a.pathOnly && inPush && st.docker.repository != "" {
		a.image, a.pathOnly = st.docker.repository, false
	}
	if a.image == "" && a.operation != pushdoctor.OperationLogin && a.operation != pushdoctor.OperationCacheExport {
		switch {
		case inPush:
			a.image = st.docker.repository
		case st.vertices[a.vertex].image() != "":
			a.image = st.vertices[a.vertex].image()
		case st.cmd.verb == verbPush && st.cmd.image != "":
			a.image = st.cmd.image
		case st.authImage != "" && (a.vertex != "" || a.summary || a.client == pushdoctor.ClientBuildx):
			a.image = st.authImage
		case st.publishing != "" && a.vertex == "" && !a.summary:
			a.image, a.guessed = st.publishing, true
		}
	}
}

func (st *step) nameHost(a *answer) {
	if a.operation == pushdoctor.OperationCacheExport && a.host == "" {
		a.host = orElse(st.authHost, st.cacheHost)
	}
	if host := hostOf(a.image); a.image != "" && host != "" && !a.pathOnly {
		// The address of a request names the host for certain; a storage behind the registry is no registry.
		if u := splitURL(a.url); a.url == "" || !u.registry || host != "docker.io" && host != "***" {
			a.host = host
		}
	}
	if a.host == "" && a.client == pushdoctor.ClientBuildx && a.operation != pushdoctor.OperationLogin {
		a.host = orElse(st.authHost, st.cacheHost)
	}
	for _, hub := range []string{"registry-1.docker.io/", "index.docker.io/"} {
		if rest, ok := strings.CutPrefix(a.image, hub); ok {
			a.image = "docker.io/" + rest
		}
	}
	a.host = lower(a.host)
	if a.host == "registry-1.docker.io" || a.host == "index.docker.io" || a.host == "registry.docker.io" || a.host == "auth.docker.io" {
		a.host = "docker.io"
	}
	if a.host == "" && a.client == pushdoctor.ClientOther && a.operation != pushdoctor.OperationLogin {
		a.host = st.uploadHost
	}
}

func (st *step) nameClient(a *answer) {
	if a.strong {
		return
	}
	inPush := st.inPush()
	switch {
	case st.wrapper != "" && a.vertex == "" && (a.client == "" || a.client == pushdoctor.ClientDocker || a.client == pushdoctor.ClientBuildx):
		a.client = st.wrapper
	case inPush && (a.client == "" || a.client == pushdoctor.ClientDocker || a.client == pushdoctor.ClientBuildx && a.vertex == ""):
		a.client = st.docker.client
	case st.cmd.verb == verbPush && st.cmd.client != "" && agrees(a.client, st.cmd.client):
		a.client = st.cmd.client
	case a.client == "" && st.cmd.client != "":
		a.client = st.cmd.client
	case a.client == pushdoctor.ClientBuildx && a.vertex == "" && st.cmd.verb == verbLogin && st.cmd.client == pushdoctor.ClientHelm:
		a.client = st.cmd.client
	case a.client == pushdoctor.ClientBuildx && a.vertex == "" && strings.HasPrefix(a.text, "unknown: "):
		a.client = pushdoctor.ClientDocker // its containerd store puts a code before containerd's words
	case a.client == "" && (unquotedURL.MatchString(a.text) || strings.HasSuffix(strings.TrimRight(a.url, "/"), "/v2")):
		a.client = pushdoctor.ClientDocker
	case a.client == "" && a.method != "" && a.code != "" && strings.Contains(a.line.Text, strings.ToUpper(a.method)+" http"):
		a.client = pushdoctor.ClientCrane
	case a.client == "" && startsWithCode(a.line.Text):
		a.client = pushdoctor.ClientDocker
		if strings.HasPrefix(strings.TrimSpace(a.line.Text), "ERROR: ") {
			a.client = pushdoctor.ClientBuildx
		}
	}
}

func (st *step) nameOperation(a *answer) {
	if st.inPush() && a.operation == "" {
		switch {
		case manifestCodes[a.code], st.docker.allUp() && (st.docker.sent || a.status >= 500 || a.code != "" && !authCode(a.code)):
			a.operation = pushdoctor.OperationManifest
		case st.docker.moving, st.docker.retried && a.status < 500:
			a.operation = pushdoctor.OperationUpload
		}
	}
	if a.operation == "" && a.client == pushdoctor.ClientOras && st.orasPart != "" {
		a.operation = st.orasPart
	}
	if a.operation == "" && manifestCodes[a.code] {
		a.operation = pushdoctor.OperationManifest
	}
	if a.operation == "" && uploadCodes[a.code] {
		a.operation = pushdoctor.OperationUpload
	}
}

// pingLine matches the daemon's first request, which docker login ends with and docker push begins with.
var pingLine = regexp.MustCompile(`(?i)error response from daemon: (?:login: |get "?https?://[^"\s]+/(?:v[12]/?|v1/users/)"?: )`)

// image is the one that the vertex is pushing, "" where it does not say.
func (v *vertex) image() string {
	if v == nil || v.next || len(v.images) == 0 {
		return ""
	}
	return v.images[len(v.images)-1]
}

// unquotedURL matches the error of a request as Go before 1.14 printed it, which is docker's up to 19.03.
var unquotedURL = regexp.MustCompile(`\b(?:Get|Head|Put|Post|Patch) https?://`)

func authCode(code string) bool {
	return code == "denied" || code == "unauthorized" || code == "insufficient_scope"
}

// ofLogin gives a failed login the host that it went to; an image has no part in it.
func (s *state) ofLogin(a *answer) {
	if a.operation != pushdoctor.OperationLogin {
		return
	}
	a.image = ""
	if a.host == "" {
		a.host = lower(s.loginHost(a.line))
	}
}

// agrees reports whether the step's command may be what printed a line whose wording is guess's.
func agrees(guess, cmd pushdoctor.Client) bool {
	if cmd != pushdoctor.ClientDocker && cmd != pushdoctor.ClientBuildx && cmd != pushdoctor.ClientCompose {
		return true // the libraries' words are many clients'; the command is one's
	}
	switch guess {
	case "", pushdoctor.ClientHelm:
		return true
	case pushdoctor.ClientPodman:
		return cmd == pushdoctor.ClientBuildah || cmd == pushdoctor.ClientSkopeo || cmd == pushdoctor.ClientPodman
	case pushdoctor.ClientOras:
		return cmd == pushdoctor.ClientHelm || cmd == pushdoctor.ClientOras || cmd == pushdoctor.ClientOther
	case pushdoctor.ClientBuildx: // containerd's wording, which others have too
		return cmd == pushdoctor.ClientHelm || cmd == pushdoctor.ClientOther || cmd == pushdoctor.ClientOras
	}
	return false
}

// loginHost is the host of the login whose outcome stands in or just before the line.
func (s *state) loginHost(ln parser.Line) string {
	for _, l := range slices.Backward(s.log.Facts().Logins) {
		if l.Line <= ln.Number && (!l.OK || s.step.login) && l.Host != "" && l.Host != "docker.io" {
			return l.Host
		}
	}
	return s.step.loginHost
}
