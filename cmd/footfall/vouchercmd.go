package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"footfall/internal/say"
	"footfall/stream"
	"footfall/voucher"
)

type voucherCmd struct {
	Import   voucherImportCmd   `cmd:"" help:"Put the codes of a CSV file into a pool of the running gateway. Nothing is changed unless every line is right; importing again changes nothing."`
	Generate voucherGenerateCmd `cmd:"" help:"Draw codes until a pool of the running gateway has had so many."`
	List     voucherListCmd     `cmd:"" help:"Show the pools: how many codes are free, given and redeemed."`
	Export   voucherExportCmd   `cmd:"" help:"Write the codes of a pool as CSV, with the push that has each and when it was redeemed."`
	Set      voucherSetCmd      `cmd:"" help:"Change when a pool of the running gateway ends, how long its codes are good for, or how few are an alarm."`
	Drop     voucherDropCmd     `cmd:"" help:"Remove a pool with its codes from the running gateway. One that a campaign or journey uses stays."`
}

// poolTerms are the flags that change the terms of a pool.
type poolTerms struct {
	Low     *int64         `help:"How few free codes are an alarm; 0 is a tenth of all." placeholder:"N"`
	Expires string         `help:"When the pool ends with all its codes: a day, to its end on this machine's clock, a time as 2026-12-31T18:00:00+02:00, or never." placeholder:"WHEN"`
	Life    *time.Duration `help:"For how long a code is good after it was given, as 48h; 0 is as long as the pool." placeholder:"DURATION"`
}

// put writes the flags into a request.
func (t *poolTerms) put(q *stream.VoucherRequest) error {
	q.Low = t.Low
	if t.Life != nil {
		q.Life = new(t.Life.Milliseconds())
	}
	switch at, err := time.Parse(time.RFC3339, t.Expires); {
	case t.Expires == "":
	case t.Expires == "never":
		q.Expires = new(int64(0))
	case err == nil:
		q.Expires = new(at.UnixMilli())
	default:
		day, err := time.ParseInLocation(time.DateOnly, t.Expires, time.Local)
		if err != nil {
			return usage("--expires: %q is no day (2026-12-31), no time (2026-12-31T18:00:00+02:00), and not never", t.Expires)
		}
		q.Expires = new(day.AddDate(0, 0, 1).UnixMilli())
	}
	if q.Low != nil && *q.Low < 0 || q.Life != nil && *q.Life < 0 {
		return usage("--low and --life are 0 or more")
	}
	return nil
}

// voucherPatience is how long a page of codes may take of a busy gateway.
const voucherPatience = 30 * time.Second

type voucherImportCmd struct {
	poolTerms
	Pool    string      `arg:"" help:"Name of the pool; made when there is none."`
	File    string      `arg:"" help:"CSV with a header and a column code." type:"existingfile"`
	Check   bool        `help:"Only check the file, and against the codes that the gateway has."`
	Gateway serverFlags `embed:""`
}

func (c *voucherImportCmd) Run(e *env) error {
	if !voucher.ValidPool(c.Pool) {
		return usage("%q cannot be the name of a pool: 1 to 64 of A-Z a-z 0-9 _ -", c.Pool)
	}
	var terms stream.VoucherRequest
	if err := c.put(&terms); err != nil {
		return err
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	lines, err := voucher.ReadCSV(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return c.findings(e, err)
	}
	pages := func(check bool) (a stream.VoucherAnswer, added int, err error) {
		for page := range slices.Chunk(lines, voucher.MaxPage) {
			q := terms
			q.Pool, q.Check = c.Pool, check
			for _, l := range page {
				q.Codes = append(q.Codes, l.Code)
			}
			a = stream.VoucherAnswer{}
			if err := c.Gateway.ask(stream.VoucherAddSubject, q, &a, voucherPatience); err != nil {
				return a, added, fmt.Errorf("lines %d to %d: %w", page[0].Line, page[len(page)-1].Line, err)
			}
			added += a.Added
		}
		return a, added, nil
	}
	_, fresh, err := pages(true) // all of it before anything changes
	if err != nil && strings.Contains(err.Error(), "bad query: ") {
		return c.findings(e, err)
	}
	if err != nil {
		return err
	}
	if c.Check {
		_, err := fmt.Fprintf(e.out, "%s ok, %s of them new\n", say.Count(len(lines), "code"), say.Thousands(int64(fresh)))
		return err
	}
	a, added, err := pages(false)
	if err != nil {
		return fmt.Errorf("%w; %s are stored, and importing the file again does no harm", err, say.Count(added, "new code"))
	}
	_, err = fmt.Fprintf(e.out, "%s added, %s known already; pool %s has %s free\n", say.Count(added, "code"), say.Thousands(int64(len(lines)-added)), c.Pool, say.Thousands(a.Free))
	return err
}

// findings prints what is wrong, a line each.
func (c *voucherImportCmd) findings(e *env, err error) error {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(e.out, "%s: %s\n", c.File, strings.TrimSuffix(line, "\n"))
	}
	return errFindings
}

type voucherGenerateCmd struct {
	poolTerms
	Pool    string      `arg:"" help:"Name of the pool; made when there is none."`
	Count   int64       `arg:"" help:"How many codes the pool is to have had in all: doing it again draws no more."`
	Length  int         `help:"Characters of a code, 8 to 32." default:"10"`
	Gateway serverFlags `embed:""`
}

func (c *voucherGenerateCmd) Run(e *env) error {
	if c.Count < 1 || c.Count > voucher.MaxCodes {
		return usage("COUNT: %d; from 1 to %d", c.Count, voucher.MaxCodes)
	}
	q := stream.VoucherRequest{Pool: c.Pool, Fill: c.Count, Length: c.Length}
	if err := c.put(&q); err != nil {
		return err
	}
	added := 0
	for {
		var a stream.VoucherAnswer
		if err := c.Gateway.ask(stream.VoucherAddSubject, q, &a, voucherPatience); err != nil {
			return err
		}
		if added += a.Added; a.Added == 0 || a.Total() >= c.Count {
			_, err := fmt.Fprintf(e.out, "%s drawn; pool %s has %s free\n", say.Count(added, "code"), c.Pool, say.Thousands(a.Free))
			return err
		}
	}
}

type voucherListCmd struct {
	JSON bool `name:"json" help:"Print the answer as JSON."`
	serverFlags
}

func (c *voucherListCmd) Run(e *env) error {
	list := []stream.VoucherAnswer{}
	if err := c.ask(stream.VoucherListSubject, struct{}{}, &list, voucherPatience); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	if len(list) == 0 {
		fmt.Fprintln(e.out, "no pools")
	}
	for i := range list {
		p := &list[i]
		fmt.Fprintf(e.out, "%-24s %12s free  %12s given  %12s redeemed", p.Name, say.Thousands(p.Free), say.Thousands(p.Given), say.Thousands(p.Redeemed))
		if p.Alarm != "" {
			fmt.Fprintf(e.out, "  %s", p.Alarm)
		}
		if p.Expires != 0 {
			fmt.Fprintf(e.out, "  until %s", isoTime(p.Expires))
		}
		fmt.Fprintln(e.out)
	}
	for i := range list {
		if list[i].Advice != "" {
			fmt.Fprintln(e.out, list[i].Advice)
		}
	}
	return nil
}

type voucherSetCmd struct {
	Pool string `arg:"" help:"Name of the pool."`
	poolTerms
	Gateway serverFlags `embed:""`
}

func (c *voucherSetCmd) Run(e *env) error {
	q := stream.VoucherRequest{Pool: c.Pool}
	if err := c.put(&q); err != nil {
		return err
	}
	if q.Low == nil && q.Expires == nil && q.Life == nil {
		return usage("say what to set: --low, --expires or --life")
	}
	var a stream.VoucherAnswer
	if err := c.Gateway.ask(stream.VoucherAddSubject, q, &a, voucherPatience); err != nil {
		return err
	}
	ends, life := "has no end", "until they are redeemed"
	if a.Expires != 0 {
		ends, life = "ends at "+isoTime(a.Expires), "as long as it"
	}
	if a.Life != 0 {
		life = "for " + Duration(time.Duration(a.Life)*time.Millisecond).String() + " after they are given"
	}
	_, err := fmt.Fprintf(e.out, "pool %s %s; its codes are good %s; %s left are an alarm\n", a.Name, ends, life, say.Thousands(a.Mark()))
	return err
}

type voucherDropCmd struct {
	Pool    string      `arg:"" help:"Name of the pool."`
	Force   bool        `help:"Although people have codes of it that still work: the till will not know them."`
	Gateway serverFlags `embed:""`
}

func (c *voucherDropCmd) Run(e *env) error {
	for {
		var a stream.VoucherDropped
		if err := c.Gateway.ask(stream.VoucherDropSubject, stream.VoucherRequest{Pool: c.Pool, Force: c.Force}, &a, voucherPatience); err != nil {
			return err
		}
		if a.Left == 0 {
			_, err := fmt.Fprintf(e.out, "pool %s is gone\n", c.Pool)
			return err
		}
	}
}

type voucherExportCmd struct {
	Pool    string      `arg:"" help:"Name of the pool."`
	Out     string      `short:"o" help:"File to write; standard output without." placeholder:"FILE"`
	Gateway serverFlags `embed:""`
}

func (c *voucherExportCmd) Run(e *env) error {
	if c.Out == "" {
		return c.write(e.out)
	}
	f, err := createOut(c.Out)
	if err != nil {
		return err
	}
	return f.finish(c.write(f))
}

func (c *voucherExportCmd) write(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"code", "state", "campaign", "mid", "given_at", "redeemed_at", "expires_at"}); err != nil {
		return err
	}
	q := stream.VoucherRequest{Pool: c.Pool}
	for {
		var page stream.VoucherCodes
		if err := c.Gateway.ask(stream.VoucherCodesSubject, q, &page, voucherPatience); err != nil {
			return err
		}
		for i := range page.Codes {
			v := &page.Codes[i]
			if err := out.Write([]string{v.Code, v.State(&page.Pool, page.At), v.Campaign, v.MID, isoTime(v.Given), isoTime(v.Redeemed), isoTime(v.Until(&page.Pool))}); err != nil {
				return err
			}
		}
		if q.After = page.Next; q.After == 0 {
			out.Flush()
			return out.Error()
		}
	}
}

// isoTime is a time of the ledger in UTC; "" for none.
func isoTime(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
