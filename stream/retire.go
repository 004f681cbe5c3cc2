package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"footfall/internal/db"
	"footfall/journey"
)

// A version of a journey that is not in the files any more is kept while somebody is under way by it, and then for as long as
// its pushes may be sent again and reports be asked for. With its last version a journey is gone: its counts, and who has been
// in it.

// retireEvery is how often it is looked who is under way by old versions.
const retireEvery = 6 * time.Hour

// runRetire removes old versions until ctx ends.
func (g *Gateway) runRetire(ctx context.Context) {
	for {
		if _, err := g.retireVersions(ctx); err != nil && ctx.Err() == nil {
			g.cfg.Logger.Error("old versions of journeys could not be removed; trying again later", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retireEvery):
		}
	}
}

// retireVersions notes which versions are in use, and removes those that have not been for long enough. It returns how many.
func (g *Gateway) retireVersions(ctx context.Context) (removed int, err error) {
	set := g.journeys.set.Load()
	var old []string // journeys with a version that is not in the files
	for key, j := range set.versions {
		if set.active[key[0]] != j {
			old = append(old, key[0])
		}
	}
	slices.Sort(old)
	now := g.cfg.Now().UnixMilli()
	// What is seen may be gone by the next look: hence one more of them.
	keep := max(g.cfg.Reports, g.cfg.Outbox.KeepFinished) + retireEvery
	for _, id := range slices.Compact(old) {
		var used map[[2]string]int64
		var pinned map[string]bool
		err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
			if used, err = journey.LastUsed(tx); err == nil {
				pinned, err = journey.Pinned(tx, id)
			}
			return err
		})
		if err != nil {
			return removed, err
		}
		n, err := g.retireJourney(ctx, id, used, pinned, now, now-keep.Milliseconds())
		if removed += n; err != nil {
			return removed, fmt.Errorf("journey %s: %w", id, err)
		}
	}
	return removed, nil
}

// retireJourney does so for one journey: used and pinned are as they were read at now, and what was last used before is
// removed.
func (g *Gateway) retireJourney(ctx context.Context, id string, used map[[2]string]int64, pinned map[string]bool, now, before int64) (removed int, err error) {
	last := true // no version is left
	for key := range g.journeys.set.Load().versions {
		if at, known := used[key]; key[0] == id && (pinned[key[1]] || !known || at >= before) {
			last = false
		}
	}
	if last {
		for n := eraseChunk; n == eraseChunk; {
			if err := g.cfg.DB.Update(ctx, func(tx *db.Tx) (err error) { n, err = journey.DropEnded(tx, id, eraseChunk); return err }); err != nil {
				return 0, err
			}
		}
	}
	g.journeys.mu.Lock()
	defer g.journeys.mu.Unlock()
	set := g.journeys.set.Load()
	next := *set
	next.versions = maps.Clone(set.versions)
	err = g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		removed = 0
		next.versions = maps.Clone(set.versions)
		still, err := journey.LastUsed(tx)
		if err != nil {
			return err
		}
		for key, j := range set.versions {
			if key[0] != id || set.active[id] == j {
				continue
			}
			at, known := used[key]
			if pinned[key[1]] || !known { // one that is new here counts from its first look
				if err := journey.PutUsed(tx, id, key[1], now); err != nil {
					return err
				}
				continue
			}
			if at >= before || still[key] != at { // the latter: it has been in the files again meanwhile
				continue
			}
			if err := journey.DropVersion(tx, id, key[1]); err != nil {
				return err
			}
			delete(next.versions, key)
			removed++
		}
		if next.known(id) || removed == 0 {
			return nil
		}
		return journey.DropCounts(tx, id) // not what an operator has said: it holds should the journey come back
	})
	if err != nil || removed == 0 {
		return 0, err
	}
	next.index()
	g.journeys.set.Store(&next)
	g.members.poke()
	g.cfg.Logger.Info("versions of a journey that nobody is in were removed", "journey", id, "removed", removed)
	return removed, nil
}
