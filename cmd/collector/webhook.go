package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akkospace/pushdoctor/actions"
	"github.com/akkospace/pushdoctor/exporter"
	"github.com/akkospace/pushdoctor/store"
)

const (
	maxDelivery = 25 << 20 // GitHub sends no larger one
	// GitHub waits for ten seconds and counts a delivery as failed then: this leaves room for the way.
	answerWithin = 8 * time.Second
	// Nobody has signed anything when a body is read. Those of runs and jobs have some 30 KB, and the largest ones, of other
	// events, must not keep them out.
	smallDelivery    = 1 << 20
	largeAtOnce      = 1
	maxConnections   = 128
	maxSecretFile    = 16 << 10
	maxSecrets       = 10 // each costs a digest of the body
	minSecret        = 8  // characters; GitHub's advice is a random text of many more
	secretsLookEvery = time.Second
)

// A receiver answers GitHub's deliveries, and nothing else. It keeps what they tell in the store before it answers.
type receiver struct {
	listener net.Listener
	secrets  *secrets
	admitted func(id int64, name string) bool // the repository is one to read
	wanted   func(conclusion string) bool     // jobs that end so are read
	enqueue  func(store.Work) error
	relist   func() // the list of repositories is to be looked at again
	count    func(event string, result exporter.DeliveryResult)
	log      *slog.Logger

	large   chan struct{}  // a large delivery is being read for each element
	keeping sync.WaitGroup // of calls of enqueue
}

// newReceiver reads the secrets and listens.
func (s *service) newReceiver() (*receiver, error) {
	config, _ := s.settings()
	known, err := newSecrets(config.Webhook.SecretFile, s.log)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", config.Webhook.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("webhook.listen_address: %w", err)
	}
	return &receiver{
		listener: l,
		secrets:  known,
		admitted: s.admitted,
		wanted: func(conclusion string) bool {
			config, _ := s.settings()
			return slices.Contains(config.Collect.Conclusions, conclusion)
		},
		enqueue: func(w store.Work) error {
			added, err := s.db.Enqueue(w)
			if added {
				tell(s.queued)
			}
			return err
		},
		relist: func() { tell(s.relisted) },
		count:  s.exporter.Delivered,
		log:    s.log,
		large:  make(chan struct{}, largeAtOnce),
	}, nil
}

// tell puts an element into a channel that has room for one, unless one is there.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// admitted reports whether a repository is one to read: one that is read, under whatever name, or one that the configuration
// names, though no list has told of it yet.
func (s *service) admitted(id int64, name string) bool {
	config, _ := s.settings()
	return s.reader(id) != nil || admits(config.Repositories, name)
}

// collectorOf returns who reads a repository, nil while nobody does.
func (s *service) collectorOf(id int64, name string) *collector {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := cmp.Or(s.readers[id], s.named[strings.ToLower(name)])
	if by == nil && s.estate.app == nil && admits(s.config.Repositories, name) {
		by = s.estate.token // there is no other
	}
	return by
}

// relistAfter is how long the webhook's news of repositories are waited for: they come in numbers.
const relistAfter = 10 * time.Second

// untilRelisted waits, for less time once the webhook has told of other repositories.
func (s *service) untilRelisted(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.relisted:
		return sleep(ctx, min(d, relistAfter))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve answers until ctx ends, then lets the deliveries under way finish. It closes the listener.
func (r *receiver) serve(ctx context.Context) error {
	server := &http.Server{
		Handler:                      r,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            answerWithin / 2,
		ReadTimeout:                  answerWithin,
		WriteTimeout:                 answerWithin + time.Second,
		IdleTimeout:                  time.Minute,
		MaxHeaderBytes:               16 << 10,
		ErrorLog:                     slog.NewLogLogger(r.log.Handler(), slog.LevelDebug), // strangers cause what it tells
	}
	l := &capped{Listener: r.listener, open: make(chan struct{}, maxConnections)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("webhook: %w", err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	err := server.Shutdown(deadline)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if end := <-done; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	r.keeping.Wait()
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

// A capped listener has no more connections open than there is room in open.
type capped struct {
	net.Listener
	open chan struct{}
}

func (l *capped) Accept() (net.Conn, error) {
	l.open <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &cappedConn{Conn: c, closed: sync.OnceFunc(func() { <-l.open })}, nil
}

type cappedConn struct {
	net.Conn
	closed func()
}

func (c *cappedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// A reply is what a delivery is answered with.
type reply struct {
	code   int
	event  string // "" while nobody has signed it
	result exporter.DeliveryResult
	text   string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path != "/webhook":
		w.Header().Set("Connection", "close")
		http.NotFound(w, req)
		return
	case req.Method != http.MethodPost:
		w.Header().Set("Connection", "close")
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "deliveries are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), answerWithin)
	defer cancel()
	a := r.receive(ctx, w, req)
	r.count(a.event, a.result)
	if a.code >= http.StatusBadRequest {
		w.Header().Set("Connection", "close") // its body may not have been read
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.code)
	_, _ = io.WriteString(w, a.text+"\n") // who does not wait for it need not have it
}

// receive reads a delivery, the cheap ways to refuse it first.
func (r *receiver) receive(ctx context.Context, w http.ResponseWriter, req *http.Request) reply {
	unsigned := func(code int, result exporter.DeliveryResult, text string) reply {
		return reply{code, "", result, text}
	}
	signature := req.Header.Get("X-Hub-Signature-256")
	if signature == "" {
		result := exporter.DeliveryBadSignature // GitHub's, by a webhook without a secret
		if req.Header.Get("X-GitHub-Event") == "" {
			result = exporter.DeliveryBadRequest // a stranger's, who posts to whatever is open
		}
		return unsigned(http.StatusUnauthorized, result, "X-Hub-Signature-256 is missing: give the webhook a secret")
	}
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	form := kind == "application/x-www-form-urlencoded"
	if err != nil || !form && kind != "application/json" {
		return unsigned(http.StatusUnsupportedMediaType, exporter.DeliveryBadRequest, "a delivery is application/json or application/x-www-form-urlencoded")
	}
	if req.ContentLength > maxDelivery {
		return unsigned(http.StatusRequestEntityTooLarge, exporter.DeliveryTooLarge, "a delivery has at most 25 MB")
	}
	// A small one waits for nobody: what they take together is bounded by the number of connections.
	free := func() {}
	if n := req.ContentLength; n < 0 || n > smallDelivery {
		select {
		case r.large <- struct{}{}:
			free = sync.OnceFunc(func() { <-r.large })
		case <-ctx.Done():
			return unsigned(http.StatusServiceUnavailable, exporter.DeliveryFailed, "too many deliveries at once")
		}
	}
	defer free()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, req.Body, maxDelivery)); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return unsigned(http.StatusRequestEntityTooLarge, exporter.DeliveryTooLarge, "a delivery has at most 25 MB")
		}
		return unsigned(http.StatusBadRequest, exporter.DeliveryBadRequest, "the body ended too early")
	}
	if !actions.Signed(r.secrets.current(ctx), buf.Bytes(), signature) {
		return unsigned(http.StatusUnauthorized, exporter.DeliveryBadSignature, "the signature is not that of webhook.secret_file")
	}
	event := req.Header.Get("X-GitHub-Event")
	if event == "" {
		return unsigned(http.StatusBadRequest, exporter.DeliveryBadRequest, "X-GitHub-Event is missing")
	}
	d, err := actions.ReadDelivery(event, form, buf.Bytes())
	if err != nil {
		r.log.WarnContext(ctx, "a delivery cannot be read", "event", d.Event, "err", err)
		return reply{http.StatusBadRequest, d.Event, exporter.DeliveryBadRequest, "the payload is not what GitHub sends"}
	}
	return r.answer(ctx, d)
}

// answer does what a delivery that GitHub has signed asks for.
func (r *receiver) answer(ctx context.Context, d actions.Delivery) reply {
	switch {
	case d.Event == "ping":
		return reply{http.StatusOK, d.Event, exporter.DeliveryAccepted, "pong"}
	case d.Relists():
		r.relist()
		return reply{http.StatusAccepted, d.Event, exporter.DeliveryAccepted, "the list of repositories is looked at again"}
	case !d.Ended(), d.JobID != 0 && d.Conclusion != "" && !r.wanted(d.Conclusion),
		// A green run has nothing to read, and the next poll counts a hundred of them by one request.
		d.JobID == 0 && d.Conclusion == "success" && d.Attempt == 1 && !r.wanted("success"):
		return reply{http.StatusAccepted, d.Event, exporter.DeliveryIgnored, "nothing to do"}
	case !r.admitted(d.RepositoryID, d.Repository):
		return reply{http.StatusAccepted, d.Event, exporter.DeliveryNotAdmitted, "repositories does not name this one"}
	}
	kept := make(chan error, 1)
	r.keeping.Go(func() {
		kept <- r.enqueue(store.Work{
			Repository: d.Repository, RepositoryID: d.RepositoryID, RunID: d.RunID, Attempt: d.Attempt, JobID: d.JobID, Queued: time.Now().UTC(),
		})
	})
	var err error
	select {
	case err = <-kept:
	case <-ctx.Done(): // it may be kept all the same, and a redelivery then does nothing
		err = ctx.Err()
	}
	if err != nil {
		r.log.ErrorContext(ctx, "a delivery could not be kept", "event", d.Event, "repository", d.Repository, "err", err)
		return reply{http.StatusServiceUnavailable, d.Event, exporter.DeliveryFailed, "it cannot be kept now: deliver it again later"}
	}
	return reply{http.StatusAccepted, d.Event, exporter.DeliveryAccepted, "queued"}
}

// secrets are those of a file, which is read again when somebody changes it.
type secrets struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex // guards what follows
	values []string
	looked time.Time
	said   string // what was wrong with the file when it was last looked at
}

func newSecrets(file string, log *slog.Logger) (*secrets, error) {
	values, err := readSecrets(file)
	if err != nil {
		return nil, err
	}
	return &secrets{file: file, log: log, values: values, looked: time.Now()}, nil
}

// current returns the secrets of the file as it is now, or those that it had while it was good. It looks once in a second at most.
func (s *secrets) current(ctx context.Context) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) >= secretsLookEvery {
		s.looked = now
		values, err := readSecrets(s.file)
		said := ""
		switch {
		case err != nil:
			if said = err.Error(); said != s.said {
				s.log.ErrorContext(ctx, "the webhook goes on with the secrets that it had", "err", err)
			}
		case !slices.Equal(values, s.values):
			s.values = values
			s.log.InfoContext(ctx, "the webhook has new secrets", "secrets", len(values))
		}
		s.said = said
	}
	return s.values
}

// readSecrets returns the secrets in a file, one a line. No error holds one.
func readSecrets(file string) ([]string, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("webhook.secret_file: %s "+format, append([]any{file}, args...)...)
	}
	// To open a pipe is to wait for its writer.
	if info, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("webhook.secret_file: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, bad("is no regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("webhook.secret_file: %w", err)
	}
	defer func() { _ = f.Close() }() // opened to read: nothing to lose
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, fmt.Errorf("webhook.secret_file: %w", err)
	}
	if len(data) > maxSecretFile {
		return nil, bad("is larger than 16 KB: it holds more than secrets")
	}
	var values []string
	for i, line := range strings.Split(string(data), "\n") {
		switch line = strings.TrimSpace(line); {
		case line == "":
		case len(line) < minSecret:
			return nil, bad("has a secret of less than %d characters in line %d: write a random one, as of openssl rand -hex 32", minSecret, i+1)
		default:
			values = append(values, line)
		}
	}
	switch {
	case len(values) == 0:
		return nil, bad("is empty: write the webhook's secret to it, or anybody could send deliveries")
	case len(values) > maxSecrets:
		return nil, bad("has more than %d secrets: remove those that GitHub no longer uses", maxSecrets)
	}
	return values, nil
}
