package classifier

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/akkospace/pushdoctor"
)

// decide lets the job's facts make a better cause of a finding's, by the second table of the rules.
func (s *state) decide(f *failure, out *pushdoctor.Finding, facts pushdoctor.Facts) {
	for _, fr := range s.rules.facts {
		if !slices.Contains(fr.from, out.Cause) {
			continue
		}
		if !fr.when.holds(func(w string) string {
			switch {
			case w == "shown":
				return strconv.FormatBool(f.shown)
			case w == "identity" && s.secretLogin[f.host]:
				return "other"
			case slices.Contains(factWords, w):
				return factWord(w, f.host, f.image, f.facts)
			}
			return s.word(&f.answer, w)
		}) {
			s.tracef(f.line, "facts %s: does not hold: %s", fr.id, fr.when)
			continue
		}
		s.tracef(f.line, "facts %s: %s becomes %s, confidence %.2f: %s", fr.id, out.Cause, fr.cause, fr.confidence, strings.TrimSpace(fr.why))
		out.Cause, out.Confidence, out.Rule = fr.cause, fr.confidence, fr.id
		switch fr.evidence {
		case pushdoctor.EvidenceToken:
			if facts.TokenLine.Text != "" {
				out.Evidence = append(out.Evidence, facts.TokenLine)
			}
		case pushdoctor.EvidenceLogin:
			if ev, ok := s.loginEvidence(f); ok {
				out.Evidence = append(out.Evidence, ev)
			}
		}
		return
	}
}

// loginEvidence is the line of a login that was made to another host, or refused at this one. A login that
// is missing has no line.
func (s *state) loginEvidence(f *failure) (pushdoctor.Evidence, bool) {
	for _, l := range slices.Backward(f.facts.Logins) {
		if text, ok := s.logins[l.Line]; ok && (!l.OK || !sameHost(l.Host, f.host)) {
			return pushdoctor.Evidence{Kind: pushdoctor.EvidenceLogin, Line: l.Line, Text: excerpt(text, "")}, true
		}
	}
	return pushdoctor.Evidence{}, false
}

var factWords = []string{"token.packages", "secret_source", "login", "identity", "owner"}

// secretVariable matches a shell's variable that holds a password of the user's own making.
var secretVariable = regexp.MustCompile(`\$\{?([A-Z][A-Z0-9_]*(?:PAT|TOKEN|PASS|PASSWORD|SECRET|KEY)[A-Z0-9_]*)`)

// scriptLogin notes that a script logs in with another secret than the job's token.
func (s *state) scriptLogin(text, host string) {
	for _, m := range secretVariable.FindAllStringSubmatch(text, 4) {
		if !slices.Contains([]string{"GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_TOKEN", "INPUT_GITHUB_TOKEN"}, m[1]) && len(s.secretLogin) < maxLogins {
			if s.secretLogin == nil {
				s.secretLogin = map[string]bool{}
			}
			s.secretLogin[host] = true
		}
	}
}

const maxLogins = 100

// factWord is the value of a condition's word about the job.
func factWord(word, host, image string, facts pushdoctor.Facts) string {
	switch word {
	case "token.packages":
		if facts.Token == nil {
			return "unknown"
		}
		return orElse(facts.Token["packages"], "none")
	case "secret_source":
		return orElse(facts.SecretSource, "unknown")
	case "login":
		return loginState(host, facts)
	case "identity":
		// A masked user name is a secret of the repository: the login is not the job token's own.
		for _, l := range facts.Logins {
			if sameHost(l.Host, host) && strings.Contains(l.User, "***") {
				return "other"
			}
		}
		return "job"
	case "owner":
		owner, _, _ := strings.Cut(facts.Repository, "/")
		_, rest, ok := strings.Cut(lower(image), "/")
		theirs, _, slash := strings.Cut(rest, "/")
		switch {
		case owner == "" || !ok || !slash || masked(image):
			return "unknown"
		case lower(owner) == theirs:
			return "own"
		}
		return "foreign"
	}
	return "unknown"
}

// loginState says what the log shows of a login to a host.
func loginState(host string, facts pushdoctor.Facts) string {
	if host == "" || masked(host) {
		return "unknown"
	}
	refused, other, hidden := false, false, false
	for _, l := range facts.Logins {
		switch {
		case sameHost(l.Host, host) && l.OK:
			return "ok"
		case sameHost(l.Host, host):
			refused = true
		case l.Host == "" || masked(l.Host):
			hidden = true
		default:
			other = other || l.OK
		}
	}
	switch {
	case refused:
		return "refused"
	case hidden || !facts.Whole:
		return "unknown"
	case other:
		return "other_host"
	}
	return "none"
}

func sameHost(a, b string) bool {
	return a == b || registryOf(a) == pushdoctor.RegistryDockerHub && registryOf(b) == pushdoctor.RegistryDockerHub
}
