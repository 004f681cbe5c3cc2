package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/audience"
	"footfall/campaign"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/stream"
	"footfall/stream/wire"
)

type audienceCmd struct {
	Count  audienceCountCmd  `cmd:"" help:"How many people fit a rule now, with a sample of their devices."`
	Import audienceImportCmd `cmd:"" help:"Set tags and other fields of devices from a CSV file, through the running gateway, so that its log holds them. Nothing is changed unless every line is right."`
	Export audienceExportCmd `cmd:"" help:"Write the profiles in a ledger as CSV that import reads."`
}

type audienceCountCmd struct {
	Rule      string       `arg:"" optional:"" help:"What would stand under audience in a campaign."`
	Segment   string       `help:"A segment instead of a rule." placeholder:"NAME"`
	Campaigns string       `help:"With --data: file or folder with the segments that are named." placeholder:"PATH"`
	Sample    int          `help:"List so many of those who fit, at most 1000." default:"5"`
	Gateway   gatewayFlags `embed:""`
	JSON      bool         `name:"json" help:"Print the counts as JSON."`
}

func (c *audienceCountCmd) Run(e *env) error {
	switch {
	case (c.Rule == "") == (c.Segment == ""):
		return usage("give a rule or --segment NAME")
	case c.Sample < 0 || c.Sample > 1000:
		return usage("--sample: %d; from 0 to 1000", c.Sample)
	case c.Campaigns != "" && c.Gateway.Data == "":
		return usage("--campaigns belongs to --data; a running gateway knows its segments")
	}
	var n audience.Count
	rule, err := c.rule()
	if err != nil {
		return err
	}
	if c.Gateway.Data != "" {
		err = c.Gateway.view(func(tx *db.Tx) (err error) {
			n, err = audience.CountRule(e.ctx, tx, rule, time.Now(), c.Sample)
			return err
		})
	} else {
		err = c.Gateway.ask(stream.AudienceSubject, stream.AudienceRequest{Rule: c.Rule, Segment: c.Segment, Sample: c.Sample}, &n, time.Minute)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.out).Encode(n)
	}
	fmt.Fprintf(e.out, "%s, on %s of %s registered; %s can be reached\n", people(n.People), say.Thousands(int64(n.Fitting)), say.Count(n.Devices, "device"), say.Thousands(int64(n.Reachable)))
	for _, id := range n.Sample {
		fmt.Fprintln(e.out, " ", id)
	}
	if n.Failed > 0 {
		fmt.Fprintf(e.out, "for %s it could not be evaluated: %s\n", say.Count(n.Failed, "device"), n.Problem)
	}
	return nil
}

// rule parses what is asked, so that a mistake is shown at its place; nil when only the running gateway can, because
// it knows the segments.
func (c *audienceCountCmd) rule() (*audience.Rule, error) {
	text := c.Rule
	if c.Segment != "" {
		text = fmt.Sprintf("segment(%q)", c.Segment)
	}
	var segments *audience.Segments
	switch {
	case c.Campaigns != "":
		lib, err := campaign.LoadLibrary(c.Campaigns)
		if err != nil {
			return nil, err
		}
		segments = lib.Segments
	case c.Gateway.Data == "" && strings.Contains(text, "segment("):
		return nil, nil
	}
	rule, err := segments.Parse(text)
	if re, ok := errors.AsType[*audience.RuleError](err); ok {
		if c.Segment != "" {
			return nil, usage("%s", re.Reason)
		}
		return nil, usage("%s\n  %s\n  %s^", re.Reason, text, strings.Repeat(" ", len([]rune(text[:re.Offset]))))
	}
	return rule, err
}

func people(n int) string {
	if n == 1 {
		return "1 person fits"
	}
	return say.Thousands(int64(n)) + " people fit"
}

type audienceImportCmd struct {
	File    string      `arg:"" help:"CSV with a header: device, user, locale, tags.NAME:TYPE and others." type:"existingfile"`
	App     string      `required:"" help:"App of the devices." placeholder:"APP"`
	Check   bool        `help:"Only check the file."`
	Gateway serverFlags `embed:""`
}

func (c *audienceImportCmd) Run(e *env) error {
	if _, err := wire.JoinDevice(c.App, "x"); err != nil {
		return usage("--app: %v", err)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := audience.ReadCSV(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(e.out, "%s: %s\n", c.File, strings.TrimSuffix(line, "\n"))
		}
		return errFindings
	}
	if c.Check {
		_, err := fmt.Fprintf(e.out, "%s ok\n", say.Count(len(rows), "line"))
		return err
	}
	nc, err := c.Gateway.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	for i, row := range rows {
		if err := c.send(e.ctx, nc, row); err != nil {
			return fmt.Errorf("line %d: %w; the %s before it are stored, and sending the file again does no harm", row.Line, err, say.Count(i, "line"))
		}
	}
	_, err = fmt.Fprintf(e.out, "%s stored\n", say.Count(len(rows), "line"))
	return err
}

// send asks the gateway to store one update, again while it is busy.
func (c *audienceImportCmd) send(ctx context.Context, nc *nats.Conn, row audience.Row) error {
	id, err := wire.JoinDevice(c.App, row.Device)
	if err != nil {
		return err
	}
	for {
		m, err := nc.RequestWithContext(ctx, wire.DeviceSubject(wire.ClassDevice, id), row.Patch)
		if err != nil {
			return err
		}
		reply, err := wire.ParseReply(m.Data)
		switch {
		case err != nil:
			return err
		case reply.OK:
			return nil
		case !reply.Busy:
			if reply.Error != nil {
				return fmt.Errorf("refused: %s", reply.Error.Reason)
			}
			return errors.New("refused")
		}
		select {
		case <-time.After(time.Duration(max(reply.RetryMS, 10)) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type audienceExportCmd struct {
	Rule   string `arg:"" optional:"" help:"Only the devices that fit it."`
	App    string `required:"" help:"App of the devices." placeholder:"APP"`
	Data   string `required:"" help:"Data directory of a gateway that is not running." placeholder:"DIR"`
	Tokens bool   `help:"Write push tokens as well. They let their holder push to the devices."`
	Out    string `help:"File to write; default the standard output." placeholder:"FILE"`
}

func (c *audienceExportCmd) Run(e *env) error {
	var rule *audience.Rule
	if c.Rule != "" {
		var err error
		if rule, err = audience.ParseRule(c.Rule); err != nil {
			return usage("%v", err)
		}
	}
	var ps []audience.Profile
	from := gatewayFlags{Data: c.Data}
	err := from.view(func(tx *db.Tx) (err error) {
		ps, err = audience.List(e.ctx, tx, c.App, rule, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	if c.Out == "" {
		return audience.WriteCSV(e.out, ps, c.Tokens)
	}
	o, err := createOut(c.Out)
	if err != nil {
		return err
	}
	return o.finish(audience.WriteCSV(o, ps, c.Tokens))
}
