package fakegithub_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/internal/fakegithub"
)

const appID = 4711

// appKey is the App's key: to make one takes a while.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// sign makes a token of claims as the App does it.
func sign(t testing.TB, key *rsa.PrivateKey, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	mac, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(mac)
}

const rs256 = `{"alg":"RS256","typ":"JWT"}`

// asApp is the header of a request of the App's own, made now.
func asApp(t testing.TB) string {
	now := time.Now().Unix()
	return "Bearer " + sign(t, appKey(), rs256, fmt.Sprintf(`{"iss":"%d","iat":%d,"exp":%d}`, appID, now-60, now+540))
}

func inApp(t *testing.T, o fakegithub.Options, test func(caller, *fakegithub.World, *fakegithub.Server)) {
	t.Helper()
	key := appKey()
	o.App = fakegithub.App{ID: appID, Key: &key.PublicKey}
	inBubble(t, o, test)
}

// A token that GitHub would refuse, for its times above all, must be refused in its words.
func TestSigned(t *testing.T) {
	inApp(t, fakegithub.Options{}, func(c caller, _ *fakegithub.World, s *fakegithub.Server) {
		now := time.Now().Unix()
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		claims := func(iat, exp int64) string {
			return fmt.Sprintf(`{"iss":%d,"iat":%d,"exp":%d}`, appID, now+iat, now+exp)
		}
		for _, test := range []struct{ name, token, want string }{
			{"good", sign(t, appKey(), rs256, claims(-60, 600)), "200 "},
			{"too long", sign(t, appKey(), rs256, claims(-60, 601)), "401 'Expiration time' claim ('exp') is too far in the future"},
			{"over", sign(t, appKey(), rs256, claims(-60, 0)), "401 'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"},
			{"early", sign(t, appKey(), rs256, claims(1, 60)), "401 'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"},
			{"no issuer", sign(t, appKey(), rs256, fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, now+60)), "401 Missing 'issuer' claim ('iss') in assertion"},
			{"another App", sign(t, appKey(), rs256, fmt.Sprintf(`{"iss":"1","iat":%d,"exp":%d}`, now, now+60)), "404 Integration not found"},
			{"another key", sign(t, other, rs256, claims(-60, 60)), "401 A JSON web token could not be decoded"},
			{"another method", sign(t, appKey(), `{"alg":"none"}`, claims(-60, 60)), "401 A JSON web token could not be decoded"},
			{"no token of the App's", "ghp_x", "401 Bad credentials"},
		} {
			resp, body := c.get(s.URL()+"/app/installations", "Authorization", "Bearer "+test.token)
			var said struct{ Message string }
			_ = json.Unmarshal([]byte(body), &said) // a list has no message
			if got := fmt.Sprint(resp.StatusCode, " ", said.Message); got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
		}
		if resp, _ := c.get(s.URL()+"/repos/octo-lab/api", "Authorization", asApp(t)); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a repository is told to the App itself: status %d", resp.StatusCode)
		}
	})
}

// grant asks for a token of an installation.
func (c caller) grant(s *fakegithub.Server, id int64) (header string, until time.Time, code int) {
	c.Helper()
	resp, body := c.do(http.MethodPost, fmt.Sprintf("%s/app/installations/%d/access_tokens", s.URL(), id), "Authorization", asApp(c))
	var token struct {
		Token string
		Until time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(body), &token); err != nil {
		c.Fatal(err)
	}
	if resp.StatusCode == http.StatusCreated && !strings.HasPrefix(token.Token, "ghs_") {
		c.Errorf("a token of an installation is %q", token.Token)
	}
	return "Bearer " + token.Token, token.Until, resp.StatusCode
}

// An installation's tokens are good for an hour each, see its repositories only, and share one limit; a client that mixes up two
// installations, goes on with a token that is over, or keeps ETags over a renewal must not look right here.
func TestInstallations(t *testing.T) {
	inApp(t, fakegithub.Options{Token: "ghp_plain"}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		w.AddRepository(fakegithub.Repository{Name: "octo-lab/web", Private: true})
		w.AddRepository(fakegithub.Repository{Name: "northwind-ci/site"})
		lab := w.Install(fakegithub.Installation{Account: "octo-lab", Repositories: []string{"octo-lab/api"}, Limit: 7})
		north := w.Install(fakegithub.Installation{Account: "northwind-ci", All: true})
		first, until, _ := c.grant(s, lab)
		if want := time.Now().Add(time.Hour); !until.Equal(want) {
			t.Errorf("a token is good until %v, want %v", until, want)
		}
		other, _, _ := c.grant(s, north)
		code := func(path, by string) int {
			resp, _ := c.get(s.URL()+path, "Authorization", by)
			return resp.StatusCode
		}
		repositories := func(by string) (names []string) {
			_, body := c.get(s.URL()+"/installation/repositories", "Authorization", by)
			var page struct {
				Repositories []struct {
					Name string `json:"full_name"`
				}
			}
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Repositories {
				names = append(names, r.Name)
			}
			return names
		}
		got := []any{
			code("/repos/octo-lab/api", first), code("/repos/octo-lab/web", first), code("/repos/octo-lab/api", other), code("/repos/octo-lab/web", "Bearer ghp_plain"),
			repositories(first), repositories(other), code("/installation/repositories", "Bearer ghp_plain"),
		}
		w.ChangeInstallation(lab, func(i *fakegithub.Installation) { i.Repositories = append(i.Repositories, "octo-lab/web") })
		w.Change("northwind-ci/site", func(r *fakegithub.Repository) { r.Name = "octo-lab/site" }) // transferred
		got = append(got, repositories(first), repositories(other))
		want := []any{200, 404, 404, 200, []string{"octo-lab/api"}, []string{"northwind-ci/site"}, 403, []string{"octo-lab/api", "octo-lab/web"}, []string(nil)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what they see (-want +got)\n%s", diff)
		}

		resp, _ := c.get(s.URL()+"/repos/octo-lab/api", "Authorization", first)
		etag := resp.Header.Get("ETag")
		if left := resp.Header.Get("X-RateLimit-Remaining") + "/" + resp.Header.Get("X-RateLimit-Limit"); left != "2/7" {
			t.Errorf("%s are left", left)
		}
		second, _, _ := c.grant(s, lab)
		if resp, _ := c.get(s.URL()+"/repos/octo-lab/api", "Authorization", second, "If-None-Match", etag); resp.StatusCode != 200 || resp.Header.Get("X-RateLimit-Remaining") != "1" {
			t.Errorf("a new token: status %d, %s are left", resp.StatusCode, resp.Header.Get("X-RateLimit-Remaining"))
		}
		time.Sleep(time.Hour)
		third, _, _ := c.grant(s, lab)
		if got := []int{code("/repos/octo-lab/api", first), code("/repos/octo-lab/api", third)}; !cmp.Equal(got, []int{401, 200}) {
			t.Errorf("an hour later: %v", got)
		}

		w.ChangeInstallation(lab, func(i *fakegithub.Installation) { i.SuspendedAt = time.Now() })
		_, _, refused := c.grant(s, lab)
		got = []any{refused, code("/repos/octo-lab/api", third)}
		w.Uninstall(lab)
		_, _, refused = c.grant(s, lab)
		got = append(got, refused, code("/repos/octo-lab/api", third))
		if diff := cmp.Diff([]any{403, 403, 404, 401}, got); diff != "" {
			t.Errorf("suspended, then uninstalled (-want +got)\n%s", diff)
		}
		if use := s.Stats().Credentials[fmt.Sprintf("installation %d", lab)]; use.Requests["repositories"] != 2 || use.Requests["repository"] < 7 {
			t.Errorf("uses of an installation: %+v", use)
		}
	})
}

// All installations must be found, the suspended ones too, on all pages.
func TestListInstallations(t *testing.T) {
	inApp(t, fakegithub.Options{}, func(c caller, w *fakegithub.World, s *fakegithub.Server) {
		w.AddUser("marlow")
		w.Install(fakegithub.Installation{Account: "octo-lab", All: true})
		w.Install(fakegithub.Installation{Account: "marlow", SuspendedAt: time.Now()})
		var got []string
		for page := range 2 {
			_, body := c.get(fmt.Sprintf("%s/app/installations?per_page=1&page=%d", s.URL(), page+1), "Authorization", asApp(t))
			var all []struct {
				Account     struct{ Login, Type string }
				SuspendedAt *time.Time `json:"suspended_at"`
			}
			if err := json.Unmarshal([]byte(body), &all); err != nil {
				t.Fatal(err)
			}
			for _, i := range all {
				got = append(got, fmt.Sprint(i.Account.Login, " ", i.Account.Type, " ", i.SuspendedAt != nil))
			}
		}
		if diff := cmp.Diff([]string{"octo-lab Organization false", "marlow User true"}, got); diff != "" {
			t.Errorf("installations (-want +got)\n%s", diff)
		}
	})
}
