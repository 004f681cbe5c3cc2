package stream

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/funnel"
	"footfall/push"
	"footfall/receipt"
)

// asked gets a report as `footfall campaign report` does.
func (r *rig) asked(q funnel.Query) (*funnel.Report, string) {
	r.t.Helper()
	data, err := json.Marshal(q)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := r.nc.Request(ReportSubject, data, patience)
	if err != nil {
		r.t.Fatal(err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		return nil, text
	}
	rep := new(funnel.Report)
	if err := json.Unmarshal(m.Data, rep); err != nil {
		r.t.Fatal(err)
	}
	return rep, ""
}

// TestReport walks forty people through a campaign with a holdout and two variants, loses some pushes, has phones and a
// till report, and compares the report with the gateway's own counts, with what the campaign says of each person, and
// with what the ledger says after a restart.
func TestReport(t *testing.T) {
	r := newRig(t)
	r.yaml = `campaign: lift
trigger: {enter: {fences: {all: true}}}
holdout: 30%
` + `steps: [{push: {ttl: 15m, template: {locales: {en: {body: "hello"}}}, variants: {A: 50%, B: 50%}}}]` + "\n"
	r.provider.say = func(n *push.Notification) push.Outcome {
		if n.Device == "d7" || n.Device == "d8" || n.Device == "d9" {
			return push.Outcome{Class: push.TokenDead, Status: 410, Sent: true, InvalidSince: noon.Add(time.Hour)}
		}
		return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
	}
	r.start()
	c, _ := r.gw.Campaigns().Find("lift")
	const n = 40
	held, dead := 0, 0
	both := map[string]int64{c.VariantFor("d:shop.d-out").Name: 1} // entries, by variant
	r.register("d-out")
	r.mustAsk("device.shop.d-out", map[string]any{"consent": map[string]any{"push": false}})
	r.mustAsk("ping.shop.d-out", ping(noon, 50.4501, 30.5234))
	for i := range n {
		device := fmt.Sprintf("d%d", i)
		r.register(device)
		out := c.HeldOut("d:shop." + device)
		if out {
			held++
		} else if i >= 7 && i <= 9 {
			dead++
		}
		both[c.VariantFor("d:shop."+device).Name] += 2
		place := [][2]float64{{50.4501, 30.5234}, {50.4420, 30.5206}}[i%2]
		r.mustAsk("ping.shop."+device, []map[string]any{
			ping(noon.Add(-3*time.Minute), place[0], place[1]), ping(noon.Add(-2*time.Minute), 50.4701, 30.5234), ping(noon, place[0], place[1]),
		})
		r.mustAsk("event.shop."+device, map[string]any{"name": "purchase", "t": noon.Add(-time.Hour).UnixMilli(), "id": "before"})
		if i%4 == 0 {
			r.mustAsk("event.shop."+device, map[string]any{"name": "purchase", "t": noon.Add(time.Minute).UnixMilli(), "id": "r" + device, "props": map[string]any{"value": 10, "currency": "UAH"}})
		}
	}
	r.settle()
	sent := int64(n - held)
	accepted := sent - int64(dead)
	r.await("every push to end", func() bool {
		f := r.gw.Status().Funnel["lift"]
		return f["push.accepted"] == accepted && f["push.accepted"]+f["push.dead"]+f["push.failed"] == sent
	})
	r.clock.set(noon.Add(2 * time.Minute))
	opened := int64(0)
	for i, p := range r.provider.pushes() {
		if p.Device == "d7" || p.Device == "d8" || p.Device == "d9" {
			continue
		}
		r.mustAsk("receipt.shop."+p.Device, map[string]any{"mid": p.MID, "k": p.ReceiptKey, "ev": "delivered", "t": noon.Add(2 * time.Second).UnixMilli()})
		if i%3 == 0 {
			opened++
			r.mustAsk("receipt.shop."+p.Device, map[string]any{"mid": p.MID, "k": p.ReceiptKey, "ev": "opened", "t": noon.Add(30 * time.Second).UnixMilli()})
		}
		if p.Device == "d4" { // the app reports the purchase, and the till the code: one purchase
			code := r.gw.cfg.Receipts.Code("shop", p.MID)
			r.mustAsk("event.shop.d4", map[string]any{"name": "purchase", "t": noon.Add(time.Minute).UnixMilli(), "id": "both", "props": map[string]any{"code": code, "value": 7, "currency": "UAH"}})
		}
		if p.Device == "d5" { // the till alone
			code := r.gw.cfg.Receipts.Code("shop", p.MID)
			r.mustAsk("event.shop.till", map[string]any{"name": "purchase", "t": noon.Add(time.Minute).UnixMilli(), "id": "t1", "props": map[string]any{"code": code, "value": 5, "currency": "UAH"}})
		}
	}
	r.settle()

	day, _ := funnel.ParseDay("2026-11-28")
	rep, text := r.asked(funnel.Query{From: day, To: day})
	if rep == nil || len(rep.Campaigns) != 1 {
		t.Fatalf("%s, %+v", text, rep)
	}
	got, counted := rep.Campaigns[0], r.gw.Status().Funnel["lift"]
	for what, tt := range map[string]struct{ got, want int64 }{
		"entered":         {got.Total.Entered, 2*n + 1}, // each twice, and the one who opted out
		"transitions":     {rep.Transitions, 2*n + 1},   // no campaign is asked about the exits in between
		"people":          {got.Total.People, n + 1},
		"claimed":         {got.Total.Claimed, counted["claimed"]},
		"held out":        {got.Total.Held["holdout"], int64(held)},
		"already claimed": {got.Total.Held["already_claimed"], n},
		"opted out":       {got.Total.Held["opted_out"], 1},
		"sent":            {got.Total.Sent, counted["sent"]},
		"accepted":        {got.Total.Accepted, accepted},
		"delivered":       {got.Total.Delivered, accepted},
		"opened":          {got.Total.Opened, opened},
		"converted":       {got.Total.Converted, counted[receipt.Converted]},
		"in k01":          {got.ByFence[0].Entered + got.ByFence[1].Entered, 2*n + 1},
		"A":               {got.ByVariant[0].Entered, both["A"]},
		"B":               {got.ByVariant[1].Entered, both["B"]},
		"at eleven":       {got.ByHour[0].Entered, n},
		"at twelve":       {got.ByHour[1].Entered, n + 1},
		"held out people": {got.Lift.Holdout.People, int64(held)},
		"notified people": {got.Lift.Notified.People, sent},
		"joined":          {rep.Growth.Days[0].Joined, n + 1},
		"opted out left":  {rep.Growth.Days[0].Left["opted_out"], 1},
		"dead tokens":     {rep.Growth.Days[0].Left["token_dead"], int64(dead)},
		"subscribers":     {rep.Growth.End, n - int64(dead)},
		"at first":        {rep.Growth.Start, 0},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", what, tt.got, tt.want)
		}
	}
	// Each purchase is one, whoever has told of it, and what was bought before the push is not its doing.
	var want, value, bought int64
	for i := range n {
		device := fmt.Sprintf("d%d", i)
		switch out := c.HeldOut("d:shop." + device); {
		case i%4 == 0 && out:
		case i%4 == 0 && i != 8:
			want, value, bought = want+1, value+10, bought+1
			if i == 4 {
				want, value = want+1, value+7
			}
		case i%4 == 0:
			bought++ // drawn to be notified, though the token was dead
		case i == 5 && !out:
			want, value = want+1, value+5
		}
	}
	if k := got.Attribution[2]; k.Model != "last_sent" || k.Conversions != want || int64(k.Value["UAH"]) != value {
		t.Errorf("last sent: %+v, want %d of %d", k, want, value)
	}
	if got.Lift.Notified.Converted != bought {
		t.Errorf("%d of the notified converted, want %d", got.Lift.Notified.Converted, bought)
	}
	if l := got.Lateness; len(l) == 0 || l[0].Pushes != accepted || l[0].Stages[4].Count != accepted {
		t.Errorf("lateness %+v", l)
	}

	// The days before and after are empty, and questions that make no sense are refused with what to do.
	if rep, _ := r.asked(funnel.Query{From: day - 3, To: day - 1}); len(rep.Campaigns) != 0 || rep.Transitions != 0 {
		t.Errorf("the days before: %+v", rep)
	}
	if _, text := r.asked(funnel.Query{From: day, To: day - 1}); !strings.Contains(text, "before the first") {
		t.Errorf("days the wrong way round: %q", text)
	}
	if _, text := r.asked(funnel.Query{Campaign: "lfit", From: day, To: day}); !strings.Contains(text, "there are entries of lift") {
		t.Errorf("a campaign that is not there: %q", text)
	}

	// Replayed, restarted, and from the ledger alone: the same.
	r.halt()
	r.start()
	defer r.halt()
	again, _ := r.asked(funnel.Query{From: day, To: day})
	stored, err := Report(t.Context(), r.db, funnel.Query{From: day, To: day}, r.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	plain := func(v any) (out any) {
		text, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(text, &out)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if d := cmp.Diff(plain(rep), plain(again)); d != "" {
		t.Errorf("after a restart (-before +after)\n%s", d)
	}
	if d := cmp.Diff(plain(rep), plain(stored)); d != "" {
		t.Errorf("from the ledger (-asked +read)\n%s", d)
	}
}

// An operator who sends a push again takes its outcome back, and it gets another.
func TestReportOfAPushSentAgain(t *testing.T) {
	r := newRig(t)
	var mended atomic.Bool
	r.provider.say = func(*push.Notification) push.Outcome {
		if mended.Load() {
			return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
		}
		return push.Outcome{Class: push.Bug, Status: 400, Sent: true}
	}
	r.start()
	defer r.halt()
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon, 50.4502, 30.5235))
	day, _ := funnel.ParseDay("2026-11-28")
	state := func() string {
		rep, _ := r.asked(funnel.Query{Campaign: "welcome", From: day, To: day})
		if rep == nil || len(rep.Campaigns) == 0 {
			return ""
		}
		for state, n := range rep.Campaigns[0].Total.Outcomes {
			if n == 1 {
				return state
			}
		}
		return ""
	}
	r.await("the refusal", func() bool { s := state(); return s == "dead" || s == "failed" })
	mended.Store(true)
	mid := r.provider.pushes()[0].MID
	if _, err := RetryDeliveries(t.Context(), r.db, OutboxOrder{MIDs: []string{mid}}); err != nil {
		t.Fatal(err)
	}
	r.gw.outbox.Notify()
	r.await("the push", func() bool { return state() == "accepted" })
}
