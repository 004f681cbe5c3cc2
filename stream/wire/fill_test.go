package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"footfall/track"
)

type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// sameFilled checks that Fill gives what Next gave: recs, then err.
func sameFilled(t fatal, batch []byte, recs []Record, err error) {
	t.Helper()
	var r BatchReader
	var b track.Batch
	if r.Reset(batch) != nil {
		return
	}
	const first = 1 << 40
	got := make([]Record, len(recs))
	put := func(i int, rec Record) {
		if i < 0 || i >= len(got) || got[i].Kind != 0 {
			t.Fatalf("record %d of %d is filled wrongly or twice", i, len(recs))
		}
		got[i] = rec
	}
	total := 0
	for more := true; more; {
		var others []Record
		var fillErr error
		others, more, fillErr = r.Fill(&b, nil, first)
		total += len(others) + b.Len()
		for _, o := range others {
			i := o.Index
			o.Index = 0
			if o.Payload = bytes.Clone(o.Payload); len(o.Payload) == 0 {
				o.Payload = nil
			}
			put(i, o)
		}
		for i := range b.Len() {
			fix := b.Fix(i)
			put(int(b.Pos(i)-first), Record{Kind: KindPing, Device: b.Device(i), Fix: fix, ReceivedAt: fix.ReceivedAt})
		}
		if fillErr != nil && fmt.Sprint(fillErr) != fmt.Sprint(err) {
			t.Fatalf("Fill: %v, Next: %v", fillErr, err)
		}
		if !more && (fillErr == nil) != (err == nil) {
			t.Fatalf("Fill: %v, Next: %v", fillErr, err)
		}
	}
	if total != len(recs) {
		t.Fatalf("Fill gave %d records, Next %d", total, len(recs))
	}
	if d := cmp.Diff(recs, got, cmpBits); len(recs) > 0 && d != "" {
		t.Fatalf("Next (-), Fill (+):\n%s", d)
	}
}

// TestFillEqualsNext: whatever is in a batch, Fill reads what Next reads. Half of the records are of the
// usual form, which has a path of its own.
func TestFillEqualsNext(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 12))
	names := []string{"0123456789abcdef", "f", "phone-1", "01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-CDEF-0123-456789ABCDEF", "356938035643809", "abc",
		"0123456789abcdef0", "0123456789abcdef0123456789abcdef0", "twenty-one-characters", "twenty-two--characters"}
	usual := rapid.Custom(func(rt *rapid.T) Record {
		rec := realisticPing(r, rapid.SampledFrom([]string{"shop", "shop", "shop", "cafe"}).Draw(rt, "app")+"."+rapid.SampledFrom(names).Draw(rt, "name"))
		if rapid.Bool().Draw(rt, "no speed") {
			rec.Fix.SpeedMPS = -1
		}
		rec.Fix.FixedAt -= int64(rapid.SampledFrom([]int{0, 100, 40_000, -500, 1 << 33}).Draw(rt, "age"))
		return rec
	})
	rapid.Check(t, func(rt *rapid.T) {
		var b []byte
		for _, rec := range rapid.SliceOfN(rapid.OneOf(usual, usual, usual, rapid.Custom(drawRecord)), 1, 300).Draw(rt, "records") {
			b = AppendRecord(b, &rec)
		}
		b = SealBatch(b)
		recs, err := readBatch(b)
		if err != nil {
			rt.Fatal(err)
		}
		sameFilled(rt, b, recs, err)
	})
}

func TestFillDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	r := rand.New(rand.NewPCG(9, 9))
	var b []byte
	for i := range 500 {
		rec := realisticPing(r, fmt.Sprintf([]string{"shop.%016x", "shop.%08[1]x-3d2e-4f6a-9b1c-%012[1]x"}[i%2], i))
		b = AppendRecord(b, &rec)
	}
	b = SealBatch(b)
	var reader BatchReader
	var dst track.Batch
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		if err := reader.Reset(b); err != nil {
			t.Fatal(err)
		}
		for more := true; more; n += dst.Len() {
			var err error
			if _, more, err = reader.Fill(&dst, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
	}); a != 0 || n < 500 {
		t.Errorf("%v allocations for 500 pings", a)
	}
}
