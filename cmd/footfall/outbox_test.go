package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/push"
	"footfall/stream"
)

// refusing answers every push the same way.
type refusing struct{ push.Outcome }

func (refusing) Name() string                                            { return "refusing" }
func (refusing) Close() error                                            { return nil }
func (p refusing) Send(context.Context, *push.Notification) push.Outcome { return p.Outcome }

// deadDeliveries fills the ledger of a data directory with n dead deliveries of campaign "welcome" and one that has
// expired since, and returns their message ids.
func deadDeliveries(t *testing.T, data string, n int) (mids []string, late string) {
	t.Helper()
	d, err := db.Open(db.Config{Dir: filepath.Join(data, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	// They die an hour ago, when the late one was still worth sending.
	now := time.Now().Add(-time.Hour)
	o, err := outbox.New(outbox.Config{DB: d, MaxAttempts: 1, Now: func() time.Time { return now }, Providers: map[string]push.Provider{laneLog: refusing{push.Outcome{Class: push.Retry, Status: 500, Sent: true}}},
		Compose: func(*db.Tx, *outbox.Delivery) (*push.Notification, outbox.Suppress) { return &push.Notification{}, "" }})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		for i := range n + 1 {
			expires := now.Add(2 * time.Hour)
			if i == n {
				expires = now.Add(time.Minute)
			}
			device := fmt.Sprint("shop.d", i)
			k := dedupe.Key{Campaign: "welcome", Subject: "d:" + device, Period: "ever"}
			c, _, err := dedupe.Reserve(tx, k, dedupe.Period{Kind: dedupe.PeriodEver}, dedupe.Claim{At: now, Fence: "k1"})
			if err != nil {
				return err
			}
			if err := outbox.Enqueue(tx, &outbox.Delivery{MID: c.MID, App: "shop", Device: device, Campaign: "welcome", Fence: "k1", Claim: k,
				Lane: laneLog, CreatedAt: now.UnixMilli(), ExpiresAt: expires.UnixMilli(), Context: []byte(`{}`)}); err != nil {
				return err
			}
			if i == n {
				late = c.MID
			} else {
				mids = append(mids, c.MID)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- o.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); o.Stats().Finals[outbox.StateDead] < int64(n+1); {
		if time.Now().After(deadline) {
			t.Fatalf("not dead after a minute: %+v", o.Stats())
		}
		time.Sleep(5 * time.Millisecond) // real time: a real ledger
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	return mids, late
}

// Dead deliveries are listed, shown, sent again and removed, on the ledger of a gateway that is not running and
// through one that is.
func TestOutboxCommands(t *testing.T) {
	data := t.TempDir()
	mids, late := deadDeliveries(t, data, 4)
	ok := func(want string, args ...string) string {
		t.Helper()
		code, out, errs := runCLI(t, args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: exit code %d, want %q in\n%s%s", args, code, want, out, errs)
		}
		return out
	}
	refused := func(code int, want string, args ...string) {
		t.Helper()
		if got, out, errs := runCLI(t, args...); got != code || !strings.Contains(out+errs, want) {
			t.Errorf("%v: exit code %d, want %d and %q in\n%s%s", args, got, code, want, out, errs)
		}
	}
	var page stream.OutboxPage
	if err := json.Unmarshal([]byte(ok("", "outbox", "list", "--data", data, "--state", "dead", "--json")), &page); err != nil || len(page.Deliveries) != 5 {
		t.Fatalf("%d listed, %v", len(page.Deliveries), err)
	}
	ok("there are more", "outbox", "list", "--data", data, "--limit", "2")
	ok("no deliveries", "outbox", "list", "--data", data, "--campaign", "nope")
	ok("reserved", "outbox", "show", mids[0], "--data", data)
	refused(exitFailed, "no such delivery", "outbox", "show", "x", "--data", data)
	refused(exitUsage, "none of pending", "outbox", "list", "--state", "ded")
	refused(exitUsage, "final state", "outbox", "retry", "--data", data)
	refused(exitUsage, "not both", "outbox", "purge", mids[0], "--state", "dead", "--data", data)
	refused(exitFailed, "holds no ledger", "outbox", "list", "--data", t.TempDir())
	ok("1 delivery to be sent again", "outbox", "retry", mids[0], "--data", data)
	ok("pending", "outbox", "show", mids[0], "--data", data)
	refused(exitFailed, "still on its way", "outbox", "purge", mids[0], "--data", data)
	ok("1 delivery removed", "outbox", "purge", mids[1], "--data", data)

	stores, campaigns := file(t, "s.geojson", oneStore), file(t, "c.yaml", campaignText("welcome"))
	cmd, url := serveChild(t, "--data", data, "--fences", stores, "--campaigns", campaigns)
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	ok("log/*/prod", "outbox", "lanes", "--server", url)
	ok("goes on", "outbox", "resume", laneLog, "--server", url)
	refused(exitFailed, "no such lane", "outbox", "resume", "nope", "--server", url)
	refused(exitFailed, "leave --data out", "outbox", "retry", mids[2], "--data", data)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // a real process
		if _, out, _ := runCLI(t, "outbox", "show", mids[0], "--server", url); strings.Contains(out, "suppressed") {
			break
		}
	}
	ok("suppressed", "outbox", "show", mids[0], "--server", url) // these devices have no token
	ok("1 delivery to be sent again", "outbox", "retry", mids[2], "--server", url)
	refused(exitFailed, "no longer worth sending", "outbox", "retry", late, "--server", url)
	refused(exitFailed, "1 delivery refused", "outbox", "retry", "--state", "dead", "--server", url)
	ok("removed", "outbox", "purge", "--state", "dead", "--server", url)
	ok("no deliveries", "outbox", "list", "--state", "dead", "--server", url)

	ok("welcome is stopped; 0 pushes cancelled", "campaign", "stop", "welcome", "--server", url)
	refused(exitFailed, "no such campaign", "campaign", "stop", "nope", "--server", url)
	ok("runs again", "campaign", "start", "welcome", "--server", url)
	ok("was not stopped", "campaign", "start", "welcome", "--server", url)
}
