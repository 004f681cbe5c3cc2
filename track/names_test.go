package track_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"footfall/track"
)

// TestNames: every enumeration has a name for every value, and reads it back.
// The names are on the wire and in metrics.
func TestNames(t *testing.T) {
	for v := track.SourceStream; v <= track.SourceOSDwell; v++ {
		if got, err := track.ParseSource(v.String()); err != nil || got != v {
			t.Errorf("source %v: %v, %v", v, got, err)
		}
	}
	for v := track.Enter; v <= track.Crossed; v++ {
		if got, err := track.ParseKind(v.String()); err != nil || got != v {
			t.Errorf("kind %v: %v, %v", v, got, err)
		}
	}
	for v := track.Accepted; v <= track.Replayed; v++ {
		if got, err := track.ParseVerdict(v.String()); err != nil || got != v {
			t.Errorf("verdict %v: %v, %v", v, got, err)
		}
	}
	for v := track.AccuracyTooPoor; v <= track.UnknownFence; v++ {
		if got, err := track.ParseNoteKind(v.String()); err != nil || got != v {
			t.Errorf("note %v: %v, %v", v, got, err)
		}
	}
	if s, err := track.ParseSource(""); s != track.SourceStream || err != nil {
		t.Errorf("no source: %v, %v", s, err)
	}
	for _, err := range []error{second(track.ParseSource("x")), second(track.ParseKind("")), second(track.ParseVerdict("x")), second(track.ParseNoteKind("")), second(track.ParseReason(""))} {
		if err == nil {
			t.Error("an unknown name was read")
		}
	}
	for _, s := range []string{track.Kind(0).String(), track.Kind(99).String(), track.Verdict(0).String(), track.Source(99).String(), track.NoteKind(0).String()} {
		if !strings.Contains(s, "(") {
			t.Errorf("a value without a name prints as %q", s)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestReasonJSON(t *testing.T) {
	for _, c := range []struct {
		r    track.Reason
		text string
	}{
		{0, `[]`},
		{track.Initial, `["initial"]`},
		{track.Resumed | track.Device | track.Stale, `["resumed","device","stale"]`},
		{track.Initial | track.Resumed | track.FenceCreated | track.FenceChanged | track.FenceDeleted | track.Device | track.Stale | track.Skewed | track.Inferred,
			`["initial","resumed","fence_created","fence_changed","fence_deleted","device","stale","skewed","inferred"]`},
	} {
		text, err := json.Marshal(c.r)
		if err != nil || string(text) != c.text {
			t.Errorf("%d: %s, %v, want %s", c.r, text, err, c.text)
		}
		back := track.Reason(0xffff)
		if err := json.Unmarshal(text, &back); err != nil || back != c.r {
			t.Errorf("%s read back: %v, %v", text, back, err)
		}
	}
	r := track.Initial
	if err := json.Unmarshal([]byte(`["initial","tired"]`), &r); err == nil || r != track.Initial {
		t.Errorf("unknown reason: %v, %v", r, err)
	}
	if !(track.Initial | track.Stale).Has(track.Stale) || track.Initial.Has(track.Initial|track.Stale) {
		t.Error("Has does not ask for every member")
	}
}

// TestRulesValidate: every number and duration of the rules is checked.
func TestRulesValidate(t *testing.T) {
	for name, r := range map[string]track.Rules{"default": track.DefaultRules(), "plain": track.PlainRules()} {
		if err := r.Validate(); err != nil {
			t.Errorf("%s rules: %v", name, err)
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[track.Rules]()) {
		r := track.DefaultRules()
		field := reflect.ValueOf(&r).Elem().FieldByIndex(f.Index)
		switch field.Interface().(type) {
		case time.Duration:
			field.SetInt(-1)
			if r.Validate() == nil {
				t.Errorf("%s = -1 ns passes", f.Name)
			}
		case float64:
			for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
				field.SetFloat(bad)
				if r.Validate() == nil {
					t.Errorf("%s = %v passes", f.Name, bad)
				}
			}
		case bool:
		default:
			t.Errorf("%s has a type this test does not know", f.Name)
		}
	}
	r := track.DefaultRules()
	r.MaxAge, r.MaxSpeedMPS = -1, -1
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "max_age") || !strings.Contains(err.Error(), "max_speed") {
		t.Errorf("two faults: %v", err)
	}
}
