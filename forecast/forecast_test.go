package forecast

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/reach"
)

// store is a fence of 200 m in Kyiv.
func store(t *testing.T, id string, lat, lng float64) fences.Fence {
	t.Helper()
	shape, err := geo.NewCircle(geo.Point{Lat: lat, Lng: lng}, 200)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	return fences.Fence{ID: fences.ID(id), Name: "Store " + id, Store: fences.StoreID(id), Zone: "Europe/Kyiv", Location: loc, Shape: shape}
}

// parse returns a draft with these rules.
func parse(t *testing.T, rules string) *campaign.Campaign {
	t.Helper()
	cs, err := campaign.Parse("test.yaml", []byte("campaign: c\n"+rules+"\nsteps: [{push: {ttl: 15m, template: {locales: {en: {body: hello}}}}}]\n"))
	if err != nil {
		t.Fatalf("%s: %v", rules, err)
	}
	return cs[0]
}

func forecastOf(t *testing.T, d *db.DB, b Basis, draft *campaign.Campaign, q Request) *Campaign {
	t.Helper()
	var f *Forecast
	err := d.View(func(tx *db.Tx) (err error) {
		b.Tx = tx
		f, err = b.Make(t.Context(), []*campaign.Campaign{draft}, q)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f.Campaigns[0]
}

// TestOncePer asks about the same past with every kind of once_per and scope: ten people who come to both stores, twice a
// day, on each of two days of each of four weeks.
func TestOncePer(t *testing.T) {
	const sat = 20785 // 2026-11-28
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	at := time.Unix(sat*86_400, 0)
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		came := []reach.Entry{{Fence: "k01", Day: sat - 40, Hour: 12, Subject: "nobody"}}
		for week := range 4 {
			for day := range 2 {
				for i := range 80 { // ten people, two stores, two hours, twice
					came = append(came, reach.Entry{Fence: fmt.Sprintf("k0%d", 1+i/10%2), Day: int32(sat - 7*(week+1) + day), Hour: 12 + i/20%2, Subject: fmt.Sprintf("%d-%d", week, i%10)})
				}
			}
		}
		for i := range 4 {
			p := audience.Profile{Device: fmt.Sprintf("shop.d%d", i), Platform: "ios", Token: "t"}
			if i == 0 {
				p.ConsentPush = new(false)
			}
			if err := audience.Put(tx, &p); err != nil {
				return err
			}
			for k := range i { // d2 and d3 have had two or more
				key := dedupe.Key{Campaign: "other", Subject: fmt.Sprintf("d:shop.d%d", i)}
				if err := dedupe.RecordSend(tx, key, dedupe.Claim{At: at.Add(-time.Duration(k) * time.Hour), MID: fmt.Sprint(k)}, false, 0); err != nil {
					return err
				}
			}
		}
		return reach.Put(tx, came, reach.MaxKeep)
	})
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet([]fences.Fence{store(t, "k01", 50.4501, 30.5234), store(t, "k02", 50.4420, 30.5206)}, &fences.Catalogue{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rules string
		want  float64 // people in two days
	}{
		{"", 20},
		{"once_per: {day: store}\nscope: fence", 40},
		{"once_per: campaign", 10},
		{"once_per: campaign\nscope: store", 20},
		{"once_per: {rolling: PT24H}", 20},
		{"once_per: {rolling: P2D}", 10},
		{"once_per: none", 160},
		{"window: {hours: \"13:00-14:00\"}\nonce_per: none", 80},
		{"window: {days: [sun]}", 10},
		{"window: {days: [sun], closed: hold}", 20},
		{"window: {from: 2026-11-29T00:00}", 10},
		{"holdout: 10%", 20},
		{"caps: [{max: 2, per: P7D, of: all}]", 20},
		{"caps: [{max: 1, per: P2D}]", 10},
		{"caps: [{max: 1, per: P1D}]", 20},
		{"scope: fence\ncaps: [{max: 3, per: P2D}]", 30},
		{"once_per: none\ncaps: [{max: 3, per: P2D}, {max: 1, per: P1D}]", 20},
		{"once_per: none\nquiet: {hours: \"13:00-09:00\"}", 80},
		{"once_per: none\nquiet: {hours: \"13:00-09:00\", closed: hold}", 160},
		{"quiet: {hours: \"12:00-14:00\"}\nonce_per: none", 0},
	} {
		draft := parse(t, "trigger: {enter: {fences: {all: true}}}\n"+tt.rules)
		c := forecastOf(t, d, Basis{Fences: set, Now: at}, draft, Request{From: sat, To: sat + 1, AsOf: sat})
		if notes := strings.Join(c.Notes, "\n"); strings.Contains(tt.rules, "of: all") != strings.Contains(notes, "of only 0 entries it is known what came before; people whom other campaigns have brought to it as of now: 2;") {
			t.Errorf("%s: notes %q", tt.rules, notes)
		}
		sent := 1 - float64(draft.Holdout)/10_000
		if got := c.Total.Mean / 0.75 / sent; !c.Enough || got < tt.want*0.88 || got > tt.want*1.12 { // three of four devices can be reached
			t.Errorf("%s: %.1f people, want %v (%s)", tt.rules, got, tt.want, c.Why)
		}
		if last := c.Steps[len(c.Steps)-1].N; last < c.Total.Mean*0.999 || last > c.Total.Mean*1.001 {
			t.Errorf("%s: the last step is %.2f, the total %.2f", tt.rules, last, c.Total.Mean)
		}
	}
}

// TestWhatCameBefore: 90 people come on each of four Saturdays, two of them with two phones, and every third is sent
// something by another campaign on each Friday. What is left of the forecast after conditions on visits and caps over all
// campaigns is what these people's own past says.
func TestWhatCameBefore(t *testing.T) {
	const sat = 20785 // 2026-11-28
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	now := time.Unix(sat*86_400, 0)
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		came := []reach.Entry{{Fence: "k01", Day: sat - 40, Hour: 12, Subject: "nobody"}}
		for i := range 92 {
			p := audience.Profile{Device: fmt.Sprintf("shop.d%02d", i), Platform: "ios", Token: "t", Person: fmt.Sprint("u", i%90)}
			if err := audience.Put(tx, &p); err != nil {
				return err
			}
			for week := range 4 {
				at := now.AddDate(0, 0, -7*(week+1)).Add(10 * time.Hour) // noon in Kyiv
				if err := audience.PutVisit(tx, &audience.Visit{Device: p.Device, Fence: "k01", At: at.UnixMilli(), Until: at.Add(time.Hour).UnixMilli()}, audience.KeepVisits); err != nil {
					return err
				}
				came = append(came, reach.Entry{Fence: "k01", Day: int32(sat - 7*(week+1)), Hour: 12, Subject: p.Subject()})
				if i < 90 && i%3 == 0 {
					claim := dedupe.Claim{At: at.AddDate(0, 0, -1), MID: fmt.Sprint(week)}
					if err := dedupe.RecordSend(tx, dedupe.Key{Campaign: "other", Subject: p.Subject()}, claim, i%2 == 0, 0); err != nil {
						return err
					}
				}
			}
		}
		return reach.Put(tx, came, reach.MaxKeep)
	})
	if err != nil {
		t.Fatal(err)
	}
	set, err := fences.NewSet([]fences.Fence{store(t, "k01", 50.4501, 30.5234)}, &fences.Catalogue{})
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := campaign.ParseCaps("[{max: 1, per: 3d}]")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		trigger, rules string
		caps           []campaign.Cap
		want           float64 // of 90
		says           string
	}{
		{"visits: 3", "", nil, 90. / 4, "visits 25.0 % of 360 such entries of the last 28 days were visit 3"},
		{"visits: {min: 2}", "", nil, 90. * 3 / 4, "visits 75.0 %"},
		{"visits: {min: 2, within: 6d}", "", nil, 0, "visits 0.0 %"},
		{"visits: 9", "", nil, 0, "visits 0.0 %"},
		{"", "caps: [{max: 1, per: 3d, of: all}]", nil, 60, "caps of all 66.7 %"},
		{"", "caps: [{max: 2, per: 3d, of: all}]", nil, 90, "caps of all 100.0 %"},
		{"", "", gateway, 75, "caps of all 83.3 %"}, // every second of what others send is exempt
		{"", "exempt: true", gateway, 90, ""},
		{"visits: {min: 3}", "", gateway, 75. / 2, "caps of all 83.3 %"},
		{"visits: 3", "window: {hours: \"13:00-14:00\", to: never}", nil, 0, ""},
	} {
		trigger := "trigger: {enter: {fences: {all: true}"
		if tt.trigger != "" {
			trigger += ", " + tt.trigger
		}
		draft := parse(t, trigger+"}}\n"+tt.rules)
		c := forecastOf(t, d, Basis{Fences: set, Caps: tt.caps, Now: now}, draft, Request{From: sat, To: sat, AsOf: sat})
		var steps []string
		for _, s := range c.Steps {
			steps = append(steps, s.Name+" "+s.Says)
		}
		if got := c.Total.Mean; !c.Enough || got < tt.want*0.9 || got > tt.want*1.1 || !strings.Contains(strings.Join(steps, "\n"), tt.says) {
			t.Errorf("%s %s: %.1f people, want %v; steps %q, notes %q", tt.trigger, tt.rules, got, tt.want, steps, c.Notes)
		}
	}
}
