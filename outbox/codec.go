package outbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"footfall/dedupe"
	"footfall/internal/row"
)

// rowVersion is the first byte of a stored delivery. A row is read several times
// and written twice on its way, so the form is binary.
const rowVersion = 4

var errRow = errors.New("outbox: unreadable delivery")

// codeOf numbers the states in stored rows: append only. StateSending is never
// stored: a row is being sent when a lease says so.
var codeOf = map[State]byte{
	StatePending: 1, StateRetryWait: 3, StateInDoubt: 4, StateAccepted: 5,
	StateFailed: 6, StateExpired: 7, StateCancelled: 8, StateDead: 9, StateSuppressed: 10,
}

var stateOf = func() (states [11]State) {
	for s, code := range codeOf {
		states[code] = s
	}
	return states
}()

// Flags of a stored row.
const (
	flagDoubt = 1 << iota
	flagBulk
	flagFirst  // the time of the first try follows at the end
	flagCopies // Lead and Copies follow behind it
)

// encode writes version, state, flags, the counters and times as varints, and
// the texts with their length in front.
func (d *Delivery) encode() ([]byte, error) {
	code, ok := codeOf[d.State]
	if !ok {
		return nil, fmt.Errorf("outbox: encode delivery %s: state %q", d.MID, d.State)
	}
	var flags byte
	if d.Doubt {
		flags |= flagDoubt
	}
	if d.Bulk {
		flags |= flagBulk
	}
	if d.FirstAt != 0 {
		flags |= flagFirst
	}
	if d.Copies != 0 {
		flags |= flagCopies
	}
	var claim []byte
	if d.Claim != (dedupe.Key{}) {
		claim = d.Claim.Bytes()
	}
	b := make([]byte, 0, 128+len(d.MID)+len(d.Device)+len(d.Reason)+len(claim)+len(d.Context)+len(d.ProviderID))
	b = append(b, rowVersion, code, flags)
	b = binary.AppendUvarint(b, uint64(d.step)) // first, for stepOf
	b = binary.AppendVarint(b, d.ExpiresAt)     // and these for glance
	b = row.AppendString(b, d.Campaign)
	for _, n := range [...]int64{int64(d.Attempts), int64(d.Redos), int64(d.Redrives), d.CreatedAt, d.FixedAt, d.NextAt, d.UpdatedAt} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{d.MID, d.App, d.Device, d.Person, d.Fence, d.Lane, d.Env, string(d.OnDoubt), d.Reason, d.ProviderID} {
		b = row.AppendString(b, s)
	}
	for _, s := range [...][]byte{claim, d.Context} {
		b = row.AppendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(d.Tried)))
	for _, r := range d.Tried {
		for _, s := range [...]string{r.Device, r.Lane, r.Env} {
			b = row.AppendString(b, s)
		}
	}
	if d.FirstAt != 0 {
		b = binary.AppendVarint(b, d.FirstAt)
	}
	if d.Copies != 0 {
		b = row.AppendString(binary.AppendUvarint(b, uint64(d.Copies)), d.Lead)
	}
	return b, nil
}

func decode(b []byte) (d Delivery, err error) {
	if len(b) == 0 {
		return d, errRow
	}
	if b[0] != rowVersion {
		return d, fmt.Errorf("%w: version %d; this Footfall writes %d", errRow, b[0], rowVersion)
	}
	if len(b) < 3 || int(b[1]) >= len(stateOf) || stateOf[b[1]] == none {
		return d, errRow
	}
	d.State, d.Doubt, d.Bulk = stateOf[b[1]], b[2]&flagDoubt != 0, b[2]&flagBulk != 0
	r := row.NewReader(b[3:])
	d.step = int(r.Uvarint())
	d.ExpiresAt, d.Campaign = r.Varint(), r.Text()
	d.Attempts, d.Redos, d.Redrives = int(r.Varint()), int(r.Varint()), int(r.Varint())
	d.CreatedAt, d.FixedAt, d.NextAt, d.UpdatedAt = r.Varint(), r.Varint(), r.Varint(), r.Varint()
	for _, dst := range [...]*string{&d.MID, &d.App, &d.Device, &d.Person, &d.Fence, &d.Lane, &d.Env, (*string)(&d.OnDoubt), &d.Reason, &d.ProviderID} {
		*dst = r.Text()
	}
	claim, context := r.Text(), r.Text()
	routes := r.Uvarint()
	if routes > maxRoutes {
		return Delivery{}, errRow
	}
	for range routes {
		d.Tried = append(d.Tried, Route{r.Text(), r.Text(), r.Text()})
	}
	if b[2]&flagFirst != 0 {
		d.FirstAt = r.Varint()
	}
	if b[2]&flagCopies != 0 {
		copies := r.Uvarint()
		if copies > MaxCopies {
			return Delivery{}, errRow
		}
		d.Copies, d.Lead = int(copies), r.Text()
	}
	if !r.OK() {
		return Delivery{}, errRow
	}
	if context != "" {
		d.Context = json.RawMessage(context)
	}
	if claim != "" {
		if d.Claim, err = dedupe.ParseKey([]byte(claim)); err != nil {
			return Delivery{}, fmt.Errorf("%w: %w", errRow, err)
		}
	}
	return d, nil
}

// glance reads when an encoded row expires and its campaign, which is a part of
// b, without the rest. What is not a row has expired, of no campaign.
func glance(b []byte) (expiresAt int64, campaign []byte) {
	if len(b) < 4 || b[0] != rowVersion {
		return 0, nil
	}
	b = b[3:]
	_, n := binary.Uvarint(b) // the step
	b = b[max(n, 0):]
	expiresAt, n = binary.Varint(b)
	b = b[max(n, 0):]
	size, n := binary.Uvarint(b)
	b = b[max(n, 0):]
	if n <= 0 || size > uint64(len(b)) {
		return 0, nil
	}
	return expiresAt, b[:size]
}

// stepOf reads the step of an encoded row, and whether it is final.
func stepOf(b []byte) (step int, final, ok bool) {
	if len(b) < 4 || b[0] != rowVersion || int(b[1]) >= len(stateOf) {
		return 0, false, false
	}
	n, size := binary.Uvarint(b[3:])
	return int(n), stateOf[b[1]].Final(), size > 0
}
