package main

import (
	"context"
	"fmt"
	"sync"
)

type serveCmd struct {
	Config     string     `short:"c" help:"Configuration file." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Fences     string     `help:"GeoJSON file or folder, watched (fences.path)." placeholder:"PATH"`
	Campaigns  string     `help:"Campaign file or folder, watched (campaigns.path)." placeholder:"PATH"`
	Data       string     `help:"Data directory (data_dir)." placeholder:"DIR"`
	Listen     string     `help:"Client address of the embedded NATS server (nats.listen)." placeholder:"HOST:PORT"`
	NATS       string     `name:"nats" help:"External NATS server instead of the embedded one (nats.url)." placeholder:"URL"`
	FenceFlags fenceFlags `embed:""`
}

func (c *serveCmd) Run(e *env) error {
	cfg, err := c.config(e)
	if err != nil {
		return err
	}
	log := newLogger(e, cfg.Log)
	p, err := openProviders(cfg, e.out, log)
	if err != nil {
		return err
	}
	n, err := openNode(cfg, log, p)
	if err != nil {
		return err
	}
	defer n.close()
	sources := p.watchers(log, func(lane string) { n.gateway.ResumeLane(lane) })
	if cfg.Fences.Path == "" {
		log.Warn("no fences: nothing can be entered; give --fences or fences.path")
	} else {
		if err := n.loadFences(e.ctx, e.err); err != nil {
			return err
		}
		sources = append(sources, n.watchFences)
	}
	if cfg.Campaigns.Path == "" {
		log.Warn("no campaigns: entries are recorded and nothing is pushed; give --campaigns or campaigns.path")
	} else {
		if err := n.loadCampaigns(e.ctx); err != nil {
			return err
		}
		sources = append(sources, n.watchCampaigns)
	}
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	var greeting sync.WaitGroup
	greeting.Go(func() {
		select {
		case <-n.gateway.Ready():
			fmt.Fprintf(e.out, "footfall is listening on %s\n  fences %d, campaigns %d, ledger %s\n  pushes: %s\n",
				redactURL(n.server.ClientURL()), n.gateway.Fences().Len(), n.gateway.Campaigns().Len(), cfg.DataDir, p.describe())
			if n.http != nil {
				fmt.Fprintf(e.out, "  receipts: http://%s/v1/receipts\n", n.http.ln.Addr())
			}
			if url := n.server.WebSocketURL(); url != "" {
				fmt.Fprintf(e.out, "  browsers: %s\n", url)
			}
			if n.metrics != nil {
				fmt.Fprintf(e.out, "  metrics: http://%s/metrics\n", n.metrics.Addr())
			}
		case <-ctx.Done():
		}
	})
	err = n.run(ctx, sources...)
	stop()
	greeting.Wait()
	writeFunnel(e.out, n.gateway.Status(), nil)
	return err
}

// config reads the file and lets flags have the last word.
func (c *serveCmd) config(e *env) (*Config, error) {
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return nil, err
	}
	for _, o := range []struct {
		flag string
		dst  *string
	}{{c.Fences, &cfg.Fences.Path}, {c.Campaigns, &cfg.Campaigns.Path}, {c.Data, &cfg.DataDir}, {c.Listen, &cfg.NATS.Listen}, {c.NATS, &cfg.NATS.URL}} {
		if o.flag != "" {
			*o.dst = o.flag
		}
	}
	c.FenceFlags.apply(&cfg.Fences)
	return &cfg, cfg.validate()
}
