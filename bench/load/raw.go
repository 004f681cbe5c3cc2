package load

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// RawConfig is a measurement of the bare transport: what NATS itself carries, without a gateway behind it.
type RawConfig struct {
	Clients  int
	Messages int // in all
	Size     int // bytes of a payload
	Requests bool
}

// Raw is what the bare transport did. Its lines and its CSV are those of `nats bench` (nats-io/natscli,
// internal/bench/stats.go), so that programs which read those read these.
type Raw struct {
	RunID      string
	Publishers []RawSample // or requesters
	Subscriber *RawSample  // nil for requests
	requests   bool
}

// RawSample is one client's share.
type RawSample struct {
	Messages  int
	Bytes     int64
	Start     time.Time
	End       time.Time
	Latencies []time.Duration // of requests, sorted
}

func (s *RawSample) seconds() float64    { return s.End.Sub(s.Start).Seconds() }
func (s *RawSample) rate() int64         { return int64(float64(s.Messages) / s.seconds()) }
func (s *RawSample) throughput() float64 { return float64(s.Bytes) / s.seconds() }

// RunRaw publishes as fast as it goes to one subscriber that does nothing, or with Requests sends one request at a
// time from each client to one responder that answers at once.
func RunRaw(ctx context.Context, t Target, c RawConfig) (*Raw, error) {
	if c.Clients < 1 || c.Messages < c.Clients || c.Size < 0 || c.Size > 1<<20 {
		return nil, fmt.Errorf("load: %d messages of %d bytes from %d clients make no measurement", c.Messages, c.Size, c.Clients)
	}
	connect := func(name string, more ...nats.Option) (*nats.Conn, error) {
		nc, err := nats.Connect(t.URL, append(append(slices.Clone(t.Options), nats.Name(name)), more...)...)
		if err != nil {
			return nil, fmt.Errorf("load: connect to %s: %w", redactURL(t.URL), err)
		}
		return nc, nil
	}
	var dropped atomic.Int64
	sink, err := connect("footfall bench subscriber", nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { dropped.Add(1) }))
	if err != nil {
		return nil, err
	}
	defer sink.Close()
	raw := &Raw{RunID: nats.NewInbox()[len("_INBOX."):], Publishers: make([]RawSample, c.Clients), requests: c.Requests}
	subject := "footfall.bench.raw." + raw.RunID
	var got atomic.Int64
	all := make(chan struct{})
	received := RawSample{Messages: c.Messages, Bytes: int64(c.Messages) * int64(c.Size)}
	sub, err := sink.Subscribe(subject, func(m *nats.Msg) {
		if c.Requests {
			_ = m.Respond(nil)
			return
		}
		n := got.Add(1)
		if n == 1 {
			received.Start = time.Now()
		}
		if n == int64(c.Messages) {
			received.End = time.Now()
			close(all)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(sub.SetPendingLimits(-1, -1), sink.Flush()); err != nil {
		return nil, err
	}
	payload := make([]byte, c.Size)
	errs := make([]error, c.Clients)
	begin := make(chan struct{})
	var clients sync.WaitGroup
	for i := range c.Clients {
		nc, err := connect(fmt.Sprintf("footfall bench client %d", i))
		if err != nil {
			close(begin)
			clients.Wait()
			return nil, err
		}
		s := &raw.Publishers[i]
		s.Messages = c.Messages/c.Clients + min(1, max(0, c.Messages%c.Clients-i))
		s.Bytes = int64(s.Messages) * int64(c.Size)
		clients.Go(func() {
			defer nc.Close()
			<-begin
			errs[i] = s.run(ctx, nc, subject, payload, c.Requests)
		})
	}
	close(begin)
	clients.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.Requests {
		return raw, nil
	}
	select {
	case <-all:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(30 * time.Second):
		return nil, fmt.Errorf("load: the subscriber got %d of %d messages; the client library reported %d losses", got.Load(), c.Messages, dropped.Load())
	}
	raw.Subscriber = &received
	return raw, nil
}

func (s *RawSample) run(ctx context.Context, nc *nats.Conn, subject string, payload []byte, requests bool) error {
	s.Start = time.Now()
	for i := range s.Messages {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if !requests {
			if err := nc.Publish(subject, payload); err != nil {
				return err
			}
			continue
		}
		at := time.Now()
		if _, err := nc.Request(subject, payload, 5*time.Second); err != nil {
			return err
		}
		s.Latencies = append(s.Latencies, time.Since(at))
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	s.End = time.Now()
	slices.Sort(s.Latencies)
	return nil
}

// WriteText prints the lines of nats bench.
func (r *Raw) WriteText(w io.Writer) error {
	var b strings.Builder
	label := "Core NATS publisher"
	if r.requests {
		label = "Core NATS service requester"
	}
	if r.Subscriber != nil {
		fmt.Fprintf(&b, "NATS Core NATS subscriber stats: %s\n\n", r.Subscriber)
	}
	if len(r.Publishers) == 1 {
		fmt.Fprintf(&b, "NATS %s stats: %s\n", label, &r.Publishers[0])
	} else {
		sum, rates := r.sum()
		for i := range r.Publishers {
			fmt.Fprintf(&b, "  [%d] %s (%s msgs)\n", i+1, &r.Publishers[i], comma(float64(r.Publishers[i].Messages), 0))
		}
		fmt.Fprintf(&b, "\n NATS %s aggregated stats: %s msgs/sec ~ %s/sec\n", label, comma(float64(sum.rate()), 0), iBytes(sum.throughput()))
		mean, sd := spread(rates)
		fmt.Fprintf(&b, " message rates min %s | avg %s | max %s | stddev %s msgs\n", comma(slices.Min(rates), 0), comma(math.Floor(mean), 0), comma(slices.Max(rates), 0), comma(math.Floor(sd), 0))
		if l := sum.Latencies; len(l) > 0 {
			mean, sd := spread(micro(l))
			fmt.Fprintf(&b, " latencies per operation min %sus | avg %sus | max %sus | stddev %sus | P50 %sus | P90 %sus | P99 %sus | P99.9: %sus\n",
				usText(l[0]), comma(mean, 2), usText(l[len(l)-1]), comma(sd, 2), usText(quantile(l, 50)), usText(quantile(l, 90)), usText(quantile(l, 99)), usText(quantile(l, 99.9)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *RawSample) String() string {
	text := fmt.Sprintf("%s msgs/sec ~ %s/sec", comma(float64(s.rate()), 0), iBytes(s.throughput()))
	if l := s.Latencies; len(l) > 0 {
		mean, _ := spread(micro(l))
		text += fmt.Sprintf(" ~ min: %sus ~ avg: %sus ~ max: %sus ~ P50: %sus ~ P90: %sus ~ P99: %sus ~ P99.9: %sus",
			usText(l[0]), comma(mean, 2), usText(l[len(l)-1]), usText(quantile(l, 50)), usText(quantile(l, 90)), usText(quantile(l, 99)), usText(quantile(l, 99.9)))
	}
	return text
}

// WriteCSV writes the table of nats bench --csv.
func (r *Raw) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	header := []string{"#RunID", "ClientID", "MsgCount", "MsgBytes", "MsgsPerSec", "BytesPerSec", "DurationSecs"}
	if r.requests {
		for _, n := range []string{"Min", "Avg", "Max", "P50", "P90", "P99", "P99.9", "StdDev"} {
			header = append(header, n+"LatencyMicroSecs")
		}
	}
	rows := [][]string{header}
	six := func(v float64) string { return strconv.FormatFloat(v, 'f', 6, 64) }
	add := func(id string, s *RawSample) {
		row := []string{r.RunID, id, strconv.Itoa(s.Messages), strconv.FormatInt(s.Bytes, 10), strconv.FormatInt(s.rate(), 10), six(s.throughput()), six(s.seconds())}
		if l := s.Latencies; r.requests && len(l) > 0 {
			mean, sd := spread(micro(l))
			for _, v := range []float64{us64(l[0]), mean, us64(l[len(l)-1]), us64(quantile(l, 50)), us64(quantile(l, 90)), us64(quantile(l, 99)), us64(quantile(l, 99.9)), sd} {
				row = append(row, six(v))
			}
		}
		rows = append(rows, row)
	}
	for i := range r.Publishers {
		add("P"+strconv.Itoa(i), &r.Publishers[i])
	}
	if r.Subscriber != nil {
		add("S0", r.Subscriber)
	}
	return out.WriteAll(rows)
}

// sum is all publishers as one: from the first start to the last end.
func (r *Raw) sum() (s RawSample, rates []float64) {
	s.Start, s.End = r.Publishers[0].Start, r.Publishers[0].End
	for i := range r.Publishers {
		p := &r.Publishers[i]
		s.Messages += p.Messages
		s.Bytes += p.Bytes
		s.Latencies = append(s.Latencies, p.Latencies...)
		s.Start = slices.MinFunc([]time.Time{s.Start, p.Start}, time.Time.Compare)
		s.End = slices.MaxFunc([]time.Time{s.End, p.End}, time.Time.Compare)
		rates = append(rates, float64(p.rate()))
	}
	slices.Sort(s.Latencies)
	return s, rates
}

func us64(d time.Duration) float64  { return float64(d) / float64(time.Microsecond) }
func usText(d time.Duration) string { return comma(us64(d), 2) }

func micro(l []time.Duration) []float64 {
	out := make([]float64, len(l))
	for i, d := range l {
		out[i] = us64(d)
	}
	return out
}

func quantile(sorted []time.Duration, percent float64) time.Duration {
	return sorted[max(0, int(math.Ceil(percent/100*float64(len(sorted))))-1)]
}

func spread(of []float64) (mean, deviation float64) {
	for _, v := range of {
		mean += v / float64(len(of))
	}
	for _, v := range of {
		deviation += (v - mean) * (v - mean) / float64(len(of))
	}
	return mean, math.Sqrt(deviation)
}

// comma prints a number with commas between thousands and at most so many decimals.
func comma(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, rest, _ := strings.Cut(text, ".")
	rest = strings.TrimRight(rest, "0")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return cmp.Or(strings.TrimSuffix(whole+"."+rest, "."), "0")
}

// iBytes prints bytes in units of 1,024.
func iBytes(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && v >= 1024 {
		v, units = v/1024, units[1:]
	}
	if v < 10 {
		return fmt.Sprintf("%.1f %s", v, units[0])
	}
	return fmt.Sprintf("%.0f %s", v, units[0])
}
