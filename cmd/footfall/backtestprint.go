package main

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/internal/page"
	"footfall/internal/say"
)

// storesShown is how many fences the printed report names for a campaign.
const storesShown = 10

func (b *backtestReport) write(w io.Writer) {
	stamp := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04 MST") }
	what, from, to := "trace", b.From, b.To
	if b.Log {
		what, from, to = "input log", b.ReceivedFrom, b.ReceivedTo
	}
	fmt.Fprintf(w, "backtest of %s of %s, %s of %s to %s\n", say.Many(b.Positions, "position"), say.Many(b.Devices, "device"), what, stamp(from), stamp(to))
	fmt.Fprintf(w, "against %s in %s; nothing was sent\n\n", say.Many(b.Fences, "fence"), say.Span(b.Took))
	row := func(name string, n int, format string, v ...any) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-16s %9s  %s", name, say.Thousands(int64(n)), fmt.Sprintf(format, v...)), " "))
	}
	row("entries", b.Entries, "positions: %s", say.Counts(b.Verdicts))
	if b.Withdrawn > 0 {
		row("left out", b.Withdrawn, "positions: consent to them has been withdrawn since")
	}
	if b.Log && b.Unreadable > 0 {
		row("not readable", b.Unreadable, "batches of the log")
	}
	for _, c := range b.Campaigns {
		fmt.Fprintf(w, "\ncampaign %s\n", c.Campaign)
		detail := "to " + say.People(c.People)
		if c.Waiting > 0 {
			detail += fmt.Sprintf("; %s of them wait for their hour", say.Thousands(int64(c.Waiting)))
		}
		row("would push", c.Pushes, "%s", detail)
		row("would hold", c.Asked-c.Pushes, "%s", listHeld(c.Held))
		if p := c.Past; p != nil {
			row("really pushed", p.Really, "%s of them the same; %s only then, %s only now",
				say.Thousands(int64(p.Both)), say.Thousands(int64(p.OnlyBefore)), say.Thousands(int64(p.OnlyNow)))
		}
		if c.Pushes > 0 {
			c.writeHours(w)
		}
		c.writeFences(w)
	}
	if len(b.Campaigns) > 1 {
		fmt.Fprintf(w, "\n%s would get pushes of more than one campaign on one day\n", say.People(b.Overlaps))
	}
}

// listHeld prints why pushes were held, the most frequent first.
func listHeld(held map[campaign.Reason]int) string {
	counts := make(map[string]int, len(held))
	for reason, n := range held {
		counts[string(reason)] = n
	}
	return say.Counts(counts)
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
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("    %02d:00 %9s  %s", h, say.Thousands(int64(c.Hours[h])), say.Bar(c.Hours[h], most, 40)), " "))
	}
}

// writeFences lists the fences with most pushes, now or then.
func (c *campaignBacktest) writeFences(w io.Writer) {
	shown := slices.DeleteFunc(slices.Clone(c.Fences), func(f *fenceBacktest) bool { return f.most() == 0 })
	if len(shown) == 0 {
		return
	}
	head := fmt.Sprintf("  %-22s %9s", "by fence", "push")
	if c.Past != nil {
		head += fmt.Sprintf(" %9s %9s %9s", "really", "only then", "only now")
	}
	fmt.Fprintln(w, head+"  held")
	for _, f := range shown[:min(len(shown), storesShown)] {
		fmt.Fprintf(w, "    %-20s %9s", shorten(say.Named(string(f.Fence), f.Name), 20), say.Thousands(int64(f.Pushes)))
		if p := f.Past; p != nil {
			fmt.Fprintf(w, " %9s %9s %9s", say.Thousands(int64(p.Really)), say.Thousands(int64(p.OnlyBefore)), say.Thousands(int64(p.OnlyNow)))
		}
		fmt.Fprintln(w, strings.TrimRight("  "+listHeld(f.Held), " "))
	}
	if n := len(shown) - storesShown; n > 0 {
		fmt.Fprintf(w, "    … and %s more (--csv, --json and --html have all)\n", say.Many(n, "fence"))
	}
}

// shorten cuts text to n characters.
func shorten(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// writeCSV prints a line for each campaign, fence and hour with a push, now or then. The hour "all" is the whole day, and has
// the fence's other counts.
func (b *backtestReport) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"campaign", "fence", "name", "hour", "pushes", "really", "both", "only_then", "only_now", "asked", "held"}) // Error has it
	for _, c := range b.Campaigns {
		for _, f := range c.Fences {
			all := []string{c.Campaign, string(f.Fence), f.Name, "all", strconv.Itoa(f.Pushes), "", "", "", "", strconv.Itoa(f.Asked), listHeld(f.Held)}
			if p := f.Past; p != nil {
				for i, n := range []int{p.Really, p.Both, p.OnlyBefore, p.OnlyNow} {
					all[5+i] = strconv.Itoa(n)
				}
			}
			_ = out.Write(all)
			for h, n := range f.Hours {
				really := ""
				if f.Past != nil {
					really = strconv.Itoa(f.Past.Hours[h])
				}
				if n > 0 || really != "" && really != "0" {
					_ = out.Write([]string{c.Campaign, string(f.Fence), f.Name, strconv.Itoa(h), strconv.Itoa(n), really, "", "", "", "", ""})
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}

// writeAnswers prints who would have got what, and who has.
func writeAnswers(w io.Writer, answers []backtestAnswer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"time", "device", "person", "campaign", "fence", "now", "held_for", "then"}) // Error has it
	for i := range answers {
		a := &answers[i]
		_ = out.Write([]string{time.UnixMilli(a.at).In(a.zone).Format(time.RFC3339), a.device, a.person, a.campaign, string(a.fence), a.outcome, string(a.reason), a.then})
	}
	out.Flush()
	return out.Error()
}

//go:embed page/backtest.js
var backtestScript []byte

// writeBacktestPage writes one page that shows the report. It holds its data, styles and code, and loads nothing.
func writeBacktestPage(w io.Writer, b *backtestReport) error {
	return page.Write(w, "Footfall backtest", reportStyle, backtestScript, b)
}
