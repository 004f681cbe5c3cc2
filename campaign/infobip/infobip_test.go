package infobip

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/campaign"
	"footfall/fences"
)

const wantYAML = `campaign: 8ed3fd5c-entry
name: 8ed3fd5c
trigger:
  enter:
    fences:
      ids:
        - 3AE1D3F1B5C0E6DAE7A0A3F7D1A2B3C4
        - "42"
window:
  from: "2026-11-28T10:00:00+02:00"
  to: "2026-11-28T21:00:00+02:00"
  days:
    - mon
    - tue
    - sat
    - sun
  hours:
    - 22:00-06:00
once_per: campaign
steps:
  - push:
      template:
        sound: chime.caf
        data:
          coupon: BDAY18
          percent: "18"
          vip: "false"
        locales:
          en:
            title: Citrus is 18!
            body: "Show {{ \"{\" }}{{ \"{\" }}this{{ \"}\" }}{{ \"}\" }} at the till: 18% off today"
            image: https://cdn.example/18.jpg
            link: citrus://birthday
`

func TestRead(t *testing.T) {
	data, err := os.ReadFile("testdata/citrus.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(data, "Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Campaigns) != 3 || len(got.Fences) != 2 {
		t.Fatalf("%d campaigns, %d fences", len(got.Campaigns), len(got.Fences))
	}
	first, err := campaign.Format(got.Campaigns[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantYAML, string(first)); diff != "" {
		t.Errorf("the entry campaign (-want +got):\n%s", diff)
	}
	var once []string
	for _, c := range got.Campaigns {
		text, _ := campaign.Format(c)
		_, rest, _ := strings.Cut(string(text), "once_per:")
		rest, _, _ = strings.Cut(rest, "steps:")
		once = append(once, c.ID+" "+c.Trigger.Kind.String()+strings.Join(strings.Fields(rest), " "))
	}
	want := []string{"8ed3fd5c-entry entercampaign", "8ed3fd5c-exit exitrolling: 24h", "8ed3fd5c-dwell dwellrolling: 1h caps: - max: 5 per: campaign"}
	if diff := cmp.Diff(want, once); diff != "" {
		t.Error(diff)
	}
	content, err := got.Campaigns[0].Render("en", campaign.RenderContext{})
	if err != nil || content.Body != "Show {{this}} at the till: 18% off today" {
		t.Errorf("renders %+v, %v", content, err)
	}

	// The fences are ones that a gateway reads.
	text := fences.Marshal(got.Fences)
	back, findings := fences.Parse("import.geojson", text, fences.Options{})
	if len(findings) != 0 || len(back) != 2 || back[1].Shape.RadiusM() != 250.5 || back[0].Zone != "Europe/Kyiv" || !back[0].HasTag("infobip-8ed3fd5c") {
		t.Errorf("fences %s: %v", text, findings)
	}
	for _, word := range []string{"inApp is not", "inAppOpenTitle is not", "customPayload.nested", "closing minute", "dwell needs"} {
		if !strings.Contains(strings.Join(got.Notes, "\n"), word) {
			t.Errorf("no note about %q in %q", word, got.Notes)
		}
	}
}

// TestDefaults: no event is one entry for ever; no expiry never ends; Android carries internalData as a text, and a
// file may hold a list, or internalData alone.
func TestDefaults(t *testing.T) {
	const inner = `{"campaignId":"a b","geo":[{"id":"k1","title":"K","latitude":50,"longitude":30,"radiusInMeters":100}],"silent":{"body":"hi"}}`
	quoted, err := json.Marshal(inner)
	if err != nil {
		t.Fatal(err)
	}
	wake, err := Read([]byte(`{"internalData":{"campaignId":"w","geo":[{"id":"k1","latitude":50,"longitude":30,"radiusInMeters":100}]},"customPayload":{"door":"north"}}`), "Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := campaign.Format(wake.Campaigns...); err != nil || !strings.Contains(string(text), "kind: background") || !strings.Contains(string(text), "door: north") || strings.Contains(string(text), "locales") {
		t.Errorf("a message that shows nothing becomes %s, %v", text, err)
	}
	var revision string
	for _, data := range []string{inner, `{"internalData":` + inner + `}`, `[{"internalData":` + string(quoted) + `}]`} {
		got, err := Read([]byte(data), "Europe/Kyiv")
		if err != nil {
			t.Fatal(err)
		}
		c := got.Campaigns[0]
		if c.ID != "a-b" || c.Name != "a b" || !c.Window.Endless || c.Once.Kind.String() != "ever" || c.Trigger.Kind.String() != "enter" {
			t.Errorf("%+v", c)
		}
		if revision == "" {
			revision = c.Revision()
		}
		if c.Revision() != revision {
			t.Errorf("%s is read as something else", data)
		}
	}
}

// TestWindowIsRightInKyiv: what the Android SDK got wrong by the offset of 1970. "0900/2000" was open from 08:00 to
// 19:00 in winter there and "2200/0600" never.
func TestWindowIsRightInKyiv(t *testing.T) {
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		interval, at string
		open         bool
	}{
		{"0900/2000", "2019-01-15 08:30", false}, {"0900/2000", "2019-01-15 09:00", true}, {"0900/2000", "2019-01-15 19:30", true}, {"0900/2000", "2019-01-15 20:00", false},
		{"0900/2000", "2019-07-15 08:59", false}, {"0900/2000", "2019-07-15 09:00", true}, {"0900/2000", "2019-07-15 19:59", true},
		{"2200/0600", "2019-01-15 23:00", true}, {"2200/0600", "2019-01-15 05:59", true}, {"2200/0600", "2019-01-15 12:00", false},
		{"0200/0500", "2019-01-15 02:00", true}, {"0200/0500", "2019-01-15 04:30", true}, {"0200/0500", "2019-01-15 01:30", false},
	} {
		got, err := Read([]byte(`{"campaignId":"a","deliveryTime":{"timeInterval":"`+tt.interval+`"},"geo":[{"id":"k1","latitude":50,"longitude":30,"radiusInMeters":100}],"silent":{"body":"hi"}}`), "Europe/Kyiv")
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02 15:04", tt.at, kyiv)
		if err != nil {
			t.Fatal(err)
		}
		if open := got.Campaigns[0].Window.Check(at, kyiv) == ""; open != tt.open {
			t.Errorf("%s at %s: open %v", tt.interval, tt.at, open)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	const ok = `"geo":[{"id":"k1","latitude":50,"longitude":30,"radiusInMeters":100}],"silent":{"body":"hi"}`
	for _, tt := range []struct{ name, data, want string }{
		{"not JSON", `{`, "/: not JSON at byte"},
		{"empty list", `[]`, "/: the file holds no message"},
		{"another message", `{"messageType":"default",` + ok + `}`, `/messageType: "default" is not a geofencing message`},
		{"no id", `{` + ok + `}`, "/campaignId: is missing"},
		{"no areas", `{"campaignId":"a","silent":{"body":"hi"}}`, "/geo: there are no areas"},
		{"bad area", `[{"internalData":{"campaignId":"a","geo":[{"id":"k","latitude":95,"longitude":30,"radiusInMeters":100}],"silent":{"body":"x"}}}]`, "/0/internalData/geo/0: "},
		{"no radius", `{"campaignId":"a","geo":[{"id":"k","latitude":50,"longitude":30}],"silent":{"body":"x"}}`, "/geo/0: "},
		{"no text", `{"campaignId":"a","geo":[{"id":"k","latitude":50,"longitude":30,"radiusInMeters":100}]}`, "/silent: there is neither"},
		{"event", `{"campaignId":"a","event":[{"type":"leave"}],` + ok + `}`, `/event/0/type: "leave" is not`},
		{"event twice", `{"campaignId":"a","event":[{"type":"entry"},{"type":"entry"}],` + ok + `}`, "/event/1: campaign a-entry a second time"},
		{"negative limit", `{"campaignId":"a","event":[{"type":"entry","limit":-1}],` + ok + `}`, "/event/0: limit -1"},
		{"day", `{"campaignId":"a","deliveryTime":{"days":"1,8"},` + ok + `}`, `/deliveryTime/days: "8" is not a day`},
		{"interval", `{"campaignId":"a","deliveryTime":{"timeInterval":"9-20"},` + ok + `}`, "/deliveryTime/timeInterval: "},
		{"interval of nothing", `{"campaignId":"a","deliveryTime":{"timeInterval":"0900/0900"},` + ok + `}`, "/deliveryTime/timeInterval: "},
		{"time", `{"campaignId":"a","expiryTime":"tomorrow",` + ok + `}`, `/expiryTime: "tomorrow" is not a time`},
		{"ends before it begins", `{"campaignId":"a","startTime":"2026-11-28T10:00:00Z","expiryTime":"2026-11-27T10:00:00Z",` + ok + `}`, "the window is never open"},
		{"wrong type", `{"campaignId":"a","geo":{},"silent":{"body":"x"}}`, "/: geo is object"},
		{"picture without https", `{"campaignId":"a","atts":[{"url":"http://x.example/a.jpg"}],` + ok + `}`, "https"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read([]byte(tt.data), "Europe/Kyiv")
			if err == nil || got != nil || !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Read([]byte("{}"), "Kyiv"); err == nil {
		t.Error("a zone that does not exist")
	}
}

func FuzzRead(f *testing.F) {
	data, err := os.ReadFile("testdata/citrus.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`[{"internalData":"{\"campaignId\":1}"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Read(data, "Europe/Kyiv")
		if err != nil {
			return
		}
		text, err := campaign.Format(got.Campaigns...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := campaign.Parse("x", text); err != nil {
			t.Errorf("imported what does not load: %v", err)
		}
	})
}
