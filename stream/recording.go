package stream

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"footfall/audience"
	"footfall/stream/inputlog"
	"footfall/stream/wire"
	"footfall/track"
)

// Recording is what a gateway's input log holds: what people's devices have sent in the last Log.MaxAge. Canary walkers are left out.
type Recording struct {
	// Records are in the order of receipt; those of one device are in the order in which the gateway took them.
	Records []wire.Record
	// From is when the first record of each partition was received, Unix ms; 0 where there is none. Of what came before, only the
	// ledger knows.
	From [Partitions]int64
	To   int64 // when the last record was received
	// Withdrawn counts the pings that are left out because their device was withdrawn later: the gateway has erased what it made of
	// them, and they are not to be used.
	Withdrawn int
	// Unreadable counts batches that are damaged, or of another version.
	Unreadable int

	order  []int64 // of each record: the latest time of receipt in its partition so far
	reader *wire.BatchReader
}

// ErrNoLog: there is no input log.
var ErrNoLog = errors.New("stream: no input log")

// ReadRecording reads the input log of a running gateway over NATS, as far as it goes now. It changes nothing there. The
// records, about 200 bytes each, are kept in memory.
func ReadRecording(ctx context.Context, nc *nats.Conn) (*Recording, error) {
	r := newRecording()
	for p := range Partitions {
		var last int64
		for q := (LogQuery{Partition: p, From: 1}); ; {
			page, err := askLog(ctx, nc, &q)
			if err != nil {
				return nil, err
			}
			for _, batch := range page.batches {
				r.add(p, &last, batch)
			}
			if page.next <= q.From || page.next > page.last {
				break
			}
			q.From = page.next
		}
	}
	return r.sorted(), nil
}

// RecordingOf reads the input log of a gateway that is not running, from its data directory, also when the log's time is over. It
// changes nothing there. ErrNoLog when there is none, as with an external NATS server.
func RecordingOf(ctx context.Context, dataDir string) (*Recording, error) {
	r := newRecording()
	for p := range Partitions {
		var last int64
		err := inputlog.Scan(filepath.Join(dataDir, "nats", "input"), p, func(m inputlog.Message) error {
			r.add(p, &last, m.Data)
			return ctx.Err()
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w in %s: %w", ErrNoLog, dataDir, err)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.sorted(), nil
}

func newRecording() *Recording {
	return &Recording{reader: wire.NewBatchReader(wire.NewInterner(1 << 16))}
}

// add takes the records of a batch of partition p, in the order of its log. last is the latest time of receipt so far.
func (r *Recording) add(p int, last *int64, batch []byte) {
	if err := r.reader.Reset(batch); err != nil {
		r.Unreadable++
		return
	}
	for {
		var rec wire.Record
		ok, err := r.reader.Next(&rec)
		if err != nil {
			r.Unreadable++
		}
		if !ok {
			return
		}
		if r.From[p] == 0 {
			r.From[p] = rec.ReceivedAt
		}
		*last = max(*last, rec.ReceivedAt)
		r.To = max(r.To, *last)
		if isCanary(rec.Device) {
			continue
		}
		rec.Payload = slices.Clone(rec.Payload)
		r.Records, r.order = append(r.Records, rec), append(r.order, *last)
	}
}

// sorted puts the records in the order of receipt. Partitions follow one another, so an order that is stable keeps that of
// each.
func (r *Recording) sorted() *Recording {
	by := make([]int, len(r.order))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(a, b int) int { return cmp.Compare(r.order[a], r.order[b]) })
	sorted := make([]wire.Record, len(by))
	withdrawn := map[track.DeviceID]bool{} // behind i
	keep := len(by)
	for i := len(by) - 1; i >= 0; i-- {
		rec := &r.Records[by[i]]
		if rec.Kind == wire.KindDevice && audience.LocationConsentIn(rec.Payload) == audience.ConsentWithdrawn {
			withdrawn[rec.Device] = true
		}
		if rec.Kind == wire.KindPing && withdrawn[rec.Device] {
			r.Withdrawn++
			continue
		}
		keep--
		sorted[keep] = *rec
	}
	r.Records, r.order, r.reader = sorted[keep:], nil, nil
	return r
}

// LogQuery asks for batches of one partition's input log, from a sequence on.
type LogQuery struct {
	Partition int    `json:"partition"`
	From      uint64 `json:"from"`
}

// logPage is some batches, as the answer to a LogQuery has them: in the header the sequence after them and the last one of the
// log, in the data each batch with its length, 32 bits little endian, before it.
type logPage struct {
	batches    [][]byte
	next, last uint64
}

const (
	headerNext = "Footfall-Next"
	headerLast = "Footfall-Last"
	// maxPage bounds an answer: NATS carries a megabyte. A batch alone may be larger than this, never than that.
	maxPage = 700 << 10
)

// readLog returns batches of a log, at least one if there is any.
func (g *Gateway) readLog(ctx context.Context, q *LogQuery) (logPage, error) {
	if q.Partition < 0 || q.Partition >= Partitions || !g.restored.Load() {
		return logPage{}, fmt.Errorf("%w: no partition %d", ErrQuery, q.Partition)
	}
	l := g.logs[q.Partition]
	state, err := l.state(ctx)
	if err != nil {
		return logPage{}, err
	}
	page := logPage{next: max(q.From, state.first), last: state.last}
	if page.next > page.last {
		return page, nil
	}
	size := 0
	err = l.read(ctx, page.next, func(m logMessage, caughtUp bool) (bool, error) {
		if m.data != nil {
			if size += len(m.data) + 4; size > maxPage && len(page.batches) > 0 {
				return false, nil
			}
			page.batches, page.next = append(page.batches, m.data), m.seq+1
		}
		if caughtUp {
			page.next = max(page.next, page.last+1)
		}
		return !caughtUp && page.next <= page.last, nil
	})
	return page, err
}

func (g *Gateway) answerLog(r micro.Request) {
	go func() {
		var q LogQuery
		if err := json.Unmarshal(r.Data(), &q); err != nil {
			_ = r.Error("400", "the request is not JSON: "+err.Error(), nil)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), queryPatience)
		defer cancel()
		page, err := g.readLog(ctx, &q)
		if err != nil {
			_ = r.Error("500", err.Error(), nil)
			return
		}
		var data []byte
		for _, b := range page.batches {
			data = append(binary.LittleEndian.AppendUint32(data, uint32(len(b))), b...)
		}
		err = r.Respond(data, micro.WithHeaders(micro.Headers{
			headerNext: {strconv.FormatUint(page.next, 10)}, headerLast: {strconv.FormatUint(page.last, 10)},
		}))
		if err != nil {
			_ = r.Error("500", "the answer could not be sent ("+err.Error()+")", nil)
		}
	}()
}

func askLog(ctx context.Context, nc *nats.Conn, q *LogQuery) (page logPage, err error) {
	text, err := json.Marshal(q)
	if err != nil {
		return page, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*queryPatience)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, LogSubject, text)
	if errors.Is(err, nats.ErrNoResponders) {
		return page, errors.New("no Footfall gateway is connected to this NATS server")
	}
	if err != nil {
		return page, fmt.Errorf("stream: read the input log: %w", err)
	}
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return page, fmt.Errorf("stream: read the input log: %s", text)
	}
	if page.next, err = strconv.ParseUint(m.Header.Get(headerNext), 10, 64); err != nil {
		return page, fmt.Errorf("stream: read the input log: %w", err)
	}
	if page.last, err = strconv.ParseUint(m.Header.Get(headerLast), 10, 64); err != nil {
		return page, fmt.Errorf("stream: read the input log: %w", err)
	}
	for data := m.Data; len(data) > 0; {
		if len(data) < 4 || uint64(len(data)) < 4+uint64(binary.LittleEndian.Uint32(data)) {
			return page, errors.New("stream: read the input log: the answer is cut off")
		}
		n := binary.LittleEndian.Uint32(data)
		page.batches, data = append(page.batches, data[4:4+n]), data[4+n:]
	}
	return page, nil
}
