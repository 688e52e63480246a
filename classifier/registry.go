package classifier

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// registryOf says which product answers at a host, by its name. "" is no host.
func registryOf(host string) pushdoctor.Registry {
	host = lower(host)
	bare := host
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		bare = host[:i]
	}
	bare = strings.Trim(bare, "[]")
	suffix := func(s string) bool { return bare == s || strings.HasSuffix(bare, "."+s) }
	label := func(s string) bool {
		for part := range strings.SplitSeq(bare, ".") {
			for word := range strings.SplitSeq(part, "-") {
				if strings.HasPrefix(word, s) || strings.HasSuffix(word, s) {
					return true
				}
			}
		}
		return false
	}
	switch {
	case host == "":
		return pushdoctor.RegistryUnknown
	case bare == "ghcr.io":
		return pushdoctor.RegistryGHCR
	case suffix("pkg.github.com"):
		return pushdoctor.RegistryGitHubPackages
	case suffix("docker.io"), bare == "hub.docker.com", bare == "registry.hub.docker.com", suffix("docker.com"):
		return pushdoctor.RegistryDockerHub
	case bare == "public.ecr.aws", suffix("ecr-public.amazonaws.com"), strings.HasPrefix(bare, "api.ecr-public."):
		return pushdoctor.RegistryECRPublic
	case strings.Contains(bare, ".dkr.ecr"), strings.Contains(bare, ".dkr-ecr"), strings.HasPrefix(bare, "api.ecr."):
		return pushdoctor.RegistryECR
	case suffix("pkg.dev"):
		return pushdoctor.RegistryGAR
	case suffix("gcr.io"):
		return pushdoctor.RegistryGCR
	case suffix("azurecr.io"), suffix("azurecr.us"), suffix("azurecr.cn"):
		return pushdoctor.RegistryACR
	case suffix("quay.io"):
		return pushdoctor.RegistryQuay
	case suffix("registry.digitalocean.com"), bare == "api.digitalocean.com":
		return pushdoctor.RegistryDOCR
	case suffix("ocir.io"), strings.HasPrefix(bare, "ocir.") && suffix("oraclecloud.com"):
		return pushdoctor.RegistryOCIR
	case suffix("icr.io"):
		return pushdoctor.RegistryICR
	case bare == "gitlab.com", suffix("registry.gitlab.com"):
		return pushdoctor.RegistryGitLab
	case suffix("jfrog.io"):
		return pushdoctor.RegistryArtifactory
	case bare == "localhost", suffix("localhost"), bare == "host.docker.internal", privateAddress(bare):
		return pushdoctor.RegistryLocal
	case label("harbor"):
		return pushdoctor.RegistryHarbor
	case label("artifactory"), label("jfrog"):
		return pushdoctor.RegistryArtifactory
	case label("nexus"):
		return pushdoctor.RegistryNexus
	case label("gitlab"):
		return pushdoctor.RegistryGitLab
	case label("quay"):
		return pushdoctor.RegistryQuay
	case strings.Trim(bare, "*.") == "":
		return pushdoctor.RegistryUnknown // masked
	}
	return pushdoctor.RegistryOther
}

func privateAddress(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast())
}

// hostOf is the host that an image reference names: "docker.io" where it names none. A first part that is
// masked may be a host or a user of Docker Hub: it is "***".
func hostOf(image string) string {
	image = strings.TrimPrefix(strings.TrimPrefix(image, "docker://"), "oci://")
	first, rest, ok := strings.Cut(image, "/")
	switch {
	case strings.Trim(first, "*") == "":
		return "***"
	case !ok && strings.HasPrefix(image, "sha256:"):
		return ""
	case !ok:
		return "docker.io"
	case strings.ContainsAny(first, ".:") || first == "localhost":
		return lower(first)
	case strings.ContainsAny(first, "$<>{}") || rest == "":
		return "" // a variable that nobody filled in
	}
	return "docker.io"
}

// cleanImage drops what clients print around an image's name, and "" where the text can be none.
func cleanImage(s string) string {
	s = strings.Trim(s, `"'`+"`[]():,;")
	s = strings.TrimPrefix(s, "docker://")
	for _, scheme := range []string{"oci://", "http://", "https://"} {
		s = strings.TrimPrefix(s, scheme)
	}
	s = strings.TrimSuffix(s, "...")
	switch {
	case s == "", len(s) > 4096, noImage[s]:
		return ""
	}
	return s
}

// noImage are words that stand where clients print an image, and are none.
var noImage = map[string]bool{
	"to": true, "image": true, "images": true, "some": true, "the": true, "destination": true, "with": true, "after": true, "and": true, "any": true,
	"error": true, "blob": true, "blobs": true, "manifest": true, "layer": true, "layers": true, "config": true, "signature": true, "chart": true, "artifact": true,
	"artifacts": true, "tag": true, "tags": true, "docker": true, "package": true, "packages": true, "because": true, "oci": true, "helm": true, "changes": true, "commit": true, "branch": true,
}

// repositoryKey is an image's name without tag and digest, by which two lines are known to speak of one image.
func repositoryKey(image string) string {
	image = lower(image)
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	for _, hub := range []string{"registry-1.docker.io/", "index.docker.io/", "docker.io/"} {
		image = strings.TrimPrefix(image, hub)
	}
	return strings.TrimPrefix(image, "library/")
}

// tagOf is an image's tag, "" where it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[i+1:]
	}
	return ""
}

// address is a request's URL in the words of the distribution API.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
type address struct {
	host       string
	registry   bool   // the path is one of the distribution API
	repository string // owner/name
	part       string // "uploads", "blobs", "manifests"
	reference  string // tag or digest
	token      bool   // the address of a token endpoint
	scopePush  bool
	scopePull  bool
}

func splitURL(s string) address {
	u, err := url.Parse(s)
	if err != nil {
		// A masked or cut address: what stands before the path is enough.
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(lower(s), "https://"), "http://"), "/")
		u = &url.URL{Host: host[strings.LastIndexByte(host, '@')+1:]}
		if i := strings.Index(s, "/v2/"); i >= 0 {
			u.Path, _, _ = strings.Cut(s[i:], "?")
		}
	}
	out := address{host: lower(u.Host)}
	if out.host == "docker.io" || strings.HasSuffix(out.host, ".docker.io") {
		out.host = "docker.io"
	}
	path := u.Path
	if strings.HasSuffix(path, "/v2") {
		path += "/"
	}
	for _, sep := range []string{"/v2/", "/v1/"} {
		if _, rest, ok := strings.Cut(path, sep); ok {
			out.repository, out.part, out.reference = splitPath(rest)
			// Many an API has a path with /v2/: only the distribution's own endpoints are a registry's.
			out.registry = out.part != "" || rest == "" || rest == "_ping" || rest == "users/"
			break
		}
	}
	query := u.Query()
	for _, scope := range query["scope"] {
		out.scopePush = out.scopePush || strings.Contains(scope, "push")
		out.scopePull = out.scopePull || strings.Contains(scope, "pull")
	}
	end := strings.TrimRight(path, "/")
	out.token = query.Has("service") || query.Has("scope") || strings.HasSuffix(end, "/docker/token")
	if out.token {
		out.registry, out.repository, out.part = true, "", ""
		switch out.host {
		case "auth.docker.io":
			out.host = "docker.io"
		}
	}
	return out
}

// repositoryOfPath is the repository in a path such as /v2/owner/name/blobs/uploads/.
func repositoryOfPath(path string) string {
	_, rest, ok := strings.Cut(path, "/v2/")
	if !ok {
		return ""
	}
	repository, _, _ := splitPath(rest)
	return repository
}

func splitPath(rest string) (repository, part, reference string) {
	for _, p := range []struct{ sep, part string }{
		{"/blobs/uploads", "uploads"}, {"/blobs/upload", "uploads"}, {"/blobs/", "blobs"}, {"/manifests/", "manifests"},
	} {
		if i := strings.LastIndex("/"+rest, p.sep); i >= 0 {
			end := i + len(p.sep)
			return strings.Trim(("/" + rest)[:i], "/"), p.part, strings.Trim(("/" + rest)[end:], "/")
		}
	}
	return "", "", ""
}
