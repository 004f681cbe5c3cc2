package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/forecast"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/reach"
	"footfall/stream"
)

type campaignForecastCmd struct {
	File       string     `arg:"" help:"Campaign file; drafts are welcome, nothing is sent." type:"existingfile"`
	From       string     `help:"First day on the stores' clocks; default today, or --as-of." placeholder:"DATE"`
	To         string     `help:"Last day; default six days after the first." placeholder:"DATE"`
	Keep       bool       `help:"Have the running gateway remember it, before its days begin: campaign report then shows it beside what came, with its error."`
	AsOf       string     `help:"Forecast as it would have been on the morning of this day, beside what really came." placeholder:"DATE"`
	Fences     string     `help:"With --data: GeoJSON file or folder; a running gateway knows its fences." placeholder:"PATH"`
	FenceFlags fenceFlags `embed:""`
	Config     string     `short:"c" help:"With --data: the gateway's configuration file, for its caps; a running gateway knows them." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	ledgerFlags
}

func (c *campaignForecastCmd) Run(e *env) error {
	if (c.Data == "") != (c.Fences == "") {
		return usage("--fences and --data belong together; a running gateway knows its fences")
	}
	if c.Keep && c.Data != "" {
		return usage("--keep is for a running gateway; --data only reads")
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	lib, err := campaign.ParseLibrary(c.File, text)
	if err != nil {
		return err
	}
	if len(lib.Campaigns) == 0 {
		return usage("%s holds no campaign", c.File)
	}
	q, err := c.request(string(text), time.Now())
	if err != nil {
		return err
	}
	var f *forecast.Forecast
	if c.Data == "" {
		err = c.ask(stream.ForecastSubject, q, &f, 40*time.Second)
	} else {
		var cfg Config
		if cfg, err = loadConfig(c.Config, e.environ); err != nil {
			return err
		}
		var set *fences.Set
		if set, err = c.FenceFlags.loadFenceSet(e.err, c.Fences); err != nil {
			return err
		}
		err = c.open(db.OpenReadOnly, func(d *db.DB) (err error) {
			f, err = stream.Forecast(e.ctx, d, lib.Campaigns, set, cfg.Campaigns.Caps.list, q, time.Now())
			return err
		})
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, f)
	}
	return writeForecast(e.out, f)
}

func (c *campaignForecastCmd) request(text string, now time.Time) (q forecast.Request, err error) {
	day := func(flag, text string, otherwise funnel.Day) funnel.Day {
		if text == "" {
			return otherwise
		}
		d, e := funnel.ParseDay(text)
		if e != nil && err == nil {
			err = usage("%s: %v", flag, e)
		}
		return d
	}
	_, offset := now.Zone()
	q = forecast.Request{Campaigns: text, AsOf: day("--as-of", c.AsOf, funnel.DayOf(now.UnixMilli(), offset/60))}
	q.From = day("--from", c.From, q.AsOf)
	q.To = day("--to", c.To, q.From+6)
	q.Keep = c.Keep
	if err != nil {
		return q, err
	}
	if err := q.Check(); err != nil {
		return q, usage("%s", strings.TrimPrefix(err.Error(), forecast.ErrQuery.Error()+": "))
	}
	return q, nil
}

// writeForecast prints a forecast for people.
func writeForecast(w io.Writer, f *forecast.Forecast) error {
	p := &reportPrinter{w: w}
	days := f.From.String()
	if f.To != f.From {
		days += " to " + f.To.String()
	}
	p.line("%s, as known before %s; days of which it is known who came: %d", days, f.AsOf, f.Known)
	for _, c := range f.Campaigns {
		p.line("\ncampaign %s, %s", c.Campaign, say.Count(c.Fences, "fence"))
		if c.Why != "" {
			p.line("  %s", c.Why)
		}
		for _, s := range c.Steps {
			p.row(s.Name, int64(math.Round(s.N)), s.Says)
		}
		if c.Enough {
			p.line("  %-22s %10s  %s", "pushes in all", say.Thousands(int64(math.Round(c.Total.Mean))), between(c.Total))
		}
		if a := c.Actual; a != nil {
			said := "outside the interval"
			if a.Inside {
				said = "inside the interval"
			}
			if a.Claimed > 0 {
				said = fmt.Sprintf("the forecast was off by %+.1f %%, %s", 100*a.Error, said)
			}
			p.row("counted afterwards", a.Claimed, said)
		}
		p.forecastDays(c)
		p.forecastGroups("fence", "", c.Stores)
		p.forecastGroups("hour", ":00", c.Hours)
		for _, n := range c.Notes {
			p.line("  note: %s", n)
		}
		if slices.Contains(f.Kept, c.Campaign) {
			p.line("  kept: footfall campaign report %s --from %s --to %s sets it beside what came", c.Campaign, f.From, f.To)
		}
	}
	return p.err
}

func (p *reportPrinter) forecastDays(c *forecast.Campaign) {
	if len(c.Days) == 0 {
		return
	}
	p.line("  by day")
	for _, d := range c.Days {
		name := d.Day.String()
		if at, err := time.Parse(time.DateOnly, name); err == nil {
			name = at.Format("Mon ") + name
		}
		var says string
		switch {
		case !d.Open:
			says = "closed"
		case d.Why != "":
			says = d.Why
		default:
			says = between(d.Expected)
		}
		if d.Actual != nil {
			says += ", counted " + say.Thousands(*d.Actual)
		}
		mean := "–"
		if d.Expected.From > 0 {
			mean = say.Thousands(int64(math.Round(d.Expected.Mean)))
		}
		p.line("    %-20s %10s  %s", name, mean, says)
	}
}

func (p *reportPrinter) forecastGroups(by, suffix string, groups []forecast.Group) {
	if len(groups) == 0 {
		return
	}
	p.line("  by %s; who is in several is counted in each", by)
	var most float64
	for _, g := range groups {
		most = max(most, g.N)
	}
	for _, g := range groups {
		n := int(math.Round(g.N))
		p.line("    %-20s %10s  %s", g.Key+suffix, say.Thousands(int64(n)), say.Bar(n, int(math.Round(most)), 20))
	}
}

// between is "410 to 530, 95 times out of 100, from 12 past times".
func between(x reach.Expected) string {
	return fmt.Sprintf("%s to %s, 95 times out of 100, from %d past times", say.Thousands(int64(math.Floor(x.Low))), say.Thousands(int64(math.Ceil(x.High))), x.From)
}
