package main

import (
	"fmt"
	"time"

	"footfall/internal/say"
	"footfall/stream"
)

type campaignStopCmd struct {
	Campaign string `arg:"" help:"Id of the campaign."`
	JSON     bool   `name:"json" help:"Print the answer as JSON."`
	serverFlags
}

func (c *campaignStopCmd) Run(e *env) error {
	var a stream.NameAnswer
	if err := c.ask(stream.CampaignStopSubject, stream.NameRequest{Name: c.Campaign}, &a, 40*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, a)
	}
	_, err := fmt.Fprintf(e.out, "%s is stopped; %s cancelled\n", c.Campaign, say.Count(a.Cancelled, "push"))
	return err
}

type campaignStartCmd struct {
	Campaign string `arg:"" help:"Id of the campaign."`
	JSON     bool   `name:"json" help:"Print the answer as JSON."`
	serverFlags
}

func (c *campaignStartCmd) Run(e *env) error {
	var a stream.NameAnswer
	if err := c.ask(stream.CampaignStartSubject, stream.NameRequest{Name: c.Campaign}, &a, 10*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, a)
	}
	text := "%s runs again, as its file says\n"
	if !a.Changed {
		text = "%s was not stopped\n"
	}
	_, err := fmt.Fprintf(e.out, text, c.Campaign)
	return err
}
