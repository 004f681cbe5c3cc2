package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"

	"footfall/geo"
)

// The end of a trace is told by sentinels: devices in every partition of the log enter a
// fence of their own after all else.
const (
	sentinels     = 256 // of 16 partitions none is without one
	sentinelFence = "sentinel"
)

var sentinelAt = geo.Point{Lat: -45, Lng: -120}

// writeGateway writes the files of a gateway whose rules are those of the other servers:
// enter and exit at the edge.
func writeGateway(dir string, fences []*geo.Shape) error {
	type feature struct {
		Type       string         `json:"type"`
		ID         string         `json:"id"`
		Properties map[string]any `json:"properties"`
		Geometry   map[string]any `json:"geometry"`
	}
	point := func(id string, p geo.Point) feature {
		return feature{"Feature", id, map[string]any{"radius": 200}, map[string]any{"type": "Point", "coordinates": []float64{p.Lng, p.Lat}}}
	}
	all := []feature{point(sentinelFence, sentinelAt)}
	for i, s := range fences {
		all = append(all, point(fenceID(int32(i)), s.Center()))
	}
	text, err := json.Marshal(map[string]any{"type": "FeatureCollection", "features": all})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "fences.geojson"), text, 0o600); err != nil {
		return err
	}
	const config = `data_dir: data
fences: {path: fences.geojson}
rules: {max_speed: 0, exit_margin: 0, exit_margin_ratio: 0, exit_accuracy_cap: 0, exit_blind: 0}
`
	return os.WriteFile(filepath.Join(dir, "footfall.yaml"), []byte(config), 0o600)
}

// encoder makes the subject and payload of some pings; app is new for each time a trace is
// played, so that no device has a past.
type encoder func(dst []byte, app string, some []ping) (subject string, data []byte)

func jsonPing(dst []byte, app string, some []ping) (string, []byte) {
	p := &some[0]
	return "ping." + app + "." + p.device, fmt.Appendf(dst, `{"t":%d,"lat":%.9f,"lon":%.9f,"acc":1,"spd":1.4,"src":"stream"}`, p.ms, p.at.Lat, p.at.Lng)
}

func jsonFeed(dst []byte, app string, some []ping) (string, []byte) {
	for i := range some {
		p := &some[i]
		open := byte(',')
		if i == 0 {
			open = '['
		}
		dst = append(dst, open)
		dst = fmt.Appendf(dst, `{"device":"%s","t":%d,"lat":%.9f,"lon":%.9f,"acc":1,"spd":1.4,"src":"stream"}`, p.device, p.ms, p.at.Lat, p.at.Lng)
	}
	return "feed." + app, append(dst, ']')
}

func protoFeed(dst []byte, app string, some []ping) (string, []byte) {
	var m []byte
	for i := range some {
		p := &some[i]
		m = protowire.AppendVarint(protowire.AppendTag(m[:0], 1, protowire.VarintType), uint64(p.ms))
		m = protowire.AppendFixed64(protowire.AppendTag(m, 2, protowire.Fixed64Type), math.Float64bits(p.at.Lat))
		m = protowire.AppendFixed64(protowire.AppendTag(m, 3, protowire.Fixed64Type), math.Float64bits(p.at.Lng))
		m = protowire.AppendFixed32(protowire.AppendTag(m, 4, protowire.Fixed32Type), math.Float32bits(1))
		m = protowire.AppendFixed32(protowire.AppendTag(m, 5, protowire.Fixed32Type), math.Float32bits(1.4))
		m = protowire.AppendString(protowire.AppendTag(m, 12, protowire.BytesType), p.device)
		dst = protowire.AppendBytes(protowire.AppendTag(dst, 2, protowire.BytesType), m)
	}
	return "feed." + app, dst
}

// jsonFeedOne is a ping a message from a backend, which has one subject for all devices.
func jsonFeedOne(dst []byte, app string, some []ping) (string, []byte) {
	p := &some[0]
	return "feed." + app, fmt.Appendf(dst, `{"device":"%s","t":%d,"lat":%.9f,"lon":%.9f,"acc":1,"spd":1.4,"src":"stream"}`, p.device, p.ms, p.at.Lat, p.at.Lng)
}

// gateway publishes through one connection. Of every so many messages one is a request,
// whose answer says that it is stored; that holds the publisher back. The time ends when
// the last event has come out of the durable stream of events.
func gateway(url string, encode encoder, per int) player {
	return func(t *trace, w *stopwatch) ([]event, error) {
		nc, err := nats.Connect(url)
		if err != nil {
			return nil, err
		}
		defer nc.Close()
		app := fmt.Sprintf("bench%d", time.Now().UnixNano())
		got, done := make(chan event, 1<<20), make(chan struct{})
		arrived := 0
		_, err = nc.Subscribe("ev."+app+".>", func(m *nats.Msg) {
			var e struct{ Kind, Device, Fence string }
			if err := json.Unmarshal(m.Data, &e); err != nil {
				return
			}
			if e.Fence == sentinelFence {
				if arrived++; arrived == sentinels {
					close(done)
				}
				return
			}
			got <- event{e.Device, e.Fence, e.Kind == "enter"}
		})
		if err != nil {
			return nil, err
		}
		// Messages that may be on the way: below what the gateway turns away.
		window := 1 << 14
		if per > 1 {
			window = 1 << 12
		}
		probe := window / 4
		room := make(chan struct{}, 4)
		for range cap(room) {
			room <- struct{}{}
		}
		var refused atomic.Pointer[string]
		inbox := nc.NewInbox()
		_, err = nc.Subscribe(inbox, func(m *nats.Msg) {
			var a struct{ OK bool }
			if err := json.Unmarshal(m.Data, &a); err != nil || !a.OK {
				refused.Store(new(string(m.Data)))
			}
			room <- struct{}{}
		})
		if err != nil {
			return nil, err
		}
		if err := nc.Flush(); err != nil {
			return nil, err
		}
		pub, err := dialPub(url)
		if err != nil {
			return nil, err
		}
		defer pub.Close()
		var frames []byte // made beforehand, as devices would have them
		var ends []int
		var payload []byte
		for first := 0; first < len(t.pings); first += per {
			var subject, reply string
			subject, payload = encode(payload[:0], app, t.pings[first:min(first+per, len(t.pings))])
			if (len(ends)+1)%probe == 0 {
				reply = inbox
			}
			frames = appendPub(frames, subject, reply, payload)
			ends = append(ends, len(frames))
		}
		runtime.GC() // of what that has left, which is not the gateway's time
		w.start()
		at := 0
		for i, end := range ends {
			if (i+1)%probe == 0 {
				if err := pub.w.Flush(); err != nil {
					return nil, err
				}
				select {
				case <-room:
				case <-time.After(30 * time.Second):
					return nil, errors.New("no answer to a request for 30 s")
				}
			}
			if err := pub.publish(frames[at:end]); err != nil {
				return nil, err
			}
			at = end
		}
		for i := range sentinels {
			p := ping{fmt.Sprintf("sentinel%d", i), sentinelAt, time.Now().UnixMilli()}
			subject, data := jsonPing(nil, app, []ping{p})
			if err := pub.publish(appendPub(nil, subject, "", data)); err != nil {
				return nil, err
			}
		}
		if err := pub.w.Flush(); err != nil {
			return nil, err
		}
		select {
		case <-done:
		case <-time.After(60 * time.Second):
			return nil, fmt.Errorf("%d of %d sentinels arrived within a minute", arrived, sentinels)
		}
		w.stop()
		if s := refused.Load(); s != nil {
			return nil, fmt.Errorf("the gateway answered %s", *s)
		}
		return collect(got, t.events)
	}
}
