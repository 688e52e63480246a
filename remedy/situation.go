package remedy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// A situation is a finding in its job, in the words of the catalogue's rows.
type situation struct {
	words   map[string]string // by key of the vocabulary, but for "message"
	message string            // the answers that the log holds, lower case
	names   map[string]string // what {names} in a text stand for
}

// maxMessage bounds what is searched of a finding's texts; the classifier cuts them far below.
const maxMessage = 16 << 10

func look(f pushdoctor.Finding, facts pushdoctor.Facts) *situation {
	message := f.Message
	for _, e := range f.Evidence {
		if e.Kind == pushdoctor.EvidenceAnswer && len(message) < maxMessage {
			message += "\n" + e.Text
		}
	}
	message = message[:min(len(message), maxMessage)]

	jobOwner, _, _ := strings.Cut(facts.Repository, "/")
	loginHost := goodLogin(facts.Logins)
	n := judge(f, message, jobOwner, loginHost)
	s := &situation{
		message: strings.ToLower(message),
		words: map[string]string{
			"cause":          string(f.Cause),
			"registry":       string(f.Registry),
			"client":         string(f.Client),
			"operation":      string(f.Operation),
			"status":         strconv.Itoa(f.Status),
			"token.packages": orUnknown(facts.Token["packages"]),
			"secret_source":  orUnknown(facts.SecretSource),
			"login":          login(f, facts),
			"owner":          owner(n, jobOwner),
			"name":           n.rule,
			"host":           hostWord(n),
			"runner":         orUnknown(facts.Runner),
			"pushed":         pushed(n.host, facts.Pushed),
		},
	}
	s.names = names(f, facts, n, loginHost)
	return s
}

func (s *situation) is(key, text string) bool {
	if key == "message" {
		return strings.Contains(s.message, text)
	}
	return s.words[key] == text
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// login says what the job did to be known to the host that refused it.
func login(f pushdoctor.Finding, facts pushdoctor.Facts) string {
	host := canonicalHost(f.Host)
	if host == "" && f.Registry == pushdoctor.RegistryDockerHub {
		host = "docker.io"
	}
	if len(facts.Logins) == 0 && facts.Whole {
		return "none"
	}
	if host == "" || host == "***" {
		return "unknown"
	}
	state, hidden := "unknown", false
	for _, l := range facts.Logins {
		switch at := canonicalHost(l.Host); {
		case at == host && l.OK:
			return "ok"
		case at == host:
			state = "refused"
		case at == "" || at == "***":
			hidden = true
		case l.OK && state == "unknown":
			state = "other_host"
		}
	}
	switch {
	case hidden && state == "other_host":
		return "unknown" // the masked login may have been at this host
	case !hidden && state == "unknown" && facts.Whole:
		return "none" // one that was refused elsewhere is none
	}
	return state
}

// goodLogin returns the one host at which the job logged in, "" where there are several or none.
func goodLogin(logins []pushdoctor.Login) string {
	var hosts []string
	for _, l := range logins {
		if h := canonicalHost(l.Host); l.OK && h != "" && h != "***" && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) != 1 {
		return ""
	}
	return hosts[0]
}

func owner(n name, jobOwner string) string {
	if jobOwner == "" || n.owner() == "" {
		return "unknown"
	}
	if strings.EqualFold(n.owner(), jobOwner) {
		return "own"
	}
	return "foreign"
}

func hostWord(n name) string {
	switch {
	case n.path == "":
		return "unknown"
	case n.host == "":
		return "absent"
	}
	return "named"
}

func pushed(host string, images []string) string {
	for _, image := range images {
		if h, _ := splitHost(image); canonicalHost(h) == canonicalHost(host) {
			return "some"
		}
	}
	return "none"
}

var (
	// With two braces it is an expression of docker/metadata-action, and stays.
	slot = regexp.MustCompile(`\{\{?[a-z_]+\}`)

	// What may stand in a text: the characters of hosts, paths and tags, and nothing that a
	// shell, YAML, Markdown or the runner reads.
	safeHost = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?$`)
	safePath = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]|/[A-Za-z0-9]){0,254}$`)
	safeTag  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

	regionInHost = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr\.([a-z0-9-]{1,30})\.amazonaws\.com(?:\.cn)?$`)
)

// fallbacks are the {names} that a text may hold, and what stands there where the log does not tell.
var fallbacks = map[string]string{
	"host":                      "HOST",
	"image":                     "HOST/OWNER/NAME:TAG",
	"corrected_image":           "HOST/OWNER/NAME:TAG",
	"owner":                     "OWNER",
	"name":                      "NAME",
	"tag":                       "TAG",
	"repository":                "OWNER/NAME",
	"job_owner":                 "OWNER",
	"job_repository":            "OWNER/REPOSITORY",
	"login_host":                "HOST",
	"docker":                    "docker",
	"account":                   "ACCOUNT",
	"region":                    "REGION",
	"package_settings_url":      "https://github.com/orgs/OWNER/packages/container/NAME/settings",
	"user_package_settings_url": "https://github.com/users/OWNER/packages/container/NAME/settings",
	"permissions":               "permissions:\n  contents: read\n  packages: write",
}

// names are the finding's own names that are safe to print.
func names(f pushdoctor.Finding, facts pushdoctor.Facts, n name, loginHost string) map[string]string {
	out := map[string]string{"permissions": permissions(facts.Token)}
	if f.Client == pushdoctor.ClientPodman {
		out["docker"] = "podman"
	}
	put := func(key, value string, safe *regexp.Regexp) bool {
		if !safe.MatchString(value) {
			return false
		}
		out[key] = value
		return true
	}
	host := canonicalHost(n.host)
	if host == "" {
		host = canonicalHost(f.Host)
	}
	put("host", host, safeHost)
	put("login_host", loginHost, safeHost)
	put("tag", n.tag, safeTag)
	put("repository", n.path, safePath)
	if o, rest, ok := strings.Cut(n.path, "/"); ok && put("owner", o, safePath) && put("name", rest, safePath) {
		// GitHub's address of a package escapes the slashes of its name.
		escaped := strings.ReplaceAll(rest, "/", "%2F")
		out["package_settings_url"] = "https://github.com/orgs/" + o + "/packages/container/" + escaped + "/settings"
		out["user_package_settings_url"] = "https://github.com/users/" + o + "/packages/container/" + escaped + "/settings"
	}
	if !strings.Contains(n.path, "/") {
		put("name", n.path, safePath)
	}
	if safeHost.MatchString(n.host) && safePath.MatchString(n.path) {
		switch {
		case safeTag.MatchString(n.tag):
			out["image"] = n.host + "/" + n.path + ":" + n.tag
		case n.tag == "":
			out["image"] = n.host + "/" + n.path
		}
	} else if n.host == "" && safePath.MatchString(n.path) && safeTag.MatchString(n.tag) {
		out["image"] = n.path + ":" + n.tag
	}
	if n.corrected != "" {
		out["corrected_image"] = n.corrected
	}
	if jobOwner, _, ok := strings.Cut(facts.Repository, "/"); ok && safePath.MatchString(facts.Repository) {
		out["job_repository"] = facts.Repository
		out["job_owner"] = jobOwner
	}
	if m := regionInHost.FindStringSubmatch(host); m != nil {
		out["account"], out["region"] = m[1], m[2]
	}
	return out
}

// fill puts the situation's names into text. What a name holds is not read again.
func (s *situation) fill(text string) string {
	return slot.ReplaceAllStringFunc(text, func(p string) string {
		key := strings.Trim(p, "{}")
		if strings.HasPrefix(p, "{{") {
			return p
		}
		if v, ok := s.names[key]; ok {
			return v
		}
		return fallbacks[key]
	})
}

// scopes are the keys that a workflow's permissions may hold. The token's table has rows
// beyond them (Metadata), and one of those makes the workflow file invalid.
var scopes = []string{
	"actions", "artifact-metadata", "attestations", "checks", "contents", "deployments", "discussions", "id-token",
	"issues", "models", "pages", "pull-requests", "repository-projects", "security-events", "statuses",
}

// permissions returns the job's block with packages: write. Naming one scope sets all
// unnamed ones to none, so those that the job's table shows are repeated.
func permissions(token map[string]string) string {
	if token == nil {
		return fallbacks["permissions"]
	}
	rows := []string{"permissions:"}
	for _, scope := range scopes {
		if v := token[scope]; v == "read" || v == "write" {
			rows = append(rows, "  "+scope+": "+v)
		}
	}
	rows = append(rows, "  packages: write")
	return strings.Join(rows, "\n")
}
