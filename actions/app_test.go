package actions_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/akkospace/pushdoctor/actions"
)

const appID = 4711

// appKey is made anew in each run: no key stands in the repository.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func appPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())})
}

// hub is GitHub for an App: it checks each signature by its own clock, and gives tokens that last an hour.
type hub struct {
	prefix        string        // "/api/v3" at an own server
	ahead         time.Duration // its clock
	installations int
	repositories  int

	mu        sync.Mutex // guards all below
	asked     []string   // endpoints, with the codes of the answers
	suspended bool
	removed   bool
	dated     time.Duration        // by how much the Date header is wrong
	tokens    map[string]time.Time // and their ends
	given     int
	left      []time.Duration // of the tokens that were sent, when they were sent
	slow      time.Duration   // to give a token
}

func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, h.prefix)
	if !ok {
		http.NotFound(w, r)
		return
	}
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body) // before any refusal, as a transport sends it
	}
	if strings.HasSuffix(path, "/access_tokens") {
		time.Sleep(h.slow)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now().Add(h.ahead)
	code, body := h.answer(r, path, sent, now)
	h.asked = append(h.asked, fmt.Sprintf("%s %s %d", r.Method, path, code))
	w.Header().Set("Date", now.Add(h.dated).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if some, ok := body.([]map[string]any); ok {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		size, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
		page = max(page, 1)
		if page*size < len(some) {
			w.Header().Set("Link", fmt.Sprintf(`<https://api.github.test%s?page=%d&per_page=%d>; rel="next"`, r.URL.Path, page+1, size))
		}
		total := len(some)
		some = some[min((page-1)*size, total):min(page*size, total)]
		body = some
		if path == "/installation/repositories" {
			body = map[string]any{"total_count": total, "repositories": some}
		}
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (h *hub) answer(r *http.Request, path string, sent []byte, now time.Time) (int, any) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if strings.HasPrefix(path, "/app/") {
		if err := verify(bearer, now); err != nil {
			return 401, map[string]string{"message": err.Error()}
		}
		switch {
		case path == "/app/installations" && r.Method == http.MethodGet:
			var some []map[string]any
			for i := range h.installations {
				one := map[string]any{"id": i + 1, "account": map[string]any{"login": fmt.Sprintf("octo-%d", i+1)}, "suspended_at": nil}
				if i == 1 {
					one["suspended_at"] = "2026-03-01T10:00:00Z"
				}
				some = append(some, one)
			}
			return 200, some
		case r.Method != http.MethodPost || !strings.HasSuffix(path, "/access_tokens"):
			return 404, map[string]string{"message": "Not Found"}
		case h.removed:
			return 404, map[string]string{"message": "Not Found"}
		case h.suspended:
			return 403, map[string]string{"message": "This installation has been suspended"}
		}
		var options map[string]any
		if err := json.Unmarshal(sent, &options); err != nil {
			return 400, map[string]string{"message": "Problems parsing JSON"}
		}
		h.given++
		secret := fmt.Sprintf("ghs_%d", h.given)
		h.tokens[secret] = now.Truncate(time.Second).Add(time.Hour)
		return 201, map[string]any{"token": secret, "expires_at": h.tokens[secret].UTC().Format(time.RFC3339)}
	}
	end, ok := h.tokens[bearer]
	if !ok || !now.Before(end) {
		return 401, map[string]string{"message": "Bad credentials"}
	}
	h.left = append(h.left, end.Sub(now))
	if path == "/installation/repositories" {
		var some []map[string]any
		for i := range h.repositories {
			some = append(some, map[string]any{"id": i + 1, "full_name": fmt.Sprintf("octo-1/r%d", i+1), "archived": i == 1, "disabled": i == 2})
		}
		return 200, some
	}
	return 200, map[string]any{"id": 1, "full_name": "octo-lab/api"}
}

// verify checks a JWT as GitHub does.
func verify(jwt string, now time.Time) error {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return errors.New("A JSON web token could not be decoded")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&appKey().PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return errors.New("A JSON web token could not be decoded")
	}
	var head struct{ Alg string }
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	for i, into := range []any{&head, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err := errors.Join(err, json.Unmarshal(data, into)); err != nil {
			return err
		}
	}
	switch {
	case head.Alg != "RS256" || claims.Iss != strconv.Itoa(appID):
		return fmt.Errorf("alg %s, iss %s", head.Alg, claims.Iss)
	case claims.Iat > now.Unix():
		return errors.New("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	case claims.Exp <= now.Unix():
		return errors.New("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case claims.Exp > now.Unix()+600 || claims.Exp > claims.Iat+600:
		return errors.New("'Expiration time' claim ('exp') is too far in the future")
	}
	return nil
}

func (h *hub) app(t *testing.T, o actions.Options) *actions.App {
	t.Helper()
	h.tokens = map[string]time.Time{}
	o.URL = "https://api.github.test" + h.prefix
	if o.Transport == nil {
		o.Transport = h
	}
	a, err := actions.NewApp(o, appID, appPEM())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (h *hub) client(t *testing.T) *actions.Client {
	t.Helper()
	c, err := h.app(t, actions.Options{}).Client(actions.Installation{ID: 1, Account: "octo-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// count returns how often the endpoint was asked and answered so.
func (h *hub) count(line string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, asked := range h.asked {
		if asked == line {
			n++
		}
	}
	return n
}

const getToken = "POST /app/installations/1/access_tokens "

// Only the first hundred are read, an own server is asked at the wrong address, or requests pass by the gate.
func TestApp(t *testing.T) {
	for _, prefix := range []string{"", "/api/v3"} {
		h := &hub{prefix: prefix, installations: 230, repositories: 150}
		var mu sync.Mutex
		seen := map[string]int{}
		// Over TCP and TLS, with an authority of its own, as at an own server.
		server := httptest.NewTLSServer(h)
		defer server.Close()
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		}
		transport.TLSClientConfig.ServerName = "example.com" // of the test's certificate
		a := h.app(t, actions.Options{Transport: transport, Observe: func(e actions.Exchange) {
			mu.Lock()
			defer mu.Unlock()
			seen[e.Credential+" "+e.Endpoint]++
		}})
		installations, err := a.Installations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range installations {
			if want := (actions.Installation{ID: int64(i + 1), Account: fmt.Sprintf("octo-%d", i+1), Suspended: i == 1}); got != want {
				t.Errorf("installation is %+v, want %+v", got, want)
			}
		}
		c, err := a.Client(installations[0])
		if err != nil {
			t.Fatal(err)
		}
		repositories, err := c.Accessible(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range repositories {
			if want := (actions.RepositoryInfo{ID: int64(i + 1), Name: fmt.Sprintf("octo-1/r%d", i+1), Archived: i == 1, Disabled: i == 2}); got != want {
				t.Errorf("repository is %+v, want %+v", got, want)
			}
		}
		if len(installations) != 230 || len(repositories) != 150 {
			t.Errorf("%d installations and %d repositories, want 230 and 150", len(installations), len(repositories))
		}
		ask(t, c)
		if diff := cmp.Diff(map[string]int{
			"app installations": 3, "app installation_token": 1, "app/octo-1 installation_repositories": 2, "app/octo-1 repository": 1,
		}, seen); diff != "" {
			t.Errorf("exchanges (-want +got)\n%s", diff)
		}
	}
}

// A key that cannot be used is told at start, in words that say what to do and quote nothing of it.
func TestAppKey(t *testing.T) {
	public, err := x509.MarshalPKIXPublicKey(&appKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := string(appPEM())
	for name, key := range map[string]string{
		"empty": "", "no PEM": "c2VjcmV0c2VjcmV0", "cut": good[:len(good)/2], "a public key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"damaged": strings.Replace(good, "\nMII", "\nAAA", 1), "no key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("secretsecret")})),
	} {
		_, err := actions.NewApp(actions.Options{}, appID, []byte(key))
		const want = "private key of the App: want the PEM file that GitHub made, which begins with -----BEGIN RSA PRIVATE KEY-----"
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := actions.NewApp(actions.Options{}, 0, appPEM()); err == nil {
		t.Error("an App without an id was taken")
	}
	a, err := actions.NewApp(actions.Options{}, appID, appPEM())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Client(actions.Installation{Account: "octo-1"}); err == nil {
		t.Error("an installation without an id was taken")
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(appKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := actions.NewApp(actions.Options{}, appID, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})); err != nil {
		t.Errorf("a key as PKCS #8: %v", err)
	}
}

// A token is used to its last minute or beyond, is renewed by each of many requests, or long before it has to be.
func TestInstallationTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{slow: 2 * time.Second}
		c := h.client(t)
		for range 12 * 60 { // half a day
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() { ask(t, c) })
			}
			wg.Wait()
			time.Sleep(time.Minute)
		}
		if n := h.count("GET /repos/octo-lab/api 401"); n != 0 {
			t.Errorf("%d requests were refused", n)
		}
		if least := slices.Min(h.left); least < time.Minute {
			t.Errorf("a request went out with a token that was good for %v", least)
		}
		if h.given < 12 || h.given > 14 {
			t.Errorf("%d tokens in half a day", h.given)
		}
	})
}

// After an idle hour the token is over: each of the requests that come at once gets one for itself, or goes out with the old one; or
// a caller that gives up takes the others with it.
func TestInstallationTokenAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{slow: 5 * time.Second}
		c := h.client(t)
		ask(t, c)
		for _, pause := range []time.Duration{59*time.Minute + time.Second, 3 * time.Hour} {
			time.Sleep(pause)
			var wg sync.WaitGroup
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := c.Repository(ctx, "octo-lab/api"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a caller who gave up got %v", err)
				}
			})
			synctest.Wait() // it is at it
			for range 20 {
				wg.Go(func() { ask(t, c) })
			}
			wg.Wait()
		}
		if n := h.count("GET /repos/octo-lab/api 401"); n != 0 || slices.Min(h.left) < time.Minute {
			t.Errorf("%d requests were refused, one token was good for %v", n, slices.Min(h.left))
		}
		if h.given != 5 { // each of those who gave up had one made as well
			t.Errorf("%d tokens, want 5", h.given)
		}
	})
}

// An early renewal that fails must not stop the requests while the token is good, nor be tried by each of them.
func TestInstallationTokenRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		c := h.client(t)
		ask(t, c)
		time.Sleep(56 * time.Minute)
		h.mu.Lock()
		h.suspended = true
		h.mu.Unlock()
		for range 60 {
			ask(t, c)
			time.Sleep(time.Second)
		}
		if n := h.count(getToken + "403"); n < 3 || n > 5 {
			t.Errorf("%d tries in a minute", n)
		}
		h.mu.Lock()
		h.suspended = false
		h.mu.Unlock()
		time.Sleep(10 * time.Minute)
		ask(t, c)
	})
}

// An installation that is suspended, or removed, must be told as that, not as a repository that is gone; and must not be asked for by
// each repository of the owner.
func TestSuspended(t *testing.T) {
	for _, test := range []struct {
		set  func(*hub)
		code string
		want []error
		text string
	}{
		{func(h *hub) { h.suspended = true }, "403", []error{actions.ErrSuspended, actions.ErrForbidden},
			"token of installation 1 of App 4711: token may not read this: the installation of the App is suspended: status 403: This installation has been suspended"},
		{func(h *hub) { h.removed = true }, "404", []error{actions.ErrUnauthorized},
			"token of installation 1 of App 4711: token refused: the App is no longer installed there: not found, or not visible to this token: status 404: Not Found"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{}
			c := h.client(t)
			test.set(h)
			for range 10 {
				_, err := c.Repository(t.Context(), "octo-lab/api")
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("%v is not %v", err, want)
					}
				}
				if errors.Is(err, actions.ErrNotFound) || err.Error() != "repository octo-lab/api: "+test.text {
					t.Errorf("the error is %v, want %s", err, test.text)
				}
			}
			if n := h.count(getToken + test.code); n != 1 {
				t.Errorf("%d tries for ten repositories", n)
			}
			h.mu.Lock()
			h.suspended, h.removed = false, false
			h.mu.Unlock()
			time.Sleep(time.Minute)
			ask(t, c)
		})
	}
}

// A token that was revoked is replaced at once and the request made again; where the next one is refused too, it is not
// renewed again and again.
func TestInstallationTokenRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		c := h.client(t)
		ask(t, c)
		time.Sleep(20 * time.Minute)
		h.mu.Lock()
		clear(h.tokens)
		h.mu.Unlock()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { ask(t, c) })
		}
		wg.Wait()
		if h.given != 2 {
			t.Errorf("%d tokens for eight requests that were refused at once, want 2", h.given)
		}
		h.mu.Lock()
		clear(h.tokens)
		h.mu.Unlock()
		for range 5 {
			if _, err := c.Repository(t.Context(), "octo-lab/api"); !errors.Is(err, actions.ErrUnauthorized) {
				t.Errorf("right after: %v", err)
			}
		}
		if h.given != 2 {
			t.Errorf("%d tokens, want none so soon after the last", h.given)
		}
		time.Sleep(time.Minute)
		ask(t, c)
	})
}

// GitHub refuses a signature whose times are not its own. Our clock may be wrong by hours: the refusal tells the right time. Where that
// does not help, the error says what is wrong.
func TestAppWithAWrongClock(t *testing.T) {
	for _, test := range []struct {
		ahead, dated time.Duration
		refused      int
		want         string
	}{
		{50 * time.Second, 0, 0, ""},
		{2 * time.Hour, 0, 1, ""},
		{-2 * time.Hour, 0, 1, ""},
		{-30 * time.Minute, -3 * time.Hour, 2, "our clock is 3h30m0s ahead of GitHub's: set it right"},
		{30 * time.Minute, 3 * time.Hour, 2, "our clock is 3h30m0s behind GitHub's: set it right"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{ahead: test.ahead, dated: test.dated, installations: 1}
			a := h.app(t, actions.Options{})
			_, err := a.Installations(t.Context())
			if n := h.count("GET /app/installations 401"); n != test.refused {
				t.Errorf("clock %v: refused %d times, want %d", test.ahead, n, test.refused)
			}
			if test.want != "" {
				if !errors.Is(err, actions.ErrUnauthorized) || !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("clock %v: %v, want %s", test.ahead, err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c := h.client(t) // of an App that has not asked for anything yet
			for range 150 {  // tokens too end by GitHub's clock
				ask(t, c)
				time.Sleep(time.Minute)
			}
			if n := h.count("GET /repos/octo-lab/api 401"); n != 0 || h.given < 3 || h.given > 4 || slices.Min(h.left) < time.Minute {
				t.Errorf("clock %v: %d refused, %d tokens, one good for %v", test.ahead, n, h.given, slices.Min(h.left))
			}
		})
	}
}

// A key that belongs to another App is told as that, and not tried again.
func TestAppRefused(t *testing.T) {
	h := &hub{}
	var asked int
	o := actions.Options{URL: "https://api.github.test", Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		asked++
		return h.RoundTrip(r)
	})}
	a, err := actions.NewApp(o, appID+1, appPEM())
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Installations(t.Context())
	const want = "installations of App 4712: token refused: status 401: alg RS256, iss 4712"
	if !errors.Is(err, actions.ErrUnauthorized) || err.Error() != want || asked != 1 {
		t.Errorf("%v after %d requests, want %s", err, asked, want)
	}
}
