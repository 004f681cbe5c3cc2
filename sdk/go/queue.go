package footfall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Classes of what a device sends; the first token of the subject.
const (
	classPing    = "ping"
	classEvent   = "event"
	classDevice  = "device"
	classReceipt = "receipt"
)

// Limits of the protocol.
const (
	maxPings   = 1000
	maxBatch   = 256 << 10
	maxPayload = 16 << 10
)

// Item is one thing in the outbox.
type Item struct {
	ID      uint64          `json:"id"` // in the order of adding
	Class   string          `json:"class"`
	At      int64           `json:"at"` // when it was added, Unix ms
	Payload json.RawMessage `json:"payload"`
}

// Limits bound the outbox. Zero fields are the defaults.
type Limits struct {
	// Items is how many things wait at most. The oldest ping goes first; without pings, the oldest of the rest.
	// Default 10,000.
	Items int
	// PingAge is after how long a ping is not worth sending. Default 24 h.
	PingAge time.Duration
	// Age is the same for everything else. Default 7 days, as long as the gateway keeps a push.
	Age time.Duration
}

// ErrTooLarge: the payload is over what the gateway takes; it was not queued.
var ErrTooLarge = errors.New("footfall: payload is over 16 KiB")

// queue is the outbox without disk, network and clock: what is sent next, and what an answer means. It is not safe for
// concurrent use.
type queue struct {
	app, device string
	limits      Limits
	items       []Item
	next        uint64
	sent        []uint64 // ids of the request that has no answer yet
	fails       int      // in a row
	withdrawn   bool     // the person does not want to be located: no position is kept or sent

	dropped, refused int64
}

func newQueue(app, device string, l Limits, items []Item) *queue {
	if l.Items <= 0 {
		l.Items = 10_000
	}
	if l.PingAge <= 0 {
		l.PingAge = 24 * time.Hour
	}
	if l.Age <= 0 {
		l.Age = 7 * 24 * time.Hour
	}
	q := &queue{app: app, device: device, limits: l, items: items, next: 1}
	for _, it := range items {
		q.next = max(q.next, it.ID+1)
		if said, allowed := locationConsent(it.Class, it.Payload); said {
			q.withdrawn = !allowed
		}
	}
	return q
}

// locationConsent is what a payload says about the use of positions. What says nothing any more, with null, allows it.
func locationConsent(class string, payload []byte) (said, allowed bool) {
	var doc map[string]json.RawMessage
	if class != classDevice || json.Unmarshal(payload, &doc) != nil || doc["consent"] == nil {
		return false, false
	}
	var consent map[string]json.RawMessage
	if json.Unmarshal(doc["consent"], &consent) != nil {
		return false, false
	}
	location, said := consent["location"]
	return said || consent == nil, string(location) != "false"
}

// add appends a payload. gone are the ids of what had to make room for it: of a registration that withdraws the consent to
// positions, all of these. From then on a ping is not added, and it is the zero Item, until a registration gives it again.
func (q *queue) add(class string, payload []byte, nowMS int64) (it Item, gone []uint64, err error) {
	if len(payload) > maxPayload {
		return it, nil, ErrTooLarge
	}
	if class == classPing && q.withdrawn {
		q.dropped++
		return it, nil, nil
	}
	if said, allowed := locationConsent(class, payload); said {
		if q.withdrawn = !allowed; q.withdrawn {
			q.items = slices.DeleteFunc(q.items, func(it Item) bool {
				if it.Class == classPing {
					gone = append(gone, it.ID)
				}
				return it.Class == classPing
			})
		}
	}
	it = Item{ID: q.next, Class: class, At: nowMS, Payload: payload}
	q.next++
	q.items = append(q.items, it)
	for len(q.items) > q.limits.Items {
		i := max(0, slices.IndexFunc(q.items, func(it Item) bool { return it.Class == classPing }))
		gone = append(gone, q.items[i].ID)
		q.items = slices.Delete(q.items, i, i+1)
	}
	q.dropped += int64(len(gone))
	return it, gone, nil
}

// expire removes what is too old to be sent.
func (q *queue) expire(nowMS int64) (gone []uint64) {
	q.items = slices.DeleteFunc(q.items, func(it Item) bool {
		age := q.limits.Age
		if it.Class == classPing {
			age = q.limits.PingAge
		}
		old := nowMS-it.At > age.Milliseconds()
		if old {
			gone = append(gone, it.ID)
		}
		return old
	})
	q.dropped += int64(len(gone))
	return gone
}

// request returns what to send next: the pings at the head of the queue in one array, or the one thing that is no
// ping. ok is false when there is nothing. The same comes again until answer or fail is called and items are removed.
func (q *queue) request() (subject string, payload []byte, ok bool) {
	q.sent = q.sent[:0]
	if len(q.items) == 0 {
		return "", nil, false
	}
	head := q.items[0]
	subject = head.Class + "." + q.app + "." + q.device
	if head.Class != classPing {
		q.sent = append(q.sent, head.ID)
		return subject, head.Payload, true
	}
	b := []byte{'['}
	for _, it := range q.items {
		if it.Class != classPing || len(q.sent) == maxPings || len(b)+len(it.Payload)+1 > maxBatch {
			break
		}
		if len(q.sent) > 0 {
			b = append(b, ',')
		}
		b = append(b, it.Payload...)
		q.sent = append(q.sent, it.ID)
	}
	return subject, append(b, ']'), true
}

// reply is what the gateway answers.
type reply struct {
	OK      bool     `json:"ok"`
	Busy    bool     `json:"busy"`
	RetryMS int64    `json:"retry_ms"`
	Error   *Refusal `json:"error"`
	Refused int      `json:"refused"`
}

// Refusal says why the gateway will never take something: a fault of the caller. Codes are those of docs/protocol.md.
type Refusal struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
	Index  *int   `json:"index,omitempty"` // of the ping in its array
}

func (r *Refusal) Error() string { return fmt.Sprintf("footfall: %s: %s", r.Code, r.Reason) }

// answer applies the gateway's answer, nil for none in time. gone are the ids that are done with; wait is how long to
// send nothing. random is in [0,1).
func (q *queue) answer(data []byte, random float64) (gone []uint64, wait time.Duration, refusal *Refusal) {
	var r reply
	if data == nil || json.Unmarshal(data, &r) != nil || !r.OK && !r.Busy && r.Error == nil {
		wait = backoff(q.fails)
		q.fails++
		return nil, wait + time.Duration(random*float64(wait)/2), nil
	}
	q.fails = 0
	if r.Busy {
		wait = time.Duration(min(max(r.RetryMS, 1), maxBackoff.Milliseconds())) * time.Millisecond
		return nil, wait + time.Duration(random*float64(wait)/2), nil
	}
	gone = slices.Clone(q.sent)
	if !r.OK {
		n := max(r.Refused, 1)
		if r.Error.Index == nil { // the payload as a whole
			n = len(gone)
		}
		q.refused += int64(n)
	}
	q.items = slices.DeleteFunc(q.items, func(it Item) bool { return slices.Contains(gone, it.ID) })
	q.sent = q.sent[:0]
	return gone, 0, r.Error
}

// Waiting after a request without an answer: a second, doubled up to five minutes.
const maxBackoff = 5 * time.Minute

func backoff(fails int) time.Duration { return min(time.Second<<min(fails, 10), maxBackoff) }

// compact encodes v without HTML escapes, which would make an & six bytes.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("footfall: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
