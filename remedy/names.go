package remedy

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/akkospace/pushdoctor"
	"github.com/distribution/reference"
)

// The rules that an image's name may break, words of the vocabulary's key "name".
const (
	nameUnknown   = "unknown" // no name in the log, or a masked one
	nameOK        = "ok"
	nameScheme    = "scheme"         // https://, oci://, docker:// before it
	nameEmptyPart = "empty_part"     // ghcr.io//api: a variable held nothing
	nameWrongHost = "wrong_host"     // ghrc.io
	nameHostTwice = "host_twice"     // ghcr.io/ghcr.io/octo/api
	nameUpperCase = "upper_case"     //
	nameEmptyTag  = "empty_tag"      // octo/api:
	nameBadTag    = "bad_tag"        // api:fix/x
	nameIllegal   = "illegal"        // a character outside the reference grammar
	nameNoHost    = "no_host"        // the login was for another registry than Docker Hub
	nameNoOwner   = "no_owner"       // ghcr.io/api
	nameTooMany   = "too_many_parts" // Docker Hub knows NAMESPACE/NAME only
	nameTooFew    = "too_few_parts"  // Artifact Registry wants PROJECT/REPOSITORY/IMAGE
)

// A name is an image reference taken apart, and what is wrong with it.
type name struct {
	host, path, tag string
	rule            string
	corrected       string // "" where it cannot be told; holds OWNER, TAG and the like for what is missing
}

// maxName is longer than any reference that a registry takes (255 for the path, 128 for the tag).
const maxName = 1024

// knownHosts are those that people mistype, the likelier first.
var knownHosts = []string{"ghcr.io", "docker.io", "quay.io", "registry.gitlab.com", "public.ecr.aws", "gcr.io"}

// mistaken are hosts of the right product's pages and near misses that no slip of one letter explains.
var mistaken = map[string]string{
	"hub.docker.com": "docker.io", "docker.com": "docker.io", "github.com": "ghcr.io", "ghcr.com": "ghcr.io",
	"gitlab.com": "registry.gitlab.com", "quay.com": "quay.io",
}

// neighbours are real registries one letter away from a known host.
var neighbours = []string{"gcr.io", "icr.io", "ghcr.io", "docker.io", "quay.io"}

// minParts are the parts that a path needs below the host, where that is more than one.
var minParts = map[pushdoctor.Registry]int{
	pushdoctor.RegistryGHCR: 2, pushdoctor.RegistryDockerHub: 2, pushdoctor.RegistryGAR: 3, pushdoctor.RegistryGCR: 2,
	pushdoctor.RegistryGitLab: 2, pushdoctor.RegistryQuay: 2, pushdoctor.RegistryHarbor: 2, pushdoctor.RegistryArtifactory: 2,
	pushdoctor.RegistryOCIR: 2, pushdoctor.RegistryICR: 2, pushdoctor.RegistryDOCR: 2,
}

// The registry's own words show the path that was asked for, where a host inside it stands plain.
var (
	quotedRepository = regexp.MustCompile(`repository with name '([^'\s]{1,255})'`)
	requestedPath    = regexp.MustCompile(`/v2/([A-Za-z0-9.:-]{1,253}\.[A-Za-z0-9.:-]{1,63}/[A-Za-z0-9._/-]{1,255}?)/(?:blobs|manifests|tags)/`)
	illegalInPath    = regexp.MustCompile(`[^a-z0-9._/-]+`)
	illegalInTag     = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// judge takes the finding's image apart. Of several broken rules it names the first that
// stands in the way of the push; the corrected name heeds all of them.
func judge(f pushdoctor.Finding, message, jobOwner, loginHost string) name {
	n := split(f.Image)
	if inner := hostInside(f, n, message); inner != "" {
		host := canonicalHost(n.host)
		if host == "" {
			host = canonicalHost(f.Host)
		}
		_, rest := splitHost(inner)
		fixed := name{host: host, path: rest, tag: n.tag}
		n.rule = nameHostTwice
		n.corrected = fixed.correct(f.Registry, jobOwner)
		return n
	}
	if n.rule == nameUnknown {
		return n
	}
	fixed := n
	if to := rightHost(n.host); to != "" {
		n.rule, fixed.host = cmp.Or(n.rule, nameWrongHost), to
	}
	registry := f.Registry
	// At an unknown product a name without a host went to the tool's own default, which is another hint's matter.
	if n.host == "" && loginHost != "" && loginHost != "docker.io" && registry != pushdoctor.RegistryOther {
		n.rule, fixed.host = cmp.Or(n.rule, nameNoHost), loginHost
	}
	if canonicalHost(fixed.host) == "ghcr.io" {
		registry = pushdoctor.RegistryGHCR
	}
	n.rule = cmp.Or(n.rule, grammar(n), parts(n, registry), nameOK)
	if n.rule != nameOK {
		n.corrected = fixed.correct(registry, jobOwner)
	}
	return n
}

// split takes a reference apart as people mean it, broken or not: a tag begins at the
// first colon after the host, since slashes get into tags more often than colons into paths.
func split(image string) name {
	var n name
	image = strings.TrimSpace(image)
	if image == "" || len(image) > maxName || strings.Contains(image, "***") {
		n.rule = nameUnknown
		return n
	}
	if _, rest, ok := strings.Cut(image, "://"); ok {
		n.rule, image = nameScheme, rest
	}
	image, _, _ = strings.Cut(image, "@")
	n.host, image = splitHost(image)
	path, tag, tagged := strings.Cut(image, ":")
	n.path, n.tag = path, tag
	if n.rule == "" && (path == "" || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//")) {
		n.rule = nameEmptyPart
	}
	if n.rule == "" && tagged && tag == "" {
		n.rule = nameEmptyTag
	}
	return n
}

// splitHost splits as distribution does: a host holds a dot or a colon, or is localhost.
func splitHost(image string) (host, rest string) {
	first, rest, ok := strings.Cut(image, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first, rest
	}
	return "", image
}

// canonicalHost returns host in lower case, and "docker.io" for each name of Docker Hub.
func canonicalHost(host string) string {
	switch host = strings.ToLower(host); host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "docker.io"
	}
	return host
}

// rightHost returns the host that was meant, "" where nothing looks mistyped.
func rightHost(host string) string {
	host = strings.ToLower(host)
	if to := mistaken[host]; to != "" {
		return to
	}
	if before, ok := strings.CutSuffix(host, ".amazon.aws.com"); ok {
		return before + ".amazonaws.com"
	}
	if host == "" || slices.Contains(neighbours, host) {
		return ""
	}
	for _, known := range knownHosts {
		if len(known) >= 7 && slip(host, known) || swapped(host, known) {
			return known
		}
	}
	return ""
}

// slip reports whether one letter was typed wrong, left out or added, or two were swapped.
func slip(a, b string) bool {
	if a == b {
		return false
	}
	if swapped(a, b) {
		return true
	}
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	tail := func(s string, n int) string { return s[min(len(s), n):] }
	return tail(a, i+1) == tail(b, i+1) && len(a) == len(b) || tail(a, i+1) == tail(b, i) || tail(a, i) == tail(b, i+1)
}

func swapped(a, b string) bool {
	if len(a) != len(b) || a == b {
		return false
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// hostInside returns the path that begins with a host, where the registry was asked for such a one.
func hostInside(f pushdoctor.Finding, n name, message string) string {
	if m := quotedRepository.FindStringSubmatch(message); m != nil {
		if h, _ := splitHost(m[1]); h != "" {
			return m[1]
		}
	}
	paths := []string{n.path}
	if m := requestedPath.FindStringSubmatch(message); m != nil {
		paths = append(paths, m[1])
	}
	for _, p := range paths {
		h, _ := splitHost(p)
		h = canonicalHost(h)
		// A path part with a dot is legal, and proxy caches use hosts so: only a known host, or the same again.
		if h != "" && (slices.Contains(knownHosts, h) || h == canonicalHost(f.Host) || h == canonicalHost(n.host)) {
			return p
		}
	}
	return ""
}

// grammar says which rule of the reference grammar n breaks, "" for none.
func grammar(n name) string {
	switch {
	case strings.ToLower(n.path) != n.path:
		return nameUpperCase
	case n.tag != "" && !safeTag.MatchString(n.tag):
		return nameBadTag
	}
	if _, err := reference.ParseNormalizedNamed(strings.TrimPrefix(n.host+"/"+n.path, "/")); err != nil {
		return nameIllegal
	}
	return ""
}

// parts says whether n has too few or too many parts for the registry, "" if neither.
func parts(n name, registry pushdoctor.Registry) string {
	count := strings.Count(n.path, "/") + 1
	if n.host == "" && registry != pushdoctor.RegistryGHCR && registry != pushdoctor.RegistryDockerHub {
		return "" // the log may have cut the name short at its head
	}
	switch {
	case registry == pushdoctor.RegistryDockerHub && count > 2:
		return nameTooMany
	case count >= minParts[registry]:
		return ""
	case registry == pushdoctor.RegistryGHCR || registry == pushdoctor.RegistryDockerHub:
		return nameNoOwner
	}
	return nameTooFew
}

// owner is the first part of the path, "" where there is only one.
func (n name) owner() string {
	o, _, ok := strings.Cut(n.path, "/")
	if !ok {
		return ""
	}
	return o
}

// correct returns n as it should have been, "" where what is left is not safe to print.
func (n name) correct(registry pushdoctor.Registry, jobOwner string) string {
	jobOwner = strings.ToLower(jobOwner)
	if !safePath.MatchString(jobOwner) {
		jobOwner = "OWNER"
	}
	var path []string
	for p := range strings.SplitSeq(illegalInPath.ReplaceAllString(strings.ToLower(n.path), "-"), "/") {
		if p = strings.Trim(p, "-._"); p != "" {
			path = append(path, p)
		}
	}
	if len(path) == 0 {
		path = []string{"NAME"}
	}
	last := path[len(path)-1]
	switch missing := minParts[registry] - len(path); {
	case registry == pushdoctor.RegistryDockerHub && len(path) > 2:
		path = []string{path[0], last}
	case registry == pushdoctor.RegistryGAR && missing == 1:
		path = []string{path[0], "REPOSITORY", last}
	case registry == pushdoctor.RegistryGAR && missing > 1:
		path = []string{"PROJECT", "REPOSITORY", last}
	case registry == pushdoctor.RegistryArtifactory && missing > 0:
		path = []string{"REPOSITORY", last}
	case registry == pushdoctor.RegistryGHCR && missing > 0:
		path = []string{jobOwner, last}
	case missing > 0:
		path = []string{"OWNER", last}
	}
	tag := strings.TrimLeft(illegalInTag.ReplaceAllString(n.tag, "-"), "-.")
	if tag = tag[:min(len(tag), 128)]; tag == "" {
		tag = "TAG"
	}
	host := canonicalHost(n.host)
	if host != "" && !safeHost.MatchString(host) {
		return ""
	}
	full := strings.TrimPrefix(host+"/"+strings.Join(path, "/"), "/")
	if _, err := reference.ParseNormalizedNamed(strings.ToLower(full)); err != nil || !safePath.MatchString(strings.Join(path, "/")) {
		return ""
	}
	return full + ":" + tag
}
