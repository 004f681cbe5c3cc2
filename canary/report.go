package canary

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"footfall/fences"
	"footfall/internal/say"
)

// Fault is what was wrong in a round: at one fence, or, without one, with all of it.
type Fault struct {
	Fence      fences.ID `json:"fence,omitempty"`
	Name       string    `json:"name,omitempty"`
	What       string    `json:"what"`                 // missing, late, wrong, refused, unsent, too_soon, unwalkable; of all: unreachable, fences
	Transition string    `json:"transition,omitempty"` // enter or exit
	TookMS     int64     `json:"took_ms,omitempty"`
	Code       string    `json:"code,omitempty"` // of a refusal, as in docs/protocol.md
	Detail     string    `json:"detail,omitempty"`
}

// Report is one round.
type Report struct {
	At      time.Time `json:"at"`
	TookMS  int64     `json:"took_ms"`
	Fences  int       `json:"fences"`
	Crossed int       `json:"crossed"` // without any fault
	Enter   Times     `json:"enter_ms"`
	Exit    Times     `json:"exit_ms"`
	Faults  []Fault   `json:"faults"`
}

// Times are from the sending of the ping that made a transition to the event, of those that came.
type Times struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`

	all []time.Duration
}

func (t *Times) sum() {
	if len(t.all) == 0 {
		return
	}
	slices.Sort(t.all)
	at := func(q float64) float64 {
		return float64(t.all[min(int(q*float64(len(t.all))), len(t.all)-1)].Microseconds()) / 1000
	}
	t.P50, t.P99, t.Max = at(0.5), at(0.99), at(1)
}

// WriteText writes a line for each fault and one for the round.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	at := r.At.Format(time.RFC3339)
	for i := range r.Faults {
		fmt.Fprintf(&b, "%s  %s\n", at, r.Faults[i].String())
	}
	fmt.Fprintf(&b, "%s  %d of %s crossed in %.1f s", at, r.Crossed, say.Many(r.Fences, "fence"), float64(r.TookMS)/1000)
	for _, t := range []struct {
		name string
		of   *Times
	}{{"enter", &r.Enter}, {"exit", &r.Exit}} {
		if len(t.of.all) > 0 {
			fmt.Fprintf(&b, " │ %s p50 %.0f, p99 %.0f, max %.0f ms", t.name, t.of.P50, t.of.P99, t.of.Max)
		}
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

// String is the fault's line.
func (f *Fault) String() string {
	var b strings.Builder
	if f.Fence != "" {
		b.WriteString(string(f.Fence))
		if f.Name != "" {
			fmt.Fprintf(&b, " (%s)", f.Name)
		}
		b.WriteString(": ")
	}
	if f.Transition != "" {
		b.WriteString(f.Transition + " ")
	}
	b.WriteString(f.What)
	if f.TookMS > 0 {
		fmt.Fprintf(&b, " after %v", (time.Duration(f.TookMS) * time.Millisecond).Round(time.Millisecond))
	}
	for _, text := range []string{f.Code, f.Detail} {
		if text != "" {
			b.WriteString(": " + text)
		}
	}
	return b.String()
}
