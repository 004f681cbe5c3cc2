package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/internal/page/pagetest"
	"footfall/internal/say"
	"footfall/receipt"
)

// reportLedger writes three days of one campaign: 1,000 people a day, a tenth held out, half of the others buy, a fifth of
// those held out. It returns the data directory and the first day.
func reportLedger(t *testing.T) (data string, first funnel.Day) {
	t.Helper()
	data = t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(db.Config{Dir: filepath.Join(data, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	const day, hour = 24 * 3600_000, 3600_000
	first = funnel.DayOf(time.Now().UnixMilli(), 0) - 9
	for i := range 3 {
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			for n := range 1000 {
				at := int64(first)*day + int64(i)*day + 8*hour + int64(n)*30_000
				device := fmt.Sprintf("shop.d%d-%d", i, n)
				e := funnel.Entry{
					Campaign: "autumn", At: at, ID: device, Kind: "enter", Fence: fmt.Sprintf("k%02d", n%12), OffsetMin: 120, Device: device, Subject: "d:" + device,
					Platform: []string{"ios", "android"}[n%2], Source: []string{"stream", "os_enter"}[n%7/6], Variant: []string{"A", "B"}[n%3/2], Lead: true,
					FixedAt: at, ReceivedAt: at + 800, DecidedAt: at + 812, MID: "m-" + device,
				}
				if e.Source == "os_enter" {
					e.ReceivedAt, e.DecidedAt = at+int64(n)*400, at+int64(n)*400+9
				}
				if n%10 == 0 {
					e.MID, e.Reason = "", funnel.HeldOut
				}
				if n%10 != 0 && n%2 == 0 || n%50 == 0 {
					if err := audience.PutEvent(tx, device, device, "purchase", at+hour, json.RawMessage(`{"value":120,"currency":"UAH"}`), audience.KeepEvents); err != nil {
						return err
					}
				}
				if err := funnel.PutEntry(tx, &e, funnel.KeepFacts); err != nil {
					return err
				}
				if e.MID == "" {
					continue
				}
				o := funnel.Outcome{State: funnel.Accepted, Asked: true, Leased: e.DecidedAt + 30, At: e.DecidedAt + 200 + int64(n%90)}
				if n%41 == 0 {
					o.State = "expired"
				}
				if err := funnel.PutOutcome(tx, e.MID, &o, funnel.KeepFacts); err != nil {
					return err
				}
				for k, ev := range []string{receipt.Delivered, receipt.Opened, receipt.Converted} {
					if o.State == funnel.Accepted && n%(2*k+1) == 0 {
						if _, err := receipt.Add(tx, e.MID, receipt.Fact{Ev: ev, Ref: map[bool]string{true: "order"}[ev == receipt.Converted], At: o.At + 700}, funnel.KeepFacts); err != nil {
							return err
						}
					}
				}
			}
			p := audience.Profile{Device: fmt.Sprintf("shop.d%d-1", i), Platform: "ios", Token: "t"}
			return audience.Put(tx, &p)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return data, first
}

// TestReportCommand asks a stopped gateway's ledger in every form.
func TestReportCommand(t *testing.T) {
	data, first := reportLedger(t)
	span := []string{"campaign", "report", "--data", data, "--from", first.String(), "--to", (first + 2).String()}
	ask := func(args ...string) string {
		t.Helper()
		code, out, errs := runCLI(t, append(span[:len(span):len(span)], args...)...)
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, errs)
		}
		return out
	}
	text := ask("autumn", "--by", "hour")
	for _, want := range []string{
		"campaign autumn", "3,000 people", "holdout 300", "CTR of delivered", "opened of claimed, opted out and without a token",
		"10:00", "against the holdout: people with purchase within 48h", "held out                 20.00 %  60 of 300",
		"difference", "95 % interval", "times as many", "the push that the person opened last before it", "os_enter ios", "took longer than 1m, most of the time at: phone",
		"D1 retention",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	if all := ask("--all"); !strings.Contains(all, "subscribers: devices that can be pushed to") || !strings.Contains(all, "transitions                 3,000") {
		t.Errorf("of all:\n%s", all)
	}
	one, _, _ := strings.Cut(ask("autumn", "--by", "variant"), "conversions")
	if !strings.Contains(one, "by variant") || !strings.Contains(one, "  B ") {
		t.Errorf("by variant:\n%s", one)
	}

	rows, err := csv.NewReader(strings.NewReader(ask("autumn", "--by", "fence", "--csv"))).ReadAll()
	if err != nil || len(rows) != 13 {
		t.Fatalf("%d rows of CSV, %v", len(rows), err)
	}
	sum := map[string]int{}
	for _, row := range rows[1:] {
		for i, cell := range row {
			var n int
			if _, err := fmt.Sscan(cell, &n); err == nil {
				sum[rows[0][i]] += n
			}
		}
	}
	var r funnel.Report
	if err := json.Unmarshal([]byte(ask("autumn", "--json")), &r); err != nil || len(r.Campaigns) != 1 {
		t.Fatalf("%v: %+v", err, r)
	}
	total := r.Campaigns[0].Total
	if sum["entered"] != 3000 || int64(sum["claimed"]) != total.Claimed || int64(sum["opened"]) != total.Opened || int64(sum["accepted"]+sum["not_sent"]) != total.Claimed {
		t.Errorf("the CSV adds up to %v, the total is %+v", sum, total.Counts)
	}

	if grid := ask("autumn", "--by", "where-when"); !strings.Contains(grid, "entered, by fence and hour") || !strings.Contains(grid, "k00 ") {
		t.Errorf("by fence and hour:\n%s", grid)
	}
	if rows, err = csv.NewReader(strings.NewReader(ask("autumn", "--by", "where-when", "--csv"))).ReadAll(); err != nil || len(rows) < 50 {
		t.Fatalf("%d rows of CSV, %v", len(rows), err)
	}
	cells := 0
	for _, row := range rows[1:] {
		var n int
		if _, err := fmt.Sscan(row[5], &n); err != nil {
			t.Fatal(err)
		}
		cells += n
	}
	if cells != 3000 {
		t.Errorf("by fence and hour %d entered, want 3000", cells)
	}

	testClaims(t, data, first, &total)
	for _, command := range []string{"report", "claims"} {
		if code, _, errs := runCLI(t, "campaign", command, "autmn", "--data", data); code != exitFailed || !strings.Contains(errs, "there are entries of autumn") {
			t.Errorf("%s of a wrong name: exit code %d: %s", command, code, errs)
		}
	}

	path := filepath.Join(t.TempDir(), "report.html")
	if keep := os.Getenv("FOOTFALL_KEEP_PAGE"); keep != "" { // to look at it
		path = filepath.Join(keep, "report.html")
	}
	if out := ask("--all", "--html", path); !strings.Contains(out, "written") {
		t.Errorf("%q", out)
	}
	drawn := pagetest.Draw(t, path)
	for _, want := range []string{"Every entry, once", "By day", "By hour", "By fence", "Where and when", "By variant", "Against the holdout", "How late, and whose delay", "Conversions", "Subscribers"} {
		if !strings.Contains(drawn, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if n := strings.Count(drawn, "<svg"); n < 4 {
		t.Errorf("%d charts", n)
	}
}

// TestReportCommandRefuses: each mistake is named, with what to write instead.
// testClaims: the list of claims, over several pages, has each claim of the report once, in order of time, with what became of it.
func testClaims(t *testing.T, data string, first funnel.Day, total *funnel.Group) {
	t.Helper()
	span := []string{"campaign", "claims", "autumn", "--data", data, "--from", first.String(), "--to", (first + 2).String()}
	code, out, errs := runCLI(t, append(span[:len(span):len(span)], "--json", "--held")...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	got := map[string]int64{}
	ids := map[string]bool{}
	last := int64(0)
	for line := range strings.Lines(out) {
		var c funnel.Claimed
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if ids[c.ID] || c.At < last || c.Device == "" {
			t.Fatalf("twice, or out of order, or nobody's: %s", line)
		}
		ids[c.ID], last = true, c.At
		got["entered"]++
		if got[c.State]++; c.State == "held" {
			got["held "+c.Reason]++
		}
		for what, at := range map[string]int64{"took": c.Accepted, "delivered": c.Delivered, "opened": c.Opened, "converted": c.Converted} {
			if at != 0 {
				got[what]++
			}
		}
	}
	want := map[string]int64{"entered": total.Entered, "holdout": total.Held[funnel.HeldOut], "accepted": total.Accepted, "took": total.Accepted, "expired": total.NotSent["expired"],
		"delivered": total.Delivered, "opened": total.Opened, "converted": total.Converted}
	for reason, n := range total.Held {
		if reason != funnel.HeldOut {
			want["held "+reason] = n
			want["held"] += n
		}
	}
	maps.DeleteFunc(want, func(_ string, n int64) bool { return n == 0 })
	if !maps.Equal(got, want) {
		t.Errorf("claims %v, the report has %v", got, want)
	}
	path := filepath.Join(t.TempDir(), "claims.csv")
	code, out, errs = runCLI(t, append(span, "-o", path)...)
	text, err := os.ReadFile(path)
	if code != 0 || out != "" || err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	claims := total.Claimed + total.Held[funnel.HeldOut]
	if err != nil || int64(len(rows)) != 1+claims || len(rows[0]) != len(rows[1]) || !strings.HasPrefix(errs, say.Thousands(claims)+" claims of ") {
		t.Errorf("%d rows of CSV, %v: %s", len(rows), err, errs)
	}
}

// TestReportTables: the tables of pools and forecasts have what the report has, and each pool's row adds up.
func TestReportTables(t *testing.T) {
	r := &funnel.Report{Campaigns: []*funnel.Campaign{{ID: "bday", Vouchers: []funnel.Vouchers{
		{Pool: "b18", PutIn: 100, Issued: 40, Redeemed: 9, Purchases: 8, Others: 30, Ungiven: 1, Left: 24, Expired: 5, Expires: 1_800_000_000_000}, {Pool: "open", PutIn: 1, Left: 1},
	}, Forecasts: []funnel.Forecast{{MadeAt: 1_700_000_000_000, From: 20785, To: 20786, Mean: 50.25, Low: 40, High: 60.5, Claimed: new(int64(40)), Error: 0.25625, Inside: true}, {From: 20785, To: 20785, Mean: 1}}}}}
	for by, want := range map[string]string{
		"voucher":  "bday,b18,40,9,8,30,1,24,5,100,2027-01-15T08:00:00.000Z\nbday,open,0,0,0,0,0,1,0,1,\n",
		"forecast": "bday,2023-11-14T22:13:20.000Z,2026-11-28,2026-11-29,50.2,40.0,60.5,40,0.2562,true\nbday,,2026-11-28,2026-11-28,1.0,0.0,0.0,,,\n",
	} {
		var out strings.Builder
		if err := writeReportCSV(&out, r, by); err != nil || !strings.HasSuffix(out.String(), "\n"+want) {
			t.Errorf("by %s, %v:\n%s", by, err, &out)
		}
		if by == "voucher" {
			rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			n := map[string]int{}
			for i, cell := range rows[1] {
				n[rows[0][i]], _ = strconv.Atoi(cell)
			}
			if n["issued"]+n["issued_by_others"]+n["redeemed_unissued"]+n["left"]+n["expired"] != n["put_in"] || n["put_in"] != 100 {
				t.Errorf("%v", n)
			}
		}
	}
}

func TestReportCommandRefuses(t *testing.T) {
	for _, tt := range []struct {
		args, want string
		code       int
	}{
		{"", "name a campaign, or give --all", exitUsage},
		{"x --all", "name a campaign, or give --all", exitUsage},
		{"x --day 28.11.2026", "is not a date such as", exitUsage},
		{"x --day today --from yesterday", "--day, or --from and --to", exitUsage},
		{"x --from 2026-11-28 --to 2026-11-27", "before the first", exitUsage},
		{"x --from 2024-11-28 --to 2026-11-27", "at most 400", exitUsage},
		{"x --csv --json", "not both", exitUsage},
		{"x --by voucher", "is for --csv", exitUsage},
		{"x --by week", "must be one of", exitUsage},
		{"x --within 3000h", "up to 90 days", exitUsage},
		{"x --data " + t.TempDir(), "holds no ledger", exitFailed},
	} {
		code, out, errs := runCLI(t, append([]string{"campaign", "report"}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
	}
}

// The page holds everything it shows, also when a name tries to end its script.
func TestReportPageLoadsNothing(t *testing.T) {
	r := &funnel.Report{Campaigns: []*funnel.Campaign{{ID: "</script><script>alert(1)</script>", Total: funnel.Group{}}}}
	var b bytes.Buffer
	if err := writeReportPage(&b, r); err != nil {
		t.Fatal(err)
	}
	pagetest.LoadsNothing(t, b.String())
	path := filepath.Join(t.TempDir(), "empty.html")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	pagetest.Draw(t, path)
}
