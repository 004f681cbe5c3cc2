// Package stage plays days of a scenario to the whole product in one process: the embedded NATS server, the ledger on
// disk, the gateway and the real push providers, wired as the command wires them, with the fakes of both push services
// behind them and a clock that the scenario moves. What a scenario reports is what the gateway stored.
//
// A scenario goes step by step: the clock goes to the end of a step, everything in it is published and answered, then
// decided, then pushed, and nothing of it is left when the clock moves on. So ages and expiries are judged by the time of
// the day, and not by how fast the machine is.
package stage

import (
	"sync/atomic"
	"time"
)

// Clock is the time of the day as the gateway, its providers and the phones see it. The zero Clock stands at 1970. One
// goroutine moves it; any may read it.
type Clock struct{ ms atomic.Int64 }

// Now is the time.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.ms.Load()) }

// Add sets the clock on by d.
func (c *Clock) Add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// Forward sets the clock on to t; it never goes back.
func (c *Clock) Forward(t time.Time) { c.ms.Store(max(c.ms.Load(), t.UnixMilli())) }

// Message is one publish of one phone, or of a till.
type Message struct {
	SendAt  time.Time // when it is published; what is in it may be much older
	Person  int       // who publishes: one person's messages are never out of order
	Subject string
	Payload []byte
	// Refused is the code with which the gateway has to refuse all of it; "" when it has to take it.
	Refused string
}

// Steps cuts messages, which are in order of time, at multiples of length of their send time.
func Steps(ms []Message, length time.Duration) [][]Message {
	var out [][]Message
	var at time.Time
	for i := range ms {
		if t := ms[i].SendAt.Truncate(length); i == 0 || !t.Equal(at) {
			at = t
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], ms[i])
	}
	return out
}
