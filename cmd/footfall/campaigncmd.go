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
	"footfall/journey"
)

type campaignCmd struct {
	Check  campaignCheckCmd `cmd:"" help:"Check campaign and journey files: every problem at once, with its place. Exit code 3 when something is wrong."`
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
	checkFlags
}

func (c *campaignCheckCmd) Run(e *env) error {
	return c.check(e, false)
}

// checkFlags say what campaign check and journey check look at: the files of both are the same.
type checkFlags struct {
	Files      []string   `arg:"" help:"YAML files or folders."`
	FenceFlags fenceFlags `embed:""`
	Fences     string     `help:"Check also that every fence, by id or tag, is one of these files, and measure pushes with their names and properties." placeholder:"PATH"`
}

// check prints everything that is wrong with the campaigns and journeys of the files, and returns errFindings; or how many they
// are, after the steps of each journey if those are asked for.
func (c *checkFlags) check(e *env, steps bool) error {
	var set *fences.Set
	if c.Fences != "" {
		var err error
		if set, err = c.FenceFlags.loadFenceSet(e.err, c.Fences); err != nil {
			return err
		}
	}
	bad := false
	found := func(what any) {
		fmt.Fprintln(e.out, what)
		bad = true
	}
	var campaigns, pushes []*campaign.Campaign // pushes are those of journeys too
	var journeys []*journey.Journey
	for _, path := range c.Files {
		lib, err := campaign.LoadLibrary(path)
		if err != nil {
			found(err)
			continue
		}
		js, err := journey.Read(lib)
		if err != nil {
			found(err)
		}
		if len(lib.Campaigns)+len(lib.Journeys)+len(lib.Segments.Names()) == 0 {
			found(path + ": warning missing: there is no campaign, journey or segment in it (they are in files that end in .yaml or .yml)")
		}
		campaigns, journeys = append(campaigns, lib.Campaigns...), append(journeys, js...)
	}
	if !bad {
		if _, err := campaign.NewSet(campaigns); err != nil {
			found(err)
		}
	}
	for _, cm := range campaigns {
		pushes = append(pushes, cm)
		for _, w := range cm.Warnings() {
			found(w)
		}
		if set != nil {
			for _, w := range cm.Unmatched(set) {
				found(w)
			}
		}
	}
	for _, j := range journeys {
		pushes = append(pushes, j.Pushes()...)
		if set != nil {
			for _, w := range j.Unmatched(set) {
				found(w)
			}
		}
	}
	if err := checkPayloads(pushes); err != nil {
		found(err)
	}
	for _, w := range longestPayloads(pushes, set) {
		found(w)
	}
	if bad {
		return errFindings
	}
	for _, j := range journeys {
		if steps {
			fmt.Fprintf(e.out, "%s, version %s\n", j.ID, j.Revision)
			for _, line := range j.Describe() {
				fmt.Fprintln(e.out, " ", line)
			}
		}
	}
	var counts []string
	if len(campaigns) > 0 || len(journeys) == 0 {
		counts = append(counts, say.Count(len(campaigns), "campaign"))
	}
	if len(journeys) > 0 {
		counts = append(counts, say.Count(len(journeys), "journey"))
	}
	_, err := fmt.Fprintf(e.out, "%s ok\n", strings.Join(counts, " and "))
	return err
}

type importInfobipCmd struct {
	File string `arg:"" help:"JSON: one message, a list of them, or internalData alone." type:"existingfile"`
	Zone string `required:"" help:"Time zone of the stores, such as Europe/Kyiv." placeholder:"ZONE"`
	Out  string `help:"Folder for NAME.yaml and NAME.geojson, NAME being that of the file; made when it is not there. Nothing that is there is replaced." default:"."`
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
	if err := os.MkdirAll(c.Out, 0o750); err != nil {
		return err
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
