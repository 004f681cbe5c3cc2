package audience

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"footfall/internal/dice"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestMerge(t *testing.T) {
	full := Profile{
		Device: "shop.d1", Person: "u1", Platform: "ios", Token: "tok1", Env: "prod", Locale: "uk-UA", Zone: "Europe/Kyiv",
		Tags:            map[string]any{"loyalty": "gold", "visits": 3.0, "vip": true, "groups": []string{"a", "b"}},
		ConsentLocation: new(true), ConsentPush: new(true), SDK: "1.2", OS: "26.1", TokenAt: 100, UpdatedAt: 100,
	}
	change := func(f func(p *Profile)) Profile {
		p := full
		p.Tags = maps.Clone(full.Tags)
		p.UpdatedAt = 200
		f(&p)
		return p
	}
	for _, tt := range []struct {
		name, patch string
		want        Profile
		report      Merged
	}{
		{"nothing", `{}`, change(func(p *Profile) {}), Merged{}},
		{"sign out", `{"user":null}`, change(func(p *Profile) { p.Person = "" }), Merged{Changed: true}},
		{"the same again", `{"user":"u1","locale":"uk_UA"}`, change(func(p *Profile) {}), Merged{}},
		{"new token", `{"token":"tok2"}`, change(func(p *Profile) { p.Token, p.TokenAt = "tok2", 200 }), Merged{Changed: true, TokenChanged: true}},
		{"token removed", `{"token":null}`, change(func(p *Profile) { p.Token, p.TokenAt = "", 200 }), Merged{Changed: true, TokenChanged: true}},
		{"tags merge", `{"tags":{"loyalty":null,"visits":4,"city":"Київ","groups":["c"]}}`, change(func(p *Profile) {
			delete(p.Tags, "loyalty")
			p.Tags["visits"], p.Tags["city"], p.Tags["groups"] = 4.0, "Київ", []string{"c"}
		}), Merged{Changed: true}},
		{"all tags gone", `{"tags":null}`, change(func(p *Profile) { p.Tags = nil }), Merged{Changed: true}},
		{"the last tags gone", `{"tags":{"loyalty":null,"visits":null,"vip":null,"groups":null,"absent":null}}`, change(func(p *Profile) { p.Tags = nil }), Merged{Changed: true}},
		{"consent merges", `{"consent":{"push":false}}`, change(func(p *Profile) { p.ConsentPush = new(false) }), Merged{Changed: true}},
		{"consent taken back", `{"consent":{"push":null}}`, change(func(p *Profile) { p.ConsentPush = nil }), Merged{Changed: true}},
		{"no consent said", `{"consent":null}`, change(func(p *Profile) { p.ConsentPush, p.ConsentLocation = nil, nil }), Merged{Changed: true}},
		{"locale in canonical form", `{"locale":"EN_us"}`, change(func(p *Profile) { p.Locale = "en-US" }), Merged{Changed: true}},
		{"unknown fields", `{"color":"red","consent":{"sms":true},"os":"27"}`, change(func(p *Profile) { p.OS = "27" }), Merged{Changed: true, Unknown: []string{"color", "consent.sms"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := change(func(p *Profile) { p.UpdatedAt = 100 })
			got, err := p.Apply([]byte(tt.patch), 200)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, p); diff != "" {
				t.Errorf("profile (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.report, got, cmpopts.IgnoreUnexported(Merged{})); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMergeToken: apps send their token at every start. That must not revive a
// token that the provider has refused; only another one does.
func TestMergeToken(t *testing.T) {
	p := Profile{Device: "shop.d1", Platform: "ios", Token: "tok1", TokenAt: 100, TokenDead: true}
	if err := p.Merge([]byte(`{"token":"tok1"}`), 200); err != nil || !p.TokenDead || p.TokenAt != 100 || p.Reachable() {
		t.Errorf("the same token: %+v, %v", p, err)
	}
	if err := p.Merge([]byte(`{"token":"tok2"}`), 300); err != nil || p.TokenDead || p.TokenAt != 300 || !p.Reachable() {
		t.Errorf("a new token: %+v, %v", p, err)
	}
}

func TestMergeRefuses(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct{ name, patch, field, says string }{
		{"no JSON", `{"user":`, "", "not valid JSON at byte 8"},
		{"empty", ``, "", "not valid JSON"},
		{"a list", `[]`, "", "not a JSON object"},
		{"null", `null`, "", "null"},
		{"not UTF-8", "{\"user\":\"\xff\"}", "", "not valid UTF-8"},
		{"too long", `{"x":"` + strings.Repeat("x", MaxPatchBytes) + `"}`, "", "at most 16384 bytes"},
		{"user is a number", `{"user":7}`, "user", "not a string"},
		{"user is empty", `{"user":""}`, "user", "empty"},
		{"user with a control character", `{"user":"a\u0000b"}`, "user", "control characters"},
		{"user too long", `{"user":"` + long + `"}`, "user", "1 to 128 bytes"},
		{"platform", `{"platform":"iOS"}`, "platform", `not allowed: "iOS"; allowed: ios, android, web or hms`},
		{"env", `{"env":"test"}`, "env", "prod or sandbox"},
		{"token with a space", `{"token":"a b"}`, "token", "without spaces"},
		{"token too long", `{"token":"` + long + `"}`, "token", "5000 bytes"},
		{"locale", `{"locale":"english, please"}`, "locale", "uk-UA"},
		{"locale und", `{"locale":"und"}`, "locale", "uk-UA"},
		{"zone", `{"zone":"Kyiv"}`, "zone", "Europe/Kyiv"},
		{"zone Local", `{"zone":"Local"}`, "zone", "Europe/Kyiv"},
		{"zone as a path", `{"zone":"../../etc/passwd"}`, "zone", "Europe/Kyiv"},
		{"tags is a list", `{"tags":[]}`, "tags", "not an object"},
		{"tag is an object", `{"tags":{"a":{}}}`, "tags.a", "an object"},
		{"tag is a list of numbers", `{"tags":{"a":["x",1]}}`, "tags.a", "item 1 of the list is not text"},
		{"tag is a long list", `{"tags":{"a":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 65), ",") + `]}}`, "tags.a", "a list of 65 items"},
		{"tag is long", `{"tags":{"a":"` + long + `"}}`, "tags.a", "a text of 5000 bytes"},
		{"tag out of range", `{"tags":{"a":1e400}}`, "tags.a", "out of range"},
		{"tag without a name", `{"tags":{"":1}}`, `tags.""`, "not a tag name"},
		{"tag with a long name", `{"tags":{"` + long[:65] + `":1}}`, `tags."` + long[:40] + `…"`, "not a tag name"},
		{"consent is a boolean", `{"consent":true}`, "consent", "not an object"},
		{"consent is a text", `{"consent":{"push":"yes"}}`, "consent.push", "true, false or null"},
		{"sdk is an object", `{"sdk":{}}`, "sdk", "not a string"},
		{"os is empty", `{"os":""}`, "os", "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Profile{Device: "shop.d1", Token: "tok", Tags: map[string]any{"kept": true}, UpdatedAt: 5}
			before := Profile{Device: "shop.d1", Token: "tok", Tags: map[string]any{"kept": true}, UpdatedAt: 5}
			err := p.Merge([]byte(tt.patch), 9)
			if !errors.Is(err, ErrPatch) {
				t.Fatalf("got %v", err)
			}
			var fe *FieldError
			if !errors.As(err, &fe) || fe.Field != tt.field || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("field %q: %v; want field %q and %q", fe.Field, err, tt.field, tt.says)
			}
			if diff := cmp.Diff(before, p); diff != "" {
				t.Errorf("a refused update changed the profile:\n%s", diff)
			}
			if strings.HasPrefix(tt.field, "token") && strings.Contains(err.Error(), "a b") {
				t.Error("the error shows the token")
			}
			if _, cerr := Check([]byte(tt.patch)); cerr == nil || cerr.Error() != err.Error() {
				t.Errorf("Check says %v", cerr)
			}
		})
	}

	// All faults come at once, in a fixed order, and nothing of the good part is kept.
	p := Profile{Device: "shop.d1"}
	err := p.Merge([]byte(`{"zone":"x","user":"fine","env":"x","platform":"x"}`), 1)
	want := `env: not allowed: "x"; allowed: prod or sandbox
platform: not allowed: "x"; allowed: ios, android, web or hms
zone: not allowed: "x"; allowed: an IANA time zone such as Europe/Kyiv`
	if err == nil || err.Error() != want || p.Person != "" {
		t.Errorf("got %v, person %q", err, p.Person)
	}
}

func TestMergeTagLimits(t *testing.T) {
	p := Profile{Device: "shop.d1"}
	for i := range MaxTags {
		if err := p.Merge(fmt.Appendf(nil, `{"tags":{"t%d":1}}`, i), 1); err != nil {
			t.Fatal(err)
		}
	}
	more := []byte(`{"tags":{"one more":1}}`)
	if err := p.Merge(more, 1); err == nil || !strings.Contains(err.Error(), "257 tags") {
		t.Errorf("got %v", err)
	}
	if _, err := Check(more); err != nil {
		t.Errorf("Check knows no profile, but says %v", err)
	}
	if err := p.Merge([]byte(`{"tags":{"t0":null,"one more":1}}`), 1); err != nil {
		t.Errorf("replacing a tag at the limit: %v", err)
	}
	q := Profile{Device: "shop.d1"}
	var err error
	for i := 0; err == nil && i < MaxTags; i++ {
		err = q.Merge(fmt.Appendf(nil, `{"tags":{"t%d":%q}}`, i, strings.Repeat("x", MaxTagBytes)), 1)
	}
	if err == nil || !strings.Contains(err.Error(), "bytes") || len(q.Tags) != 63 {
		t.Errorf("after %d tags: %v", len(q.Tags), err)
	}
}

func TestSubjectAndConsent(t *testing.T) {
	if got := (&Profile{Device: "shop.d1"}).Subject(); got != "d:shop.d1" {
		t.Error(got)
	}
	if got := (&Profile{Device: "shop.d1", Person: "u1"}).Subject(); got != "p:u1" {
		t.Error(got)
	}
	for _, tt := range []struct {
		location, push *bool
		want           bool
	}{
		{nil, nil, true}, {new(true), nil, true}, {nil, new(true), true}, {new(true), new(true), true},
		{nil, new(false), false}, {new(true), new(false), false}, {new(false), new(false), false},
		{new(false), nil, true}, {new(false), new(true), true}, // of positions, and no matter of what else is sent
	} {
		p := Profile{ConsentLocation: tt.location, ConsentPush: tt.push}
		if got := p.MayPush(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestLogHidesPersonalData(t *testing.T) {
	p := Profile{Device: "shop.d1", Person: "olena", Token: "secret", Tags: map[string]any{"name": "Olena"}}
	if s := p.LogValue().String(); strings.Contains(s, "olena") || strings.Contains(s, "secret") || strings.Contains(s, "Olena") || !strings.Contains(s, "shop.d1") {
		t.Error(s)
	}
}

// mergePatch is RFC 7396, section 2, as it is written there.
func mergePatch(target, patch any) any {
	pm, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	tm, ok := target.(map[string]any)
	if !ok {
		tm = map[string]any{}
	}
	for k, v := range pm {
		if v == nil {
			delete(tm, k)
			continue
		}
		tm[k] = mergePatch(tm[k], v)
	}
	return tm
}

// view is the profile as the document that the updates build.
func view(p *Profile) map[string]any {
	doc := map[string]any{}
	set := func(k, v string) {
		if v != "" {
			doc[k] = v
		}
	}
	set("user", p.Person)
	set("platform", p.Platform)
	set("token", p.Token)
	set("env", p.Env)
	set("locale", p.Locale)
	set("zone", p.Zone)
	set("sdk", p.SDK)
	set("os", p.OS)
	if len(p.Tags) > 0 {
		doc["tags"] = p.Tags
	}
	consent := map[string]any{}
	if p.ConsentLocation != nil {
		consent["location"] = *p.ConsentLocation
	}
	if p.ConsentPush != nil {
		consent["push"] = *p.ConsentPush
	}
	if len(consent) > 0 {
		doc["consent"] = consent
	}
	return doc
}

// TestMergeAgainstModel: a random run of updates leaves what RFC 7396 leaves of
// plain maps, and the token's bookkeeping follows its changes; each profile
// survives its stored form.
func TestMergeAgainstModel(t *testing.T) {
	seed := dice.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 5))
	one := func(vs ...any) any { return vs[rnd.IntN(len(vs))] }
	for range 300 {
		p := Profile{Device: "shop.d1"}
		model := map[string]any{}
		var tokenAt, at int64
		dead := false
		for range 30 {
			at += rnd.Int64N(1000)
			patch := map[string]any{}
			maybe := func(k string, vs ...any) {
				if rnd.IntN(4) == 0 {
					patch[k] = one(append(vs, nil)...)
				}
			}
			maybe("user", "u1", "u2")
			maybe("platform", "ios", "android", "web", "hms")
			maybe("token", "t1", "t2", "t3")
			maybe("env", "prod", "sandbox")
			maybe("locale", "uk-UA", "en")
			maybe("zone", "Europe/Kyiv", "Asia/Tashkent")
			maybe("sdk", "1", "2")
			maybe("os", "26")
			maybe("consent", map[string]any{"push": one(true, false, nil)}, map[string]any{"location": one(true, false, nil), "push": one(true, nil)}, map[string]any{})
			tags := map[string]any{}
			for _, name := range []string{"a", "b", "імʼя"} {
				if rnd.IntN(2) == 0 {
					tags[name] = one("x", "", 1.5, -3.0, true, false, nil, []any{}, []any{"l", "m"})
				}
			}
			maybe("tags", tags, tags, tags)
			body, err := json.Marshal(patch)
			if err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(5) == 0 {
				p.TokenDead, dead = true, true
			}
			oldToken, _ := model["token"].(string)
			model = mergePatch(model, decodeJSON(t, body)).(map[string]any)
			if newToken, _ := model["token"].(string); newToken != oldToken {
				tokenAt, dead = at, false
			}
			if err := p.Merge(body, at); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			// An empty object and no object are the same profile.
			for _, k := range []string{"tags", "consent"} {
				if m, ok := model[k].(map[string]any); ok && len(m) == 0 {
					delete(model, k)
				}
			}
			viewJSON, err := json.Marshal(view(&p))
			if err != nil {
				t.Fatal(err)
			}
			if got := decodeJSON(t, viewJSON); !reflect.DeepEqual(got, any(model)) {
				t.Fatalf("after %s:\n%s", body, cmp.Diff(any(model), got))
			}
			if p.TokenAt != tokenAt || p.TokenDead != dead || p.UpdatedAt != at {
				t.Fatalf("after %s: token at %d dead %v updated %d; want %d %v %d", body, p.TokenAt, p.TokenDead, p.UpdatedAt, tokenAt, dead, at)
			}
			row, err := encode(&p)
			if err != nil {
				t.Fatal(err)
			}
			back, err := decode(p.Device, row)
			if err != nil || !reflect.DeepEqual(back, p) {
				t.Fatalf("stored and read: %v\n%s", err, cmp.Diff(p, back))
			}
		}
	}
}

func decodeJSON(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func FuzzMerge(f *testing.F) {
	for _, s := range []string{
		`{"user":"u1","platform":"ios","token":"t","env":"prod","locale":"uk-UA","zone":"Europe/Kyiv","tags":{"a":1,"b":["c"],"d":null},"consent":{"location":true,"push":false},"sdk":"1","os":"26"}`,
		`{"tags":{"a":1e308,"b":-0}}`, `{"user":null,"tags":null,"consent":null}`, `{"locale":"en_US_POSIX"}`, `{"locale":"x-private"}`, `{"a":{"b":[{}]}}`, `[]`, `nul`, "{\"user\":\"\u2028\"}",
	} {
		f.Add([]byte(s), []byte(`{"tags":{"z":"y"}}`))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		p := Profile{Device: "shop.d1"}
		for i, patch := range [][]byte{first, second} {
			before := p
			before.Tags = maps.Clone(p.Tags)
			m, err := p.Apply(patch, int64(i+1))
			if err != nil {
				if !errors.Is(err, ErrPatch) || !reflect.DeepEqual(before, p) {
					t.Fatalf("refused with %v, and the profile went from %+v to %+v", err, before, p)
				}
				continue
			}
			if m.TokenChanged != (before.Token != p.Token) {
				t.Fatalf("report %+v", m)
			}
			row, err := encode(&p)
			if err != nil {
				t.Fatal(err)
			}
			back, err := decode(p.Device, row)
			if err != nil || !reflect.DeepEqual(back, p) {
				t.Fatalf("stored and read: %v\n%s", err, cmp.Diff(p, back))
			}
			again := p
			again.Tags = maps.Clone(p.Tags)
			if m, err := again.Apply(patch, int64(i+1)); err != nil || m.Changed || !reflect.DeepEqual(again, p) {
				t.Fatalf("the same update again: %v, changed %v\n%s", err, m.Changed, cmp.Diff(p, again))
			}
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	patch := []byte(`{"user":"u1","platform":"ios","token":"0123456789abcdef0123456789abcdef","locale":"uk-UA","zone":"Europe/Kyiv","tags":{"loyalty":"gold","visits":3},"consent":{"location":true,"push":true}}`)
	p := Profile{Device: "shop.d1"}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Merge(patch, 1); err != nil {
			b.Fatal(err)
		}
	}
}
