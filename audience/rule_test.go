package audience

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
)

// olena is a person with some of everything.
func olena(now time.Time) Person {
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	const day = 24 * time.Hour
	return Person{
		Profile: &Profile{
			Device: "shop.d1", Person: "u1", Platform: "ios", Locale: "uk-UA", Zone: "Europe/Kyiv", OS: "26.1", SDK: "1.4",
			Tags: map[string]any{"loyalty": "gold", "age": 42.0, "vip": true, "groups": []string{"press", "vip"}, "app_version": "2.10.1", "birthday": "1984-03-05"},
		},
		Events: []Event{
			{Name: "view", At: ago(80 * day), Props: map[string]any{"category": "phones"}},
			{Name: "purchase", At: ago(40 * day), Props: map[string]any{"category": "phones", "total": 900.0, "gift": false}},
			{Name: "purchase", At: ago(10 * day), Props: map[string]any{"category": "cases", "total": 15.0, "gift": true}},
		},
		Visits: []Visit{
			{Device: "shop.d1", Fence: "k01", Tags: []string{"kyiv"}, At: ago(20 * day), Until: ago(20*day - 10*time.Minute)},
			{Device: "shop.d1", Fence: "l01", Tags: []string{"lviv"}, At: ago(3 * day), Until: ago(3*day - 2*time.Minute)},
			{Device: "shop.d1", Fence: "k01", Tags: []string{"kyiv"}, At: ago(30 * time.Minute)},
		},
	}
}

func TestRule(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		rule string
		want bool
	}{
		// The one in the design.
		{`tags.loyalty == "gold" && !("staff" in tags.groups)`, true},
		{`tags.loyalty == "silver"`, false},
		{`tags.loyalty != "silver"`, true},
		{`tags.loyalty in ["gold", "platinum"]`, true},
		{`"press" in tags.groups and tags.vip`, true},
		{`"loyalty" in tags`, true},
		{`not tags.vip or tags.age > 40`, true},
		{`tags.age >= 42 and tags.age <= 42 and !(tags.age < 42) and !(tags.age > 42)`, true},
		{`tags.loyalty startsWith "go" && tags.loyalty endsWith "ld" && tags.loyalty contains "ol"`, true},
		{`lower("GOLD") == tags.loyalty`, true},
		{`tags.birthday < "1990-01-01"`, true}, // dates are texts whose order is that of time
		{`any(tags.groups, # == "vip")`, true},
		// 2.10 comes after 2.9, unlike their texts.
		{`version(tags.app_version) >= version("2.9")`, true},
		{`version(tags.app_version) >= version("2.10.2")`, false},
		{`version("2.0") == version("2") and version("v2.0-beta") == version("2.0.0")`, true},
		// What is not there is neither less nor more nor equal, and not true.
		{`tags.height > 1`, false},
		{`tags.height <= 1`, false},
		{`!(tags.height > 1)`, true},
		{`tags.height == 1`, false},
		{`tags.height != 1`, true},
		{`tags.height == nil`, true},
		{`tags.student`, false},
		{`!tags.student`, true},
		{`tags.student || tags.vip`, true},
		{`tags.height > 1 or tags.vip`, true},
		{`"x" in tags.nothing`, false},
		{`tags.nothing contains "x"`, false},
		{`version(tags.nothing) < version("2")`, false},
		// Different kinds have no order.
		{`tags.loyalty > 3`, false},
		{`tags.age == "42"`, false},
		{`tags.age in ["42", 42]`, true},
		{`device.platform == "ios" and device.language == "uk" and device.app == "shop" and signed_in`, true},
		{`events("purchase") == 2 and events("view") == 1 and events("refund") == 0`, true},
		{`events("purchase", {within: "30d"}) == 1`, true},
		{`events("purchase", {where: {category: "phones"}}) == 1`, true},
		{`events("purchase", {where: {gift: true}}) == 1`, true},
		{`events("purchase", {where: {total: 900}}) == 1`, true},
		{`events("purchase", {where: {total: 900, category: "cases"}}) == 0`, true},
		{`events("purchase", {within: "30d", where: {category: "phones"}}) == 0`, true},
		{`tags.age in [41, 42]`, true},
		{`tags.age in [41, 43]`, false},
		{`events("purchase", {where: {total: {">": 15}}}) == 1`, true},
		{`events("purchase", {where: {total: {">=": 15, "<": 900}}}) == 1`, true},
		{`events("purchase", {where: {total: {"<=": tags.age}}}) == 1`, true},
		{`events("purchase", {where: {category: {"!=": "cases"}, gift: {"==": false}}}) == 1`, true},
		{`events("purchase", {where: {colour: {"!=": "red"}}}) == 2`, true}, // what is not there equals nothing
		{`events("purchase", {where: {colour: {"<": "red"}}}) == 0`, true},
		{`events("purchase", {where: {category: {"in": ["phones", "tablets"]}}}) == 1`, true},
		{`events("purchase", {where: {total: {"in": [15, 900.0]}}}) == 2`, true},
		{`events("purchase", {where: {total: {"in": [15, 16]}}}) == 1`, true},
		{`events("purchase", {where: {category: {"in": [tags.loyalty, "cases"]}}}) == 1`, true},
		{`events("purchase", {where: {category: {"contains": "hon"}}}) == 1`, true},
		{`events("purchase", {where: {total: {"<": "x"}, category: {">": 1}}}) == 0`, true}, // different kinds have no order
		{`days_since_event("purchase", {where: {total: {">": 100}}}) > 39`, true},
		{`days_since_event("purchase") >= 10 and days_since_event("purchase") < 10.1`, true},
		{`days_since_first_event("purchase") >= 40 and days_since_first_event("purchase") < 40.1`, true},
		{`days_since_event("refund") > 365`, true}, // never is long ago
		{`visits() == 3`, true},
		{`visits({tag: "kyiv"}) == 2 and visits({fence: "l01"}) == 1`, true},
		{`visits({within: "7d"}) == 2`, true},
		{`visits({stay: "5m"}) == 2`, true}, // the one that goes on has lasted half an hour
		{`days_since_visit({tag: "lviv"}) < 3.5 and days_since_visit({fence: "z"}) > 365`, true},
		{`true`, true},
	} {
		r, err := ParseRule(tt.rule)
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
			continue
		}
		got, problem := r.Match(olena(now), now.UnixMilli())
		if got != tt.want || problem != "" {
			t.Errorf("%s: %v %s", tt.rule, got, problem)
		}
		if again, _ := r.Match(olena(now), now.UnixMilli()); again != got {
			t.Errorf("%s: another answer", tt.rule)
		}
		if e, v := strings.Contains(tt.rule, "event"), strings.Contains(tt.rule, "visit"); r.NeedsEvents() != e || r.NeedsVisits() != v {
			t.Errorf("%s: needs events %v, visits %v", tt.rule, r.NeedsEvents(), r.NeedsVisits())
		}
	}
	// Somebody of whom nothing is known.
	nobody := Person{Profile: &Profile{Device: "shop.d2"}}
	for rule, want := range map[string]bool{`tags.loyalty == "gold"`: false, `events("purchase") == 0`: true, `signed_in`: false, `visits() < 1`: true} {
		r, err := ParseRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		if got, problem := r.Match(nobody, now.UnixMilli()); got != want || problem != "" {
			t.Errorf("of nobody: %s: %v %s", rule, got, problem)
		}
	}
	r, err := ParseRule(`tags.age + tags.loyalty > 3`)
	if err != nil {
		t.Fatal(err)
	}
	if got, problem := r.Match(olena(now), now.UnixMilli()); got || problem == "" {
		t.Errorf("a sum of a number and a text: %v %q", got, problem)
	}
}

// TestRuleRefuses: ¦ marks the place of the fault.
func TestRuleRefuses(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{`¦`, "unexpected token"},
		{`¦tag.loyalty == "gold"`, "unknown name tag"},
		{`tags.loyalty ==¦ `, "unexpected token"},
		{`tags.loyalty ¦= "gold"`, "equal is written =="},
		{`"Київ" == tags.city && ¦foo`, "unknown name foo"},
		{`device.¦model == "x"`, "device has no model"},
		{`¦now() > 1`, "unknown name now"},
		{`tags.x ¦matches "a+"`, "the operator matches is not used"},
		{`1¦..9 == 2`, "is not used"},
		{`events("purchase", ¦"30d") > 1`, "conditions are written"},
		{`events("purchase", {¦withn: "30d"}) > 1`, "there is no condition withn; there are within, where"},
		{`events("purchase", {within: ¦30}) > 1`, "within is a text"},
		{`events("purchase", {within: ¦"a month"}) > 1`, "within is a text"},
		{`events("purchase", {where: ¦"phones"}) > 1`, "where is a mapping"},
		{`events("purchase", {where: {total: {¦"=>": 5}}}) > 1`, `no comparison "=>"; there are ==`},
		{`events("purchase", {where: {total: {">": ¦"5"}}}) > 1`, "write the number without quotes: 5"},
		{`events("purchase", {where: {total: ¦">5"}}) > 1`, `a comparison is written {">": 5}`},
		{`events("purchase", {where: {total: ¦[5]}}) > 1`, "one of several"},
		{`events("purchase", {where: {gift: {"<": ¦true}}}) > 1`, "no order"},
		{`events("purchase", {where: {total: {"in": ¦5}}}) > 1`, "in takes a list"},
		{`events("purchase", {where: {total: {"in": ¦[]}}}) > 1`, "empty list"},
		{`events("purchase", {where: {total: ¦{}}}) > 1`, "compares with nothing"},
		{`events("purchase", {where: {total: {">": ¦{a: 1}}}}) > 1`, "not with a mapping"},
		{`visits({¦store: "k01"}) > 1`, "there is no condition store; there are within, fence, tag, stay"},
		{`¦events() > 1`, "the name of an event is missing"},
		{`¦events("purchase")`, "bool"},
		{`¦tags.age + 1 == 2 && "x"`, ""},
		{strings.Repeat("¦(", 1) + strings.Repeat("true && ", 600) + "true)", ""},
		{"¦" + strings.Repeat(" ", MaxRuleBytes+1), "at most"},
	} {
		mark := strings.Index(tt.rule, "¦")
		rule := strings.Replace(tt.rule, "¦", "", 1)
		_, err := ParseRule(rule)
		re, ok := errors.AsType[*RuleError](err)
		if !ok || !strings.Contains(re.Reason, tt.want) {
			t.Errorf("%.60s: %v, want %q", rule, err, tt.want)
			continue
		}
		if tt.want != "" && re.Offset != mark {
			t.Errorf("%.60s: at %d, want %d (%s)", rule, re.Offset, mark, re.Reason)
		}
	}
}

func FuzzRule(f *testing.F) {
	for _, s := range []string{`tags.a > 1 && !tags.b`, `events("x", {within: "1d"}) in [1, 2]`, `events("x", {where: {a: {">": tags.b, "in": [1, tags.c]}, b: {"contains": "c"}}}) > 0`, `any(tags.g, # == "v")`, `tags.a ? tags.b : version(tags.c) < version("1")`} {
		f.Add(s)
	}
	now := time.UnixMilli(1_800_000_000_000)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s)
		if err != nil {
			if re, ok := errors.AsType[*RuleError](err); !ok || re.Offset < 0 || re.Offset > len(s) {
				t.Fatalf("%q: %#v", s, err)
			}
			return
		}
		got, _ := r.Match(olena(now), now.UnixMilli())
		if again, _ := r.Match(olena(now), now.UnixMilli()); again != got {
			t.Fatalf("%q has two answers", s)
		}
	})
}

func TestEventsOf(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	d, err := db.Open(db.Config{InMemory: true, NoCompaction: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := now.UnixMilli()
	update(t, d, func(tx *db.Tx) error {
		for _, p := range []Profile{{Device: "shop.d1", Person: "u1"}, {Device: "shop.d2", Person: "u1"}, {Device: "shop.d3"}} {
			if err := Put(tx, &p); err != nil {
				return err
			}
		}
		return errors.Join(
			PutEvent(tx, "shop.d1", "a", "view", at, []byte(`{"category":"phones","n":2}`), KeepEvents),
			PutEvent(tx, "shop.d1", "a", "view", at, []byte(`{"category":"phones","n":2}`), KeepEvents), // a repeat
			PutEvent(tx, "shop.d2", "b", "view", at-1, nil, KeepEvents),
			PutEvent(tx, "shop.d3", "c", "view", at, nil, KeepEvents),
			PutEvent(tx, "shop.d1", "d", "old", at-KeepEvents.Milliseconds(), nil, KeepEvents),
			PutEvent(tx, "shop.d1", "e", "big", at+1, []byte(`{"x":"`+strings.Repeat("x", maxPropsBytes)+`"}`), KeepEvents),
		)
	})
	list := func(p *Profile) (out string) {
		t.Helper()
		if err := d.View(func(tx *db.Tx) error {
			es, err := EventsOf(tx, p)
			for _, e := range es {
				out += fmt.Sprint(e.Device, " ", e.Name, " ", e.At-at, " ", e.Props, "\n")
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := "shop.d2 view -1 map[]\nshop.d1 view 0 map[category:phones n:2]\nshop.d1 big 1 map[]\n"
	if got := list(&Profile{Device: "shop.d1", Person: "u1"}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	update(t, d, func(tx *db.Tx) error {
		for i := range maxEvents + 7 {
			if err := PutEvent(tx, "shop.d3", fmt.Sprint(i), "many", at+int64(i)+10, nil, KeepEvents); err != nil {
				return err
			}
		}
		return nil
	})
	if n := strings.Count(list(&Profile{Device: "shop.d3"}), "\n"); n != maxEvents {
		t.Errorf("%d events are read", n)
	}
	update(t, d, func(tx *db.Tx) error { return Erase(tx, "shop.d1") })
	if got := list(&Profile{Device: "shop.d1"}); got != "" {
		t.Errorf("erased, but still there: %s", got)
	}
}

func BenchmarkRule(b *testing.B) {
	now := time.UnixMilli(1_800_000_000_000)
	person := olena(now)
	for _, rule := range []string{`tags.loyalty == "gold" && !("staff" in tags.groups)`, `events("purchase", {within: "30d", where: {category: "cases"}}) >= 1 && visits({tag: "kyiv"}) >= 2`} {
		r, err := ParseRule(rule)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(map[bool]string{false: "tags", true: "history"}[r.NeedsEvents()], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, _ := r.Match(person, now.UnixMilli()); !ok {
					b.Fatal("does not fit")
				}
			}
		})
	}
}
