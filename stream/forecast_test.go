package stream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
)

// forecast asks the gateway as `footfall campaign forecast` does.
func (r *rig) forecast(q ForecastRequest) (*Forecast, string) {
	r.t.Helper()
	data, err := json.Marshal(q)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := r.nc.Request(ForecastSubject, data, patience)
	if err != nil {
		r.t.Fatal(err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		return nil, text
	}
	f := new(Forecast)
	if err := json.Unmarshal(m.Data, f); err != nil {
		r.t.Fatal(err)
	}
	return f, ""
}

// TestForecast lets 20 to 28 people come on each of five Saturdays, of whom half are gold, and five more before the window
// opens. As of the fifth the forecast knows four, and is set beside the pushes of the fifth.
func TestForecast(t *testing.T) {
	r := newRig(t)
	r.yaml = `campaign: gold
trigger: {enter: {fences: {all: true}}}
window: {hours: "10:00-21:00", to: never}
audience: 'tags.loyalty == "gold"'
steps: [{push: {ttl: 15m, template: {locales: {en: {body: "hello"}}}}}]
`
	first := noon.AddDate(0, 0, -28)
	r.clock.set(first.AddDate(0, 0, -1))
	r.start()
	const registered, early = 40, 30
	for i := range registered {
		device := fmt.Sprintf("d%d", i)
		r.register(device)
		if i%2 == 0 {
			r.mustAsk("device.shop."+device, map[string]any{"tags": map[string]any{"loyalty": "gold"}})
		}
	}
	come := func(at time.Time, from, to int) {
		r.clock.set(at)
		for i := from; i < to; i++ {
			r.mustAsk(fmt.Sprintf("ping.shop.d%d", i), ping(at, 50.4501, 30.5234))
		}
	}
	come(first.AddDate(0, 0, -1), 0, 1) // the day on which the gateway was installed tells nothing
	for week := range 5 {
		saturday := first.AddDate(0, 0, 7*week)
		if week == 4 { // on the day before, and on the day itself, when it is too late
			r.settle()
			sat := funnel.DayOf(saturday.UnixMilli(), 120)
			for day, want := range []string{"", "from 2026-11-29 on"} {
				r.clock.set(saturday.Add(time.Duration(day-1)*24*time.Hour - 6*time.Hour))
				f, problem := r.forecast(ForecastRequest{Campaigns: r.yaml, From: sat, To: sat, AsOf: sat - 1, Keep: true})
				if !strings.Contains(problem, want) || want == "" && (problem != "" || len(f.Kept) != 1) {
					t.Errorf("kept: %+v, %q, want %q", f, problem, want)
				}
			}
		}
		come(saturday.Add(-4*time.Hour), early, early+5)
		come(saturday, 0, 20+2*week)
		// An upload that is hours late is no reach.
		r.mustAsk("ping.shop.d39", ping(saturday.Add(-3*time.Hour), 50.4420, 30.5206))
	}
	r.settle()
	sat := funnel.DayOf(noon.UnixMilli(), 120)
	q := ForecastRequest{Campaigns: r.yaml, From: sat, To: sat, AsOf: sat}
	check := func(f *Forecast) *CampaignForecast {
		t.Helper()
		if f.Known != 4 || len(f.Campaigns) != 1 {
			t.Fatalf("%+v", f)
		}
		c := f.Campaigns[0]
		// 23 people on average, half of whom are gold, and every one can be reached.
		if !c.Enough || c.Total.From != 4 || c.Total.Mean < 9 || c.Total.Mean > 13 || c.Total.Low <= 0 || c.Total.High < 14 {
			t.Errorf("total %+v, %s", c.Total, c.Why)
		}
		var steps []string
		for _, s := range c.Steps {
			steps = append(steps, fmt.Sprintf("%s %.0f", s.Name, s.N))
		}
		if got := strings.Join(steps[:2], ", "); got != "entries 28, window 23" {
			t.Errorf("steps %q", steps)
		}
		if len(c.Stores) != 1 || c.Stores[0].Key != "k01" || len(c.Hours) != 1 || c.Hours[0].Key != "12" {
			t.Errorf("stores %+v, hours %+v", c.Stores, c.Hours)
		}
		if len(c.Days) != 1 || !c.Days[0].Open || !c.Days[0].Expected.Enough {
			t.Errorf("days %+v", c.Days)
		}
		return c
	}
	f, problem := r.forecast(q)
	if problem != "" {
		t.Fatal(problem)
	}
	if c := check(f); c.Actual != nil {
		t.Errorf("a day that is not over has an actual: %+v", c.Actual)
	}
	r.clock.set(noon.AddDate(0, 0, 2))
	if f, problem = r.forecast(q); problem != "" {
		t.Fatal(problem)
	}
	c := check(f)
	if c.Actual == nil || c.Actual.Claimed != 14 || !c.Actual.Inside || c.Actual.Error > 0 {
		t.Errorf("actual %+v", c.Actual)
	}
	if c.Days[0].Actual == nil || *c.Days[0].Actual != 14 {
		t.Errorf("day %+v", c.Days[0])
	}

	rep, _ := r.asked(funnel.Query{Campaign: "gold", From: sat - 2, To: sat})
	if k := rep.Campaigns[0].Forecasts; len(k) != 1 || k[0].Claimed == nil || *k[0].Claimed != 14 || !k[0].Inside || k[0].Error != c.Actual.Error || k[0].From != sat {
		t.Errorf("the report has %+v", k)
	}

	// What cannot be forecast says so, and what cannot be asked.
	q.To = sat + 1
	f, _ = r.forecast(q)
	if c := f.Campaigns[0]; c.Enough || !strings.Contains(c.Why, "not enough data") || c.Days[1].Why == "" || !c.Days[0].Expected.Enough {
		t.Errorf("a Sunday: %+v", c)
	}
	q.To, q.Campaigns = sat, strings.Replace(r.yaml, "enter:", "exit:", 1)
	f, _ = r.forecast(q)
	if c := f.Campaigns[0]; c.Enough || !strings.Contains(c.Why, "trigger is exit") {
		t.Errorf("an exit: %+v", c)
	}
	q.Campaigns = "campaign: ["
	if _, problem = r.forecast(q); problem == "" {
		t.Error("a broken file is no error")
	}
	q.Campaigns, q.From = r.yaml, sat+1
	if _, problem = r.forecast(q); !strings.Contains(problem, "before the first") {
		t.Errorf("problem %q", problem)
	}
	r.halt()
}

// TestForecastOncePer asks about the same past with every kind of once_per and scope: ten people who come to both stores, twice a
// day, on each of two days of each of four weeks.
func TestForecastOncePer(t *testing.T) {
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
		cs, err := campaign.Parse("test.yaml", []byte("campaign: c\ntrigger: {enter: {fences: {all: true}}}\n"+tt.rules+"\nsteps: [{push: {ttl: 15m, template: {locales: {en: {body: hello}}}}}]\n"))
		if err != nil {
			t.Fatalf("%s: %v", tt.rules, err)
		}
		f, err := MakeForecast(t.Context(), d, cs, set, nil, ForecastRequest{From: sat, To: sat + 1, AsOf: sat}, at)
		if err != nil {
			t.Fatal(err)
		}
		c := f.Campaigns[0]
		if notes := strings.Join(c.Notes, "\n"); strings.Contains(tt.rules, "of: all") != strings.Contains(notes, "of only 0 entries it is known what came before; people whom other campaigns have brought to it as of now: 2;") {
			t.Errorf("%s: notes %q", tt.rules, notes)
		}
		sent := 1 - float64(cs[0].Holdout)/10_000
		if got := c.Total.Mean / 0.75 / sent; !c.Enough || got < tt.want*0.88 || got > tt.want*1.12 { // three of four devices can be reached
			t.Errorf("%s: %.1f people, want %v (%s)", tt.rules, got, tt.want, c.Why)
		}
		if last := c.Steps[len(c.Steps)-1].N; last < c.Total.Mean*0.999 || last > c.Total.Mean*1.001 {
			t.Errorf("%s: the last step is %.2f, the total %.2f", tt.rules, last, c.Total.Mean)
		}
	}
}

// TestForecastOfWhatCameBefore: 90 people come on each of four Saturdays, two of them with two phones, and every third is sent
// something by another campaign on each Friday. What is left of the forecast after conditions on visits and caps over all
// campaigns is what these people's own past says.
func TestForecastOfWhatCameBefore(t *testing.T) {
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
		cs, err := campaign.Parse("test.yaml", []byte("campaign: c\n"+trigger+"}}\n"+tt.rules+"\nsteps: [{push: {ttl: 15m, template: {locales: {en: {body: hello}}}}}]\n"))
		if err != nil {
			t.Fatalf("%s: %v", tt.rules, err)
		}
		f, err := MakeForecast(t.Context(), d, cs, set, tt.caps, ForecastRequest{From: sat, To: sat, AsOf: sat}, now)
		if err != nil {
			t.Fatal(err)
		}
		c := f.Campaigns[0]
		var steps []string
		for _, s := range c.Steps {
			steps = append(steps, s.Name+" "+s.Says)
		}
		if got := c.Total.Mean; !c.Enough || got < tt.want*0.9 || got > tt.want*1.1 || !strings.Contains(strings.Join(steps, "\n"), tt.says) {
			t.Errorf("%s %s: %.1f people, want %v; steps %q, notes %q", tt.trigger, tt.rules, got, tt.want, steps, c.Notes)
		}
	}
}
