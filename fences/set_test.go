package fences

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/geo"
	"footfall/internal/cputime"
)

func circleFence(t testing.TB, id string, lat, lng, r float64) Fence {
	t.Helper()
	s, err := geo.NewCircle(geo.Point{Lat: lat, Lng: lng}, r)
	if err != nil {
		t.Fatal(err)
	}
	return Fence{ID: ID(id), Name: id, Shape: s}
}

func mustSet(t testing.TB, fs []Fence, cat *Catalogue) *Set {
	t.Helper()
	s, err := NewSet(fs, cat)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetLookups(t *testing.T) {
	fs := []Fence{circleFence(t, "b", 50, 30, 200), circleFence(t, "a", 50.001, 30, 200), circleFence(t, "far", 10, 10, 200)}
	s := mustSet(t, fs, nil)
	if s.Len() != 3 || s.Gen() != 1 {
		t.Errorf("%d fences in generation %d", s.Len(), s.Gen())
	}
	between := geo.Point{Lat: 50.0005, Lng: 30}
	if got := s.Match([]int32{9}, between); !slices.Equal(got, []int32{9, 0, 1}) {
		t.Errorf("match %v, want what was there and 0, 1", got)
	}
	if got := s.Candidates(nil, between); !slices.Contains(got, 0) || !slices.Contains(got, 1) {
		t.Errorf("candidates %v", got)
	}
	for i := range int32(3) {
		f := s.At(i)
		if f.Location == nil {
			t.Error("no location")
		}
		if g, ok := s.Lookup(f.ID); !ok || g != f {
			t.Errorf("lookup of %s gives %v", f.ID, g)
		}
		if g, ok := s.ByHandle(f.Handle); !ok || g != f || f.Handle == 0 {
			t.Errorf("handle %d gives %v", f.Handle, g)
		}
	}
	if _, ok := s.Lookup("none"); ok {
		t.Error("found what is not there")
	}
	for _, h := range []uint32{0, 4, 1 << 31, ^uint32(0)} {
		if _, ok := s.ByHandle(h); ok {
			t.Errorf("handle %d found", h)
		}
	}
	if fs[0].Handle != 0 {
		t.Error("NewSet changed its argument")
	}
	empty := mustSet(t, nil, nil)
	if empty.Len() != 0 || len(empty.Match(nil, between)) != 0 {
		t.Error("the empty set matches")
	}
}

func TestSetRefusesDuplicates(t *testing.T) {
	var cat Catalogue
	mustSet(t, []Fence{circleFence(t, "a", 1, 1, 200)}, &cat)
	before, _ := cat.MarshalBinary()
	_, err := NewSet([]Fence{circleFence(t, "x", 1, 1, 200), circleFence(t, "x", 2, 2, 200)}, &cat)
	if !errors.Is(err, ErrDuplicateID) {
		t.Errorf("error %v", err)
	}
	if _, err := NewSet([]Fence{{}}, &cat); err == nil {
		t.Error("a fence without id is accepted")
	}
	if after, _ := cat.MarshalBinary(); !slices.Equal(before, after) {
		t.Error("a refused set changed the catalogue")
	}
}

// The life of fences through edits and a restart after each of them.
func TestCatalogueRemembers(t *testing.T) {
	cat := new(Catalogue)
	type want struct {
		id                     ID
		handle, created, shape uint32
	}
	step := func(name string, fs []Fence, gen uint32, wants ...want) *Set {
		t.Helper()
		s := mustSet(t, fs, cat)
		if s.Gen() != gen || cat.Gen() != gen {
			t.Errorf("%s: generation %d, want %d", name, s.Gen(), gen)
		}
		for _, w := range wants {
			f, _ := s.Lookup(w.id)
			if got := (want{f.ID, f.Handle, f.CreatedGen, f.ShapeGen}); got != w {
				t.Errorf("%s: %+v, want %+v", name, got, w)
			}
		}
		stored, err := cat.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		cat = new(Catalogue) // restart
		if err := cat.UnmarshalBinary(stored); err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, c := circleFence(t, "a", 1, 1, 200), circleFence(t, "b", 2, 2, 200), circleFence(t, "c", 3, 3, 200)
	first := step("start", []Fence{a, b}, 1, want{"a", 1, 1, 1}, want{"b", 2, 1, 1})
	second := step("the same in another order", []Fence{b, a}, 1, want{"a", 1, 1, 1}, want{"b", 2, 1, 1})
	if first.Revision() != second.Revision() {
		t.Error("the order changes the revision")
	}
	a.Name = "renamed"
	third := step("renamed", []Fence{a, b}, 2, want{"a", 1, 1, 1}, want{"b", 2, 1, 1})
	if first.Revision() == third.Revision() {
		t.Error("a new name keeps the revision")
	}
	a.Shape = circleFence(t, "a", 1, 1, 230).Shape
	step("resized", []Fence{a, b}, 3, want{"a", 1, 1, 3}, want{"b", 2, 1, 1})
	gone := step("removed and added", []Fence{b, c}, 4, want{"b", 2, 1, 1}, want{"c", 3, 4, 4})
	if _, ok := gone.ByHandle(1); ok {
		t.Error("a removed fence is found by its handle")
	}
	if h, ok := cat.HandleOf("a"); !ok || h != 1 {
		t.Error("the removed fence's handle is forgotten")
	}
	step("back again", []Fence{a, b, c}, 5, want{"a", 1, 5, 5}, want{"c", 3, 4, 4})
	var seen []string
	cat.IDs(func(h uint32, id ID, live bool) bool {
		seen = append(seen, fmt.Sprint(h, id, live))
		return true
	})
	if !slices.Equal(seen, []string{"1atrue", "2btrue", "3ctrue"}) && !slices.Equal(seen, []string{"1 a true", "2 b true", "3 c true"}) {
		t.Errorf("ids %q", seen)
	}
	if cat.Len() != 3 {
		t.Errorf("%d ids known", cat.Len())
	}
}

// Everything that a fence says is part of the revision.
func TestRevisionCoversEveryField(t *testing.T) {
	base := circleFence(t, "a", 1, 1, 200)
	want := mustSet(t, []Fence{base}, nil).Revision()
	yes := true
	edits := map[string]func(*Fence){
		"id": func(f *Fence) { f.ID = "b" }, "name": func(f *Fence) { f.Name = "n" }, "store": func(f *Fence) { f.Store = "s" }, "zone": func(f *Fence) { f.Zone = "Europe/Kyiv" },
		"tags": func(f *Fence) { f.Tags = []string{"t"} }, "priority": func(f *Fence) { f.Priority = 1 }, "min_stay": func(f *Fence) { f.MinStay = 1 }, "min_away": func(f *Fence) { f.MinAway = 1 }, "dwell": func(f *Fence) { f.Dwell = 1 },
		"crossed": func(f *Fence) { f.Crossed = true }, "initial": func(f *Fence) { f.Initial = &yes }, "margin": func(f *Fence) { f.ExitMarginM = 1 }, "accuracy": func(f *Fence) { f.MaxAccuracyM = 1 },
		"shape": func(f *Fence) { f.Shape = circleFence(t, "", 1, 1, 201).Shape }, "properties": func(f *Fence) { f.Properties = []byte(`{}`) },
	}
	for name, edit := range edits {
		f := base
		edit(&f)
		if mustSet(t, []Fence{f}, nil).Revision() == want {
			t.Errorf("%s is not part of the revision", name)
		}
	}
	moved := base
	moved.File, moved.Line, moved.Col = "other", 7, 7
	if mustSet(t, []Fence{moved}, nil).Revision() != want {
		t.Error("the place in a file is part of the revision")
	}
}

func TestCatalogueRefusesDamage(t *testing.T) {
	var cat Catalogue
	mustSet(t, []Fence{circleFence(t, "a", 1, 1, 200), circleFence(t, "b", 2, 2, 200)}, &cat)
	good, _ := cat.MarshalBinary()
	for n := range good {
		if err := new(Catalogue).UnmarshalBinary(good[:n]); !errors.Is(err, ErrBadCatalogue) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	for _, bad := range [][]byte{append(slices.Clone(good), 0), append([]byte{2}, good[1:]...), {1, 1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if err := cat.UnmarshalBinary(bad); !errors.Is(err, ErrBadCatalogue) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	if after, _ := cat.MarshalBinary(); !slices.Equal(after, good) {
		t.Error("a failed read changed the catalogue")
	}
}

// Devices that stay inside an unchanged fence are found in every set, while sets
// are replaced hundreds of times around them.
func TestMatchWhileSetsAreSwapped(t *testing.T) {
	var cat Catalogue
	stable := circleFence(t, "stable", 50, 30, 200)
	var current atomic.Pointer[Set]
	current.Store(mustSet(t, []Fence{stable}, &cat))
	swaps := 200
	if os.Getenv("FOOTFALL_LONG") == "1" {
		swaps = 1000
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for g := range 25 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 25))
			var dst []int32
			for !stop.Load() {
				s := current.Load()
				p := geo.Point{Lat: 50 + rnd.Float64()*0.001, Lng: 30}
				dst = s.Match(dst[:0], p)
				if !slices.ContainsFunc(dst, func(i int32) bool { return s.At(i).ID == "stable" && s.At(i).Handle == 1 && s.At(i).ShapeGen == 1 }) {
					t.Errorf("generation %d lost the fence at %v", s.Gen(), p)
					return
				}
				runtime.Gosched() // let the editor work between matches
			}
		})
	}
	for i := range swaps {
		fs := []Fence{circleFence(t, fmt.Sprint("e", i%7), 50, 30+float64(i%5)*0.001, 100+float64(i)), stable}
		if i%2 == 1 {
			fs[0], fs[1] = fs[1], fs[0]
		}
		current.Store(mustSet(t, fs, &cat))
	}
	stop.Store(true)
	wg.Wait()
	if current.Load().Gen() < uint32(swaps) {
		t.Errorf("generation %d after %d edits", current.Load().Gen(), swaps)
	}
}

// An edit of 10,000 fences is read, checked and indexed in under a second.
func TestTenThousandFencesInASecond(t *testing.T) {
	var fs []Fence
	for i := range 10_000 {
		fs = append(fs, circleFence(t, fmt.Sprintf("store-%05d", i), 44+float64(i/100)*0.08, 22+float64(i%100)*0.17, 200))
	}
	data := Marshal(fs)
	var cat Catalogue
	mustSet(t, fs[:5000], &cat)
	start := cputime.Used()
	read, findings := Parse("x", data, Options{})
	parsed := cputime.Used() - start
	s := mustSet(t, read, &cat)
	took := cputime.Used() - start
	if s.Len() != 10_000 || HasErrors(findings) {
		t.Fatalf("%d fences, %v", s.Len(), findings)
	}
	t.Logf("parse and check %v, in all %v", parsed.Round(time.Millisecond), took.Round(time.Millisecond))
	if took > time.Second && !raceEnabled {
		t.Errorf("took %v", took)
	}
}

func TestRemovedInUse(t *testing.T) {
	a, b, c := circleFence(t, "a", 1, 1, 200), circleFence(t, "b", 2, 2, 200), circleFence(t, "c", 3, 3, 200)
	old, next := mustSet(t, []Fence{a, b, c}, nil), mustSet(t, []Fence{c}, nil)
	got := RemovedInUse(old, next, func(f *Fence) []string {
		if f.ID == "b" {
			return nil
		}
		return []string{"kyiv-18"}
	})
	if len(got) != 1 || got[0].Code != codeInUse || got[0].Feature != "a" || got[0].Severity != SeverityWarning {
		t.Errorf("%+v", got)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := mustSet(t, []Fence{circleFence(t, "a", 50, 30, 200)}, nil)
	dst := make([]int32, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		dst = s.Match(dst[:0], geo.Point{Lat: 50, Lng: 30})
		s.ByHandle(1)
		s.Lookup("a")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNewSet(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("fences=%d", n), func(b *testing.B) {
			var fs []Fence
			for i := range n {
				fs = append(fs, circleFence(b, fmt.Sprint(i), 44+float64(i/100)*0.08, 22+float64(i%100)*0.17, 200))
			}
			data := Marshal(fs)
			b.ReportAllocs()
			for b.Loop() {
				read, _ := Parse("x", data, Options{})
				if s := mustSet(b, read, nil); s.Len() != n {
					b.Fatal(s.Len())
				}
			}
			b.SetBytes(int64(len(data)))
		})
	}
}
