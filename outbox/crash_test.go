package outbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
)

// TestMain lets the test binary play the gateway that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("FOOTFALL_OUTBOX_CHILD") != "" {
		if err := crashChild(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("FOOTFALL_OUTBOX_FAKE"); dir != "" {
		if err := apnsChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, "fake APNs:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const crashRows = 300

// printProvider reports each request on standard output before it answers.
type printProvider struct{}

func (printProvider) Name() string { return "print" }
func (printProvider) Close() error { return nil }
func (printProvider) Send(_ context.Context, n *push.Notification) push.Outcome {
	fmt.Println("sent", n.Device, n.MID)
	time.Sleep(rand.N(3 * time.Millisecond))
	return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
}

// crashChild enters every device (again), sends, and ends when all is sent.
// Its clock is set ahead, so that what the last child left to be tried again
// is due.
func crashChild() error {
	ahead, err := time.ParseDuration(os.Getenv("FOOTFALL_OUTBOX_AHEAD"))
	if err != nil {
		return err
	}
	now := func() time.Time { return time.Now().Add(ahead) }
	d, err := db.Open(db.Config{Dir: os.Getenv("FOOTFALL_OUTBOX_DIR"), MinFree: 1, Now: now})
	if err != nil {
		return err
	}
	o, err := New(Config{DB: d, Now: now, Workers: 16, DeviceEvery: -1,
		Providers: map[string]push.Provider{testLane: printProvider{}},
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			return &push.Notification{MID: d.MID, Device: d.Device}, ""
		}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- o.Run(ctx) }()
	var entered sync.WaitGroup
	for i := range crashRows {
		entered.Add(1)
		err := d.Submit(ctx, func(tx *db.Tx) error {
			device := fmt.Sprint("d", i)
			k := dedupe.Key{Campaign: "c", Subject: "d:" + device, Period: "ever"}
			c, won, err := dedupe.Reserve(tx, k, dedupe.Period{Kind: dedupe.PeriodEver}, dedupe.Claim{At: tx.Now()})
			if err != nil || !won {
				return err
			}
			return Enqueue(tx, &Delivery{MID: c.MID, App: "app", Device: device, Campaign: "c", Claim: k, Lane: testLane,
				CreatedAt: tx.Now().UnixMilli(), ExpiresAt: tx.Now().Add(24 * time.Hour).UnixMilli()})
		}, func(err error) {
			if err != nil {
				fmt.Println("error", err)
			}
			o.Notify()
			entered.Done()
		})
		if err != nil {
			return err
		}
	}
	entered.Wait()
	for open := 1; open > 0; time.Sleep(5 * time.Millisecond) {
		if err := d.View(func(tx *db.Tx) (err error) {
			open, err = Backlog(tx, "", 1)
			return err
		}); err != nil {
			return err
		}
	}
	cancel()
	return errors.Join(<-ran, d.Close())
}

// The gateway is killed at random moments, again and again on one directory.
// In the end every device was sent exactly one message id, every row is
// accepted and every claim committed; only rows in doubt were sent twice.
func TestKilledGateway(t *testing.T) {
	rounds := 5
	if os.Getenv("FOOTFALL_LONG") != "" {
		rounds = 100
	}
	dir := t.TempDir()
	mids, sends := map[string]string{}, map[string]int{}
	for round := 0; ; round++ {
		last := round == rounds
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "FOOTFALL_OUTBOX_CHILD=1", "FOOTFALL_OUTBOX_DIR="+dir,
			fmt.Sprintf("FOOTFALL_OUTBOX_AHEAD=%dm", round))
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewScanner(pipe)
		for n := 1 + rand.IntN(2*crashRows/rounds); out.Scan(); n-- {
			f := strings.Fields(out.Text())
			if len(f) != 3 || f[0] != "sent" {
				t.Fatalf("child: %s", out.Text())
			}
			if old := mids[f[1]]; old != "" && old != f[2] {
				t.Errorf("%s was sent %s and %s", f[1], old, f[2])
			}
			mids[f[1]] = f[2]
			sends[f[2]]++
			if n == 0 && !last {
				_ = cmd.Process.Kill() // what it still printed is read as well
			}
		}
		err = cmd.Wait()
		if last {
			if err != nil {
				t.Fatalf("last child: %v", err)
			}
			break
		}
	}

	d, err := db.Open(db.Config{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	doubts, twice := 0, 0
	err = d.View(func(tx *db.Tx) error {
		n := 0
		if err := List(tx, Filter{State: StateAccepted}, func(row *Delivery) bool {
			n++
			if mids[row.Device] != row.MID {
				t.Errorf("%s: row %s, sent %s", row.Device, row.MID, mids[row.Device])
			}
			if sends[row.MID] > 1 {
				twice++
			}
			if row.Doubt {
				doubts++
			} else if sends[row.MID] != 1 {
				t.Errorf("%s was sent %d times without doubt", row.MID, sends[row.MID])
			}
			c, _, err := dedupe.Get(tx, row.Claim)
			if err != nil || c.State != dedupe.Committed || c.MID != row.MID {
				t.Errorf("claim %+v, %v", c, err)
			}
			return true
		}); err != nil {
			return err
		}
		if n != crashRows || len(mids) != crashRows {
			t.Errorf("%d rows accepted and %d devices sent to, of %d", n, len(mids), crashRows)
		}
		return nil
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows in doubt, %d sent more than once", doubts, twice)
}

// leave makes a row look as a crash between its request and its outcome
// leaves it: leased by a process that is no more.
func (r *rig) leave(mid string) {
	r.t.Helper()
	d := r.row(mid)
	made, err := r.newOutbox(nil).writeLease(context.Background(), []*change{{old: &d, new: d.asLeased(time.Now().UnixMilli())}}, 0)
	if err != nil || len(made) != 1 || r.row(mid).State != StateSending {
		r.t.Fatalf("%d leased, %v: %+v", len(made), err, r.row(mid))
	}
}

// What a crash leaves leased: at the next start it is sent again under the same
// id at once; or dropped, cancelled or expired with the claim kept, because the
// phone may have shown it.
func TestLeaseLeftByACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		again := r.enter("again")
		dropped := r.enter("dropped", func(d *Delivery) { d.OnDoubt = Drop })
		late := r.enter("late", expires(-time.Second))
		cancelled := r.enter("cancelled", func(d *Delivery) { d.Campaign = "stopped" })
		for _, mid := range []string{again, dropped, late, cancelled} {
			r.leave(mid)
		}
		if n, err := r.out.CancelCampaign(context.Background(), "stopped", "by hand"); n != 1 || err != nil {
			t.Errorf("cancelled %d, %v", n, err)
		}
		r.want(cancelled, StateCancelled, dedupe.Reserved)
		r.run()
		time.Sleep(2 * time.Second)
		r.want(late, StateExpired, dedupe.Reserved)
		if d := r.want(again, StateAccepted, dedupe.Committed); !d.Doubt || d.Attempts != 1 || d.Redos != 1 {
			t.Errorf("sent again: %+v", d)
		}
		r.want(dropped, StateFailed, dedupe.Reserved)
		if log := r.prov.log(); len(log) != 1 || log[0].mid != again {
			t.Errorf("sent %v", log)
		}
		r.stop()
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A record of what was being sent that cannot be read: whatever was due may have
// been in it. All of that is sent again as in doubt, so that a claim is not
// released for what the phone may have shown, nothing stops, and what was not
// due is as it was.
func TestDamagedLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		named, torn := r.enter("named"), r.enter("torn")
		late := r.enter("late", expires(-time.Second))
		later := r.enter("later", func(d *Delivery) { d.NextAt = d.CreatedAt + 60_000 })
		r.leave(named)
		r.leave(torn)
		if err := r.db.Update(context.Background(), func(tx *db.Tx) error {
			return tx.Scan(leases.Prefix(), nil, func(key, val []byte) (bool, error) {
				if bytes.Contains(val, []byte(torn)) {
					return false, tx.Set(bytes.Clone(key), val[:len(val)-1])
				}
				return true, nil
			})
		}); err != nil {
			t.Fatal(err)
		}
		r.run()
		time.Sleep(2 * time.Second)
		for _, mid := range []string{named, torn} {
			if d := r.want(mid, StateAccepted, dedupe.Committed); !d.Doubt || d.Attempts != 1 || d.Redos != 1 {
				t.Errorf("sent again: %+v", d)
			}
		}
		r.want(late, StateExpired, dedupe.Reserved)
		if d := r.want(later, StatePending, dedupe.Reserved); d.Doubt {
			t.Errorf("not due, and in doubt: %+v", d)
		}
		if n := r.out.Stats().Damaged; n != 1 {
			t.Errorf("%d damaged", n)
		}
		aside := 0
		if err := r.db.View(func(tx *db.Tx) error {
			return tx.Scan(damagedLeases.Prefix(), nil, func(_, _ []byte) (bool, error) {
				aside++
				return true, nil
			})
		}); err != nil || aside != 1 {
			t.Errorf("%d put aside, %v", aside, err)
		}
		time.Sleep(time.Minute)
		r.want(later, StateAccepted, dedupe.Committed)
		r.stop()
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A gateway that dies in every attempt of a row does not use up its attempts:
// when it lives at last the message is sent.
func TestCrashesSpendNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		mid := r.enter("a", expires(24*time.Hour))
		for i := range 20 {
			r.leave(mid)
			if err := r.newOutbox(nil).recover(context.Background()); err != nil { // a new start
				t.Fatal(err)
			}
			d := r.row(mid)
			if d.State != StateInDoubt || d.Attempts != 0 {
				t.Fatalf("crash %d: %+v", i, d)
			}
			if wait := d.NextAt - time.Now().UnixMilli(); wait > restartCap.Milliseconds() || i == 0 && wait > 0 {
				t.Errorf("crash %d: due in %d ms", i, wait)
			}
			time.Sleep(2 * time.Minute)
		}
		r.run()
		time.Sleep(10 * time.Second)
		r.want(mid, StateAccepted, dedupe.Committed)
		r.stop()
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Stopping waits for the requests in flight and records them; what was not
// begun stays pending, and a new outbox goes on with it at once.
func TestStopAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Workers = 5 })
		r.prov.latency = 3 * time.Second
		var mids []string
		for i := range 20 {
			mids = append(mids, r.enter(fmt.Sprint("d", i)))
		}
		r.run()
		time.Sleep(time.Second)
		r.stop()
		if took := time.Since(r.start); took != 3*time.Second {
			t.Errorf("stopped after %v", took)
		}
		states := map[State]int{}
		for _, mid := range mids {
			states[r.row(mid).State]++
		}
		if states[StateAccepted] != 5 || states[StatePending] != 15 {
			t.Errorf("after stopping: %v", states)
		}
		r.out = r.newOutbox(nil)
		r.run()
		time.Sleep(3*time.Second + recordWait) // outcomes may wait that long for each other
		synctest.Wait()
		for _, mid := range mids {
			if d := r.want(mid, StateAccepted, dedupe.Committed); d.Attempts != 1 || d.Doubt {
				t.Errorf("row %+v", d)
			}
		}
		r.stop()
		r.check()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
}
