package fake

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// APNsConfig configures an [APNs] fake; the zero value is ready to use.
type APNsConfig struct {
	// Addr is where to listen, default "127.0.0.1:0" (a free port). Listener,
	// when set, is used instead and closed with the fake; see NewMemListener.
	Addr     string
	Listener net.Listener
	// Topic is the bundle id of the app, default "com.example.footfall".
	Topic string
	// KeyID and TeamID are what a provider token must name, by default
	// "FAKEKEY001" and "FAKETEAM01".
	KeyID, TeamID string
	// KeyPEM is the signing key of provider tokens as a .p8 file, such as the
	// KeyPEM of another fake: Apple's two environments take the same keys.
	// Default a new one.
	KeyPEM []byte
	// Sandbox makes it the development environment, which adds the
	// apns-unique-id header to its answers.
	Sandbox bool
	// MaxStreams is the stream limit of a connection once a valid provider
	// token was seen on it (1 before that), default 1000.
	MaxStreams uint32
	// MaxConnections bounds open connections, default 1024; one more is
	// closed at once.
	MaxConnections int
	// Latency of every answer.
	Latency Latency
	// TokenUpdateInterval is the least time between two new provider tokens,
	// default 20 minutes as at Apple; negative for no check. Two clients that
	// each make a token of their own for one key run into it, as they would
	// for real.
	TokenUpdateInterval time.Duration
	// NoWedge switches off what has been reported of the real service: once a
	// connection has seen an expired provider token, it answers every later
	// request with ExpiredProviderToken, whatever token that carries.
	NoWedge bool
	// Phones lets several fakes share a book; default a new one.
	Phones *PhoneBook
	// Now is the clock for tokens and for the time in answers; default
	// time.Now. Latency runs on the real clock (or that of a test bubble).
	Now func() time.Time
	// Logger gets one line for each refused request at level Debug, with the
	// reason and without the device token. Default: none.
	Logger *slog.Logger
}

// APNs is a running fake of Apple's push service. The exported fields are what
// a client has to be configured with; do not change them. Methods are safe for
// concurrent use.
type APNs struct {
	// RootCAs trusts the fake's certificate; CAPEM is the same as PEM.
	RootCAs *x509.CertPool
	CAPEM   []byte
	// KeyPEM is the provider's signing key as a .p8 file, with its KeyID and
	// TeamID. Topic is the bundle id that the fake knows.
	KeyPEM               []byte
	KeyID, TeamID, Topic string

	cfg       APNsConfig
	ln        net.Listener
	tls       *tls.Config
	auth      *providerTokens
	script    script
	tokens    tokens
	latency   sampler
	tally     tally
	stats     apnsCounters
	maxStream atomic.Uint32

	wg     sync.WaitGroup // accept loop, connections, answers that wait
	mu     sync.Mutex
	conns  map[*apnsConn]struct{}
	closed bool
}

type apnsCounters struct {
	connections, refusedConnections, requests, accepted, refused, goAways, protocolErrors, peak atomic.Int64
}

// APNsStats are counts since the start.
type APNsStats struct {
	Connections        int64            // accepted in all
	OpenConnections    int64            // now
	RefusedConnections int64            // over MaxConnections
	Requests           int64            // complete requests, whatever became of them
	Accepted           int64            // pushes taken, with or without an answer
	RefusedStreams     int64            // streams over the limit, or refused by a script
	ProviderTokens     int64            // different provider tokens accepted
	GoAways            int64            // sent, those after protocol errors included
	ProtocolErrors     int64            // HTTP/2 errors of clients
	PeakStreams        int64            // most streams open on one connection
	Reasons            map[string]int64 // answers other than 200, by reason
}

// StartAPNs listens and serves until Close.
func StartAPNs(cfg APNsConfig) (*APNs, error) {
	cfg.Topic = cmp.Or(cfg.Topic, "com.example.footfall")
	cfg.KeyID = cmp.Or(cfg.KeyID, "FAKEKEY001")
	cfg.TeamID = cmp.Or(cfg.TeamID, "FAKETEAM01")
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 1000)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 1024)
	cfg.TokenUpdateInterval = cmp.Or(cfg.TokenUpdateInterval, defaultTokenUpdates)
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
			return nil, fmt.Errorf("fake: start APNs: %w", err)
		}
	}
	ca, err := newAuthority("APNs", ln.Addr())
	if err != nil {
		return nil, fmt.Errorf("fake: start APNs: %w", errorsWithClose(ln, err))
	}
	key, keyPEM, err := signingKey(cfg.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("fake: start APNs: %w", errorsWithClose(ln, err))
	}
	a := &APNs{
		RootCAs: ca.pool, CAPEM: ca.pem, KeyPEM: keyPEM, KeyID: cfg.KeyID, TeamID: cfg.TeamID, Topic: cfg.Topic,
		cfg: cfg, ln: ln, tls: ca.tlsConfig(), conns: make(map[*apnsConn]struct{}),
		auth: &providerTokens{
			teamID: cfg.TeamID, interval: cfg.TokenUpdateInterval,
			keys:  map[string]*providerKey{cfg.KeyID: {pub: &key.PublicKey}},
			known: make(map[string]*providerToken),
		},
	}
	a.latency.set(cfg.Latency)
	a.maxStream.Store(cfg.MaxStreams)
	a.wg.Go(a.accept)
	return a, nil
}

func (a *APNs) accept() {
	acceptLoop(a.ln, func(nc net.Conn) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.closed || len(a.conns) >= a.cfg.MaxConnections {
			a.stats.refusedConnections.Add(1)
			nc.Close()
			return
		}
		c := newAPNsConn(a, nc)
		a.conns[c] = struct{}{}
		a.stats.connections.Add(1)
		a.wg.Go(func() {
			c.serve()
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.conns, c)
		})
	})
}

// URL is the base address, https://host:port, as a client's host setting.
func (a *APNs) URL() string { return "https://" + a.ln.Addr().String() }

// Addr is the address that the fake listens on.
func (a *APNs) Addr() net.Addr { return a.ln.Addr() }

// Close cuts all connections and returns when nothing of the fake runs any
// more. Later calls do nothing.
func (a *APNs) Close() error {
	a.mu.Lock()
	first := !a.closed
	a.closed = true
	a.mu.Unlock()
	var err error
	if first {
		err = a.ln.Close()
	}
	for _, c := range a.open() {
		c.close()
	}
	a.wg.Wait()
	return err
}

// open returns the connections of this moment.
func (a *APNs) open() []*apnsConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	cs := make([]*apnsConn, 0, len(a.conns))
	for c := range a.conns {
		cs = append(cs, c)
	}
	return cs
}

// AddKey gives the team another signing key, as developer.apple.com does, and
// returns its .p8 file. Both keys are good until one is revoked.
func (a *APNs) AddKey(keyID string) (keyPEM []byte, err error) {
	key, keyPEM, err := newSigningKey()
	if err == nil {
		err = a.auth.addKey(keyID, &key.PublicKey)
	}
	return keyPEM, err
}

// RevokeKey takes a signing key back: its tokens are InvalidProviderToken from
// now on.
func (a *APNs) RevokeKey(keyID string) { a.auth.revokeKey(keyID) }

// Phones is the book that accepted pushes go to.
func (a *APNs) Phones() *PhoneBook { return a.cfg.Phones }

// Script adds rules. They are looked at in the order in which they were added,
// the first match applies, and only for requests that broke no rule of the
// service: an error of the client is never hidden by a script. At most 10,000
// rules are kept.
func (a *APNs) Script(rules ...Rule) { a.script.add(rules) }

// ClearScript removes all rules.
func (a *APNs) ClearScript() { a.script.clear() }

// SetToken sets what the service thinks of a device token. since is the time
// that a 410 tells, zero for the time of the answer.
func (a *APNs) SetToken(token string, s TokenState, since time.Time) { a.tokens.set(token, s, since) }

// SetLatency changes the latency of requests that arrive from now on.
func (a *APNs) SetLatency(l Latency) { a.latency.set(l) }

// SetMaxStreams changes the stream limit, also of open connections on which a
// valid provider token was seen. A lower limit is enforced on a connection
// when its client has acknowledged it.
func (a *APNs) SetMaxStreams(n uint32) {
	a.maxStream.Store(n)
	for _, c := range a.open() {
		c.announceLimit(n)
	}
}

// GoAway sends GOAWAY on every open connection.
func (a *APNs) GoAway(g GoAway) {
	for _, c := range a.open() {
		c.mu.Lock()
		c.goAway(g)
		c.mu.Unlock()
	}
}

// Silence makes every open connection stop answering, pings included, and
// keeps the sockets. Connections made later work.
func (a *APNs) Silence() {
	for _, c := range a.open() {
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
	}
}

// Cut closes every open connection without a word.
func (a *APNs) Cut() {
	for _, c := range a.open() {
		c.close()
	}
}

// ExpireProviderTokens makes all provider tokens seen so far expired ones, as
// if an hour had passed; a new token is accepted at once.
func (a *APNs) ExpireProviderTokens() { a.auth.expireAll() }

// Deliveries says how many pushes with this message id (payload g.mid) were
// accepted, whether or not the sender learnt of it. Up to a million ids are
// counted.
func (a *APNs) Deliveries(mid string) int { return a.tally.deliveries(mid) }

// Stats returns the counts so far.
func (a *APNs) Stats() APNsStats {
	return APNsStats{
		Connections: a.stats.connections.Load(), OpenConnections: int64(len(a.open())),
		RefusedConnections: a.stats.refusedConnections.Load(),
		Requests:           a.stats.requests.Load(), Accepted: a.stats.accepted.Load(),
		RefusedStreams: a.stats.refused.Load(), ProviderTokens: a.auth.accepted(),
		GoAways: a.stats.goAways.Load(), ProtocolErrors: a.stats.protocolErrors.Load(),
		PeakStreams: a.stats.peak.Load(), Reasons: a.tally.byReason(),
	}
}

// sortedIDs returns the keys of m, ascending.
func sortedIDs(m map[uint32]*apnsStream) []uint32 {
	ids := make([]uint32, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
