package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/internal/say"
	"footfall/stream"
)

type campaignClaimsCmd struct {
	Campaign string `arg:"" help:"Id of the campaign or journey."`
	daysFlags
	Held bool   `help:"The entries that were held as well, and why."`
	Out  string `short:"o" help:"File to write; standard output without." placeholder:"FILE"`
	ledgerFlags
}

// claimColumns are those of the CSV.
var claimColumns = []string{"at", "day", "person", "device", "fence", "kind", "variant", "state", "reason", "mid", "accepted_at", "delivered_at", "opened_at", "converted_at", "decision"}

func (c *campaignClaimsCmd) Run(e *env) error {
	from, to, err := c.days(time.Now())
	if err != nil {
		return err
	}
	q := funnel.ClaimsQuery{Campaign: c.Campaign, From: from, To: to, Held: c.Held}
	if err := (&funnel.Query{From: from, To: to}).Check(); err != nil {
		return usage("%s", strings.TrimPrefix(err.Error(), "funnel: "))
	}
	out := e.out
	var file *outFile
	if c.Out != "" {
		if file, err = createOut(c.Out); err != nil {
			return err
		}
		out = file
	}
	var n claimTally
	if c.Data != "" {
		err = c.open(db.OpenReadOnly, func(d *db.DB) (err error) {
			n, err = c.write(out, q, func(page *funnel.ClaimsPage, q funnel.ClaimsQuery) (err error) {
				*page, err = stream.Claims(e.ctx, d, q)
				return err
			})
			return err
		})
	} else {
		n, err = c.write(out, q, func(page *funnel.ClaimsPage, q funnel.ClaimsQuery) error {
			return c.ask(stream.ClaimsSubject, q, page, 40*time.Second)
		})
	}
	if file != nil {
		err = file.finish(err)
	}
	if errors.Is(err, stream.ErrNoCampaign) {
		err = errors.New(strings.TrimPrefix(err.Error(), "stream: "))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.err, n)
	return err
}

// write writes page after page.
func (c *campaignClaimsCmd) write(w io.Writer, q funnel.ClaimsQuery, ask func(*funnel.ClaimsPage, funnel.ClaimsQuery) error) (n claimTally, err error) {
	rows := csv.NewWriter(w)
	lines := json.NewEncoder(w)
	if !c.JSON {
		_ = rows.Write(claimColumns) // Flush has the error
	}
	for {
		var page funnel.ClaimsPage
		if err := ask(&page, q); err != nil {
			return n, err
		}
		for i := range page.Claims {
			k := &page.Claims[i]
			n.add(k)
			if c.JSON {
				if err := lines.Encode(k); err != nil {
					return n, err
				}
				continue
			}
			_ = rows.Write([]string{isoTime(k.At), k.Day.String(), k.Person, k.Device, k.Fence, k.Kind, k.Variant, k.State, k.Reason, k.MID,
				isoTime(k.Accepted), isoTime(k.Delivered), isoTime(k.Opened), isoTime(k.Converted), k.ID})
		}
		if !page.More {
			rows.Flush()
			return n, rows.Error()
		}
		last := &page.Claims[len(page.Claims)-1]
		q.AfterAt, q.AfterID = last.At, last.ID
	}
}

// claimTally counts claims as they go by, and checks that nobody has more of a day than one.
type claimTally struct {
	claims, held int
	days         map[claimDay]int
	people       map[string]bool
}

type claimDay struct {
	who string
	day funnel.Day
}

func (n *claimTally) add(c *funnel.Claimed) {
	if c.State == "held" {
		n.held++
		return
	}
	if n.days == nil {
		n.days, n.people = map[claimDay]int{}, map[string]bool{}
	}
	who := cmp.Or(c.Person, c.Device)
	n.claims++
	n.people[who] = true
	n.days[claimDay{who, c.Day}]++
}

func claimsOf(n int) string {
	if n == 1 {
		return "1 claim"
	}
	return say.Thousands(int64(n)) + " claims"
}

// String is one line for people: "2,600 claims of 2,600 people; nobody has two of one day".
func (n claimTally) String() string {
	text := claimsOf(n.claims) + " of " + say.People(len(n.people))
	twice := map[string]bool{}
	for d, k := range n.days {
		if k > 1 {
			twice[d.who] = true
		}
	}
	switch more := len(twice); {
	case more > 0:
		text += fmt.Sprintf("; %s with more than one of one day", say.People(more))
	case n.claims > 0:
		text += "; nobody has two of one day"
	}
	if n.held > 0 {
		text += fmt.Sprintf("; %s held entries", say.Thousands(int64(n.held)))
	}
	return text
}
