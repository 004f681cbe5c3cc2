package wire

// maxAction bounds the name of a button, maxValue the value of a conversion in whole units of its currency: what a
// float64 holds to the cent.
const (
	maxAction = 64
	maxValue  = 1e12
)

// Receipt is what a phone says became of a message. The text shares the memory of the payload unless it had escapes.
type Receipt struct {
	MID string // message id, as in the push
	Ev  string // delivered, displayed, opened, action, dismissed or converted
	Key string // "k" of the push, which proves that the sender has it
	// Ref tells several of one Ev apart, such as two orders: the sender's own id. "" for the one.
	Ref      string
	At       int64 // Unix ms; 0: not said
	Action   string
	Value    float64
	Currency string
}

// ParseReceipt reads a receipt payload: mid (1 to 128 bytes), ev (one of the set) and k are required; t (Unix ms), ref
// (1 to 128 bytes), action (1 to 64 bytes), value (at most 10^12 either way) and currency (three letters A-Z) are
// optional; other members are ignored. Names are case-sensitive and must not occur twice, so that everybody who reads
// a receipt reads the same. The error is a *PayloadError. Whether k is right is for the receipt package.
func ParseReceipt(payload []byte) (Receipt, error) {
	var f fields
	var e envelope
	if err := readEnvelope(KindReceipt, payload, &f, &e); err != nil {
		return Receipt{}, err
	}
	r := Receipt{
		MID: string(e.id), Ev: string(e.name), Key: string(e.key), Ref: string(e.ref),
		Action: string(e.action), Currency: string(e.currency),
	}
	if f.seen&fT != 0 {
		r.At = int64(f.t) // a fraction of a millisecond is cut off
	}
	if f.seen&eValue != 0 {
		r.Value = f.lat
	}
	return r, nil
}

// judgeReceipt refuses a receipt whose members make no sense.
func (e *envelope) judgeReceipt(f *fields) {
	text := func(bit uint32, v []byte, most int, missing, bad string) {
		switch {
		case f.seen&bit == 0:
			if missing != "" {
				f.refuse(CodeMissingField, missing)
			}
		case len(v) == 0 || len(v) > most:
			f.refuse(CodeBadValue, bad)
		}
	}
	text(eID, e.id, maxID, "mid is required", "mid must be 1 to 128 bytes")
	if f.seen&eName == 0 {
		f.refuse(CodeMissingField, "ev is required")
	}
	switch string(e.name) {
	case "delivered", "displayed", "opened", "action", "dismissed", "converted":
	default:
		f.refuse(CodeBadValue, "ev must be delivered, displayed, opened, action, dismissed or converted")
	}
	text(eKey, e.key, maxID, "k is required: it comes with the push", "k must be 1 to 128 bytes")
	text(eRef, e.ref, maxID, "", "ref must be 1 to 128 bytes")
	text(eAction, e.action, maxAction, "", "action must be 1 to 64 bytes")
	if f.seen&eValue != 0 && !(f.lat >= -maxValue && f.lat <= maxValue) {
		f.refuse(CodeOutOfRange, "value must be within 10^12 of zero")
	}
	if f.seen&eCurrency != 0 && !currencyCode(e.currency) {
		f.refuse(CodeBadValue, "currency must be three letters A-Z, as ISO 4217 has them")
	}
}

func currencyCode(v []byte) bool {
	for _, c := range v {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(v) == 3
}

func (d *decoder) receiptMember(f *fields, e *envelope, key []byte) bool {
	switch string(key) {
	case "mid":
		return d.text(f, eID, &e.id, "mid must be text")
	case "ev":
		return d.text(f, eName, &e.name, "ev must be text")
	case "t":
		return d.number(f, fT, &f.t, "t must be a number")
	case "k":
		return d.text(f, eKey, &e.key, "k must be text")
	case "ref":
		return d.text(f, eRef, &e.ref, "ref must be text")
	case "action":
		return d.text(f, eAction, &e.action, "action must be text")
	case "value":
		return d.number(f, eValue, &f.lat, "value must be a number")
	case "currency":
		return d.text(f, eCurrency, &e.currency, "currency must be text")
	}
	return d.skip()
}
