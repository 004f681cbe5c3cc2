package track_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// randomSet is circles and a large one around a place, some with dwell and min stay.
func randomSet(t *testing.T, rng *rand.Rand, cat *fences.Catalogue) *fences.Set {
	t.Helper()
	var fs []fences.Fence
	for i := range 3 + rng.IntN(30) {
		radius := 200.0
		if rng.IntN(10) == 0 {
			radius = 5000
		}
		shape, err := geo.NewCircle(geo.Point{Lat: 50 + 0.01*rng.Float64(), Lng: 30 + 0.01*rng.Float64()}, radius)
		if err != nil {
			t.Fatal(err)
		}
		f := fences.Fence{ID: fences.ID(fmt.Sprintf("f%02d", i)), Shape: shape, Crossed: rng.IntN(3) == 0}
		if rng.IntN(3) == 0 {
			f.MinStay = 60e9
		}
		if rng.IntN(3) == 0 {
			f.Dwell = 120e9
		}
		fs = append(fs, f)
	}
	set, err := fences.NewSet(fs, cat)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// randomInput is what phones and broken phones send.
func randomInput(rng *rand.Rand, devices int, now int64, pos uint64) track.Input {
	in := track.Input{ID: track.DeviceID(fmt.Sprintf("shop.d%d", rng.IntN(devices))), Pos: pos}
	in.Fix = track.Fix{FixedAt: now - int64(rng.IntN(3))*20_000, ReceivedAt: now, HasPosition: true, AccuracyM: float32(rng.IntN(150)), SpeedMPS: -1,
		Lat: 50 + 0.012*rng.Float64(), Lng: 30 + 0.012*rng.Float64()}
	switch rng.IntN(25) {
	case 0:
		in.Fix.HasPosition, in.Fix.Source = false, track.SourceOSEnter
		in.Fix.Fence = fmt.Sprintf("f%02d", rng.IntN(30))
	case 1:
		in.Fix.Source, in.Fix.Fence = track.SourceOSExit, fmt.Sprintf("f%02d", rng.IntN(30))
	case 2:
		in.Fix.Lat = math.NaN()
	case 3:
		in.Fix.Lng = 181
	case 4:
		in.Fix.Lat += 3 // implausible
	case 5:
		in.Pos -= uint64(rng.IntN(20)) // replayed
	case 6:
		in.ID = ""
	case 7:
		in.Fix.FixedAt = now - 20*60*60*1000 // stale
	}
	return in
}

// TestApplyBatchEqualsApply: a batch is a loop of Apply, for devices that come twice
// in a batch, sets that change between batches, and every kind of refusal.
func TestApplyBatchEqualsApply(t *testing.T) {
	buffered := track.DefaultRules()
	buffered.BufferEntries = true
	transitions, verdicts := 0, map[track.Verdict]int{}
	for round, rules := range []track.Rules{track.DefaultRules(), buffered, track.PlainRules(), track.DefaultRules(), track.DefaultRules()} {
		rng := rand.New(rand.NewPCG(81, uint64(round)))
		one, many := track.New(rules), track.New(rules)
		var cat fences.Catalogue
		set := randomSet(t, rng, &cat)
		var res, batchRes track.Result
		now, pos := int64(1_764_324_000_000), uint64(100)
		devices := 5 << (2 * round)
		for range 60 {
			if rng.IntN(5) == 0 {
				set = randomSet(t, rng, &cat)
			}
			in := make([]track.Input, rng.IntN(400))
			for k := range in {
				now += int64(rng.IntN(8000))
				pos++
				in[k] = randomInput(rng, devices, now, pos)
				if k > 0 && rng.IntN(10) == 0 { // said twice, or somewhere else at the same time
					in[k] = in[k-1]
					in[k].Pos = pos
					in[k].Fix.Lat += float64(rng.IntN(2)) * 0.001
				}
			}
			next := 0
			many.ApplyBatch(set, in, &batchRes, func(i int, got *track.Result) {
				if i != next {
					t.Fatalf("input %d after %d", i, next-1)
				}
				next++
				one.Apply(set, in[i].ID, in[i].Fix, in[i].Pos, &res)
				if diff := cmp.Diff(brief(&res), brief(got)); diff != "" {
					t.Fatalf("round %d input %+v: Apply (-), ApplyBatch (+):\n%s", round, in[i], diff)
				}
				transitions += len(res.Transitions)
				verdicts[res.Verdict]++
			})
			if next != len(in) {
				t.Fatalf("%d results of %d inputs", next, len(in))
			}
		}
		if one.Len() != many.Len() {
			t.Fatalf("%d devices, and %d", one.Len(), many.Len())
		}
		for d := range devices {
			id := track.DeviceID(fmt.Sprintf("shop.d%d", d))
			a, _ := one.Encode(nil, id)
			b, _ := many.Encode(nil, id)
			if string(a) != string(b) {
				t.Fatalf("device %s: rows differ:\n%x\n%x", id, a, b)
			}
		}
	}
	if transitions < 1000 || len(verdicts) != 7 {
		t.Errorf("%d transitions, verdicts %v: too few kinds to prove anything", transitions, verdicts)
	}
}

// brief is a result in words: NaN in a fix must equal itself.
func brief(r *track.Result) string {
	s := fmt.Sprint(r.Verdict, r.Refusal, r.Visiting, r.PrevFixedAt, r.Notes)
	for _, tr := range r.Transitions {
		f := tr.Fence
		tr.Fence = nil
		s += fmt.Sprintf("\n%+v %v", tr, f != nil)
	}
	return s
}
