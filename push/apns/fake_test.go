package apns_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fake"
	"footfall/push/pushtest"
)

func startFake(t *testing.T, cfg fake.APNsConfig) *fake.APNs {
	t.Helper()
	a, err := fake.StartAPNs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func provider(t *testing.T, a *fake.APNs, connections int) *apns.Provider {
	t.Helper()
	p, err := apns.New(apns.Config{KeyPEM: a.KeyPEM, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic,
		Host: a.URL(), RootCAs: a.RootCAs, Connections: connections,
		Timeout: time.Minute}) // the machine may be busy with something else
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func message(i int) *push.Notification {
	return &push.Notification{
		MID: fmt.Sprintf("3f0c2b1a-9d7e-4c55-8a10-%012x", i), App: "shop", Device: "phone", Platform: push.IOS,
		Token: fake.DeviceToken(fmt.Sprint("phone-", i)), Campaign: "c", Fence: "f", Title: "Знижка", Subtitle: "Sub", Body: "Тіло & <b>",
		Image: "https://cdn.example/a.jpg", Link: "shop://sale", ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}

func TestConformanceAgainstTheFake(t *testing.T) {
	pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
		a := startFake(t, fake.APNsConfig{})
		dir := t.TempDir()
		files, err := a.WriteFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		// As orchestrators do: a link that moves to another file. Its name is the
		// key's id.
		link := filepath.Join(dir, "current.p8")
		pointTo := func(target string) {
			os.Remove(link)
			if err := os.Symlink(target, link); err != nil {
				t.Error(err)
			}
		}
		write := func(name string, data []byte) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Error(err)
			}
			return path
		}
		pointTo(files.Key)
		p, err := apns.New(apns.Config{KeyFile: link, TeamID: a.TeamID, Topic: a.Topic, Host: a.URL(), RootCAs: a.RootCAs, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return pushtest.Harness{
			Provider: p,
			RetryAfter: func(d time.Duration, date bool) {
				a.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: "ServiceUnavailable", RetryAfter: d, RetryAfterDate: date}})
			},
			Rotation: &pushtest.Rotation{
				Spoil: func() { pointTo(write("AuthKey_SPOILT0001.p8", []byte("-----BEGIN PRIVATE KEY-----\nhalf"))) },
				Replace: func() {
					pem, err := a.AddKey("NEWKEY0002")
					if err != nil {
						t.Error(err)
					}
					pointTo(write("AuthKey_NEWKEY0002.p8", pem))
				},
				Revoke: func() { a.RevokeKey(a.KeyID) },
			},
			Notification: *message(1),
			Requests:     func() int { return int(a.Stats().Requests) },
			Script: func(answer pushtest.Answer) {
				a.ClearScript()
				switch answer {
				case pushtest.TokenDead:
					a.Script(fake.Rule{Answer: fake.Answer{Reason: "Unregistered"}})
				case pushtest.Unavailable:
					a.Script(fake.Rule{Answer: fake.Answer{Reason: "ServiceUnavailable"}})
				case pushtest.Cut:
					a.Script(fake.Rule{Answer: fake.Answer{Fault: fake.FaultCut}})
				case pushtest.Hang:
					a.Script(fake.Rule{Answer: fake.Answer{Fault: fake.FaultHang}})
				}
			},
		}
	})
}

func TestPhoneShowsWhatWasSent(t *testing.T) {
	a := startFake(t, fake.APNsConfig{})
	p := provider(t, a, 0)
	n := message(1)
	if o := p.Send(t.Context(), n); o.Class != push.Accepted || o.ProviderID != n.MID {
		t.Fatalf("%+v", o)
	}
	shown := a.Phones().Shown(n.Token)
	if len(shown) != 1 {
		t.Fatalf("%d notifications", len(shown))
	}
	s := shown[0]
	if s.MID != n.MID || s.Title != n.Title || s.Subtitle != n.Subtitle || s.Body != n.Body || s.Image != n.Image || s.Link != n.Link {
		t.Errorf("got %+v", s)
	}
}

// One stream until Apple has seen a token, then a thousand: exactly as many
// connections as configured, and nothing refused.
func TestColdBurst(t *testing.T) {
	for _, k := range []int{1, 4} {
		a := startFake(t, fake.APNsConfig{})
		p := provider(t, a, k)
		const n = 1000
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if o := p.Send(t.Context(), message(i)); o.Class != push.Accepted {
					t.Errorf("%+v", o)
				}
			})
		}
		wg.Wait()
		if s := a.Stats(); s.Connections != int64(k) || s.RefusedStreams != 0 || s.Accepted != n || s.ProviderTokens != 1 {
			t.Errorf("k=%d: %+v", k, s)
		}
	}
}

// Half of the streams processed, half not: all arrive, each once.
func TestGoAway(t *testing.T) {
	a := startFake(t, fake.APNsConfig{})
	p := provider(t, a, 1)
	if o := p.Send(t.Context(), message(0)); o.Class != push.Accepted {
		t.Fatalf("%+v", o)
	}
	for round := range 5 {
		// The hundredth request brings the GOAWAY, while the others wait.
		a.ClearScript()
		a.Script(
			fake.Rule{Skip: 99, Times: 1, Answer: fake.Answer{Delay: 20 * time.Millisecond, GoAway: &fake.GoAway{
				Last: func(open []uint32, highest uint32) uint32 { return open[len(open)/2] },
			}}},
			fake.Rule{Times: 99, Answer: fake.Answer{Delay: 200 * time.Millisecond}},
		)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				n := message(1000*(round+1) + i)
				if o := p.Send(t.Context(), n); o.Class != push.Accepted {
					t.Errorf("%+v", o)
				}
				if d := a.Deliveries(n.MID); d != 1 {
					t.Errorf("delivered %d times", d)
				}
			})
		}
		wg.Wait()
	}
	if s := a.Stats(); s.GoAways == 0 || p.Stats().Moved == 0 {
		t.Errorf("nothing moved: %+v, %+v", s, p.Stats())
	}
}

// Accepted, then cut: in doubt. The re-send is accepted as well, and the
// phone shows one; with a collapse of the campaign's own likewise, which the
// next push of the campaign then replaces.
func TestResendAfterDoubtShowsOne(t *testing.T) {
	for _, collapse := range []string{"", "sale", "знижка"} {
		a := startFake(t, fake.APNsConfig{})
		p := provider(t, a, 1)
		a.Script(fake.Rule{Times: 1, Answer: fake.Answer{Fault: fake.FaultCut}})
		n := message(1)
		n.CollapseID = collapse
		if o := p.Send(t.Context(), n); o.Class != push.InDoubt || !o.Sent {
			t.Fatalf("%q: %+v", collapse, o)
		}
		if o := p.Send(t.Context(), n); o.Class != push.Accepted {
			t.Fatalf("%q: %+v", collapse, o)
		}
		if d, shown := a.Deliveries(n.MID), a.Phones().Shown(n.Token); d != 2 || len(shown) != 1 {
			t.Errorf("%q: delivered %d times, %d on the screen; want 2, 1", collapse, d, len(shown))
		}
		later := *message(2)
		later.CollapseID, later.Token = collapse, n.Token
		if o := p.Send(t.Context(), &later); o.Class != push.Accepted {
			t.Fatalf("%q: %+v", collapse, o)
		}
		shown := a.Phones().Shown(n.Token)
		if collapse == "" && len(shown) != 2 || collapse != "" && (len(shown) != 1 || shown[0].MID != later.MID) {
			t.Errorf("%q: after the next push the screen has %+v", collapse, shown)
		}
	}
}

// The peer falls silent with the socket open: with a push every half second and
// a deadline of 10 s for each, the first one is through within 10 s, and nothing
// is reported as accepted that was not.
func TestSilentDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := fake.NewMemListener()
		a := startFake(t, fake.APNsConfig{Listener: ln})
		p, err := apns.New(apns.Config{KeyPEM: a.KeyPEM, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic,
			Host: a.URL(), RootCAs: a.RootCAs, Connections: 1, Dial: ln.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if o := p.Send(t.Context(), message(0)); o.Class != push.Accepted {
			t.Fatalf("%+v", o)
		}
		a.Silence()
		silent := time.Now()
		var recovered atomic.Int64 // of the first acceptance, since the silence
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				n := message(i + 1)
				o := p.Send(t.Context(), n)
				took := time.Since(silent)
				switch {
				case o.Class == push.Accepted && a.Deliveries(n.MID) == 1:
					recovered.CompareAndSwap(0, int64(took))
				case o.Class != push.InDoubt || !o.Sent:
					t.Errorf("%+v, delivered %d times", o, a.Deliveries(n.MID))
				}
			})
			time.Sleep(500 * time.Millisecond)
		}
		wg.Wait()
		if took := time.Duration(recovered.Load()); took == 0 || took > 10*time.Second {
			t.Errorf("recovered after %v", took)
		}
	})
}

// Every reason that Apple documents, through the whole stack.
func TestReasonsThroughTheStack(t *testing.T) {
	a := startFake(t, fake.APNsConfig{})
	p := provider(t, a, 1)
	for reason, want := range map[string]push.Class{
		"BadDeviceToken": push.TokenBad, "Unregistered": push.TokenDead, "ExpiredToken": push.TokenDead,
		"DeviceTokenNotForTopic": push.Config, "TooManyRequests": push.DeviceRate, "Shutdown": push.RetryNow,
		"InternalServerError": push.Retry, "InvalidProviderToken": push.Auth, "BadPriority": push.Bug,
		"PayloadTooLarge": push.TooLarge, "TooManyProviderTokenUpdates": push.Auth,
	} {
		a.ClearScript()
		a.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: reason}})
		if o := p.Send(t.Context(), message(1)); o.Class != want || o.Reason != reason {
			t.Errorf("%s: got %+v, want %s", reason, o, want)
		}
	}
	a.ClearScript()
	a.Script(fake.Rule{Times: 1, Answer: fake.Answer{Status: 502, Body: "<html>Bad Gateway</html>"}})
	if o := p.Send(t.Context(), message(1)); o.Class != push.Retry || o.Status != 502 {
		t.Errorf("a proxy's 502: %+v", o)
	}
	since := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	n := message(2)
	a.SetToken(n.Token, fake.TokenGone, since)
	if o := p.Send(t.Context(), n); o.Class != push.TokenDead || !o.InvalidSince.Equal(since) {
		t.Errorf("gone since %v: %+v", since, o)
	}
}

// 200 workers, both environments, one provider: run with -race.
func TestMixedEnvironments(t *testing.T) {
	prod := startFake(t, fake.APNsConfig{})
	sandbox := startFake(t, fake.APNsConfig{Sandbox: true, KeyPEM: prod.KeyPEM})
	roots := prod.RootCAs.Clone()
	roots.AppendCertsFromPEM(sandbox.CAPEM)
	p, err := apns.New(apns.Config{KeyPEM: prod.KeyPEM, KeyID: prod.KeyID, TeamID: prod.TeamID, Topic: prod.Topic,
		Host: prod.URL(), SandboxHost: sandbox.URL(), RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wg sync.WaitGroup
	for w := range 200 {
		wg.Go(func() {
			for i := range 5 {
				n := message(10*w + i)
				if w%2 == 1 {
					n.Env = push.EnvSandbox
				}
				if o := p.Send(t.Context(), n); o.Class != push.Accepted {
					t.Errorf("%s: %+v", n.Env, o)
				}
			}
		})
	}
	wg.Wait()
	if a, b := prod.Stats(), sandbox.Stats(); a.Requests != 500 || b.Requests != 500 || a.Accepted != 500 || b.Accepted != 500 {
		t.Errorf("production %d requests, %d accepted, sandbox %d and %d; want 500 of each", a.Requests, a.Accepted, b.Requests, b.Accepted)
	}
}

func BenchmarkSend(b *testing.B) {
	for _, k := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("connections=%d", k), func(b *testing.B) {
			a, err := fake.StartAPNs(fake.APNsConfig{})
			if err != nil {
				b.Fatal(err)
			}
			defer a.Close()
			p, err := apns.New(apns.Config{KeyPEM: a.KeyPEM, KeyID: a.KeyID, TeamID: a.TeamID, Topic: a.Topic,
				Host: a.URL(), RootCAs: a.RootCAs, Connections: k})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			b.ReportAllocs()
			b.SetParallelism(100)
			b.RunParallel(func(pb *testing.PB) {
				n := message(1)
				for pb.Next() {
					if o := p.Send(b.Context(), n); o.Class != push.Accepted {
						b.Fatalf("%+v", o)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
		})
	}
}
