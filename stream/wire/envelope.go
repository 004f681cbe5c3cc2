package wire

// maxID bounds the ids that a sender chooses: event id, receipt mid.
const maxID = 128

// CheckPayload checks the envelope of an event, device or receipt payload before it is stored: one JSON object of at
// most MaxPayload bytes and MaxDepth levels whose known members have the right type. What the members mean is for
// the packages that consume them.
//
//   - event: name (required, a token), t (Unix ms, optional), id (text of 1 to 128 bytes), props (object)
//   - device: user, platform, token, env, locale, zone, sdk, os (text or null), tags, user_tags, consent (object or null)
//   - receipt: see ParseReceipt
//
// Unknown members are kept. The error is a *PayloadError. It does not allocate but for text with escapes.
func CheckPayload(k Kind, payload []byte) error {
	var f fields
	var e envelope
	return readEnvelope(k, payload, &f, &e)
}

func readEnvelope(k Kind, payload []byte, f *fields, e *envelope) error {
	switch {
	case len(payload) == 0:
		return errEmpty
	case len(payload) > MaxPayload:
		return errTooLarge16
	}
	d := decoder{scanner: scanner{b: payload}}
	switch d.peek() {
	case '{':
	case 0xEF:
		return errBOM
	default:
		if !d.skip() || !d.end() {
			return d.fail
		}
		return errNotObject
	}
	if !d.enter() {
		return d.fail
	}
	for first := true; d.more(first, '}'); first = false {
		key, ok := d.key()
		if !ok {
			return d.fail
		}
		switch k {
		case KindEvent:
			ok = d.eventMember(f, e, key)
		case KindReceipt:
			ok = d.receiptMember(f, e, key)
		case KindDevice:
			ok = d.deviceMember(f, key)
		default:
			return errInternal
		}
		if !ok {
			return d.fail
		}
	}
	if d.fail != nil || !d.end() {
		return d.fail
	}
	if f.code == "" {
		e.judge(f, k)
	}
	if f.code != "" {
		// One allocation, for a refusal only: a PayloadError carries its reason.
		return &PayloadError{Code: f.code, Reason: f.reason}
	}
	return nil
}

// envelope is what an event or a receipt said.
type envelope struct {
	name, id []byte // event; receipt: ev, mid

	key, ref, action, currency []byte // receipt
}

// Bits of fields.seen for events and receipts; fT is shared with pings.
const (
	eName = fT << (iota + 1)
	eID
	eObject
	eKey
	eRef
	eAction
	eCurrency
	eValue
)

func (e *envelope) judge(f *fields, k Kind) {
	if k != KindDevice && f.seen&fT != 0 { // a device has no t and uses the bits for its own members
		checkTime(f, f.t)
	}
	switch k {
	case KindEvent:
		if f.seen&eName == 0 {
			f.refuse(CodeMissingField, "name is required")
		} else if !validToken(e.name) {
			f.refuse(CodeBadValue, "name must be 1 to 64 of A-Z a-z 0-9 _ -")
		}
		if f.seen&eID != 0 && (len(e.id) == 0 || len(e.id) > maxID) {
			f.refuse(CodeBadValue, "id must be 1 to 128 bytes")
		}
	case KindReceipt:
		e.judgeReceipt(f)
	}
}

func (d *decoder) eventMember(f *fields, e *envelope, key []byte) bool {
	switch string(key) {
	case "name":
		return d.text(f, eName, &e.name, "name must be text")
	case "id":
		return d.text(f, eID, &e.id, "id must be text")
	case "t":
		return d.number(f, fT, &f.t, "t must be a number")
	case "props":
		return d.object(f, eObject, "props must be an object")
	}
	return d.skip()
}

// deviceFields are the members of a device payload in the order of their bits; the last three are objects.
var deviceFields = [...]string{"user", "platform", "token", "env", "locale", "zone", "sdk", "os", "tags", "user_tags", "consent"}

func (d *decoder) deviceMember(f *fields, key []byte) bool {
	for i, name := range deviceFields {
		if string(key) != name {
			continue
		}
		if d.peek() == 'n' { // null deletes
			f.once(1 << i)
			return d.word("null")
		}
		if i < len(deviceFields)-3 {
			var text []byte
			return d.text(f, 1<<i, &text, "user, platform, token, env, locale, zone, sdk and os must be text or null")
		}
		return d.object(f, 1<<i, "tags, user_tags and consent must be objects or null")
	}
	return d.skip()
}

func (d *decoder) object(f *fields, bit uint32, reason string) bool {
	f.once(bit)
	if d.peek() != '{' {
		f.refuse(CodeBadType, reason)
	}
	return d.skip()
}
