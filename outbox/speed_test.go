package outbox

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fake"
)

// apnsChild is the fake APNs in a process of its own: it writes its files into
// dir, says so on standard output, and ends when standard input does.
func apnsChild(dir string) error {
	latency, err := fake.ParseLatency(os.Getenv("FOOTFALL_OUTBOX_LATENCY"), 1)
	if err != nil {
		return err
	}
	a, err := fake.StartAPNs(fake.APNsConfig{Latency: latency, TokenUpdateInterval: -1})
	if err != nil {
		return err
	}
	defer a.Close()
	files, err := a.WriteFiles(dir)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"host": a.URL(), "key": files.Key, "key_id": a.KeyID,
		"team_id": a.TeamID, "topic": a.Topic, "ca": files.CA}); err != nil {
		return err
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return json.NewEncoder(os.Stdout).Encode(a.Stats())
}

// startFakeAPNs runs the fake beside the test and returns a provider for it,
// and the fake's process id.
func startFakeAPNs(tb testing.TB, latency string) (provider push.Provider, pid int) {
	tb.Helper()
	dir := tb.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "FOOTFALL_OUTBOX_FAKE="+dir, "FOOTFALL_OUTBOX_LATENCY="+latency)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	var info map[string]string
	if err := json.NewDecoder(out).Decode(&info); err != nil {
		tb.Fatal(err)
	}
	roots, err := readRoots(info["ca"])
	if err != nil {
		tb.Fatal(err)
	}
	p, err := apns.New(apns.Config{KeyFile: info["key"], KeyID: info["key_id"], TeamID: info["team_id"], Topic: info["topic"],
		Host: info["host"], RootCAs: roots, Connections: 2})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p, cmd.Process.Pid
}

// cpuTime is what a process has used of the processors so far, in steps of
// 10 ms: field 14 and 15 of its line in /proc (proc(5)). 0 where there is none.
func cpuTime(pid int) time.Duration {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(line), ") ") // the name before may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func speedPush(i int, token, mid string, expires time.Time) *push.Notification {
	return &push.Notification{MID: mid, App: "shop", Device: fmt.Sprint("shop.d", i), Token: token, Platform: push.IOS,
		Campaign: "anniversary", Fence: "kyiv-07", Title: "20 % off in this store", Subtitle: "Today only",
		Body: "Show this message at the till of the store on Khreshchatyk", Image: "https://img.shop.example/a.jpg",
		ExpiresAt: expires}
}

// spent is what some pushes took.
type spent struct {
	wall          time.Duration
	gateway, fake time.Duration // of the processors
}

func (s *spent) add(t spent) {
	s.wall, s.gateway, s.fake = s.wall+t.wall, s.gateway+t.gateway, s.fake+t.fake
}

// BenchmarkSustained sends a full outbox through the APNs provider to the fake
// in a process of its own, and as many pushes from a bare loop over the same
// provider, in turns. It reports both rates, in pushes per second, what share
// of the bare rate the outbox keeps, and what one push takes of the processors,
// in µs: that hardly depends on what else the machine does.
func BenchmarkSustained(b *testing.B) {
	const rows, workers = 30_000, 256
	for _, latency := range []string{"0", "30ms"} {
		b.Run("latency="+latency, func(b *testing.B) {
			p, pid := startFakeAPNs(b, latency)
			tokens := make([]string, rows)
			for i := range tokens {
				tokens[i] = fake.DeviceToken(fmt.Sprint("d", i))
			}
			measure := func(fn func()) spent {
				begun, gateway, fake := time.Now(), cpuTime(os.Getpid()), cpuTime(pid)
				fn()
				return spent{time.Since(begun), cpuTime(os.Getpid()) - gateway, cpuTime(pid) - fake}
			}
			var bare, through spent
			for b.Loop() {
				bare.add(measure(func() { bareLoop(b, p, tokens, workers) }))
				send, stop := fillOutbox(b, p, tokens, workers)
				through.add(measure(send))
				stop()
			}
			n := float64(b.N * rows)
			b.ReportMetric(n/bare.wall.Seconds(), "bare/s")
			b.ReportMetric(n/through.wall.Seconds(), "outbox/s")
			b.ReportMetric(bare.wall.Seconds()/through.wall.Seconds(), "share")
			b.ReportMetric(float64(bare.gateway.Microseconds())/n, "bare-µs")
			b.ReportMetric(float64(through.gateway.Microseconds())/n, "outbox-µs")
			b.ReportMetric(float64((bare.fake+through.fake).Microseconds())/n/2, "fake-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func bareLoop(b *testing.B, p push.Provider, tokens []string, workers int) {
	var next, accepted atomic.Int64
	expires := time.Now().Add(time.Hour)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(tokens) {
					return
				}
				mid := dedupe.Key{Campaign: "anniversary", Subject: tokens[i], Period: "bare"}.MessageID("", 0)
				out := p.Send(context.Background(), speedPush(i, tokens[i], mid, expires))
				if out.Class == push.Accepted {
					accepted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != int64(len(tokens)) {
		b.Fatalf("bare loop: %d of %d accepted", n, len(tokens))
	}
}

// fillOutbox writes a delivery for each token. send starts the outbox and
// returns when all of them are accepted; stop ends it.
func fillOutbox(b *testing.B, p push.Provider, tokens []string, workers int) (send, stop func()) {
	d, err := db.Open(db.Config{Dir: filepath.Join(b.TempDir(), "ledger")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	now := time.Now()
	for from := 0; from < len(tokens); from += 500 {
		err := d.Update(context.Background(), func(tx *db.Tx) error {
			for i := from; i < min(from+500, len(tokens)); i++ {
				k := dedupe.Key{Campaign: "anniversary", Subject: fmt.Sprint("d:shop.d", i), Period: "2026-11-28"}
				c, _, err := dedupe.Reserve(tx, k, dedupe.Period{}, dedupe.Claim{At: now, PeriodEnds: now.Add(24 * time.Hour), Fence: "kyiv-07"})
				if err != nil {
					return err
				}
				if err := Enqueue(tx, &Delivery{MID: c.MID, App: "shop", Device: fmt.Sprint("shop.d", i), Campaign: "anniversary", Fence: "kyiv-07",
					Claim: k, Lane: testLane, CreatedAt: now.UnixMilli(), FixedAt: now.UnixMilli(), ExpiresAt: now.Add(time.Hour).UnixMilli(),
					Context: []byte(`{"kind":1,"at":1795000000000,"entered_at":1795000000000,"distance_m":81.5,"accuracy_m":12}`)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	var accepted atomic.Int64
	all := make(chan struct{})
	o, err := New(Config{DB: d, Providers: map[string]push.Provider{testLane: p}, Workers: workers, Rate: 1e6,
		Compose: func(_ *db.Tx, d *Delivery) (*push.Notification, Suppress) {
			i, err := strconv.Atoi(strings.TrimPrefix(d.Device, "shop.d"))
			if err != nil {
				return nil, "device"
			}
			return speedPush(i, tokens[i], d.MID, time.UnixMilli(d.ExpiresAt)), ""
		},
		OnOutcome: func(tx *db.Tx, _, d *Delivery, _ push.Outcome) error {
			if d.State == StateAccepted && accepted.Add(1) == int64(len(tokens)) {
				close(all)
			}
			return nil
		}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	return func() {
			wg.Go(func() { _ = o.Run(ctx) })
			<-all
		}, func() {
			cancel()
			wg.Wait()
			if s := o.Stats(); s.Finals[StateAccepted] != int64(len(tokens)) || s.Stale+s.Doubts > 0 {
				b.Fatalf("stats %+v", s)
			}
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		}
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}
