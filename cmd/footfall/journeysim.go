package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/journey"
	"footfall/track"
)

type journeySimulateCmd struct {
	File       string     `arg:"" help:"YAML file or folder that the journey is in."`
	Happens    []string   `arg:"" optional:"" name:"happening" help:"What happens, in order: [+DURATION] and one of: event NAME [PROPERTY=VALUE …], enter|exit|dwell FENCE [tag=TAG …], joins|leaves SEGMENT, opened STEP, tag NAME=VALUE, put_in [PROPERTY=VALUE …], sent CAMPAIGN, nothing. None: the journey's own entry, and then nothing."`
	Journey    string     `help:"Id of the journey, when there are several." placeholder:"ID"`
	At         string     `help:"When it begins, by the journey's clock, such as 2026-11-28T12:00. Default: now." placeholder:"TIME"`
	Device     string     `help:"APP.DEVICE of the person: experiments go by it." default:"shop.simulated" placeholder:"APP.DEVICE"`
	Profile    string     `help:"What the device says of itself, as on device.<app>.<device>; without it a phone that can be pushed to." placeholder:"JSON"`
	Calls      string     `help:"What becomes of webhook steps' calls: delivered or failed." enum:"delivered,failed" default:"delivered"`
	Opens      []string   `help:"Times of the day at which the person has opened pushes, each on a day of its own before: 13:05,12:40,13:30. For best times." placeholder:"HH:MM"`
	Config     string     `short:"c" help:"The gateway's configuration file, for its caps." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Fences     string     `help:"GeoJSON file or folder: what fences are called, their tags and clocks." placeholder:"PATH"`
	FenceFlags fenceFlags `embed:""`
	JSON       bool       `name:"json" help:"Print the lines as JSON."`
}

func (c *journeySimulateCmd) Run(e *env) error {
	j, err := c.journey(e)
	if err != nil {
		return err
	}
	zone := j.Zone()
	if zone == nil {
		zone = time.UTC
	}
	at := time.Now()
	if c.At != "" {
		if at, err = time.ParseInLocation("2006-01-02T15:04", c.At, zone); err != nil {
			if at, err = momentOf("--at", c.At, zone); err != nil {
				return err
			}
		}
	}
	p := audience.Profile{Device: c.Device, Platform: "ios", Token: "simulated"}
	if app, device, ok := strings.Cut(c.Device, "."); !ok || app == "" || device == "" {
		return usage("--device: %q is no APP.DEVICE", c.Device)
	}
	if c.Profile != "" {
		if err := p.Merge([]byte(c.Profile), at.UnixMilli()); err != nil {
			return usage("--profile: %v", err)
		}
	}
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	s := journey.NewSimulation(j, p, at)
	s.Undelivered, s.Caps = c.Calls == "failed", cfg.Campaigns.Caps.list
	if c.Fences != "" {
		if s.Fences, err = c.FenceFlags.loadFenceSet(e.err, c.Fences); err != nil {
			return err
		}
	}
	if err := c.opened(s, at); err != nil {
		return err
	}
	if len(c.Happens) == 0 {
		s.Happen(j.Entry())
	}
	for _, text := range c.Happens {
		if at, err = happen(s, j, text, at); err != nil {
			return err
		}
	}
	s.Finish()
	if c.JSON {
		return printJSON(e.out, s.Told())
	}
	fmt.Fprintf(e.out, "%s, version %s, by the clock of %s\n", j.ID, j.Revision, zone)
	last := int64(-1)
	for _, t := range s.Told() {
		stamp := strings.Repeat(" ", len("Mon 2006-01-02 15:04:05"))
		if t.At != last {
			stamp = time.UnixMilli(t.At).In(zone).Format("Mon 2006-01-02 15:04:05")
		}
		last = t.At
		if t.Step == "" {
			fmt.Fprintf(e.out, "%s  %s\n", stamp, t.Text)
		} else {
			fmt.Fprintf(e.out, "%s    %s  %s\n", stamp, t.Step, t.Text)
		}
	}
	return nil
}

// opened counts the opens of --opens, on the days before at, the last one on the day before.
func (c *journeySimulateCmd) opened(s *journey.Simulation, at time.Time) error {
	own, _ := campaign.Zone(s.Profile.Zone) // nil: the phone names none
	clock := cmp.Or(own, s.Zone())
	year, month, day := at.In(clock).Date()
	for i, text := range c.Opens {
		t, err := time.Parse("15:04", text)
		if err != nil {
			return usage("--opens: %q is no time of the day, such as 13:05", text)
		}
		s.Hours.Add(time.Date(year, month, day-len(c.Opens)+i, t.Hour(), t.Minute(), 0, 0, clock), own)
	}
	return nil
}

// journey reads the one that is meant.
func (c *journeySimulateCmd) journey(e *env) (*journey.Journey, error) {
	lib, err := campaign.LoadLibrary(c.File)
	var js []*journey.Journey
	if err == nil {
		js, err = journey.Read(lib)
	}
	if err != nil {
		fmt.Fprintln(e.out, err)
		return nil, errFindings
	}
	var ids []string
	for _, j := range js {
		if j.ID == c.Journey || c.Journey == "" && len(js) == 1 {
			return j, nil
		}
		ids = append(ids, j.ID)
	}
	switch {
	case len(ids) == 0:
		return nil, fmt.Errorf("%s holds no journey", c.File)
	case c.Journey == "":
		return nil, usage("%s holds several journeys; choose with --journey: %s", c.File, strings.Join(ids, ", "))
	}
	return nil, usage("%s holds no journey %s; there are %s", c.File, c.Journey, strings.Join(ids, ", "))
}

// happen puts one happening in, and returns when it was.
func happen(s *journey.Simulation, j *journey.Journey, text string, at time.Time) (time.Time, error) {
	words := strings.Fields(text)
	if len(words) > 0 && strings.HasPrefix(words[0], "+") {
		d, err := parseDuration(words[0][1:])
		if err != nil {
			return at, usage("%q: %v", text, err)
		}
		at, words = at.Add(time.Duration(d)), words[1:]
	}
	s.Wait(at)
	if len(words) == 0 {
		return at, usage("%q says nothing that happens, such as: event purchase category=phones", text)
	}
	verb, rest := words[0], words[1:]
	name := ""
	if takesName := verb != "nothing" && verb != "put_in" && verb != "tag"; takesName {
		if len(rest) == 0 || strings.Contains(rest[0], "=") {
			return at, usage("%q: %s what?", text, verb)
		}
		name, rest = rest[0], rest[1:]
	}
	props := map[string]any{}
	var tags []string
	for _, w := range rest {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return at, usage("%q: %q is no NAME=VALUE", text, w)
		}
		if props[k] = plainValue(v); k == "tag" {
			tags = append(tags, v)
		}
	}
	switch verb {
	case "nothing":
	case "sent":
		s.Sent(name, props["exempt"] == true)
	case "event":
		s.Happen(journey.Input{Kind: journey.Event, Name: name, Props: props})
	case "put_in":
		s.Happen(journey.Input{Kind: journey.Enter, Props: props})
	case "opened":
		s.Happen(journey.Input{Kind: journey.Opened, Step: name})
	case "enter", "exit", "dwell":
		kind, _ := track.ParseKind(verb)
		s.Happen(journey.Input{Kind: journey.Transition, Transition: kind, Fence: name, Tags: tags})
	case "joins", "leaves":
		id, ok := watchOf(j, name)
		if !ok {
			return at, usage("%q: journey %s waits for nobody to join or leave %s", text, j.ID, name)
		}
		s.Happen(journey.Input{Kind: journey.Membered, Watch: id, OK: verb == "joins"})
	case "tag":
		patch, err := json.Marshal(map[string]any{"tags": props})
		if err == nil {
			err = s.Set(patch)
		}
		if err != nil {
			return at, usage("%q: %v", text, err)
		}
	default:
		return at, usage("%q: nothing called %s happens; there are event, enter, exit, dwell, joins, leaves, opened, tag, put_in, sent and nothing", text, verb)
	}
	return at, nil
}

func watchOf(j *journey.Journey, segment string) (id string, ok bool) {
	for _, w := range j.Watches(true) {
		if w.Segment == segment {
			return w.ID, true
		}
	}
	return "", false
}

// plainValue reads a number, true, false or null, else a text.
func plainValue(s string) any {
	var v any
	if json.Unmarshal([]byte(s), &v) == nil {
		switch v.(type) {
		case float64, bool, nil:
			return v
		}
	}
	return s
}
