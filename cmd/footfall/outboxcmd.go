package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/outbox"
	"footfall/stream"
)

type outboxCmd struct {
	List   outboxListCmd   `cmd:"" help:"List deliveries."`
	Show   outboxShowCmd   `cmd:"" help:"Show one delivery and its claim."`
	Retry  outboxRetryCmd  `cmd:"" help:"Send dead, failed or suppressed deliveries again, under the same message id. What has expired is refused."`
	Purge  outboxPurgeCmd  `cmd:"" help:"Remove deliveries that have ended."`
	Lanes  outboxLanesCmd  `cmd:"" help:"Show the lanes of the running gateway: what waits, how fast they go, what is wrong."`
	Resume outboxResumeCmd `cmd:"" help:"End a lane's pause and forget its alarms, once their cause is mended."`
}

// ledgerFlags say whose deliveries: a running gateway's, or those in a directory.
type ledgerFlags struct {
	gatewayFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// selectFlags select deliveries.
type selectFlags struct {
	State    string `help:"Only in this state: pending, sending, retry_wait, in_doubt, accepted, failed, expired, cancelled, dead or suppressed." placeholder:"STATE"`
	Lane     string `help:"Only of this lane." placeholder:"LANE"`
	Campaign string `help:"Only of this campaign." placeholder:"ID"`
	Device   string `help:"Only for this device, as app.device." placeholder:"DEVICE"`
}

func (f *selectFlags) query(limit int) (stream.OutboxQuery, error) {
	q := stream.OutboxQuery{State: outbox.State(f.State), Lane: f.Lane, Campaign: f.Campaign, Device: f.Device, Limit: limit}
	if f.State != "" && !slices.Contains(outbox.States(), q.State) {
		names := make([]string, 0, len(outbox.States()))
		for _, s := range outbox.States() {
			names = append(names, string(s))
		}
		return q, usage("--state: %q is none of %s", f.State, strings.Join(names, ", "))
	}
	return q, nil
}

type outboxListCmd struct {
	selectFlags
	Limit int `help:"At most so many." default:"50"`
	ledgerFlags
}

func (c *outboxListCmd) Run(e *env) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usage("--limit is 1 to 1000")
	}
	q, err := c.query(c.Limit)
	if err != nil {
		return err
	}
	var page stream.OutboxPage
	if c.Data != "" {
		err = c.open(db.OpenReadOnly, func(d *db.DB) (err error) {
			page, err = stream.ListDeliveries(d, q)
			return err
		})
	} else {
		err = c.ask(stream.OutboxListSubject, q, &page, 20*time.Second)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, page)
	}
	if len(page.Deliveries) == 0 {
		_, err := fmt.Fprintln(e.out, "no deliveries")
		return err
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tSTATE\tCAMPAIGN\tDEVICE\tLANE\tATTEMPTS\tUPDATED\tREASON")
	for i := range page.Deliveries {
		d := &page.Deliveries[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", d.MID, d.State, d.Campaign, d.Device, d.Lane, d.Attempts, stamp3(d.UpdatedAt, nil), d.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if page.More {
		fmt.Fprintln(e.out, "there are more: raise --limit, or select with --state, --lane, --campaign, --device")
	}
	return nil
}

type outboxShowCmd struct {
	MID string `arg:"" name:"message" help:"Message id."`
	ledgerFlags
}

func (c *outboxShowCmd) Run(e *env) error {
	var v stream.DeliveryView
	var err error
	if c.Data != "" {
		err = c.open(db.OpenReadOnly, func(d *db.DB) (err error) {
			v, err = stream.ShowDelivery(d, c.MID)
			return err
		})
	} else {
		err = c.ask(stream.OutboxShowSubject, stream.NameRequest{Name: c.MID}, &v, 10*time.Second)
	}
	if err != nil {
		return plainOutbox(err)
	}
	if c.JSON {
		return printJSON(e.out, v)
	}
	writeDelivery(e.out, &v)
	return nil
}

func writeDelivery(out io.Writer, v *stream.DeliveryView) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("message", "%s", v.MID)
	row("state", "%s", v.State)
	if v.Reason != "" {
		row("reason", "%s", v.Reason)
	}
	row("campaign", "%s", v.Campaign)
	row("fence", "%s", v.Fence)
	row("device", "%s", v.Device)
	for _, r := range v.Tried {
		row("tried before", "%s, lane %s", r.Device, r.Lane)
	}
	row("lane", "%s", v.Lane)
	row("attempts", "%d, and %d that were certainly not sent", v.Attempts, v.Redos)
	if v.Doubt {
		row("doubt", "one attempt's outcome is not known; the phone may have shown it")
	}
	if v.Redrives > 0 {
		row("sent again", "%d times by an operator", v.Redrives)
	}
	row("created", "%s", stamp3(v.CreatedAt, nil))
	row("updated", "%s", stamp3(v.UpdatedAt, nil))
	if v.NextAt > 0 {
		row("due", "%s", stamp3(v.NextAt, nil))
	}
	row("expires", "%s", stamp3(v.ExpiresAt, nil))
	switch {
	case v.ClaimState == "":
		row("claim", "none, or past its period")
	case v.ClaimHolder != v.MID:
		row("claim", "%s by another message, %s", v.ClaimState, v.ClaimHolder)
	default:
		row("claim", "%s", v.ClaimState)
	}
}

type outboxRetryCmd struct {
	MIDs []string `arg:"" optional:"" name:"message" help:"Message ids; or select with --state."`
	selectFlags
	ledgerFlags
}

func (c *outboxRetryCmd) Run(e *env) error {
	return c.order(e, c.MIDs, &c.selectFlags, "retry", "to be sent again")
}

type outboxPurgeCmd struct {
	MIDs []string `arg:"" optional:"" name:"message" help:"Message ids; or select with --state."`
	selectFlags
	ledgerFlags
}

func (c *outboxPurgeCmd) Run(e *env) error {
	return c.order(e, c.MIDs, &c.selectFlags, "purge", "removed")
}

// order has deliveries sent again or removed, page after page, and prints what came of it. The exit code is 1 when
// one was refused.
func (f *ledgerFlags) order(e *env, mids []string, sel *selectFlags, verb, done string) error {
	o := stream.OutboxOrder{MIDs: mids}
	if len(mids) == 0 {
		q, err := sel.query(0)
		if err != nil {
			return err
		}
		if !q.State.Final() {
			return usage("name message ids, or a final state to select: --state dead")
		}
		o.Query = &q
	} else if *sel != (selectFlags{}) {
		return usage("give message ids or a selection, not both")
	}
	total := stream.OutboxResult{Done: []string{}, Refused: map[string]string{}}
	pages := func(carry func() (stream.OutboxResult, error)) error {
		for {
			r, err := carry()
			total.Done = append(total.Done, r.Done...)
			maps.Copy(total.Refused, r.Refused)
			if err != nil {
				return fmt.Errorf("after %s %s: %w", say.Count(len(total.Done), "delivery"), done, plainOutbox(err))
			}
			// What is refused is selected again, so a page without progress is the last.
			if !r.More || len(r.Done) == 0 {
				return nil
			}
		}
	}
	subject, stored := stream.OutboxRetrySubject, stream.RetryDeliveries
	if verb == "purge" {
		subject, stored = stream.OutboxPurgeSubject, stream.PurgeDeliveries
	}
	var err error
	if f.Data != "" {
		err = f.open(db.Open, func(d *db.DB) error {
			return pages(func() (stream.OutboxResult, error) { return stored(e.ctx, d, o) })
		})
	} else {
		err = pages(func() (r stream.OutboxResult, err error) {
			err = f.ask(subject, o, &r, 40*time.Second)
			return r, err
		})
	}
	if err != nil {
		return err
	}
	if f.JSON {
		if err := printJSON(e.out, total); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(e.out, "%s %s\n", say.Count(len(total.Done), "delivery"), done)
		for _, mid := range slices.Sorted(maps.Keys(total.Refused)) {
			fmt.Fprintf(e.out, "refused: %s\n", strings.TrimPrefix(total.Refused[mid], "outbox: "))
		}
	}
	if n := len(total.Refused); n > 0 {
		return fmt.Errorf("%s refused", say.Count(n, "delivery"))
	}
	return nil
}

type outboxLanesCmd struct {
	serverFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *outboxLanesCmd) Run(e *env) error {
	var lanes []stream.LaneView
	if err := c.ask(stream.OutboxLanesSubject, struct{}{}, &lanes, 20*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, lanes)
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "LANE\tWAITING\tOLDEST\tIN FLIGHT\tRATE/S\tBREAKER\tACCEPTED\tALARMS")
	for i := range lanes {
		l := &lanes[i]
		var alarms []string
		for _, a := range l.Alarms {
			alarms = append(alarms, fmt.Sprintf("%s since %s: %s", a.Kind, a.Since.Local().Format("15:04:05"), a.Text))
		}
		if l.HeldUntil.After(time.Now()) {
			alarms = append(alarms, "held until "+l.HeldUntil.Local().Format("15:04:05"))
		}
		oldest := time.Duration(l.Backlog.OldestS * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(w, "%s\t%d\t%v\t%d\t%.0f of %.0f\t%s\t%d\t%s\n", l.Name, l.Backlog.Rows, oldest, l.InFlight, l.Rate, l.BaseRate, l.Breaker,
			l.Finals[outbox.StateAccepted], strings.Join(alarms, "; "))
	}
	return w.Flush()
}

type outboxResumeCmd struct {
	Lane string `arg:"" help:"Name of the lane, as outbox lanes prints it."`
	serverFlags
	JSON bool `name:"json" help:"Print the answer as JSON."`
}

func (c *outboxResumeCmd) Run(e *env) error {
	var a stream.NameAnswer
	if err := c.ask(stream.OutboxResumeSubject, stream.NameRequest{Name: c.Lane}, &a, 10*time.Second); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, a)
	}
	_, err := fmt.Fprintf(e.out, "lane %s goes on\n", c.Lane)
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// plainOutbox takes the package's name off an error that a person reads.
func plainOutbox(err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "outbox: "); ok {
		return errors.New(text)
	}
	return err
}
