package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"footfall/fences"
	"footfall/track"
)

// Verb carries out one statement. It returns an error made by Line.Errorf.
type Verb func(w *World, l *Line) error

// Extension adds to the language. Its state belongs to one World, so Run takes
// functions that make one.
type Extension struct {
	// Verbs are statements; a name that exists already is an error.
	Verbs map[string]Verb
	// AfterInput turns what the tracker answered into further outcomes, compared
	// like those of the tracker and listed after them. It may be nil.
	AfterInput func(w *World, device track.DeviceID, res *track.Result) ([]Outcome, error)
	// Restart writes the extension's state and reads it back. It may be nil.
	Restart func(w *World) error
}

// Mode is how a case is played.
type Mode int

// The modes in which every case must give the same.
const (
	AsWritten      Mode = iota
	RestartedOften      // rows written and read back before every input
	DeliveredTwice      // every input again at its log position, which must do nothing
)

func (m Mode) String() string {
	return [...]string{"as written", "with restarts", "delivered twice"}[m]
}

// World is the state of one case while it runs.
type World struct {
	Mode    Mode
	Rules   track.Rules
	Tracker *track.Tracker
	Zone    *time.Location
	Start   time.Time // the 0s of the case
	Now     time.Time // fix time of the last input

	fences    []fences.Fence
	catalogue *fences.Catalogue
	set       *fences.Set // nil after an edit until the next input

	pos   uint64
	last  *input
	seen  []track.DeviceID // restored at some time
	res   track.Result
	verbs map[string]Verb
	exts  []Extension
}

type input struct {
	device track.DeviceID
	fix    track.Fix
	pos    uint64
}

func newWorld(mode Mode, exts []Extension) (*World, error) {
	w := &World{
		Mode: mode, Rules: track.DefaultRules(), Zone: time.UTC,
		catalogue: new(fences.Catalogue), exts: exts, verbs: maps.Clone(builtins),
	}
	w.Start = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	w.Now = w.Start
	for _, e := range exts {
		for name, v := range e.Verbs {
			if _, dup := w.verbs[name]; dup {
				return nil, fmt.Errorf("simulate: statement %q is defined twice", name)
			}
			w.verbs[name] = v
		}
	}
	return w, nil
}

// Fences returns the current set, built from the fence statements so far.
func (w *World) Fences() (*fences.Set, error) {
	if w.set == nil {
		set, err := fences.NewSet(w.fences, w.catalogue)
		if err != nil {
			return nil, err
		}
		w.set = set
	}
	return w.set, nil
}

func (w *World) do(l *Line) error {
	verb, ok := w.verbs[l.Verb]
	if !ok {
		return l.Errorf("unknown statement %q; there are: %s", l.Verb, strings.Join(sortedKeys(w.verbs), ", "))
	}
	return verb(w, l)
}

// send gives one input to the tracker and compares what comes of it with the
// line's expectation.
func (w *World) send(l *Line, in input) error {
	set, err := w.Fences()
	if err != nil {
		return l.Errorf("%w", err)
	}
	if w.Tracker == nil {
		if err := w.Rules.Validate(); err != nil {
			return l.Errorf("%w", err)
		}
		w.Tracker = track.New(w.Rules)
	}
	if w.Mode == RestartedOften {
		if err := w.restart(); err != nil {
			return l.Errorf("%w", err)
		}
	}
	w.last = &in
	w.Now = time.UnixMilli(in.fix.FixedAt)
	w.Tracker.Apply(set, in.device, in.fix, in.pos, &w.res)
	got := w.outcomes()
	for _, e := range w.exts {
		if e.AfterInput != nil {
			more, err := e.AfterInput(w, in.device, &w.res)
			if err != nil {
				return l.Errorf("%w", err)
			}
			got = append(got, more...)
		}
	}
	if err := compare(l, got); err != nil {
		return err
	}
	if _, known := w.Tracker.Presence(in.device); w.Mode == DeliveredTwice && known {
		before, _ := w.Tracker.Encode(nil, in.device)
		var again track.Result
		w.Tracker.Apply(set, in.device, in.fix, in.pos, &again)
		after, _ := w.Tracker.Encode(nil, in.device)
		if again.Verdict != track.Replayed || len(again.Transitions) > 0 || string(before) != string(after) {
			return l.Errorf("the same input delivered again: verdict %v, %d transitions, row changed: %v",
				again.Verdict, len(again.Transitions), string(before) != string(after))
		}
	}
	return nil
}

// restart moves every device into a new tracker through its row.
func (w *World) restart() error {
	if w.Tracker == nil {
		return nil
	}
	next := track.New(w.Rules)
	for _, id := range w.devices() {
		row, ok := w.Tracker.Encode(nil, id)
		if !ok {
			continue
		}
		if err := next.Restore(id, row); err != nil {
			return err
		}
	}
	w.Tracker = next
	for _, e := range w.exts {
		if e.Restart != nil {
			if err := e.Restart(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// devices returns the devices with a row. Nothing marks them clean, so every
// device that ever sent is dirty, except those restored since: they are kept
// here.
func (w *World) devices() []track.DeviceID {
	ids := w.Tracker.Dirty(nil)
	ids = append(ids, w.seen...)
	slices.Sort(ids)
	w.seen = slices.Compact(ids)
	return w.seen
}

// outcomes puts the tracker's answer in words.
func (w *World) outcomes() []Outcome {
	var got []Outcome
	if w.res.Verdict != track.Accepted {
		o := Outcome{Words: []string{w.res.Verdict.String()}}
		if w.res.Refusal != "" {
			o.Words = append(o.Words, string(w.res.Refusal))
		}
		got = append(got, o)
	}
	for i := range w.res.Transitions {
		tr := &w.res.Transitions[i]
		words := append([]string{tr.Kind.String(), string(tr.FenceID)}, tr.Reason.Names()...)
		got = append(got, Outcome{Words: words, Fields: map[string]string{
			"at": w.clock(tr.At), "confirmed": w.clock(tr.ConfirmedAt), "since": w.clock(tr.EnteredAt),
			"confidence": fmt.Sprint(tr.Confidence),
			"edge":       fmt.Sprintf("%.0f", tr.EdgeDistanceM), "center": fmt.Sprintf("%.0f", tr.CenterDistanceM),
		}})
	}
	for _, n := range w.res.Notes {
		got = append(got, Outcome{Words: []string{"note", n.Kind.String(), string(n.FenceID)}, Quiet: true})
	}
	return got
}

// clock prints a time as scenarios write it: the time since the start.
func (w *World) clock(ms int64) string { return time.UnixMilli(ms).Sub(w.Start).String() }

// compare reports how what came differs from what the line expects.
func compare(l *Line, got []Outcome) error {
	var want []Outcome
	heard := map[string]bool{} // first words of quiet outcomes that this line speaks about
	for _, o := range l.Expect {
		switch {
		case len(o.Words) == 1 && o.Words[0] == "nothing":
		case len(o.Words) == 2 && o.Words[0] == "no":
			heard[o.Words[1]] = true
		default:
			heard[o.Words[0]] = true
			want = append(want, o)
		}
	}
	got = slices.DeleteFunc(slices.Clone(got), func(o Outcome) bool { return o.Quiet && !heard[o.Words[0]] })
	if slices.EqualFunc(want, got, Outcome.matches) {
		return nil
	}
	return l.Errorf("expected %s\n\tgot      %s", list(want), list(got))
}

func list(os []Outcome) string {
	if len(os) == 0 {
		return "nothing"
	}
	texts := make([]string, len(os))
	for i, o := range os {
		texts[i] = o.String()
	}
	return strings.Join(texts, "; ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
