package advice

import (
	"fmt"
	"strings"
	"testing"

	"footfall/stream/wire"
	"footfall/track"
)

// TestRecordedPurchases: which records of an input log are purchases.
func TestRecordedPurchases(t *testing.T) {
	record := func(kind wire.Kind, device track.DeviceID, payload string) wire.Record {
		return wire.Record{Kind: kind, Device: device, ReceivedAt: 5_000, Payload: []byte(payload)}
	}
	got := RecordedPurchases([]wire.Record{
		record(wire.KindEvent, "shop.a", `{"name":"purchase"}`),
		record(wire.KindEvent, "shop.a", `{"name":"purchase","t":3000,"props":{"store":"7"}}`),
		record(wire.KindEvent, "shop.a", `{"name":"purchase","t":9000,"props":{"store":7}}`),
		record(wire.KindEvent, "shop.b", `{"name":"view"}`),
		record(wire.KindDevice, "shop.b", `{"name":"purchase"}`),
	}, "purchase")
	if want := "map[shop.a:[{3000 7} {5000 } {5000 }]]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if got := RecordedPurchases(nil, "purchase"); got != nil {
		t.Errorf("of no events: %v", got)
	}
}

// TestReadPurchasesRefuses: a file that cannot be read whole is none.
func TestReadPurchasesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "e.csv is empty; it needs a header line such as device,ts",
		"who,ts\n":                             "e.csv:1: no column device; the header has: who, ts",
		"device,ts\na,1795860000\na,noon\n":    `e.csv:3: time "noon" is neither`,
		"device,ts\na b,1795860000\n":          "e.csv:2: ",
		"device,ts\na\n":                       "e.csv: record on line 2: wrong number of fields",
		"device,ts,event\na,1795860000,view\n": "e.csv holds no purchase",
	} {
		if got, err := ReadPurchases(strings.NewReader(text), "e.csv", "purchase", "trace"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}
