package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/fences"
	"footfall/fences/advice"
	"footfall/stream/wire"
)

type fenceAdviseCmd struct {
	Fences     string          `arg:"" help:"GeoJSON file or folder."`
	Trace      string          `arg:"" optional:"" help:"Recorded positions: CSV (device,ts,lat,lon[,accuracy_m]), NDJSON pings or GPX, also gzip."`
	Recorded   bool            `help:"Go by the input log of the gateway, the running one or that of --data."`
	Radius     []float64       `help:"Radii of circles to try, in metres; a fence's own is always among them." default:"50,100,150,200,300" placeholder:"M"`
	MinStay    []time.Duration `help:"min_stay to try; 0s and a fence's own are always among them." default:"0s,1m,3m" placeholder:"TIME"`
	Stay       time.Duration   `help:"Who was inside the fence as it is drawn for so long is a visitor, who was seen to leave sooner a passer-by." default:"5m" placeholder:"TIME"`
	Keep       string          `help:"The share of buyers, or of visitors where no purchases are known, that must not be lost." default:"95%" placeholder:"SHARE"`
	Enough     int             `help:"Fewer buyers or visitors than this give no advice." default:"20" placeholder:"N"`
	Event      string          `help:"The customer event by which a buyer is known, in the recorded log and in --events." default:"purchase" placeholder:"NAME"`
	Events     string          `help:"Customer events beside a trace: CSV (device,ts[,event][,store])." placeholder:"FILE"`
	Within     time.Duration   `help:"For how long after entering a fence a purchase makes a buyer there." default:"2h" placeholder:"TIME"`
	Fence      []string        `help:"Only these fences, by id." placeholder:"ID"`
	FenceFlags fenceFlags      `embed:""`
	Config     string          `short:"c" help:"The gateway's configuration file: its rules." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Gateway    gatewayFlags    `embed:""`
	JSON       bool            `name:"json" help:"Print the advice as JSON."`
}

func (c *fenceAdviseCmd) Run(e *env) error {
	grid, err := c.check()
	if err != nil {
		return err
	}
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	set, err := c.FenceFlags.loadFenceSet(e.err, c.Fences)
	if err != nil {
		return err
	}
	drawn, err := c.chosen(set)
	if err != nil {
		return err
	}
	records, err := positionsOf(e, c.Trace, &c.Gateway)
	if err != nil {
		return err
	}
	if grid.Purchases, err = c.purchases(records); err != nil {
		return err
	}
	grid.Rules = cfg.rules()
	a, err := advice.New(grid, drawn)
	if err != nil {
		return err
	}
	if err := eachPing(e.ctx, records, a.Apply); err != nil {
		return err
	}
	report := a.Report()
	if report.Positions == 0 {
		return errors.New("there are no positions that can be used; a gateway keeps them for retention.positions (15 minutes, unless it is told otherwise)")
	}
	if c.JSON {
		return printJSON(e.out, report)
	}
	return printAdvice(e.out, report)
}

// purchases are the customer events by which buyers are known: those of --events, or of the recorded log.
func (c *fenceAdviseCmd) purchases(records []wire.Record) (advice.Purchases, error) {
	if c.Events == "" {
		return advice.RecordedPurchases(records, c.Event), nil
	}
	f, err := os.Open(c.Events)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	defer f.Close()
	list, err := advice.ReadPurchases(f, c.Events, c.Event, traceApp)
	if err != nil {
		return nil, fmt.Errorf("--events: %w", err)
	}
	return list, nil
}

// check refuses what cannot be meant, and says what is to be tried.
func (c *fenceAdviseCmd) check() (advice.Config, error) {
	none := advice.Config{}
	if (c.Trace == "") != c.Recorded {
		return none, usage("give a trace, or --recorded for the input log of the gateway")
	}
	if c.Events != "" && c.Recorded {
		return none, usage("--events goes with a trace; the input log has events of its own")
	}
	for _, r := range c.Radius {
		if !(r >= fences.DefaultMinRadiusM && r <= fences.DefaultMaxRadiusM) { // written so that NaN is refused
			return none, usage("--radius: %v is not between %d and %d metres", r, fences.DefaultMinRadiusM, fences.DefaultMaxRadiusM)
		}
	}
	const longest = 7 * 24 * time.Hour // as of a fence
	for _, d := range c.MinStay {
		if d < 0 || d > longest {
			return none, usage("--min-stay: %v is not between 0s and 7 days", d)
		}
	}
	for _, d := range []struct {
		flag string
		time.Duration
	}{{"stay", c.Stay}, {"within", c.Within}} {
		if d.Duration <= 0 || d.Duration > longest {
			return none, usage("--%s: %v is not above 0s and at most 7 days", d.flag, d.Duration)
		}
	}
	if c.Enough < 1 {
		return none, usage("--enough: %d is not 1 or more", c.Enough)
	}
	text, percent := strings.CutSuffix(strings.TrimSpace(c.Keep), "%")
	keep, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		keep /= 100
	}
	if err != nil || !(keep > 0 && keep <= 1) {
		return none, usage("--keep: %q is no share such as 95%% or 0.95", c.Keep)
	}
	grid := advice.Config{Radii: c.Radius, Stays: c.MinStay, Stay: c.Stay, Keep: keep, Enough: c.Enough, Event: c.Event, Within: c.Within}
	if n := grid.Cells(); n > advice.MaxCells {
		return none, usage("the grid has %d cells with the fences' own radius and min_stay; %d at most: give fewer of --radius or --min-stay", n, advice.MaxCells)
	}
	return grid, nil
}

// chosen are the fences of a set that advice is asked for.
func (c *fenceAdviseCmd) chosen(set *fences.Set) ([]fences.Fence, error) {
	var out []fences.Fence
	for i := range int32(set.Len()) {
		if f := set.At(i); len(c.Fence) == 0 || slices.Contains(c.Fence, string(f.ID)) {
			out = append(out, *f)
		}
	}
	for _, id := range c.Fence {
		if _, ok := set.Lookup(fences.ID(id)); !ok {
			return nil, usage("--fence: %s has no fence %q", c.Fences, id)
		}
	}
	return out, nil
}
