package fake

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"
)

// APNsConfig configures an APNs fake; the zero value is ready to use.
type APNsConfig struct {
	Addr                string           // default "127.0.0.1:0"
	Listener            net.Listener     // replaces Addr when set
	Topic               string           // default "com.example.footfall"
	KeyID, TeamID       string           // default "FAKEKEY001", "FAKETEAM01"
	Sandbox             bool             // answer as the development environment
	MaxStreams          uint32           // after a valid provider token; default 1000
	MaxConnections      int              // default 1024
	Latency             Latency          // of every answer
	TokenUpdateInterval time.Duration    // between provider tokens; default 20 min
	NoWedge             bool             // do not wedge after an expired token
	Phones              *PhoneBook       // shared with other fakes; default a new one
	Now                 func() time.Time // default time.Now
	Logger              *slog.Logger     // default discards
}

// APNs is a running fake.
type APNs struct {
	RootCAs              *x509.CertPool
	CAPEM, KeyPEM        []byte
	KeyID, TeamID, Topic string
}

// StartAPNs listens and serves until Close.
func StartAPNs(cfg APNsConfig) (*APNs, error) { return nil, errors.New("fake: not yet") }

func (a *APNs) URL() string                                          { return "" }
func (a *APNs) Addr() net.Addr                                       { return nil }
func (a *APNs) Close() error                                         { return nil }
func (a *APNs) Phones() *PhoneBook                                   { return nil }
func (a *APNs) Script(rules ...Rule)                                 {}
func (a *APNs) ClearScript()                                         {}
func (a *APNs) SetToken(token string, s TokenState, since time.Time) {}
func (a *APNs) SetLatency(l Latency)                                 {}
func (a *APNs) SetMaxStreams(n uint32)                               {}
func (a *APNs) GoAway(g GoAway)                                      {}
func (a *APNs) Silence()                                             {}
func (a *APNs) Cut()                                                 {}
func (a *APNs) ExpireProviderTokens()                                {}
func (a *APNs) Deliveries(mid string) int                            { return 0 }
func (a *APNs) Stats() APNsStats                                     { return APNsStats{} }
func (a *APNs) WriteFiles(dir string) (APNsFiles, error)             { return APNsFiles{}, nil }

// APNsStats are counts since the start.
type APNsStats struct {
	Connections, OpenConnections, Requests, Accepted, RefusedStreams, ProviderTokens, GoAways, ProtocolErrors int64
	PeakStreams                                                                                               int64
	Reasons                                                                                                   map[string]int64
}

// APNsFiles are the paths that WriteFiles wrote.
type APNsFiles struct{ CA, Key, Info string }

// DeviceToken makes a well-formed APNs device token out of any name.
func DeviceToken(name string) string { return "" }
