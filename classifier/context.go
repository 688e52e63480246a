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

// contextLiterals are what a line must hold to tell what a step is doing.
var contextLiterals = []string{
	"the push refers to", ": digest: sha256:", "getting image source signatures", "writing manifest to image destination", "storing signatures",
	" > exporting", " > pushing", " > importing", " > [", "=> error ", "pulling from ", "trying to pull ", "unable to find image", "pull down action image",
	"docker push", "image push", "podman push", "buildah push", "skopeo copy", "crane push", "crane copy", "crane append", "crane tag", "oras push", "oras attach", "helm push",
	"helm chart push", "nerdctl push", "compose push", "compose up", "docker login", "docker pull", "docker run ", "podman login", "manifest push", "kaniko/executor", "ko publish", "pack build",
	"cosign sign", "cosign attest", "cosign verify", "imagetools create", "buildx build", "docker build ", "helm pull", "helm install", "goreleaser",
	"publishing ", "published ", "pushing image", "pushing signature", "pushed image to", "built and pushed image", "pushed [registry]", "pushed: ", "start upload of ",
	"please login prior", "login succeeded", "regctl image copy", "wasme push", "pushing to ", " preparing", "retrying in ", "step 1/", "step 1 : ", " pulling ", "pulling ", "no matching credentials", "attestation created for", "exited with error code",
	"=== run ", "running ", " ... ok", "... failed", " stdout ----", "--- pass: ", "--- fail: ", "pushing ", "container push", "login-action@", "==> analyzing", "[analyzer]", "installing with helm", "conftest pull", "annotating resources",
}

var (
	pushRefers   = regexp.MustCompile(`(?i)the push refers to (?:a )?repository \[([^\]\s]+)\]`)
	digestLine   = regexp.MustCompile(`^\s*([\w][\w.-]{0,127}): digest: sha256:[0-9a-f]{64} size: \d+`)
	layerLine    = regexp.MustCompile(`^\s*([0-9a-f]{12}): (Preparing|Waiting|Pushing|Pushed|Layer already exists|Mounted from|Retrying in|Skipped foreign layer|Image (?:successfully|already) push\w*|Image already exists|Image push failed)`)
	composeLine  = regexp.MustCompile(`^\s*(?:Container )?Pushing (\S+): ([0-9a-f]{12}) (\w+)`)
	composeError = regexp.MustCompile(`^\s+(?:[✘✔] )?Image (\S+)\s+(Pushing|Error)\b`)
	composeV1    = regexp.MustCompile(`^\s*Pushing \S+ \(([^)\s]+)\)\.\.\.`)
	vertexName   = regexp.MustCompile(`^(#\d{1,5}) (.*)$`)
	blockName    = regexp.MustCompile(`^ > (.+?):?$`)
	ttyError     = regexp.MustCompile(`=> ERROR (.+?)(?:\s{2,}|$)`)
	authVertex   = regexp.MustCompile(`^\[auth\] (\S+?):pull,push (?:\S+ )?token for (\S+)`)
	clockLine    = regexp.MustCompile(`^\d+\.\d{1,3} `)
	testLine     = regexp.MustCompile(`^(?:=== RUN |=== PAUSE |running \d+ tests?$|test \S+ \.\.\. |---- \S+ stdout ----|--- (?:PASS|FAIL|SKIP): )`)
	retryLine    = regexp.MustCompile(`^[\d.]+ retrying in`)
	orasLine     = regexp.MustCompile(`^(?:Preparing \S+$|(?:Uploading|Uploaded|Exists)\s+([0-9a-f]{12}) (\S+))`)
	pushingRef   = regexp.MustCompile(`(?i)(?:pushing manifest for|\[internal\] pushing|^pushing(?: image)?(?: \d+ of \d+)?|publishing|pushing image(?: to)?|pushing signature to:|start upload of|attestation created for) "?\[?([^\s"\]@]+[./:][^\s"\]@]*)`)
	pushedRef    = regexp.MustCompile(`(?i)(?:^|\s)(?:published|pushed:|pushed \[registry\]|built and pushed image as|built and pushed images? (?:to|as)) "?([^\s"@,]+)`)
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
	if s.step.block == vertexOther && clockLine.MatchString(text) {
		return true // the failed build step's own output, once more
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
		s.step.written, s.step.writtenAt = s.step.copies, ln
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
	case strings.HasPrefix(low, "pulling ") && !strings.Contains(low, "rror"), strings.HasSuffix(strings.TrimRight(low, " "), " pulling"), strings.Contains(low, ": pulling from "), strings.HasPrefix(low, "trying to pull "),
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
	if testLine.MatchString(text) {
		s.step.testing = true
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
			s.step.publishing, s.step.asked, s.step.testing = image, true, false
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
