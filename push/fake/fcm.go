package fake

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// FCMConfig configures an [FCM] fake; the zero value is ready to use.
type FCMConfig struct {
	// Addr is where to listen, default "127.0.0.1:0" (a free port). Listener,
	// when set, is used instead and closed with the fake; see NewMemListener.
	Addr     string
	Listener net.Listener
	// ProjectID is the only project that exists, default "footfall-fake".
	ProjectID string
	// MaxStreams is the stream limit of a connection, default 100.
	MaxStreams int
	// MaxConnections bounds open connections, default 1024; one more is
	// closed at once.
	MaxConnections int
	// QuotaPerMinute is how many messages the project may send in each
	// calendar minute, default 600,000 as at Google.
	QuotaPerMinute int
	// Latency of every answer of messages:send.
	Latency Latency
	// Phones lets several fakes share a book; default a new one.
	Phones *PhoneBook
	// Now is the clock for tokens, quota and time to live; default time.Now.
	// Latency runs on the real clock (or that of a test bubble).
	Now func() time.Time
	// Logger gets one line for each refused request at level Debug, with the
	// reason and without the device token. Default: none.
	Logger *slog.Logger
}

// FCM is a running fake of Google's push service and of the OAuth server that
// goes with it. The exported fields are what a client has to be configured
// with, besides CredentialsJSON; do not change them. Methods are safe for
// concurrent use. It speaks HTTP/2 and HTTP/1.1, both over TLS.
type FCM struct {
	// RootCAs trusts the fake's certificate; CAPEM is the same as PEM.
	RootCAs *x509.CertPool
	CAPEM   []byte
	// ProjectID is the only project that exists.
	ProjectID string

	cfg     FCMConfig
	ln      net.Listener
	srv     *http.Server
	oauth   *oauth
	script  script
	tokens  tokens
	latency sampler
	tally   tally
	quota   minuteQuota
	stats   fcmCounters
	nextID  atomic.Int64

	serving sync.WaitGroup // the server's loop
	closing chan struct{}  // closed by Close: handlers that wait give up
	once    sync.Once
	// handlers counts running handlers, so that Close can wait for them. A
	// plain WaitGroup would be misused by a request that arrives during Close.
	mu       sync.Mutex
	idle     sync.Cond
	handlers int
	closed   bool
}

type fcmCounters struct {
	connections, open, refusedConnections, requests, accepted, tokenRequests atomic.Int64
}

// FCMStats are counts since the start.
type FCMStats struct {
	Connections        int64            // accepted in all
	OpenConnections    int64            // now
	RefusedConnections int64            // over MaxConnections
	Requests           int64            // to messages:send, whatever became of them
	Accepted           int64            // messages taken, with or without an answer
	TokenRequests      int64            // to the OAuth endpoint
	AccessTokens       int64            // given out
	Reasons            map[string]int64 // answers other than 200, by reason
}

// StartFCM listens and serves until Close.
func StartFCM(cfg FCMConfig) (*FCM, error) {
	cfg.ProjectID = cmp.Or(cfg.ProjectID, "footfall-fake")
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 100)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 1024)
	cfg.QuotaPerMinute = cmp.Or(cfg.QuotaPerMinute, 600_000)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Phones == nil {
		cfg.Phones = NewPhoneBook(PhoneBookConfig{Now: cfg.Now})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ln := cfg.Listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", cmp.Or(cfg.Addr, "127.0.0.1:0")); err != nil {
			return nil, fmt.Errorf("fake: start FCM: %w", err)
		}
	}
	ca, err := newAuthority("FCM", ln.Addr())
	if err != nil {
		return nil, fmt.Errorf("fake: start FCM: %w", errorsWithClose(ln, err))
	}
	f := &FCM{
		RootCAs: ca.pool, CAPEM: ca.pem, ProjectID: cfg.ProjectID,
		cfg: cfg, closing: make(chan struct{}),
	}
	f.idle.L = &f.mu
	f.ln = &cappedListener{Listener: ln, max: int64(cfg.MaxConnections), counts: &f.stats}
	if f.oauth, err = newOAuth(cfg.ProjectID, f.URL()+"/token", cfg.Now); err != nil {
		return nil, fmt.Errorf("fake: start FCM: %w", errorsWithClose(ln, err))
	}
	f.latency.set(cfg.Latency)
	f.quota.limit = cfg.QuotaPerMinute
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.handleToken)
	mux.HandleFunc("POST /v1/projects/{project}/messages:send", f.handleSend)
	mux.HandleFunc("/", notFound)
	tlsConfig := ca.tlsConfig()
	tlsConfig.NextProtos = nil // the server adds h2 and http/1.1
	f.srv = &http.Server{
		Handler: f.counted(mux), TLSConfig: tlsConfig,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: cfg.MaxStreams},
		ReadHeaderTimeout: handshakeTimeout, MaxHeaderBytes: maxHeaderList,
		ErrorLog: log.New(discard{}, "", 0),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
	}
	f.serving.Go(func() { f.srv.ServeTLS(f.ln, "", "") })
	return f, nil
}

// discard swallows the server's log of what clients do wrong.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// counted keeps the number of running handlers for Close.
func (f *FCM) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		f.handlers++
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.handlers--; f.handlers == 0 {
				f.idle.Broadcast()
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// URL is the base address, https://host:port.
func (f *FCM) URL() string { return "https://" + f.ln.Addr().String() }

// Endpoint is what Google's client libraries call the endpoint: the base
// address with the version of the API, https://host:port/v1.
func (f *FCM) Endpoint() string { return f.URL() + "/v1" }

// Addr is the address that the fake listens on.
func (f *FCM) Addr() net.Addr { return f.ln.Addr() }

// Close cuts all connections and returns when no handler runs any more. Later
// calls do nothing.
func (f *FCM) Close() error {
	var err error
	f.once.Do(func() {
		close(f.closing)
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		err = f.srv.Close()
	})
	f.serving.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.handlers > 0 {
		f.idle.Wait()
	}
	return err
}

// Phones is the book that accepted messages go to.
func (f *FCM) Phones() *PhoneBook { return f.cfg.Phones }

// CredentialsJSON is a service account file with a key of its own, whose
// token_uri is this fake. A client that uses it must trust RootCAs for the
// token request as well.
func (f *FCM) CredentialsJSON() []byte {
	_, _, credentials := f.oauth.account()
	return credentials
}

// RotateKey gives the service account a new key in place of the old one, and
// returns the new file. Access tokens given out live on until RevokeOldKeys.
func (f *FCM) RotateKey() (credentialsJSON []byte, err error) {
	if err := f.oauth.newKey(); err != nil {
		return nil, err
	}
	return f.CredentialsJSON(), nil
}

// Script adds rules for messages:send. They are looked at in the order in
// which they were added, the first match applies, and only for requests that
// broke no rule of the service: an error of the client is never hidden by a
// script. At most 10,000 rules are kept.
func (f *FCM) Script(rules ...Rule) { f.script.add(rules) }

// ClearScript removes all rules.
func (f *FCM) ClearScript() { f.script.clear() }

// SetToken sets what the service thinks of a registration token. FCM tells no
// times, so since is not used.
func (f *FCM) SetToken(token string, s TokenState, since time.Time) { f.tokens.set(token, s, since) }

// SetLatency changes the latency of requests that arrive from now on.
func (f *FCM) SetLatency(l Latency) { f.latency.set(l) }

// RevokeOldKeys makes the access tokens of keys before the present one invalid.
func (f *FCM) RevokeOldKeys() { f.oauth.revokeOldKeys() }

// RevokeAccessTokens makes all access tokens given out so far invalid, as a
// change of key does.
func (f *FCM) RevokeAccessTokens() { f.oauth.revoke() }

// Deliveries says how many messages with this message id (data mid, or g with
// mid) were accepted, whether or not the sender learnt of it. Up to a million
// ids are counted.
func (f *FCM) Deliveries(mid string) int { return f.tally.deliveries(mid) }

// Stats returns the counts so far.
func (f *FCM) Stats() FCMStats {
	return FCMStats{
		Connections: f.stats.connections.Load(), OpenConnections: f.stats.open.Load(),
		RefusedConnections: f.stats.refusedConnections.Load(),
		Requests:           f.stats.requests.Load(), Accepted: f.stats.accepted.Load(),
		TokenRequests: f.stats.tokenRequests.Load(), AccessTokens: f.oauth.given(),
		Reasons: f.tally.byReason(),
	}
}

// minuteQuota counts messages in calendar minutes. Safe for concurrent use.
type minuteQuota struct {
	limit  int
	mu     sync.Mutex
	minute int64
	used   int
}

// take uses up one message of this minute. When there is none left it says how
// long the minute still lasts.
func (q *minuteQuota) take(now time.Time) (wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m := now.Unix() / 60; m != q.minute {
		q.minute, q.used = m, 0
	}
	if q.used >= q.limit {
		return time.Unix((q.minute+1)*60, 0).Sub(now), false
	}
	q.used++
	return 0, true
}
