package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/stream"
)

type campaignReportCmd struct {
	Campaign string `arg:"" optional:"" help:"Id of the campaign; or --all."`
	All      bool   `help:"All campaigns, and how the number of subscribers changed."`
	daysFlags
	By     string        `help:"Break the funnel down: fence, variant, hour, day, or where-when: fence by hour. With --csv also voucher and forecast: the tables of pools, and of what was expected." enum:",fence,variant,hour,day,where-when,voucher,forecast" default:"" placeholder:"WHAT"`
	Goal   string        `help:"Customer event that counts as a conversion." default:"purchase" placeholder:"NAME"`
	Within time.Duration `help:"For how long after a push it counts." default:"48h"`
	Late   time.Duration `help:"From when on a push counts as late." default:"1m"`
	CSV    bool          `name:"csv" help:"Print the funnel, or the breakdown of --by, as CSV."`
	HTML   string        `name:"html" help:"Write one page with everything into this file." placeholder:"FILE"`
	ledgerFlags
}

// errCampaign is a wrong choice of campaigns.
var errCampaign = usage("name a campaign, or give --all for every one")

func (c *campaignReportCmd) Run(e *env) error {
	if (c.Campaign == "") != c.All {
		return errCampaign
	}
	if c.CSV && c.JSON {
		return usage("give --csv or --json, not both")
	}
	if !c.CSV && (c.By == byVoucher || c.By == byForecast) {
		return usage("--by %s is for --csv; without it the report has them anyway", c.By)
	}
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	r, err := c.fetch(e, q)
	if err != nil {
		return err
	}
	if c.HTML != "" {
		out, err := createOut(c.HTML)
		if err != nil {
			return err
		}
		if err := out.finish(writeReportPage(out, r)); err != nil {
			return err
		}
		if !c.CSV && !c.JSON {
			_, err := fmt.Fprintf(e.out, "%s written\n", c.HTML)
			return err
		}
	}
	switch {
	case c.JSON:
		return printJSON(e.out, r)
	case c.CSV:
		return writeReportCSV(e.out, r, c.By)
	}
	return writeReport(e.out, r, c.By)
}

// daysFlags say which days on the stores' clocks.
type daysFlags struct {
	Day  string `help:"One day on the stores' clocks: 2026-11-28, today or yesterday." placeholder:"DATE"`
	From string `help:"First day; default six days before --to." placeholder:"DATE"`
	To   string `help:"Last day; default today." placeholder:"DATE"`
}

func (c *daysFlags) days(now time.Time) (from, to funnel.Day, err error) {
	day := func(flag, text string, otherwise funnel.Day) funnel.Day {
		_, offset := now.Zone()
		today := funnel.DayOf(now.UnixMilli(), offset/60)
		switch text {
		case "":
			return otherwise
		case "today":
			return today
		case "yesterday":
			return today - 1
		}
		d, e := funnel.ParseDay(text)
		if e != nil && err == nil {
			err = usage("%s: %v", flag, e)
		}
		return d
	}
	if c.Day != "" {
		if c.From != "" || c.To != "" {
			return 0, 0, usage("give --day, or --from and --to")
		}
		from = day("--day", c.Day, 0)
		return from, from, err
	}
	to = day("--to", c.To, day("", "today", 0))
	from = day("--from", c.From, to-6)
	return from, to, err
}

func (c *campaignReportCmd) query(now time.Time) (q funnel.Query, err error) {
	q = funnel.Query{Campaign: c.Campaign, Goal: c.Goal, WithinMS: c.Within.Milliseconds(), LateMS: c.Late.Milliseconds()}
	if q.From, q.To, err = c.days(now); err != nil {
		return q, err
	}
	if err := q.Check(); err != nil {
		return q, usage("%s", strings.TrimPrefix(err.Error(), "funnel: "))
	}
	return q, nil
}

// fetch gets the report from the running gateway, or makes it from the ledger of one that is not running.
func (c *campaignReportCmd) fetch(e *env, q funnel.Query) (r *funnel.Report, err error) {
	if c.Data != "" {
		err = c.open(db.OpenReadOnly, func(d *db.DB) (err error) {
			r, err = stream.Report(e.ctx, d, q, time.Now())
			return err
		})
	} else {
		err = c.ask(stream.ReportSubject, q, &r, 40*time.Second)
	}
	if errors.Is(err, stream.ErrNoCampaign) {
		err = errors.New(strings.TrimPrefix(err.Error(), "stream: "))
	}
	return r, err
}

// breakdown is the groups of one kind; "" is the total alone.
func breakdown(c *funnel.Campaign, by string) []funnel.Group {
	switch by {
	case "fence":
		return c.ByFence
	case "variant":
		return c.ByVariant
	case "hour":
		return c.ByHour
	case "day":
		return c.ByDay
	}
	return []funnel.Group{c.Total}
}

// whereWhen is the breakdown by fence and hour. byVoucher and byForecast are no breakdowns, but tables of their own.
const (
	whereWhen  = "where-when"
	byVoucher  = "voucher"
	byForecast = "forecast"
)

// writeVouchersCSV writes one row for each pool that a campaign has given codes of. put_in is the sum of issued,
// issued_by_others, redeemed_unissued, left and expired.
func writeVouchersCSV(out *csv.Writer, r *funnel.Report) error {
	_ = out.Write([]string{"campaign", "pool", "issued", "redeemed", "with_purchase", "issued_by_others", "redeemed_unissued", "left", "expired", "put_in", "ends"}) // Flush has the error
	for _, c := range r.Campaigns {
		for i := range c.Vouchers {
			v := &c.Vouchers[i]
			row := []string{c.ID, v.Pool}
			for _, n := range []int64{v.Issued, v.Redeemed, v.Purchases, v.Others, v.Ungiven, v.Left, v.Expired, v.PutIn} {
				row = append(row, strconv.FormatInt(n, 10))
			}
			_ = out.Write(append(row, isoTime(v.Expires)))
		}
	}
	out.Flush()
	return out.Error()
}

// writeForecastsCSV writes one row for each forecast that was kept. What is not known before the days are over is empty.
func writeForecastsCSV(out *csv.Writer, r *funnel.Report) error {
	_ = out.Write([]string{"campaign", "made_at", "from", "to", "expected", "low", "high", "claimed", "error", "inside"})
	figure := func(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	for _, c := range r.Campaigns {
		for i := range c.Forecasts {
			f := &c.Forecasts[i]
			row := []string{c.ID, isoTime(f.MadeAt), f.From.String(), f.To.String(), figure(f.Mean, 1), figure(f.Low, 1), figure(f.High, 1), "", "", ""}
			if f.Claimed != nil {
				row[7], row[9] = strconv.FormatInt(*f.Claimed, 10), strconv.FormatBool(f.Inside)
				if *f.Claimed > 0 {
					row[8] = figure(f.Error, 4)
				}
			}
			_ = out.Write(row)
		}
	}
	out.Flush()
	return out.Error()
}

// writeGridCSV writes one row for each fence and hour in which somebody came.
func writeGridCSV(out *csv.Writer, r *funnel.Report) error {
	_ = out.Write([]string{"campaign", "fence", "hour", "from", "to", "entered", "accepted", "opened", "converted"}) // Flush has the error
	for _, c := range r.Campaigns {
		for i := range c.WhereWhen {
			g := &c.WhereWhen[i]
			for h, n := range g.Hours {
				if n == (funnel.GridCell{}) {
					continue
				}
				row := []string{c.ID, g.Fence, fmt.Sprintf("%02d", h), r.From.String(), r.To.String()}
				for _, v := range []int64{n.Entered, n.Accepted, n.Opened, n.Converted} {
					row = append(row, strconv.FormatInt(v, 10))
				}
				_ = out.Write(row)
			}
		}
	}
	out.Flush()
	return out.Error()
}

// gridShown is how many fences the printed table has.
const gridShown = 30

// grid prints where and when people came: entries, hours across.
func (p *reportPrinter) grid(c *funnel.Campaign) {
	first, last := 24, -1
	for i := range c.WhereWhen {
		for h, n := range c.WhereWhen[i].Hours {
			if n.Entered > 0 {
				first, last = min(first, h), max(last, h)
			}
		}
	}
	if last < 0 {
		return
	}
	p.line("  entered, by fence and hour of the store's day")
	head := fmt.Sprintf("    %-24s %8s", "", "all day")
	for h := first; h <= last; h++ {
		head += fmt.Sprintf(" %5d", h)
	}
	p.line("%s", head)
	for i := range c.WhereWhen[:min(len(c.WhereWhen), gridShown)] {
		g := &c.WhereWhen[i]
		row := fmt.Sprintf("    %-24s %8s", groupName("fence", g.Fence), say.Thousands(g.Entered()))
		for h := first; h <= last; h++ {
			n := "·"
			if v := g.Hours[h].Entered; v > 0 {
				n = strconv.FormatInt(v, 10)
			}
			row += fmt.Sprintf(" %5s", n)
		}
		p.line("%s", row)
	}
	if n := len(c.WhereWhen) - gridShown; n > 0 {
		p.line("    … and %s more (--csv has all)", say.Count(n, "fence"))
	}
}

// groupName is how a key of a breakdown is shown.
func groupName(by, key string) string {
	switch {
	case by == "hour":
		return key + ":00"
	case key == "":
		return "(none)"
	}
	return key
}

func writeReportCSV(w io.Writer, r *funnel.Report, by string) error {
	out := csv.NewWriter(w)
	switch by {
	case whereWhen:
		return writeGridCSV(out, r)
	case byVoucher:
		return writeVouchersCSV(out, r)
	case byForecast:
		return writeForecastsCSV(out, r)
	}
	head := []string{"campaign"}
	if by != "" {
		head = append(head, by)
	}
	_ = out.Write(append(head, "from", "to", "people", "people_reached", "entered", "held", "claimed", "owed", "not_sent", "sent", "accepted",
		"delivered", "displayed", "opened", "dismissed", "converted", "devices", "devices_accepted", "devices_delivered", "devices_opened")) // Flush has the error
	for _, c := range r.Campaigns {
		for _, g := range breakdown(c, by) {
			row := []string{c.ID}
			if by != "" {
				row = append(row, g.Key)
			}
			row = append(row, r.From.String(), r.To.String())
			for _, n := range []int64{g.People, g.Reached, g.Entered, stream.Total(g.Held), g.Claimed, g.Owed, stream.Total(g.NotSent), g.Sent, g.Accepted,
				g.Delivered, g.Displayed, g.Opened, g.Dismissed, g.Converted, g.Devices.Meant, g.Devices.Accepted, g.Devices.Delivered, g.Devices.Opened} {
				row = append(row, strconv.FormatInt(n, 10))
			}
			_ = out.Write(row)
		}
	}
	out.Flush()
	return out.Error()
}

// writeReport prints a report for people.
func writeReport(w io.Writer, r *funnel.Report, by string) error {
	p := &reportPrinter{w: w}
	days := r.From.String()
	if r.To != r.From {
		days += " to " + r.To.String()
	}
	p.line("%s, on the stores' clocks", days)
	if r.Query.Campaign == "" {
		p.row("transitions", r.Transitions, "that campaigns were asked about, and entries at which none was")
		if r.NoCampaign > 0 {
			p.row("  no campaign", r.NoCampaign, "entries that no campaign is for")
		}
	}
	if len(r.Campaigns) == 0 {
		p.line("no campaign was asked about anything on these days")
	}
	for _, c := range r.Campaigns {
		p.campaign(r, c, by)
	}
	if g := r.Growth; g != nil {
		p.growth(g)
	}
	return p.err
}

// reportPrinter writes lines; the first error stays.
type reportPrinter struct {
	w   io.Writer
	err error
}

func (p *reportPrinter) line(format string, v ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, v...), " "))
	}
}

func (p *reportPrinter) row(name string, n int64, detail string) {
	p.line("  %-22s %10s  %s", name, say.Thousands(n), detail)
}

func (p *reportPrinter) campaign(r *funnel.Report, c *funnel.Campaign, by string) {
	t := &c.Total
	p.line("\ncampaign %s", c.ID)
	p.row("entered", t.Entered, say.People(int(t.People)))
	if n := stream.Total(t.Held); n > 0 {
		p.row("  held", n, say.Counts(t.Held))
	}
	p.row("claimed", t.Claimed, share(t.Claimed, t.Entered, "of entered"))
	if n := stream.Total(t.NotSent); n > 0 {
		p.row("  not accepted", n, say.Counts(t.NotSent))
	}
	if t.Owed > 0 {
		p.row("  on its way", t.Owed, "")
	}
	p.row("sent", t.Sent, share(t.Sent, t.Claimed, "of claimed"))
	p.row("accepted", t.Accepted, share(t.Accepted, t.Claimed, "of claimed")+", "+say.People(int(t.Reached)))
	p.row("delivered", t.Delivered, share(t.Delivered, t.Accepted, "of accepted"))
	p.row("opened", t.Opened, share(t.Opened, t.Accepted, "of accepted")+", "+share(t.Opened, t.Delivered, "of delivered"))
	p.row("converted", t.Converted, share(t.Converted, t.Claimed, "of claimed")+", "+share2(t.Converted, t.Opened, "of opened"))
	if d := t.Devices; d.Meant > t.Claimed {
		p.row("devices", d.Meant, fmt.Sprintf("of the claimed; %s accepted, %s delivered, %s opened", say.Thousands(d.Accepted), say.Thousands(d.Delivered), say.Thousands(d.Opened)))
	}

	p.line("  rates")
	for _, k := range c.Rates {
		p.line("    %-22s %9s  %s of %s: %s", k.Name, say.Rate(k.Rate, k.Whole), say.Thousands(k.Part), say.Thousands(k.Whole), k.Says)
	}
	for _, k := range c.Cohort {
		p.line("    %-22s %9s  %s of %s: %s", k.Name, say.Rate(k.Rate, k.Whole), say.Thousands(k.Part), say.Thousands(k.Whole), k.Says)
	}
	switch by {
	case "":
	case whereWhen:
		p.grid(c)
	default:
		p.groups(c, by)
	}
	p.line("  conversions, %s within %s, by what is credited", r.Goal, say.Span(r.WithinMS))
	for _, k := range c.Attribution {
		p.line("    %-22s %9s  %s%s", strings.ReplaceAll(k.Model, "_", " "), say.Thousands(k.Conversions), k.Says, valueOf(k.Value))
	}
	if c.Lift != nil {
		p.lift(r, c.Lift)
	}
	if len(c.Lateness) > 0 {
		p.lateness(r, c.Lateness)
	}
	for i := range c.Forecasts {
		p.forecast(&c.Forecasts[i])
	}
	for i := range c.Vouchers {
		p.vouchers(&c.Vouchers[i])
	}
}

// forecast prints what was expected, beside what came.
func (p *reportPrinter) forecast(f *funnel.Forecast) {
	days := f.From.String()
	if f.To != f.From {
		days += " to " + f.To.String()
	}
	p.line("  forecast of %s for %s: %s claimed, %s to %s 95 times out of 100", isoTime(f.MadeAt), days,
		say.Thousands(int64(math.Round(f.Mean))), say.Thousands(int64(math.Floor(f.Low))), say.Thousands(int64(math.Ceil(f.High))))
	if f.Claimed == nil {
		p.line("    the days are not over everywhere")
		return
	}
	off := "nobody came"
	if *f.Claimed > 0 {
		off = fmt.Sprintf("the forecast was off by %+.1f %%", 100*f.Error)
	}
	p.line("    %-22s %9s  %s, %s the interval", "claimed", say.Thousands(*f.Claimed), off, map[bool]string{true: "inside", false: "outside"}[f.Inside])
}

// vouchers prints how a pool stands. The lines up to "put in" add up to it.
func (p *reportPrinter) vouchers(v *funnel.Vouchers) {
	ends := ""
	if v.Expires != 0 {
		ends = ", until " + isoTime(v.Expires)
	}
	p.line("  vouchers of pool %s, as it is now and since it was made%s", v.Pool, ends)
	for _, k := range []struct {
		name  string
		n     int64
		says  string
		shown bool
	}{
		{"issued", v.Issued, "by pushes of this campaign, and not given back", true},
		{"  redeemed", v.Redeemed, share(v.Redeemed, v.Issued, "of issued"), true},
		{"    with a purchase", v.Purchases, share(v.Purchases, v.Redeemed, "of redeemed"), true},
		{"  not redeemed", v.Issued - v.Redeemed, "", true},
		{"issued by others", v.Others, "", v.Others > 0},
		{"redeemed unissued", v.Ungiven, "shown at the till before anybody was given them", v.Ungiven > 0},
		{"left", v.Left, "", true},
		{"expired", v.Expired, "before they were given", v.Expired > 0},
		{"put in", v.PutIn, "", true},
	} {
		if k.shown {
			p.line("    %-22s %9s  %s", k.name, say.Thousands(k.n), k.says)
		}
	}
}

func (p *reportPrinter) groups(c *funnel.Campaign, by string) {
	p.line("  by %s", by)
	p.line("    %-20s %9s %9s %9s %9s %9s %9s %9s  %s", by, "entered", "claimed", "sent", "accepted", "delivered", "opened", "converted", "")
	var most int64
	groups := breakdown(c, by)
	for i := range groups {
		most = max(most, groups[i].Entered)
	}
	for i := range groups {
		g := &groups[i]
		p.line("    %-20s %9s %9s %9s %9s %9s %9s %9s  %s", groupName(by, g.Key), say.Thousands(g.Entered), say.Thousands(g.Claimed), say.Thousands(g.Sent), say.Thousands(g.Accepted),
			say.Thousands(g.Delivered), say.Thousands(g.Opened), say.Thousands(g.Converted), say.Bar(int(g.Entered), int(most), 20))
	}
}

func (p *reportPrinter) lift(r *funnel.Report, l *funnel.Lift) {
	p.line("  against the holdout: people with %s within %s of their entry", r.Goal, say.Span(r.WithinMS))
	arm := func(name string, a funnel.Arm) {
		p.line("    %-22s %9s  %s of %s", name, say.Rate(a.Rate, a.People), say.Thousands(a.Converted), say.Thousands(a.People))
	}
	arm("notified", l.Notified)
	arm("held out", l.Holdout)
	if !l.Enough {
		p.line("    %s", l.Why)
		return
	}
	p.line("    %-22s %9s  points, 95 %% interval %s to %s%s", "difference", points(l.Diff), points(l.DiffLow), points(l.DiffHigh),
		map[bool]string{true: ": no effect is shown"}[l.DiffLow <= 0 && l.DiffHigh >= 0])
	if l.Ratio > 0 {
		p.line("    %-22s %9s  95 %% interval %s to %s", "times as many", say.Times(l.Ratio), say.Times(l.RatioLow), say.Times(l.RatioHigh))
	}
	p.line("    %-22s %9s  points: what groups of this size would show four times out of five", "smallest effect", points(l.Detectable))
}

func (p *reportPrinter) lateness(r *funnel.Report, rows []funnel.Lateness) {
	p.line("  how long it took, median and 90 of 100")
	head := fmt.Sprintf("    %-20s %8s", "", "pushes")
	for _, s := range funnel.LatenessStages {
		head += fmt.Sprintf(" %15s", s.Name)
	}
	p.line("%s %15s", head, "in all")
	for i := range rows {
		k := &rows[i]
		line := fmt.Sprintf("    %-20s %8s", k.Source+" "+k.Platform, say.Thousands(k.Pushes))
		for _, t := range append(k.Stages[:], k.Total) {
			line += fmt.Sprintf(" %15s", medianAnd90(t))
		}
		p.line("%s", line)
	}
	var late int64
	by := map[string]int64{}
	for i := range rows {
		late += rows[i].Late
		for s, n := range rows[i].LateBy {
			if n > 0 {
				by[funnel.LatenessStages[s].Name] += n
			}
		}
	}
	if late == 0 {
		p.line("    none took longer than %s", say.Span(r.LateMS))
		return
	}
	p.line("    %s took longer than %s, most of the time at: %s", say.Count(int(late), "push"), say.Span(r.LateMS), say.Counts(by))
}

func (p *reportPrinter) growth(g *funnel.Growth) {
	var joined int64
	left := map[string]int64{}
	for i := range g.Days {
		joined += g.Days[i].Joined
		for why, n := range g.Days[i].Left {
			left[why] += n
		}
	}
	p.line("\nsubscribers: devices that can be pushed to, days in UTC")
	p.row("at the beginning", g.Start, "")
	p.row("  joined", joined, "")
	p.row("  left", stream.Total(left), say.Counts(left))
	times := ""
	if g.Start > 0 {
		times = fmt.Sprintf("%.2f times as many", float64(g.End)/float64(g.Start))
	}
	p.row("at the end", g.End, times)
}

// share is "37.5 % of accepted"; nothing is no share.
func share(part, whole int64, of string) string { return say.Percent(part, whole, 1) + " " + of }

func share2(part, whole int64, of string) string { return say.Percent(part, whole, 2) + " " + of }

// points is a difference of rates in percentage points.
func points(d float64) string { return strconv.FormatFloat(100*d, 'f', 2, 64) }

func medianAnd90(t funnel.Times) string {
	if t.Count == 0 {
		return "–"
	}
	return say.Span(t.P50) + " / " + say.Span(t.P90)
}

func valueOf(v map[string]float64) string {
	var parts []string
	for _, currency := range slices.Sorted(maps.Keys(v)) {
		parts = append(parts, strings.TrimSpace(say.Thousands(int64(math.Round(v[currency])))+" "+currency))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, ", ")
}
