package track_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/fences"
	"footfall/geo"
	"footfall/internal/dice"
	"footfall/track"
)

// randomSet is circles and a large one around a place, some with dwell and min stay.
func randomSet(t *testing.T, rng *rand.Rand, cat *fences.Catalogue) *fences.Set {
	t.Helper()
	var fs []fences.Fence
	crossed := rng.IntN(2) == 0 // fences that may be crossed: no ping about them is usual then
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

// age is 2,500 edits, made in the catalogue's bytes: with two of them a device's record has no room for the generation before.
func age(t *testing.T, cat *fences.Catalogue) {
	t.Helper()
	b, err := cat.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	gen, n := binary.Uvarint(b[1:])
	if err := cat.UnmarshalBinary(append(binary.AppendUvarint(b[:1:1], gen+2500), b[1+n:]...)); err != nil || cat.Gen() != uint32(gen)+2500 {
		t.Fatal(cat.Gen(), err)
	}
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
				if rng.IntN(4) == 0 {
					age(t, &cat)
				}
				set = randomSet(t, rng, &cat)
			}
			if pos++; rng.IntN(2) == 0 {
				id, change := deviceNamed(rng.IntN(devices)), (*track.Tracker).Withdraw
				if rng.IntN(2) == 0 {
					change = (*track.Tracker).Readmit
				}
				if change(one, id, pos) != change(many, id, pos) {
					t.Fatalf("round %d: a change of %s is none for one of two", round, id)
				}
			}
			in := make([]input, rng.IntN(track.BatchSize+1))
			batch.Reset()
			for k := range in {
				now += int64(rng.IntN(8000))
				if rng.IntN(2000) == 0 { // beyond what a device's record has room for, every second time
					now += 600 * 24 * 60 * 60 * 1000
				}
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
	for v := track.Accepted; v <= track.NoConsent; v++ {
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

// TestNearFencesEqualsRules: pings that are usual, although there are fences that may be crossed or that an accuracy
// circle may touch, are decided as by the rules. Devices go round such fences in steps of some metres to some kilometres, at every latitude.
func TestNearFencesEqualsRules(t *testing.T) {
	buffered := track.DefaultRules()
	buffered.BufferEntries = true
	everywhere := track.DefaultRules()
	everywhere.Crossed = true
	seed := dice.Seed(t)
	crossings, enters := 0, 0
	for _, rules := range []track.Rules{track.DefaultRules(), buffered, everywhere} {
		for _, center := range []geo.Point{{Lat: 50.45, Lng: 30.52}, {Lat: -16.8, Lng: 180}, {Lat: 0, Lng: 0}, {Lat: 71, Lng: -179.99}, {Lat: 85, Lng: 12}} {
			rng := rand.New(rand.NewPCG(seed, math.Float64bits(center.Lat)))
			k := math.Cos(center.Lat * math.Pi / 180)
			at := func(m float64) geo.Point {
				return geo.Point{Lat: center.Lat + m*rng.NormFloat64()/111_000, Lng: math.Remainder(center.Lng+m*rng.NormFloat64()/111_000/k, 360)}
			}
			var fs []fences.Fence
			for i := range 30 {
				shape, err := geo.NewCircle(at(4000), []float64{50, 200, 700}[rng.IntN(3)])
				if err != nil {
					t.Fatal(err)
				}
				fs = append(fs, fences.Fence{ID: fences.ID(fmt.Sprintf("f%02d", i)), Shape: shape, Crossed: i%3 == 0})
			}
			set, err := fences.NewSet(fs, nil)
			if err != nil {
				t.Fatal(err)
			}
			one, many := track.New(rules), track.New(rules)
			track.RulesAlone(one)
			const devices = 40
			var places [devices]geo.Point
			for d := range places {
				places[d] = at(6000)
			}
			var batch track.Batch
			var counts track.Counts
			var res, got track.Result
			now := int64(1_764_324_000_000)
			for n := range 150 {
				batch.Reset()
				var ids []track.DeviceID
				var fixes []track.Fix
				for range 100 {
					now += int64(rng.IntN(1500))
					d := rng.IntN(devices)
					step := []float64{5, 80, 600, 2500}[d%4]
					p := &places[d]
					if p.Lat += step * rng.NormFloat64() / 111_000; math.Abs(p.Lat-center.Lat) > 0.15 {
						*p = at(6000)
					}
					p.Lng = math.Remainder(p.Lng+step*rng.NormFloat64()/111_000/k, 360)
					ids = append(ids, deviceNamed(d))
					fixes = append(fixes, track.Fix{FixedAt: now, ReceivedAt: now, Lat: p.Lat, Lng: p.Lng, HasPosition: true, AccuracyM: float32(rng.IntN(60)), SpeedMPS: -1})
					batch.Add(ids[len(ids)-1], &fixes[len(fixes)-1], uint64(n*100+len(ids)))
				}
				next := 0
				single := func(to int) {
					for ; next < to; next++ {
						one.Apply(set, ids[next], fixes[next], uint64(n*100+next+1), &res)
						for _, tr := range res.Transitions {
							switch tr.Kind {
							case track.Crossed:
								crossings++
							case track.Enter:
								enters++
							}
						}
						if next < to-1 && len(res.Transitions)+len(res.Notes) > 0 {
							t.Fatalf("seed %d: ApplyBatch was silent about %s\n%+v %s", seed, ids[next], fixes[next], brief(&res))
						}
					}
				}
				many.ApplyBatch(set, &batch, &counts, &got, func(i int, got *track.Result) {
					single(i + 1)
					if diff := cmp.Diff(brief(&res), brief(got)); diff != "" {
						t.Fatalf("seed %d: %s %+v: rules (-), ApplyBatch (+):\n%s", seed, ids[i], fixes[i], diff)
					}
				})
				if next < len(ids) {
					single(len(ids))
					if len(res.Transitions)+len(res.Notes) > 0 {
						t.Fatalf("seed %d: ApplyBatch was silent about the last of a batch: %s", seed, brief(&res))
					}
				}
			}
			for d := range devices {
				sameRow(t, one, many, deviceNamed(d))
			}
		}
	}
	if crossings < 200 || enters < 200 {
		t.Errorf("seed %d: %d crossings, %d enters: too few to prove anything", seed, crossings, enters)
	}
}
