package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/stream"
	"footfall/stream/wire"
)

// whatIf says what one more position would do.
func (c *explainCmd) whatIf(e *env) error {
	if c.At != "" {
		return usage("the time of --what-if is its third part: --what-if 50.45,30.52,%s", c.At)
	}
	var loc *time.Location
	if c.Zone != "" {
		var err error
		if loc, err = time.LoadLocation(c.Zone); err != nil {
			return usage("--zone: %q is not an IANA time zone such as Europe/Kyiv", c.Zone)
		}
	}
	q := stream.WhatIfRequest{App: c.App, Campaign: c.Campaign, Fence: fences.ID(c.Fence), Accuracy: c.Accuracy, Backwards: true}
	if c.Device != "" {
		id, err := c.device()
		if err != nil {
			return err
		}
		q.App, q.Device, _ = wire.SplitDevice(id)
	} else if q.App == "" {
		return usage("whose position? give APP.DEVICE, or --app APP for a phone that nobody has seen yet")
	}
	parts := strings.Split(c.WhatIf, ",")
	if len(parts) < 2 || len(parts) > 3 {
		return usage("--what-if: %q is not LAT,LON or LAT,LON,TIME, such as 50.4501,30.5234,14:05", c.WhatIf)
	}
	var err error
	for i, to := range []*float64{&q.Lat, &q.Lon} {
		if *to, err = strconv.ParseFloat(strings.TrimSpace(parts[i]), 64); err != nil {
			return usage("--what-if: %q is not a number of degrees", parts[i])
		}
	}
	if len(parts) == 3 {
		at, err := momentOf("--what-if", strings.TrimSpace(parts[2]), loc)
		if err != nil {
			return err
		}
		q.At = at.UnixMilli()
	}
	answer, err := c.askWhatIf(e, &q)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		return enc.Encode(answer)
	}
	who := answer.Device
	if q.Device == "" {
		who = "a phone that nobody has seen yet"
	}
	writeWhatIf(e.out, who, answer, loc)
	return nil
}

// maxDrafts is how much a question may carry: NATS takes a megabyte.
const maxDrafts = 900 << 10

// askWhatIf asks the running gateway, or the ledger of one that is not running.
func (c *explainCmd) askWhatIf(e *env, q *stream.WhatIfRequest) (*stream.WhatIf, error) {
	var lib *campaign.Library
	var fs []fences.Fence
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return nil, err
	}
	if c.Gateway.Data != "" {
		cfg.Fences.Path, cfg.Campaigns.Path = cmp.Or(c.Fences, cfg.Fences.Path), cmp.Or(c.Campaigns, cfg.Campaigns.Path)
		if cfg.Fences.Path == "" || cfg.Campaigns.Path == "" {
			return nil, usage("a ledger does not know fences and campaigns; give --fences and --campaigns, or --config FILE")
		}
	} else {
		cfg.Fences.Path, cfg.Campaigns.Path = c.Fences, c.Campaigns // the drafts alone: it has the others
	}
	if cfg.Fences.Path != "" {
		set, err := loadFenceSet(e.err, cfg.Fences.Path, cfg.Fences.options())
		if err != nil {
			return nil, err
		}
		for i := range int32(set.Len()) {
			fs = append(fs, *set.At(i))
		}
	}
	if cfg.Campaigns.Path != "" {
		if lib, err = campaign.LoadLibrary(cfg.Campaigns.Path); err != nil {
			return nil, err
		}
	}
	var answer *stream.WhatIf
	if c.Gateway.Data != "" {
		campaigns, err := campaign.NewSet(lib.Campaigns)
		if err != nil {
			return nil, err
		}
		err = c.Gateway.open(db.OpenReadOnly, func(d *db.DB) (err error) {
			answer, err = stream.WhatIfStored(e.ctx, d, cfg.rules(), fs, campaigns, cfg.Campaigns.Caps.list, *q, time.Now())
			return err
		})
		return answer, err
	}
	if cfg.Fences.Path != "" {
		q.Fences = string(fences.Marshal(fs))
	}
	if cfg.Campaigns.Path != "" {
		if q.Campaigns, err = draftText(cfg.Campaigns.Path); err != nil {
			return nil, err
		}
	}
	if n := len(q.Fences) + len(q.Campaigns); n > maxDrafts {
		return nil, fmt.Errorf("the drafts are %d KB, too large for one question (%d KB); give a file with what differs", n>>10, maxDrafts>>10)
	}
	err = c.Gateway.ask(stream.WhatIfSubject, q, &answer, 10*time.Second)
	return answer, err
}

// draftText is the text of a campaign file, or of those of a folder.
func draftText(path string) (string, error) {
	files, err := campaign.Files(path)
	if err != nil {
		return "", err
	}
	var docs []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		docs = append(docs, strings.TrimPrefix(string(text), "\ufeff"))
	}
	return strings.Join(docs, "\n---\n"), nil
}

func writeWhatIf(w io.Writer, who string, a *stream.WhatIf, loc *time.Location) {
	for i := range a.Decisions {
		loc = zoneOf(&a.Decisions[i], loc)
	}
	fmt.Fprintf(w, "what if %s were there at %s; nothing of this is stored or sent\n", who, stamp3(a.At, loc))
	if a.Anew {
		fmt.Fprintln(w, "  it has sent later positions, so this is as if it were seen for the first time; claims and history are today's")
	}
	for _, in := range a.Inside {
		fmt.Fprintf(w, "  it is inside %s since %s\n", in.Fence, stamp3(in.Since, loc))
	}
	switch {
	case a.Refusal != "":
		fmt.Fprintf(w, "  ✗ the position would be refused: %s\n", a.Refusal)
	case a.Change != "":
		fmt.Fprintf(w, "  ✗ the position would not be believed (%s); it would take %s\n", a.Verdict, a.Change)
	case len(a.Decisions) == 0:
		fmt.Fprintf(w, "  ✗ the position would be %s, and change nothing at any fence\n", a.Verdict)
	}
	for i := range a.Decisions {
		writeDecision(w, &a.Decisions[i], nil, loc, true)
	}
	if n := a.NotAsked; n != nil {
		fmt.Fprintf(w, "\ncampaign %s would not be asked: it waits for %s\n", n.Campaign, n.WaitsFor)
		if n.Nearest != nil {
			writeNearest(w, n.Nearest)
		}
	}
	if len(a.Nearest) > 0 {
		fmt.Fprintln(w, "\nnearest")
	}
	for i := range a.Nearest {
		writeNearest(w, &a.Nearest[i])
	}
}
