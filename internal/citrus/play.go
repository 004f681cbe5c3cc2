package citrus

import (
	"context"
	"fmt"
	"time"

	"footfall/funnel"
	"footfall/internal/stage"
	"footfall/stream"
)

// StepLength is how far the clock of a play goes at a time.
const StepLength = 3 * time.Minute

// Play plays the day and the reports of its evening to a gateway, step by step; after each onStep is called with the time
// of the day. ctx ends it earlier, between two steps.
func (d *Day) Play(ctx context.Context, p *stage.Player, ph *stage.Phones, onStep func(now time.Time)) error {
	r := NewReporter(d, ph)
	now := d.Begins
	for _, ms := range stage.Steps(d.Messages, StepLength) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		now = ms[0].SendAt.Truncate(StepLength).Add(StepLength)
		if err := p.Play(now, ms); err != nil {
			return err
		}
		r.Look(now)
		if err := p.Send(r.Ready(now)); err != nil {
			return err
		}
		onStep(now)
	}
	for ; r.Due(); now = now.Add(StepLength) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.G.Clock.Forward(now)
		if err := p.Send(r.Ready(now)); err != nil {
			return err
		}
		onStep(now)
	}
	if n := r.Waiting(); n > 0 {
		return fmt.Errorf("citrus: %d phones never showed their notice", n)
	}
	return p.G.Drain(0)
}

// Read is the report of the day, from the gateway's ledger.
func Read(ctx context.Context, g *stage.Gateway) (*funnel.Campaign, error) {
	on := funnel.DayOf(Opens.UnixMilli(), 0)
	r, err := stream.Report(ctx, g.DB, funnel.Query{Campaign: CampaignID, From: on, To: on}, g.Clock.Now())
	if err != nil {
		return nil, err
	}
	return r.Campaigns[0], nil
}
