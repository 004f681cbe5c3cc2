package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"footfall/campaign"
	"footfall/push"
)

// templates are the looks of a push, as a campaign file has them.
var templates = []struct{ name, yaml string }{
	{"plain", `{locales: {en: {title: Hello, body: Come in}}}`},
	{"words", `{locales: {uk: {title: "Знижка <20 %> & подарунок 🎉", body: "Їжа \"смачна\" & тепла\n👨‍👩‍👧 чекаємо біля {{ fence.name }}"}}}`},
	{"image_and_link", `{image: "https://cdn.example/{{ fence.id | url_encode }}.jpg?w=1&h=2", link: "shop://store/{{ store.id | url_encode }}?c=18", locales: {en: {title: Sale, alt: "Shoes & boots"}}}`},
	{"thread_sound_data", `{thread: "{{ store.id }}", sound: bell.caf, data: {coupon: KYIV18, z: last}, category: offer, locales: {en: {title: Hi, subtitle: "Store {{ fence.name }}", body: b}}}`},
	{"actions", `{actions: [{id: route, label: Route, link: "geo:0,0?q=1", foreground: true}, {id: never, label: Never, destructive: true}], locales: {uk: {title: Поруч, actions: {route: Шлях, never: Не треба}}}}`},
	{"passive_badge_silent_sound", `{importance: passive, badge: 3, sound: none, locales: {en: {title: News}}}`},
	{"time_sensitive", `{importance: time_sensitive, relevance: 0.9, badge: 0, locales: {en: {title: Last hour, body: Until nine}}}`},
	{"critical", `{importance: critical, sound: alarm.caf, locales: {en: {title: Recall, body: Do not eat}}}`},
	{"background", `{kind: background, badge: 0, data: {refresh: fences}}`},
	{"platforms", `{style: data, ios: {sound: chime.caf, category: apple}, android: {channel: offers, color: "#ff0066", icon: ic_offer, visibility: public, sound: chime}, hms: {channel: offers, color: "#ff0066"}, web: {sticky: true},
      locales: {en: {title: Everywhere, body: The same, ios: {title: On an iPhone}, android: {body: On Android}, web: {title: In a browser}, hms: {title: On Huawei}}}}`},
	{"badge_inc", `{badge: inc, locales: {en: {title: News}}}`},
	{"raw", `{data: {a: "1"}, locales: {en: {title: "Now & here"}},
      ios: {raw: {aps: {target-content-id: "7", alert: {title-loc-key: HELLO}}, shop: {n: 9007199254740993, list: [1, 2.5, "<x>", true]}}},
      android: {raw: {android: {direct_boot_ok: true, notification: {ticker: Sale, vibrate_timings: ["0.1s"]}}}},
      hms: {raw: {android: {bi_tag: sale, notification: {badge: {add_num: 1, class: com.example.Main}}}}},
      web: {raw: {icon: "https://cdn.example/i.png", vibrate: [100, 50]}}}`},
}

func campaignOf(t *testing.T, name, template string) *campaign.Campaign {
	t.Helper()
	cs, err := campaign.Parse("test.yaml", []byte("campaign: "+name+"\ntrigger: {enter: {fences: {all: true}}}\nsteps:\n  - push: {template: t, ttl: 15m}\ntemplates:\n  t:\n    "+template+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return cs[0]
}

// TestTemplatesOnEveryChannel: what these templates become on each channel, to the byte.
func TestTemplatesOnEveryChannel(t *testing.T) {
	for _, tt := range templates {
		t.Run(tt.name, func(t *testing.T) {
			c := campaignOf(t, tt.name, tt.yaml)
			var b bytes.Buffer
			for _, ch := range channels {
				samples := c.Samples(string(ch.platform))
				if len(samples) != 1 {
					t.Fatalf("%d samples", len(samples))
				}
				payload, reduced, err := ch.preview(sampleNotification(c, &samples[0], ch.platform))
				if err != nil || reduced {
					t.Fatalf("%s: %v, reduced %v", ch.name, err, reduced)
				}
				fmt.Fprintf(&b, "%s, %d bytes\n", ch.name, len(payload))
				// The webhook says when it was made.
				if ch.name == "webhook" {
					payload = bytes.Replace(payload, []byte(`"created_at":"0001-01-01T00:00:00Z",`), nil, 1)
				}
				if err := json.Indent(&b, payload, "", "  "); err != nil {
					t.Fatal(err)
				}
				b.WriteString("\n\n")
				if bytes.Contains(payload, []byte(`"critical":1`)) || bytes.Contains(payload, []byte(`"interruption-level":"critical"`)) {
					t.Errorf("%s: critical without the entitlement", ch.name)
				}
			}
			name := filepath.Join("testdata", "payloads", tt.name+".golden")
			if *update {
				if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("%s differs (run with -update and review the diff):\n%s", name, b.String())
			}
		})
	}
}

// TestPayloadsAreMeasuredAtTheCheck: the limit is that of the JSON that goes out, with its escapes. One byte over is sent
// without subtitle and data; what is over without them is refused before anything is sent.
func TestPayloadsAreMeasuredAtTheCheck(t *testing.T) {
	const words = "Ціна & якість <3 🎉 "
	for _, ch := range channels {
		n := &push.Notification{MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "d", Platform: ch.platform, Title: words}
		// The largest that fits, found by growing it: how much a byte costs is the channel's business.
		fits := func(body string) bool { n.Body = body; _, _, err := ch.preview(n); return err == nil }
		lo, hi := 1, 8192
		for lo+1 < hi {
			if mid := (lo + hi) / 2; fits(strings.Repeat("x", mid)) {
				lo = mid
			} else {
				hi = mid
			}
		}
		fits(strings.Repeat("x", lo))
		full, reduced, err := ch.preview(n)
		if err != nil || reduced {
			t.Fatalf("%s: %v, reduced %v", ch.name, err, reduced)
		}
		if s, err := ch.measure(n); err != nil || s.Full != s.Limit || s.Less != s.Full {
			t.Errorf("%s: the largest that fits is measured as %+v, %v", ch.name, s, err)
		}
		if ch.name == "apns" && len(full) != 4096 {
			t.Errorf("%s: the largest has %d bytes, want 4096", ch.name, len(full))
		}
		n.Subtitle, n.Data = "s", map[string]string{"k": "v"}
		if payload, reduced, err := ch.preview(n); err != nil || !reduced || len(payload) != len(full) {
			t.Errorf("%s with a subtitle over the limit: %d bytes of %d, reduced %v, %v", ch.name, len(payload), len(full), reduced, err)
		}
		if s, err := ch.measure(n); err != nil || s.Full <= s.Limit || s.Less != s.Limit {
			t.Errorf("%s with a subtitle over the limit is measured as %+v, %v", ch.name, s, err)
		}
		if fits(strings.Repeat("x", lo+1)) {
			t.Errorf("%s: one byte over is sent", ch.name)
		}
	}
	// Through a file: each text may have a kilobyte, and Apple's escapes make six of an ampersand.
	c := campaignOf(t, "big", `{locales: {en: {title: "`+strings.Repeat("&", 400)+`", body: "`+strings.Repeat("&", 400)+`"}}}`)
	if err := checkPayloads([]*campaign.Campaign{c}); err == nil || !strings.Contains(err.Error(), "campaign big, locale en: apns: payload is over 4096 bytes") {
		t.Errorf("checked as %v", err)
	}
	c = campaignOf(t, "fits", `{data: {a: "`+strings.Repeat("&", 700)+`"}, locales: {en: {title: "`+strings.Repeat("&", 300)+`"}}}`)
	if err := checkPayloads([]*campaign.Campaign{c}); err != nil {
		t.Errorf("fits without its data: %v", err)
	}
}

// TestWorstCaseAtTheCheck: the check says for whom a push may be over the limit, on which channel, why, and what to do about
// it; what it says to do is enough.
func TestWorstCaseAtTheCheck(t *testing.T) {
	stores := file(t, "stores.geojson", `{"type":"FeatureCollection","features":[
		{"type":"Feature","id":"k1","geometry":{"type":"Point","coordinates":[30.5,50.4]},"properties":{"radius":200,"name":"Хрещатик"}},
		{"type":"Feature","id":"k2","geometry":{"type":"Point","coordinates":[30.6,50.4]},"properties":{"radius":200,"name":"`+strings.Repeat("<", 250)+`"}}]}`)
	check := func(template string, more ...string) (out string, code int) {
		path := file(t, "c.yaml", "campaign: long\ntrigger: {enter: {fences: {all: true}}}\nwindow: {to: never}\nsteps: [{push: {ttl: 15m, template: {"+template+"}}}]\n")
		code, out, _ = runCLI(t, append([]string{"campaign", "check", path}, more...)...)
		return strings.ReplaceAll(out, path, "FILE"), code
	}
	const words = `locales: {uk: {title: "{{ tags.name }}, {{ fence.name }}", subtitle: "{{ tags.bio }}", body: "%s"}}`
	for _, tt := range []struct {
		name, template string
		more           []string
		want           []string // nil: nothing to say
	}{
		{"subtitle left out", fmt.Sprintf(words, "a"), nil, []string{"then it goes out without subtitle and data; tags.bio adds up to "}},
		{"declared", "max: {tags.bio: 40}, " + fmt.Sprintf(words, "a"), nil, nil},
		{"two tags", fmt.Sprintf(words, "{{ tags.more }}"), nil, []string{
			"FILE:1:1: warning payload: campaign long, locale uk: worst case ", " without subtitle and data: then it is not sent; ", "tags.name adds up to 3072 (a tag may have 512 bytes)"}},
		{"names of fences", "max: {tags.name: 40, tags.bio: 40}, " + fmt.Sprintf(words, "{{ fence.name }} {{ fence.name }}"), []string{"--fences", stores}, []string{
			" of 4096 on apns, and ", "fence.name adds up to 4500 (250 bytes in fence k2)", "shorten the texts"}},
		{"cut", "max: {tags.name: 40, tags.bio: 40, fence.name: 60}, " + fmt.Sprintf(words, "{{ fence.name }} {{ fence.name }}"), []string{"--fences", stores}, nil},
		{"a kilobyte", "max: {tags.name: 40, tags.bio: 40}, " + fmt.Sprintf(words, "{{ tags.a }}{{ tags.b }}x"), nil, []string{"body may have more than 1024 bytes, and is then not sent: tags."}},
	} {
		out, code := check(tt.template, tt.more...)
		if tt.want == nil {
			if code != 0 {
				t.Errorf("%s: code %d, %s", tt.name, code, out)
			}
			continue
		}
		for _, w := range tt.want {
			if code != 3 || !strings.Contains(out, w) {
				t.Errorf("%s: code %d, %s\nwant %q", tt.name, code, out, w)
			}
		}
		if _, hint, ok := strings.Cut(out, "(max: {"); ok {
			hint, _, _ = strings.Cut(hint, "}")
			followed := "max: {" + hint + "}, " + tt.template
			if strings.HasPrefix(tt.template, "max: {") {
				followed = "max: {" + hint + ", " + strings.TrimPrefix(tt.template, "max: {")
			}
			if out, code := check(followed, tt.more...); code != 0 {
				t.Errorf("%s: followed as %s: code %d, %s", tt.name, followed, code, out)
			}
		}
	}
	for _, bad := range []string{"max: {tags: 3}", "max: {tags.a: 0}", "max: {tag.a: 3}", "max: {campaign.id: 3}", "max: {fence.nmae: 3}"} {
		if out, code := check(bad + ", locales: {uk: {body: a}}"); code != 3 || !strings.Contains(out, "FILE:4:") {
			t.Errorf("%s: code %d, %s", bad, code, out)
		}
	}
}
