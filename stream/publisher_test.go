package stream

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"
)

// The publisher of the benchmarks is a process of its own: the test binary, run again. In one process it would share
// the scheduler and the garbage collector with what is measured.

const publisherEnv = "STREAM_TEST_PUBLISHER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(publisherEnv); spec != "" {
		if err := publishMain(spec); err != nil {
			fmt.Fprintln(os.Stderr, "publisher:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// load says what a publisher sends.
type load struct {
	URL     string
	Proto   bool // protobuf, else JSON
	Pings   int  // per message
	Devices int
	Conns   int     // 0: one connection of the client library; else so many sockets and one write per message
	JS      bool    // publish into JetStream and count acknowledgements
	Rate    float64 // messages a second at planned times, with the time in each; 0: as fast as there is credit
}

// The world of the benchmarks: 10,000 fences on a grid; device d lives 1.5 km from fence 10 d, every sixteenth one 330 m,
// and looks in at its store once every 2,000 pings. Time runs from 24 days ago on, 18 s a ping, so that no journey is
// implausible however fast it is played; such input is stale, which costs what fresh input costs but for the push. Its age takes four bytes
// in the log at most, as a phone's does: older input has a form of its own there, which takes longer to read.
const (
	benchFences  = 10_000
	benchDevices = 1_000
	visitEvery   = 2_000 // pings
	benchStepMS  = 18_000
)

var benchBase = time.Now().AddDate(0, 0, -24).UnixMilli()

func fencePlace(i int) (lat, lng float64) {
	return 40 + 0.05*float64(i/100), 20 + 0.07*float64(i%100)
}

func homePlace(d int) (lat, lng float64) {
	lat, lng = fencePlace(10 * d % benchFences)
	if d%16 == 0 {
		return lat + 0.003, lng
	}
	return lat + 0.0125, lng + 0.0065
}

// payload is a message with its times left open.
type payload struct {
	data  []byte
	times []int // offsets of the pings' t
	proto bool
}

func newPayload(l *load, lat, lng float64) payload {
	p := payload{proto: l.Proto}
	for i := range l.Pings {
		at := lat + 0.00001*float64(i%7)
		if l.Proto {
			var m []byte
			m = protowire.AppendTag(m, 1, protowire.VarintType)
			t := len(m)
			m = protowire.AppendVarint(m, uint64(benchBase))
			m = protowire.AppendTag(m, 2, protowire.Fixed64Type)
			m = protowire.AppendFixed64(m, math.Float64bits(float64(int(at*1e6))/1e6))
			m = protowire.AppendTag(m, 3, protowire.Fixed64Type)
			m = protowire.AppendFixed64(m, math.Float64bits(float64(int(lng*1e6))/1e6))
			m = protowire.AppendTag(m, 4, protowire.Fixed32Type)
			m = protowire.AppendFixed32(m, math.Float32bits(12))
			m = protowire.AppendTag(m, 5, protowire.Fixed32Type)
			m = protowire.AppendFixed32(m, math.Float32bits(1.4))
			p.data = protowire.AppendTag(p.data, 2, protowire.BytesType)
			p.data = protowire.AppendVarint(p.data, uint64(len(m)))
			p.times = append(p.times, len(p.data)+t)
			p.data = append(p.data, m...)
			continue
		}
		open, end := ",", ""
		if i == 0 {
			open = "["
		}
		if i == l.Pings-1 {
			end = "]"
		}
		if l.Pings == 1 {
			open, end = "", ""
		}
		p.data = append(append(p.data, open...), `{"t":`...)
		p.times = append(p.times, len(p.data))
		p.data = fmt.Appendf(p.data, `%d,"lat":%.6f,"lon":%.6f,"acc":12.5,"spd":1.4,"crs":211.5,"alt":178.2,"src":"stream","mock":false}%s`, benchBase, at, lng, end)
	}
	return p
}

// stamp writes the times of a message that begins with a device's ping number n.
func (p *payload) stamp(n int64) []byte {
	for i, off := range p.times {
		p.put(off, benchBase+(n+int64(i))*benchStepMS)
	}
	return p.data
}

func (p *payload) put(off int, t int64) {
	if p.proto { // six bytes as long as t has 36 to 42 bits
		for i := range 5 {
			p.data[off+i] = byte(t>>(7*i)) | 0x80
		}
		p.data[off+5] = byte(t >> 35)
		return
	}
	text := strconv.AppendInt(make([]byte, 0, 20), t, 10)
	copy(p.data[off:off+len(text)], text) // 13 digits since 2001-09-09
}

// world is all that a publisher sends.
type world struct {
	l        load
	subjects []string
	home     []payload
	store    []payload
	sent     []int64 // pings by device
	next     int
}

func newWorld(l load) *world {
	w := &world{l: l, sent: make([]int64, l.Devices)}
	for d := range l.Devices {
		w.subjects = append(w.subjects, fmt.Sprintf("ping.shop.d%d", d))
		w.home = append(w.home, newPayload(&l, first(homePlace(d)), second(homePlace(d))))
		w.store = append(w.store, newPayload(&l, first(fencePlace(10*d%benchFences)), second(fencePlace(10*d%benchFences))))
		w.sent[d] = int64(d * 37 % visitEvery) // not all at once
	}
	return w
}

func first(a, _ float64) float64  { return a }
func second(_, b float64) float64 { return b }

// message returns the next message. It is valid until the next call.
func (w *world) message() (subject string, data []byte) {
	d := w.next
	if w.next++; w.next == w.l.Devices {
		w.next = 0
	}
	n := w.sent[d]
	w.sent[d] += int64(w.l.Pings)
	p := &w.home[d]
	if n%visitEvery < int64(max(w.l.Pings, 3)) {
		p = &w.store[d]
	}
	return w.subjects[d], p.stamp(n)
}

// publisher is the other process, seen from here.
type publisher struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	limit int64 // messages it may have sent in all
}

// startPublisher runs the test binary again. The process ends when its input is closed, by stop or with this process.
func startPublisher(t testing.TB, l load) *publisher {
	t.Helper()
	spec, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{cmd: exec.Command(exe)}
	p.cmd.Env = append(os.Environ(), publisherEnv+"="+string(spec))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	t.Cleanup(p.stop)
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the publisher said %q, %v", line, err)
	}
	return p
}

// stop ends the process; a second stop is harmless.
func (p *publisher) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// allow raises the number of messages that the publisher may have sent in all.
func (p *publisher) allow(total int64) error {
	if total <= p.limit {
		return nil
	}
	p.limit = total
	_, err := p.in.Write(binary.LittleEndian.AppendUint64(nil, uint64(total)))
	return err
}

// publishMain is the publisher's side: it sends as long as its credit lasts, and waits for more.
func publishMain(spec string) error {
	var l load
	if err := json.Unmarshal([]byte(spec), &l); err != nil {
		return err
	}
	send, flush, err := dial(&l)
	if err != nil {
		return err
	}
	w := newWorld(l)
	fmt.Println("ready")
	credits := make(chan int64, 1024)
	go func() {
		defer close(credits)
		var b [8]byte
		for {
			if _, err := io.ReadFull(os.Stdin, b[:]); err != nil {
				return
			}
			credits <- int64(binary.LittleEndian.Uint64(b[:]))
		}
	}()
	sent, limit, ok := int64(0), int64(0), true
	for ok {
		select {
		case limit, ok = <-credits:
		default:
			if sent == limit {
				if err := flush(); err != nil {
					return err
				}
				limit, ok = <-credits
			}
		}
		for range min(32, limit-sent) {
			if err := send(w.message()); err != nil {
				return err
			}
			sent++
		}
	}
	return nil
}

// dial opens the publisher's connections.
func dial(l *load) (send func(subject string, data []byte) error, flush func() error, err error) {
	if l.Conns > 0 {
		conns := make([]*net.TCPConn, l.Conns)
		for i := range conns {
			if conns[i], err = dialRaw(l.URL); err != nil {
				return nil, nil, err
			}
		}
		var buf []byte
		next := 0
		send = func(subject string, data []byte) error {
			buf = fmt.Appendf(buf[:0], "PUB %s %d\r\n", subject, len(data))
			buf = append(append(buf, data...), "\r\n"...)
			c := conns[next]
			if next++; next == len(conns) {
				next = 0
			}
			_, err := c.Write(buf)
			return err
		}
		return send, func() error { return nil }, nil
	}
	nc, err := nats.Connect(l.URL)
	if err != nil {
		return nil, nil, err
	}
	if l.JS {
		js, err := nc.JetStream(nats.PublishAsyncMaxPending(4000))
		if err != nil {
			return nil, nil, err
		}
		send = func(_ string, data []byte) error {
			_, err := js.PublishAsync("single", append([]byte(nil), data...), nats.StallWait(10*time.Second))
			return err
		}
		return send, nc.Flush, nil
	}
	return nc.Publish, nc.Flush, nil
}

// dialRaw opens a NATS connection that is nothing but its socket, and answers the server's pings.
func dialRaw(addr string) (*net.TCPConn, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, 512)
	if _, err := c.Write([]byte("CONNECT {\"verbose\":false,\"lang\":\"bench\"}\r\nPING\r\n")); err != nil {
		return nil, err
	}
	for {
		line, isPrefix, err := r.ReadLine()
		if err != nil {
			return nil, err
		}
		if !isPrefix && string(line) == "PONG" {
			break
		}
	}
	go func() {
		for {
			line, _, err := r.ReadLine()
			if err != nil {
				return
			}
			if string(line) == "PING" {
				if _, err := c.Write([]byte("PONG\r\n")); err != nil {
					return
				}
			}
		}
	}()
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not TCP")
	}
	return tcp, nil
}
