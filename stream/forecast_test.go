package stream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/forecast"
	"footfall/funnel"
)

// forecast asks the gateway as `footfall campaign forecast` does.
func (r *rig) forecast(q forecast.Request) (*forecast.Forecast, string) {
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
	f := new(forecast.Forecast)
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
				f, problem := r.forecast(forecast.Request{Campaigns: r.yaml, From: sat, To: sat, AsOf: sat - 1, Keep: true})
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
	q := forecast.Request{Campaigns: r.yaml, From: sat, To: sat, AsOf: sat}
	check := func(f *forecast.Forecast) *forecast.Campaign {
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
