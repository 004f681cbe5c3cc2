package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/stream/wire"
	"footfall/track"
)

// When the person takes back the consent to the use of positions ("consent":{"location":false} of a registration), the gateway
// stops deciding about the device, and erases what positions have told of it. Consent is of a device, as the registration is.
//
//	collector   refuses its positions from then on as no_consent, before they are stored (consents)
//	worker      lets go of its presence at the registration's place in the log, and drops what the log has of it behind that: this
//	            decides, so a log that is read again comes to the same (track.Tracker.Withdraw)
//	settler     in the transaction of the registration: presence, visits and decisions go, runs of journeys that began at a fence
//	            end, and pushes that wait are due at once, to be suppressed
//
// Consent given again, or no more spoken of, makes the device one that has never been seen.

// withdrawnSpace says since when a device is withdrawn, Unix ms. The empty device is there when profiles that an earlier
// version has stored have been seen to.
var withdrawnSpace = db.Register(0x63, "stream.withdrawn", 1) // device -> time

// erasureSpace is what is left to be erased of devices, up to a time in Unix ms.
var erasureSpace = db.Register(0x64, "stream.erasures", 1) // device -> time

func withdrawnKey(id track.DeviceID) []byte { return withdrawnSpace.Key([]byte(id)) }

// suppressNoConsent is the reason of pushes that were waiting.
const suppressNoConsent outbox.Suppress = journey.WhyNoConsent

// withdrawnAt is since when a device is withdrawn, Unix ms; 0: it is not.
func withdrawnAt(tx *db.Tx, id track.DeviceID) (int64, error) {
	val, err := tx.Get(withdrawnKey(id))
	switch {
	case errors.Is(err, db.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return unstamp(val)
}

// consent changes presence by what a registration says, and notes in its input that it did.
func (w *worker) consent(in *input, payload []byte) {
	said, changed := audience.LocationConsentIn(payload), false
	switch said {
	case audience.ConsentWithdrawn:
		changed = w.tracker.Withdraw(in.device, uint64(in.pos))
	case audience.ConsentGiven:
		changed = w.tracker.Readmit(in.device, uint64(in.pos))
		w.settler.consents.given(in.device)
	}
	if changed && in.pos > w.mark.Committed {
		in.consent = said
		in.row, _ = w.tracker.Encode(nil, in.device)
		w.tracker.MarkClean(in.device)
	}
}

// settleConsent writes what a change of consent means. p is the profile before it.
func (s *settler) settleConsent(tx *db.Tx, in *input, p *audience.Profile, t *tally) error {
	switch in.consent {
	case audience.ConsentWithdrawn:
		if err := s.withdraw(tx, in.device, in.receivedAt, p, t); err != nil {
			return fmt.Errorf("stream: erase positions of %s: %w", in.device, err)
		}
		t.consents["withdrawn"]++
	case audience.ConsentGiven:
		if err := tx.Delete(withdrawnKey(in.device)); err != nil {
			return err
		}
		t.consents["given"]++
	}
	return nil
}

// withdraw erases what positions of a device have told, but for presence, and ends what waits because of it.
func (s *settler) withdraw(tx *db.Tx, id track.DeviceID, at int64, p *audience.Profile, t *tally) error {
	if err := tx.Set(withdrawnKey(id), stamp(at)); err != nil {
		return err
	}
	left, err := erasePlaces(tx, id, math.MaxInt64, t)
	if err != nil {
		return err
	}
	if left {
		if err := tx.Set(erasureSpace.Key([]byte(id)), stamp(at+erasureSlack.Milliseconds())); err != nil {
			return err
		}
		tx.AfterCommit(s.consents.poke)
	}
	if err := s.changing(tx, p, journey.ChangedVisits, ""); err != nil {
		return err
	}
	return s.journeyWithdrawn(tx, id, p.Subject(), t)
}

// erasureMost bounds what one transaction erases of each kind; a courier's device may have tens of thousands of visits.
// erasureSlack is how far ahead of the gateway a time may be that such a row has.
const (
	erasureMost  = 4_000
	erasureSlack = 5 * time.Minute
)

// erasePlaces erases decisions and visits of a device up to a time (Unix ms), as many as fit a transaction, and has pushes that
// wait because of them decided at once. left says that there are more.
func erasePlaces(tx *db.Tx, id track.DeviceID, until int64, t *tally) (left bool, err error) {
	now := tx.Now().UnixMilli()
	n := 0
	err = tx.Scan(decisionSpace.Key([]byte(id)), nil, func(key, val []byte) (bool, error) {
		d, err := unpackDecision(val)
		if err != nil {
			return false, fmt.Errorf("decision %x: %w", key, err)
		}
		if d.At > until {
			return false, nil
		}
		if left = n == erasureMost; left {
			return false, nil
		}
		n++
		for i := range d.Campaigns {
			c := &d.Campaigns[i]
			if c.MID == "" {
				continue
			}
			for copy := range max(c.Devices, 1) {
				hastened, err := outbox.Hasten(tx, dedupe.CopyID(c.MID, copy), now)
				if err != nil {
					return false, err
				}
				if hastened {
					t.hastened++
				}
			}
		}
		return true, tx.Delete(bytes.Clone(key))
	})
	if err != nil {
		return false, err
	}
	visits, err := audience.EraseVisits(tx, string(id), until, erasureMost)
	return left || visits == erasureMost, err
}

// runErasures goes on with erasures that were too much for one transaction, those of an earlier run first.
func (g *Gateway) runErasures(ctx context.Context) {
	for {
		more, err := g.eraseSome(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			g.cfg.Logger.Error("what positions of a device have told could not be erased; trying again", "err", err)
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
		case !more:
			select {
			case <-g.settler.consents.owing:
			case <-ctx.Done():
				return
			}
		}
	}
}

// eraseSome goes on with the first erasure that is owed. more says that there was one.
func (g *Gateway) eraseSome(ctx context.Context) (more bool, err error) {
	var key []byte
	var until int64
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		return tx.Scan(erasureSpace.Prefix(), nil, func(k, val []byte) (bool, error) {
			key = bytes.Clone(k)
			until, err = unstamp(val)
			return false, err
		})
	})
	if err != nil || key == nil {
		return false, err
	}
	parts, ok := erasureSpace.Split(key)
	if !ok || len(parts) != 1 {
		return false, fmt.Errorf("stream: erasure %x", key)
	}
	var t tally
	err = g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		t = newTally()
		left, err := erasePlaces(tx, track.DeviceID(parts[0]), until, &t)
		if err == nil && !left {
			err = tx.Delete(key)
		}
		return err
	})
	if err == nil && t.hastened > 0 {
		g.outbox.Notify()
	}
	return true, err
}

// stamp is a time (Unix ms) as a row has it.
func stamp(at int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(at)) }

func unstamp(val []byte) (int64, error) {
	if len(val) != 8 {
		return 0, fmt.Errorf("stream: a time of %d bytes", len(val))
	}
	return int64(binary.BigEndian.Uint64(val)), nil
}

// journeyWithdrawn ends the runs of a subject that a device began at a fence, and takes the fence out of those that have ended.
func (s *settler) journeyWithdrawn(tx *db.Tx, id track.DeviceID, subject string, t *tally) error {
	set := s.journeys()
	for _, name := range set.ids() {
		run, err := journey.Get(tx, name, subject)
		if err != nil {
			return err
		}
		j := set.versions[[2]string{name, run.Revision}]
		if run.Fence == "" || run.Device != string(id) || j == nil {
			continue
		}
		next, effects := run, []journey.Effect(nil)
		if run.Active() {
			next, effects = j.Stop(run, journey.WhyNoConsent, tx.Now().UnixMilli())
			t.moved++
		}
		next.Fence = ""
		if err := s.apply(tx, j, subject, &run, &next, effects, nil, t); err != nil {
			return fmt.Errorf("journey %s: %w", name, err)
		}
	}
	return nil
}

// consents is which devices are withdrawn, as far as the collector has to know: it refuses what the workers would drop. It
// follows the order in which the collector takes registrations in, which is that of the log; so no position of a device whose
// consent has been given again is refused. A registration that was in the log, and not in the ledger, when the gateway
// started is the worker's alone: positions of such a device are stored, and dropped there.
//
// It keeps a hash of each name, 64 bits keyed with a secret of the process: about 20 bytes for a device, and of two names the
// same with a probability of 5e-20. Safe for concurrent use.
type consents struct {
	n    atomic.Int64 // of them; read first, for it is mostly 0
	seed maphash.Seed
	mu   sync.RWMutex
	// The value says that it was so when the gateway started: then a registration that a worker finds in the log is newer.
	withdrawn map[uint64]bool

	owing chan struct{} // there is something to erase
}

func newConsents() *consents {
	return &consents{seed: maphash.MakeSeed(), withdrawn: map[uint64]bool{}, owing: make(chan struct{}, 1)}
}

func (c *consents) poke() {
	select {
	case c.owing <- struct{}{}:
	default:
	}
}

// refuses reports whether positions of a device are refused.
func (c *consents) refuses(id track.DeviceID) bool {
	if c.n.Load() == 0 {
		return false
	}
	h := maphash.String(c.seed, string(id))
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.withdrawn[h]
	return ok
}

// say takes up a registration that the collector has taken in.
func (c *consents) say(id track.DeviceID, payload []byte) {
	switch audience.LocationConsentIn(payload) {
	case audience.ConsentWithdrawn:
		c.set(id, false)
	case audience.ConsentGiven:
		c.drop(id, func(bool) bool { return true })
	}
}

// given takes up consent that a worker has found in the log.
func (c *consents) given(id track.DeviceID) { c.drop(id, func(loaded bool) bool { return loaded }) }

func (c *consents) forget(id track.DeviceID) { c.drop(id, func(bool) bool { return true }) }

func (c *consents) set(id track.DeviceID, loaded bool) {
	h := maphash.String(c.seed, string(id))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.withdrawn[h] = loaded
	c.n.Store(int64(len(c.withdrawn)))
}

func (c *consents) drop(id track.DeviceID, which func(loaded bool) bool) {
	if c.n.Load() == 0 {
		return
	}
	h := maphash.String(c.seed, string(id))
	c.mu.Lock()
	defer c.mu.Unlock()
	if loaded, ok := c.withdrawn[h]; ok && which(loaded) {
		delete(c.withdrawn, h)
		c.n.Store(int64(len(c.withdrawn)))
	}
}

// noConsent is the answer to positions of a device that is withdrawn.
var noConsent = &wire.PayloadError{Code: wire.CodeNoConsent, Reason: "the person has withdrawn the consent to the positions of this device; send none until a registration with consent.location true"}

// withdrawStored does for devices whose profile an earlier version has stored, and which therefore are not withdrawn although
// their person has said so, what their registration would have done. Workers do not run yet.
func (g *Gateway) withdrawStored(ctx context.Context) error {
	done := withdrawnKey("")
	var owed []audience.Profile
	err := g.cfg.DB.View(func(tx *db.Tx) error {
		if _, err := tx.Get(done); !errors.Is(err, db.ErrNotFound) {
			return err
		}
		return audience.Each(ctx, tx, func(p *audience.Profile) error {
			if p.Withdrawn() {
				owed = append(owed, *p)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(owed, 100) {
		err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
			t := newTally()
			for i := range chunk {
				p := &chunk[i]
				id := track.DeviceID(p.Device)
				tr := g.workers[wire.Partition(id, Partitions)].tracker
				was, _ := tr.Presence(id)
				if !was.Withdrawn {
					tr.Withdraw(id, was.LastPos)
				}
				g.settler.consents.set(id, true)
				row, _ := tr.Encode(nil, id)
				if err := errors.Join(tx.Set(presenceKey(id), row), g.settler.withdraw(tx, id, tx.Now().UnixMilli(), p, &t)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("stream: devices without consent: %w", err)
		}
	}
	return g.cfg.DB.Update(ctx, func(tx *db.Tx) error { return tx.Set(done, nil) })
}
