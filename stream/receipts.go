package stream

import (
	"encoding/json"
	"errors"
	"math"
	"slices"

	"footfall/internal/db"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// What the settler says of a receipt, or of an event that names a code; the reasons of Stats.Receipts. Forged receipts
// do not get here: the collector refuses them with wire.CodeBadKey.
const (
	receiptStored      = "stored"
	receiptRepeated    = "repeated"     // known already
	receiptLate        = "late"         // the message is unknown: it has left the ledger
	receiptTooMany     = "too_many"     // receipt.ErrTooMany
	receiptUnknownCode = "unknown_code" // of an event; the code is none of ours, or its message has left the ledger
)

// ReceiptEvent is the payload of ev.<app>.receipt.<ev>: one thing that became of a message, published once. Times are
// Unix ms.
type ReceiptEvent struct {
	ID       string `json:"id"`
	App      string `json:"app"`
	Device   string `json:"device"`
	Person   string `json:"person,omitempty"`
	MID      string `json:"mid"`
	Campaign string `json:"campaign"`
	Fence    string `json:"fence,omitempty"`
	// Late: the push has left the ledger, so that nothing but the receipt itself is known, and it may be published again
	// when it is repeated, under the same id.
	Late bool `json:"late,omitempty"`
	receipt.Fact
}

// settleReceipt adds what a phone reports to the facts about its message. The collector has checked the key, which
// says that the message went to this device; by now it may be on its way to another one of the same person.
func (s *settler) settleReceipt(tx *db.Tx, in *input, t *tally) error {
	r, err := wire.ParseReceipt(in.payload)
	if err != nil {
		return nil // checked by the collector; a foreign writer of the log is not worth stopping for
	}
	f := receipt.Fact{Ev: r.Ev, Ref: r.Ref, At: r.At, Action: r.Action, Value: r.Value, Currency: r.Currency}
	if f.Ref == "" && f.Ev == receipt.Action {
		f.Ref = f.Action // two buttons are two facts
	}
	d, ok, err := outbox.Get(tx, r.MID)
	switch {
	case err != nil:
		return err
	case !ok:
		t.receipts[receiptLate]++
		f.ReceivedAt, f.At = in.receivedAt, receipt.Clamp(f.At, 0, in.receivedAt)
		return s.tellReceipt(tx, &outbox.Delivery{MID: r.MID, Device: string(in.device)}, f, true)
	}
	if err := s.addFact(tx, &d, in, f, t); err != nil || d.State.Final() {
		return err
	}
	if there, err := arrived(tx, d.MID); err != nil || !there {
		return err
	}
	return s.confirm(tx, d.MID)
}

// arrived reports whether a phone has said that it has the message.
func arrived(tx *db.Tx, mid string) (bool, error) {
	facts, err := receipt.Facts(tx, mid)
	return slices.Contains(receipt.Reached(facts), receipt.Delivered), err
}

// creditCode adds a conversion to the message whose code somebody has shown, such as at a till. typed is the code as
// it was entered; "" is none.
func (s *settler) creditCode(tx *db.Tx, app string, in *input, f receipt.Fact, typed string, t *tally) error {
	if typed == "" {
		return nil
	}
	if len(f.Currency) != 3 { // properties are free text, facts are not
		f.Currency = ""
	}
	code, ok := receipt.CleanCode(typed)
	if !ok {
		t.receipts[receiptUnknownCode]++
		return nil
	}
	mid, ok, err := receipt.ByCode(tx, app, code)
	if err != nil {
		return err
	}
	var d outbox.Delivery
	if ok {
		if d, ok, err = outbox.Get(tx, mid); err != nil {
			return err
		}
	}
	if !ok {
		t.receipts[receiptUnknownCode]++
		return nil
	}
	return s.addFact(tx, &d, in, f, t)
}

// addFact stores a fact about a delivery, counts the stages that its campaign has come to, and tells EVENTS. The fact's
// time is still what the sender said.
func (s *settler) addFact(tx *db.Tx, d *outbox.Delivery, in *input, f receipt.Fact, t *tally) error {
	f.ReceivedAt = in.receivedAt
	f.At = receipt.Clamp(f.At, d.CreatedAt, in.receivedAt)
	change, err := receipt.Add(tx, d.MID, f, s.keepFacts)
	if errors.Is(err, receipt.ErrTooMany) {
		t.receipts[receiptTooMany]++
		return nil
	}
	if err != nil {
		return err
	}
	if !change.New {
		t.receipts[receiptRepeated]++
		return nil
	}
	t.receipts[receiptStored]++
	if opens(f) { // of the device that the person holds, whichever the message began on
		if err := readUpTo(tx, string(in.device), max(f.At, d.UpdatedAt)); err != nil {
			return err
		}
	}
	if err := onlyFirst(tx, d, &change); err != nil {
		return err
	}
	if slices.Contains(change.Reached, receipt.Opened) {
		if err := s.learnHour(tx, d, in, &f); err != nil {
			return err
		}
	}
	for _, stage := range change.Reached {
		t.funnel[funnelKey{d.Campaign, stage}]++
	}
	if slices.Contains(change.Reached, receipt.Opened) {
		if err := s.journeyOpened(tx, d, f.At, t); err != nil {
			return err
		}
	}
	return s.tellReceipt(tx, d, f, false)
}

// onlyFirst takes out of a change the stages that another device of the person had come to already with the same message:
// they count once.
func onlyFirst(tx *db.Tx, d *outbox.Delivery, change *receipt.Change) error {
	if d.Copies == 0 {
		return nil
	}
	for _, mid := range d.MIDs() {
		if mid == d.MID {
			continue
		}
		facts, err := receipt.Facts(tx, mid)
		if err != nil {
			return err
		}
		known := receipt.Reached(facts)
		change.Reached = slices.DeleteFunc(change.Reached, func(stage string) bool { return slices.Contains(known, stage) })
	}
	return nil
}

// tellReceipt publishes a fact about d.
func (s *settler) tellReceipt(tx *db.Tx, d *outbox.Delivery, f receipt.Fact, late bool) error {
	app, device, _ := wire.SplitDevice(track.DeviceID(d.Device))
	ev := ReceiptEvent{
		ID: d.MID + "." + wire.EncodeID(f.Ev) + "." + wire.EncodeID(f.Ref), App: app, Device: device, Person: d.Person,
		MID: d.MID, Campaign: d.Campaign, Fence: d.Fence, Late: late, Fact: f,
	}
	return s.events.append(tx, ev.ID, wire.TransitionSubject(app, "receipt", f.Ev), ev)
}

// textOf and numberOf read a property that may be absent or of any type.
func textOf(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s)
	return s
}

func numberOf(raw json.RawMessage) float64 {
	var v float64
	if json.Unmarshal(raw, &v) != nil || math.Abs(v) > 1e12 {
		return 0
	}
	return v
}
