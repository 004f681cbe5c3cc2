package main

import (
	"fmt"
	"strings"
	"time"

	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/stream"
	"footfall/track"
)

// someoneFlags name a device or a person.
type someoneFlags struct {
	Device string `arg:"" optional:"" help:"Device, as app.device; or --person."`
	Person string `help:"A person, as the app names them, with all devices." placeholder:"ID"`
}

func (f *someoneFlags) someone() (stream.Someone, error) {
	if (f.Device == "") == (f.Person == "") {
		return stream.Someone{}, usage("name a device as APP.DEVICE, or give --person")
	}
	if f.Person != "" {
		return stream.Someone{Person: f.Person}, nil
	}
	app, device, ok := strings.Cut(f.Device, ".")
	if !ok {
		return stream.Someone{}, usage("which app? write %s as APP.%s", f.Device, f.Device)
	}
	return stream.Someone{App: app, Device: device}, nil
}

type forgetCmd struct {
	someoneFlags
	Yes  bool `help:"Do it; without this the command only says what it would need."`
	JSON bool `name:"json" help:"Print the receipt as JSON."`
	serverFlags
}

func (c *forgetCmd) Run(e *env) error {
	who, err := c.someone()
	if err != nil {
		return err
	}
	if !c.Yes {
		return usage("what is erased cannot be brought back: give --yes (footfall export prints it before)")
	}
	var f stream.Forgotten
	if err := c.ask(stream.ForgetSubject, who, &f, stream.ForgetPatience+10*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, f)
	}
	name := "person " + f.Person
	if f.Person == "" {
		name = strings.Join(f.Devices, ", ")
	}
	fmt.Fprintf(e.out, "%s: forgotten at %s, %s\n", name, stamp3(f.At, time.UTC), say.Count(len(f.Devices), "device"))
	lines := f.Summary()
	if len(lines) == 0 {
		lines = []string{"nothing was kept"}
	}
	for _, line := range lines {
		fmt.Fprintf(e.out, "  %s\n", line)
	}
	if f.Note != "" {
		fmt.Fprintf(e.out, "note: %s\n", f.Note)
	}
	return nil
}

type exportCmd struct {
	someoneFlags
	Gateway gatewayFlags `embed:""`
}

func (c *exportCmd) Run(e *env) error {
	who, err := c.someone()
	if err != nil {
		return err
	}
	var all stream.Export
	pages := func(page func(q stream.ExportRequest) (stream.Export, error)) error {
		for _, part := range stream.ExportParts() {
			for more := true; more; {
				x, err := page(stream.ExportRequest{Someone: who, Part: part, Skip: all.Rows(part)})
				if err != nil {
					return err
				}
				all.Add(&x)
				more = x.More
			}
		}
		return nil
	}
	if c.Gateway.Data != "" {
		err = c.Gateway.view(func(tx *db.Tx) error {
			return pages(func(q stream.ExportRequest) (stream.Export, error) {
				return stream.ExportFrom(tx, track.DefaultRules(), q)
			})
		})
	} else {
		err = pages(func(q stream.ExportRequest) (x stream.Export, err error) {
			err = c.Gateway.ask(stream.ExportSubject, q, &x, 40*time.Second)
			return x, err
		})
	}
	if err != nil {
		return err
	}
	return printJSON(e.out, &all)
}
