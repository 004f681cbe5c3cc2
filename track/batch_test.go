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
	crossed := rng.IntN(2) == 0 // fences that may be crossed: no ping is usual then
	for i := range 3 + rng.IntN(30) {
		radius := 200.0
		if rng.IntN(10) == 0 {
			radius = 5000
		}
		shape, err := geo.NewCircle(geo.Point{Lat: 50 + 0.01*rng.Float64(), Lng: 30 + 0.01*rng.Float64()}, radius)
		if err != nil {
			t.Fatal(err)
		}
		f := fences.Fence{ID: fences.ID(fmt.Sprintf("f%02d", i)), Shape: shape, Crossed: crossed && rng.IntN(3) == 0}
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

type input struct {
	ID  track.DeviceID
	Fix track.Fix
	Pos uint64
}

// deviceNamed is device n of some fleet: names of every form.
func deviceNamed(n int) track.DeviceID {
	switch n % 7 {
	case 0:
		return track.DeviceID(fmt.Sprintf("shop.%016x", n*0x9e3779b97f4a7c1))
	case 1:
		return track.DeviceID(fmt.Sprintf("shop.%08x-0000-4000-8000-%012x", n, n))
	case 2:
		return track.DeviceID(fmt.Sprintf("cafe.d%d", n))
	case 3:
		return track.DeviceID(fmt.Sprintf("no app %d", n))
	case 4: // alike in the first 8 bytes
		return track.DeviceID(fmt.Sprintf("shop.01234567-89ab-4000-8000-%012x", n))
	case 5:
		return track.DeviceID(fmt.Sprintf("shop.0123456789abcdef%x", n))
	}
	return track.DeviceID(fmt.Sprintf("shop.d%d", n))
}

// randomInput is what phones and broken phones send.
func randomInput(rng *rand.Rand, devices int, now int64, pos uint64) input {
	in := input{ID: deviceNamed(rng.IntN(devices)), Pos: pos}
	in.Fix = track.Fix{FixedAt: now - int64(rng.IntN(3))*20_000, ReceivedAt: now, HasPosition: true, AccuracyM: float32(rng.IntN(150)), SpeedMPS: -1,
		Lat: 50 + 0.012*rng.Float64(), Lng: 30 + 0.012*rng.Float64()}
	if rng.IntN(2) == 0 { // somewhere else, where nothing is: usual
		in.Fix.Lat, in.Fix.Lng = 50.1+0.001*rng.Float64(), 30
		in.Fix.FixedAt = now
	}
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

// TestApplyBatchEqualsApply: a batch is a loop of Apply, and the path for the usual ping decides as the rules, for devices that come twice
// in a batch, sets that change between batches, and every kind of refusal.
func TestApplyBatchEqualsApply(t *testing.T) {
	buffered := track.DefaultRules()
	buffered.BufferEntries = true
	transitions := 0
	var want, counts track.Counts
	var batch track.Batch
	for round, rules := range []track.Rules{track.DefaultRules(), buffered, track.PlainRules(), track.DefaultRules(), track.DefaultRules()} {
		rng := rand.New(rand.NewPCG(81, uint64(round)))
		one, many := track.New(rules), track.New(rules)
		track.RulesAlone(one)
		var cat fences.Catalogue
		set := randomSet(t, rng, &cat)
		var res, batchRes track.Result
		now, pos := int64(1_764_324_000_000), uint64(100)
		devices := 5 << (2 * round)
		for range 60 {
			if rng.IntN(5) == 0 {
				set = randomSet(t, rng, &cat)
			}
			in := make([]input, rng.IntN(track.BatchSize+1))
			batch.Reset()
			for k := range in {
				now += int64(rng.IntN(8000))
				pos++
				in[k] = randomInput(rng, devices, now, pos)
				if k > 0 && rng.IntN(10) == 0 { // said twice, or somewhere else at the same time
					in[k] = in[k-1]
					in[k].Pos = pos
					in[k].Fix.Lat += float64(rng.IntN(2)) * 0.001
				}
				if !batch.Add(in[k].ID, &in[k].Fix, in[k].Pos) || batch.Pos(k) != in[k].Pos || batch.Device(k) != in[k].ID {
					t.Fatalf("input %d of a batch: %+v is %q", k, in[k], batch.Device(k))
				}
			}
			next := 0
			single := func(to int, got *track.Result) {
				for ; next < to || next == to && got != nil; next++ {
					one.Apply(set, in[next].ID, in[next].Fix, in[next].Pos, &res)
					transitions += len(res.Transitions)
					want[res.Verdict]++
					if next < to || got == nil {
						if len(res.Transitions)+len(res.Notes) > 0 || res.Visiting {
							t.Fatalf("round %d input %+v: ApplyBatch was silent about\n%s", round, in[next], brief(&res))
						}
						continue
					}
					if diff := cmp.Diff(brief(&res), brief(got)); diff != "" {
						t.Fatalf("round %d input %+v: Apply (-), ApplyBatch (+):\n%s", round, in[next], diff)
					}
					sameRow(t, one, many, in[next].ID)
				}
			}
			many.ApplyBatch(set, &batch, &counts, &batchRes, func(i int, got *track.Result) {
				if i < next {
					t.Fatalf("input %d after %d", i, next-1)
				}
				single(i, got)
			})
			single(len(in), nil)
			if counts != want || batch.Begun() != len(in) {
				t.Fatalf("round %d: verdicts %v, want %v; %d of %d inputs begun", round, counts, want, batch.Begun(), len(in))
			}
		}
		if one.Len() != many.Len() {
			t.Fatalf("%d devices, and %d", one.Len(), many.Len())
		}
		for d := range devices {
			sameRow(t, one, many, deviceNamed(d))
		}
	}
	for v := track.Accepted; v <= track.Replayed; v++ {
		if want[v] == 0 {
			t.Errorf("no input was %v", v)
		}
	}
	if transitions < 1000 {
		t.Errorf("%d transitions: too few to prove anything", transitions)
	}
}

func sameRow(t *testing.T, one, many *track.Tracker, id track.DeviceID) {
	t.Helper()
	a, _ := one.Encode(nil, id)
	b, _ := many.Encode(nil, id)
	if string(a) != string(b) {
		t.Fatalf("device %s: rows differ:\n%x\n%x", id, a, b)
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
