package fake

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"
)

// FCMConfig configures an FCM fake; the zero value is ready to use.
type FCMConfig struct {
	Addr           string           // default "127.0.0.1:0"
	Listener       net.Listener     // replaces Addr when set
	ProjectID      string           // default "footfall-fake"
	MaxStreams     int              // per connection; default 100
	MaxConnections int              // default 1024
	QuotaPerMinute int              // messages per minute; default 600,000
	Latency        Latency          // of every answer
	Phones         *PhoneBook       // shared with other fakes; default a new one
	Now            func() time.Time // default time.Now
	Logger         *slog.Logger     // default discards
}

// FCM is a running fake.
type FCM struct {
	RootCAs   *x509.CertPool
	CAPEM     []byte
	ProjectID string
}

// Answers of FCM for Answer.Reason.
const (
	FCMUnregistered      = "UNREGISTERED"
	FCMNotFound          = "NOT_FOUND"
	FCMInvalidToken      = "INVALID_TOKEN"
	FCMInvalidField      = "INVALID_FIELD"
	FCMQuotaExceeded     = "QUOTA_EXCEEDED"
	FCMDeviceQuota       = "DEVICE_QUOTA_EXCEEDED"
	FCMResourceExhausted = "RESOURCE_EXHAUSTED"
	FCMUnavailable       = "UNAVAILABLE"
	FCMInternal          = "INTERNAL"
	FCMThirdPartyAuth    = "THIRD_PARTY_AUTH_ERROR"
	FCMSenderIDMismatch  = "SENDER_ID_MISMATCH"
	FCMUnauthenticated   = "UNAUTHENTICATED"
	FCMPermissionDenied  = "PERMISSION_DENIED"
)

// StartFCM listens and serves until Close.
func StartFCM(cfg FCMConfig) (*FCM, error) { return nil, errors.New("fake: not yet") }

func (f *FCM) URL() string                                          { return "" }
func (f *FCM) Endpoint() string                                     { return "" }
func (f *FCM) CredentialsJSON() []byte                              { return nil }
func (f *FCM) Addr() net.Addr                                       { return nil }
func (f *FCM) Close() error                                         { return nil }
func (f *FCM) Phones() *PhoneBook                                   { return nil }
func (f *FCM) Script(rules ...Rule)                                 {}
func (f *FCM) ClearScript()                                         {}
func (f *FCM) SetToken(token string, s TokenState, since time.Time) {}
func (f *FCM) SetLatency(l Latency)                                 {}
func (f *FCM) RevokeAccessTokens()                                  {}
func (f *FCM) Deliveries(mid string) int                            { return 0 }
func (f *FCM) Stats() FCMStats                                      { return FCMStats{} }
func (f *FCM) WriteFiles(dir string) (FCMFiles, error)              { return FCMFiles{}, nil }

// FCMStats are counts since the start.
type FCMStats struct {
	Connections, Requests, Accepted, TokenRequests, AccessTokens int64
	Reasons                                                      map[string]int64
}

// FCMFiles are the paths that WriteFiles wrote.
type FCMFiles struct{ CA, Key, Info string }
