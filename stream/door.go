package stream

import (
	"sync"
	"time"
	"unsafe"

	"footfall/stream/wire"
)

// arrivals is a stretch of messages that the door has let in. A message costs no allocation: the bytes of all are in
// one piece, and an arrival says where.
type arrivals struct {
	buf   []byte // subject, reply and payload of each message, one after the other
	msgs  []arrival
	slack int // how many times in a row most of buf was not needed
}

// arrival is one message of an arrivals.
type arrival struct {
	atUS    int64 // when it came, Unix microseconds
	end     int   // in buf, where the next one begins
	data    int32 // length of the payload
	subject uint16
	reply   uint16
	class   wire.Class
}

func (a *arrivals) bytes() int { return len(a.buf) }

// roomKept and roomSlack say when the room that a burst has made is let go: when it is larger than roomKept and less than a
// quarter of it was needed roomSlack times in a row. Not at once: under load every stretch is a burst, and growing a room of 5 MB anew
// for each of them, into memory that the system has to find, took a fifth of the gateway's processor time.
const (
	roomKept  = 1 << 20
	roomSlack = 64
)

// reset empties a.
func (a *arrivals) reset() {
	if cap(a.buf) <= roomKept || len(a.buf) > cap(a.buf)/4 {
		a.slack = 0
	} else if a.slack++; a.slack == roomSlack {
		*a = arrivals{}
	}
	a.buf, a.msgs = a.buf[:0], a.msgs[:0]
}

const (
	// inboxMessages and inboxBytes bound what waits to be decoded; past them the door answers busy.
	inboxMessages = 1 << 16
	inboxBytes    = 64 << 20
	maxSubject    = 1 << 12 // of a subject or reply that can be let in; the server's own limit for a line is 4 KiB
)

// door lets messages in, or answers at once: it looks at a message's subject and size and at nothing else, so that a flood
// costs its sender and not the others. There is one room for what waits: while the decoder works on what it took last,
// the next arrivals gather, so that it is woken for a burst and not for a message.
type door struct {
	flood *floodGuard // of the goroutine that reads from the connection

	mu     sync.Mutex
	room   *arrivals
	spare  *arrivals
	taking bool // the decoder is at work
	shut   bool
	wake   chan struct{}
}

func newDoor(deviceRecords int) door {
	return door{flood: newFloodGuard(deviceRecords, 10_000), room: new(arrivals), spare: new(arrivals), wake: make(chan struct{}, 1)}
}

// idle reports whether everything that was let in has been handed to the logs.
func (d *door) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.taking && len(d.room.msgs) == 0
}

// take returns what has arrived, for give to take back; nil when the door is shut and nothing is left.
func (d *door) take() *arrivals {
	for {
		d.mu.Lock()
		if a := d.room; len(a.msgs) > 0 {
			d.room, d.spare, d.taking = d.spare, nil, true
			d.mu.Unlock()
			return a
		}
		shut := d.shut
		d.mu.Unlock()
		if shut {
			return nil
		}
		<-d.wake
	}
}

func (d *door) give(a *arrivals) {
	a.reset()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spare, d.taking = a, false
}

// knock wakes the decoder.
func (d *door) knock() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *door) close() {
	d.mu.Lock()
	d.shut = true
	d.mu.Unlock()
	d.knock()
}

// view is b as a string that shares its memory: a conversion would allocate for each message. It is valid as long as b is
// unchanged, so whoever keeps it copies it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// let judges one message, which came at atUS, and lets it in or answers it. Nothing is kept of what it is given. knock
// follows a run of them.
func (c *collector) let(atUS int64, subject, reply string, data []byte) {
	to, err := wire.ParseSubject(subject)
	if err != nil || len(subject) > maxSubject || len(reply) > maxSubject {
		c.refuse(reply, "", &wire.PayloadError{Code: wire.CodeBadSubject, Reason: "app and device are 1 to 64 of A-Z a-z 0-9 _ -"}, atUS/1000)
		return
	}
	if reason := c.closed; reason != "" {
		c.busy(reply, reason, busyRetry)
		return
	}
	if to.Class != wire.ClassFeed {
		id := subjectDevice(subject)
		if ok, retryMS := c.door.flood.allow(string(id), len(data), atUS/1000); !ok {
			c.refusals.add(string(id), "flood", atUS/1000)
			c.busy(reply, "flood", time.Duration(retryMS)*time.Millisecond)
			return
		}
	}
	d := &c.door
	d.mu.Lock()
	a := d.room
	full := len(a.msgs) >= inboxMessages || a.bytes()+len(data) > inboxBytes
	if !full {
		a.buf = append(append(append(a.buf, subject...), reply...), data...)
		a.msgs = append(a.msgs, arrival{
			atUS: atUS, end: len(a.buf), data: int32(len(data)), subject: uint16(len(subject)), reply: uint16(len(reply)), class: to.Class,
		})
	}
	d.mu.Unlock()
	if full {
		c.busy(reply, "overload", busyRetry)
	}
}
