package actions

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v60/github"
)

// An App reads as a GitHub App: it tells where the App is installed, and gives a Client for each installation. It is
// safe for concurrent use.
type App struct {
	client  *Client // its requests are signed with the App's key
	options Options
	id      int64
}

// NewApp returns the App with that id, by Options as for New; Token, Tokens, Credential, Page and PutPages are not used. key is the private key
// as GitHub hands it out, a PEM file. It sends nothing; an error means that Options or the key cannot be used, and
// quotes nothing of the key.
func NewApp(o Options, id int64, key []byte) (*App, error) {
	o.Token, o.Tokens, o.Credential = "", nil, "app"
	o.Page, o.PutPages = nil, nil // an installation's token is another one in an hour
	base, err := o.complete()
	if err != nil {
		return nil, err
	}
	if id <= 0 {
		return nil, errors.New("id of the App: want the number that its page at GitHub shows as App ID")
	}
	private, err := jwt.ParseRSAPrivateKeyFromPEM(key)
	if err != nil {
		return nil, errors.New("private key of the App: want the PEM file that GitHub made, which begins with -----BEGIN RSA PRIVATE KEY-----")
	}
	a := &App{client: newClient(o, base), options: o, id: id}
	// Beneath the gate: a request that had to wait, or is made again, is signed when it is sent.
	g := a.client.gate
	g.signed = true
	g.base, err = ghinstallation.NewAppsTransportWithOptions(o.Transport, id,
		ghinstallation.WithSigner(signer{ghinstallation.NewRSASigner(jwt.SigningMethodRS256, private), g}))
	return a, err
}

// A signer signs by GitHub's clock, as far as it is known: a signature from the future, or one that is over, is refused.
type signer struct {
	ghinstallation.Signer
	gate *gate
}

func (s signer) Sign(claims jwt.Claims) (string, error) {
	if c, ok := claims.(*jwt.RegisteredClaims); ok {
		now := s.gate.now().Add(s.gate.ahead())
		// A minute back, and ten minutes of life at most, says GitHub:
		// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
		c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(now.Add(-time.Minute)), jwt.NewNumericDate(now.Add(5*time.Minute))
	}
	return s.Signer.Sign(claims)
}

// explain is that of this package, and says too if our clock is why GitHub refuses the signature.
func (a *App) explain(err error) error {
	err = explain(err)
	if ahead := a.client.gate.ahead().Round(time.Second); errors.Is(err, ErrUnauthorized) && ahead.Abs() > time.Minute {
		way := "behind"
		if ahead < 0 {
			way = "ahead of"
		}
		return fmt.Errorf("%w; our clock is %v %s GitHub's: set it right", err, ahead.Abs(), way)
	}
	return err
}

// An Installation is an account that has installed the App.
type Installation struct {
	ID        int64
	Account   string // the login; "" for an enterprise
	Suspended bool   // by its owner: nothing can be read
}

// Installations returns where the App is installed: at most 20,000 installations, and an error with these if there are
// more. Its error is, among others, ErrUnauthorized where GitHub refuses the key, and ErrNotFound where it knows no such App.
func (a *App) Installations(ctx context.Context) ([]Installation, error) {
	var all []Installation
	for page := 1; page != 0; {
		some, resp, err := a.client.github.Apps.ListInstallations(ctx, &github.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return all, fmt.Errorf("installations of App %d: %w", a.id, a.explain(err))
		}
		for _, i := range some {
			if i == nil || i.ID == nil {
				return all, fmt.Errorf("installations of App %d: %w", a.id, errEmpty)
			}
			all = append(all, Installation{i.GetID(), i.GetAccount().GetLogin(), i.SuspendedAt != nil})
		}
		if page = resp.NextPage; page > maxPages {
			return all, fmt.Errorf("installations of App %d: more than %d", a.id, maxPages*pageSize)
		}
	}
	return all, nil
}

// Credential returns the name that Exchanges have of the App itself, "app".
func (a *App) Credential() string { return a.client.Credential() }

// Client returns a Client that reads what the installation may, with limits and kept answers of its own. Its
// Credential is "app/ACCOUNT". It gets tokens when it needs them and renews them in time; where it gets none, its calls
// return ErrSuspended, or ErrUnauthorized where the App was removed. Each call returns another Client.
func (a *App) Client(i Installation) (*Client, error) {
	if i.ID <= 0 {
		return nil, fmt.Errorf("installation %d of App %d: there is none with this id", i.ID, a.id)
	}
	o := a.options
	o.Credential = "app/" + i.Account
	if i.Account == "" {
		o.Credential += strconv.FormatInt(i.ID, 10)
	}
	o.Tokens = (&lease{app: a, id: i.ID, turn: make(chan struct{}, 1)}).get
	c := newClient(o, a.client.base)
	c.gate.leased = true
	return c, nil
}

// How the tokens of an installation are renewed. They live for an hour.
const (
	leastLeft     = time.Minute      // no request goes out with less
	renewBefore   = 5 * time.Minute  // of the end
	renewPatience = 30 * time.Second // with a renewal that need not be yet
	renewEvery    = 15 * time.Second // at most, whatever comes of it
)

// A lease is the token of an installation, as long as it lasts, and then the next one.
type lease struct {
	app  *App
	id   int64
	turn chan struct{} // holds a place for who renews

	mu    sync.Mutex // guards all below
	token string
	end   time.Time // by our clock
	asked time.Time // for a token, the last time
	err   error     // what came of it
}

// get is a source of tokens, for Options.Tokens. Near the token's end one request renews it, while the others go on with it.
func (l *lease) get(ctx context.Context) (string, error) {
	refused, _ := ctx.Value(refusedToken{}).(string)
	token, fresh, err := l.look(refused)
	if fresh || err != nil {
		return token, err
	}
	select {
	case l.turn <- struct{}{}:
	default:
		if token != "" {
			return token, nil
		}
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	defer func() { <-l.turn }()
	if token, fresh, err = l.look(refused); fresh || err != nil {
		return token, err
	}
	if token == "" {
		return l.renew(ctx)
	}
	soon, cancel := context.WithTimeout(ctx, renewPatience)
	defer cancel()
	if next, err := l.renew(soon); err == nil {
		return next, nil
	}
	return token, ctx.Err()
}

// look returns the token that can be used, if there is one, and whether it need not be renewed; or why there is none.
func (l *lease) look(refused string) (token string, fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.app.client.gate.now()
	left, rested := l.end.Sub(now), l.asked.IsZero() || now.Sub(l.asked) >= renewEvery
	switch {
	case l.token == "" || left < leastLeft:
		if rested {
			return "", false, nil
		}
		return "", false, l.err
	case l.token == refused && rested:
		return "", false, nil
	}
	return l.token, left >= renewBefore || !rested, nil
}

// renew gets another token. The caller has the turn.
func (l *lease) renew(ctx context.Context) (string, error) {
	told, _, err := l.app.client.github.Apps.CreateInstallationToken(ctx, l.id, &github.InstallationTokenOptions{})
	g := l.app.client.gate
	now := g.now()
	left := told.GetExpiresAt().Sub(now.Add(g.ahead())) // both by GitHub's clock: ours may be wrong, and be set right meanwhile
	switch {
	case err != nil:
		err = l.app.explain(err)
	case told.GetToken() == "" || told.ExpiresAt == nil:
		err = errEmpty
	case left < leastLeft:
		err = fmt.Errorf("%w: a token that is good for %v", ErrUnavailable, left.Round(time.Second))
	}
	if errors.Is(err, ErrNotFound) { // which must not be said of what the token was wanted for
		err = fmt.Errorf("%w: the App is no longer installed there: %s", ErrUnauthorized, quote(err.Error()))
	}
	if err != nil {
		err = fmt.Errorf("token of installation %d of App %d: %w", l.id, l.app.id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked, l.err = now, err
	if err == nil {
		l.token, l.end = told.GetToken(), now.Add(left)
		return l.token, nil
	}
	if ctx.Err() != nil {
		l.err = nil // that of another may hold
	}
	return "", err
}

// Accessible returns the repositories that the installation of this Client may read: at most 20,000, and an error with
// these if there are more. Only a Client of App.Client can ask.
func (c *Client) Accessible(ctx context.Context) ([]RepositoryInfo, error) {
	var all []RepositoryInfo
	for page := 1; page != 0; {
		some, resp, err := c.github.Apps.ListRepos(ctx, &github.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return all, fmt.Errorf("repositories of the installation: %w", explain(err))
		}
		if some == nil || some.TotalCount == nil {
			return all, fmt.Errorf("repositories of the installation: %w", errEmpty)
		}
		if all, err = infos(all, some.Repositories); err != nil {
			return all, fmt.Errorf("repositories of the installation: %w", err)
		}
		if page = resp.NextPage; page > maxPages {
			return all, fmt.Errorf("repositories of the installation: more than %d", maxPages*pageSize)
		}
	}
	return all, nil
}
