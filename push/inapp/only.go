package inapp

import (
	"cmp"
	"context"
	"time"

	"footfall/push"
)

// Only is the provider of messages that nobody but the app gets: those of a
// device without a push token, and those of campaigns that are in-app by
// choice. A device that is not connected, or whose app is not looked at, is
// asked again until the message has expired; that says nothing about the
// lane's health, and spends no attempt.
type Only struct{ app *Provider }

var _ push.Provider = (*Only)(nil)

// awayPause is the least time until a device that was not there is asked again.
const awayPause = 2 * time.Second

// notShown is what a device answers whose app is in the background.
const notShown = "not_shown"

// NewOnly owns app.
func NewOnly(app *Provider) *Only { return &Only{app} }

// Name implements push.Provider.
func (o *Only) Name() string { return o.app.Name() }

// Send implements push.Provider. The reason of an accepted message is
// ReasonInApp, as that of First.
func (o *Only) Send(ctx context.Context, n *push.Notification) push.Outcome {
	out := o.app.Send(ctx, n)
	switch {
	case out.Class == push.Accepted:
		out.Reason = ReasonInApp
	case out.Class == push.Retry, out.Class == push.Bug && out.Sent && out.Reason == notShown:
		out.Class, out.RetryAfter = push.RetryNow, cmp.Or(out.RetryAfter, awayPause)
	}
	return out
}

// Close implements push.Provider.
func (o *Only) Close() error { return o.app.Close() }
