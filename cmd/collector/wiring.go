package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/classifier"
	"github.com/akkospace/pushdoctor/configs"
)

// config loads the configuration. flags are those of the command line, by the path of their keys.
func (p *program) config(flags map[string]string) (configs.Config, error) {
	c, err := configs.Load(p.configFile, p.environ, flags)
	if _, ok := errors.AsType[configs.Faults](err); ok {
		err = fmt.Errorf("the configuration is at fault:\n%w", err)
	}
	return c, err
}

// rulesOf returns the rules in force: those of the flag, then those of the configuration, then the built-in ones.
func rulesOf(config configs.Config, names []string) (*classifier.Rules, error) {
	names = slices.Concat(names, config.Classify.Rules)
	if len(names) == 0 {
		return classifier.Builtin(), nil
	}
	var files []classifier.File
	for _, name := range names {
		f, err := ruleFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	rules, err := classifier.Load(files...)
	if err != nil {
		return nil, fmt.Errorf("the rules are at fault:\n%w", err)
	}
	return rules, nil
}

// style is how stdout shows text.
func (p *program) style() style {
	if f, ok := p.stdout.(*os.File); ok {
		if width, terminal := terminalWidth(f); terminal {
			return style{width: width, colour: p.env("NO_COLOR") == "" && p.env("TERM") != "dumb"}
		}
	}
	return style{width: defaultWidth}
}

// logger returns the logger of the service's own affairs. It writes to stderr, where control characters are made visible.
func (p *program) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(p.stderr, nil))
}

// clientOptions are those of a client as the configuration asks for one. Without a token in it there is none in them.
func (p *program) clientOptions(c configs.Config) (actions.Options, error) {
	o := actions.Options{
		URL:       c.GitHub.URL,
		Token:     c.GitHub.Token.Reveal(),
		Workers:   c.Collect.Workers,
		Reserve:   c.GitHub.Reserve,
		MaxLog:    int64(c.Collect.MaxLog),
		Transport: p.transport,
	}
	var err error
	if c.GitHub.TokenFile != "" {
		if o.Tokens, err = actions.FileToken(c.GitHub.TokenFile, p.clock()); err != nil {
			return o, fmt.Errorf("github.token_file: %w", err)
		}
	}
	if c.GitHub.CAFile != "" {
		o.Transport, err = trusting(c.GitHub.CAFile, c.Collect.Workers)
	}
	return o, err
}

// app returns the GitHub App of the configuration, nil where it names none.
func (p *program) app(c configs.Config, o actions.Options) (*actions.App, error) {
	if c.GitHub.App.ID == 0 {
		return nil, nil
	}
	key, err := os.ReadFile(c.GitHub.App.PrivateKeyFile)
	if err != nil {
		return nil, fmt.Errorf("github.app.private_key_file: %w", err)
	}
	app, err := actions.NewApp(o, c.GitHub.App.ID, key)
	if err != nil {
		return nil, fmt.Errorf("github.app: %w", err)
	}
	return app, nil
}

// clock is what tells the time.
func (p *program) clock() func() time.Time {
	if p.now == nil {
		return time.Now
	}
	return p.now
}

// trusting returns a transport that trusts the authorities in a file besides those of the system, and keeps so many connections to
// a host.
func trusting(file string, connections int) (http.RoundTripper, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("github.ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("github.ca_file: %s holds no certificate (PEM)", file)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = connections // http's own are two, and each further request would begin with a handshake
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t, nil
}
