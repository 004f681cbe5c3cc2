package main

import (
	"errors"
	"os"

	"footfall/bench/load"
)

// raw measures what NATS itself carries, through the server that a gateway embeds or the one of --url.
func (c *benchRunCmd) raw(e *env) error {
	cfg := load.RawConfig{Clients: c.Connections, Messages: c.Msgs, Size: c.Size, Requests: c.Ack}
	if cfg.Clients < 1 || cfg.Messages < cfg.Clients || cfg.Size < 0 || cfg.Size > 1<<20 {
		return usage("--raw: %d messages (--msgs) of %d bytes (--size, at most 1 MiB) from %d clients (--connections) make no measurement", cfg.Messages, cfg.Size, cfg.Clients)
	}
	t, _, stop, err := c.target(e, load.IdleWorld())
	if err != nil {
		return err
	}
	defer stop()
	raw, err := load.RunRaw(e.ctx, t, cfg)
	if err != nil {
		return err
	}
	if c.CSV != "" {
		f, err := os.Create(c.CSV)
		if err != nil {
			return err
		}
		if err := errors.Join(raw.WriteCSV(f), f.Close()); err != nil {
			return err
		}
	}
	return raw.WriteText(e.out)
}
