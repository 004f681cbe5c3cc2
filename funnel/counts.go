package funnel

import (
	"fmt"

	"footfall/receipt"
)

// Counts are the stages of a set of entries. The package comment says how they add up.
type Counts struct {
	Entered   int64            `json:"entered"`
	Held      map[string]int64 `json:"held,omitempty"` // by reason
	Claimed   int64            `json:"claimed"`
	Owed      int64            `json:"owed,omitzero"` // of the claimed: on the way
	NotSent   map[string]int64 `json:"not_sent,omitempty"`
	Sent      int64            `json:"sent"` // a provider was asked
	Accepted  int64            `json:"accepted"`
	Delivered int64            `json:"delivered"`
	Displayed int64            `json:"displayed"`
	Opened    int64            `json:"opened"`
	Converted int64            `json:"converted"`
	Dismissed int64            `json:"dismissed,omitzero"`
	// Devices counts devices rather than people: the same where a push goes to one of them.
	Devices Devices `json:"devices"`
	// Outcomes has every entry once: "held", the state in which its push ended, "owed", or of an accepted one the
	// furthest of accepted, delivered, opened and converted.
	Outcomes map[string]int64 `json:"outcomes"`
}

// Devices are the stages of pushes by device.
type Devices struct {
	Meant     int64 `json:"meant"` // of the claimed
	Accepted  int64 `json:"accepted"`
	Delivered int64 `json:"delivered"`
	Opened    int64 `json:"opened"`
}

func (d *Devices) add(o *Devices) {
	d.Meant += o.Meant
	d.Accepted += o.Accepted
	d.Delivered += o.Delivered
	d.Opened += o.Opened
}

// message is what is known of one entry's push.
type message struct {
	ended   bool
	outcome Outcome
	reached []string // stages of package receipt

	onDevices Devices // Delivered and Opened
}

// add counts one entry; m is nil for a held one.
func (c *Counts) add(e *Entry, m *message) {
	if c.Held == nil {
		c.Held, c.NotSent, c.Outcomes = map[string]int64{}, map[string]int64{}, map[string]int64{}
	}
	c.Entered++
	if m == nil {
		c.Held[e.Reason]++
		c.Outcomes["held"]++
		return
	}
	c.Claimed++
	devices := m.onDevices
	devices.Meant = int64(max(1, e.Devices))
	if m.ended && m.outcome.State == Accepted {
		devices.Accepted = int64(max(1, m.outcome.Took))
	}
	c.Devices.add(&devices)
	furthest := Accepted
	switch {
	case !m.ended:
		c.Owed++
		furthest = "owed"
	case m.outcome.State != Accepted:
		c.NotSent[m.outcome.State]++
		furthest = m.outcome.State
	default:
		c.Accepted++
	}
	if m.ended && m.outcome.Asked {
		c.Sent++
	}
	for _, stage := range m.reached {
		switch stage {
		case receipt.Delivered:
			c.Delivered++
		case receipt.Displayed:
			c.Displayed++
			continue
		case receipt.Opened:
			c.Opened++
		case receipt.Converted:
			c.Converted++
		case receipt.Dismissed:
			c.Dismissed++
			continue
		default:
			continue
		}
		furthest = stage // a receipt is a stronger word than the state: the phone has it
	}
	c.Outcomes[furthest]++
}

// check says which sum does not add up; nil when all do.
func (c *Counts) check() error {
	total := func(m map[string]int64) (n int64) {
		for _, v := range m {
			n += v
		}
		return n
	}
	switch {
	case c.Entered != c.Claimed+total(c.Held):
		return fmt.Errorf("funnel: %d entered, but %d claimed and %d held", c.Entered, c.Claimed, total(c.Held))
	case c.Claimed != c.Accepted+c.Owed+total(c.NotSent):
		return fmt.Errorf("funnel: %d claimed, but %d accepted, %d owed and %d not sent", c.Claimed, c.Accepted, c.Owed, total(c.NotSent))
	case c.Entered != total(c.Outcomes):
		return fmt.Errorf("funnel: %d entered, but %d outcomes", c.Entered, total(c.Outcomes))
	}
	return nil
}

// Rate is a share with both of its numbers named.
type Rate struct {
	Name  string  `json:"name"`
	Part  int64   `json:"part"`
	Whole int64   `json:"whole"`
	Says  string  `json:"says"` // what is divided by what
	Rate  float64 `json:"rate"` // 0 when Whole is 0
}

func rate(name string, part, whole int64, says string) Rate {
	r := Rate{Name: name, Part: part, Whole: whole, Says: says}
	if whole > 0 {
		r.Rate = float64(part) / float64(whole)
	}
	return r
}

// Rates are the shares of the stages. The click-through rate comes with each divisor in use: vendors that count
// everybody whom the message was meant for have the lowest.
func (c *Counts) Rates() []Rate {
	meant := c.Claimed + c.Held["opted_out"] + c.Held["no_token"]
	return []Rate{
		rate("claim rate", c.Claimed, c.Entered, "claimed of entered"),
		rate("acceptance", c.Accepted, c.Claimed, "accepted by the provider of claimed"),
		rate("delivery", c.Delivered, c.Accepted, "delivered of accepted"),
		rate("CTR of delivered", c.Opened, c.Delivered, "opened of delivered"),
		rate("CTR of pushed", c.Opened, c.Accepted, "opened of accepted"),
		rate("CTR of all meant", c.Opened, meant, "opened of claimed, opted out and without a token"),
		rate("conversion", c.Converted, c.Claimed, "converted of claimed"),
		rate("conversion of opened", c.Converted, c.Opened, "converted of opened"),
	}
}
