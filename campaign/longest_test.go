package campaign

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"footfall/fences"
	"footfall/internal/cputime"
)

// longTemplates use what templates may: every way in which a value gets longer or shorter, and conditions.
var longTemplates = []string{
	`Вітаємо, {{ tags.name }} & <друзі>!`,
	`{% if tags.vip %}{{ tags.name | upcase }}{% elsif tags.b %}x{% else %}{{ tags.b | escape }}"\{% endif %}`,
	`{% unless tags.vip %}short{% else %}{{ tags.name }}{{ tags.b | url_encode }}{% endunless %}`,
	`{% case tags.b %}{% when "x" %}one{% when 1, 2 %}{{ tags.name }}{% else %}{{ tags.name | append: tags.b }}{% endcase %}`,
	`{% assign n = "a" %}{% if tags.vip %}{% assign n = tags.name | append: tags.b %}{% endif %}{{ n }}/{{ n | truncate: 12, "..." }}`,
	`{% assign n = tags.b %}{% assign n = n | append: n %}{{ n }}`,
	`{{ tags.name | replace: "a", "<&>" | capitalize }} {{ "a-b" | replace: "-", "+" }} {{ tags.b | replace_first: "😀", "&&&&&&&&" }}`,
	`{{ tags.none | default: tags.name }} {{ tags.name | slice: 1, 7 }} {{ tags.b | truncatewords: 2 }}`,
	`{{ tags.list | join: " & " }} {{ tags.name | split: "x" | first }} {{ tags.name | split: "x" | join: "<>" }}`,
	`{{ event.distance_m | divided_by: 7.0 }} {{ tags.n | times: 1000 | round }} {{ tags.name | size }} {{ tags.name.size }}`,
	`{{ now | date: "%A %d. %B %Y, %H:%M" }} {{ event.at }} {{ tags.n | pluralize: "крок", "кроки", "кроків" }}`,
	`{{ fence.name }} {{ fence.id }} {{ store.id }} {{ fence.props.slogan | downcase }} {{ fence.tags | join: ", " }} {{ store.zone }}`,
	`{{ device.id }} {{ device.os }} {{ person.id | escape }} {{ campaign.name }} {{ campaign.variant }} {{ message.id }}`,
	`{{ tags["odd name"] | prepend: "~" | strip_html | remove: "x" | strip }}{% comment %}{{ tags.name }}{% endcomment %}`,
	`{%- if tags.vip and tags.n > 3 -%} {{ tags.name }} {%- endif -%}`,
	`{{ event.kind }} {{ event.initial }} {{ "it's \"so\"" }} {{ 12.50 }} {{ true }}`,
}

const longNameChars = 30

func longCampaign(t *testing.T, text string) *Campaign {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, fmt.Sprintf(`campaign: long
trigger: {enter: {fences: {tag: kyiv}}}
window: {to: never}
steps:
  - push:
      ttl: 15m
      variants: {A: 50%%, longer-name: 50%%}
      template:
        max: {tags.name: %d, tags.list: 50, "tags.odd name": 9, person.id: 20}
        data: {d: %s}
        locales: {en: {title: "T", body: %s}}
`, longNameChars, quoted, quoted))
}

func longFences(t *testing.T) *fences.Set {
	t.Helper()
	feature := func(id, name, slogan, tags string) string {
		return fmt.Sprintf(`{"type":"Feature","id":%q,"geometry":{"type":"Point","coordinates":[30.5,50.4]},"properties":{"radius":200,"name":%q,"slogan":%q,"tags":[%s],"store":"s-%s","zone":"Europe/Kyiv"}}`, id, name, slogan, tags, id)
	}
	fs, findings := fences.Parse("long.geojson", []byte(`{"type":"FeatureCollection","features":[`+strings.Join([]string{
		feature("k1", "Хрещатик & <18>", "ЙЙЙ", `"kyiv"`), feature("k2", strings.Repeat("n", 60), `"""""`, `"kyiv","big"`),
		feature("elsewhere-and-not-asked", strings.Repeat("&", 200), "", `"lviv"`)}, ",")+`]}`), fences.Options{})
	set, err := fences.NewSet(fs, nil)
	if err != nil || len(fs) != 3 {
		t.Fatal(findings, err)
	}
	return set
}

// measures are those of the payloads: what counts characters by their bytes, and by their JSON in its forms.
var measures = []func(*Content) int{
	func(c *Content) int { return len(c.Title) + len(c.Body) + len(c.Data["d"]) },
	func(c *Content) int {
		return len(jsonText(c.Title, true)) + len(jsonText(c.Body, true)) + len(jsonText(c.Data["d"], true))
	},
	func(c *Content) int {
		data, _ := json.Marshal(c.Data)
		return len(c.Body)*2 + len(jsonText(string(data), false))
	},
	func(c *Content) int {
		return len(jsonText(c.Body, false)) + len(jsonText(jsonText(c.Data["d"], false), false))
	},
}

// TestNoPushIsLonger fills templates with values of all kinds and lengths, of which none comes to more than Longest says, by
// whatever is measured; and it is not much more than what is reached.
func TestNoPushIsLonger(t *testing.T) {
	set := longFences(t)
	places := NewPlaces(set)
	random := rand.New(rand.NewPCG(1, 18))
	alphabet := []string{"a", "x", "&", "<", `"`, `\`, "\x01", "\n", "ї", "ß", "Ⱥ", "😀", "\u2028", " ", "'", "-"}
	value := func(bytes int) string {
		var b strings.Builder
		one := alphabet[random.IntN(len(alphabet))]
		mixed := random.IntN(2) == 0
		for n := random.IntN(bytes + 1); b.Len() < n; {
			if mixed {
				one = alphabet[random.IntN(len(alphabet))]
			}
			if b.Len()+len(one) > bytes {
				break
			}
			b.WriteString(one)
		}
		return b.String()
	}
	for _, text := range longTemplates {
		c := longCampaign(t, text)
		bounds := make([]Longest, len(measures))
		reached := make([]int, len(measures))
		for i, m := range measures {
			bounds[i] = c.Longest("ios", places, m, func(int) bool { return true })[0]
		}
		filled := 0
		for range 400 {
			in := entry(t, "2026-11-28T12:00:00")
			in.Tr.Fence = set.At(int32(random.IntN(2)))
			in.Tr.FenceID = in.Tr.Fence.ID
			list := make([]string, random.IntN(8))
			for i := range list {
				list[i] = value(20)
			}
			in.Profile.Tags = map[string]any{"name": value(512), "b": value(512), "list": list, "n": random.NormFloat64() * 1e6, "odd name": value(100)}
			if random.IntN(2) == 0 {
				in.Profile.Tags["vip"] = true
			}
			in.Profile.Person, in.Profile.OS, in.Profile.Platform = value(128), value(64), "ios"
			rc := NewContext(c, in, in.Now.Add(time.Duration(random.IntN(400))*24*time.Hour))
			rc.SetVariant([]string{"A", "longer-name"}[random.IntN(2)])
			rc.Message = map[string]any{"id": "7f0c2f0e-56a6-5d7e-9a3e-0f6d9f1f2b11", "code": "K7QF3XN2PA"}
			content, err := c.Render("en", rc)
			if err != nil {
				continue // over a kilobyte, or not a number
			}
			filled++
			for i, m := range measures {
				n := m(&content)
				if reached[i] = max(reached[i], n); n > bounds[i].Size {
					t.Fatalf("%s: measure %d: %d, at most %d\nfilled:  %q\nlongest: %q", text, i, n, bounds[i].Size, content.Body, bounds[i].Content.Body)
				}
			}
		}
		if filled < 40 {
			t.Errorf("%s: only %d could be filled", text, filled)
		}
		t.Logf("%-60.60s reached %v of %d %d %d %d", text, reached, bounds[0].Size, bounds[1].Size, bounds[2].Size, bounds[3].Size)
	}
}

// TestLongestToTheByte: where everything is known, what is said is what can be, and it says which values make it so.
func TestLongestToTheByte(t *testing.T) {
	size := func(c *Content) int { return len(jsonText(c.Body, true)) }
	always := func(int) bool { return true }
	places := NewPlaces(longFences(t))
	for _, tt := range []struct {
		text string
		want int // of the JSON text, without quotes
	}{
		{"abc", 3},
		{"{{ tags.name }}", longNameChars * 6}, // as many ampersands
		{"{{ tags.name | default: 'x' }}", longNameChars * 6},
		{"{% assign n = tags.name %}{% if tags.vip %}{% assign n = 'x' %}{% endif %}{{ n }}", longNameChars * 6}, // it is not vip
		{"{% if tags.vip %}1234{% else %}&{% endif %}", 6},                                                       // the dearer, not the longer
		{"{% if tags.vip %}1234{% endif %}{{ tags.name | slice: 0, 2 }}", 16},                                    // with an if
		{"{{ fence.name }}", 60},                                // of k2, in bytes and in what they cost
		{"{{ tags.name | url_encode }}", longNameChars * 4 * 3}, // %F0%9F%98%80
		{"{% assign x = tags.name %}{{ x }}{{ x }}", longNameChars * 12},
		{"{{ tags.other }}", 512 * 6}, // a tag's own limit
		{"{{ fence.id }}", 2}, {"{{ now | date: '%H:%M' }}", 5}, {"{{ campaign.variant }}", len("longer-name")},
	} {
		if got := longCampaign(t, tt.text).Longest("ios", places, size, always)[0]; got.Size-2 != tt.want {
			t.Errorf("%s: %d, want %d (%q)", tt.text, got.Size-2, tt.want, got.Content.Body)
		}
	}
	l := longCampaign(t, "{{ fence.name }} {{ tags.other }} {{ tags.name }}").Longest("ios", places, size, always)[0]
	var got []string
	for _, v := range l.Values {
		got = append(got, fmt.Sprint(v.Path, " ", v.Adds, " ", v.Most, " ", v.Unbounded))
	}
	want := []string{"tags.other 3072 a tag may have 512 bytes true", "tags.name 180 max is 30 false", "fence.name 60 60 bytes in fence k2 false"}
	if !slices.Equal(got, want) {
		t.Errorf("because of %q, want %q", got, want)
	}
	if l := longCampaign(t, "{{ tags.other }}{{ tags.more }}x").Longest("ios", places, size, always)[0]; !slices.Equal(l.Over, []string{"body", "data.d"}) {
		t.Errorf("over a kilobyte: %v", l.Over)
	}
}

// TestLongestIsFound: values made of each other do not make a check long.
func TestLongestIsFound(t *testing.T) {
	for _, step := range []string{
		// The sample that it is loaded with is not zz.
		`{% if tags.b == "zz" %}{% assign x = x | append: x %}{% endif %}`,
		`{% if tags.b %}{% assign x = x | upcase %}{% endif %}`,
		`{% if tags.b == "zz" %}{% assign x = x | append: x | escape %}{% endif %}`,
		`{% if tags.b == "zz" %}{% assign x = x | append: "" %}{% endif %}`,
	} {
		c := longCampaign(t, `{% assign x = tags.b | slice: 0, 1 %}`+strings.Repeat(step, 1900/len(step))+`{{ x }}`)
		begun := cputime.Used()
		l := c.Longest("ios", NewPlaces(nil), measures[1], func(int) bool { return true })[0]
		if took := cputime.Used() - begun; took > 10*time.Second { // it would take years
			t.Errorf("%s: %v", step, took)
		}
		if len(l.Content.Body) > maxOutputBytes || !utf8.ValidString(l.Content.Body) {
			t.Errorf("%s: %d bytes", step, len(l.Content.Body))
		}
	}
}

// TestMaxCuts: a value with a maximum is cut to it when the push is filled, and nothing else sees that.
func TestMaxCuts(t *testing.T) {
	c := longCampaign(t, `{{ tags.name }}|{{ person.tags.name }}|{{ tags.list | join: "," }}|{{ tags["odd name"] }}|{{ tags.free }}`)
	in := entry(t, "2026-11-28T12:00:00")
	long := strings.Repeat("ї", 31)
	in.Profile.Tags = map[string]any{"name": long, "list": []string{strings.Repeat("a", 30), strings.Repeat("b", 20), "c"}, "odd name": "123456789", "free": long}
	rc := NewContext(c, in, in.Now)
	content, err := c.Render("en", rc)
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.Repeat("ї", 29) + "…"
	if want := cut + "|" + cut + "|" + strings.Repeat("a", 30) + "," + strings.Repeat("b", 20) + "|123456789|" + long; content.Body != want {
		t.Errorf("got  %s\nwant %s", content.Body, want)
	}
	if in.Profile.Tags["name"] != long || rc.Person["tags"].(map[string]any)["name"] != long {
		t.Error("the person's own tag was cut")
	}
}
