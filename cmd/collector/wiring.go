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
	"strings"

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

// maxToken is more than any token of GitHub's is long.
const maxToken = 16 << 10 // bytes

// token returns the token of the configuration: that of the file, else that of the environment, else "".
func token(c configs.Config) (string, error) {
	name := c.GitHub.TokenFile
	if name == "" {
		return c.GitHub.Token.Reveal(), nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("github.token_file: %w", err)
	}
	t := strings.TrimSpace(string(data))
	switch {
	case t == "":
		return "", fmt.Errorf("github.token_file: %s is empty", name)
	case len(t) > maxToken || strings.ContainsAny(t, " \t\r\n"):
		return "", fmt.Errorf("github.token_file: %s holds more than a token", name)
	}
	return t, nil
}

// github returns a client as the configuration asks for one. set may change its options.
func (p *program) github(c configs.Config, set func(*actions.Options)) (*actions.Client, error) {
	if c.GitHub.App.ID != 0 {
		return nil, errors.New("github.app: logging in as a GitHub App is not there yet; use github.token_file")
	}
	t, err := token(c)
	if err != nil {
		return nil, err
	}
	o := actions.Options{
		URL:     c.GitHub.URL,
		Token:   t,
		Workers: c.Collect.Workers,
		Reserve: c.GitHub.Reserve,
		MaxLog:  int64(c.Collect.MaxLog),
	}
	if c.GitHub.CAFile != "" {
		if o.Transport, err = trusting(c.GitHub.CAFile); err != nil {
			return nil, err
		}
	}
	if set != nil {
		set(&o)
	}
	return actions.New(o)
}

// trusting returns a transport that trusts the authorities in a file besides those of the system.
func trusting(file string) (http.RoundTripper, error) {
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
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t, nil
}
