package inapp

import (
	"context"
	"errors"
	"time"

	"footfall/push"
)

// First is a provider that tries the app itself before the push service: a device that is connected and answers in
// time has the message in-app; any other gets the push. Both carry the same message id, by which the app shows one.
// See docs/decisions/0012-in-app-first.md.
type First struct {
	app  *Provider
	next push.Provider
	// waiting bounds the sends that wait for devices, so that many dead connections do not hold up a lane: with no
	// place free the push goes at once.
	waiting chan struct{}
}

var (
	_ push.Provider = (*First)(nil)
	_ push.Rotator  = (*First)(nil)
)

// ReasonInApp is the Reason of an Outcome when the app itself took the message.
const ReasonInApp = "in_app"

// maxWaiting is how many sends of one First wait for devices at a time.
const maxWaiting = 64

// NewFirst puts app before next, and owns both. The Timeout of app is how long a device has to answer.
func NewFirst(app *Provider, next push.Provider) *First {
	return &First{app: app, next: next, waiting: make(chan struct{}, maxWaiting)}
}

// Name implements push.Provider: the name of the push service behind it.
func (f *First) Name() string { return f.next.Name() }

// CredentialFiles implements push.Rotator: the files of the push service behind it, if it has any.
func (f *First) CredentialFiles() []string {
	if r, ok := f.next.(push.Rotator); ok {
		return r.CredentialFiles()
	}
	return nil
}

// Rotate implements push.Rotator.
func (f *First) Rotate() (changed bool, err error) {
	if r, ok := f.next.(push.Rotator); ok {
		return r.Rotate()
	}
	return false, nil
}

// Send implements push.Provider. A device that is not connected costs one look at the NATS server's subscriptions.
//
// When the device may have the message and did not say so, and the push then fails, Outcome.Doubt is set: the person
// may have seen it all the same.
func (f *First) Send(ctx context.Context, n *push.Notification) push.Outcome {
	if !worthAsking(ctx, n, f.app.cfg.Timeout, f.app.cfg.Now()) {
		return f.next.Send(ctx, n)
	}
	select {
	case f.waiting <- struct{}{}:
	default:
		return f.next.Send(ctx, n)
	}
	o := f.app.Send(ctx, n)
	<-f.waiting
	switch o.Class {
	case push.Accepted:
		o.Reason = ReasonInApp
		return o
	case push.TokenDead: // the installation says that it is no longer this device
		return o
	}
	pushed := f.next.Send(ctx, n)
	pushed.Doubt = pushed.Doubt || o.Class == push.InDoubt
	return pushed
}

// worthAsking: there is time to ask the device first and still to send the push.
func worthAsking(ctx context.Context, n *push.Notification, wait time.Duration, now time.Time) bool {
	if !n.ExpiresAt.IsZero() && n.ExpiresAt.Sub(now) < 2*wait {
		return false
	}
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > 2*wait
}

// Close implements push.Provider.
func (f *First) Close() error { return errors.Join(f.app.Close(), f.next.Close()) }
