package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/internal/trace"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

type campaignBacktestCmd struct {
	Trace      string     `arg:"" help:"Recorded positions: CSV (device,ts,lat,lon[,accuracy_m]), NDJSON pings or GPX, also gzip; - is standard input. They are taken in the order in which they were received."`
	Campaigns  string     `required:"" help:"Campaign file or folder; drafts are welcome, nothing is sent." placeholder:"PATH"`
	Fences     string     `required:"" help:"GeoJSON file or folder." placeholder:"PATH"`
	FenceFlags fenceFlags `embed:""`
	App        string     `help:"App of devices that are named without one." default:"trace"`
	Data       string     `help:"Data directory of a stopped gateway: people and tags come from its ledger, and the report says what differs from what it did. Without it every device is a person who can be reached." placeholder:"DIR"`
	JSON       bool       `name:"json" help:"Print the report as JSON."`
}

func (c *campaignBacktestCmd) Run(e *env) error {
	if !wire.ValidToken(c.App) {
		return usage("--app: %q is not 1 to 64 of A-Z a-z 0-9 _ -", c.App)
	}
	set, err := c.FenceFlags.loadFenceSet(e.err, c.Fences)
	if err != nil {
		return err
	}
	cs, err := campaign.Load(c.Campaigns)
	if err != nil {
		return err
	}
	campaigns, err := campaign.NewSet(cs)
	if err != nil {
		return err
	}
	report := backtestReport{Fences: set.Len()}
	for _, cm := range campaigns.All() {
		report.Campaigns = append(report.Campaigns, &campaignBacktest{Campaign: cm.ID, Held: map[campaign.Reason]int{}, Fences: map[fences.ID]int{}})
	}
	rows, err := c.rows(e, &report)
	if err != nil {
		return err
	}
	var past *ledgerPast
	cfg := stream.RehearsalConfig{Rules: track.DefaultRules(), Fences: set, Campaigns: campaigns}
	if c.Data != "" {
		if past, err = openPast(c.Data); err != nil {
			return err
		}
		defer past.db.Close()
		cfg.Registration = past.registration
	}
	r, err := stream.NewRehearsal(cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	for i := range rows {
		if i&0xfff == 0 && e.ctx.Err() != nil {
			return e.ctx.Err()
		}
		if err := r.Ping(e.ctx, track.DeviceID(rows[i].Device), rows[i].Fix); err != nil {
			return err
		}
	}
	if err := r.Flush(e.ctx); err != nil {
		return err
	}
	if past != nil && past.err != nil {
		return past.err
	}
	report.Devices, report.Verdicts = r.Devices(), r.Verdicts()
	if err := report.fill(r, past); err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", "  ")
		return enc.Encode(&report)
	}
	report.write(e.out)
	return nil
}

// rows reads the whole trace, ordered by the time of receipt. Rows that cannot be read are named and counted.
func (c *campaignBacktestCmd) rows(e *env, report *backtestReport) ([]trace.Row, error) {
	in, err := trace.Open(c.Trace)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var rows []trace.Row
	bad := func(err error) {
		if report.Unreadable++; report.Unreadable <= maxBadShown {
			fmt.Fprintln(e.err, err)
		}
	}
	for {
		row, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if re, ok := errors.AsType[*trace.RowError](err); ok {
			bad(re)
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, _, ok := wire.SplitDevice(track.DeviceID(row.Device)); !ok {
			id, err := wire.JoinDevice(c.App, row.Device)
			if err != nil {
				bad(&trace.RowError{File: c.Trace, Line: row.Line, Reason: fmt.Sprintf("device %q: %v", row.Device, err)})
				continue
			}
			row.Device = string(id)
		}
		rows = append(rows, row)
	}
	if report.Unreadable > maxBadShown {
		fmt.Fprintf(e.err, "… and %d more rows that could not be read\n", report.Unreadable-maxBadShown)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s holds no position that can be used", c.Trace)
	}
	slices.SortStableFunc(rows, func(a, b trace.Row) int { return cmp.Compare(a.Fix.ReceivedAt, b.Fix.ReceivedAt) })
	report.Positions = len(rows)
	report.From, report.To = rows[0].Fix.FixedAt, rows[0].Fix.FixedAt
	for i := range rows {
		report.From, report.To = min(report.From, rows[i].Fix.FixedAt), max(report.To, rows[i].Fix.FixedAt)
	}
	return rows, nil
}

// ledgerPast is what a stopped gateway's ledger says of people and of what they were sent.
type ledgerPast struct {
	db      *db.DB
	persons map[string]string // device -> person, of the devices met
	err     error             // the first that registration met
}

func openPast(dir string) (*ledgerPast, error) {
	ledger := filepath.Join(dir, "ledger")
	if _, err := os.Stat(ledger); err != nil {
		return nil, fmt.Errorf("%s holds no ledger: %w", dir, err)
	}
	d, err := db.OpenReadOnly(db.Config{Dir: ledger})
	if err != nil {
		return nil, err
	}
	return &ledgerPast{db: d, persons: map[string]string{}}, nil
}

// registration is a device's profile in the form in which it would be sent; {} for a device that the ledger does not
// know.
func (l *ledgerPast) registration(id track.DeviceID) json.RawMessage {
	var p audience.Profile
	err := l.db.View(func(tx *db.Tx) (err error) {
		p, _, err = audience.Get(tx, string(id))
		return err
	})
	if err != nil {
		l.err = cmp.Or(l.err, err)
		return json.RawMessage(`{}`)
	}
	patch := map[string]any{}
	text := func(name, v string) {
		if v != "" {
			patch[name] = v
		}
	}
	text("user", p.Person)
	text("platform", p.Platform)
	text("env", p.Env)
	text("locale", p.Locale)
	text("zone", p.Zone)
	if p.Reachable() {
		text("token", p.Token)
	}
	if len(p.Tags) > 0 {
		patch["tags"] = p.Tags
	}
	consent := map[string]bool{}
	if p.ConsentPush != nil {
		consent["push"] = *p.ConsentPush
	}
	if p.ConsentLocation != nil {
		consent["location"] = *p.ConsentLocation
	}
	if len(consent) > 0 {
		patch["consent"] = consent
	}
	l.persons[string(id)] = p.Person
	raw, err := json.Marshal(patch)
	if err != nil {
		l.err = cmp.Or(l.err, err)
	}
	return raw
}

// backtestReport is what the campaigns would have done. Times are Unix ms.
type backtestReport struct {
	Positions  int                 `json:"positions"`
	Devices    int                 `json:"devices"`
	Unreadable int                 `json:"unreadable"`
	From       int64               `json:"from"` // the earliest fix time
	To         int64               `json:"to"`   // the latest
	Fences     int                 `json:"fences"`
	Verdicts   map[string]int64    `json:"verdicts"`
	Entries    int                 `json:"entries"`
	Campaigns  []*campaignBacktest `json:"campaigns"`
	// Overlaps is how many people would have got pushes of more than one campaign on one day of the store.
	Overlaps int `json:"overlaps"`
}

// campaignBacktest is the part of one campaign. Every transition that it was asked about is a push or is held for
// one reason.
type campaignBacktest struct {
	Campaign string                  `json:"campaign"`
	Asked    int                     `json:"asked"`
	Pushes   int                     `json:"pushes"`
	People   int                     `json:"people"`
	Waiting  int                     `json:"waiting"` // of the pushes: for their window or the end of quiet hours
	Held     map[campaign.Reason]int `json:"held"`
	Hours    [24]int                 `json:"hours"` // pushes by the hour of the entry in the store's zone
	Fences   map[fences.ID]int       `json:"fences"`
	Past     *pastDifference         `json:"past,omitempty"`
}

// pastDifference compares with the pushes that a ledger remembers for the same time.
type pastDifference struct {
	Really     int `json:"really"`      // pushes that the gateway decided on
	Both       int `json:"both"`        // of these, the backtest has them too
	OnlyBefore int `json:"only_before"` // the gateway's alone
	OnlyNow    int `json:"only_now"`    // the backtest's alone
}

func (b *backtestReport) fill(r *stream.Rehearsal, past *ledgerPast) error {
	byID := map[string]*campaignBacktest{}
	people := map[string]map[string]bool{} // campaign -> person
	for _, c := range b.Campaigns {
		byID[c.Campaign], people[c.Campaign] = c, map[string]bool{}
	}
	days := map[string]map[string]bool{} // person and day -> campaigns
	pushes := map[string]bool{}          // decision and campaign
	err := r.Decisions(func(d *stream.Decision) error {
		if d.Kind == track.Enter.String() {
			b.Entries++
		}
		who := d.Device
		if past != nil && past.persons[d.Device] != "" {
			who = "person " + past.persons[d.Device]
		}
		when := time.UnixMilli(d.At).In(cmp.Or(zoneOf(d, nil), time.UTC))
		for i := range d.Campaigns {
			answer := &d.Campaigns[i]
			c := byID[answer.Campaign]
			c.Asked++
			if answer.MID == "" {
				c.Held[answer.Reason]++
				continue
			}
			c.Pushes++
			c.Hours[when.Hour()]++
			c.Fences[d.Fence]++
			if answer.SendAt > d.ReceivedAt {
				c.Waiting++
			}
			people[c.Campaign][who] = true
			day := who + "\x00" + when.Format(time.DateOnly)
			if days[day] == nil {
				days[day] = map[string]bool{}
			}
			days[day][c.Campaign] = true
			pushes[d.ID+"\x00"+c.Campaign] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range b.Campaigns {
		c.People = len(people[c.Campaign])
	}
	several := map[string]bool{}
	for day, cs := range days {
		if len(cs) > 1 {
			who, _, _ := strings.Cut(day, "\x00")
			several[who] = true
		}
	}
	b.Overlaps = len(several)
	if past == nil {
		return nil
	}
	return b.compare(past, byID, pushes)
}

// compare fills in what the ledger remembers of the same time.
func (b *backtestReport) compare(past *ledgerPast, byID map[string]*campaignBacktest, pushes map[string]bool) error {
	for _, c := range b.Campaigns {
		c.Past = &pastDifference{}
	}
	err := past.db.View(func(tx *db.Tx) error {
		return stream.EachDecision(tx, func(d *stream.Decision) error {
			if d.At < b.From || d.At > b.To {
				return nil
			}
			for i := range d.Campaigns {
				answer := &d.Campaigns[i]
				c := byID[answer.Campaign]
				if c == nil || answer.MID == "" {
					continue
				}
				c.Past.Really++
				if pushes[d.ID+"\x00"+c.Campaign] {
					c.Past.Both++
				}
			}
			return nil
		})
	})
	for _, c := range b.Campaigns {
		c.Past.OnlyBefore, c.Past.OnlyNow = c.Past.Really-c.Past.Both, c.Pushes-c.Past.Both
	}
	return err
}

// storesShown is how many fences the printed report names for a campaign.
const storesShown = 10

func (b *backtestReport) write(w io.Writer) {
	stamp := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04 MST") }
	fmt.Fprintf(w, "backtest of %s of %s, %s to %s\n", manyOf(b.Positions, "position"), manyOf(b.Devices, "device"), stamp(b.From), stamp(b.To))
	fmt.Fprintf(w, "against %s; nothing was sent\n\n", manyOf(b.Fences, "fence"))
	row := func(name string, n int, format string, v ...any) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-16s %9s  %s", name, thousands(int64(n)), fmt.Sprintf(format, v...)), " "))
	}
	row("entries", b.Entries, "positions: %s", listCounts(b.Verdicts))
	for _, c := range b.Campaigns {
		fmt.Fprintf(w, "\ncampaign %s\n", c.Campaign)
		detail := "to " + peopleOf(c.People)
		if c.Waiting > 0 {
			detail += fmt.Sprintf("; %s of them wait for their hour", thousands(int64(c.Waiting)))
		}
		row("would push", c.Pushes, "%s", detail)
		held := map[string]int{}
		for reason, n := range c.Held {
			held[string(reason)] = n
		}
		row("would hold", c.Asked-c.Pushes, "%s", listCounts(held))
		if c.Past != nil {
			row("really pushed", c.Past.Really, "%s of them the same; %s only then, %s only now",
				thousands(int64(c.Past.Both)), thousands(int64(c.Past.OnlyBefore)), thousands(int64(c.Past.OnlyNow)))
		}
		if c.Pushes > 0 {
			c.writeHours(w)
			c.writeFences(w)
		}
	}
	if len(b.Campaigns) > 1 {
		fmt.Fprintf(w, "\n%s would get pushes of more than one campaign on one day\n", peopleOf(b.Overlaps))
	}
}

func (c *campaignBacktest) writeHours(w io.Writer) {
	first, last := 0, 23
	for first < 23 && c.Hours[first] == 0 {
		first++
	}
	for last > first && c.Hours[last] == 0 {
		last--
	}
	most := slices.Max(c.Hours[:])
	fmt.Fprintln(w, "  by hour, store time")
	for h := first; h <= last; h++ {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("    %02d:00 %9s  %s", h, thousands(int64(c.Hours[h])), bar(c.Hours[h], most, 40)), " "))
	}
}

func (c *campaignBacktest) writeFences(w io.Writer) {
	ids := make([]fences.ID, 0, len(c.Fences))
	for id := range c.Fences {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b fences.ID) int {
		return cmp.Or(cmp.Compare(c.Fences[b], c.Fences[a]), cmp.Compare(a, b))
	})
	fmt.Fprintln(w, "  by fence")
	for _, id := range ids[:min(len(ids), storesShown)] {
		fmt.Fprintf(w, "    %9s  %s\n", thousands(int64(c.Fences[id])), id)
	}
	if n := len(ids) - storesShown; n > 0 {
		fmt.Fprintf(w, "    … and %s more (--json has all)\n", manyOf(n, "fence"))
	}
}

// bar is n in blocks, most being width of them; something is never nothing.
func bar(n, most, width int) string {
	if n == 0 {
		return ""
	}
	return strings.Repeat("█", max(1, n*width/most))
}

// manyOf is countOf for numbers that may be large.
func manyOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(int64(n)) + " " + what + "s"
}

func peopleOf(n int) string {
	if n == 1 {
		return "1 person"
	}
	return thousands(int64(n)) + " people"
}
