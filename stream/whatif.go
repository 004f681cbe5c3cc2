package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/stream/wire"
	"footfall/track"
)

// WhatIfRequest asks what one more position would do.
type WhatIfRequest struct {
	App string `json:"app"`
	// Device is whose position it would be; "": that of a stranger, whose iPhone is seen for the first time and can be reached.
	Device   string    `json:"device,omitempty"`
	Campaign string    `json:"campaign,omitempty"` // say also why this one was not asked
	Fence    fences.ID `json:"fence,omitempty"`    // measure this one also, however far
	Lat      float64   `json:"lat"`
	Lon      float64   `json:"lon"`
	Accuracy float32   `json:"acc,omitzero"` // metres; 0: unknown
	At       int64     `json:"at,omitzero"`  // Unix ms, of the position and of its arrival; 0: now
	// Backwards leaves out the device's presence when At lies before its last position, which would make it late.
	Backwards bool `json:"backwards,omitzero"`
	// Campaigns (YAML) and Fences (GeoJSON) are drafts, taken as if they had been active all along: beside those that are, and
	// instead of those with the same id.
	Campaigns string `json:"campaigns,omitempty"`
	Fences    string `json:"fences,omitempty"`
}

// rulebook is what a position is judged by.
type rulebook struct {
	rules     *track.Rules
	fences    *fences.Set
	campaigns *campaign.Set
	caps      []campaign.Cap
}

// with adds the drafts of a question to what is active.
func (b rulebook) with(q *WhatIfRequest) (rulebook, error) {
	if q.Campaigns != "" {
		lib, err := campaign.ParseLibrary("campaigns", []byte(q.Campaigns))
		if err != nil {
			return b, fmt.Errorf("%w: %w", ErrQuery, err)
		}
		drafts := map[string]bool{}
		for _, c := range lib.Campaigns {
			drafts[c.ID] = true
		}
		all := slices.DeleteFunc(slices.Clone(b.campaigns.All()), func(c *campaign.Campaign) bool { return drafts[c.ID] })
		if b.campaigns, err = campaign.NewSet(append(all, lib.Campaigns...)); err != nil {
			return b, fmt.Errorf("%w: %w", ErrQuery, err)
		}
	}
	if q.Fences != "" {
		fs, findings := fences.Parse("fences", []byte(q.Fences), fences.Options{})
		if fences.HasErrors(findings) {
			return b, fmt.Errorf("%w: the fences have errors; footfall fence check says which", ErrQuery)
		}
		drafts := map[fences.ID]bool{}
		for i := range fs {
			drafts[fs[i].ID] = true
		}
		for i := range int32(b.fences.Len()) {
			if f := b.fences.At(i); !drafts[f.ID] {
				fs = append(fs, *f)
			}
		}
		set, err := fences.NewSet(fs, nil) // of no later generation than any device: they are no edit
		if err != nil {
			return b, fmt.Errorf("%w: %w", ErrQuery, err)
		}
		b.fences = set
	}
	return b, nil
}

// WhatIf is the answer to a WhatIfRequest: what the gateway would decide, and what would have to be different for more
// to come of it. Nothing of it is stored, and nothing is sent.
type WhatIf struct {
	Device  string `json:"device"`
	At      int64  `json:"at"`
	Verdict string `json:"verdict"`           // of the position: "accepted", "late", ...
	Refusal string `json:"refusal,omitempty"` // why it would be turned away
	// Change is what would have to be different for the position to be believed.
	Change string `json:"change,omitempty"`
	// Anew says that the device's presence was left out, because the device has sent a later position: it is as if the
	// device were seen for the first time. Claims and history are those of today.
	Anew      bool         `json:"anew,omitzero"`
	Inside    []InsideOf   `json:"inside"`  // before
	Nearest   []NearbyOf   `json:"nearest"` // of the position
	Decisions []Decision   `json:"decisions"`
	NotAsked  *NotAskedWhy `json:"not_asked,omitempty"` // about the campaign of the request
}

// NotAskedWhy says why a campaign would not be asked.
type NotAskedWhy struct {
	Campaign string `json:"campaign"`
	WaitsFor string `json:"waits_for"`
	// Nearest is the nearest of its fences, when there is any.
	Nearest *NearbyOf `json:"nearest,omitempty"`
}

// WhatIf says what one position would do now. It runs the code that decides about real ones, on a copy of the device's
// presence and in a transaction that is thrown away.
func (g *Gateway) WhatIf(ctx context.Context, q WhatIfRequest) (*WhatIf, error) {
	id, err := wire.JoinDevice(q.App, cmp.Or(q.Device, "what-if"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	if !g.restored.Load() {
		return nil, ErrNotRunning
	}
	q.At = cmp.Or(q.At, g.cfg.Now().UnixMilli())
	book, err := rulebook{&g.cfg.Rules, g.fences.Load(), g.campaigns.Load(), g.cfg.Caps}.with(&q)
	if err != nil {
		return nil, err
	}
	w := g.workers[wire.Partition(id, Partitions)]
	var out *WhatIf
	var failed error
	asked := w.ask(ctx, func(*track.Tracker, *fences.Set) { out, failed = w.whatIf(ctx, id, q.fix(), &q, book) })
	return out, errors.Join(asked, failed)
}

// WhatIfStored is Gateway.WhatIf for a gateway that is not running: on what its ledger holds, which fences and campaigns are
// not part of. d may be opened for reading.
func WhatIfStored(ctx context.Context, d *db.DB, rules track.Rules, fs []fences.Fence, campaigns *campaign.Set, caps []campaign.Cap, q WhatIfRequest, now time.Time) (*WhatIf, error) {
	id, err := wire.JoinDevice(q.App, cmp.Or(q.Device, "what-if"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuery, err)
	}
	q.At = cmp.Or(q.At, now.UnixMilli())
	catalogue, _, err := loadCatalogue(d)
	if err != nil {
		return nil, err
	}
	set, err := fences.NewSet(fs, catalogue)
	if err != nil {
		return nil, err
	}
	book, err := rulebook{&rules, set, campaigns, caps}.with(&q)
	if err != nil {
		return nil, err
	}
	clock := func() time.Time { return time.UnixMilli(q.At) }
	w, err := newLoneWorker(d, book, clock, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	err = d.View(func(tx *db.Tx) error {
		mark, err := loadProgress(tx, wire.Partition(id, Partitions))
		if err != nil {
			return err
		}
		w.mark, w.through = mark, mark.Committed // what comes now is newer than all that the device has sent
		row, err := tx.Get(presenceKey(id))
		if errors.Is(err, db.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return w.tracker.Restore(id, row)
	})
	if err != nil {
		return nil, err
	}
	return w.whatIf(ctx, id, q.fix(), &q, book)
}

func (q *WhatIfRequest) fix() *track.Fix {
	return &track.Fix{
		FixedAt: q.At, ReceivedAt: q.At, HasPosition: true, Lat: q.Lat, Lng: q.Lon, AccuracyM: q.Accuracy, Source: track.SourceStream,
	}
}

// whatIf answers on the worker's goroutine, so that presence and ledger are of one moment.
func (w *worker) whatIf(ctx context.Context, id track.DeviceID, fix *track.Fix, q *WhatIfRequest, book rulebook) (*WhatIf, error) {
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	rules, set := book.rules, book.fences
	out := &WhatIf{Device: string(id), At: fix.FixedAt, Inside: []InsideOf{}, Decisions: []Decision{}}
	before, known := w.tracker.Presence(id)
	if q.Device == "" {
		known = false
	}
	if known && before.Seen && q.Backwards && fix.FixedAt < before.LastFixedAt {
		out.Anew, known = true, false
	}
	if known {
		for _, in := range before.Inside {
			out.Inside = append(out.Inside, InsideOf{Fence: in.FenceID, Since: in.Since})
		}
	}
	if r := track.CheckFix(new(*fix), rules); r != "" { // the collector would turn it away
		out.Verdict, out.Refusal = track.Refused.String(), string(r)
		return out, nil
	}
	batch := wire.SealBatch(wire.AppendRecord(nil, &wire.Record{Kind: wire.KindPing, Device: id, Fix: *fix, ReceivedAt: fix.ReceivedAt}))
	twin := w.twin(book)
	if known {
		row, _ := w.tracker.Encode(nil, id)
		if err := twin.tracker.Restore(id, row); err != nil {
			return nil, err
		}
	}
	twin.process(logMessage{seq: twin.next, data: batch})
	if Total(twin.count.poison.snapshot()) > 0 {
		return nil, fmt.Errorf("stream: what if: the position could not be processed")
	}
	for verdict := range twin.count.verdicts.snapshot() {
		out.Verdict = verdict
	}
	if known && out.Verdict != track.Accepted.String() {
		out.Change = believed(&before, fix, rules, out.Verdict)
	}
	groups := append(twin.ready, twin.group)
	err := w.db.Try(time.UnixMilli(fix.ReceivedAt), func(tx *db.Tx) error {
		if q.Device == "" {
			p := audience.Profile{Device: string(id), Platform: "ios", Token: "what-if"}
			if err := audience.Put(tx, &p); err != nil {
				return err
			}
		}
		if err := dropDecisions(tx, id); err != nil { // what is there afterwards is new
			return err
		}
		for _, e := range groups {
			if err := twin.settler.settle(tx, e); err != nil {
				return err
			}
		}
		var err error
		if out.Decisions, _, err = Decisions(tx, id, 0, 0, math.MaxInt32); err != nil {
			return err
		}
		return twin.settler.suggest(tx, out.Decisions, set, rules)
	})
	if err != nil {
		return nil, err
	}
	out.Nearest = near(set, fix, rules, func(f *fences.Fence) bool { return q.Fence == "" || f.ID == q.Fence })
	out.mark()
	if q.Campaign != "" {
		if err := out.about(q.Campaign, book.campaigns, set, fix, rules); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// twin is a worker that takes one record more than w, and changes nothing but what it is given.
func (w *worker) twin(book rulebook) *worker {
	t := newWorker(w.partition, *book.rules, progress{Epoch: w.mark.Epoch, Committed: w.through, Gen: w.mark.Gen}, w.through.seq()+1)
	count := new(counters)
	dry := *w.settler
	dry.count, dry.log, dry.onPush, dry.wakes = count, slog.New(slog.DiscardHandler), func() {}, newWakes()
	dry.campaigns, dry.caps = func() *campaign.Set { return book.campaigns }, book.caps
	dry.room = nil // that of w.settler belongs to the writer goroutine
	dry.events = &eventLog{wake: make(chan struct{}, 1), count: count, now: w.now}
	t.fences, t.settler, t.db, t.log, t.now, t.count = func() *fences.Set { return book.fences }, &dry, w.db, dry.log, w.now, count
	return t
}

func dropDecisions(tx *db.Tx, id track.DeviceID) error {
	var keys [][]byte
	err := tx.Scan(decisionSpace.Key([]byte(id)), nil, func(key, _ []byte) (bool, error) {
		keys = append(keys, slices.Clone(key))
		return true, nil
	})
	for _, key := range keys {
		err = cmp.Or(err, tx.Delete(key))
	}
	return err
}

// believed says what would have to be different for a fix to be believed.
func believed(p *track.Presence, f *track.Fix, rules *track.Rules, verdict string) string {
	switch verdict {
	case track.NoConsent.String():
		return "the person's consent to the positions of this device"
	case track.Late.String(), track.SameTime.String(), track.Duplicate.String():
		return fmt.Sprintf("a time after the device's last position, %d ms later", p.LastFixedAt-f.FixedAt+1)
	case track.Quarantined.String():
		far := geo.DistanceM(geo.Point{Lat: p.Lat, Lng: p.Lng}, geo.Point{Lat: f.Lat, Lng: f.Lng})
		slack := min(float64(p.AccuracyM), rules.ExitAccuracyCapM) + min(float64(f.AccuracyM), rules.ExitAccuracyCapM)
		need := time.Duration(math.Ceil((far-slack)/rules.MaxSpeedMPS)) * time.Second
		return fmt.Sprintf("a next position that agrees with it, or %s since the last one: it is %.0f m away, which %.0f m/s do not explain in %s",
			need, far, rules.MaxSpeedMPS, time.Duration(f.FixedAt-p.PositionAt)*time.Millisecond)
	}
	return ""
}

// near measures the fences that are asked for, and says what the fix lacks to enter each; up to nearestShown by the
// distance to the edge.
func near(set *fences.Set, f *track.Fix, rules *track.Rules, which func(*fences.Fence) bool) []NearbyOf {
	out := []NearbyOf{}
	p := geo.Point{Lat: f.Lat, Lng: f.Lng}
	for i := range set.Len() {
		fence := set.At(int32(i))
		if !which(fence) {
			continue
		}
		n := nearbyOf(fence, p)
		at, _ := slices.BinarySearchFunc(out, n, func(a, b NearbyOf) int { return cmp.Compare(a.EdgeM, b.EdgeM) })
		if at >= nearestShown {
			continue
		}
		n.Change = rules.ToEnter(fence, n.EdgeM, float64(f.AccuracyM))
		out = slices.Insert(out, at, n)
		out = out[:min(len(out), nearestShown)]
	}
	return out
}

// mark says of the fences that the device is in already that no nearer position would help.
func (w *WhatIf) mark() {
	for i := range w.Nearest {
		n := &w.Nearest[i]
		for _, in := range w.Inside {
			if in.Fence == n.Fence && n.EdgeM <= 0 {
				n.Change = "to leave first: it is inside already, and only an arrival enters"
			}
		}
	}
}

// about leaves the answers of one campaign alone, and when there is none says why it is not asked.
func (w *WhatIf) about(id string, campaigns *campaign.Set, set *fences.Set, f *track.Fix, rules *track.Rules) error {
	c, ok := campaigns.Find(id)
	if !ok {
		return fmt.Errorf("%w: no campaign that is active or a draft has the id %q", ErrQuery, id)
	}
	asked := false
	for i := range w.Decisions {
		d := &w.Decisions[i]
		d.Campaigns = slices.DeleteFunc(d.Campaigns, func(a CampaignDecision) bool { return a.Campaign != id })
		asked = asked || len(d.Campaigns) > 0
	}
	if asked {
		return nil
	}
	w.NotAsked = &NotAskedWhy{Campaign: id, WaitsFor: c.Trigger.String()}
	if n := near(set, f, rules, func(f *fences.Fence) bool { return c.Trigger.Fences.Has(f.ID, f.Tags) }); len(n) > 0 {
		w.NotAsked.Nearest = &n[0]
	}
	return nil
}

// suggest adds to the held answers of decisions what would have led to a push, by the campaigns, fences and profile of
// now: what a decision was made from is not kept.
func (s *settler) suggest(tx *db.Tx, decisions []Decision, set *fences.Set, rules *track.Rules) error {
	campaigns := s.campaigns()
	for i := range decisions {
		d := &decisions[i]
		if note, err := track.ParseNoteKind(d.Kind); err == nil {
			if f, ok := set.Lookup(d.Fence); ok || note == track.UnknownFence {
				d.Change = rules.Remedy(note, f, d.EdgeM, float64(d.Fix.AccuracyM))
			}
			continue
		}
		tr, ok := d.transition(set)
		if !ok {
			continue
		}
		profile, err := profileOf(tx, track.DeviceID(d.Device))
		if err != nil {
			return err
		}
		past := history{subject: profile.Subject()}
		for k := range d.Campaigns {
			a := &d.Campaigns[k]
			c, ok := campaigns.Find(a.Campaign)
			if !ok || a.Outcome != campaign.Held {
				continue
			}
			if err := past.read(tx, &profile, c.Needs(s.caps)); err != nil {
				return err
			}
			in := campaign.Input{Tr: &tr, Profile: &profile, Now: time.UnixMilli(d.ReceivedAt), Sends: past.sends, Visits: past.visits, Events: past.events, Caps: s.caps}
			tr.Fix.Mock = a.Reason == campaign.Untrusted
			switch a.Reason {
			case campaign.AlreadyClaimed, campaign.HeldOut, campaign.Overlap:
				if a.Change, err = s.suggestSettled(tx, c, in, a.Reason); err != nil {
					return err
				}
			default:
				a.Change, _ = c.Changes(in)
				if len(a.Change) == 0 {
					a.Change = []string{"nothing: by what is known now it would pass"}
				}
			}
		}
	}
	return nil
}

// suggestSettled is suggest for what was held after all rules had passed.
func (s *settler) suggestSettled(tx *db.Tx, c *campaign.Campaign, in campaign.Input, reason campaign.Reason) ([]string, error) {
	switch reason {
	case campaign.HeldOut:
		return []string{fmt.Sprintf("nothing: the person is one of the %s that get nothing, for as long as the campaign keeps its id", c.Holdout)}, nil
	case campaign.Overlap:
		return []string{"a higher priority of this fence, or a smaller one"}, nil
	}
	dec := c.Decide(in, true)
	claim, stands, err := dedupe.Standing(tx, dec.Key, dec.Period, time.UnixMilli(in.Tr.At))
	if err != nil {
		return nil, err
	}
	loc := time.UTC
	if in.Tr.Fence != nil && in.Tr.Fence.Location != nil {
		loc = in.Tr.Fence.Location
	}
	switch {
	case !stands:
		return []string{"nothing: the claim is free again"}, nil
	case claim.PeriodEnds.IsZero():
		return []string{"a new campaign id: the claim is for ever"}, nil
	}
	return []string{"after " + claim.PeriodEnds.In(loc).Format("Mon 2006-01-02 15:04:05 -07:00")}, nil
}

// transition makes again what a decision was about; false for those of announcements and journeys, and for notes.
func (d *Decision) transition(set *fences.Set) (track.Transition, bool) {
	kind, err := track.ParseKind(d.Kind)
	if d.Kind == kindBegun {
		kind, err = track.Enter, nil
	}
	if err != nil {
		return track.Transition{}, false
	}
	source, err := track.ParseSource(d.Fix.Source)
	if err != nil {
		return track.Transition{}, false
	}
	tr := track.Transition{
		Kind: kind, FenceID: d.Fence, Reason: d.Reason, At: d.At, ConfirmedAt: d.ConfirmedAt, EnteredAt: d.EnteredAt, Confidence: d.Confidence,
		EdgeDistanceM: d.EdgeM, CenterDistanceM: d.CenterM,
		Fix: track.Fix{
			FixedAt: cmp.Or(d.ConfirmedAt, d.At), ReceivedAt: d.ReceivedAt, AccuracyM: d.Fix.AccuracyM, SpeedMPS: d.Fix.SpeedMPS,
			Source: source, Skewed: d.Fix.Skewed,
		},
	}
	tr.Fence, _ = set.Lookup(d.Fence)
	return tr, true
}
