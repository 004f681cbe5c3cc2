package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// Explanation is the answer to "why did this device get something, or nothing": what is known now, and the
// decisions that are kept, each with what became of its push. It holds no position.
type Explanation struct {
	Device     string        `json:"device"`
	Now        int64         `json:"now"`
	Registered bool          `json:"registered"`
	MayPush    bool          `json:"may_push"`
	Reachable  bool          `json:"reachable"`
	Platform   string        `json:"platform,omitempty"`
	Person     string        `json:"person,omitempty"`
	Live       *LivePresence `json:"live,omitempty"` // nil when the gateway is not running, has never seen the device, or may not use its positions
	// WithdrawnAt is since when positions of the device are not used, because the person has withdrawn the consent; 0: they are.
	// What was decided from earlier ones is erased.
	WithdrawnAt int64                 `json:"location_consent_withdrawn_at,omitempty"`
	Refusal     *Refusal              `json:"refusal,omitempty"`
	Closest     *Approach             `json:"closest,omitempty"`    // asked for, when there are no decisions; or of the one fence that was asked about
	Decisions   []Decision            `json:"decisions"`            // oldest first, the newest 200
	More        int                   `json:"more,omitzero"`        // older decisions in the same time that are not listed
	Deliveries  map[string]PushStatus `json:"deliveries,omitempty"` // by message id
}

// LivePresence is what the partition worker holds about a device this moment.
type LivePresence struct {
	LastFixAt int64      `json:"last_fix_at"`
	AccuracyM float32    `json:"accuracy_m,omitzero"`
	Inside    []InsideOf `json:"inside"`
	Nearest   []NearbyOf `json:"nearest"` // up to three fences by distance to the edge
	// Doubted is a position that nothing is decided about until the next one agrees with it; nil for none.
	Doubted *DoubtedFix `json:"doubted,omitempty"`
}

// DoubtedFix is a position too far from the last one for the time between them.
type DoubtedFix struct {
	At       int64   `json:"at"`
	DistM    float64 `json:"dist_m"`    // from the last position
	AfterMS  int64   `json:"after_ms"`  // the last position, by fix time
	MaxSpeed float64 `json:"max_speed"` // m/s, of the rules
}

// InsideOf is a fence that the device is in.
type InsideOf struct {
	Fence fences.ID `json:"fence"`
	Since int64     `json:"since"`
}

// NearbyOf is a fence near the last accepted fix.
type NearbyOf struct {
	Fence   fences.ID `json:"fence"`
	Name    string    `json:"name,omitempty"`
	CenterM float64   `json:"center_m"`
	EdgeM   float64   `json:"edge_m"` // negative: inside
	RadiusM float64   `json:"radius_m,omitzero"`
	// Change is what the position lacks to enter the fence.
	Change string `json:"change,omitempty"`
}

func nearbyOf(f *fences.Fence, p geo.Point) NearbyOf {
	return NearbyOf{Fence: f.ID, Name: f.Name, CenterM: f.Shape.CenterDistanceM(p), EdgeM: f.Shape.EdgeDistanceM(p), RadiusM: f.Shape.RadiusM()}
}

// PushStatus is what became of a push.
type PushStatus struct {
	State     outbox.State `json:"state"`
	Reason    string       `json:"reason,omitempty"`
	Attempts  int          `json:"attempts"`
	UpdatedAt int64        `json:"updated_at"`
	ExpiresAt int64        `json:"expires_at"`
	// Receipts is what the phone and the tills have reported since, ordered by kind.
	Receipts []receipt.Fact `json:"receipts,omitempty"`
	// Device is whom it went to when that is not the device that was asked about. Copies are the others of the person that
	// it goes to as well.
	Device string       `json:"device,omitempty"`
	Copies []PushStatus `json:"copies,omitempty"`
}

// ErrUnknownDevice is returned when nothing at all is known about a device.
var ErrUnknownDevice = errors.New("stream: nothing is known about this device: it has sent no position that was accepted, or its decisions are older than the retention")

// ErrNotRunning is returned for questions that only a running gateway can answer.
var ErrNotRunning = errors.New("stream: the gateway is not running")

// explainMost is how many decisions an explanation lists, the newest ones.
const explainMost = 200

// ExplainStored answers from the ledger alone, for a gateway that is not running.
func ExplainStored(tx *db.Tx, id track.DeviceID, from, to int64) (Explanation, error) {
	e := Explanation{Device: string(id), Now: time.Now().UnixMilli()}
	p, ok, err := audience.Get(tx, string(id))
	if err != nil {
		return e, err
	}
	p.Device = string(id)
	e.Registered, e.MayPush, e.Reachable, e.Platform, e.Person = ok, p.MayPush(), p.Reachable(), p.Platform, p.Person
	if e.WithdrawnAt, err = withdrawnAt(tx, id); err != nil {
		return e, err
	}
	if e.Decisions, e.More, err = Decisions(tx, id, from, to, explainMost); err != nil {
		return e, err
	}
	e.Deliveries = map[string]PushStatus{}
	for _, d := range e.Decisions {
		for _, c := range d.Campaigns {
			if c.MID == "" {
				continue
			}
			status, ok, err := statusOf(tx, c.MID, e.Device)
			if err != nil {
				return e, err
			}
			if !ok {
				continue
			}
			for n := 1; n < c.Devices; n++ {
				other, ok, err := statusOf(tx, dedupe.CopyID(c.MID, n), "")
				if err != nil {
					return e, err
				}
				if ok {
					status.Copies = append(status.Copies, other)
				}
			}
			e.Deliveries[c.MID] = status
		}
	}
	return e, nil
}

// statusOf reads what became of one message to one device; ok is false when that is no longer kept.
func statusOf(tx *db.Tx, mid, asked string) (s PushStatus, ok bool, err error) {
	row, ok, err := outbox.Get(tx, mid)
	if err != nil || !ok {
		return s, false, err
	}
	s = PushStatus{State: row.State, Reason: row.Reason, Attempts: row.Attempts, UpdatedAt: row.UpdatedAt, ExpiresAt: row.ExpiresAt}
	if row.Device != asked {
		s.Device = row.Device
	}
	s.Receipts, err = receipt.Facts(tx, mid)
	for i := range s.Receipts { // no phone has it before the provider did, whatever its clock says
		if f := &s.Receipts[i]; row.State == outbox.StateAccepted {
			f.At = max(f.At, row.UpdatedAt)
		}
	}
	return s, true, err
}

// Explain answers about a device of the running gateway: from and to bound the decisions in Unix ms, 0 for no
// bound. It returns ErrUnknownDevice when there is nothing to tell.
func (g *Gateway) Explain(ctx context.Context, id track.DeviceID, from, to int64) (Explanation, error) {
	var e Explanation
	err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
		if e, err = ExplainStored(tx, id, from, to); err != nil {
			return err
		}
		return g.settler.suggest(tx, e.Decisions, g.fences.Load(), &g.cfg.Rules)
	})
	if err != nil {
		return e, err
	}
	e.Now = g.cfg.Now().UnixMilli()
	if r, ok := g.collector.refusals.last(string(id)); ok {
		e.Refusal = &r
	}
	if !g.restored.Load() {
		return e, ErrNotRunning
	}
	err = g.workers[wire.Partition(id, Partitions)].ask(ctx, func(t *track.Tracker, set *fences.Set) {
		if p, ok := t.Presence(id); ok && !p.Withdrawn {
			e.Live = livePresence(&p, set, &g.cfg.Rules)
		}
	})
	if err != nil {
		return e, fmt.Errorf("stream: ask the owner of %s: %w", id, err)
	}
	if e.Live == nil && e.Refusal == nil && !e.Registered && len(e.Decisions) == 0 {
		return e, ErrUnknownDevice
	}
	return e, nil
}

// ExplainNear is Explain that says also how near the device has come to a fence; with "" to any, when there are no decisions. The
// decisions are those at all fences. It reads what the log holds of the device's partition, which takes up to seconds.
func (g *Gateway) ExplainNear(ctx context.Context, id track.DeviceID, from, to int64, fence fences.ID) (Explanation, error) {
	e, err := g.Explain(ctx, id, from, to)
	if err == nil && (fence != "" || len(e.Decisions) == 0) {
		e.Closest, err = g.approach(ctx, id, from, to, fence)
		if errors.Is(err, context.DeadlineExceeded) { // the rest is an answer too
			return e, nil
		}
	}
	return e, err
}

const nearestShown = 3

// livePresence measures all fences: it is asked by people, not by pings.
func livePresence(p *track.Presence, set *fences.Set, rules *track.Rules) *LivePresence {
	l := &LivePresence{LastFixAt: p.LastFixedAt, AccuracyM: p.AccuracyM, Inside: []InsideOf{}, Nearest: []NearbyOf{}}
	for _, in := range p.Inside {
		l.Inside = append(l.Inside, InsideOf{Fence: in.FenceID, Since: in.Since})
	}
	if !p.HasPosition {
		return l
	}
	if q := p.Quarantined; q != nil {
		l.Doubted = &DoubtedFix{
			At: q.FixedAt, AfterMS: q.FixedAt - p.PositionAt, MaxSpeed: rules.MaxSpeedMPS,
			DistM: geo.DistanceM(geo.Point{Lat: p.Lat, Lng: p.Lng}, geo.Point{Lat: q.Lat, Lng: q.Lng}),
		}
	}
	l.Nearest = near(set, &track.Fix{Lat: p.Lat, Lng: p.Lng, AccuracyM: p.AccuracyM}, rules, func(*fences.Fence) bool { return true })
	return l
}
