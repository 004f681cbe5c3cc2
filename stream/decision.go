package stream

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/track"
)

// A Decision is the record of one transition, or of the reason why a fix near a fence made none, with what
// every campaign concerned said about it. It is written in the transaction of its effects and is what explain
// prints. It holds distances and the fix's H3 cell at resolution 9 (about 0.1 km²), never its position.
type Decision struct {
	ID          string             `json:"id"` // the same however often and in whatever batches the input is processed
	Device      string             `json:"device"`
	Kind        string             `json:"kind"` // enter, exit, dwell, crossed, campaign_began, or the kind of a note
	Fence       fences.ID          `json:"fence"`
	FenceName   string             `json:"fence_name,omitempty"`
	Store       fences.StoreID     `json:"store,omitempty"`
	Zone        string             `json:"zone,omitempty"`
	At          int64              `json:"at"` // Unix ms, event time
	ConfirmedAt int64              `json:"confirmed_at,omitzero"`
	EnteredAt   int64              `json:"entered_at,omitzero"`
	ReceivedAt  int64              `json:"received_at"`
	Reason      track.Reason       `json:"reason"`
	Confidence  uint8              `json:"confidence,omitzero"`
	Fix         FixFacts           `json:"fix"`
	EdgeM       float64            `json:"edge_m"`
	CenterM     float64            `json:"center_m"`
	RadiusM     float64            `json:"radius_m,omitzero"`
	Candidates  []Candidate        `json:"candidates,omitempty"`
	Campaigns   []CampaignDecision `json:"campaigns,omitempty"`
	// Change is what a note lacked to be a transition. Explain adds it, by the rules of now; it is not stored.
	Change string `json:"change,omitempty"`
}

// FixFacts is what a decision says about the fix that caused it.
type FixFacts struct {
	Source    string  `json:"source"`
	AccuracyM float32 `json:"accuracy_m,omitzero"`
	SpeedMPS  float32 `json:"speed_mps"`
	Cell      string  `json:"cell,omitempty"`
	Skewed    bool    `json:"skewed,omitzero"`
	Verdict   string  `json:"verdict"`
}

// CampaignDecision is one campaign's answer about the transition, after its claim was settled.
type CampaignDecision struct {
	Campaign  string           `json:"campaign"`
	Revision  string           `json:"revision"`
	Outcome   campaign.Outcome `json:"outcome"`
	Reason    campaign.Reason  `json:"reason"`
	Checks    []campaign.Check `json:"checks"`
	Claim     string           `json:"claim,omitempty"`
	MID       string           `json:"mid,omitempty"`    // of the push this decision caused
	Devices   int              `json:"devices,omitzero"` // that it goes to, when these are several; see dedupe.CopyID
	ExpiresAt int64            `json:"expires_at,omitzero"`
	SendAt    int64            `json:"send_at,omitzero"` // when a push that waits goes out at the earliest
	Variant   string           `json:"variant,omitempty"`
	Call      string           `json:"call,omitempty"` // system that a journey's step calls; MID and ExpiresAt are of the call
	// Change is what would have had to be different for a push, all of it. Explain adds it, by the campaigns and profiles of
	// now; it is not stored.
	Change []string `json:"change,omitempty"`
}

// decisionID names a transition by what happened, not by where it stood in a log.
func decisionID(device track.DeviceID, kind string, fence fences.ID, at int64) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%d", device, kind, fence, at)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func decisionOf(in *input, tr *track.Transition, kind string) Decision {
	d := Decision{
		ID: decisionID(in.device, kind, tr.FenceID, tr.At), Device: string(in.device),
		Kind: kind, Fence: tr.FenceID, At: tr.At, ConfirmedAt: tr.ConfirmedAt, EnteredAt: tr.EnteredAt,
		ReceivedAt: in.receivedAt, Reason: tr.Reason, Confidence: tr.Confidence, Fix: factsOf(in),
		EdgeM: tr.EdgeDistanceM, CenterM: tr.CenterDistanceM, Candidates: in.near,
	}
	d.describe(tr.Fence)
	return d
}

func noteDecision(in *input, n *track.Note) Decision {
	d := Decision{
		ID: decisionID(in.device, n.Kind.String(), n.FenceID, in.fix.FixedAt), Device: string(in.device),
		Kind: n.Kind.String(), Fence: n.FenceID, At: in.fix.FixedAt, ReceivedAt: in.receivedAt, Fix: factsOf(in),
		EdgeM: n.EdgeDistanceM, Candidates: in.near,
	}
	if f, ok := in.set.Lookup(n.FenceID); ok {
		d.describe(f)
	}
	return d
}

func (d *Decision) describe(f *fences.Fence) {
	if f != nil {
		d.FenceName, d.Store, d.Zone, d.RadiusM = f.Name, f.Store, f.Zone, f.Shape.RadiusM()
	}
}

func factsOf(in *input) FixFacts {
	f := FixFacts{Source: in.fix.Source.String(), AccuracyM: in.fix.AccuracyM, SpeedMPS: in.fix.SpeedMPS, Skewed: in.fix.Skewed, Verdict: in.verdict.String()}
	if in.fix.HasPosition {
		f.Cell = geo.CellAt(geo.Point{Lat: in.fix.Lat, Lng: in.fix.Lng}, 9).String()
	}
	return f
}

func decisionKey(d *Decision) []byte {
	return decisionSpace.Key([]byte(d.Device), binary.BigEndian.AppendUint64(nil, uint64(d.At)), []byte(d.ID))
}

// putDecision keeps a decision. It is called on the ledger's writer goroutine.
func (s *settler) putDecision(tx *db.Tx, d *Decision) error { return s.putDecisionFor(tx, d, s.keep) }

func (s *settler) putDecisionFor(tx *db.Tx, d *Decision, keep time.Duration) error {
	room := cmp.Or(s.room, new([]byte))
	text, err := d.appendJSON((*room)[:0])
	if err != nil {
		return fmt.Errorf("stream: decision %s: %w", d.ID, err)
	}
	*room = packDecision(text, text) // behind the text, in the same room
	row := (*room)[len(text):]
	return tx.SetUntil(decisionKey(d), row, tx.Now().Add(keep))
}

// EachDecision calls fn for every decision that is kept, by device and then by time, until it returns an error. The
// decision is good until fn returns.
func EachDecision(tx *db.Tx, fn func(*Decision) error) error {
	return tx.Scan(decisionSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		d, err := unpackDecision(val)
		if err != nil {
			return false, fmt.Errorf("stream: decision %x: %w", key, err)
		}
		if err := fn(&d); err != nil {
			return false, err
		}
		return true, nil
	})
}

// Decisions reads the newest decisions about a device that are still kept, at most most of them, oldest first,
// between two times in Unix ms (to 0: no end). more is how many older ones there are in that time.
func Decisions(tx *db.Tx, device track.DeviceID, from, to int64, most int) (out []Decision, more int, err error) {
	prefix := decisionSpace.Key([]byte(device))
	start := decisionSpace.Key([]byte(device), binary.BigEndian.AppendUint64(nil, uint64(max(from, 0))))
	var rows [][]byte // a ring of the newest
	n := 0
	err = tx.Scan(prefix, start, func(key, val []byte) (bool, error) {
		parts, ok := decisionSpace.Split(key)
		if !ok || len(parts) != 3 || len(parts[1]) != 8 {
			return false, fmt.Errorf("stream: decision key %x", key)
		}
		if to != 0 && int64(binary.BigEndian.Uint64(parts[1])) > to {
			return false, nil
		}
		if len(rows) < most {
			rows = append(rows, bytes.Clone(val))
		} else {
			rows[n%most] = append(rows[n%most][:0], val...)
		}
		n++
		return true, nil
	})
	if err != nil {
		return nil, 0, err
	}
	for i := range rows {
		row := rows[(n+i)%len(rows)]
		if n <= most {
			row = rows[i]
		}
		d, err := unpackDecision(row)
		if err != nil {
			return nil, 0, fmt.Errorf("stream: decision of %s: %w", device, err)
		}
		out = append(out, d)
	}
	return out, n - len(rows), nil
}
