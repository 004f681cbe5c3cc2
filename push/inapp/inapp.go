// Package inapp sends notifications to an app that is connected right now, as
// requests on the NATS subject down.<app>.<device>, which the device answers.
//
// The payload is a JSON object, see [Message]; the device's answer is
//
//	{"ok":true}                                shown, or handed to the app: accepted
//	{"ok":true,"id":"…"}                       the same, with the app's own id of it
//	{"ok":false,"error":"busy","retry_ms":500} later, not before retry_ms
//	{"ok":false,"error":"rate","retry_ms":…}   too many for this device
//	{"ok":false,"error":"too_large"}           too large for this app
//	{"ok":false,"error":"gone"}                this installation is no longer that device: its registration goes
//	{"ok":false,"error":"…"}                   any other word: the notification fails, with that reason
//
// A device answers {"ok":true} as well for a mid that it has shown before:
// after an answer was lost the same message comes again, with the same mid.
//
// When nobody subscribes the subject, the device is not connected and nothing
// was sent; the caller sends through another channel or tries later.
package inapp

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// ErrNoResponder is what a Requester returns (perhaps wrapped) when nobody
// subscribes the subject. ErrNotSent: the request has certainly not left, for
// instance because there is no connection to the server.
var (
	ErrNoResponder = errors.New("inapp: the device is not connected")
	ErrNotSent     = errors.New("inapp: not sent")
)

// Requester publishes data on a subject and waits for the first answer. It is
// a NATS connection with its errors translated: ErrNoResponder and ErrNotSent
// as above. Every other error, also that of ctx, leaves open whether the
// device has the request. It sends one message, does not repeat it, and is
// safe for concurrent use.
//
// A NATS client that buffers while it reconnects would send a request long
// after its deadline: switch that buffer off for this connection.
type Requester interface {
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
}

// Config describes a Provider. Requester is required.
type Config struct {
	Requester Requester
	// Timeout bounds one attempt, default 5 s: a phone that is connected answers
	// at once, or has lost its network without telling.
	Timeout time.Duration
	// Now is the clock for expiry; nil is time.Now.
	Now func() time.Time
}

// Provider sends to connected devices. It implements push.Provider.
type Provider struct {
	cfg Config

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var _ push.Provider = (*Provider)(nil)

// New checks cfg and returns a provider. Nothing is sent.
func New(cfg Config) (*Provider, error) {
	switch {
	case cfg.Requester == nil:
		return nil, errors.New("inapp: requester is not set: give a connection to the NATS server that the devices use")
	case cfg.Timeout < 0:
		return nil, errors.New("inapp: timeout must not be negative (0 is the default)")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Provider{cfg: cfg}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

// Name implements push.Provider.
func (p *Provider) Name() string { return "inapp" }

// Send implements push.Provider. The token is not needed: the device is
// addressed by its name. Retry with Sent = false and the reason "not
// connected" is the common outcome for a phone in a pocket.
func (p *Provider) Send(ctx context.Context, n *push.Notification) push.Outcome {
	now := p.cfg.Now()
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return push.Outcome{Class: push.Expired, Reason: "expired before sending"}
	}
	switch {
	case n.MID == "":
		return push.Outcome{Class: push.Bug, Reason: "no message id"}
	case !subjectToken(n.App) || !subjectToken(n.Device):
		return push.Outcome{Class: push.Bug, Reason: "app or device cannot stand in a subject"}
	}
	data, _, err := compose(n)
	switch {
	case errors.Is(err, errTooLarge):
		return push.Outcome{Class: push.TooLarge, Reason: err.Error()}
	case err != nil:
		return push.Outcome{Class: push.Bug, Reason: exchange.Brief(err.Error())}
	case ctx.Err() != nil:
		return push.Outcome{Class: push.Retry, Reason: "no time left to send"}
	case !p.enter():
		return push.Outcome{Class: push.Retry, Reason: "provider is closed"}
	}
	defer p.calls.Done()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	reply, err := p.cfg.Requester.Request(ctx, "down."+n.App+"."+n.Device, data)
	if err != nil {
		return failure(err)
	}
	o := Classify(reply)
	if o.Class == push.Accepted && o.ProviderID == "" {
		o.ProviderID = n.MID
	}
	if n.Token != "" {
		o.Reason, o.ProviderID = redact(o.Reason, n.Token), redact(o.ProviderID, n.Token)
	}
	return o
}

func (p *Provider) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.calls.Add(1)
	return true
}

// Close implements push.Provider. It does not close the Requester.
func (p *Provider) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.calls.Wait()
	return nil
}

// subjectToken reports whether s is an app or a device of the protocol: 1 to
// 64 of A-Z a-z 0-9 _ -. Anything else could be a wildcard or more tokens.
func subjectToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
