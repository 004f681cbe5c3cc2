package fcm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/fake"
	"footfall/push/fcm"
	"footfall/push/pushtest"
)

func startFake(t *testing.T, cfg fake.FCMConfig) *fake.FCM {
	t.Helper()
	f, err := fake.StartFCM(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func provider(t *testing.T, f *fake.FCM, style fcm.Style, connections int) *fcm.Provider {
	t.Helper()
	p, err := fcm.New(fcm.Config{CredentialsJSON: f.CredentialsJSON(), Endpoint: f.Endpoint(), RootCAs: f.RootCAs,
		Style: style, Connections: connections, Timeout: time.Minute}) // the machine may be busy with something else
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func message(i int) *push.Notification {
	return &push.Notification{
		MID: fmt.Sprintf("3f0c2b1a-9d7e-4c55-8a10-%012x", i), App: "shop", Device: "phone", Platform: push.Android,
		Token: fake.DeviceToken(fmt.Sprint("phone-", i)), Campaign: "c", Fence: "f", Title: "Знижка", Subtitle: "Sub", Body: "Тіло & <b>",
		Image: "https://cdn.example/a.jpg", Link: "shop://sale", ExpiresAt: time.Now().Add(15 * time.Minute),
	}
}

func TestConformanceAgainstTheFake(t *testing.T) {
	for _, style := range []fcm.Style{fcm.Display, fcm.DataOnly} {
		t.Run(string(style), func(t *testing.T) {
			pushtest.Conformance(t, func(t *testing.T) pushtest.Harness {
				f := startFake(t, fake.FCMConfig{})
				file := filepath.Join(t.TempDir(), "service-account.json")
				write := func(data []byte) {
					if err := os.WriteFile(file, data, 0o600); err != nil {
						t.Error(err)
					}
				}
				write(f.CredentialsJSON())
				p, err := fcm.New(fcm.Config{CredentialsFile: file, Endpoint: f.Endpoint(), RootCAs: f.RootCAs, Style: style, Timeout: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { p.Close() })
				return pushtest.Harness{
					Provider: p,
					RetryAfter: func(d time.Duration, date bool) {
						f.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: fake.FCMQuotaExceeded, RetryAfter: d, RetryAfterDate: date}})
					},
					Rotation: &pushtest.Rotation{
						Spoil: func() { write([]byte(`{"type":"service_account"`)) },
						Replace: func() {
							data, err := f.RotateKey()
							if err != nil {
								t.Error(err)
							}
							write(data)
						},
						Revoke: f.RevokeOldKeys,
					},
					Notification: *message(1),
					Requests:     func() int { return int(f.Stats().Requests) },
					Script: func(answer pushtest.Answer) {
						f.ClearScript()
						switch answer {
						case pushtest.TokenDead:
							f.Script(fake.Rule{Answer: fake.Answer{Reason: fake.FCMUnregistered}})
						case pushtest.Unavailable:
							f.Script(fake.Rule{Answer: fake.Answer{Reason: fake.FCMUnavailable}})
						case pushtest.Cut:
							f.Script(fake.Rule{Answer: fake.Answer{Fault: fake.FaultCut}})
						case pushtest.Hang:
							f.Script(fake.Rule{Answer: fake.Answer{Fault: fake.FaultHang}})
						}
					},
				}
			})
		})
	}
}

// Accepted, then cut: in doubt. The re-send is accepted as well, and the
// phone shows one, by tag or because the SDK knows the message id.
func TestResendAfterDoubtShowsOne(t *testing.T) {
	for _, style := range []fcm.Style{fcm.Display, fcm.DataOnly} {
		for _, collapse := range []string{"", "sale", "знижка"} {
			t.Run(string(style)+"/"+collapse, func(t *testing.T) { resendShowsOne(t, style, collapse) })
		}
	}
}

// resendShowsOne: with a collapse of the campaign's own its next push replaces
// the one that was sent twice, without one it stands beside it.
func resendShowsOne(t *testing.T, style fcm.Style, collapse string) {
	f := startFake(t, fake.FCMConfig{})
	p := provider(t, f, style, 1)
	f.Script(fake.Rule{Times: 1, Answer: fake.Answer{Fault: fake.FaultCut}})
	n := message(1)
	n.CollapseID = collapse
	if o := p.Send(t.Context(), n); o.Class != push.InDoubt || !o.Sent {
		t.Fatalf("%+v", o)
	}
	if o := p.Send(t.Context(), n); o.Class != push.Accepted {
		t.Fatalf("%+v", o)
	}
	shown := f.Phones().Shown(n.Token)
	if d := f.Deliveries(n.MID); d != 2 || len(shown) != 1 {
		t.Fatalf("delivered %d times, %d on the screen; want 2, 1", d, len(shown))
	}
	s := shown[0]
	if s.MID != n.MID || s.Title != n.Title || s.Body != n.Body || s.Image != n.Image || s.Link != n.Link {
		t.Errorf("got %+v", s)
	}
	later := *message(2)
	later.CollapseID, later.Token = collapse, n.Token
	if o := p.Send(t.Context(), &later); o.Class != push.Accepted {
		t.Fatalf("%+v", o)
	}
	shown = f.Phones().Shown(n.Token)
	if collapse == "" && len(shown) != 2 || collapse != "" && (len(shown) != 1 || shown[0].MID != later.MID) {
		t.Errorf("after the next push the screen has %+v", shown)
	}
}

func TestColdBurst(t *testing.T) {
	f := startFake(t, fake.FCMConfig{})
	p := provider(t, f, fcm.Display, 4)
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
	if s, d := f.Stats(), p.Stats(); d.Dials != 4 || d.Moved != 0 || s.Accepted != n || s.Requests != n || s.AccessTokens != 1 {
		t.Errorf("%+v, %+v", s, d)
	}
}

// Every answer that Google documents, through the whole stack.
func TestAnswersThroughTheStack(t *testing.T) {
	f := startFake(t, fake.FCMConfig{})
	p := provider(t, f, fcm.Display, 1)
	for reason, want := range map[string]push.Class{
		fake.FCMUnregistered: push.TokenDead, fake.FCMNotFound: push.Config, fake.FCMInvalidToken: push.TokenBad,
		fake.FCMInvalidField: push.Bug, fake.FCMTooBig: push.TooLarge, fake.FCMQuotaExceeded: push.LaneRate,
		fake.FCMDeviceQuota: push.DeviceRate, fake.FCMResourceExhausted: push.LaneRate, fake.FCMUnavailable: push.Retry,
		fake.FCMInternal: push.Retry, fake.FCMThirdPartyAuth: push.Auth, fake.FCMSenderIDMismatch: push.TokenForeign,
		fake.FCMUnauthenticated: push.Auth, fake.FCMPermissionDenied: push.Auth,
	} {
		f.ClearScript()
		f.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: reason}})
		if o := p.Send(t.Context(), message(1)); o.Class != want {
			t.Errorf("%s: got %+v, want %s", reason, o, want)
		}
	}
	for _, date := range []bool{false, true} {
		f.ClearScript()
		f.Script(fake.Rule{Times: 1, Answer: fake.Answer{Reason: fake.FCMQuotaExceeded, RetryAfter: 90 * time.Second, RetryAfterDate: date}})
		if o := p.Send(t.Context(), message(1)); o.RetryAfter < 60*time.Second || o.RetryAfter > 91*time.Second {
			t.Errorf("date %v: %+v", date, o)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	f, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	p, err := fcm.New(fcm.Config{CredentialsJSON: f.CredentialsJSON(), Endpoint: f.Endpoint(), RootCAs: f.RootCAs, Connections: 4})
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
}
