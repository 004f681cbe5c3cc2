package wire_test

import (
	"fmt"

	"footfall/stream/wire"
	"footfall/track"
)

// One message through the collector and the log: decode, gate, batch, reply; then read the batch.
func Example() {
	const received = 1795860000000
	s, err := wire.ParseSubject("ping.shop.d1")
	if err != nil {
		fmt.Println(err)
		return
	}
	device, err := wire.JoinDevice(s.App, s.Device)
	if err != nil {
		fmt.Println(err)
		return
	}
	payload := []byte(`[{"t":1795859999000,"lat":50.4501,"lon":30.5234,"acc":12},{"t":1795859999,"lat":50.4501,"lon":30.5234}]`)
	fixes, refused, err := wire.DecodePings(nil, payload, received)
	if err != nil {
		fmt.Printf("%s\n", wire.AppendError(nil, err))
		return
	}
	var batch []byte
	rules := track.DefaultRules()
	for i := range fixes {
		if track.CheckFix(&fixes[i], &rules) == "" {
			batch = wire.AppendRecord(batch, &wire.Record{Kind: wire.KindPing, Device: device, Fix: fixes[i]})
		}
	}
	batch = wire.SealBatch(batch)
	fmt.Println(wire.LogSubject(wire.Partition(device, 16)), len(batch), "bytes")
	fmt.Printf("%s\n", wire.AppendRefused(nil, len(fixes), refused))

	reader := wire.NewBatchReader(nil)
	if err := reader.Reset(batch); err != nil {
		fmt.Println(err)
		return
	}
	var rec wire.Record
	for {
		ok, err := reader.Next(&rec)
		if err != nil || !ok {
			break
		}
		fmt.Println(rec.Kind, rec.Device, rec.Fix.Lat, rec.Fix.Lng, rec.Fix.AccuracyM)
	}
	// Output:
	// log.02 41 bytes
	// {"ok":false,"error":{"code":"time_unit","reason":"t looks like seconds; send Unix milliseconds (multiply by 1000)","index":1},"accepted":1,"refused":1}
	// ping shop.d1 50.4501 30.5234 12
}

func ExampleEncodeID() {
	fmt.Println(wire.TransitionSubject("shop", "enter", "kyiv-1"))
	fmt.Println(wire.TransitionSubject("shop", "enter", "node/123"))
	e, _ := wire.ParseEvent("ev.shop.enter.node=2F123")
	id, _ := wire.DecodeID(e.ID)
	fmt.Println(id)
	// Output:
	// ev.shop.enter.kyiv-1
	// ev.shop.enter.node=2F123
	// node/123
}

func ExampleParseReply() {
	r, err := wire.ParseReply([]byte(`{"ok":false,"busy":true,"retry_ms":250}`))
	fmt.Println(r.Done(), r.RetryMS, err)
	// Output: false 250 <nil>
}
