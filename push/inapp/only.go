package inapp

import (
	"cmp"
	"context"
	"time"

	"footfall/push"
)

// Only is the provider of messages that nobody but the app gets: those of a
// device without a push token, and those of campaigns that are in-app by
// choice. A device that is not connected, whose app is not looked at, or that
// does not answer, is away: the message waits for it until it has expired. That
// says nothing about the lane's health, and spends no attempt.
type Only struct{ app *Provider }

var _ push.Provider = (*Only)(nil)

// linkPause is the least time until a message is tried again that did not even
// leave, because the gateway's own connection is down.
const linkPause = 2 * time.Second

// notShown is what a device answers whose app is in the background.
const notShown = "not_shown"

// NewOnly owns app.
func NewOnly(app *Provider) *Only { return &Only{app} }

// Name implements push.Provider.
func (o *Only) Name() string { return o.app.Name() }

// Send implements push.Provider. The reason of an accepted message is
// ReasonInApp, as that of First. A device that has the message and does not
// answer may have shown it: Away with Outcome.Doubt. It is asked again under the
// same message id, by which the app shows one.
func (o *Only) Send(ctx context.Context, n *push.Notification) push.Outcome {
	out := o.app.Send(ctx, n)
	switch {
	case out.Class == push.Accepted:
		out.Reason = ReasonInApp
	case out.Class == push.Retry && out.Reason == notConnected, out.Class == push.Bug && out.Sent && out.Reason == notShown:
		out.Class = push.Away
	case out.Class == push.Retry: // busy, or nothing has left
		out.Class, out.RetryAfter = push.RetryNow, cmp.Or(out.RetryAfter, linkPause)
	case out.Class == push.InDoubt:
		out.Class, out.Doubt = push.Away, true
	}
	return out
}

// Close implements push.Provider.
func (o *Only) Close() error { return o.app.Close() }
