package main

import (
	"errors"
	"fmt"
	"time"

	"footfall/stream/natsd"
	"footfall/stream/wire"
	"footfall/track"
)

type deviceCmd struct {
	Token deviceTokenCmd `cmd:"" help:"Print the NATS token of one device, which is good for that device's subjects alone."`
}

type deviceTokenCmd struct {
	Config string        `short:"c" help:"Configuration file." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	For    time.Duration `help:"How long it is good, 90m or 720h; the server then ends its connections. 0: without an end." default:"0"`
	Device string        `arg:"" help:"App and device, as in the subjects: shop.d1." placeholder:"APP.DEVICE"`
}

func (c *deviceTokenCmd) Run(e *env) error {
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	app, device, ok := wire.SplitDevice(track.DeviceID(c.Device))
	if !ok {
		return fmt.Errorf("device token: %q is not APP.DEVICE, each 1 to 64 of A-Z a-z 0-9 _ -", c.Device)
	}
	sc, err := cfg.server()
	if err != nil {
		return err
	}
	if sc.DeviceSecret == "" {
		return errors.New("device token: nats.device_secret_file is not set, so devices have no tokens of their own")
	}
	var until time.Time
	switch {
	case c.For < 0 || c.For > 0 && c.For < time.Second:
		return fmt.Errorf("device token: --for %v is less than a second; leave it out for a token without an end", c.For)
	case c.For > 0:
		until = time.Now().Add(c.For)
	}
	fmt.Fprintln(e.out, natsd.DeviceToken(sc.DeviceSecret, app, device, until))
	return nil
}
