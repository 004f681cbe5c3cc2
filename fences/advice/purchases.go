package advice

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"footfall/internal/trace"
	"footfall/stream/wire"
	"footfall/track"
)

// Purchases are the customer events by which each device's person is known as a buyer, the earliest first.
type Purchases map[track.DeviceID][]purchase

type purchase struct {
	at    int64
	store string // the fence or store that it names; "": it may have been at any
}

func (p Purchases) add(device track.DeviceID, at int64, store string) {
	p[device] = append(p[device], purchase{at, store})
}

func (p Purchases) sort() {
	for _, list := range p {
		slices.SortFunc(list, func(a, b purchase) int { return cmp.Compare(a.at, b.at) })
	}
}

// RecordedPurchases are the customer events of a name among the records of an input log; nil when there are none.
func RecordedPurchases(records []wire.Record, event string) Purchases {
	out := Purchases{}
	for i := range records {
		rec := &records[i]
		if rec.Kind != wire.KindEvent {
			continue
		}
		var ev struct {
			Name  string
			T     float64
			Props struct{ Store any }
		}
		// The collector has checked it. Of props anything is accepted, so a store that is no text is none.
		if err := json.Unmarshal(rec.Payload, &ev); err != nil || ev.Name != event {
			continue
		}
		store, _ := ev.Props.Store.(string)
		out.add(rec.Device, min(cmp.Or(int64(ev.T), rec.ReceivedAt), rec.ReceivedAt), store)
	}
	if len(out) == 0 {
		return nil
	}
	out.sort()
	return out
}

// ReadPurchases reads customer events as CSV with a header: device, ts, and if wanted event, store. Those of another name than event are
// left out; a row that names none has it. A device without an app is one of app. Unlike a position among thousands each of them counts:
// a row that cannot be read refuses the file, with its line, and so does a file that holds none. name is what errors call the file.
func ReadPurchases(r io.Reader, name, event, app string) (Purchases, error) {
	rows := csv.NewReader(r)
	head, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty; it needs a header line such as device,ts", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	col := map[string]int{}
	for i, name := range head {
		col[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i + 1
	}
	for _, want := range []string{"device", "ts"} {
		if col[want] == 0 {
			return nil, fmt.Errorf("%s:1: no column %s; the header has: %s", name, want, strings.Join(head, ", "))
		}
	}
	out := Purchases{}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		get := func(column string) string {
			if i := col[column]; i > 0 {
				return strings.TrimSpace(row[i-1])
			}
			return ""
		}
		if cmp.Or(get("event"), event) != event {
			continue
		}
		line, _ := rows.FieldPos(0)
		at, err := trace.ParseStamp(get("ts"))
		id := track.DeviceID(get("device"))
		if _, _, ok := wire.SplitDevice(id); !ok && err == nil {
			id, err = wire.JoinDevice(app, string(id))
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		out.add(id, at, get("store"))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no %s", name, event)
	}
	out.sort()
	return out, nil
}
