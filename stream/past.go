package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/track"
)

// PastQuery asks what the ledger knows of devices: how things stood when a recording of their input began, and what was
// decided about it then.
type PastQuery struct {
	Devices []string `json:"devices"` // as app.device
	// From and To bound the recording, Unix ms: by the time of receipt, or by fix time when ByFix is set, for a
	// recording that somebody else has made.
	From  int64 `json:"from"`
	To    int64 `json:"to"`
	ByFix bool  `json:"by_fix,omitzero"`
	// TTL is Rules.PresenceTTL in ms: a visit that began longer before From, with no word of the device since, is over.
	TTL int64 `json:"ttl"`
}

// Pasts is the answer to a PastQuery: what is known of the first of its devices, as many as fit an answer, in their
// order. Ask again for the rest.
type Pasts struct {
	Pasts []Past `json:"pasts"`
}

// Past is what a ledger knows of one device beside its recorded input. It holds no push token and no position.
type Past struct {
	Device string `json:"device"`
	Person string `json:"person,omitempty"`
	// Devices are all of the person's, this one among them.
	Devices []string `json:"devices,omitempty"`
	// Registration is its profile in the form in which it would be sent on device.<app>.<device>, as it is now.
	Registration json.RawMessage `json:"registration"`
	// Known says that something had been decided about it before.
	Known  bool                `json:"known,omitzero"`
	Inside []track.InsideFence `json:"inside,omitempty"`
	// Pending are fences in which a min stay was running that has ended since with an enter. One that has not makes no difference:
	// it would begin later.
	Pending []track.PendingFence `json:"pending,omitempty"`
	Claims  []PastClaim          `json:"claims,omitempty"` // that stood; of a rolling period also earlier ones
	Sends   []dedupe.Send        `json:"sends,omitempty"`  // of the person or device, also those of Pushes
	Visits  []audience.Visit     `json:"visits,omitempty"`
	Events  []audience.Event     `json:"events,omitempty"`
	// Pushes are what was decided during the recording.
	Pushes []PastPush `json:"pushes,omitempty"`
}

// PastClaim is a claim that stood when the recording began. Times are Unix ms.
type PastClaim struct {
	Key   []byte    `json:"key"` // dedupe.Key.Bytes
	At    int64     `json:"at"`
	Ends  int64     `json:"ends,omitzero"` // 0: never
	Fence fences.ID `json:"fence"`
}

// PastPush is a push that the gateway has decided on.
type PastPush struct {
	Decision string    `json:"decision"` // its id
	Campaign string    `json:"campaign"`
	Fence    fences.ID `json:"fence"`
	Name     string    `json:"name,omitempty"` // of the fence
	Zone     string    `json:"zone,omitempty"`
	At       int64     `json:"at"`
}

// maxPast bounds an answer: NATS carries a megabyte.
const maxPast = 800 << 10

// PastsOf answers a PastQuery from the ledger. Claims and presence are known from decisions: for as long as these are
// kept.
func PastsOf(ctx context.Context, tx *db.Tx, q *PastQuery) (Pasts, error) {
	var out Pasts
	size := 0
	for _, device := range q.Devices {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		p, err := pastOf(tx, device, q)
		if err != nil {
			return out, err
		}
		text, err := json.Marshal(&p)
		for ; err == nil && len(text) > maxPast && len(p.Events)+len(p.Visits) > 0; text, err = json.Marshal(&p) {
			p.Events, p.Visits = p.Events[(len(p.Events)+1)/2:], p.Visits[(len(p.Visits)+1)/2:] // the oldest go first
		}
		if err != nil {
			return out, err
		}
		if size += len(text); size > maxPast && len(out.Pasts) > 0 {
			return out, nil
		}
		out.Pasts = append(out.Pasts, p)
	}
	return out, nil
}

func pastOf(tx *db.Tx, device string, q *PastQuery) (Past, error) {
	p := Past{Device: device, Registration: json.RawMessage(`{}`)}
	profile, known, err := audience.Get(tx, device)
	if err != nil {
		return p, err
	}
	profile.Device = device
	if known {
		if p.Registration, err = registrationOf(&profile); err != nil {
			return p, err
		}
		p.Person = profile.Person
	}
	if p.Person != "" {
		if p.Devices, err = audience.DevicesOf(tx, p.Person); err != nil {
			return p, err
		}
	}
	ds, _, err := Decisions(tx, track.DeviceID(device), 0, 0, math.MaxInt32)
	if err != nil {
		return p, err
	}
	began, ended, err := p.decided(tx, ds, q)
	if err != nil {
		return p, err
	}
	if p.Sends, err = dedupe.Sends(tx, profile.Subject()); err != nil {
		return p, err
	}
	alone := audience.Profile{Device: device} // the person's other devices are asked about for themselves
	if p.Visits, err = audience.VisitsOf(tx, &alone); err != nil {
		return p, err
	}
	p.Visits = slices.DeleteFunc(p.Visits, func(v audience.Visit) bool { return v.At >= q.From || began[stay{v.Fence, v.At}] })
	for i := range p.Visits {
		if v := &p.Visits[i]; v.Until >= q.From || ended[stay{v.Fence, v.At}] {
			v.Until = 0
		}
	}
	if p.Events, err = audience.EventsOf(tx, &alone); err != nil {
		return p, err
	}
	p.Events = slices.DeleteFunc(p.Events, func(e audience.Event) bool { return e.At >= q.From })
	return p, nil
}

// stay names a visit of a device.
type stay struct {
	fence string
	at    int64
}

// decided sorts decisions into what stood when the recording began and what was decided during it. It returns the visits that
// began and ended during it, also those with an earlier time.
func (p *Past) decided(tx *db.Tx, ds []Decision, q *PastQuery) (began, ended map[stay]bool, err error) {
	began, ended = map[stay]bool{}, map[stay]bool{}
	inside := map[fences.ID]track.InsideFence{}
	last := int64(math.MinInt64)
	for i := range ds {
		d := &ds[i]
		when := d.ReceivedAt
		if q.ByFix {
			when = d.At
		}
		if when >= q.From {
			switch d.Kind {
			case track.Enter.String():
				began[stay{string(d.Fence), cmp.Or(d.EnteredAt, d.At)}] = true
				// Before the first recorded position, as Assume sees to: it was waiting for its min stay.
				p.Pending = append(p.Pending, track.PendingFence{FenceID: d.Fence, Since: cmp.Or(d.EnteredAt, d.At), Reason: d.Reason &^ (track.Stale | track.Skewed)})
			case track.Exit.String():
				ended[stay{string(d.Fence), d.EnteredAt}] = true
				if in, ok := inside[d.Fence]; ok && in.Since == d.EnteredAt && in.AwaySince == 0 && !d.Reason.Has(track.Inferred) {
					in.AwaySince = d.At // likewise: its min away was running
					inside[d.Fence] = in
				}
			}
			for k := range d.Campaigns {
				if c := &d.Campaigns[k]; c.MID != "" && when <= q.To {
					p.Pushes = append(p.Pushes, PastPush{Decision: d.ID, Campaign: c.Campaign, Fence: d.Fence, Name: d.FenceName, Zone: d.Zone, At: d.At})
				}
			}
			continue
		}
		p.Known, last = true, max(last, d.At)
		switch d.Kind {
		case track.Enter.String():
			inside[d.Fence] = track.InsideFence{FenceID: d.Fence, Since: cmp.Or(d.EnteredAt, d.At)}
		case track.Dwell.String():
			if in, ok := inside[d.Fence]; ok {
				in.Dwelled = true
				inside[d.Fence] = in
			}
		case track.Exit.String():
			delete(inside, d.Fence)
		}
		for k := range d.Campaigns {
			if err := p.claimed(tx, d, &d.Campaigns[k]); err != nil {
				return nil, nil, err
			}
		}
	}
	if last >= q.From-q.TTL {
		for _, in := range inside {
			p.Inside = append(p.Inside, in)
		}
		slices.SortFunc(p.Inside, func(a, b track.InsideFence) int { return cmp.Compare(a.FenceID, b.FenceID) })
	}
	return began, ended, nil
}

// claimed adds the claim that a decision has won, unless it has been given back.
func (p *Past) claimed(tx *db.Tx, d *Decision, c *CampaignDecision) error {
	if c.Claim == "" || c.MID == "" && c.Reason != campaign.HeldOut {
		return nil
	}
	key, err := dedupe.ParseKey([]byte(c.Claim))
	if err != nil {
		return err
	}
	now, ok, err := dedupe.Get(tx, key)
	if err != nil || !ok || now.At.UnixMilli() == d.At && now.State == dedupe.Released {
		return err
	}
	claim := PastClaim{Key: []byte(c.Claim), At: d.At, Fence: d.Fence}
	if !now.PeriodEnds.IsZero() { // the slot may have been taken again since: by a rolling period
		claim.Ends = d.At + now.PeriodEnds.Sub(now.At).Milliseconds()
	}
	p.Claims = append(p.Claims, claim)
	return nil
}

// registrationOf is a profile in the form in which a device sends it; of its token only that there is one.
func registrationOf(p *audience.Profile) (json.RawMessage, error) {
	patch := map[string]any{}
	text := func(name, v string) {
		if v != "" {
			patch[name] = v
		}
	}
	text("user", p.Person)
	text("platform", p.Platform)
	text("env", p.Env)
	text("locale", p.Locale)
	text("zone", p.Zone)
	if p.Reachable() {
		text("token", "rehearsal")
	}
	if tags := p.AllTags(); len(tags) > 0 {
		patch["tags"] = tags
	}
	consent := map[string]bool{}
	if p.ConsentPush != nil {
		consent["push"] = *p.ConsentPush
	}
	if p.ConsentLocation != nil {
		consent["location"] = *p.ConsentLocation
	}
	if len(consent) > 0 {
		patch["consent"] = consent
	}
	return json.Marshal(patch)
}

// restorePast writes what was known of a person's devices when the recording began into the ledger of a rehearsal.
func restorePast(tx *db.Tx, group []*Past) error {
	type sent struct {
		campaign string
		at       int64
	}
	during := map[sent]bool{}
	for _, p := range group {
		for _, push := range p.Pushes {
			during[sent{push.Campaign, push.At}] = true
		}
	}
	claims := map[string]PastClaim{} // the last one of a rolling period is the one that stood
	for _, p := range group {
		for _, c := range p.Claims {
			if old, ok := claims[string(c.Key)]; !ok || c.At > old.At {
				claims[string(c.Key)] = c
			}
		}
	}
	for _, c := range claims {
		key, err := dedupe.ParseKey(c.Key)
		if err != nil {
			return err
		}
		claim := dedupe.Claim{At: time.UnixMilli(c.At), Fence: string(c.Fence)}
		if c.Ends != 0 {
			claim.PeriodEnds = time.UnixMilli(c.Ends)
		}
		if _, _, err := dedupe.Reserve(tx, key, dedupe.Period{Kind: dedupe.PeriodEver}, claim); err != nil {
			return err
		}
	}
	for _, p := range group {
		subject := (&audience.Profile{Device: p.Device, Person: p.Person}).Subject()
		for i, s := range p.Sends {
			if during[sent{s.Campaign, s.At.UnixMilli()}] {
				continue
			}
			// The same of each of the person's devices, so that it counts once.
			k, c := dedupe.Key{Campaign: s.Campaign, Subject: subject}, dedupe.Claim{At: s.At, MID: fmt.Sprintf("past %d", i)}
			if err := dedupe.RecordSend(tx, k, c, s.Exempt, 0); err != nil {
				return err
			}
		}
		for i := range p.Visits {
			if err := audience.PutVisit(tx, &p.Visits[i], keepAll); err != nil {
				return err
			}
		}
		for i := range p.Events {
			e := &p.Events[i]
			var props json.RawMessage
			if e.Props != nil {
				var err error
				if props, err = json.Marshal(e.Props); err != nil {
					return err
				}
			}
			if err := audience.PutEvent(tx, p.Device, e.ID, e.Name, e.At, props, keepAll); err != nil {
				return err
			}
		}
	}
	return nil
}

// pasts answers a PastQuery of somebody who rehearses this gateway's input.
func (g *Gateway) pasts(ctx context.Context, q PastQuery) (any, error) {
	var out Pasts
	err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
		out, err = PastsOf(ctx, tx, &q)
		return err
	})
	return out, err
}
