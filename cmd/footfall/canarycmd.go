package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/canary"
	"footfall/fences"
	"footfall/stream"
	"footfall/stream/wire"
)

type canaryCmd struct {
	Fences     string      `help:"GeoJSON file or folder; default the configuration's fences.path. It is read again before each round." placeholder:"PATH"`
	FenceFlags fenceFlags  `embed:""`
	Config     string      `short:"c" help:"The gateway's configuration file: its rules, its fences, and its token when --token-file is not given." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Gateway    serverFlags `embed:""`

	App       string        `help:"App of the walkers: canary, or one that begins with canary-, when there are several. These are counted nowhere." default:"canary"`
	Every     time.Duration `help:"How often every fence is crossed; default 1h." placeholder:"TIME"`
	Once      bool          `help:"Cross every fence once and end: exit code 0 when all were crossed, 4 when not. For cron and timers."`
	PerSecond float64       `help:"Fences begun a second." default:"5" placeholder:"N"`
	Deadline  time.Duration `help:"How long after its ping a transition is late; after twice as long it is missing." default:"30s"`
	Fence     []string      `help:"Ids of the fences to cross; default all." placeholder:"ID"`
	JSON      bool          `name:"json" help:"Print one JSON object a round."`
}

func (c *canaryCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	c.FenceFlags.apply(&cfg.Fences)
	cfg.Fences.check(func(flag, format string, v ...any) {
		err = cmp.Or(err, usage("--%s: %s", flag, fmt.Sprintf(format, v...)))
	})
	if c.Fences = cmp.Or(c.Fences, cfg.Fences.Path); c.Fences == "" && err == nil {
		err = usage("give --fences PATH, or --config with the gateway's fences.path")
	}
	if err != nil {
		return err
	}
	c.Gateway.TokenFile = cmp.Or(c.Gateway.TokenFile, cfg.NATS.TokenFile)
	nc, err := c.Gateway.connect(nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return err
	}
	defer nc.Close()
	config := canary.Config{
		Load: func() (*fences.Set, error) { return loadFenceSet(e.err, c.Fences, cfg.Fences.options()) }, Path: c.Fences,
		Rules: cfg.rules(), Positions: cfg.positions(), App: c.App, PerSecond: c.PerSecond, Deadline: c.Deadline,
		Ask: func(subject string, request, answer any, patience time.Duration) error {
			return c.Gateway.askOver(nc, subject, request, answer, patience)
		},
	}
	for _, id := range c.Fence {
		config.Only = append(config.Only, fences.ID(id))
	}
	if !c.Once {
		config.Every = c.every()
	}
	w, err := canary.New(nc, config)
	if err != nil {
		return err
	}
	show := func(r *canary.Report) error {
		if c.JSON {
			return json.NewEncoder(e.out).Encode(r)
		}
		return r.WriteText(e.out)
	}
	if !c.Once {
		return w.Run(e.ctx, show)
	}
	r, err := w.Round(e.ctx)
	if e.ctx.Err() != nil {
		return errors.New("interrupted: the round is not complete")
	}
	if err != nil {
		return err
	}
	if err := show(r); err != nil {
		return err
	}
	if len(r.Faults) > 0 {
		return errThresholds
	}
	return nil
}

func (c *canaryCmd) every() time.Duration { return cmp.Or(c.Every, time.Hour) }

func (c *canaryCmd) check() error {
	switch {
	case !stream.IsCanaryApp(c.App) || !wire.ValidToken(c.App):
		return usage("--app: %q is not %s and does not begin with %s-: what its devices did would be counted, and pushed, as what people do", c.App, stream.CanaryApp, stream.CanaryApp)
	case c.Once && c.Every != 0:
		return usage("give --every or --once, not both")
	case c.every() < time.Second:
		return usage("--every: %v is less than a second", c.Every)
	case !(c.PerSecond > 0 && c.PerSecond <= 1000): // written so that NaN is refused
		return usage("--per-second: %v is not between 0 and 1000", c.PerSecond)
	case c.Deadline < time.Millisecond:
		return usage("--deadline: %v is less than a millisecond", c.Deadline)
	}
	return nil
}
