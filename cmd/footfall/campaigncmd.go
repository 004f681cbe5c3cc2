package main

import (
	"fmt"

	"footfall/campaign"
)

type campaignCmd struct {
	Check campaignCheckCmd `cmd:"" help:"Check campaign files: every problem at once, with its place. Exit code 3 when something is wrong."`
}

type campaignCheckCmd struct {
	Files      []string   `arg:"" help:"YAML files or folders."`
	FenceFlags fenceFlags `embed:""`
	Fences     string     `help:"Check also that every trigger finds a fence in these files." placeholder:"PATH"`
}

func (c *campaignCheckCmd) Run(e *env) error {
	var all []*campaign.Campaign
	bad := false
	for _, path := range c.Files {
		cs, err := campaign.Load(path)
		if err != nil {
			fmt.Fprintln(e.out, err)
			bad = true
			continue
		}
		all = append(all, cs...)
	}
	if !bad {
		if _, err := campaign.NewSet(all); err != nil {
			fmt.Fprintln(e.out, err)
			bad = true
		}
	}
	for _, cm := range all {
		for _, w := range cm.Warnings() {
			fmt.Fprintln(e.out, w)
			bad = true
		}
	}
	if c.Fences != "" {
		set, err := c.FenceFlags.loadFenceSet(e.err, c.Fences)
		if err != nil {
			return err
		}
		for _, cm := range all {
			for _, m := range cm.Unmatched(set) {
				fmt.Fprintf(e.out, "%s:%d: campaign %s: no fence has %s\n", cm.File, cm.Line, cm.ID, m)
				bad = true
			}
		}
	}
	if bad {
		return errFindings
	}
	_, err := fmt.Fprintf(e.out, "%s ok\n", countOf(len(all), "campaign"))
	return err
}
