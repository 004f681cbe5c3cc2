package campaign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/internal/dice"
	"footfall/track"
)

// TestOncePerMatrix is the whole table of scope and period: which of the later
// entries of one person share the first one's claim. The first is a Saturday at
// 23:30 in the store k01 of the chain's north.
func TestOncePerMatrix(t *testing.T) {
	later := []struct {
		name, wall, fence, store, tag string
	}{
		{"same fence, same day", "2026-11-28T23:50:00", "k01", "s1", "north"},
		{"another door of the store", "2026-11-28T23:50:00", "k01b", "s1", "north"},
		{"another store of the group", "2026-11-28T23:50:00", "k02", "s2", "north"},
		{"a store of another group", "2026-11-28T23:50:00", "k03", "s3", "south"},
		{"same fence after midnight", "2026-11-29T00:30:00", "k01", "s1", "north"}, // 03:30 in Tashkent, 07:30 in Tokyo
		{"same fence after 24 hours", "2026-11-29T23:40:00", "k01", "s1", "north"},
	}
	// One letter per later entry: s shares the claim, . has one of its own.
	for _, tt := range []struct{ scope, once, want string }{
		{"campaign", "{day: store}", "ssss.."},
		{"campaign", `{day: store, starts: "04:00"}`, "sssss."},
		{"campaign", "{day: user}", "sssss."},
		{"campaign", "{day: campaign}", "sssss."},
		{"campaign", "{rolling: PT24H}", "ssssss"}, // one key; how long it stands is for the ledger
		{"campaign", "campaign", "ssssss"},
		{"campaign", "none", "......"},
		{"fence", "{day: store}", "s....."},
		{"fence", "{day: user}", "s...s."},
		{"fence", "{day: campaign}", "s...s."},
		{"fence", "{rolling: PT24H}", "s...ss"},
		{"fence", "campaign", "s...ss"},
		{"fence", "none", "......"},
		{"store", "{day: store}", "ss...."},
		{"store", "{day: user}", "ss..s."},
		{"store", "{day: campaign}", "ss..s."},
		{"store", "{rolling: PT24H}", "ss..ss"},
		{"store", "campaign", "ss..ss"},
		{"store", "none", "......"},
		{"{group: [north, south]}", "{day: store}", "sss..."},
		{"{group: [north, south]}", "{day: user}", "sss.s."},
		{"{group: [north, south]}", "{day: campaign}", "sss.s."},
		{"{group: [north, south]}", "{rolling: PT24H}", "sss.ss"},
		{"{group: [north, south]}", "campaign", "sss.ss"},
		{"{group: [north, south]}", "none", "......"},
	} {
		t.Run(tt.scope+" "+tt.once, func(t *testing.T) {
			c := mustParse(t, "campaign: a\nzone: Asia/Tokyo\n"+triggerPart+stepsPart+"scope: "+tt.scope+"\nonce_per: "+tt.once+"\n")
			key := func(wall, id, store, tag string) dedupe.Key {
				in := entry(t, wall)
				in.Tr.Fence = fence(t, id, 200, tag)
				in.Tr.Fence.Store, in.Tr.FenceID = fences.StoreID(store), in.Tr.Fence.ID
				d := c.Decide(in, false)
				if d.Outcome != Propose {
					t.Fatal(d.String())
				}
				return d.Key
			}
			first := key("2026-11-28T23:30:00", "k01", "s1", "north")
			var got strings.Builder
			for _, l := range later {
				if key(l.wall, l.fence, l.store, l.tag) == first {
					got.WriteByte('s')
				} else {
					got.WriteByte('.')
				}
			}
			if got.String() != tt.want {
				t.Errorf("got %s, want %s", &got, tt.want)
			}
		})
	}
}

// A fence without a store, or with none of the groups, stands for itself.
func TestScopeWithoutStoreOrGroup(t *testing.T) {
	for _, scope := range []string{"store", "{group: [south]}"} {
		c := mustParse(t, smallFile+"scope: "+scope+"\n")
		in := entry(t, "2026-11-28T12:00:00")
		in.Tr.Fence.Store = ""
		if got := c.Decide(in, false).Key.Scope; got != "k01" {
			t.Errorf("%s: %q", scope, got)
		}
	}
}

func sent(campaign string, walls ...string) []dedupe.Send {
	var list []dedupe.Send
	for _, w := range walls {
		at, err := time.ParseInLocation("2006-01-02T15:04", w, mustZone("Europe/Kyiv"))
		if err != nil {
			panic(err)
		}
		list = append(list, dedupe.Send{At: at, Campaign: campaign})
	}
	return list
}

func mustZone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

func TestCaps(t *testing.T) {
	for _, tt := range []struct {
		name, caps string
		sends      []dedupe.Send // before the entry of Saturday 2026-11-28 12:00
		capped     bool
	}{
		{"nothing sent yet", "[{max: 1, per: 7d}]", nil, false},
		{"one within the week", "[{max: 1, per: 7d}]", sent("a", "2026-11-21T12:01"), true},
		{"one exactly a week ago", "[{max: 1, per: 7d}]", sent("a", "2026-11-21T12:00"), false},
		{"one of two", "[{max: 2, per: 7d}]", sent("a", "2026-11-27T12:00"), false},
		{"two of two", "[{max: 2, per: 7d}]", sent("a", "2026-11-22T12:00", "2026-11-27T12:00"), true},
		{"another campaign's do not count", "[{max: 1, per: 7d}]", sent("b", "2026-11-27T12:00"), false},
		{"unless all count", "[{max: 1, per: 7d, of: all}]", sent("b", "2026-11-27T12:00"), true},
		{"today, at ten past midnight", "[{max: 1, per: day}]", sent("a", "2026-11-28T00:10"), true},
		{"yesterday, before midnight", "[{max: 1, per: day}]", sent("a", "2026-11-27T23:59"), false},
		{"a year ago, for ever", "[{max: 1, per: campaign}]", sent("a", "2025-11-28T12:00"), true},
		{"the second cap", "[{max: 5, per: day}, {max: 1, per: 2h}]", sent("a", "2026-11-28T11:00"), true},
		// A late entry must not make a full hour fuller.
		{"one later", "[{max: 1, per: 1h}]", sent("a", "2026-11-28T12:59"), true},
		{"one an hour later", "[{max: 1, per: 1h}]", sent("a", "2026-11-28T13:00"), false},
		{"one before and one after, an hour apart", "[{max: 2, per: 1h}]", sent("a", "2026-11-28T11:30", "2026-11-28T12:30"), false},
		{"one before and one after, within an hour", "[{max: 2, per: 1h}]", sent("a", "2026-11-28T11:31", "2026-11-28T12:30"), true},
		// The decision made again, after a crash in the middle of its ping.
		{"its own", "[{max: 1, per: 7d}]", sent("a", "2026-11-28T12:00"), false},
		{"the other campaign of the same ping", "[{max: 1, per: 7d, of: all}]", sent("b", "2026-11-28T12:00"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, smallFile+"caps: "+tt.caps+"\n")
			in := entry(t, "2026-11-28T12:00:00")
			if !c.Needs(nil).Sends {
				t.Error("does not ask for the sends")
			}
			in.Sends = tt.sends
			d := c.Decide(in, true)
			if (d.Reason == Capped) != tt.capped || (d.Outcome == Held) != tt.capped {
				t.Errorf("%s", d.String())
			}
		})
	}
}

// TestGatewayCaps: the gateway's caps count the pushes of every campaign but those of exempt ones, hold only campaigns that
// are not, and are told apart from a campaign's own.
func TestGatewayCaps(t *testing.T) {
	exempt := func(list []dedupe.Send) []dedupe.Send {
		for i := range list {
			list[i].Exempt = true
		}
		return list
	}
	for _, tt := range []struct {
		name, gateway, more string
		sends               []dedupe.Send // before the entry of Saturday 2026-11-28 12:00
		want                Reason
	}{
		{"none", "[]", "", sent("b", "2026-11-28T11:00"), Eligible},
		{"one of two", "[{max: 2, per: 7d}]", "", sent("b", "2026-11-27T12:00"), Eligible},
		{"two of two, of two campaigns", "[{max: 2, per: 7d}]", "", append(sent("b", "2026-11-27T12:00"), sent("a", "2026-11-27T13:00")...), GatewayCap},
		{"today", "[{max: 9, per: 7d}, {max: 1, per: day}]", "", sent("b", "2026-11-28T00:01"), GatewayCap},
		{"yesterday", "[{max: 1, per: day}]", "", sent("b", "2026-11-27T23:59"), Eligible},
		{"what is exempt does not count", "[{max: 1, per: day}]", "", exempt(sent("b", "2026-11-28T11:00")), Eligible},
		{"nor is it held", "[{max: 1, per: day}]", "exempt: true\n", sent("b", "2026-11-28T11:00"), Eligible},
		{"but by its own caps", "[]", "exempt: true\ncaps: [{max: 1, per: day, of: all}]\n", exempt(sent("b", "2026-11-28T11:00")), Capped},
		{"its own cap comes first", "[{max: 1, per: day}]", "caps: [{max: 1, per: day}]\n", sent("a", "2026-11-28T11:00"), Capped},
		{"the decision made again", "[{max: 1, per: day}]", "", sent("a", "2026-11-28T12:00"), Eligible},
	} {
		t.Run(tt.name, func(t *testing.T) {
			caps, err := ParseCaps(tt.gateway)
			if err != nil {
				t.Fatal(err)
			}
			c := mustParse(t, smallFile+tt.more)
			in := entry(t, "2026-11-28T12:00:00")
			in.Sends, in.Caps = tt.sends, caps
			if d := c.Decide(in, true); d.Reason != tt.want {
				t.Errorf("%s", d.String())
			}
			if needs := c.Needs(caps).Sends; needs != (len(caps) > 0 && !c.Exempt || len(c.Caps) > 0) {
				t.Errorf("asks for the sends: %v", needs)
			}
			if changes, ok := c.Changes(in); ok != (tt.want != GatewayCap || strings.Contains(strings.Join(changes, ""), "after ")) {
				t.Errorf("changes %q, %v", changes, ok)
			}
		})
	}
	for text, says := range map[string]string{
		"{max: 1}": "a list", "[{max: 0, per: day}]": "0", "[{per: day}]": "no max", "[{max: 1, per: campaign}]": "per: 7d",
		"[{max: 1, per: 32d}]": "31d", "[{max: 1, per: day, of: all}]": `"of"`, "[": "YAML", "": "not a list", "[x]": "a cap",
	} {
		if caps, err := ParseCaps(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v; want %q", text, caps, err, says)
		}
	}
}

// No stretch of the cap's length ever holds more than it allows, whatever the
// order in which entries arrive.
func TestCapsHoldForEveryStretch(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		limit, per := rng.IntN(4)+1, time.Duration(rng.IntN(300)+30)*time.Minute
		c := mustParse(t, smallFile+fmt.Sprintf("max_age: 7d\ncaps: [{max: %d, per: %dm}]\n", limit, int(per.Minutes())))
		c.Push.TTL = 8 * 24 * time.Hour
		var sends []dedupe.Send
		for range 60 {
			in := entry(t, "2026-11-28T00:00:00")
			at := in.Tr.At + rng.Int64N(2*24*60)*60_000 + int64(len(sends))
			in.Tr.At, in.Tr.ConfirmedAt, in.Tr.Fix.FixedAt, in.Now = at, at, at, time.UnixMilli(at)
			in.Sends = sends
			if d := c.Decide(in, false); d.Outcome == Propose {
				sends = append(sends, dedupe.Send{At: time.UnixMilli(at), Campaign: c.ID})
				slices.SortFunc(sends, func(a, b dedupe.Send) int { return a.At.Compare(b.At) })
			}
		}
		for i := range sends {
			n := 0
			for _, s := range sends[i:] {
				if s.At.Sub(sends[i].At) < per {
					n++
				}
			}
			if n > limit {
				t.Fatalf("seed %d: %d within %s from %s, at most %d", seed, n, per, sends[i].At, limit)
			}
		}
	}
}

func TestVisits(t *testing.T) {
	day := func(n int) int64 { return time.Date(2026, 11, 28-n, 9, 0, 0, 0, time.UTC).UnixMilli() }
	visits := func(days ...int) (list []audience.Visit) {
		for _, n := range days {
			list = append(list, audience.Visit{Device: "shop.d1", Fence: "k01", Tags: []string{"kyiv"}, At: day(n)})
		}
		return list
	}
	for _, tt := range []struct {
		name, visits string
		before       []audience.Visit
		kind         track.Kind
		want         bool
	}{
		{"the third, and it is", "3", visits(20, 3), track.Enter, true},
		{"the third, and it is the second", "3", visits(3), track.Enter, false},
		{"the third, and it is the fourth", "3", visits(20, 10, 3), track.Enter, false},
		{"the third or later", "{min: 3}", visits(20, 10, 3, 2, 1), track.Enter, true},
		{"the second to third", "{min: 2, max: 3}", visits(20, 10, 3), track.Enter, false},
		{"every second", "{every: 2}", visits(3, 2, 1), track.Enter, true},
		{"every second, and it is the third", "{every: 2}", visits(2, 1), track.Enter, false},
		{"the third within a week", "{min: 3, within: 7d}", visits(20, 3, 1), track.Enter, true},
		{"the third within a week, one too old", "{min: 3, within: 7d}", visits(20, 10, 1), track.Enter, false},
		{"first time", "1", nil, track.Enter, true},
		{"the visit itself is in the ledger already", "1", []audience.Visit{{Device: "shop.d1", Fence: "k01", Tags: []string{"kyiv"}, At: time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC).UnixMilli()}}, track.Enter, true},
		{"other fences do not count", "2", []audience.Visit{{Fence: "l01", Tags: []string{"lviv"}, At: day(1)}}, track.Enter, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, headPart+"trigger: {enter: {fences: {tag: kyiv}, visits: "+tt.visits+"}}\n"+stepsPart)
			in := entry(t, "2026-11-28T12:00:00")
			in.Tr.Kind, in.Visits = tt.kind, tt.before
			if !c.Needs(nil).Visits {
				t.Error("does not ask for the visits")
			}
			d := c.Decide(in, true)
			if (d.Outcome == Propose) != tt.want || !tt.want && d.Reason != OtherVisit {
				t.Errorf("%s: %+v", d.String(), d.Checks)
			}
		})
	}
}

// TestClosedWindow: what becomes of an entry while the window is closed.
func TestClosedWindow(t *testing.T) {
	const daily = `hours: "10:00-21:00", `
	for _, tt := range []struct {
		name, window, wall string
		want               Reason
		send               string // wall clock; "" is at once
		inside             bool
	}{
		{"open", daily + "closed: hold", "2026-11-28T12:00:00", Eligible, "", false},
		{"dropped", daily + "closed: drop", "2026-11-28T09:30:00", WindowClosed, "", false},
		{"held until it opens", daily + "closed: hold", "2026-11-28T09:30:00", Eligible, "2026-11-28T10:00:00", false},
		{"held over night", daily + "closed: hold", "2026-11-28T21:00:00", Eligible, "2026-11-29T10:00:00", false},
		{"held longer than allowed", daily + "closed: hold, hold_for: 12h", "2026-11-28T21:00:00", WindowClosed, "", false},
		{"held exactly as long as allowed", daily + "closed: hold, hold_for: 13h", "2026-11-28T21:00:00", Eligible, "2026-11-29T10:00:00", false},
		{"if still inside", daily + "closed: notify_if_inside", "2026-11-28T09:30:00", Eligible, "2026-11-28T10:00:00", true},
		{"before it begins", daily + "from: 2026-11-29T12:00, closed: hold", "2026-11-28T20:00:00", Eligible, "2026-11-29T12:00:00", false},
		{"begins later than allowed", daily + "from: 2026-12-24T12:00, closed: hold", "2026-11-28T20:00:00", NotStarted, "", false},
		{"ends before it opens again", daily + "to: 2026-11-29T09:00, closed: hold", "2026-11-28T22:00:00", WindowClosed, "", false},
		{"has ended", daily + "to: 2026-11-28T09:00, closed: hold", "2026-11-28T09:30:00", Ended, "", false},
		// The clock is put back on 25 October at 04:00: the night has an hour more.
		{"over the change of the clock", daily + "closed: hold, hold_for: 13h", "2026-10-24T21:00:00", WindowClosed, "", false},
		{"over the change of the clock, long enough", daily + "closed: hold, hold_for: 14h", "2026-10-24T21:00:00", Eligible, "2026-10-25T10:00:00", false},
		// And forward on 29 March at 03:00: half past three comes first.
		{"into the hour that is skipped", `hours: "03:30-05:00", closed: hold`, "2026-03-29T02:00:00", Eligible, "2026-03-29T04:00:00", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, smallFile+"window: {"+tt.window+"}\n")
			in := entry(t, tt.wall)
			d := c.Decide(in, true)
			if d.Reason != tt.want || d.IfInside != tt.inside {
				t.Fatalf("%s, inside %v: %+v", d.String(), d.IfInside, d.Checks)
			}
			send := ""
			if !d.SendAt.IsZero() {
				send = d.SendAt.In(mustZone("Europe/Kyiv")).Format("2006-01-02T15:04:05")
			}
			if send != tt.send {
				t.Errorf("goes out %q, want %q", send, tt.send)
			}
			if want := d.SendAt.Add(DefaultTTL); tt.send != "" && !d.ExpiresAt.Equal(want) {
				t.Errorf("expires %s, want %s", d.ExpiresAt, want)
			}
		})
	}
}

func TestQuietHours(t *testing.T) {
	for _, tt := range []struct {
		name, lines, wall string
		want              Reason
		send              string // wall clock in Kyiv
	}{
		{"not quiet", `quiet: {hours: "22:00-09:00"}`, "2026-11-28T21:59:58", Eligible, ""},
		// The position was measured a moment before and arrives in the quiet hours.
		{"quiet on arrival", `quiet: {hours: "22:00-09:00"}`, "2026-11-28T21:59:59.5", QuietHours, ""},
		{"quiet", `quiet: {hours: "22:00-09:00"}`, "2026-11-28T23:00:00", QuietHours, ""},
		{"quiet after midnight", `quiet: {hours: "22:00-09:00"}`, "2026-11-28T08:59:00", QuietHours, ""},
		{"quiet no more", `quiet: {hours: "22:00-09:00"}`, "2026-11-28T09:00:00", Eligible, ""},
		{"held to the end", `quiet: {hours: "22:00-09:00", closed: hold}`, "2026-11-28T23:00:00", Eligible, "2026-11-29T09:00"},
		// Tashkent is three hours ahead: 20:00 in Kyiv is 23:00 there.
		{"quiet for the device", `quiet: {hours: "22:00-09:00", zone: device}`, "2026-11-28T20:00:00", QuietHours, ""},
		{"held for the device", `quiet: {hours: "22:00-09:00", zone: device, closed: hold}`, "2026-11-28T20:00:00", Eligible, "2026-11-29T06:00"},
		{"the window is closed at the end", "quiet: {hours: \"22:00-09:00\", closed: hold}\nwindow: {hours: \"10:00-23:30\"}", "2026-11-28T23:00:00", QuietHours, ""},
		{"and opens later", "quiet: {hours: \"22:00-09:00\", closed: hold}\nwindow: {hours: \"10:00-23:30\", closed: hold}", "2026-11-28T23:00:00", Eligible, "2026-11-29T10:00"},
		{"the window opens into the quiet hours", "quiet: {hours: \"22:00-09:00\", closed: hold}\nwindow: {hours: \"08:00-20:00\", closed: hold}", "2026-11-28T21:00:00", Eligible, "2026-11-29T09:00"},
		{"one span after the other", `quiet: {hours: ["22:00-24:00", "00:00-07:30"], closed: hold}`, "2026-11-28T23:00:00", Eligible, "2026-11-29T07:30"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, smallFile+tt.lines+"\n")
			d := c.Decide(entry(t, tt.wall), true)
			send := ""
			if !d.SendAt.IsZero() && d.Outcome == Propose {
				send = d.SendAt.In(mustZone("Europe/Kyiv")).Format("2006-01-02T15:04")
			}
			if d.Reason != tt.want || send != tt.send {
				t.Errorf("%s, goes out %q, want %s and %q: %+v", d.String(), send, tt.want, tt.send, d.Checks)
			}
		})
	}
}

// TestLots: shares come out as they were asked for, a person stays where it is,
// the holdout grows by adding, and says nothing about the variant.
func TestLots(t *testing.T) {
	file := smallFile + "holdout: %s\n"
	ten, twenty := mustParse(t, fmt.Sprintf(file, "10%")), mustParse(t, fmt.Sprintf(file, "20%"))
	split := mustParse(t, headPart+triggerPart+"steps: [{push: {template: {locales: {en: {body: hi}}}, variants: {A: 50%, B: 30%, C: 20%}}}]\nholdout: 10%\n")
	const people = 40_000
	var n10, n20, both int
	arms, heldArms := map[string]int{}, map[string]int{}
	for i := range people {
		who := fmt.Sprintf("p:%d", i)
		a, b := ten.HeldOut(who), twenty.HeldOut(who)
		if a {
			n10++
		}
		if b {
			n20++
		}
		if a && b {
			both++
		}
		v := split.VariantFor(who).Name
		arms[v]++
		if split.HeldOut(who) {
			heldArms[v]++
		}
	}
	near := func(what string, got int, want float64) {
		t.Helper()
		// Five standard deviations of a share of at most one half.
		if diff := float64(got) - want; diff > 500 || diff < -500 {
			t.Errorf("%s: %d, want about %.0f", what, got, want)
		}
	}
	near("10%", n10, people*0.1)
	near("20%", n20, people*0.2)
	near("A", arms["A"], people*0.5)
	near("B", arms["B"], people*0.3)
	near("C", arms["C"], people*0.2)
	near("A in the holdout", heldArms["A"], people*0.05)
	if both != n10 {
		t.Errorf("%d of %d stay in the larger holdout", both, n10)
	}
	if nobody := mustParse(t, smallFile); nobody.HeldOut("p:1") || nobody.VariantFor("p:1") != nil {
		t.Error("a campaign without them draws lots")
	}
}

// Who is in which arm is stored nowhere: the same id must fall to the same arm
// after an upgrade.
func TestLotsAreStable(t *testing.T) {
	c := mustParse(t, headPart+triggerPart+"steps: [{push: {template: {locales: {en: {body: hi}}}, variants: {A: 50%, B: 50%}}}]\nholdout: 50%\n")
	var got strings.Builder
	for i := range 20 {
		who := fmt.Sprintf("p:%d", i)
		mark := c.VariantFor(who).Name
		if c.HeldOut(who) {
			mark = strings.ToLower(mark)
		}
		got.WriteString(mark)
	}
	if want := "aBaAAbbbAAABaabAAbaa"; got.String() != want {
		t.Errorf("got %s, want %s", &got, want)
	}
}

// NextOpen agrees with asking every minute, also where the clock changes.
func TestNextOpenIsTheFirstOpenMinute(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	kyiv := mustZone("Europe/Kyiv")
	around := []time.Time{ // winter, summer, and both changes of the clock
		time.Date(2026, 1, 14, 0, 0, 0, 0, kyiv), time.Date(2026, 7, 14, 0, 0, 0, 0, kyiv),
		time.Date(2026, 3, 28, 20, 0, 0, 0, kyiv), time.Date(2026, 10, 24, 20, 0, 0, 0, kyiv),
	}
	for range 400 {
		var w Window
		for range rng.IntN(3) {
			open := rng.IntN(24 * 60)
			w.Hours = append(w.Hours, Span{open, (open + 1 + rng.IntN(20*60)) % (24 * 60)})
		}
		w.Days = Days(rng.IntN(128))
		if rng.IntN(4) == 0 {
			w.To = Moment{Wall: time.Date(2026, 10, 25, 3, 30, 0, 0, time.UTC)}
		}
		from := around[rng.IntN(len(around))].Add(time.Duration(rng.IntN(14*60)) * time.Minute)
		var want time.Time
		for m := range 9 * 24 * 60 {
			if at := from.Add(time.Duration(m) * time.Minute); w.Check(at, kyiv) == "" {
				want = at
				break
			}
		}
		got, ok := w.NextOpen(from, kyiv)
		if !got.Equal(want) || ok == want.IsZero() {
			t.Fatalf("seed %d: %s from %s: got %s, want %s", seed, w.String(), from, got, want)
		}
	}
}
