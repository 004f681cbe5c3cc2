package stream

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/track"
	"footfall/voucher"
)

// Export is what a ledger holds about a device or a person, for the person to have. Times are Unix ms. A part that was
// not asked for is nil.
type Export struct {
	Devices       []DeviceData              `json:"devices,omitempty"`
	Decisions     []Decision                `json:"decisions,omitempty"`
	Deliveries    []outbox.Delivery         `json:"deliveries,omitempty"`
	Receipts      map[string][]receipt.Fact `json:"receipts,omitempty"` // by message
	Vouchers      map[string]voucher.Code   `json:"vouchers,omitempty"` // by message
	Tags          map[string]any            `json:"tags,omitempty"`     // of the person
	OpenHours     []OpenHours               `json:"open_hours,omitempty"`
	Unread        map[string][]int64        `json:"unread,omitempty"` // by device: when what its badge counts was accepted
	Claims        []ClaimData               `json:"claims,omitempty"`
	Sends         []SendData                `json:"sends,omitempty"`
	Entries       []EntryData               `json:"entries,omitempty"`
	Subscriptions []ChangeData              `json:"subscriptions,omitempty"`
	Runs          []RunData                 `json:"journey_runs,omitempty"`
	Segments      []SegmentData             `json:"segments,omitempty"` // those that journeys watch
	// More says that the part goes on behind so many: ask again with Skip.
	More bool `json:"more,omitempty"`
}

// DeviceData is what is kept under one device.
type DeviceData struct {
	Device  string            `json:"device"`
	Profile *audience.Profile `json:"profile,omitempty"` // nil: it has never registered
	// Presence is as the ledger has it, up to a checkpoint old; nil: none.
	Presence *track.Presence `json:"presence,omitempty"`
	// WithdrawnAt is since when positions of it are not used, because the person has said so.
	WithdrawnAt int64            `json:"location_consent_withdrawn_at,omitempty"`
	Visits      []audience.Visit `json:"visits,omitempty"`
	Events      []audience.Event `json:"events,omitempty"`
}

// ClaimData is a claim with its key.
type ClaimData struct {
	Campaign string `json:"campaign"`
	Subject  string `json:"subject"`
	Scope    string `json:"scope,omitempty"`
	Period   string `json:"period"`
	State    string `json:"state"`
	MID      string `json:"mid"`
	At       int64  `json:"at"`
	Fence    string `json:"fence,omitempty"`
}

// SendData is one push that counts for caps.
type SendData struct {
	Subject  string `json:"subject"`
	At       int64  `json:"at"`
	Campaign string `json:"campaign"`
}

// EntryData is one entry of reports.
type EntryData struct {
	ID       string `json:"id"`
	Campaign string `json:"campaign,omitempty"`
	At       int64  `json:"at"`
	funnel.Entry
}

// ChangeData says when a device could be pushed to, or no longer.
type ChangeData struct {
	Device string `json:"device"`
	At     int64  `json:"at"`
	Joined bool   `json:"joined"`
	Why    string `json:"why"`
}

// RunData is a person's way through a journey. Entry is what the person entered by, Path the last steps taken.
type RunData struct {
	Journey string            `json:"journey"`
	Subject string            `json:"subject"`
	Device  string            `json:"device"`
	Fence   string            `json:"fence,omitempty"`
	Entered int64             `json:"entered"`
	Entry   map[string]any    `json:"entry,omitempty"`
	At      string            `json:"at,omitempty"` // the step at which it waits; "" when it has ended
	Due     int64             `json:"due,omitempty"`
	Arms    map[string]string `json:"arms,omitempty"` // by experiment
	Path    []StepData        `json:"path,omitempty"`
	Opened  []string          `json:"opened,omitempty"`
	Goals   []string          `json:"goals,omitempty"`
	Ended   int64             `json:"ended,omitempty"`
	Why     string            `json:"why,omitempty"`
}

// StepData is one step of a run.
type StepData struct {
	Step string `json:"step"`
	At   int64  `json:"at"`
	Note string `json:"note,omitempty"`
}

// SegmentData says since when a person is in a segment that a journey watches, or out of it.
type SegmentData struct {
	Segment string `json:"segment"`
	Subject string `json:"subject"`
	In      bool   `json:"in"`
	Since   int64  `json:"since"`
}

// ExportParts are the parts of an Export, in their order. Each is small enough to be sent, a page at a time.
func ExportParts() []string {
	return []string{"devices", "decisions", "deliveries", "claims", "sends", "entries", "subscriptions", "journeys"}
}

// ExportRequest asks for a part about somebody.
type ExportRequest struct {
	Someone
	Part string `json:"part"`
	Skip int    `json:"skip,omitzero"` // so many rows of the part are known already
}

// exportPage is how many rows of a part one answer has, at most: with 2 KiB each it fits into a NATS message.
const exportPage = 300

// ExportFrom reads one part of what a ledger holds about somebody.
func ExportFrom(tx *db.Tx, rules track.Rules, q ExportRequest) (x Export, err error) {
	t, err := resolve(tx, q.Someone)
	if err != nil {
		return x, err
	}
	if q.Skip < 0 || !slices.Contains(ExportParts(), q.Part) {
		return x, fmt.Errorf("%w: part %q, skip %d; there are %v", ErrQuery, q.Part, q.Skip, ExportParts())
	}
	switch q.Part {
	case "devices":
		if q.Skip == 0 {
			x.Unread, err = t.unread(tx)
		}
		if err != nil {
			return x, err
		}
		x.Devices, err = t.exportDevices(tx, rules)
		x.Devices, x.More = pageOf(x.Devices, q.Skip, 1)
		if err == nil && q.Skip == 0 {
			x.OpenHours, err = t.openHours(tx)
		}
		if err == nil && q.Skip == 0 && t.person != "" {
			x.Tags, err = audience.UserTags(tx, "p:"+t.person)
		}
	case "decisions":
		for _, id := range t.devices {
			err = tx.Scan(decisionSpace.Key([]byte(id)), nil, func(_, val []byte) (bool, error) {
				d, err := unpackDecision(val)
				if err != nil {
					return false, fmt.Errorf("stream: decision of %s: %w", id, err)
				}
				x.Decisions = append(x.Decisions, d)
				return true, nil
			})
			if err != nil {
				return x, err
			}
		}
		if t.elsewhere, err = t.decisionsElsewhere(tx); err == nil {
			err = t.eachElsewhere(tx, func(_, _ []byte, d *Decision) { x.Decisions = append(x.Decisions, *d) })
		}
		x.Decisions, x.More = pageOf(x.Decisions, q.Skip, exportPage/3)
	case "deliveries":
		x.Receipts, x.Vouchers = map[string][]receipt.Fact{}, map[string]voucher.Code{}
		err = outbox.List(tx, outbox.Filter{}, func(d *outbox.Delivery) bool {
			if t.hasDelivery(d) {
				x.Deliveries = append(x.Deliveries, *d)
			}
			return true
		})
		x.Deliveries, x.More = pageOf(x.Deliveries, q.Skip, exportPage)
		for i := range x.Deliveries {
			facts, err := receipt.Facts(tx, x.Deliveries[i].MID)
			if err != nil {
				return x, err
			}
			if len(facts) > 0 {
				x.Receipts[x.Deliveries[i].MID] = facts
			}
			c, found, err := voucher.Of(tx, x.Deliveries[i].MID)
			if err != nil {
				return x, err
			}
			if found {
				x.Vouchers[x.Deliveries[i].MID] = c
			}
		}
	case "claims":
		err = t.exportClaims(tx, &x)
		x.Claims, x.More = pageOf(x.Claims, q.Skip, exportPage)
	case "sends":
		for subject := range t.subjects {
			sends, err := dedupe.Sends(tx, subject)
			if err != nil {
				return x, err
			}
			for _, s := range sends {
				x.Sends = append(x.Sends, SendData{subject, s.At.UnixMilli(), s.Campaign})
			}
		}
		slices.SortStableFunc(x.Sends, func(a, b SendData) int { return int(a.At - b.At) })
		x.Sends, x.More = pageOf(x.Sends, q.Skip, exportPage)
	case "entries":
		err = funnel.EntriesOf(tx, func(e *funnel.Entry) bool { return t.has(e.Device, e.Subject) }, func(_ []byte, e *funnel.Entry) {
			x.Entries = append(x.Entries, EntryData{e.ID, e.Campaign, e.At, *e})
		})
		x.Entries, x.More = pageOf(x.Entries, q.Skip, exportPage)
	case "subscriptions":
		changes, err := funnel.ChangesOf(tx, deviceNames(t.devices))
		if err != nil {
			return x, err
		}
		for _, c := range changes {
			x.Subscriptions = append(x.Subscriptions, ChangeData{c.Device, c.At, c.Joined, c.Why})
		}
		x.Subscriptions, x.More = pageOf(x.Subscriptions, q.Skip, exportPage)
	case "journeys":
		err = t.exportJourneys(tx, &x)
		x.Runs, x.More = pageOf(x.Runs, q.Skip, exportPage/6) // a long way has 4 KiB, and what it began with as much again
		if q.Skip > 0 {
			x.Segments = nil // the first page has all of them
		}
	}
	return x, err
}

// pageOf cuts a page out of rows.
func pageOf[T any](rows []T, skip, most int) (page []T, more bool) {
	rows = rows[min(skip, len(rows)):]
	return rows[:min(most, len(rows))], len(rows) > most
}

// Add puts a page behind what is there.
func (x *Export) Add(page *Export) {
	x.Devices = append(x.Devices, page.Devices...)
	if page.Tags != nil {
		x.Tags = page.Tags
	}
	x.OpenHours = append(x.OpenHours, page.OpenHours...)
	if x.Unread == nil {
		x.Unread = page.Unread // of the first page, which has all of it
	}
	x.Decisions = append(x.Decisions, page.Decisions...)
	x.Deliveries = append(x.Deliveries, page.Deliveries...)
	x.Claims = append(x.Claims, page.Claims...)
	x.Sends = append(x.Sends, page.Sends...)
	x.Entries = append(x.Entries, page.Entries...)
	x.Subscriptions = append(x.Subscriptions, page.Subscriptions...)
	x.Runs = append(x.Runs, page.Runs...)
	x.Segments = append(x.Segments, page.Segments...)
	if x.Receipts == nil {
		x.Receipts, x.Vouchers = map[string][]receipt.Fact{}, map[string]voucher.Code{}
	}
	maps.Copy(x.Vouchers, page.Vouchers)
	for mid, facts := range page.Receipts {
		x.Receipts[mid] = facts
	}
}

// Rows is how many rows of a part an Export has.
func (x *Export) Rows(part string) int {
	return map[string]int{
		"devices": len(x.Devices), "decisions": len(x.Decisions), "deliveries": len(x.Deliveries), "claims": len(x.Claims),
		"sends": len(x.Sends), "entries": len(x.Entries), "subscriptions": len(x.Subscriptions),
		"journeys": len(x.Runs),
	}[part]
}

func (t *target) exportDevices(tx *db.Tx, rules track.Rules) (out []DeviceData, err error) {
	for _, id := range t.devices {
		d := DeviceData{Device: string(id)}
		p, known, err := audience.Get(tx, string(id))
		if err != nil {
			return nil, err
		}
		if known {
			d.Profile = &p
		}
		alone := &audience.Profile{Device: string(id)}
		if d.Visits, err = audience.VisitsOf(tx, alone); err != nil {
			return nil, err
		}
		if d.Events, err = audience.EventsOf(tx, alone); err != nil {
			return nil, err
		}
		if row, err := tx.Get(presenceKey(id)); err == nil {
			tracker := track.New(rules)
			if err := tracker.Restore(id, row); err != nil {
				return nil, fmt.Errorf("stream: presence of %s: %w", id, err)
			}
			if p, ok := tracker.Presence(id); ok && !p.Withdrawn {
				d.Presence = &p
			}
		}
		if d.WithdrawnAt, err = withdrawnAt(tx, id); err != nil {
			return nil, err
		}
		if known || d.Presence != nil || len(d.Visits)+len(d.Events) > 0 || d.WithdrawnAt != 0 {
			out = append(out, d)
		}
	}
	return out, nil
}

func (t *target) exportJourneys(tx *db.Tx, x *Export) error {
	err := journey.RunsOf(tx, t.hasRun, func(id, subject string, r *journey.Run) {
		d := RunData{
			Journey: id, Subject: subject, Device: r.Device, Fence: r.Fence, Entered: r.Entered, Entry: r.Entry, At: r.At, Due: r.Due,
			Arms: r.Arms, Opened: r.Opened, Goals: r.Goals, Ended: r.Ended, Why: r.Why,
		}
		for _, m := range r.Path {
			d.Path = append(d.Path, StepData(m))
		}
		x.Runs = append(x.Runs, d)
	})
	if err != nil {
		return err
	}
	return journey.MembersOf(tx, func(subject string) bool { return t.subjects[subject] }, func(watch, subject string, m journey.Membership) {
		segment, _, _ := strings.Cut(watch, "@")
		x.Segments = append(x.Segments, SegmentData{segment, subject, m.In, m.Since})
	})
}

func (t *target) exportClaims(tx *db.Tx, x *Export) error {
	_, keys, err := dedupe.ClaimsOf(tx, t.subjects)
	if err != nil {
		return err
	}
	for _, k := range keys {
		c, found, err := dedupe.Get(tx, k)
		if err != nil {
			return err
		}
		if found {
			x.Claims = append(x.Claims, ClaimData{k.Campaign, k.Subject, k.Scope, k.Period, c.State.String(), c.MID, c.At.UnixMilli(), c.Fence})
		}
	}
	return nil
}
