package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fake"
	"footfall/push/fcm"
)

// whole is an outbox with a real provider and the fake of its service, in real
// time.
type whole struct {
	t        *testing.T
	db       *db.DB
	out      *Outbox
	revision atomic.Int64 // of the campaign
	doomed   atomic.Int64 // tokens that would have been deleted
}

func startWhole(t *testing.T, p push.Provider, change func(*Config)) *whole {
	t.Helper()
	d, err := db.Open(db.Config{Dir: filepath.Join(t.TempDir(), "ledger"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &whole{t: t, db: d}
	cfg := Config{DB: d, Providers: map[string]push.Provider{testLane: p}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			platform := push.IOS
			if p.Name() == "fcm" {
				platform = push.Android
			}
			return &push.Notification{MID: d.MID, App: d.App, Device: d.Device, Token: fake.DeviceToken(d.Device), Platform: platform,
				Campaign: d.Campaign, Revision: fmt.Sprint(w.revision.Load()), Title: "Welcome", Body: d.Device, ExpiresAt: time.UnixMilli(d.ExpiresAt)}, ""
		},
		OnOutcome: func(_ *db.Tx, _, _ *Delivery, o push.Outcome) error {
			if (o.Class == push.TokenDead || o.Class == push.TokenBad && !o.Unproven) && w.out.TrustsTokens(testLane) {
				w.doomed.Add(1)
			}
			return nil
		}}
	if change != nil {
		change(&cfg)
	}
	if w.out, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.out.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *whole) enter(device string) (mid string) {
	w.t.Helper()
	now := time.Now()
	err := w.db.Update(context.Background(), func(tx *db.Tx) error {
		k := dedupe.Key{Campaign: "c", Subject: "d:" + device, Period: "ever"}
		c, _, err := dedupe.Reserve(tx, k, dedupe.Period{Kind: dedupe.PeriodEver}, dedupe.Claim{At: now, Fence: "f"})
		if err != nil {
			return err
		}
		mid = c.MID
		return Enqueue(tx, &Delivery{MID: c.MID, App: "app", Device: device, Campaign: "c", Fence: "f", Claim: k, Lane: testLane,
			CreatedAt: now.UnixMilli(), ExpiresAt: now.Add(6 * time.Hour).UnixMilli()})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.out.Notify()
	return mid
}

func (w *whole) row(mid string) (d Delivery) {
	w.t.Helper()
	if err := w.db.View(func(tx *db.Tx) (err error) {
		d, _, err = Get(tx, mid)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// await polls until what holds is true, and returns how long that took.
func (w *whole) await(what string, patience time.Duration, holds func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > patience {
			w.t.Fatalf("waited %v for %s: %+v", patience, what, w.out.Stats())
		}
		time.Sleep(2 * time.Millisecond) // real sockets
	}
	return time.Since(begun)
}

func startAPNsFake(t *testing.T, cfg fake.APNsConfig, now func() time.Time) (*fake.APNs, push.Provider) {
	t.Helper()
	a, err := fake.StartAPNs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	p, err := apns.New(apns.Config{KeyPEM: a.KeyPEM, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic, Host: a.URL(), RootCAs: a.RootCAs,
		Connections: 2, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return a, p
}

func startFCMFake(t *testing.T) (*fake.FCM, push.Provider) {
	t.Helper()
	f, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	p, err := fcm.New(fcm.Config{CredentialsJSON: f.CredentialsJSON(), Endpoint: f.Endpoint(), RootCAs: f.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return f, p
}

// The connection is cut after the provider took the push: in doubt, sent again
// under the same id, and the phone shows one.
func TestCutAfterAcceptShowsOne(t *testing.T) {
	a, p := startAPNsFake(t, fake.APNsConfig{}, nil)
	a.Script(fake.Rule{Token: fake.DeviceToken("a"), Times: 1, Answer: fake.Answer{Fault: fake.FaultCut}})
	w := startWhole(t, p, nil)
	mid := w.enter("a")
	w.await("the second attempt", 30*time.Second, func() bool { return w.row(mid).State == StateAccepted })
	if d := w.row(mid); !d.Doubt || d.Attempts != 2 {
		t.Errorf("row %+v", d)
	}
	if n, shown := a.Deliveries(mid), a.Phones().Shown(fake.DeviceToken("a")); n != 2 || len(shown) != 1 {
		t.Errorf("taken %d times, shown %d times", n, len(shown))
	}
}

// A peer that falls silent holds the lane for less than ten seconds, and what
// was on the connection arrives by another one.
func TestSilentConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real ping's timeout")
	}
	a, p := startAPNsFake(t, fake.APNsConfig{}, nil)
	w := startWhole(t, p, nil)
	first := w.enter("first")
	w.await("the first push", 30*time.Second, func() bool { return w.row(first).State == StateAccepted })
	a.Silence()
	var mids []string
	for i := range 20 {
		mids = append(mids, w.enter(fmt.Sprint("d", i)))
	}
	all := func() bool {
		for _, mid := range mids {
			if w.row(mid).State != StateAccepted {
				return false
			}
		}
		return true
	}
	w.await("a push past the silence", 15*time.Second, func() bool {
		return w.out.Stats().Finals[StateAccepted] > 1
	})
	w.await("all of them", 30*time.Second, all)
	for i := range mids {
		if n := len(a.Phones().Shown(fake.DeviceToken(fmt.Sprint("d", i)))); n != 1 {
			t.Errorf("phone %d shows %d", i, n)
		}
	}
}

// offset is a clock that can be moved.
type offset struct{ ahead atomic.Int64 }

func (o *offset) now() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }

// An expired provider token poisons its connection. The lane goes on within a
// second, with one new token, and without a pause.
func TestExpiredProviderTokenDoesNotHoldTheLane(t *testing.T) {
	var clock offset
	a, p := startAPNsFake(t, fake.APNsConfig{Now: clock.now}, clock.now)
	w := startWhole(t, p, nil)
	first := w.enter("first")
	w.await("the first push", 30*time.Second, func() bool { return w.row(first).State == StateAccepted })
	clock.ahead.Store(int64(25 * time.Minute)) // a new token is allowed
	a.ExpireProviderTokens()
	var mids []string
	for i := range 50 {
		mids = append(mids, w.enter(fmt.Sprint("d", i)))
	}
	took := w.await("the pushes after the expiry", 30*time.Second, func() bool { return w.out.Stats().Finals[StateAccepted] == 51 })
	if took > 5*time.Second { // tens of milliseconds on an idle machine; a pause is a minute
		t.Errorf("took %v", took)
	}
	for _, mid := range mids {
		if d := w.row(mid); d.Attempts != 1 || d.Doubt {
			t.Errorf("row %+v", d)
		}
	}
	if s := w.out.Stats().Lanes[testLane]; len(s.Alarms) > 0 {
		t.Errorf("alarms %v", s.Alarms)
	}
}

// A machine whose clock is two hours off: the lane pauses with an alarm, rows
// wait, and no token is deleted.
func TestWrongClockPausesTheLane(t *testing.T) {
	right := func() time.Time { return time.Now().Add(2 * time.Hour) } // what Apple's clock says
	_, p := startAPNsFake(t, fake.APNsConfig{Now: right}, nil)
	w := startWhole(t, p, nil)
	var mids []string
	for i := range 20 {
		mids = append(mids, w.enter(fmt.Sprint("d", i)))
	}
	w.await("the alarm", 30*time.Second, func() bool {
		a := w.out.Stats().Lanes[testLane].Alarms
		return len(a) == 1 && a[0].Kind == AlarmCredentials
	})
	w.await("everything in flight to come back", 30*time.Second, func() bool { return w.out.Stats().Lanes[testLane].InFlight == 0 })
	for _, mid := range mids {
		if d := w.row(mid); d.State.Final() || d.Attempts != 0 {
			t.Errorf("row %+v", d)
		}
	}
	if n := w.doomed.Load(); n > 0 {
		t.Errorf("%d tokens deleted", n)
	}
	if s := w.out.Stats().Lanes[testLane]; s.HeldUntil.IsZero() {
		t.Errorf("the lane is not held: %+v", s)
	}
}

// Google's 429 in both forms, with Retry-After in seconds and as a date: the
// lane sends nothing before it.
func TestQuotaHoldsTheLane(t *testing.T) {
	for _, reason := range []string{fake.FCMQuotaExceeded, fake.FCMResourceExhausted} {
		for _, date := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/date=%v", reason, date), func(t *testing.T) {
				t.Parallel()
				f, p := startFCMFake(t)
				f.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: reason, RetryAfter: 3 * time.Second, RetryAfterDate: date}})
				w := startWhole(t, p, nil)
				begun := time.Now()
				first := w.enter("a")
				w.await("the hold", 30*time.Second, func() bool { return !w.out.Stats().Lanes[testLane].HeldUntil.IsZero() })
				until := w.out.Stats().Lanes[testLane].HeldUntil
				// A date has whole seconds, is rounded up, and counts from before the request.
				if until.Sub(begun) < 1500*time.Millisecond || time.Until(until) > 5*time.Second {
					t.Errorf("held for %v to %v", time.Until(until), until.Sub(begun))
				}
				others := []string{w.enter("b"), w.enter("c")}
				requests := f.Stats().Requests
				w.await("the end of the hold", 30*time.Second, func() bool { return w.out.Stats().Finals[StateAccepted] == 3 })
				for _, mid := range append(others, first) {
					d := w.row(mid)
					if d.Attempts != 1 {
						t.Errorf("row %+v", d)
					}
				}
				if n := f.Stats().Requests - requests; n > 4 {
					t.Errorf("%d requests after the 429 for three pushes", n)
				}
			})
		}
	}
}

// A 404 that does not speak of the token: the project or the address is wrong.
// No token is deleted, and there is an alarm.
func TestWrongProjectDeletesNoToken(t *testing.T) {
	f, p := startFCMFake(t)
	f.Script(fake.Rule{Answer: fake.Answer{Reason: fake.FCMNotFound}})
	w := startWhole(t, p, nil)
	var mids []string
	for i := range 30 {
		mids = append(mids, w.enter(fmt.Sprint("d", i)))
	}
	w.await("all outcomes", 30*time.Second, func() bool { return w.out.Stats().Finals[StateFailed] == int64(len(mids)) })
	if n := w.doomed.Load(); n > 0 {
		t.Errorf("%d tokens deleted", n)
	}
	if a := w.out.Stats().Lanes[testLane].Alarms; len(a) != 1 || a[0].Kind != AlarmConfiguration {
		t.Errorf("alarms %v", a)
	}
}

// Google refuses a field of every message: after 20 of them the campaign's text
// is stopped with an alarm, nothing more of it is sent, and no token is
// deleted. A new text goes out, and ends the alarm.
func TestRefusedTextIsStopped(t *testing.T) {
	f, p := startFCMFake(t)
	f.Script(fake.Rule{Answer: fake.Answer{Reason: fake.FCMInvalidField}})
	w := startWhole(t, p, func(c *Config) { c.Workers = 1 })
	for i := range 30 {
		w.enter(fmt.Sprint("d", i))
	}
	finals := func(s State) int64 { return w.out.Stats().Finals[s] }
	w.await("all outcomes", 30*time.Second, func() bool { return finals(StateFailed)+finals(StateSuppressed) == 30 })
	s := w.out.Stats()
	if finals(StateFailed) != textRefusals || s.Suppressed[string(TextRefused)] != 10 || f.Stats().Requests != textRefusals {
		t.Errorf("%d requests, %v, suppressed %v", f.Stats().Requests, s.Finals, s.Suppressed)
	}
	if a := s.Lanes[testLane].Alarms; len(a) != 1 || a[0].Kind != AlarmText || a[0].Text != "the text of c was refused 20 times in a row" {
		t.Errorf("alarms %v", a)
	}
	if n := w.doomed.Load(); n > 0 {
		t.Errorf("%d tokens deleted", n)
	}
	w.revision.Add(1)
	f.ClearScript()
	w.enter("late")
	w.await("the new text", 30*time.Second, func() bool { return finals(StateAccepted) == 1 })
	if a := w.out.Stats().Lanes[testLane].Alarms; len(a) != 0 {
		t.Errorf("alarms %v", a)
	}
}

// Google calls a token bad with the word that it also has for a bad message. It
// costs the token only when the same text was accepted for another one.
func TestBadTokenIsProvenByAnAcceptedText(t *testing.T) {
	f, p := startFCMFake(t)
	w := startWhole(t, p, nil)
	finals := func(s State) int64 { return w.out.Stats().Finals[s] }
	bad := func(device string, failed, doomed int64) {
		t.Helper()
		f.SetToken(fake.DeviceToken(device), fake.TokenBad, time.Time{})
		w.enter(device)
		w.await("the refusal of "+device, 30*time.Second, func() bool { return finals(StateFailed) == failed })
		if n := w.doomed.Load(); n != doomed {
			t.Errorf("after %s: %d tokens deleted, want %d", device, n, doomed)
		}
	}
	bad("first", 1, 0)
	w.enter("good")
	w.await("the good token", 30*time.Second, func() bool { return finals(StateAccepted) == 1 })
	bad("second", 2, 1)
	w.revision.Add(1)
	bad("third", 3, 1) // of the new text nothing is known
}
