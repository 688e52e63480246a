package fakegithub

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An App is a GitHub App as the Server knows it: by its id and the public half of its key.
type App struct {
	ID  int64
	Key *rsa.PublicKey
}

// An Installation is the App's on the repositories of one owner.
type Installation struct {
	ID           int64  // given by the World
	Account      string // the owner
	Repositories []string
	All          bool      // all of the owner's, those of the future too; Repositories are not asked
	SuspendedAt  time.Time // zero: it is not
	Limit        int       // requests an hour; 0: 5,000
}

type installation struct{ Installation }

// Install adds an installation of the App, and returns its id.
func (w *World) Install(i Installation) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last.installation += 7
	i.ID = w.last.installation
	w.installations = append(w.installations, &installation{i})
	return i.ID
}

// ChangeInstallation calls change with the installation of that id, which must be there.
func (w *World) ChangeInstallation(id int64, change func(*Installation)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.installation(id)
	if i == nil {
		panic(fmt.Sprintf("fakegithub: no installation %d", id))
	}
	change(&i.Installation)
	i.ID = id
}

// Uninstall takes an installation away. Its tokens are refused from now on.
func (w *World) Uninstall(id int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.installations = slices.DeleteFunc(w.installations, func(i *installation) bool { return i.ID == id })
}

func (w *World) installation(id int64) *installation {
	at := slices.IndexFunc(w.installations, func(i *installation) bool { return i.ID == id })
	if at < 0 {
		return nil
	}
	return w.installations[at]
}

// sees reports whether the repository is one of the installation's. One that was transferred is that of its new owner's.
func (w *World) sees(i *installation, repo *repository) bool {
	if !strings.EqualFold(owner(repo.Name), i.Account) {
		return false
	}
	return i.All || slices.ContainsFunc(i.Repositories, func(name string) bool {
		found, _ := w.find(name)
		return found == repo
	})
}

func owner(name string) string {
	login, _, _ := strings.Cut(name, "/")
	return login
}

// A grant is a token of an installation.
type grant struct {
	installation int64
	until        time.Time
}

// grantLife is how long a token of an installation is good, however many are made after it:
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app
const grantLife = time.Hour

// A caller is who made a request.
type caller struct {
	*credential
	token string
	app   bool          // by a token that the App signed itself
	via   *installation // whose token it is; nil: no installation's
	wrong *answer       // why it is not taken; nil: it is
}

// caller says who made the request. s.mu is held, and s.world.mu for reading.
func (s *Server) caller(r *http.Request) caller {
	token := bearer(r)
	grant, granted := s.grants[token]
	switch {
	case token != "" && (token == s.token || slices.Contains(s.o.Tokens, token)):
		return caller{credential: s.credential(token), token: token}
	case granted:
		c := s.credential(fmt.Sprintf("installation %d", grant.installation))
		by := caller{credential: c, token: token}
		switch i := s.world.installation(grant.installation); {
		case i == nil || !s.o.Now().Before(grant.until):
			by.wrong = refused(http.StatusUnauthorized, "Bad credentials", "")
		case !i.SuspendedAt.IsZero():
			by.wrong = refused(http.StatusForbidden, "This installation has been suspended", "")
		default:
			by.via = i
			if s.o.PrimaryLimit >= 0 {
				c.limit = cmp.Or(i.Limit, 5000)
			}
		}
		return by
	case s.o.App.Key != nil && strings.Count(token, ".") == 2:
		c := s.credential("app")
		return caller{credential: c, token: token, app: true, wrong: s.signed(token)}
	case s.token == "" && s.o.Tokens == nil && s.o.App.Key == nil:
		return caller{credential: s.credential(token), token: token}
	case token == "":
		return caller{credential: s.credential(""), wrong: refused(http.StatusUnauthorized, "Requires authentication", "")}
	}
	return caller{credential: s.credential(""), token: token, wrong: refused(http.StatusUnauthorized, "Bad credentials", "")}
}

// maxSigned is how long a token that the App signs itself may be good. GitHub takes none that was issued in its future, by however little:
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
const maxSigned = 10 * time.Minute

// signed returns why GitHub does not take a token that the App signed itself, in GitHub's words; nil if it does.
func (s *Server) signed(token string) *answer {
	no := func(message string) *answer { return refused(http.StatusUnauthorized, message, "") }
	head, rest, _ := strings.Cut(token, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	var header struct {
		Algorithm string `json:"alg"`
	}
	var said struct {
		Issuer   any          `json:"iss"`
		IssuedAt *json.Number `json:"iat"`
		Expires  *json.Number `json:"exp"`
	}
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || part(head, &header) != nil || part(claims, &said) != nil || header.Algorithm != "RS256" {
		return no("A JSON web token could not be decoded")
	}
	sum := sha256.Sum256([]byte(head + "." + claims))
	if rsa.VerifyPKCS1v15(s.o.App.Key, crypto.SHA256, sum[:], mac) != nil {
		return no("A JSON web token could not be decoded")
	}
	seconds := func(n *json.Number) (time.Time, bool) {
		if n == nil {
			return time.Time{}, false
		}
		i, err := n.Int64()
		return time.Unix(i, 0), err == nil
	}
	now := s.o.Now()
	issued, hasIssued := seconds(said.IssuedAt)
	expires, hasExpires := seconds(said.Expires)
	switch {
	case said.Issuer == nil:
		return no("Missing 'issuer' claim ('iss') in assertion")
	case fmt.Sprint(said.Issuer) != strconv.FormatInt(s.o.App.ID, 10):
		return refused(http.StatusNotFound, "Integration not found", "")
	case !hasExpires || !expires.After(now):
		return no("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case expires.After(now.Add(maxSigned)):
		return no("'Expiration time' claim ('exp') is too far in the future")
	case !hasIssued || issued.After(now):
		return no("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	return nil
}

// part decodes one part of a token into a pointer.
func part(encoded string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	return d.Decode(into)
}

// forApp answers what the App itself asks.
func forApp(next func(*request) *answer) route {
	return func(r *request, _ *repository) *answer {
		if !r.by.app {
			return refused(http.StatusUnauthorized, "A JSON web token could not be decoded", "")
		}
		return next(r)
	}
}

func (s *Server) listInstallations(r *request) *answer {
	some, header := page(s, r, s.world.installations, s.installationJSON)
	return &answer{code: http.StatusOK, header: header, value: some}
}

var permissions = map[string]string{"actions": "read", "metadata": "read"}

func (s *Server) installationJSON(i *installation) map[string]any {
	value := map[string]any{
		"id": i.ID, "app_id": s.o.App.ID, "target_type": s.world.kind(i.Account), "account": s.account(i.Account),
		"repository_selection": selection(i), "permissions": permissions, "events": []string{"workflow_job", "workflow_run"},
		"access_tokens_url": fmt.Sprintf("%s/app/installations/%d/access_tokens", s.urls[0], i.ID), "suspended_at": nil,
	}
	if !i.SuspendedAt.IsZero() {
		value["suspended_at"] = i.SuspendedAt.UTC().Truncate(time.Second)
	}
	return value
}

func selection(i *installation) string {
	if i.All {
		return "all"
	}
	return "selected"
}

func (s *Server) createToken(r *request) *answer {
	id, _ := strconv.ParseInt(r.PathValue("installation"), 10, 64)
	i := s.world.installation(id)
	switch {
	case i == nil:
		return notFound()
	case !i.SuspendedAt.IsZero():
		return refused(http.StatusForbidden, "This installation has been suspended", "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "grant %d of %d", len(s.grants), id))
	token := "ghs_" + hex.EncodeToString(sum[:])[:36]
	until := s.o.Now().UTC().Truncate(time.Second).Add(grantLife)
	s.grants[token] = grant{id, until}
	return &answer{code: http.StatusCreated, value: map[string]any{
		"token": token, "expires_at": until, "permissions": permissions, "repository_selection": selection(i),
	}}
}

func (s *Server) listInstalled(r *request, _ *repository) *answer {
	i := r.by.via
	if i == nil {
		return refused(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.", "")
	}
	var all []*repository
	for _, repo := range s.world.repositories {
		if s.visible(r, repo) {
			all = append(all, repo)
		}
	}
	some, header := page(s, r, all, s.repositoryJSON)
	return &answer{code: http.StatusOK, header: header, value: map[string]any{"total_count": len(all), "repository_selection": selection(i), "repositories": some}}
}
