package campaign

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// fence makes a circle in Kyiv time.
func fence(t testing.TB, id string, radiusM float64, tags ...string) *fences.Fence {
	t.Helper()
	shape, err := geo.NewCircle(geo.Point{Lat: 50.4501, Lng: 30.5234}, radiusM)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tags)
	return &fences.Fence{ID: fences.ID(id), Name: "Store " + id, Store: fences.StoreID(id), Zone: "Europe/Kyiv", Location: zone(t, "Europe/Kyiv"), Tags: tags, Shape: shape}
}

const dayFile = `campaign: day
trigger: {enter: {fences: {tag: kyiv}}}
window: {from: 2026-11-28T10:00, to: 2026-11-28T21:00, hours: "10:00-21:00", days: [sat]}
steps: [{push: {template: {locales: {en: {body: "Hello from {{ fence.name }}"}}}, ttl: 15m}}]
`

// entry is a clean enter of k01 at a Kyiv wall clock time, received at once.
func entry(t testing.TB, wall string) Input {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02T15:04:05", wall, zone(t, "Europe/Kyiv"))
	if err != nil {
		t.Fatal(err)
	}
	ms := at.UnixMilli()
	return Input{
		Tr: &track.Transition{
			Kind: track.Enter, Fence: fence(t, "k01", 200, "kyiv"), FenceID: "k01", At: ms, ConfirmedAt: ms, EnteredAt: ms, Confidence: 3,
			EdgeDistanceM: -88, CenterDistanceM: 112,
			Fix: track.Fix{FixedAt: ms, ReceivedAt: ms + 900, AccuracyM: 12, HasPosition: true},
		},
		Profile: &audience.Profile{Device: "shop.d1", Person: "u1", Platform: "ios", Token: "t", Zone: "Asia/Tashkent"},
		Now:     at.Add(900 * time.Millisecond),
	}
}

func TestDecideReasons(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edit   func(file string) string // of the campaign; nil: as it is
		change func(in *Input)
		wall   string // "" = Saturday noon
		want   Reason
	}{
		{name: "a clean entry", want: Eligible},
		{name: "another kind", change: func(in *Input) { in.Tr.Kind = track.Exit }, want: NotSelected},
		{name: "another fence", change: func(in *Input) { in.Tr.Fence = fence(t, "l01", 200, "lviv"); in.Tr.FenceID = "l01" }, want: NotSelected},
		{name: "crossed, not asked for", change: func(in *Input) { in.Tr.Kind = track.Crossed }, want: NotSelected},
		{name: "crossed, asked for", edit: with("{tag: kyiv}", "{tag: kyiv}, crossed: true"), change: func(in *Input) { in.Tr.Kind = track.Crossed }, want: Eligible},
		{name: "disabled", edit: with("campaign: day", "campaign: day\nenabled: false"), want: Disabled},
		{name: "paused", edit: with("campaign: day", "campaign: day\npaused: true"), want: Paused},
		{name: "simulated position", change: func(in *Input) { in.Tr.Fix.Mock = true }, want: Untrusted},
		{name: "fence created around it", change: func(in *Input) { in.Tr.Reason = track.FenceCreated }, want: FenceEdit},
		{name: "fence changed under it", change: func(in *Input) { in.Tr.Reason = track.FenceChanged }, want: FenceEdit},
		{name: "fence changed, edits count", edit: with("{tag: kyiv}", "{tag: kyiv}, edits: true"), change: func(in *Input) { in.Tr.Reason = track.FenceChanged }, want: Eligible},
		{name: "fence deleted, even with edits", edit: with("{tag: kyiv}", "{id: k01}, edits: true"), change: func(in *Input) { in.Tr.Reason = track.FenceDeleted; in.Tr.Fence = nil }, want: FenceEdit},
		{name: "first position inside", change: func(in *Input) { in.Tr.Reason = track.Initial }, want: Eligible},
		{name: "first position inside, not wanted", edit: with("{tag: kyiv}", "{tag: kyiv}, initial: false"), change: func(in *Input) { in.Tr.Reason = track.Initial }, want: InitialOff},
		{name: "back after a silence", edit: with("{tag: kyiv}", "{tag: kyiv}, initial: false"), change: func(in *Input) { in.Tr.Reason = track.Resumed }, want: Eligible},
		{name: "reported by the phone", change: func(in *Input) { in.Tr.Reason = track.Device }, want: Eligible},
		{name: "a skewed clock", change: func(in *Input) { in.Tr.Reason = track.Skewed }, want: Eligible},
		{name: "confidence", edit: with("{tag: kyiv}", "{tag: kyiv}, min_confidence: 3"), change: func(in *Input) { in.Tr.Confidence = 2 }, want: LowConfidence},
		{name: "before the window", wall: "2026-11-28T09:59:59", want: NotStarted},
		{name: "as the window opens", wall: "2026-11-28T10:00:00", want: Eligible},
		{name: "as the window closes", wall: "2026-11-28T21:00:00", want: Ended},
		{name: "outside the hours", edit: with(`"10:00-21:00"`, `"13:00-21:00"`), want: WindowClosed},
		{name: "another day", edit: with("[sat]", "[sun]"), want: WindowClosed},
		{name: "six minutes late", change: func(in *Input) { in.Now = in.Now.Add(6 * time.Minute) }, want: Eligible},
		{name: "exactly max_age", change: func(in *Input) { in.Now = time.UnixMilli(in.Tr.Fix.FixedAt).Add(10 * time.Minute) }, want: Eligible},
		{name: "three hours late", change: func(in *Input) { in.Now = in.Now.Add(3 * time.Hour) }, want: Stale},
		{name: "stale by the deployment's rule", change: func(in *Input) { in.Tr.Reason = track.Stale }, want: Stale},
		// The event was in time; when it arrives does not matter to the window.
		{name: "in the window, received after it", wall: "2026-11-28T20:58:00", change: func(in *Input) { in.Now = in.Now.Add(5 * time.Minute) }, want: Eligible},
		{name: "too late for its ttl", edit: with("ttl: 15m", "ttl: 5m"), change: func(in *Input) { in.Now = in.Now.Add(6 * time.Minute) }, want: Expired},
		// A min stay is a wait that was asked for: age and ttl count from the fix
		// that settled it.
		{name: "after a long min stay", change: func(in *Input) {
			late := in.Tr.At + 30*60_000
			in.Tr.ConfirmedAt, in.Tr.Fix.FixedAt, in.Now = late, late, time.UnixMilli(late+500)
		}, want: Eligible},
		{name: "push refused", change: func(in *Input) { in.Profile.ConsentPush = new(false) }, want: OptedOut},
		{name: "location refused", change: func(in *Input) { in.Profile.ConsentLocation = new(false) }, want: OptedOut},
		{name: "consent given", change: func(in *Input) { in.Profile.ConsentPush, in.Profile.ConsentLocation = new(true), new(true) }, want: Eligible},
		{name: "never registered", change: func(in *Input) { in.Profile = &audience.Profile{Device: "shop.d1"} }, want: NoToken},
		{name: "never registered, in_app: also", edit: with("push: {", "push: {in_app: also, "), change: func(in *Input) { in.Profile = &audience.Profile{Device: "shop.d1"} }, want: Eligible},
		{name: "dead token", change: func(in *Input) { in.Profile.TokenDead = true }, want: NoToken},
		{name: "no platform", change: func(in *Input) { in.Profile.Platform = "" }, want: NoToken},
		// The first rule of the ladder that fails is the reason.
		{name: "paused and late and opted out", edit: with("campaign: day", "campaign: day\npaused: true"), change: func(in *Input) {
			in.Now = in.Now.Add(time.Hour)
			in.Profile.ConsentPush = new(false)
		}, want: Paused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := dayFile
			if tt.edit != nil {
				file = tt.edit(file)
				if file == dayFile {
					t.Fatal("the edit changes nothing")
				}
			}
			c := mustParse(t, file)
			wall := tt.wall
			if wall == "" {
				wall = "2026-11-28T12:00:00"
			}
			in := entry(t, wall)
			if tt.change != nil {
				tt.change(&in)
			}
			d := c.Decide(in, false)
			if d.Reason != tt.want {
				t.Fatalf("%s, want %s", d.String(), tt.want)
			}
			if (d.Outcome == Propose) != (tt.want == Eligible) || d.Checks != nil {
				t.Errorf("outcome %s with %d checks", d.Outcome, len(d.Checks))
			}

			// Explain is the same decision, with its reasons.
			e := c.Decide(in, true)
			if e.Outcome != d.Outcome || e.Reason != d.Reason || !e.ExpiresAt.Equal(d.ExpiresAt) {
				t.Errorf("explain says %s, the hot path %s", e.String(), d.String())
			}
			rungs := 1 // the claim
			for r := range ruleCount {
				if c.has(r, &facts{}) {
					rungs++
				}
			}
			if len(e.Checks) != rungs {
				t.Errorf("%d rungs, want every rule and the claim", len(e.Checks))
			}
			for _, ch := range e.Checks {
				if ch.Rule == "" || ch.Detail == "" {
					t.Errorf("empty rung %+v", ch)
				}
			}
			if all := !slices.ContainsFunc(e.Checks, func(c Check) bool { return !c.OK }); all != (tt.want == Eligible) {
				t.Errorf("the ladder does not agree with %s: %+v", tt.want, e.Checks)
			}
			if again := c.Decide(in, true); !reflect.DeepEqual(again, e) {
				t.Error("the same input gives another decision")
			}
		})
	}
}

func with(old, new string) func(string) string {
	return func(file string) string { return strings.Replace(file, old, new, 1) }
}

// TestReasonsAreClosed: every reason that is a constant is listed once.
func TestReasonsAreClosed(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || r == "" || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("bad reason %q", r)
		}
		seen[r] = true
	}
	if len(seen) != 26 {
		t.Errorf("%d reasons; a new one belongs in the docs and in this count", len(seen))
	}
}

func TestDecideClaim(t *testing.T) {
	base := with("window: {from: 2026-11-28T10:00, to: 2026-11-28T21:00, hours: \"10:00-21:00\", days: [sat]}\n", "")(dayFile)
	for _, tt := range []struct {
		name, once, wall string
		change           func(in *Input)
		want             dedupe.Key
		ends             string // RFC 3339; "" = never
	}{
		{"the store's day", "{day: store}", "2026-11-28T23:59:59", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-28"}, "2026-11-29T00:00:00+02:00"},
		{"the next day", "{day: store}", "2026-11-29T00:00:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-29"}, "2026-11-30T00:00:00+02:00"},
		{"a day that starts at four", `{day: store, starts: "04:00"}`, "2026-11-29T03:59:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-28"}, "2026-11-29T04:00:00+02:00"},
		// Tashkent is at UTC+5: 22:30 in Kyiv is 01:30 of the next day there.
		{"the person's day", "{day: user}", "2026-11-28T22:30:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-29"}, "2026-11-30T00:00:00+05:00"},
		{"the day of a person without a zone", "{day: user}", "2026-11-28T22:30:00", func(in *Input) { in.Profile.Zone = "" }, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-28"}, "2026-11-29T00:00:00+02:00"},
		{"the campaign's day", "{day: campaign}\nzone: Asia/Tokyo", "2026-11-28T17:30:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-29"}, "2026-11-30T00:00:00+09:00"},
		{"the day with 25 hours", "{day: store}", "2026-10-25T02:00:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-10-25"}, "2026-10-26T00:00:00+02:00"},
		{"rolling", "{rolling: PT24H}", "2026-11-28T20:00:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "rolling"}, "2026-11-29T20:00:00+02:00"},
		{"once ever", "campaign", "2026-11-28T20:00:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "ever"}, ""},
		{"by fence", "{day: store}\nscope: fence", "2026-11-28T20:00:00", nil, dedupe.Key{Campaign: "day", Subject: "p:u1", Scope: "k01", Period: "2026-11-28"}, "2026-11-29T00:00:00+02:00"},
		{"nobody signed in", "{day: store}", "2026-11-28T20:00:00", func(in *Input) { in.Profile.Person = "" }, dedupe.Key{Campaign: "day", Subject: "d:shop.d1", Period: "2026-11-28"}, "2026-11-29T00:00:00+02:00"},
		// Received after midnight, the visit still belongs to the day it was made.
		{"late over midnight", "{day: store}", "2026-11-28T23:58:00", func(in *Input) { in.Now = in.Now.Add(5 * time.Minute) }, dedupe.Key{Campaign: "day", Subject: "p:u1", Period: "2026-11-28"}, "2026-11-29T00:00:00+02:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, base+"once_per: "+tt.once+"\n")
			in := entry(t, tt.wall)
			if tt.change != nil {
				tt.change(&in)
			}
			d := c.Decide(in, false)
			if d.Outcome != Propose || d.Key != tt.want || d.Period != c.Once {
				t.Errorf("%s with key %+v, want %+v", d.String(), d.Key, tt.want)
			}
			ends := ""
			if !d.PeriodEnds.IsZero() {
				loc := d.PeriodEnds.Location()
				ends = d.PeriodEnds.In(loc).Format(time.RFC3339)
				want, err := time.Parse(time.RFC3339, tt.ends)
				if err != nil || !d.PeriodEnds.Equal(want) {
					t.Errorf("ends %s, want %s", ends, tt.ends)
				}
			} else if tt.ends != "" {
				t.Errorf("never ends, want %s", tt.ends)
			}
			if want := time.UnixMilli(in.Tr.At).Add(15 * time.Minute); !d.ExpiresAt.Equal(want) {
				t.Errorf("expires %s, want %s", d.ExpiresAt, want)
			}
		})
	}

	// Without a limit two entries have two claims.
	c := mustParse(t, base+"once_per: none\n")
	a, b := c.Decide(entry(t, "2026-11-28T20:00:00"), false), c.Decide(entry(t, "2026-11-28T20:10:00"), false)
	if a.Key == b.Key {
		t.Errorf("once_per none: both entries claim %+v", a.Key)
	}
}

// TestMidnightInside (conformance F20): staying over midnight makes no new
// transition and so no new claim; coming back does, in the store's day.
func TestMidnightInside(t *testing.T) {
	c := mustParse(t, smallFile)
	first := c.Decide(entry(t, "2026-11-28T23:50:00"), false)
	back := c.Decide(entry(t, "2026-11-29T00:20:00"), false)
	if first.Key == back.Key || first.Key.Period != "2026-11-28" || back.Key.Period != "2026-11-29" {
		t.Errorf("claims %+v and %+v", first.Key, back.Key)
	}
	resumed := entry(t, "2026-11-28T23:59:00") // F19: same day, same claim
	resumed.Tr.Reason = track.Resumed
	if d := c.Decide(resumed, false); d.Key != first.Key {
		t.Errorf("resumed the same day claims %+v, want %+v", d.Key, first.Key)
	}
}

func TestDecideIsCheap(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := mustParse(t, dayFile)
	held, proposed := entry(t, "2026-11-28T09:00:00"), entry(t, "2026-11-28T12:00:00")
	if n := testing.AllocsPerRun(100, func() {
		for range 10 {
			if c.Decide(held, false).Outcome != Held {
				t.Fatal("not held")
			}
		}
	}); n != 0 {
		t.Errorf("ten held decisions allocate %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if c.Decide(proposed, false).Outcome != Propose {
			t.Fatal("not proposed")
		}
	}); n > 4 { // the texts of the key
		t.Errorf("a proposal allocates %v times", n)
	}
}

func TestDecisionJSON(t *testing.T) {
	c := mustParse(t, dayFile)
	d := c.Decide(entry(t, "2026-11-28T12:00:00"), false)
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"campaign":"day","fence":"k01","outcome":"propose","reason":"eligible","claim":{"subject":"p:u1","period":"2026-11-28"},` +
		`"period_ends":"2026-11-28T22:00:00Z","expires_at":"2026-11-28T10:15:00Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	full := c.Decide(entry(t, "2026-11-28T12:00:00"), true)
	body, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var back Decision
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if back.Key != full.Key || !reflect.DeepEqual(back.Checks, full.Checks) || !back.ExpiresAt.Equal(full.ExpiresAt) || !back.PeriodEnds.Equal(full.PeriodEnds) {
		t.Errorf("read back %+v, want %+v", back, full)
	}
	h := c.Decide(entry(t, "2026-11-28T09:00:00"), false)
	if got := h.String(); got != "day: held (not_started)" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkDecide(b *testing.B) {
	c := mustParse(b, dayFile)
	for name, wall := range map[string]string{"held": "2026-11-28T09:00:00", "proposed": "2026-11-28T12:00:00"} {
		for _, explain := range []bool{false, true} {
			b.Run(fmt.Sprintf("outcome=%s/explain=%v", name, explain), func(b *testing.B) {
				in := entry(b, wall)
				b.ReportAllocs()
				for b.Loop() {
					if c.Decide(in, explain).Campaign == "" {
						b.Fatal("no decision")
					}
				}
			})
		}
	}
}

// TestTTLOfTemplate: the template of the person's variant says how long the push is worth showing, also for one that waits
// for an opening; a template without a ttl leaves the push's.
func TestTTLOfTemplate(t *testing.T) {
	c := mustParse(t, headPart+triggerPart+"window: {hours: \"10:00-21:00\", closed: hold}\n"+
		"steps: [{push: {ttl: 20m, variants: {A: {share: 50%, template: {ttl: 1h, locales: {en: {body: a}}}}, B: {share: 50%, template: {locales: {en: {body: b}}}}}}}]\n")
	want := map[string]time.Duration{"A": time.Hour, "B": 20 * time.Minute}
	seen := map[string]int{}
	for i := range 40 {
		in := entry(t, "2026-11-28T12:00:00")
		in.Profile.Person = fmt.Sprint("u", i)
		d := c.Decide(in, false)
		seen[d.Variant]++
		if got := d.ExpiresAt.Sub(time.UnixMilli(in.Tr.At)); got != want[d.Variant] {
			t.Errorf("%s: variant %s is worth showing for %s, want %s", in.Profile.Person, d.Variant, got, want[d.Variant])
		}
		in = entry(t, "2026-11-28T09:30:00")
		in.Profile.Person = fmt.Sprint("u", i)
		if d := c.Decide(in, false); d.ExpiresAt.Sub(d.SendAt) != want[d.Variant] {
			t.Errorf("%s: held for variant %s until %s after it opens", in.Profile.Person, d.Variant, d.ExpiresAt.Sub(d.SendAt))
		}
	}
	if seen["A"] == 0 || seen["B"] == 0 {
		t.Errorf("variants %v", seen)
	}
}
