package audience

import (
	"encoding"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSegments: segments use each other in whatever order they are written, are what their rules say, and ask for the
// history that any of them needs.
func TestSegments(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s, errs := NewSegments(map[string]string{
		"a_lost":  `segment("gold") and days_since_visit() > 1 and not segment("z_staff")`,
		"gold":    `tags.loyalty == "gold"`,
		"z_staff": `"staff" in tags.groups`,
		"buyers":  `segment("gold") and events("purchase") >= 2`,
	})
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	for rule, want := range map[string]struct{ fits, events, visits bool }{
		`segment("gold")`:                        {true, false, false},
		`segment("a_lost")`:                      {false, false, true},
		`segment("buyers") or segment("a_lost")`: {true, true, true},
		`not segment("z_staff") and tags.vip`:    {true, false, false},
	} {
		r, err := s.Parse(rule)
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		fits, problem := r.Match(olena(now), now.UnixMilli())
		if fits != want.fits || problem != "" || r.NeedsEvents() != want.events || r.NeedsVisits() != want.visits {
			t.Errorf("%s: %v %s, needs events %v, visits %v", rule, fits, problem, r.NeedsEvents(), r.NeedsVisits())
		}
	}
	// What a revision depends on changes with a segment that is used in turn.
	text := func(staff string) string {
		s, errs := NewSegments(map[string]string{"lost": `not segment("staff")`, "staff": staff})
		if len(errs) > 0 {
			t.Fatal(errs[0])
		}
		r, err := s.Parse(`segment("lost")`)
		if err != nil {
			t.Fatal(err)
		}
		b, err := encoding.TextMarshaler(r).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if text(`tags.staff`) == text(`tags.employee`) {
		t.Error("a change of a segment is not seen")
	}
	// A fault inside is a fault of the whole, also under not.
	s, _ = NewSegments(map[string]string{"odd": `tags.age + tags.loyalty > 3`})
	r, err := s.Parse(`not segment("odd")`)
	if err != nil {
		t.Fatal(err)
	}
	if fits, problem := r.Match(olena(now), now.UnixMilli()); fits || !strings.Contains(problem, "segment odd") {
		t.Errorf("a segment that cannot be evaluated: %v %q", fits, problem)
	}
}

// TestSegmentFaults: each fault is reported once and where it stands; what merely uses a faulty segment is not at fault.
func TestSegmentFaults(t *testing.T) {
	sources := map[string]string{
		"a":    `segment("b")`,
		"b":    `segment("c") or true`,
		"c":    `true and segment("a")`,
		"self": `segment("self")`,
		"typo": `segment("d")`,
		"user": `segment("typo")`,
		"fine": `tags.x`,
	}
	_, errs := NewSegments(sources)
	var got []string
	for _, e := range errs {
		got = append(got, fmt.Sprintf("%s %d %s", e.Segment, e.Offset, e.Reason))
	}
	want := []string{
		`c 17 segment "a" would contain itself: a uses b uses c uses a`,
		`self 8 segment "self" would contain itself: self uses self`,
		`typo 8 there is no segment "d"; there are `,
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	// Segments that double at each level are refused before they cost anything.
	sources = map[string]string{"s0": `tags.x`}
	for i := range 30 {
		sources[fmt.Sprintf("s%d", i+1)] = fmt.Sprintf(`segment("s%d") or segment("s%d")`, i, i)
	}
	s, errs := NewSegments(sources)
	if len(errs) != 1 || !strings.Contains(errs[0].Reason, "more than 200 times") {
		t.Errorf("doubling: %v", errs)
	}
	if _, err := s.Parse(`segment("s30")`); !errors.Is(err, ErrBrokenSegment) {
		t.Errorf("a rule over a faulty segment: %v", err)
	}
	if _, err := ParseRule(`segment("gold")`); err == nil || !strings.Contains(err.Error(), "none is defined") {
		t.Errorf("without segments: %v", err)
	}
}

// BenchmarkSegment: one rule that asks two segments, one of which asks another.
func BenchmarkSegment(b *testing.B) {
	now := time.UnixMilli(1_800_000_000_000)
	s, errs := NewSegments(map[string]string{"gold": `tags.loyalty == "gold"`, "staff": `"staff" in tags.groups`, "buyers": `segment("gold") and events("purchase") >= 2`})
	if len(errs) > 0 {
		b.Fatal(errs[0])
	}
	r, err := s.Parse(`segment("buyers") and not segment("staff")`)
	if err != nil {
		b.Fatal(err)
	}
	person := olena(now)
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := r.Match(person, now.UnixMilli()); !ok {
			b.Fatal("does not fit")
		}
	}
}
