package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// refusedToken is the key of the token that GitHub has refused, in the context by which a source is asked once more.
type refusedToken struct{}

// strange reports whether r stands in no token.
func strange(r rune) bool { return r <= ' ' || r > '~' }

// authorize waits for the turn of a request and returns the token to send with it.
func (g *gate) authorize(ctx context.Context, endpoint string) (string, error) {
	for waited := false; ; waited = true {
		if err := g.enter(ctx, endpoint); err != nil {
			return "", err
		}
		begin := g.now()
		token, err := g.token(ctx)
		// A token that had to be waited for has used up the turn: the minute is counted by when requests are sent.
		if err == nil && (waited || g.now().Sub(begin) < time.Second) {
			return token, nil
		}
		g.leave()
		if err != nil {
			return "", err
		}
	}
}

// token asks the source.
func (g *gate) token(ctx context.Context) (string, error) {
	token, err := g.tokens(ctx)
	switch {
	case err == nil && strings.ContainsFunc(token, strange):
		return "", fmt.Errorf("%w: it holds a blank or a character that no token has", ErrUnauthorized)
	case err == nil:
		return token, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	for _, known := range ours {
		if errors.Is(err, known) {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: no token to be had: %s", ErrUnauthorized, quote(err.Error()))
}

// renewed reports whether the request that was refused has another chance: with another token, or
// signed by the time that the refusal has told.
func (g *gate) renewed(ctx context.Context, token string, r reply) (bool, error) {
	if g.signed {
		now := g.ahead()
		if (now - r.skew).Abs() < time.Second*30 {
			return false, nil
		}
		g.log.WarnContext(ctx, "our clock is wrong; requests are signed by GitHub's", "behind", now.Round(time.Second))
		return true, nil
	}
	if token == "" {
		return false, nil
	}
	other, err := g.token(context.WithValue(ctx, refusedToken{}, token))
	return other != token, err
}

// ahead returns by how much GitHub's clock is ahead of ours, to about a second; 0 before the first answer.
func (g *gate) ahead() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.skew
}

const (
	maxToken  = 16 << 10 // bytes: more than any token of GitHub's is long
	statEvery = time.Second
)

// FileToken returns a source of the token in a file, for Options.Tokens. Its errors name the file and never quote it.
//
// The file is read again when it has changed, which is looked for once a second at most, and when GitHub has refused the
// token. While it is missing, empty or no token, the one before is given on: whoever replaces a file
// need not be quick. Only after a refusal does the source say what is wrong with it. What is no regular file, such as a
// pipe, is read once. now tells the time; nil: time.Now.
func FileToken(path string, now func() time.Time) (func(context.Context) (string, error), error) {
	if now == nil {
		now = time.Now
	}
	f := &tokenFile{path: path, now: now}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f.get, nil
}

type tokenFile struct {
	path string
	now  func() time.Time

	mu     sync.Mutex // guards all below
	token  string
	last   os.FileInfo // of the file that was read last, whether it was good or not
	looked time.Time
}

func (f *tokenFile) get(ctx context.Context) (string, error) {
	refused, _ := ctx.Value(refusedToken{}).(string)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.last.Mode().IsRegular():
	case refused != "" && refused == f.token:
		if err := f.read(); err != nil {
			return "", err
		}
	case f.now().Sub(f.looked) >= statEvery && f.changed():
		_ = f.read() // told once the token before is refused
	}
	return f.token, nil
}

func (f *tokenFile) changed() bool {
	f.looked = f.now()
	info, err := os.Stat(f.path)
	return err == nil && !(os.SameFile(info, f.last) && info.Size() == f.last.Size() && info.ModTime().Equal(f.last.ModTime()))
}

// read takes over the token in the file.
func (f *tokenFile) read() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // nothing was written to it
	info, err := file.Stat()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return err
	}
	f.last, f.looked = info, f.now()
	token := strings.TrimSpace(string(data))
	switch {
	case token == "":
		return fmt.Errorf("%s is empty", f.path)
	case len(data) > maxToken || strings.ContainsAny(token, " \t\r\n"):
		return fmt.Errorf("%s holds more than a token", f.path)
	case strings.ContainsFunc(token, strange):
		return fmt.Errorf("%s holds a character that no token has", f.path)
	}
	f.token = token
	return nil
}
