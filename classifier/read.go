package classifier

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/akkospace/pushdoctor/parser"
)

// A direction says which way an image was to go.
type direction int8

const (
	undecided direction = iota
	push
	pull // or anything else that is no push: a build step, a signing service
)

// An answer is one line that says that something failed, taken apart.
type answer struct {
	line    parser.Line
	message string // from the innermost frame on: what the registry or the network said

	client       pushdoctor.Client
	strong       bool // client is proven by the line itself
	operation    pushdoctor.Operation
	dir          direction
	method       string // upper case
	url          string
	image        string
	host         string // of the URL, or named by a frame
	status       int
	statusSource pushdoctor.StatusSource
	code         string // the registry's error code, lower case with blanks: "name unknown"
	pathOnly     bool   // image is a repository's path: no host can be read out of it
	wasPull      bool   // the step was pulling: a push only if one begins right after
	reads        bool   // the request only reads: a pull's, or the check with which some clients begin a push
	pullWords    bool   // the words are those of a pull, which a push may get too
	partShown    bool   // operation is what a frame or an address says, not a guess
	guessed      bool   // image is what the step said before, not what the line says
	anonymous    bool   // the client says that it sent no credentials
	begins       bool   // the line begins with the answer, but for a label: a program quoting it elsewhere is not the client
	summary      bool   // the line sums up an earlier one
	retry        bool   // the client goes on by itself
	jsonBody     bool   // the registry's own JSON stands in the line
	fatal        bool   // logrus' word before the line: skopeo's and nerdctl's
	html         bool   // the body is a page of HTML
	failed       bool   // a frame says that something failed, even if nothing says why
	vertex       string // BuildKit's number of the step: "#14"

	text       string // of the line, out of a logger's wrapping
	low        string // the same in lower case
	lowMessage string
	judged
}

// judged is what the rules made of an answer.
type judged struct {
	rule       *rule
	cause      pushdoctor.Cause
	confidence float64
	registry   pushdoctor.Registry
}

// read takes a line apart. It reports false where no frame and no code stands in it.
func read(ln parser.Line) (answer, bool) {
	a := answer{line: ln, statusSource: pushdoctor.StatusNone}
	a.fatal = strings.HasPrefix(ln.Text, "FATA[")
	text := unwrap(undecorate(ln.Text))
	if m := vertexLine.FindString(text); m != "" {
		a.vertex = strings.TrimSpace(m)
		a.client = pushdoctor.ClientBuildx
		a.strong = true
	}
	low := lower(text)
	a.text, a.low = text, low
	inner := 0 // where the message begins
	hit, first := false, len(text)
	for i := range frames {
		f := &frames[i]
		if !strings.Contains(low, f.literal) {
			continue
		}
		m := f.re.FindStringSubmatchIndex(text)
		if m == nil {
			continue
		}
		if f.last {
			all := f.re.FindAllStringSubmatchIndex(text, 8)
			m = all[len(all)-1]
		}
		hit, first = true, min(first, m[0])
		a.take(f, text, m)
		switch f.dir {
		case pull:
		default:
			number := f.re.SubexpIndex("status") >= 0 || f.re.SubexpIndex("reason") >= 0
			if m[0] > inner && number {
				inner = m[0]
			} else if !number && m[1] > inner && m[1] < len(text) {
				inner = m[1]
			}
		}
	}
	if at, ok := a.readCode(text, low, &inner); ok {
		hit, first = true, min(first, at)
	}
	a.begins = hit && first <= len(label.FindString(text))
	if first > 0 && first < len(text) && text[first-1] == '`' {
		a.dir = pull // quoted in Markdown: a report on another push
	}
	a.html = htmlBody.MatchString(text)
	if a.status == 0 && a.html {
		if m := htmlTitle.FindStringSubmatch(text); m != nil {
			a.setStatus(m[1])
		}
	}
	if a.method == "" && a.url == "" && strings.Contains(low, "://") {
		if m := transport.FindStringIndex(text); m != nil {
			hit = true
		}
	}
	a.message = strings.TrimSpace(text[min(inner, len(text)):])
	if a.message == "" || inner == 0 {
		a.message = label.ReplaceAllString(strings.TrimSpace(text), "")
	}
	a.lowMessage = lower(a.message)
	if strings.Contains(low, "failed, retrying in ") {
		a.retry = true
	}
	a.readURL()
	if a.client == pushdoctor.ClientPodman && (strings.Contains(ln.Text, "level=fatal msg=") || a.fatal) {
		a.client, a.strong = pushdoctor.ClientSkopeo, true
	}
	return a, hit
}

// decoration is what wrappers put before a client's line: Cloud Build, Maven, lifecycle, goreleaser, compose, Go's log.
var decoration = regexp.MustCompile(`^(?:\s+|Step #\d+(?: - "[^"]*")?: |\[[^\]\[]{1,40}\]:? +|[│|✗✘❌⨯×x✔] {1,4}|[\w.-]{1,30} +[│|] +|[A-Z]{3,10}> |\d{4}/\d\d/\d\d \d\d:\d\d:\d\d |\d\d:\d\d:\d\d(?:[.,]\d+)? +|(?:FATA|ERRO)\[\d+\] )+`)

// msbuild matches what MSBuild and .NET's SDK print before the words of the task that pushes.
var msbuild = regexp.MustCompile(`^.{0,400}?(?:\.(?:targets|props|[a-z]+proj)\(\d+(?:,\d+)*\)|Containerize): error (?:(?:[A-Z]+\d+|Containerize|error|) ?: *|error )*(?:[A-Z]+\d+: )*`)

// undecorate drops it. What is left still stands in the line.
func undecorate(text string) string {
	if strings.Contains(text, "): error") || strings.HasPrefix(text, "Containerize: ") {
		if m := msbuild.FindString(text); m != "" && len(m) < len(text) {
			return text[len(m):]
		}
	}
	switch c := text[0]; {
	case strings.HasPrefix(text, " > "): // BuildKit's header
		return text
	case c == ' ', c == '\t', c == '[', c == '|', c == 'S', c == 'F', c == 'E', c == 'x', '0' <= c && c <= '9', c >= 0x80,
		strings.ContainsAny(text[:min(len(text), 40)], "|>│"):
		if m := decoration.FindString(text); m != "" && len(m) < len(text) {
			return text[len(m):]
		}
	}
	return text
}

// jsonText matches the message of a line of JSON, as loggers and BuildKit's rawjson progress print it.
var jsonText = regexp.MustCompile(`"(?:error|msg|message)":"((?:[^"\\]|\\.)*)"`)

// unwrap takes the message out of a line of a structured logger: time="..." level=fatal msg="..." err="...".
// The error, where there is one, says more than the message.
func unwrap(text string) string {
	if strings.HasPrefix(text, `{"`) && !strings.Contains(text, `"errors":[`) {
		for _, m := range jsonText.FindAllStringSubmatch(text, 4) {
			if m[1] != "" {
				return strings.NewReplacer(`\"`, `"`, `\n`, "\n", `\\`, `\`).Replace(m[1])
			}
		}
	}
	if !strings.Contains(text, "level=") {
		return text
	}
	for _, key := range []string{` err="`, ` error="`, ` msg="`} {
		if _, inner, ok := strings.Cut(text, key); ok {
			if end := strings.LastIndexByte(inner, '"'); end > 0 {
				inner = inner[:end]
			}
			return strings.NewReplacer(`\"`, `"`, `\n`, "\n", `\\`, `\`).Replace(inner)
		}
	}
	return text
}

// take fills in what one frame says. m are the frame's submatches in text.
func (a *answer) take(f *frame, text string, m []int) {
	group := func(name string) string {
		i := f.re.SubexpIndex(name)
		if i < 0 || m[2*i] < 0 {
			return ""
		}
		return text[m[2*i]:m[2*i+1]]
	}
	if f.client != "" && (!a.strong || f.strong) && (a.client == "" || f.strong || !clientOutranks(a.client, f.client)) {
		a.client, a.strong = f.client, f.strong
	}
	if f.op != "" && opOutranks(f.op, a.operation) {
		a.operation, a.partShown = f.op, true
	}
	switch {
	case f.dir == pull:
		a.dir = pull
	case f.dir == push && a.dir == undecided:
		a.dir = push
	}
	if f.flag != nil {
		f.flag(a)
	}
	if s := group("status"); s != "" {
		a.setStatus(s)
	}
	if s := group("reason"); s != "" && a.status == 0 {
		if n := reasons[lower(strings.TrimSpace(s))]; n > 0 {
			a.status, a.statusSource = n, pushdoctor.StatusExplicit
		}
	}
	if s := group("url"); s != "" {
		a.url, a.method = s, strings.ToUpper(group("method"))
	}
	if s := group("host"); s != "" {
		a.host = s
	}
	image := group("image") + group("image2")
	if name := group("image2"); !strings.Contains(name, "/") && strings.ContainsAny(name, ".:") {
		image, a.host = "", name // jib names the registry where the repository would stand
	}
	if s := group("repository"); s != "" && a.image == "" {
		image, a.pathOnly = s, true
	}
	if s := group("path"); s != "" && image == "" {
		image = repositoryOfPath(s)
		if image != "" && a.host != "" {
			image = a.host + "/" + image
		}
	}
	if s := group("tag"); s != "" && image != "" && !strings.Contains(s, ":") {
		image += ":" + s
	}
	if image = cleanImage(image); image != "" && (a.image == "" || a.image == "to") {
		a.image = image
	}
	switch group("what") {
	case "manifest":
		a.operation = pushdoctor.OperationManifest
	case "blob", "layer":
		a.operation = pushdoctor.OperationUpload
	}
}

// clientOutranks reports whether a weak guess for one client stands against a later one for another.
func clientOutranks(have, next pushdoctor.Client) bool {
	// "error from registry" and "unexpected status from" are containerd's, in docker as in BuildKit; a frame
	// of containers/image or of jib around them says more.
	weak := []pushdoctor.Client{pushdoctor.ClientBuildx, pushdoctor.ClientDocker, pushdoctor.ClientOras}
	return !slices.Contains(weak, have) || slices.Contains(weak, next)
}

// opRank orders operations by how much of a push they show.
var opRank = map[pushdoctor.Operation]int{
	"": 0, pushdoctor.OperationUpload: 1, pushdoctor.OperationManifest: 1, pushdoctor.OperationPush: 2,
	pushdoctor.OperationToken: 3, pushdoctor.OperationReference: 4, pushdoctor.OperationLogin: 5,
	pushdoctor.OperationSign: 6, pushdoctor.OperationCacheExport: 7,
}

func opOutranks(next, have pushdoctor.Operation) bool { return opRank[next] >= opRank[have] }

func (a *answer) setStatus(s string) {
	if n, err := strconv.Atoi(s); err == nil && n >= 100 {
		a.status, a.statusSource = n, pushdoctor.StatusExplicit
	}
}

// readCode finds the registry's error code, in JSON, in capitals or as docker prints it, and where it stands.
func (a *answer) readCode(text, low string, inner *int) (at int, found bool) {
	at = len(text)
	better := func(code string) bool { _, ok := codes[code]; return ok && (a.code == "" || a.code == "unknown") }
	if strings.Contains(low, `errors`) && strings.Contains(low, `code`) {
		// Several errors in one answer: the specific one counts, not UNKNOWN.
		for _, m := range jsonCode.FindAllStringSubmatch(text, 8) {
			if code := plainCode(m[1]); better(code) {
				a.code, a.jsonBody, found = code, true, true
			}
		}
	}
	if a.code == "" {
		for _, m := range upper.FindAllStringSubmatchIndex(text, 8) {
			if code := plainCode(text[m[2]:m[3]]); better(code) {
				a.code, found = code, true
				at = min(at, m[2])
				*inner = max(*inner, m[2])
			}
		}
	}
	if a.code == "" {
		for _, m := range bare.FindAllStringSubmatchIndex(text, 8) {
			code := lower(text[m[2]:m[3]])
			if code == "too many requests" {
				code = "toomanyrequests"
			}
			if better(code) {
				if a.code == "" && m[2] >= *inner {
					*inner = m[2]
				}
				a.code, found = code, true
				at = min(at, m[2])
			}
		}
	}
	if a.code == "" && strings.Contains(low, "insufficient_scope") {
		a.code, found = "insufficient_scope", true
	}
	if a.code == "denied" && strings.Contains(low, "\nunauthorized") {
		a.code = "insufficient_scope" // containers/image and docker print both of what Docker Hub answers with 401
	}
	if n := codes[a.code]; n > 0 && a.status == 0 {
		a.status, a.statusSource = n, pushdoctor.StatusImplied
	}
	return at, found
}

// plainCode makes NAME_UNKNOWN "name unknown".
func plainCode(s string) string {
	s = lower(strings.ReplaceAll(s, "_", " "))
	if s == "insufficient scope" {
		return "insufficient_scope"
	}
	return s
}

// readURL draws from the request's address what no frame said.
func (a *answer) readURL() {
	if a.url == "" {
		return
	}
	a.url = strings.TrimRight(a.url, `"':,;)`)
	u := splitURL(a.url)
	if u.registry {
		a.host = u.host // a storage behind the registry is no registry
	}
	if u.repository != "" && a.image == "" {
		a.image = u.host + "/" + u.repository
	}
	switch {
	case u.token:
		if opOutranks(pushdoctor.OperationToken, a.operation) {
			a.operation, a.partShown = pushdoctor.OperationToken, true
		}
		if a.dir == undecided && u.scopePush {
			a.dir = push
		}
		if a.dir == undecided && u.scopePull {
			a.dir = pull
		}
	case u.part == "uploads":
		if opOutranks(pushdoctor.OperationUpload, a.operation) || a.operation == pushdoctor.OperationPush {
			a.operation = pushdoctor.OperationUpload
		}
		if a.dir == undecided {
			a.dir = push
		}
	case u.part == "blobs":
		if opOutranks(pushdoctor.OperationUpload, a.operation) {
			a.operation = pushdoctor.OperationUpload
		}
		a.reads = a.method == "GET"
		if a.dir == undecided {
			a.dir = byMethod(a.method, push)
		}
	case u.part == "manifests":
		if opOutranks(pushdoctor.OperationManifest, a.operation) {
			a.operation = pushdoctor.OperationManifest
		}
		if a.dir == undecided {
			a.dir = byMethod(a.method, undecided)
		}
		a.reads = a.method == "GET"
		if a.dir == undecided && strings.Contains(lower(a.line.Text), "response from daemon") {
			a.dir = pull // the daemon asks for a manifest only to pull it
		}
		if strings.HasSuffix(u.reference, ".sig") || strings.HasSuffix(u.reference, ".att") || strings.HasSuffix(u.reference, ".sbom") {
			a.operation = pushdoctor.OperationSign
		}
	}
}

// byMethod says which way a request on a blob or a manifest goes: writing is a push, GET a pull, and HEAD,
// by which a push asks what is there already and docker pull asks for a tag, is what head says.
func byMethod(method string, head direction) direction {
	switch method {
	case "POST", "PUT", "PATCH":
		return push
	case "HEAD":
		return head
	}
	return undecided
}

func lower(s string) string { return strings.ToLower(s) }
