package outbox

import (
	"sync"
	"time"
)

// maxPaced bounds the devices that a pacer remembers. Past it the memory is
// dropped, which at worst lets some devices have one more burst.
const maxPaced = 1 << 16

// pacer spares single devices: burst messages at once, then one per interval
// (the generic cell rate algorithm, ITU-T I.371). Times are Unix ms of the
// configured clock. Safe for concurrent use.
type pacer struct {
	every, tolerance int64

	mu      sync.Mutex
	devices map[string]*pace
}

type pace struct {
	tat  int64 // theoretical arrival time of the next message
	slot int64 // the latest time that a message was put off to
	held int64 // nothing before this: the provider said so
}

func newPacer(every time.Duration, burst int) *pacer {
	if every < 0 {
		every, burst = 0, 1
	}
	step := every.Milliseconds()
	return &pacer{every: step, tolerance: step * int64(max(burst, 1)-1), devices: make(map[string]*pace)}
}

// admit returns now when a message to the device may go, and counts it, else
// when to ask again: a different time for each message that is put off.
func (p *pacer) admit(device string, now int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[device]
	if d == nil {
		if p.every == 0 {
			return now
		}
		p.prune(now)
		d = &pace{}
		p.devices[device] = d
	}
	if d.tat-p.tolerance <= now && d.held <= now {
		d.tat = max(d.tat, now) + p.every
		return now
	}
	d.slot = max(d.slot+max(p.every, 1), d.tat-p.tolerance, d.held)
	return d.slot
}

// hold lets nothing through to the device before until.
func (p *pacer) hold(device string, until int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[device]
	if d == nil {
		p.prune(until - deviceFloor.Milliseconds()) // about now
		d = &pace{}
		p.devices[device] = d
	}
	d.held = max(d.held, until)
}

// prune makes room by forgetting devices that are owed nothing.
func (p *pacer) prune(now int64) {
	if len(p.devices) < maxPaced {
		return
	}
	for name, d := range p.devices {
		if d.tat <= now && d.held <= now && d.slot <= now {
			delete(p.devices, name)
		}
	}
	if len(p.devices) >= maxPaced {
		clear(p.devices)
	}
}
