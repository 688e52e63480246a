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

	asked    bool    // a push was asked for: by a command, by an action's input, or by a builder's progress
	shown    bool    // the push stands where the log shows it whole: an action's step or a client's own command
	testing  bool    // a test suite is running
	ownLogin bool    // the push brings credentials of its own
	login    bool    // the step is one of a login action, or its script logs in
	cmd      command // the client's command seen last
	docker   *dockerPush
	copies   bool // containers/image is copying an image

	written    bool // containers/image has begun to write the manifest: success, unless an error follows
	writtenAt  parser.Line
	vertices   map[string]*vertex
	block      vertexKind // of the last header " > NAME:" in BuildKit's summary
	authHost   string     // of BuildKit's line "[auth] NAME:pull,push token for HOST"
	authImage  string
	cacheTo    bool                 // the build's cache goes to a registry
	uploadHost string               // to which .NET's SDK says that it sends layers
	wrapper    pushdoctor.Client    // the action's program, which runs others
	cacheHost  string               // of the cache that BuildKit imported: the registry of this project, most likely
	anonymous  bool                 // the client said that it found no credentials
	loginHost  string               // of a login whose inputs stand in a page copied from the web
	inputs     int                  // lines in which those inputs may stand
	orasPart   pushdoctor.Operation // what oras was sending last
	list       int                  // lines in which a list of the registry's errors may go on
	lastLine   int                  // of the newest failure
	publishing string               // the image that ko, a buildpack or a script said it is pushing
	undecided  []answer
	beyond     int      // answers that found no place among those
	last       *failure // the newest failure of this step
	window     int      // lines in which the body of the last answer may go on
}

// contextLiterals are what a line must hold to tell what a step is doing.
var contextLiterals = []string{
	"the push refers to", ": digest: sha256:", "getting image source signatures", "writing manifest to image destination", "storing signatures",
	" > exporting", " > pushing", " > importing", " > [", "=> error ", "pulling from ", "trying to pull ", "unable to find image", "pull down action image",
	"docker push", "image push", "podman push", "buildah push", "skopeo copy", "crane push", "crane copy", "crane append", "crane tag", "oras push", "oras attach", "helm push",
	"helm chart push", "nerdctl push", "compose push", "compose up", "docker login", "docker pull", "docker run ", "podman login", "manifest push", "kaniko/executor", "ko publish", "pack build",
	"cosign sign", "cosign attest", "cosign verify", "imagetools create", "buildx build", "docker build ", "helm pull", "helm install", "goreleaser",
	"publishing ", "published ", "pushing image", "pushing signature", "pushed image to", "built and pushed image", "pushed [registry]", "pushed: ", "start upload of ",
	"please login prior", "login succeeded", "regctl image copy", "wasme push", "pushing to ", " preparing", "retrying in ", "step 1/", "step 1 : ", " pulling ", "pulling ", "no matching credentials", "attestation created for", "exited with error code",
	"+ crane ", "$ crane ", "+ oras ", "$ oras ", "+ docker ", "$ docker ", "+ podman ", "+ skopeo ", "+ helm ", "+ cosign ", "+ regctl ", "$ helm ", "$ podman ", "$ skopeo ", "$ cosign ", "$ regctl ",
	" pushed", "@sha256:", "=== run ", "expect(received)", "running ", " ... ok", "... failed", " stdout ----", "--- pass: ", "--- fail: ", "pushing ", "container push", "login-action@", "==> analyzing", "[analyzer]", "installing with helm", "conftest pull", "annotating resources", " layer 'sha256:",
}

var (
	pushRefers    = regexp.MustCompile(`(?i)the push refers to (?:a )?repository \[([^\]\s]+)\]`)
	digestLine    = regexp.MustCompile(`^\s*([\w][\w.-]{0,127}): digest: sha256:[0-9a-f]{64} size: \d+`)
	layerLine     = regexp.MustCompile(`^\s*([0-9a-f]{12}): (Preparing|Waiting|Pushing|Pushed|Layer already exists|Mounted from|Retrying in|Skipped foreign layer|Image (?:successfully|already) push\w*|Image already exists|Image push failed)`)
	composeLine   = regexp.MustCompile(`^Pushing (\S+): ([0-9a-f]{12}) (.+)`)
	composeImage  = regexp.MustCompile(`^Image (\S+)\s+(Pushing|Error)\b`)
	composeV1     = regexp.MustCompile(`^Pushing \S+ \(([^)\s]+)\)\.\.\.`)
	vertexName    = regexp.MustCompile(`^(#\d{1,5}) (.*)$`)
	authVertex    = regexp.MustCompile(`^\[auth\] (\S+?):pull,push (?:\S+ )?token for (\S+)`)
	clockLine     = regexp.MustCompile(`^\d+\.\d{1,3} `)
	digestOnly    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	composePushed = regexp.MustCompile(`^(Image )?([\w./:-]+) Pushed\s*(?:[\d.]+s)?$`)
	testLine      = regexp.MustCompile(`^(?:=== RUN |expect\(received\)|=== PAUSE |running \d+ tests?$|test \S+ \.\.\. |---- \S+ stdout ----|--- (?:PASS|FAIL|SKIP): )`)
	retryLine     = regexp.MustCompile(`^[\d.]+ retrying in`)
	orasLine      = regexp.MustCompile(`^(?:Preparing \S+$|(?:Uploading|Uploaded|Exists)\s+([0-9a-f]{12}) (\S+))`)
	dotnetLayer   = regexp.MustCompile(`^\s*Upload(?:ing|ed) layer '[^']+' to '([^'/]+)`)
	pushingRef    = regexp.MustCompile(`(?i)(?:pushing manifest for|\[internal\] pushing|^pushing(?: image)?(?: \d+ of \d+)?|publishing|pushing image(?: to)?|pushing signature to:|start upload of|attestation created for) "?\[?([^\s"\]@]+[./:][^\s"\]@]*)`)
	pushedRef     = regexp.MustCompile(`(?i)(?:^|\s)(?:published|pushed|pushed:|pushed \[registry\]|built and pushed image as|built and pushed images? (?:to|as)) "?([^\s"@,]+)`)
)

// observe follows what the step is doing. It reports true for a line that is progress and nothing else.
// Each expression is tried only where its cheap sign is there: a log may hold a hundred thousand failures.
func (s *state) observe(ln parser.Line) bool {
	text, low := ln.Text, lower(ln.Text)
	if m := vertexName.FindStringSubmatch(text); text[0] == '#' && m != nil {
		return s.vertex(ln, m[1], m[2])
	}
	if s.observeSummary(text) || s.observeDocker(ln, low) || s.observeCopy(ln, low) || s.observeOther(ln, low) {
		return true
	}
	if mayBeCommand(low) {
		s.command(text, false)
	}
	if strings.Contains(low, "login") && loginAction.MatchString(text) {
		// A page copied from the web has no groups: the inputs follow.
		s.step.login, s.step.cmd = true, command{verb: verbLogin}
		s.step.loginHost, s.step.inputs = "docker.io", 12
	}
	s.observeTarget(text, low)
	return false
}

// observeSummary reads the header of a part of BuildKit's summary, which names the step that failed.
func (s *state) observeSummary(text string) bool {
	name := ""
	switch {
	case strings.HasPrefix(text, " > "):
		name = strings.TrimSuffix(text[3:], ":")
	case strings.Contains(text, "=> ERROR "):
		// The terminal's progress: "=> ERROR exporting to image        0.4s"
		_, name, _ = strings.Cut(text, "=> ERROR ")
		name, _, _ = strings.Cut(name, "   ")
	case s.step.block == vertexOther && clockLine.MatchString(text):
		return true // the failed build step's own output, once more
	default:
		return false
	}
	if image, ok := strings.CutPrefix(name, "importing cache manifest from "); ok {
		s.step.block, s.step.cacheHost = vertexOther, hostOf(cleanImage(image))
		return true
	}
	s.step.block = s.kindOf(name)
	s.settleUndecided(s.step.block)
	if image, ok := strings.CutPrefix(name, "pushing "); ok {
		s.step.publishing = cleanImage(strings.TrimSuffix(image, " with docker"))
	}
	return true
}

// observeCopy follows containers/image (podman, buildah, skopeo), which does not say that a push ended well: it
// did if the manifest was written and no error came after it.
func (s *state) observeCopy(ln parser.Line, low string) bool {
	switch {
	case strings.Contains(low, "getting image source signatures"):
		s.copySettled()
		s.step.copies = true
	case strings.Contains(low, "writing manifest to image destination"):
		s.step.written, s.step.writtenAt = s.step.copies, ln
	case low == "storing signatures":
		s.copySettled()
	default:
		return false
	}
	return true
}

// observeOther reads the other signs of what a step does: logins, pulls, tests, images that arrived.
func (s *state) observeOther(ln parser.Line, low string) bool {
	st := &s.step
	switch {
	case strings.Contains(low, "no matching credentials were found"):
		st.anonymous = true
		return true
	case strings.Contains(low, "login succeeded"):
		if s.logins == nil {
			s.logins = map[int]string{}
		}
		if len(s.logins) < maxLogins {
			s.logins[ln.Number] = ln.Text
		}
		if st.cmd.verb == verbLogin {
			st.cmd = command{}
		}
		return true
	case pulls(low):
		st.cmd = command{verb: verbPull}
		return true
	case strings.Contains(low, "pushed image to ") && st.publishing != "":
		s.succeeded(st.publishing, ln)
		return true
	case st.cmd.verb == verbPush && st.cmd.image != "" && (low == lower(st.cmd.image) || digestOnly.MatchString(low) || strings.HasPrefix(low, repositoryKey(st.cmd.image)+"@sha256:")):
		s.succeeded(st.cmd.image, ln) // what docker manifest push, regctl and crane print at the end
		return true
	case strings.Contains(low, "pushed") || strings.Contains(low, "published "):
		if m := composePushed.FindStringSubmatch(ln.Text); m != nil {
			if m[1] != "" || strings.Contains(m[2], "/") {
				s.cure(m[2], ln)
			} else {
				s.serviceUp(m[2])
			}
			return true
		}
		if m := pushedRef.FindStringSubmatch(ln.Text); m != nil {
			s.succeeded(m[1], ln)
			return true
		}
	case testLine.MatchString(ln.Text):
		st.testing = true
		return true
	}
	if strings.Contains(low, " layer '") {
		if m := dotnetLayer.FindStringSubmatch(ln.Text); m != nil {
			st.uploadHost, st.asked = lower(m[1]), true
			return true
		}
	}
	if m := orasLine.FindStringSubmatch(ln.Text); m != nil {
		if st.cmd.verb != verbPush {
			st.cmd = command{client: pushdoctor.ClientOras, verb: verbPush}
		}
		st.asked, st.orasPart = true, pushdoctor.OperationUpload
		switch {
		case m[1] == "":
			st.orasPart = ""
		case strings.Contains(m[2], ".manifest."):
			st.orasPart = pushdoctor.OperationManifest
		}
		return true
	}
	return false
}

// pulls reports whether a line says that an image is being pulled.
func pulls(low string) bool {
	return strings.HasPrefix(low, "pulling ") && !strings.Contains(low, "rror") ||
		strings.HasSuffix(strings.TrimRight(low, " "), " pulling") ||
		strings.HasPrefix(low, "trying to pull ") ||
		strings.Contains(low, ": pulling from ") ||
		strings.Contains(low, "pull down action image") ||
		strings.HasPrefix(low, "step 1/") || strings.HasPrefix(low, "step 1 : ") || // docker build without BuildKit
		strings.HasPrefix(low, "annotating resources")
}

// observeTarget notes the image that a client says it is pushing.
func (s *state) observeTarget(text, low string) {
	if !strings.Contains(low, "pushing") && !strings.Contains(low, "publishing") && !strings.Contains(low, "start upload") && !strings.Contains(low, "attestation created") ||
		strings.Contains(low, "error") || strings.Contains(low, "fail") {
		return
	}
	m := pushingRef.FindStringSubmatch(text)
	if m == nil {
		return
	}
	image := cleanImage(strings.TrimRight(m[1], "."))
	if image == "" || strings.Contains(image, "://") {
		return
	}
	st := &s.step
	st.publishing, st.asked, st.testing = image, true, false
	if st.cmd.verb == verbPull {
		st.cmd = command{}
	}
	if strings.HasPrefix(low, "publishing ") && st.cmd.verb != verbPush {
		st.cmd = command{client: pushdoctor.ClientKo, verb: verbPush}
	}
}
