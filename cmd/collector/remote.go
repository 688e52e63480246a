package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/akkospace/pushdoctor/configs"
	"github.com/akkospace/pushdoctor/remedy"
	"github.com/akkospace/pushdoctor/store"
)

// listenURL returns the address at which this machine reaches who listens at address.
func listenURL(w configs.Web) (string, error) {
	host, port, err := net.SplitHostPort(w.ListenAddress)
	if err != nil || port == "" || port == "0" {
		return "", fmt.Errorf("web.listen_address %q does not say where the service is", w.ListenAddress)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme(w) + "://" + net.JoinHostPort(host, port), nil
}

// The bounds of what a service may answer.
const (
	maxPage    = 64 << 20
	maxRefusal = 4 << 10
	askTimeout = time.Minute
)

// serviceAt reads the address of a running service, and returns the name by which it is told of, too: without a password.
func serviceAt(address string) (base *url.URL, name string, err error) {
	base, err = url.Parse(address)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		// The address may hold a password, so it is not quoted.
		return nil, "", errors.New("the service's address is not of the form http://HOST:PORT or https://HOST/PATH")
	}
	return base, (&url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path}).String(), nil
}

// stay keeps a client from following a redirect: the password would go along.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// remotePage returns the pages of the service at an address, with hints in the language l.
func remotePage(address string, l remedy.Language) (findingsPage, error) {
	base, name, err := serviceAt(address)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: askTimeout, CheckRedirect: stay}
	ask := base.JoinPath("api/v1/findings")
	return func(ctx context.Context, q store.Query) ([]row, error) {
		ask.RawQuery = encodeQuery(q, l)
		rows, err := askPage(ctx, client, ask, q)
		if err != nil {
			return nil, fmt.Errorf("service at %s: %w", name, err)
		}
		return rows, nil
	}, nil
}

func encodeQuery(q store.Query, l remedy.Language) string {
	v := url.Values{"since": {q.Since.Format(time.RFC3339)}, "limit": {strconv.Itoa(q.Limit)}}
	if !q.Until.IsZero() {
		v.Set("until", q.Until.Format(time.RFC3339))
	}
	for name, value := range map[string]string{"repository": q.Repository, "cause": string(q.Cause), "after": q.After} {
		if value != "" {
			v.Set(name, value)
		}
	}
	// A service that is older than the languages refuses the word, and answers in English without it.
	if l != remedy.English {
		v.Set("lang", string(l))
	}
	return v.Encode()
}

func askPage(ctx context.Context, client *http.Client, ask *url.URL, q store.Query) ([]row, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ask.String(), nil)
	if err != nil {
		return nil, errors.New("no request can be made of its address") // err quotes it
	}
	resp, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address
		}
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusUnauthorized && ask.User == nil:
		return nil, errors.New("it asks for a login: --server https://USER:PASSWORD@HOST")
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("it refuses the user name or the password")
	case resp.StatusCode != http.StatusOK:
		return nil, refusedPage(resp)
	case kind != "application/x-ndjson":
		return nil, fmt.Errorf("the answer is not pushdoctor's: %.100q in place of JSON lines", kind)
	}
	var rows []row
	in := bufio.NewReader(&io.LimitedReader{R: resp.Body, N: maxPage})
	size := 0
	for {
		line, err := in.ReadBytes('\n')
		size += len(line)
		switch {
		case size >= maxPage:
			return nil, fmt.Errorf("its answer is longer than %d MB", maxPage>>20)
		case errors.Is(err, io.EOF) && len(line) == 0:
			return rows, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("its answer broke off within a line")
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("its answer broke off: %w", err)
		}
		r, err := readRow(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of its answer is not a finding: %w", len(rows)+1, err)
		}
		if rows = append(rows, r); len(rows) > q.Limit || r.ID == q.After {
			return nil, errors.New("its answer is not the page that was asked for")
		}
	}
}

// readRow reads a finding as a service writes it.
func readRow(line []byte) (row, error) {
	var r row
	line = bytes.ToValidUTF8(line, []byte("\ufffd"))
	if err := json.Unmarshal(line, &r.Stored); err != nil {
		return row{}, err
	}
	if r.ID == "" || r.Cause == "" {
		return row{}, errors.New("it has no id or no cause")
	}
	// Between its tokens JSON may hold what moves a terminal's cursor.
	var b bytes.Buffer
	if err := json.Compact(&b, line); err != nil {
		return row{}, err
	}
	r.line = append(b.Bytes(), '\n')
	return r, nil
}

// refusedPage says why a service does not answer with findings.
func refusedPage(resp *http.Response) error {
	var said struct{ Error string }
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // the status is what counts
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		return fmt.Errorf("the answer is not pushdoctor's: status %d", resp.StatusCode)
	}
	said.Error = strings.Join(strings.Fields(said.Error), " ")
	if resp.StatusCode == http.StatusBadRequest {
		return fmt.Errorf("it refuses the query: %s", shorten(said.Error, maxName))
	}
	return fmt.Errorf("status %d: %s", resp.StatusCode, shorten(said.Error, maxName))
}

// withoutPassword is an address as it may be shown.
func withoutPassword(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Redacted()
	}
	return address
}

// askBackfill lets a running service carry out an order.
func askBackfill(ctx context.Context, server string, o order, tell func(notice)) error {
	base, name, err := serviceAt(server)
	if err != nil {
		return err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath("api/v1/backfill").String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{CheckRedirect: stay}).Do(req)
	if err != nil {
		return fmt.Errorf("asking the service: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // what there is will do
		return fmt.Errorf("the service at %s answers %s: %s", name, resp.Status, strings.TrimSpace(string(said)))
	}
	dec := json.NewDecoder(resp.Body)
	for {
		var n notice
		if err := dec.Decode(&n); err != nil {
			return fmt.Errorf("the service at %s broke off: %w; the same command goes on", name, err)
		}
		if n.Failed != "" {
			return fmt.Errorf("the service at %s: %s", name, n.Failed)
		}
		tell(n)
		if n.Summary != nil {
			return nil
		}
	}
}
