package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/stream"
)

type audienceCmd struct {
	Count audienceCountCmd `cmd:"" help:"How many people fit a rule now, with a sample of their devices."`
}

type audienceCountCmd struct {
	Rule    string       `arg:"" help:"What would stand under audience in a campaign."`
	Sample  int          `help:"List so many of those who fit, at most 1000." default:"5"`
	Gateway gatewayFlags `embed:""`
	JSON    bool         `name:"json" help:"Print the counts as JSON."`
}

func (c *audienceCountCmd) Run(e *env) error {
	rule, err := audience.ParseRule(c.Rule)
	if re, ok := errors.AsType[*audience.RuleError](err); ok {
		return usage("%s\n  %s\n  %s^", re.Reason, c.Rule, strings.Repeat(" ", len([]rune(c.Rule[:re.Offset]))))
	}
	if c.Sample < 0 || c.Sample > 1000 {
		return usage("--sample: %d; from 0 to 1000", c.Sample)
	}
	var n audience.Count
	if c.Gateway.Data != "" {
		err = c.Gateway.view(func(tx *db.Tx) (err error) {
			n, err = audience.CountRule(e.ctx, tx, rule, time.Now(), c.Sample)
			return err
		})
	} else {
		err = c.Gateway.ask(stream.AudienceSubject, stream.AudienceRequest{Rule: c.Rule, Sample: c.Sample}, &n, time.Minute)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.out).Encode(n)
	}
	fmt.Fprintf(e.out, "%s, on %s of %s registered; %s can be reached\n", people(n.People), thousands(int64(n.Fitting)), countOf(n.Devices, "device"), thousands(int64(n.Reachable)))
	for _, id := range n.Sample {
		fmt.Fprintln(e.out, " ", id)
	}
	if n.Failed > 0 {
		fmt.Fprintf(e.out, "for %s it could not be evaluated: %s\n", countOf(n.Failed, "device"), n.Problem)
	}
	return nil
}

func people(n int) string {
	if n == 1 {
		return "1 person fits"
	}
	return thousands(int64(n)) + " people fit"
}
