package campaign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/fences"
	"footfall/internal/dice"
	"footfall/track"
)

// bare makes a campaign without the cost of parsing.
func bare(id string, tr Trigger) *Campaign {
	return &Campaign{ID: id, Enabled: true, Trigger: tr, MaxAge: DefaultMaxAge, Push: PushStep{TTL: DefaultTTL}}
}

// TestForAgainstScan: the index finds what asking every campaign finds.
func TestForAgainstScan(t *testing.T) {
	seed := dice.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 2))
	tags := []string{"24h", "kyiv", "lviv", "mall", "new"} // in order, as fences keep theirs
	kinds := []track.Kind{track.Enter, track.Exit, track.Dwell}
	pick := func() (some []string) {
		for _, tag := range tags {
			if rnd.IntN(3) == 0 {
				some = append(some, tag)
			}
		}
		return some
	}
	for range 200 {
		var cs []*Campaign
		for i := range rnd.IntN(30) {
			tr := Trigger{Kind: kinds[rnd.IntN(3)], Fences: Selector{Tags: pick()}}
			tr.Fences.All = rnd.IntN(10) == 0
			tr.Crossed = tr.Kind == track.Enter && rnd.IntN(2) == 0
			for f := range 5 {
				if rnd.IntN(5) == 0 {
					tr.Fences.IDs = append(tr.Fences.IDs, fences.ID(fmt.Sprintf("f%d", f)))
				}
			}
			cs = append(cs, bare(fmt.Sprintf("c%02d", i), tr))
		}
		rnd.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
		set, err := NewSet(cs)
		if err != nil {
			t.Fatal(err)
		}
		for f := range 5 {
			for _, kind := range []track.Kind{track.Enter, track.Exit, track.Dwell, track.Crossed} {
				tr := &track.Transition{Kind: kind, FenceID: fences.ID(fmt.Sprintf("f%d", f))}
				if rnd.IntN(5) > 0 { // else deleted
					tr.Fence = &fences.Fence{ID: tr.FenceID, Tags: pick()}
				}
				var want []string
				for _, c := range cs {
					if c.Trigger.selects(tr) {
						want = append(want, c.ID)
					}
				}
				slices.Sort(want)
				before := []*Campaign{bare("kept", Trigger{})}
				got := set.For(before, tr)
				var ids []string
				for _, c := range got[1:] {
					ids = append(ids, c.ID)
				}
				if got[0].ID != "kept" || !slices.Equal(ids, want) {
					t.Fatalf("%s at %s %v: got %v, want %v", kind, tr.FenceID, tr.Fence, ids, want)
				}
			}
		}
	}
}

func TestNewSetRefusesTwins(t *testing.T) {
	a := mustParse(t, smallFile)
	b := mustParse(t, "\n"+smallFile)
	if _, err := NewSet([]*Campaign{a, b}); err == nil || !strings.Contains(err.Error(), "test.yaml:1 and in test.yaml:2") {
		t.Errorf("got %v", err)
	}
	set, err := NewSet([]*Campaign{a})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := set.Find("a"); !ok || c != a || set.Len() != 1 {
		t.Errorf("Find: %v %v", c, ok)
	}
	if _, ok := set.Find("b"); ok {
		t.Error("found a campaign that is not there")
	}
}

// TestPickOrder: priority, then area, then centre, then id; gone fences last.
func TestPickOrder(t *testing.T) {
	mk := func(id string, radius float64, priority int, centre float64) track.Transition {
		f := fence(t, id, radius)
		f.Priority = priority
		return track.Transition{Kind: track.Enter, Fence: f, FenceID: f.ID, CenterDistanceM: centre}
	}
	want := []track.Transition{
		mk("vip", 900, 5, 800),
		mk("small", 100, 0, 90),
		mk("near", 200, 0, 50),
		mk("far-a", 200, 0, 120),
		mk("far-b", 200, 0, 120),
		mk("low", 50, -1, 1),
		{Kind: track.Exit, FenceID: "gone-a", Reason: track.FenceDeleted},
		{Kind: track.Exit, FenceID: "gone-b", Reason: track.FenceDeleted},
	}
	rnd := rand.New(rand.NewPCG(1, 3))
	for range 50 {
		trs := slices.Clone(want)
		rnd.Shuffle(len(trs), func(i, j int) { trs[i], trs[j] = trs[j], trs[i] })
		before := slices.Clone(trs)
		got := Pick(trs)
		for i := range want {
			if got[i].FenceID != want[i].FenceID {
				t.Fatalf("place %d is %s, want %s", i, got[i].FenceID, want[i].FenceID)
			}
			if trs[i].FenceID != before[i].FenceID {
				t.Fatal("the input was reordered")
			}
		}
	}
}

// TestOverlap (conformance F24): two fences of one campaign at one fix, one push.
func TestOverlap(t *testing.T) {
	c := mustParse(t, dayFile)
	other := mustParse(t, strings.Replace(dayFile, "campaign: day", "campaign: other", 1))
	set, err := NewSet([]*Campaign{other, c})
	if err != nil {
		t.Fatal(err)
	}
	in := entry(t, "2026-11-28T12:00:00")
	large, small := *in.Tr, *in.Tr
	large.Fence, large.FenceID = fence(t, "mall", 500, "kyiv"), "mall"
	got := set.Decide(nil, []track.Transition{large, small}, in.Profile, in.Now, false)
	var lines []string
	for _, d := range got {
		lines = append(lines, fmt.Sprintf("%s %s %s", d.Campaign, d.Fence, d.Reason))
	}
	want := []string{"day k01 eligible", "other k01 eligible", "day mall overlap", "other mall overlap"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}

	// A fence that cannot push does not keep another one from it.
	edited := small
	edited.Reason = track.FenceChanged
	got = set.Decide(nil, []track.Transition{large, edited}, in.Profile, in.Now, true)
	if got[0].Reason != FenceEdit || got[2].Reason != Eligible || got[2].Fence != "mall" {
		t.Errorf("got %v", got)
	}
}

// TestStarting: someone who is inside when a campaign begins is owed one entry.
func TestStarting(t *testing.T) {
	begins := mustParse(t, dayFile) // 10:00 store time
	exact := mustParse(t, strings.Replace(strings.Replace(dayFile, "campaign: day", "campaign: exact", 1), "from: 2026-11-28T10:00", "from: 2026-11-28T10:00+02:00", 1))
	open := mustParse(t, smallFile)
	exits := mustParse(t, strings.NewReplacer("campaign: day", "campaign: exits", "enter:", "exit:").Replace(dayFile))
	set, err := NewSet([]*Campaign{begins, exact, open, exits})
	if err != nil {
		t.Fatal(err)
	}
	kyiv := fence(t, "k01", 200, "kyiv")
	tokyo := fence(t, "t01", 200, "kyiv")
	tokyo.Location = zone(t, "Asia/Tokyo")
	lviv := fence(t, "l01", 200, "lviv")
	at := func(h, m int) time.Time { return time.Date(2026, 11, 28, h, m, 0, 0, kyiv.Location) }
	for _, tt := range []struct {
		name     string
		f        *fences.Fence
		prev, at time.Time
		want     string
	}{
		{"across the start", kyiv, at(9, 58), at(10, 2), "day exact"},
		{"at the start", kyiv, at(9, 58), at(10, 0), "day exact"},
		{"before", kyiv, at(9, 50), at(9, 59), ""},
		{"after: the last fix was at the start", kyiv, at(10, 0), at(10, 5), ""},
		{"a store farther east has begun long ago", tokyo, at(9, 58), at(10, 2), "exact"},
		{"the same store at its own ten o'clock", tokyo, at(2, 50), at(3, 5), "day"},
		{"a fence that is not selected", lviv, at(9, 58), at(10, 2), ""},
		{"the next day", kyiv, at(33, 58), at(34, 2), ""},
	} {
		var ids []string
		for _, c := range set.Starting(nil, tt.f, tt.prev, tt.at) {
			ids = append(ids, c.ID)
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}

	// The entry that is made of it passes.
	in := entry(t, "2026-11-28T10:02:00")
	in.Tr.Reason = track.Initial
	in.Tr.EnteredAt = at(9, 40).UnixMilli()
	if d := begins.Decide(in, false); d.Outcome != Propose {
		t.Error(d.String())
	}
}

func TestUnmatched(t *testing.T) {
	fs, err := fences.NewSet([]fences.Fence{*fence(t, "k01", 200, "kyiv")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := bare("a", Trigger{Kind: track.Enter, Fences: Selector{IDs: []fences.ID{"k01", "k99"}, Tags: []string{"kyiv", "kyiw"}}})
	c.File, c.Trigger.Fences.at = "a.yaml", pos{2, 27}
	var got strings.Builder
	for _, e := range c.Unmatched(fs) {
		got.WriteString(e.Error() + "\n")
	}
	if want := `a.yaml:2:27: warning no_fence: campaign a: no fence has the id "k99" (there is none in those fences: see footfall fence check)
a.yaml:2:27: warning no_fence: campaign a: no fence has the tag "kyiw" (did you mean "kyiv"?)
`; got.String() != want {
		t.Errorf("got %s, want %s", got.String(), want)
	}
}

// manyCampaigns is n campaigns for other fences and tags, and three that fit k01.
func manyCampaigns(b testing.TB, n int) (*Set, *track.Transition) {
	cs := []*Campaign{
		bare("all", Trigger{Kind: track.Enter, Fences: Selector{All: true}}),
		bare("kyiv", Trigger{Kind: track.Enter, Fences: Selector{Tags: []string{"kyiv"}}}),
		bare("k01", Trigger{Kind: track.Enter, Fences: Selector{IDs: []fences.ID{"k01"}}}),
	}
	for i := range n - len(cs) {
		sel := Selector{IDs: []fences.ID{fences.ID(fmt.Sprintf("f%d", i))}}
		if i%2 == 0 {
			sel = Selector{Tags: []string{fmt.Sprintf("t%d", i)}}
		}
		cs = append(cs, bare(fmt.Sprintf("c%d", i), Trigger{Kind: track.Enter, Fences: sel}))
	}
	set, err := NewSet(cs)
	if err != nil {
		b.Fatal(err)
	}
	return set, &track.Transition{Kind: track.Enter, FenceID: "k01", Fence: fence(b, "k01", 200, "24h", "kyiv", "mall")}
}

func TestForDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	set, tr := manyCampaigns(t, 10_000)
	var room [8]*Campaign
	if n := testing.AllocsPerRun(100, func() {
		for range 10 {
			if len(set.For(room[:0], tr)) != 3 {
				t.Fatal("wrong campaigns")
			}
			if len(set.Starting(room[:0], tr.Fence, time.UnixMilli(1), time.UnixMilli(2))) != 0 {
				t.Fatal("nothing starts")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSetFor(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("campaigns=%d", n), func(b *testing.B) {
			set, tr := manyCampaigns(b, n)
			var room [8]*Campaign
			b.ReportAllocs()
			for b.Loop() {
				if len(set.For(room[:0], tr)) != 3 {
					b.Fatal("wrong campaigns")
				}
			}
		})
	}
}

func BenchmarkSetDecide(b *testing.B) {
	set, err := NewSet([]*Campaign{mustParse(b, dayFile)})
	if err != nil {
		b.Fatal(err)
	}
	in := entry(b, "2026-11-28T12:00:00")
	trs := []track.Transition{*in.Tr}
	profile := audience.Profile{Device: "shop.d1", Token: "t", Platform: "ios"}
	dst := make([]Decision, 0, 4)
	b.ReportAllocs()
	for b.Loop() {
		if got := set.Decide(dst[:0], trs, &profile, in.Now, false); got[0].Outcome != Propose {
			b.Fatal("not proposed")
		}
	}
}
