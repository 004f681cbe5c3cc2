package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"footfall/campaign"
	"footfall/internal/db"
)

// A campaign ends in two ways: it is no longer among the files, or is disabled there; or an operator has stopped
// it. Either way it decides nothing more, and what it still owes is cancelled. An operator's stop is kept in the
// ledger, so that it holds through restarts and whatever the files say, until the campaign is started again.

// stoppedSpace: campaign -> Unix ms of the stop.
var stoppedSpace = db.Register(0x0f, "stream.stopped", 1)

// ErrNoCampaign: there is no campaign with this id, nor anything that it owes.
var ErrNoCampaign = errors.New("stream: no such campaign")

// loadStopped reads which campaigns an operator has stopped.
func loadStopped(d *db.DB) (map[string]bool, error) {
	stopped := map[string]bool{}
	err := d.View(func(tx *db.Tx) error {
		return tx.Scan(stoppedSpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
			parts, ok := stoppedSpace.Split(key)
			if !ok || len(parts) != 1 {
				return false, fmt.Errorf("stream: stopped key %x", key)
			}
			stopped[string(parts[0])] = true
			return true, nil
		})
	})
	return stopped, err
}

// SetCampaigns makes a set of campaigns active. What a campaign owes that is gone or disabled in it is cancelled in
// the background, its claims released; one that is paused keeps what it owes, and each push is suppressed when its
// turn comes.
func (g *Gateway) SetCampaigns(set *campaign.Set) {
	g.stops.Lock()
	defer g.stops.Unlock()
	g.stops.given = set
	for _, id := range g.activate() {
		g.stops.ending[id] = "the campaign is gone or disabled"
	}
	g.wakeEnding()
}

func (g *Gateway) wakeEnding() {
	select {
	case g.stops.wake <- struct{}{}:
	default:
	}
}

// activate applies the stops to the given set, makes it active, and returns the campaigns that it has ended; stops
// is held.
func (g *Gateway) activate() (ended []string) {
	before, set := g.campaigns.Load(), g.stops.given
	if len(g.stops.stopped) > 0 {
		all := slices.Clone(set.All())
		for i, c := range all {
			if g.stops.stopped[c.ID] {
				halted := *c
				halted.Enabled = false
				all[i] = &halted
			}
		}
		if s, err := campaign.NewSet(all); err == nil { // the ids are as they were
			set = s
		}
	}
	g.campaigns.Store(set)
	for _, c := range before.All() {
		if now, ok := set.Find(c.ID); c.Enabled && (!ok || !now.Enabled) {
			ended = append(ended, c.ID)
		}
	}
	return ended
}

// endCampaigns cancels what ended campaigns owe until ctx ends.
func (g *Gateway) endCampaigns(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.stops.wake:
		}
		g.stops.Lock()
		ending := maps.Clone(g.stops.ending)
		g.stops.Unlock()
		for id, reason := range ending {
			if c, ok := g.campaigns.Load().Find(id); ok && c.Enabled {
				g.ended(id) // it is back
				continue
			}
			n, err := g.cancel(ctx, id, reason)
			switch {
			case err == nil:
				g.cfg.Logger.Info("campaign ended: what it owed is cancelled", "campaign", id, "cancelled", n)
				g.ended(id)
			case ctx.Err() == nil:
				g.cfg.Logger.Error("what an ended campaign owes could not be cancelled; trying again", "campaign", id, "cancelled", n, "err", err)
				time.AfterFunc(time.Second, g.wakeEnding)
			}
		}
	}
}

func (g *Gateway) ended(id string) {
	g.stops.Lock()
	defer g.stops.Unlock()
	delete(g.stops.ending, id)
}

// cancel ends what a campaign owes that decides nothing more. The empty transaction lets the ledger's writer finish
// what it was settling with the set of before.
func (g *Gateway) cancel(ctx context.Context, id, reason string) (int, error) {
	if err := g.cfg.DB.Update(ctx, func(*db.Tx) error { return nil }); err != nil {
		return 0, err
	}
	return g.outbox.CancelCampaign(ctx, id, reason)
}

// StopCampaign ends a campaign until StartCampaign, through restarts. When it returns without an error nothing more
// is sent: requests in flight have been waited for, and the n pushes that were owed are cancelled, their claims
// released. After an error the campaign decides nothing more, and the rest is cancelled in the background.
func (g *Gateway) StopCampaign(ctx context.Context, id string) (n int, err error) {
	if _, ok := g.Campaigns().Find(id); !ok {
		return 0, fmt.Errorf("%w: %q", ErrNoCampaign, id)
	}
	err = g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		return tx.Set(stoppedSpace.Key([]byte(id)), fmt.Appendf(nil, "%d", tx.Now().UnixMilli()))
	})
	if err != nil {
		return 0, fmt.Errorf("stream: stop campaign %s: %w", id, err)
	}
	const reason = "stopped by an operator"
	defer g.outbox.HoldCampaign(id)()
	g.stops.Lock()
	g.stops.stopped[id] = true
	g.activate()
	g.stops.Unlock()
	n, err = g.cancel(ctx, id, reason)
	if err != nil {
		g.stops.Lock()
		g.stops.ending[id] = reason
		g.stops.Unlock()
		g.wakeEnding()
		return n, err
	}
	g.cfg.Logger.Info("campaign stopped by an operator", "campaign", id, "cancelled", n)
	return n, nil
}

// StartCampaign undoes StopCampaign: what the files say counts again. It reports whether it was stopped.
func (g *Gateway) StartCampaign(ctx context.Context, id string) (bool, error) {
	g.stops.Lock()
	defer g.stops.Unlock()
	if !g.stops.stopped[id] {
		return false, nil
	}
	if err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error { return tx.Delete(stoppedSpace.Key([]byte(id))) }); err != nil {
		return true, fmt.Errorf("stream: start campaign %s: %w", id, err)
	}
	delete(g.stops.stopped, id)
	g.activate()
	g.cfg.Logger.Info("campaign started by an operator", "campaign", id)
	return true, nil
}

// StoppedCampaigns lists the campaigns that an operator has stopped, in order.
func (g *Gateway) StoppedCampaigns() []string {
	g.stops.Lock()
	defer g.stops.Unlock()
	return slices.Sorted(maps.Keys(g.stops.stopped))
}
