package stream

import (
	"encoding/json"
	"math"
	"strconv"

	"footfall/campaign"
	"footfall/track"
)

// What is written for every entry, its decision and its event, is encoded by hand into a buffer that is used again, to the
// letter as encoding/json writes it: 38,000 instructions for an entry instead of 123,000, on the one goroutine that all
// entries of a gateway pass. A test compares both, with every field set and left out.

// A jsonAppender is a payload that encodes itself.
type jsonAppender interface {
	appendJSON(dst []byte) ([]byte, error)
}

// appendPayload appends v as JSON.
func appendPayload(dst []byte, v any) ([]byte, error) {
	if a, ok := v.(jsonAppender); ok {
		return a.appendJSON(dst)
	}
	data, err := json.Marshal(v)
	return append(dst, data...), err
}

// jsonWriter appends the members of objects. After an error, which a number that JSON cannot hold is, its buffer is of no
// use. The zero value is ready.
type jsonWriter struct {
	buf []byte
	err error
}

// open begins an object or a list, '{' or '['; end finishes it.
func (w *jsonWriter) open(bracket byte) { w.buf = append(w.buf, bracket) }
func (w *jsonWriter) end(bracket byte)  { w.buf = append(w.buf, bracket) }

// next puts a comma before everything but the first of an object or list.
func (w *jsonWriter) next() {
	if n := len(w.buf); n > 0 && w.buf[n-1] != '{' && w.buf[n-1] != '[' {
		w.buf = append(w.buf, ',')
	}
}

// name begins a member. The name must need no escapes.
func (w *jsonWriter) name(name string) {
	w.next()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

func (w *jsonWriter) text(name, v string) {
	w.name(name)
	w.quote(v)
}

// textIf, intIf and so on leave a zero out.
func (w *jsonWriter) textIf(name, v string) {
	if v != "" {
		w.text(name, v)
	}
}

func (w *jsonWriter) int(name string, v int64) {
	w.name(name)
	w.buf = strconv.AppendInt(w.buf, v, 10)
}

func (w *jsonWriter) intIf(name string, v int64) {
	if v != 0 {
		w.int(name, v)
	}
}

func (w *jsonWriter) bool(name string, v bool) {
	w.name(name)
	w.buf = strconv.AppendBool(w.buf, v)
}

// float writes a number of 64 bits or, as the shortest that gives it again, of 32.
func (w *jsonWriter) float(name string, v float64, bits int) {
	w.name(name)
	a := math.Abs(v)
	if a != 0 && !(a >= 1e-3 && a < 1e15) { // rare: an exponent, or no number at all
		var data []byte
		var err error
		if bits == 32 {
			data, err = json.Marshal(float32(v))
		} else {
			data, err = json.Marshal(v)
		}
		if err != nil && w.err == nil {
			w.err = err
		}
		w.buf = append(w.buf, data...)
		return
	}
	w.buf = strconv.AppendFloat(w.buf, v, 'f', -1, bits)
}

func (w *jsonWriter) floatIf(name string, v float64, bits int) {
	if v != 0 {
		w.float(name, v, bits)
	}
}

// quote appends a string. What has to be escaped, or may have to be, goes the long way.
func (w *jsonWriter) quote(v string) {
	for i := range len(v) {
		if !plainText[v[i]] {
			data, err := json.Marshal(v)
			if err != nil && w.err == nil {
				w.err = err
			}
			w.buf = append(w.buf, data...)
			return
		}
	}
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, v...)
	w.buf = append(w.buf, '"')
}

// plainText marks the bytes that encoding/json takes over as they are.
var plainText = func() (t [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

func (w *jsonWriter) reason(r track.Reason) {
	w.name("reason")
	if r == 0 { // the usual one
		w.buf = append(w.buf, "[]"...)
		return
	}
	w.texts(r.Names())
}

func (w *jsonWriter) texts(list []string) {
	w.open('[')
	for _, v := range list {
		w.next()
		w.quote(v)
	}
	w.end(']')
}

func (w *jsonWriter) stages(s *Stages) {
	w.intIf("collected_us", s.CollectedUS)
	w.intIf("stored_us", s.StoredUS)
	w.intIf("decided_us", s.DecidedUS)
	w.intIf("durable_us", s.DurableUS)
}

func (e TransitionEvent) appendJSON(dst []byte) ([]byte, error) {
	w := jsonWriter{buf: dst}
	w.open('{')
	w.text("id", e.ID)
	w.text("kind", e.Kind)
	w.text("app", e.App)
	w.text("device", e.Device)
	w.text("fence", e.Fence)
	w.textIf("fence_name", e.FenceName)
	w.textIf("store", e.Store)
	w.int("at", e.At)
	w.int("confirmed_at", e.ConfirmedAt)
	w.int("received_at", e.ReceivedAt)
	w.int("entered_at", e.EnteredAt)
	w.reason(e.Reason)
	w.int("confidence", int64(e.Confidence))
	w.float("distance_m", e.DistanceM, 64)
	w.floatIf("accuracy_m", float64(e.AccuracyM), 32)
	w.text("source", e.Source)
	w.stages(&e.Stages)
	w.end('}')
	return w.buf, w.err
}

func (e PushEvent) appendJSON(dst []byte) ([]byte, error) {
	w := jsonWriter{buf: dst}
	w.open('{')
	w.text("id", e.ID)
	w.text("app", e.App)
	w.text("device", e.Device)
	w.textIf("person", e.Person)
	w.text("campaign", e.Campaign)
	w.text("fence", e.Fence)
	w.text("outcome", e.Outcome)
	w.textIf("reason", e.Reason)
	w.textIf("mid", e.MID)
	w.textIf("lead", e.Lead)
	w.int("at", e.At)
	w.textIf("cause", e.Cause)
	w.intIf("outcome_at", e.OutcomeAt)
	w.stages(&e.Stages)
	w.end('}')
	return w.buf, w.err
}

func (d *Decision) appendJSON(dst []byte) ([]byte, error) {
	w := jsonWriter{buf: dst}
	w.open('{')
	w.text("id", d.ID)
	w.text("device", d.Device)
	w.text("kind", d.Kind)
	w.text("fence", string(d.Fence))
	w.textIf("fence_name", d.FenceName)
	w.textIf("store", string(d.Store))
	w.textIf("zone", d.Zone)
	w.int("at", d.At)
	w.intIf("confirmed_at", d.ConfirmedAt)
	w.intIf("entered_at", d.EnteredAt)
	w.int("received_at", d.ReceivedAt)
	w.reason(d.Reason)
	w.intIf("confidence", int64(d.Confidence))
	w.name("fix")
	w.fix(&d.Fix)
	w.float("edge_m", d.EdgeM, 64)
	w.float("center_m", d.CenterM, 64)
	w.floatIf("radius_m", d.RadiusM, 64)
	if len(d.Candidates) > 0 {
		w.name("candidates")
		w.open('[')
		for i := range d.Candidates {
			w.next()
			w.candidate(&d.Candidates[i])
		}
		w.end(']')
	}
	if len(d.Campaigns) > 0 {
		w.name("campaigns")
		w.open('[')
		for i := range d.Campaigns {
			w.next()
			w.answer(&d.Campaigns[i])
		}
		w.end(']')
	}
	w.textIf("change", d.Change)
	w.end('}')
	return w.buf, w.err
}

func (w *jsonWriter) fix(f *FixFacts) {
	w.open('{')
	w.text("source", f.Source)
	w.floatIf("accuracy_m", float64(f.AccuracyM), 32)
	w.float("speed_mps", float64(f.SpeedMPS), 32)
	w.textIf("cell", f.Cell)
	if f.Skewed {
		w.bool("skewed", true)
	}
	w.text("verdict", f.Verdict)
	w.end('}')
}

func (w *jsonWriter) candidate(c *Candidate) {
	w.open('{')
	w.text("fence", string(c.Fence))
	w.float("center_m", c.CenterM, 64)
	w.float("edge_m", c.EdgeM, 64)
	w.bool("inside", c.Inside)
	w.end('}')
}

func (w *jsonWriter) answer(c *CampaignDecision) {
	w.open('{')
	w.text("campaign", c.Campaign)
	w.text("revision", c.Revision)
	w.text("outcome", string(c.Outcome))
	w.text("reason", string(c.Reason))
	w.checks(c.Checks)
	w.textIf("claim", c.Claim)
	w.textIf("mid", c.MID)
	w.intIf("devices", int64(c.Devices))
	w.intIf("expires_at", c.ExpiresAt)
	w.intIf("send_at", c.SendAt)
	w.textIf("variant", c.Variant)
	w.textIf("call", c.Call)
	if len(c.Change) > 0 {
		w.name("change")
		w.texts(c.Change)
	}
	w.end('}')
}

func (w *jsonWriter) checks(list []campaign.Check) {
	w.name("checks")
	if list == nil {
		w.buf = append(w.buf, "null"...)
		return
	}
	w.open('[')
	for i := range list {
		w.next()
		w.open('{')
		w.text("rule", list[i].Rule)
		w.bool("ok", list[i].OK)
		w.text("detail", list[i].Detail)
		w.end('}')
	}
	w.end(']')
}
