package stream

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/push"
	"footfall/stream/wire"
	"footfall/track"
	"footfall/voucher"
)

// deliveryContext is what a delivery remembers of its cause, so that it can be rendered when its turn comes.
type deliveryContext struct {
	Code      string       `json:"code,omitempty"` // of the message, for the till
	Kind      track.Kind   `json:"kind"`
	At        int64        `json:"at"`
	EnteredAt int64        `json:"entered_at,omitzero"`
	DistanceM float64      `json:"distance_m"`
	AccuracyM float32      `json:"accuracy_m,omitzero"`
	Reason    track.Reason `json:"reason,omitzero"`
	Variant   string       `json:"variant,omitempty"`
	IfInside  bool         `json:"if_inside,omitzero"` // send only if the device is in the fence by then
	// By is the device that it came from, when it goes to others of the person, too, or instead.
	By string `json:"by,omitempty"`

	Collapse string `json:"collapse,omitempty"` // replaces on the phone; the same at every attempt

	Counted bool `json:"counted,omitempty"` // counts towards the badge of its device; see countBadge

	Journey string         `json:"journey,omitempty"` // version of the journey that it is a step of
	Step    string         `json:"step,omitempty"`
	Entry   map[string]any `json:"entry,omitempty"` // what the person entered by

	// Call is the body of a webhook step, as it was when the person came to the step: every attempt sends the same. null: it
	// could not be filled.
	Call json.RawMessage `json:"call,omitempty"`
}

// Reasons for which a delivery is not sent although its claim was won, with suppressNoConsent. The claim is released with each.
const (
	suppressPaused       outbox.Suppress = "campaign_paused"
	suppressUnregistered outbox.Suppress = "no_token"
	suppressOptedOut     outbox.Suppress = "opted_out"
	suppressTemplate     outbox.Suppress = "template_error"
	suppressLeft         outbox.Suppress = "left_fence"
	suppressVoucher                      = outbox.Suppress(campaign.NoVoucher)
	suppressMissing                      = outbox.Suppress(campaign.MissingValue)
)

// compose renders a delivery right before it is sent: with the text and the token of this moment, so that a
// corrected text, a new token or a withdrawn consent counts for everything that has not left yet.
func (g *Gateway) compose(tx *db.Tx, d *outbox.Delivery) (*push.Notification, outbox.Suppress) {
	var dc deliveryContext
	if err := json.Unmarshal(d.Context, &dc); err != nil {
		g.cfg.Logger.Error("delivery context could not be read", "mid", d.MID, "err", err)
		return nil, suppressTemplate
	}
	if isCall(d) {
		return g.composeCall(d, &dc)
	}
	c, ok := g.campaigns.Load().Find(d.Campaign)
	if dc.Journey != "" {
		c, ok = g.journeyCampaign(d, &dc)
	}
	switch {
	case !ok || !c.Enabled:
		return nil, outbox.CampaignOver
	case c.Paused:
		return nil, suppressPaused
	}
	p, ok, err := audience.Get(tx, d.Device)
	inApp := g.cfg.InApp != "" && d.Lane == g.cfg.InApp // needs neither a token nor a registration
	if p.Device = d.Device; inApp {
		p.Token = ""
	}
	switch {
	case err != nil: // neither a message nor a reason: the outbox tries again
		g.cfg.Logger.Error("profile could not be read", "device", d.Device, "err", err)
		return nil, ""
	case !inApp && (!ok || !p.Reachable()):
		return nil, suppressUnregistered
	case !p.MayPush():
		return nil, suppressOptedOut
	}
	if d.Fence != "" { // what is refused on the device that was there is refused on all
		by := p
		if dc.By != "" {
			if by, _, err = audience.Get(tx, dc.By); err != nil {
				g.cfg.Logger.Error("profile could not be read", "device", dc.By, "err", err)
				return nil, ""
			}
		}
		if by.Withdrawn() {
			return nil, suppressNoConsent
		}
	}
	now := g.cfg.Now()
	if dc.IfInside {
		switch inside, err := g.stillInside(tx, track.DeviceID(cmp.Or(dc.By, d.Device)), fences.ID(d.Fence), now); {
		case err != nil:
			g.cfg.Logger.Error("presence could not be read", "device", d.Device, "err", err)
			return nil, ""
		case !inside:
			return nil, suppressLeft
		}
	}
	in := campaign.Input{Tr: g.transitionOf(d, &dc), Profile: &p, Now: now}
	rc := campaign.NewContext(c, in, now)
	rc.SetVariant(dc.Variant)
	rc.Message, rc.Entry = map[string]any{"id": d.MID, "code": dc.Code}, dc.Entry
	if c.TakesVoucher(dc.Variant) {
		own, found, err := voucher.Of(tx, d.Message())
		switch {
		case err != nil:
			g.cfg.Logger.Error("a voucher could not be read", "mid", d.MID, "err", err)
			return nil, ""
		case found:
			rc.Voucher = own.Code
		case !c.Push.Voucher.Optional:
			return nil, suppressVoucher
		}
	}
	content, err := c.Render(p.Locale, rc)
	if err != nil {
		g.cfg.Logger.Warn("a push could not be rendered", "campaign", c.ID, "mid", d.MID, "err", err)
		if errors.Is(err, campaign.ErrMissing) {
			return nil, suppressMissing
		}
		return nil, suppressTemplate
	}
	_, device, _ := wire.SplitDevice(track.DeviceID(d.Device))
	n := Notification(&content)
	n.MID, n.ReceiptKey, n.App, n.Device = d.MID, g.cfg.Receipts.Key(d.App, device, d.MID), d.App, device
	n.CollapseID = dc.Collapse
	if n.Counted = dc.Counted; n.Counted {
		if n.Badge, err = nextBadge(tx, d.Device); err != nil {
			g.cfg.Logger.Error("a badge could not be counted", "mid", d.MID, "err", err)
			return nil, ""
		}
	}
	n.Token, n.Env, n.Platform = p.Token, cmp.Or(d.Env, p.Env), push.Platform(p.Platform)
	n.Campaign, n.Revision, n.Fence, n.ExpiresAt = d.Campaign, c.Revision(), d.Fence, time.UnixMilli(d.ExpiresAt)
	return n, ""
}

// Notification is what a filled template says, without an addressee.
func Notification(c *campaign.Content) *push.Notification {
	n := &push.Notification{
		Title: c.Title, Subtitle: c.Subtitle, Body: c.Body, Image: c.Image, Alt: c.Alt, Link: c.Link,
		Sound: c.Sound, Thread: c.Thread, Category: c.Category, Data: c.Data, Silent: c.Background,
		Badge: c.Badge, Counted: c.Counted, Importance: push.Importance(c.Importance), Relevance: c.Relevance,
		Style: c.Style, Channel: c.Channel, Color: c.Color, Icon: c.Icon, Visibility: c.Visibility, Sticky: c.Sticky, Raw: c.Raw,
	}
	for _, b := range c.Actions {
		n.Actions = append(n.Actions, push.Action(b))
	}
	return n
}

// stillInside reports whether a device is in a fence, as far as the ledger knows: the stored
// presence has every transition, and its last fix is at most one checkpoint old. A device that has been silent for
// long is nowhere.
func (g *Gateway) stillInside(tx *db.Tx, id track.DeviceID, fence fences.ID, now time.Time) (bool, error) {
	row, err := tx.Get(presenceKey(id))
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t := track.New(g.cfg.Rules)
	if err := t.Restore(id, row); err != nil {
		return false, err
	}
	p, ok := t.Presence(id)
	if !ok || now.Sub(time.UnixMilli(p.LastFixedAt)) > g.cfg.Rules.PresenceTTL {
		return false, nil
	}
	return slices.ContainsFunc(p.Inside, func(in track.InsideFence) bool {
		return in.FenceID == fence && !in.Unknown
	}), nil
}

// transitionOf rebuilds what a template may read of the transition, with the fence as it is now.
func (g *Gateway) transitionOf(d *outbox.Delivery, dc *deliveryContext) *track.Transition {
	tr := &track.Transition{
		Kind: dc.Kind, FenceID: fences.ID(d.Fence), Reason: dc.Reason, At: dc.At, ConfirmedAt: dc.At, EnteredAt: dc.EnteredAt,
		CenterDistanceM: dc.DistanceM, Fix: track.Fix{AccuracyM: dc.AccuracyM, FixedAt: dc.At},
	}
	tr.Fence, _ = g.fences.Load().Lookup(tr.FenceID)
	return tr
}

// outcome records what became of a delivery, in the transaction that says so: an event and a count for each final
// state, the end of a token that the provider refused for good, and the environment in which one was found.
func (g *Gateway) outcome(tx *db.Tx, old, d *outbox.Delivery, o push.Outcome) error {
	if isCall(d) {
		return g.callEnded(tx, old, d)
	}
	var err error
	switch o.Class {
	case push.TokenDead, push.TokenBad, push.TokenForeign:
		if d.Device != old.Device || d.State.Final() { // else it is being tried in the other environment
			err = g.retireToken(tx, old, o)
		}
	case push.Accepted:
		if d.Env != "" {
			err = keepEnv(tx, d)
		}
	}
	if err == nil && d.State == outbox.StateAccepted && old.State != outbox.StateAccepted {
		err = countBadge(tx, d)
	}
	if err != nil {
		return err
	}
	if err := noteOutcome(tx, old, d, g.cfg.Reports); err != nil {
		return err
	}
	if err := returnVoucher(tx, d); err != nil {
		return err
	}
	return recordOutcome(tx, g.events, old, d)
}

// recordOutcome counts a message under the final state that it has come to, and takes it out again when it
// leaves that state: an operator has sent it once more, or another of the person's devices got it. One to several devices
// counts once, by the row that speaks for it; its rows are counted as devices.
func recordOutcome(tx *db.Tx, events *eventLog, old, d *outbox.Delivery) error {
	count := func(d *outbox.Delivery, n int64) error {
		if !d.State.Final() {
			return nil
		}
		err := addFunnel(tx, funnelKey{d.Campaign, "push." + string(d.State)}, n)
		if err == nil && d.Attempts > 0 { // a provider may have seen it, whatever came of it
			err = addFunnel(tx, funnelKey{d.Campaign, "sent"}, n)
		}
		return err
	}
	others, err := outbox.Others(tx, d)
	if err != nil {
		return err
	}
	if d.Copies > 0 {
		for _, step := range []struct {
			d *outbox.Delivery
			n int64
		}{{old, -1}, {d, 1}} {
			if step.d.State.Final() {
				err = errors.Join(err, addFunnel(tx, funnelKey{d.Campaign, "device." + string(step.d.State)}, step.n))
			}
		}
	}
	before, after := append([]outbox.Delivery{*old}, others...), append([]outbox.Delivery{*d}, others...)
	if err := errors.Join(err, count(outbox.Speaks(before), -1), count(outbox.Speaks(after), 1)); err != nil || !d.State.Final() {
		return err
	}
	return appendOutcome(tx, events, d)
}

// retireToken marks the token of the route that was refused as dead, unless it was registered after the provider
// lost sight of the old one, the provider calls so many dead that it is not believed, or its words may have been
// about the message.
func (g *Gateway) retireToken(tx *db.Tx, d *outbox.Delivery, o push.Outcome) error {
	p, ok, err := audience.Get(tx, d.Device)
	if err != nil || !ok || p.TokenDead || p.Token == "" {
		return err
	}
	if !o.InvalidSince.IsZero() && p.TokenAt > o.InvalidSince.UnixMilli() {
		return nil
	}
	trusted := g.outbox.TrustsTokens(d.Lane)
	if o.Unproven || !trusted {
		g.count.kept.Add(1)
		if !trusted {
			g.retired.distrust(d.Lane)
		}
		return nil
	}
	before := p
	p.TokenDead = true
	if err := noteSubscription(tx, &before, &p, tx.Now().UnixMilli(), g.cfg.Reports); err != nil {
		return err
	}
	if err := audience.Put(tx, &p); err != nil {
		return err
	}
	g.retired.add(d.Lane, &p, g.cfg.Now())
	return nil
}

// keepEnv remembers the environment in which a token was accepted whose app had not named one.
func keepEnv(tx *db.Tx, d *outbox.Delivery) error {
	p, ok, err := audience.Get(tx, d.Device)
	if err != nil || !ok || p.Env != "" {
		return err
	}
	p.Env = d.Env
	return audience.Put(tx, &p)
}

// anotherToken finds what else a message may be sent to whose token was refused: the same token in the other
// environment, when the app has not said to which it belongs, then the person's other devices, the one heard of
// last first.
func (g *Gateway) anotherToken(tx *db.Tx, d *outbox.Delivery, o push.Outcome) (r outbox.Route, ok bool, err error) {
	p, found, err := audience.Get(tx, d.Device)
	if err != nil {
		return r, false, err
	}
	if found && o.Class == push.TokenBad && p.Env == "" && d.Env == "" && p.Platform == string(push.IOS) {
		other := p
		other.Env = push.EnvSandbox
		if lane, ok := g.cfg.Lane(d.App, &other); ok && lane != d.Lane {
			return outbox.Route{Device: d.Device, Lane: lane, Env: other.Env}, true, nil
		}
	}
	inApp := g.cfg.InApp != "" && d.Lane == g.cfg.InApp // there is no other way
	if d.Person == "" || d.Copies > 0 || inApp {        // of a message to all devices each has its own
		return r, false, nil
	}
	devices, err := audience.DevicesOf(tx, d.Person)
	if err != nil {
		return r, false, err
	}
	var heard int64
	for _, id := range devices {
		q, found, err := audience.Get(tx, id)
		if err != nil {
			return r, false, err
		}
		if !found || !q.Reachable() || !q.MayPush() || appOf(track.DeviceID(id)) != d.App || q.UpdatedAt < heard || tried(d, id) {
			continue
		}
		if lane, has := g.cfg.Lane(d.App, &q); has {
			r, ok, heard = outbox.Route{Device: id, Lane: lane}, true, q.UpdatedAt
		}
	}
	return r, ok, nil
}

// tried reports whether a delivery has been refused by a device.
func tried(d *outbox.Delivery, device string) bool {
	return d.Device == device || slices.ContainsFunc(d.Tried, func(r outbox.Route) bool { return r.Device == device })
}
