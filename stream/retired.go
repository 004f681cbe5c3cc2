package stream

import (
	"context"
	"sync"
	"time"

	"footfall/audience"
	"footfall/internal/db"
)

const (
	// retiredFor is how long a retired token may be given back: as long as the guard of a lane looks back.
	retiredFor = 10 * time.Minute
	// retiredMost bounds the tokens that are remembered in one lane, the oldest go first. A guard trips with 41 in
	// up to 200 answers, and in a busy lane with a fifth of all.
	retiredMost = 10_000
	// returnPart bounds the tokens that one transaction gives back.
	returnPart = 256
)

// retired remembers which tokens were taken out of use lately, for the case that the lane's provider turns out not to
// be believed: then what it said just before was as wrong. It is in memory, like the guard of the lane, so a restart
// in between leaves those tokens out of use until their apps register again. Safe for concurrent use.
type retired struct {
	mu    sync.Mutex
	lanes map[string][]retiredToken
	wake  chan struct{} // capacity 1: a second wake-up adds nothing
}

type retiredToken struct {
	device  string
	tokenAt int64 // as in the profile: another token is another registration
	at      time.Time
}

func newRetired() *retired {
	return &retired{lanes: map[string][]retiredToken{}, wake: make(chan struct{}, 1)}
}

// add remembers a token. Called again for one that is there, because its transaction ran again, it does no harm.
func (r *retired) add(lane string, p *audience.Profile, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.lanes[lane]
	for len(list) > 0 && (now.Sub(list[0].at) > retiredFor || len(list) >= retiredMost) {
		list = list[1:]
	}
	r.lanes[lane] = append(list, retiredToken{p.Device, p.TokenAt, now})
}

// distrust asks for the tokens of a lane to be given back.
func (r *retired) distrust(lane string) {
	r.mu.Lock()
	some := len(r.lanes[lane]) > 0
	r.mu.Unlock()
	if some {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// take removes and returns up to n tokens that were retired in a lane.
func (r *retired) take(lane string, n int) []retiredToken {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.lanes[lane]
	n = min(n, len(list))
	r.lanes[lane] = list[n:]
	return list[:n:n]
}

// putBack undoes take.
func (r *retired) putBack(lane string, list []retiredToken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes[lane] = append(list, r.lanes[lane]...)
}

// returnTokens puts the tokens of lanes that are not believed any more back into use, until ctx ends.
func (g *Gateway) returnTokens(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.retired.wake:
		}
		for _, lane := range g.outbox.Lanes() {
			if g.outbox.TrustsTokens(lane) {
				continue
			}
			for ctx.Err() == nil {
				list := g.retired.take(lane, returnPart)
				if len(list) == 0 {
					break
				}
				n, err := g.returnSome(ctx, list)
				if err != nil {
					g.retired.putBack(lane, list) // the next answer of the lane wakes us
					if ctx.Err() == nil {
						g.cfg.Logger.Error("tokens could not be put back into use, trying again", "lane", lane, "n", len(list), "err", err)
					}
					break
				}
				g.count.returned.Add(int64(n))
				g.cfg.Logger.Warn("tokens put back into use: too many are called dead", "lane", lane, "n", n)
			}
		}
	}
}

// returnSome puts tokens back into use that nothing has happened to since, and returns how many.
func (g *Gateway) returnSome(ctx context.Context, list []retiredToken) (n int, err error) {
	err = g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		n = 0
		for _, r := range list {
			p, ok, err := audience.Get(tx, r.device)
			if err != nil {
				return err
			}
			if !ok || !p.TokenDead || p.TokenAt != r.tokenAt {
				continue
			}
			before := p
			p.TokenDead = false
			if err := noteSubscription(tx, &before, &p, tx.Now().UnixMilli(), g.cfg.Reports); err != nil {
				return err
			}
			if err := audience.Put(tx, &p); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
