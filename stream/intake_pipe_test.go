package stream

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/stream/natsd"
	"footfall/track"
)

// bareCollector is a door without a gateway: what it lets in is collected by the test.
func bareCollector() *collector {
	count := &counters{}
	return &collector{
		log: slog.New(slog.DiscardHandler), count: count, full: func() string { return "" },
		refusals: newRefusalBook(16), door: newDoor(1 << 30), rules: track.DefaultRules(),
	}
}

// TestPipeReadsWhateverTheCuts gives the reader one stream of server lines cut at random places: the messages are the
// same, in the same order, whatever the cuts.
func TestPipeReadsWhateverTheCuts(t *testing.T) {
	var text strings.Builder
	var want []string
	text.WriteString("INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n+OK\r\n")
	for i := range 200 {
		data := strings.Repeat("x\r\nMSG ", i%7*i)
		if i == 100 {
			data = strings.Repeat("y", 3*readBytes)
		}
		switch i % 4 {
		case 0:
			fmt.Fprintf(&text, "MSG ping.shop.d%d 1 %d\r\n%s\r\n", i, len(data), data)
			want = append(want, fmt.Sprintf("ping.shop.d%d||%s", i, data))
		case 1:
			fmt.Fprintf(&text, "MSG ping.shop.d%d 1 _INBOX.a.%d %d\r\n%s\r\n", i, i, len(data), data)
			want = append(want, fmt.Sprintf("ping.shop.d%d|_INBOX.a.%d|%s", i, i, data))
		case 2:
			head := "NATS/1.0\r\nNmqtt-Pub: 1\r\n\r\n"
			fmt.Fprintf(&text, "HMSG event.shop.d%d 2 %d %d\r\n%s%s\r\n", i, len(head), len(head)+len(data), head, data)
			want = append(want, fmt.Sprintf("event.shop.d%d||%s", i, data))
		case 3:
			head := "NATS/1.0\r\n\r\n"
			fmt.Fprintf(&text, "HMSG event.shop.d%d 2 _INBOX.b %d %d\r\n%s%s\r\n", i, len(head), len(head)+len(data), head, data)
			want = append(want, fmt.Sprintf("event.shop.d%d|_INBOX.b|%s", i, data))
		}
	}
	stream := text.String()
	rng := rand.New(rand.NewPCG(3, 4))
	rounds := 30
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		c := bareCollector()
		var got []string
		collected := make(chan struct{})
		go func() {
			defer close(collected)
			for a := c.door.take(); a != nil; a = c.door.take() {
				from := 0
				for _, m := range a.msgs {
					text := string(a.buf[from:m.end])
					subject, rest := text[:m.subject], text[m.subject:]
					got = append(got, subject+"|"+rest[:m.reply]+"|"+rest[m.reply:])
					from = m.end
				}
				c.door.give(a)
			}
		}()
		ours, theirs := net.Pipe()
		go func() {
			for rest := stream; rest != ""; {
				n := len(rest)
				if round > 0 {
					n = min(n, 1+rng.IntN(1<<(15*round/rounds)))
				}
				if _, err := theirs.Write([]byte(rest[:n])); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = theirs.Close()
		}()
		p := &natsPipe{now: time.Now}
		if err := p.read(ours, c); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Fatalf("round %d ended with %v", round, err)
		}
		c.door.close()
		<-collected
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("round %d:\n%.600s", round, d)
		}
	}
}

// TestPipeRefusesNonsense: lines that no server sends end the connection with an error that quotes them.
func TestPipeRefusesNonsense(t *testing.T) {
	for _, line := range []string{
		"MSG ping.shop.d1 1\r\n", "MSG ping.shop.d1 1 x\r\n", "MSG a b c d e f\r\n", "HMSG ping.shop.d1 1 20 10\r\n", "HMSG ping.shop.d1 1 5\r\n",
		"MSG ping.shop.d1 1 99999999999999999999\r\n", "PUB x 0\r\n", "-ERR 'Authorization Violation'\r\n", strings.Repeat("z", 20<<10),
	} {
		c := bareCollector()
		p := &natsPipe{now: time.Now}
		if _, _, err := p.parse([]byte(line), 1, c); err == nil || len(c.door.room.msgs) != 0 {
			t.Errorf("%.40q: error %v, %d messages", line, err, len(c.door.room.msgs))
		}
	}
}

func FuzzPipe(f *testing.F) {
	f.Add([]byte("MSG ping.shop.d1 1 2\r\n{}\r\nPING\r\n"))
	f.Add([]byte("HMSG ping.shop.d1 1 r 12 14\r\nNATS/1.0\r\n\r\n{}\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := bareCollector()
		p := &natsPipe{now: time.Now}
		before := string(data)
		parsed, _, _ := p.parse(data, 1, c)
		if parsed > len(data) || string(data) != before {
			t.Fatalf("parsed %d of %d, or changed what was read", parsed, len(data))
		}
	})
}

// TestIntakeSurvivesItsConnection has the server end the intake's connection, as it does with one that reads too slowly: pings
// are taken in again.
func TestIntakeSurvivesItsConnection(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	r.mustAsk("ping.shop.d1", ping(noon.Add(-time.Minute), 50.46, 30.53))
	pipe := r.gw.collector.intake.(*natsPipe)
	out := func() chan []byte {
		pipe.mu.Lock()
		defer pipe.mu.Unlock()
		return pipe.out
	}
	first := out()
	first <- []byte("no such command\r\n")
	r.await("another connection", func() bool { return out() != first })
	r.await("pings to be taken in again", func() bool {
		_, err := r.nc.Request("ping.shop.d1", fmt.Appendf(nil, `{"t":%d,"lat":50.46,"lon":30.53}`, noon.UnixMilli()), 200*time.Millisecond)
		return err == nil
	})
}

// TestExternalServer runs the gateway on a server of another process, as far as it can tell: through the client library.
func TestExternalServerByTheLibrary(t *testing.T) {
	outer, err := natsd.Start(natsd.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Shutdown()
	r := newRig(t)
	r.listen = func(c *natsd.Config) { c.URL = outer.ClientURL() }
	r.start()
	defer r.halt()
	r.register("d1")
	r.mustAsk("ping.shop.d1", ping(noon, 50.4501, 30.5234))
	r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
	const plain = 500
	for i := range plain {
		if err := r.nc.Publish("ping.shop.d2", fmt.Appendf(nil, `{"t":%d,"lat":50.46,"lon":30.53}`, noon.UnixMilli()+int64(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	r.settle()
	if got := r.gw.Status().Stats.Pings; got != plain+1 {
		t.Errorf("%d pings stored, want %d", got, plain+1)
	}
}

// TestSettleWaitsForWhatWasPublished: a plain publish that the server has is decided when Settle returns.
func TestSettleWaitsForWhatWasPublished(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	for i := range 20 {
		for range 50 {
			if err := r.nc.Publish(fmt.Sprintf("ping.shop.d%d", i), fmt.Appendf(nil, `{"t":%d,"lat":50.46,"lon":30.53}`, noon.UnixMilli())); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := r.gw.Settle(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if got := r.gw.count.processed.Load(); got != int64(50*(i+1)) {
			t.Fatalf("%d processed after %d", got, 50*(i+1))
		}
	}
}
