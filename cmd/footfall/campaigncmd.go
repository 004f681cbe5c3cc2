package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"footfall/campaign"
	"footfall/campaign/infobip"
	"footfall/fences"
	"footfall/internal/say"
)

type campaignCmd struct {
	Check  campaignCheckCmd `cmd:"" help:"Check campaign files: every problem at once, with its place. Exit code 3 when something is wrong."`
	Import struct {
		Infobip importInfobipCmd `cmd:"" help:"Geofencing messages of Infobip's mobile SDKs: campaigns and fences from them."`
	} `cmd:"" help:"Take over campaigns of another system."`
	Backtest backtestCmd         `cmd:"" hidden:"" help:"Say what campaigns would have done with recorded positions: who, when, where, and what held the rest. Nothing is sent."`
	Forecast campaignForecastCmd `cmd:"" help:"Say what draft campaigns will bring: people a day and in all, from who came on past days of the same weekday. With --as-of, beside what was counted."`
	Report   campaignReportCmd   `cmd:"" help:"Say what campaigns achieved: who came, who got a push, what became of it, who bought, and how late it was."`
	Claims   campaignClaimsCmd   `cmd:"" help:"List who has claimed a campaign, when and where, and what became of each push: a line each, as CSV, or with --json one object a line."`
	Stop     campaignStopCmd     `cmd:"" help:"Stop a campaign of the running gateway: it decides nothing more, and what it owes is cancelled. Holds through restarts."`
	Start    campaignStartCmd    `cmd:"" help:"Start a stopped campaign again."`
}

type campaignCheckCmd struct {
	Files      []string   `arg:"" help:"YAML files or folders."`
	FenceFlags fenceFlags `embed:""`
	Fences     string     `help:"Check also that every trigger finds a fence in these files, and measure pushes with their names and properties." placeholder:"PATH"`
}

func (c *campaignCheckCmd) Run(e *env) error {
	var all []*campaign.Campaign
	bad := false
	journeys := 0
	for _, path := range c.Files {
		lib, err := campaign.LoadLibrary(path)
		if err != nil {
			fmt.Fprintln(e.out, err)
			bad = true
			continue
		}
		all = append(all, lib.Campaigns...)
		journeys += len(lib.Journeys)
	}
	if !bad {
		if _, err := campaign.NewSet(all); err != nil {
			fmt.Fprintln(e.out, err)
			bad = true
		}
	}
	if err := checkPayloads(all); err != nil {
		fmt.Fprintln(e.out, err)
		bad = true
	}
	for _, cm := range all {
		for _, w := range cm.Warnings() {
			fmt.Fprintln(e.out, w)
			bad = true
		}
	}
	var set *fences.Set
	if c.Fences != "" {
		var err error
		if set, err = c.FenceFlags.loadFenceSet(e.err, c.Fences); err != nil {
			return err
		}
		for _, cm := range all {
			for _, m := range cm.Unmatched(set) {
				fmt.Fprintf(e.out, "%s:%d: campaign %s: no fence has %s\n", cm.File, cm.Line, cm.ID, m)
				bad = true
			}
		}
	}
	for _, w := range longestPayloads(all, set) {
		fmt.Fprintln(e.out, w)
		bad = true
	}
	if bad {
		return errFindings
	}
	_, err := fmt.Fprintf(e.out, "%s ok\n", say.Count(len(all), "campaign"))
	if err == nil && journeys > 0 {
		_, err = fmt.Fprintf(e.out, "%s not checked: that is footfall journey check\n", say.Count(journeys, "journey"))
	}
	return err
}

type importInfobipCmd struct {
	File string `arg:"" help:"JSON: one message, a list of them, or internalData alone." type:"existingfile"`
	Zone string `required:"" help:"Time zone of the stores, such as Europe/Kyiv." placeholder:"ZONE"`
	Out  string `help:"Folder for NAME.yaml and NAME.geojson, NAME being that of the file. Nothing that is there is replaced." default:"." type:"existingdir"`
}

func (c *importInfobipCmd) Run(e *env) error {
	data, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	got, err := infobip.Read(data, c.Zone)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(e.out, "%s: %s\n", c.File, strings.TrimSuffix(line, "\n"))
		}
		return errFindings
	}
	text, err := campaign.Format(got.Campaigns...)
	if err != nil {
		return err
	}
	name := filepath.Join(c.Out, strings.TrimSuffix(filepath.Base(c.File), filepath.Ext(c.File)))
	out := []struct {
		path string
		data []byte
		what string
	}{
		{name + ".yaml", text, say.Count(len(got.Campaigns), "campaign")},
		{name + ".geojson", fences.Marshal(got.Fences), say.Count(len(got.Fences), "fence")},
	}
	for _, f := range out {
		if _, err := os.Lstat(f.path); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there already; move it away or give another --out", f.path)
		}
	}
	for _, f := range out {
		o, err := createOut(f.path, c.File)
		if err != nil {
			return err
		}
		_, err = o.Write(f.data)
		if err := o.finish(err); err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%s: %s\n", f.path, f.what)
	}
	for _, n := range got.Notes {
		fmt.Fprintf(e.out, "note: %s\n", n)
	}
	return nil
}
