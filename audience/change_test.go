package audience

import (
	"testing"
)

// TestChangeFits: what Change proposes makes the rule fit, and is no more than is needed.
func TestChangeFits(t *testing.T) {
	tags := map[string]any{"city": "Lviv", "groups": []any{"staff"}, "age": 15.0, "app_version": "2.9"}
	for _, c := range []struct{ rule, want string }{
		{`tags.city == "Kyiv"`, "tag city=Kyiv"},
		{`tags.city in ["Kyiv", "Odesa"]`, "tag city=Kyiv"},
		{`not ("staff" in tags.groups)`, "no tag groups"},
		{`"press" in tags.groups`, "tag groups with press"},
		{`tags.age >= 18`, "tag age=18"},
		{`tags.age < 10`, "tag age=9"},
		{`tags.vip`, "tag vip=true"},
		{`version(tags.app_version) >= version("2.10")`, "tag app_version=2.10"},
		{`device.platform == "ios"`, "platform ios"},
		{`tags.city == "Kyiv" and tags.age >= 18`, "tag city=Kyiv and tag age=18"},
		{`tags.city == "Lviv" and tags.loyalty == "gold"`, "tag loyalty=gold"},
		{`tags.city != "Lviv"`, "no tag city"},
		{`segment("gold")`, "tag loyalty=gold"},
		{`events("purchase") >= 2`, ""},
		{`tags.a == 1 and tags.b == 2 and tags.c == 3`, ""},
	} {
		segments, errs := NewSegments(map[string]string{"gold": `tags.loyalty == "gold"`})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		r, err := segments.Parse(c.rule)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		p := Person{Profile: &Profile{Device: "shop.d1", Platform: "android", Tags: tags}}
		if fits, _ := r.Match(p, 0); fits {
			t.Fatalf("%s fits as it is", c.rule)
		}
		got, ok := r.Change(p, 0)
		if got.Text != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, want %q", c.rule, got.Text, c.want)
		}
		if ok {
			p.Profile = &got.Profile
			if fits, why := r.Match(p, 0); !fits {
				t.Errorf("%s with %s does not fit: %s", c.rule, got.Text, why)
			}
		}
	}
	if len(tags["groups"].([]any)) != 1 || tags["city"] != "Lviv" {
		t.Error("the person's own tags were changed")
	}
}
