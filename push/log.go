package push

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Log is a provider that prints every notification as one line of text and
// accepts it. It is what a gateway without push credentials uses: one sees
// who would have got what.
//
//	push  shop/phone-7 (ios …c81f)  "Знижка 20 %"  "Лише сьогодні"  fence=kyiv-01 campaign=anniversary expires in 14m59s mid=3f0c…
//
// It prints titles and bodies, which the log of a provider with credentials
// never does.
type Log struct {
	now func() time.Time

	mu     sync.Mutex // one line at a time
	w      io.Writer
	closed bool
}

var _ Provider = (*Log)(nil)

// NewLog returns a Log that writes to w. now is the clock for expiry; nil is
// time.Now.
func NewLog(w io.Writer, now func() time.Time) *Log {
	if now == nil {
		now = time.Now
	}
	return &Log{w: w, now: now}
}

// Name implements Provider.
func (l *Log) Name() string { return "log" }

// Send implements Provider. A line that cannot be written is Retry.
func (l *Log) Send(ctx context.Context, n *Notification) Outcome {
	now := l.now()
	switch {
	case ctx.Err() != nil:
		return Outcome{Class: Retry, Reason: "context is done"}
	case !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt):
		return Outcome{Class: Expired, Reason: "expired before sending"}
	}
	line := logLine(n, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return Outcome{Class: Retry, Reason: "provider is closed"}
	}
	if _, err := io.WriteString(l.w, line); err != nil {
		return Outcome{Class: Retry, Reason: "write the line: " + err.Error()}
	}
	return Outcome{Class: Accepted, ProviderID: n.MID, Sent: true}
}

// logLine is one line whatever the texts contain: %q escapes line ends and
// everything else that a terminal would act on.
func logLine(n *Notification, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "push  %s/%s (%s %s)", n.App, n.Device, n.Platform, RedactToken(n.Token))
	if n.Silent {
		b.WriteString("  silent")
	} else {
		for _, s := range []string{n.Title, n.Subtitle, n.Body} {
			if s != "" {
				fmt.Fprintf(&b, "  %q", s)
			}
		}
	}
	fmt.Fprintf(&b, "  fence=%s campaign=%s", n.Fence, n.Campaign)
	if n.Image != "" {
		fmt.Fprintf(&b, " image=%q", n.Image)
	}
	if n.Link != "" {
		fmt.Fprintf(&b, " link=%q", n.Link)
	}
	if !n.ExpiresAt.IsZero() {
		fmt.Fprintf(&b, " expires in %v", n.ExpiresAt.Sub(now).Round(time.Second))
	}
	fmt.Fprintf(&b, " mid=%s\n", n.MID)
	return b.String()
}

// Close implements Provider. It does not close the writer.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}
