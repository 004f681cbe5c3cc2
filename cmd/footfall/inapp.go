package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/push"
	"footfall/push/inapp"
	"footfall/stream/natsd"
)

// askAppsFirst lets every provider try the app itself before its push service (see docs/decisions/0012-in-app-first.md), and adds the
// lane of what only apps get.
// The connection is closed with the providers.
func (p *providers) askAppsFirst(server *natsd.Server, wait time.Duration) error {
	// Without a buffer: a message that waited for a reconnection would come after its push.
	nc, err := server.Connect("in-app", nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	p.closers = append(p.closers, nc.Close)
	wrapped := map[push.Provider]push.Provider{}
	for lane, provider := range p.lanes {
		if wrapped[provider] == nil {
			app, err := inapp.New(inapp.Config{Requester: requester{nc}, Timeout: wait})
			if err != nil {
				return err
			}
			wrapped[provider] = inapp.NewFirst(app, provider)
		}
		p.lanes[lane] = wrapped[provider]
	}
	app, err := inapp.New(inapp.Config{Requester: requester{nc}, Timeout: wait})
	if err != nil {
		return err
	}
	p.add(inapp.NewOnly(app), laneInApp)
	return nil
}

// requester is a NATS connection as push/inapp sees it.
type requester struct{ nc *nats.Conn }

// Request implements inapp.Requester.
func (r requester) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if !r.nc.IsConnected() {
		return nil, fmt.Errorf("%w: no connection to NATS", inapp.ErrNotSent)
	}
	m, err := r.nc.RequestWithContext(ctx, subject, data)
	switch {
	case err == nil:
		return m.Data, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, inapp.ErrNoResponder
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionReconnecting):
		return nil, fmt.Errorf("%w: %w", inapp.ErrNotSent, err)
	}
	return nil, err
}
