package campaign

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const everyKey = `campaign: all-keys
name: "Every: key # of the format"
enabled: false
paused: true
zone: Asia/Tokyo
trigger:
  enter:
    fences: {ids: ["0042", "k: 1"], tags: [kyiv, "yes"]}
    initial: false
    edits: true
    crossed: true
    min_confidence: 2
    visits: {min: 3, max: 7, every: 2, within: 30d}
window:
  from: 2026-11-28T10:00
  to: 2026-11-28T21:00+02:00
  zone: Europe/Kyiv
  days: [sat, mon-wed]
  hours: ["10:00-14:00", "22:00-06:00"]
  closed: notify_if_inside
  hold_for: 90m
audience: 'tags.loyalty == "gold" && !("staff" in tags.groups) && events("purchase", {within: "30d"}) > 0'
once_per: {day: campaign, starts: "04:00"}
scope: {group: [north, south]}
caps: [{max: 2, per: 7d, of: all}, {max: 1, per: day}, {max: 5, per: campaign}, {max: 3, per: 90m}]
exempt: true
quiet: {hours: ["22:00-24:00", "00:00-07:30"], zone: device, closed: hold}
holdout: 12.5%
max_age: 1h
steps:
  - push:
      template: main
      ttl: 2h
      in_app: also
      voucher: {pool: bday, empty: send_without}
      devices: all
      variants:
        A: 50%
        B: {share: 33.33%, template: other}
        C: {share: 16.67%, template: {locales: {en: {body: "inline: {{ campaign.variant }} {{ voucher }}"}}}}
templates:
  main:
    default_locale: uk
    required: [fence.name]
    max: {tags.first_name: 40, fence.name: 60}
    sound: chime.caf
    thread: "{{ campaign.id }}"
    collapse: "{{ fence.id }}-day"
    ttl: 45m
    data: {coupon: BDAY18, "no": "{{ fence.id }}"}
    badge: 3
    category: offer
    importance: time_sensitive
    relevance: 0.75
    style: data
    actions:
      - {id: route, label: Route, link: "geo:0,0?q={{ fence.name | url_encode }}", foreground: true}
      - {id: never, label: "Never again", destructive: true}
    ios: {sound: bell.caf, category: other, raw: {aps: {target-content-id: "7", filter-criteria: "a: b"}, shop: {list: [1, -2.5, "1", true, {k: "true"}], big: 9007199254740993}}}
    android: {channel: offers, color: "#ff0066", icon: ic_offer, visibility: public}
    web: {sticky: true, raw: {icon: "https://x.example/i.png"}}
    hms: {channel: offers}
    locales:
      uk: {title: "Вітаємо: {{ fence.name }}", subtitle: "#1", body: "рядок\nдругий", image: "https://x.example/a.jpg", link: "shop://s/{{ fence.id | url_encode }}", alt: "a shop", actions: {route: Шлях}, ios: {title: iOS}, web: {body: "{{ fence.name }}"}}
      en: {title: "'quotes' and \"more\"", body: "{{ tags.first | default: 'friend' }}, 10:00 - yes & no %"}
  other:
    kind: background
    badge: inc
    data: {refresh: fences}
`

// TestFormatRoundTrip: what Format writes is read back to equal campaigns, and written again it is the same bytes.
func TestFormatRoundTrip(t *testing.T) {
	files := map[string]string{"every key": everyKey, "small": smallFile, "two": smallFile + "---\n" + strings.Replace(everyKey, "to: 2026-11-28T21:00+02:00", "to: never", 1)}
	for _, once := range []string{"campaign", "none", "{rolling: PT36H}", "{day: user}", "{day: store}"} {
		files["once_per "+once] = smallFile + "once_per: " + once + "\n"
	}
	for _, scope := range []string{"campaign", "fence", "store"} {
		files["scope "+scope] = smallFile + "scope: " + scope + "\n"
	}
	for _, kind := range []string{"exit", "dwell"} {
		files[kind] = headPart + "trigger: {" + kind + ": {fences: {id: k01}}}\n" + stepsPart
	}
	for _, s := range []string{`{at: 2026-11-21T12:00, zone: Europe/Kyiv}`, `{at: 2026-11-21T12:00:30, zone: device, fallback: Europe/Kyiv, per_minute: 600}`,
		`{at: "2026-11-21T12:00+02:00", zone: Europe/Kyiv}`, `{days: every, at: "9:30", zone: Europe/Kyiv}`, `{days: [mon-wed, sat], at: "12:00", zone: device, fallback: UTC}`,
		`{on: 2026-11-21, at: best_time, between: "12:00-15:00", default: "12:30", zone: device, fallback: Europe/Kyiv, per_minute: 60}`, `{days: [sat], at: best_time, zone: UTC}`} {
		files["schedule "+s] = headPart + "trigger: {schedule: " + s + "}\nwindow: {to: never}\n" + stepsPart
	}
	for _, name := range []string{"testdata/kyiv.yaml", "../examples/campaign.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			list, err := Parse("test.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			out, err := Format(list...)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Parse("formatted.yaml", out)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for i := range list {
				if len(back) != len(list) || back[i].Revision() != list[i].Revision() {
					t.Fatalf("another campaign came back:\n%s", out)
				}
			}
			if again, err := Format(back...); err != nil || string(again) != string(out) {
				t.Errorf("written again it differs: %v\n%s", err, cmp.Diff(string(out), string(again)))
			}
		})
	}
}

// TestFormatKnowsEveryField: a field added to the model must be added to Format and to everyKey as well, or an edit
// on a screen would lose it.
func TestFormatKnowsEveryField(t *testing.T) {
	known := map[reflect.Type][]string{
		reflect.TypeFor[Campaign](): {"ID", "Name", "Enabled", "Paused", "Zone", "Trigger", "Window", "Audience", "Quiet", "Once", "Scope", "Groups", "Caps", "Exempt", "Holdout", "MaxAge", "Push", "File", "Line", "Col"},
		reflect.TypeFor[Trigger]():  {"Kind", "Fences", "Initial", "Edits", "Crossed", "MinConfidence", "Visits", "Schedule", "Journey"},
		reflect.TypeFor[Schedule](): {"Once", "Clock", "Days", "Device", "Zone", "Best", "PerMinute"},
		reflect.TypeFor[Visits]():   {"Min", "Max", "Every", "Within"},
		reflect.TypeFor[Selector](): {"All", "IDs", "Tags"},
		reflect.TypeFor[Window]():   {"From", "To", "Zone", "Days", "Hours", "Closed", "HoldFor", "Endless"},
		reflect.TypeFor[Quiet]():    {"Hours", "Device", "Closed"},
		reflect.TypeFor[Cap]():      {"Max", "Per", "Day", "Ever", "All"},
		reflect.TypeFor[PushStep](): {"Template", "TTL", "Variants", "Voucher", "AllDevices", "InApp"},
		reflect.TypeFor[Variant]():  {"Name", "Share", "Template"},
		reflect.TypeFor[Template](): {"Name", "DefaultLocale", "Required", "Max", "Sound", "Thread", "Collapse", "TTL", "Data", "Locales",
			"Background", "Badge", "BadgeInc", "Category", "Importance", "Relevance", "Style", "Actions", "Looks"},
		reflect.TypeFor[LocaleText]():   {"Locale", "Title", "Subtitle", "Body", "Image", "Link", "Alt", "Labels", "Platforms"},
		reflect.TypeFor[ActionText]():   {"ID", "Label", "Link", "Foreground", "Destructive"},
		reflect.TypeFor[Look]():         {"Sound", "Category", "Channel", "Color", "Icon", "Visibility", "Sticky", "Raw"},
		reflect.TypeFor[PlatformText](): {"Title", "Subtitle", "Body"},
	}
	for typ, want := range known {
		var got []string
		for f := range typ.Fields() {
			if f.IsExported() {
				got = append(got, f.Name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-known to Format +model):\n%s", typ, diff)
		}
	}
}
