package stream

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"footfall/internal/dice"
	"footfall/track"
)

// scramble gives every field below v a value, or leaves it zero, by chance: a field that is added to a payload and forgotten in its
// encoder shows.
func scramble(v reflect.Value, r *rand.Rand) {
	if v.Type() == reflect.TypeFor[track.Reason]() {
		v.SetUint(r.Uint64N(2) * r.Uint64N(1<<9)) // a set of nine names
		return
	}
	zero := r.IntN(4) == 0
	switch v.Kind() {
	case reflect.Struct: // with the embedded ones
		for i := range v.NumField() {
			scramble(v.Field(i), r)
		}
	case reflect.Slice:
		if zero {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			scramble(v.Index(i), r)
		}
	case reflect.String:
		texts := []string{"plain", "a \"quoted\" \\ one", "<b>&amp;", "Київ", "\u2028", "\xff", "\x00\n", "~", "\x7f", ""}
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Int64, reflect.Int:
		if !zero {
			v.SetInt(r.Int64() - r.Int64())
		}
	case reflect.Uint8:
		v.SetUint(r.Uint64N(256))
	case reflect.Bool:
		v.SetBool(!zero)
	case reflect.Float32, reflect.Float64:
		if !zero {
			f := (r.Float64() - 0.5) * math.Pow(10, float64(r.IntN(36)-12))
			if v.Kind() == reflect.Float32 {
				f = float64(float32(f))
			}
			v.SetFloat(f)
		}
	default:
		panic("scramble: no value for a " + v.Kind().String())
	}
}

// TestPayloadsAreEncodedAsJSON compares the encoders by hand with encoding/json, to the letter.
func TestPayloadsAreEncodedAsJSON(t *testing.T) {
	seed := dice.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		for _, v := range []jsonAppender{&Decision{}, &TransitionEvent{}, &PushEvent{}} {
			scramble(reflect.ValueOf(v).Elem(), r)
			want, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.appendJSON([]byte("before "))
			if err != nil || string(got) != "before "+string(want) {
				t.Fatalf("seed %d: %v\n got %s\nwant %s", seed, err, got, want)
			}
		}
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		if _, err := (&Decision{EdgeM: bad}).appendJSON(nil); err == nil {
			t.Errorf("%v was encoded", bad)
		}
	}
}
