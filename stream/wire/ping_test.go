package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/track"
)

// The pings that every engine studied gets wrong somewhere: each is refused with its own reason, by the decoder or by
// the gate behind it, and none stops the good ping next to it.
func TestBadPings(t *testing.T) {
	const good = `{"t":1795859999000,"lat":41.2995,"lon":69.2401,"acc":5}`
	rules := track.DefaultRules()
	tests := []struct{ name, ping, want string }{
		{"lat 91", `{"t":1795859999000,"lat":91,"lon":69.24}`, "out_of_range"},
		{"lat -100", `{"t":1795859999000,"lat":-100,"lon":69.24}`, "out_of_range"},
		{"lng 181", `{"t":1795859999000,"lat":41.3,"lon":181}`, "out_of_range"},
		{"lng 540", `{"t":1795859999000,"lat":41.3,"lon":540}`, "out_of_range"},
		{"1e400", `{"t":1795859999000,"lat":1e400,"lon":69.24}`, "out_of_range"},
		{"Inf as text", `{"t":1795859999000,"lat":"Infinity","lon":69.24}`, "bad_type"},
		{"number as text", `{"t":1795859999000,"lat":"41.3","lon":69.24}`, "bad_type"},
		{"null lat", `{"t":1795859999000,"lat":null,"lon":69.24}`, "bad_type"},
		{"null acc", `{"t":1795859999000,"lat":41.3,"lon":69.24,"acc":null}`, "bad_type"},
		{"null t", `{"t":null,"lat":41.3,"lon":69.24}`, "bad_type"},
		{"mock as number", `{"t":1795859999000,"lat":41.3,"lon":69.24,"mock":1}`, "bad_type"},
		{"lat missing", `{"t":1795859999000,"lon":69.24}`, "missing_position"},
		{"both missing", `{"t":1795859999000}`, "missing_position"},
		{"capital names", `{"T":1795859999000,"Lat":41.3,"Lon":69.24}`, "missing_time"},
		{"time missing", `{"lat":41.3,"lon":69.24}`, "missing_time"},
		{"seconds", `{"t":1795859999,"lat":41.3,"lon":69.24}`, "time_unit"},
		{"microseconds", `{"t":1795859999000000,"lat":41.3,"lon":69.24}`, "time_unit"},
		{"nanoseconds", `{"t":1795859999000000000,"lat":41.3,"lon":69.24}`, "time_unit"},
		{"t 0", `{"t":0,"lat":41.3,"lon":69.24}`, "out_of_range"},
		{"t negative", `{"t":-1795859999000,"lat":41.3,"lon":69.24}`, "out_of_range"},
		{"age negative", `{"age_ms":-1,"lat":41.3,"lon":69.24}`, "out_of_range"},
		{"negative accuracy", `{"t":1795859999000,"lat":41.3,"lon":69.24,"acc":-1}`, "negative_accuracy"},
		{"absurd accuracy", `{"t":1795859999000,"lat":41.3,"lon":69.24,"acc":1e300}`, "out_of_range"},
		{"absurd speed", `{"t":1795859999000,"lat":41.3,"lon":69.24,"spd":1e300}`, "out_of_range"},
		{"twice", `{"t":1795859999000,"lat":41.3,"lon":69.24,"lat":0.1}`, "duplicate_field"},
		{"unknown src", `{"t":1795859999000,"lat":41.3,"lon":69.24,"src":"gps"}`, "bad_source"},
		{"os_ with nothing", `{"t":1795859999000,"src":"os_enter"}`, "missing_fence"},
		{"os_ with half a position", `{"t":1795859999000,"src":"os_enter","fence":"f","lat":41.3}`, "missing_position"},
		{"empty fence", `{"t":1795859999000,"src":"os_enter","fence":""}`, "bad_fence"},
		{"a number", `41.3`, "bad_type"},
		{"an array", `[41.3,69.24]`, "bad_type"},
		// What the gate refuses.
		{"null island", `{"t":1795859999000,"lat":0,"lon":0}`, "null_island"},
		{"t in 2099", `{"t":4070908800000,"lat":41.3,"lon":69.24}`, "future"},
		{"an unset clock", `{"t":315532800000,"lat":41.3,"lon":69.24}`, "ancient"},
		{"mock location", `{"t":1795859999000,"lat":41.3,"lon":69.24,"mock":true}`, "mock"},
	}
	for _, tt := range tests {
		fixes, errs, err := DecodePings(nil, []byte("["+good+","+tt.ping+","+good+"]"), testReceived)
		if err != nil {
			t.Errorf("%s: the whole array was refused: %v", tt.name, err)
			continue
		}
		got := ""
		if len(errs) == 1 && errs[0].Index == 1 && len(fixes) == 2 {
			got = string(errs[0].Code)
		} else if len(errs) == 0 && len(fixes) == 3 {
			got = string(track.CheckFix(&fixes[1], &rules))
		}
		if got != tt.want {
			t.Errorf("%s: refused as %q (%v), want %q", tt.name, got, errs, tt.want)
		}
		for i := range fixes {
			if i != 1 || len(fixes) == 2 {
				if r := track.CheckFix(&fixes[i], &rules); r != "" {
					t.Errorf("%s: its good neighbour %d was refused: %s", tt.name, i, r)
				}
			}
		}
	}
}

func TestPayloadsRefusedWhole(t *testing.T) {
	const ping = `{"t":1795859999000,"lat":50.45,"lon":30.52}`
	array := func(n int) string { return "[" + strings.Repeat(ping+",", n-1) + ping + "]" }
	tests := []struct {
		name, payload string
		want          Code
	}{
		{"nothing", "", CodeEmpty},
		{"white space", " \n", CodeMalformed},
		{"an empty array", "[]", CodeEmpty},
		{"NaN", `{"t":1795859999000,"lat":NaN,"lon":30.52}`, CodeMalformed},
		{"Infinity", `{"t":1795859999000,"lat":-Infinity,"lon":30.52}`, CodeMalformed},
		{"1,001 pings", array(1001), CodeTooMany},
		{"257 KiB", ping[:1] + strings.Repeat(" ", 256<<10) + ping[1:], CodeTooLarge},
		{"33 levels", `{"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "," + ping[1:], CodeTooDeep},
		{"256 KiB of brackets", strings.Repeat("[", 256<<10), CodeTooDeep},
		{"two objects", ping + ping, CodeMalformed},
		{"cut off", ping[:30], CodeMalformed},
		{"good, then garbage", "[" + ping + ",{]", CodeMalformed},
		{"trailing comma", "[" + ping + ",]", CodeMalformed},
		{"byte order mark", "\xef\xbb\xbf" + ping, CodeMalformed},
		{"text", `"ping"`, CodeMalformed},
		{"a query string", "lat=50.45&lon=30.52", CodeMalformed},
		{"a control byte in text", "{\"x\":\"\n\"," + ping[1:], CodeMalformed},
	}
	dst := make([]track.Fix, 1, 2000)
	for _, tt := range tests {
		fixes, errs, err := DecodePings(dst, []byte(tt.payload), testReceived)
		p, ok := errors.AsType[*PayloadError](err)
		if !ok || p.Code != tt.want || p.Reason == "" || len(fixes) != 1 || errs != nil {
			t.Errorf("%s: got %v with %d fixes, %v; want %s", tt.name, err, len(fixes)-1, errs, tt.want)
		}
	}
	for _, ok := range []string{array(1000), `{"x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + "," + ping[1:]} {
		if _, errs, err := DecodePings(nil, []byte(ok), testReceived); err != nil || errs != nil {
			t.Errorf("%.40s… at the limit: %v %v", ok, errs, err)
		}
	}
}

func TestDecodePing(t *testing.T) {
	base := track.Fix{FixedAt: 1795859999000, ReceivedAt: testReceived, Lat: 50.4501, Lng: 30.5234, HasPosition: true, SpeedMPS: -1}
	with := func(edit func(*track.Fix)) track.Fix { f := base; edit(&f); return f }
	tests := []struct {
		name, ping string
		want       track.Fix
	}{
		{"least", `{"t":1795859999000,"lat":50.4501,"lon":30.5234}`, base},
		{"all", `{"t":1795859999000,"lat":50.4501,"lon":30.5234,"acc":12.5,"spd":1.5,"crs":270,"alt":179,"src":"foreground","mock":true,"age_ms":40,"fence":"f"}`,
			with(func(f *track.Fix) {
				f.AccuracyM, f.SpeedMPS, f.Source, f.Mock = 12.5, 1.5, track.SourceForeground, true
			})},
		{"age", `{"age_ms":1000.9,"lat":50.4501,"lon":30.5234}`, base},
		{"fractions of a millisecond", `{"t":1795859999000.75,"lat":50.4501,"lon":30.5234}`, base},
		{"unknown speed", `{"t":1795859999000,"lat":50.4501,"lon":30.5234,"spd":-1}`, base},
		{"unknown fields", `{"batt":{"l":[1,null]},"t":1795859999000,"lat":50.4501,"lon":30.5234,"device":7}`, base},
		{"escaped name", `{"\u0074":1795859999000,"l\u0061t":50.4501,"lon":30.5234}`, base},
		{"os_enter, no position", `{"t":1795859999000,"src":"os_enter","fence":"\u041aиїв"}`,
			track.Fix{FixedAt: 1795859999000, ReceivedAt: testReceived, SpeedMPS: -1, Source: track.SourceOSEnter, Fence: "Київ"}},
		{"os_exit, no fence", `{"t":1795859999000,"src":"os_exit","lat":50.4501,"lon":30.5234}`,
			with(func(f *track.Fix) { f.Source = track.SourceOSExit })},
	}
	for _, tt := range tests {
		got, errs, err := DecodePings(nil, []byte(tt.ping), testReceived)
		if err != nil || errs != nil || len(got) != 1 {
			t.Errorf("%s: %v %v", tt.name, errs, err)
		} else if d := cmp.Diff(tt.want, got[0]); d != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, d)
		}
	}
}

func TestIndexOf(t *testing.T) {
	at := func(indexes ...int) (errs []PingError) {
		for _, i := range indexes {
			errs = append(errs, PingError{Index: i})
		}
		return errs
	}
	for _, tt := range []struct {
		refused []PingError
		want    []int // of the accepted records 0, 1, 2
	}{
		{nil, []int{0, 1, 2}},
		{at(0), []int{1, 2, 3}},
		{at(1), []int{0, 2, 3}},
		{at(0, 1, 4), []int{2, 3, 5}},
		{at(3), []int{0, 1, 2}},
	} {
		for i, want := range tt.want {
			if got := IndexOf(tt.refused, i); got != want {
				t.Errorf("IndexOf(%v, %d) = %d, want %d", tt.refused, i, got, want)
			}
		}
	}
}

func TestDecodeFeed(t *testing.T) {
	const payload = `[{"device":"bus-1","t":1795859999000,"lat":50.45,"lon":30.52},
		{"t":1795859999000,"lat":50.45,"lon":30.52},
		{"device":"bus.2","t":1795859999000,"lat":50.45,"lon":30.52},
		{"device":7,"t":1795859999000,"lat":50.45,"lon":30.52},
		{"device":"bus-3","t":1795859999000,"lat":95,"lon":30.52},
		{"device":"\u0062us-4","age_ms":0,"src":"os_exit","fence":"f"}]`
	recs, errs, err := DecodeFeed(nil, NewInterner(64), "city", []byte(payload), testReceived)
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{Kind: KindPing, Device: "city.bus-1", ReceivedAt: testReceived, Fix: track.Fix{FixedAt: 1795859999000, ReceivedAt: testReceived,
			Lat: 50.45, Lng: 30.52, HasPosition: true, SpeedMPS: -1}},
		{Kind: KindPing, Device: "city.bus-4", ReceivedAt: testReceived, Fix: track.Fix{FixedAt: testReceived, ReceivedAt: testReceived,
			SpeedMPS: -1, Source: track.SourceOSExit, Fence: "f"}},
	}
	if d := cmp.Diff(want, recs); d != "" {
		t.Errorf("records (-want +got)\n%s", d)
	}
	got := ""
	for _, e := range errs {
		got += fmt.Sprintf("%d %s\n", e.Index, e.Code)
	}
	if want := "1 bad_device\n2 bad_device\n3 bad_type\n4 out_of_range\n"; got != want {
		t.Errorf("refused\n%swant\n%s", got, want)
	}
	// Protobuf carries the device in the same way.
	recs, errs, err = DecodeFeed(nil, NewInterner(64), "city", protoBatch(protoPing("bus-1", 50.45, 30.52), protoPing("", 50.45, 30.52)), testReceived)
	if err != nil || len(recs) != 1 || len(errs) != 1 || errs[0].Code != CodeBadDevice {
		t.Fatalf("protobuf: %d records, %v, %v", len(recs), errs, err)
	}
	if d := cmp.Diff(want[0], recs[0]); d != "" {
		t.Errorf("protobuf (-want +got)\n%s", d)
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	one := []byte(`{"t":1795859999000,"lat":50.450112345678,"lon":30.5234,"acc":12.5,"spd":1.5,"crs":270,"alt":179,"src":"foreground","batt":[1]}`)
	array := []byte("[" + strings.Repeat(string(one)+",", 9) + string(one) + "]")
	pb := protoBatch(protoPing("bus-1", 50.45, 30.52), protoPing("bus-2", 50.45, 30.52))
	feed := []byte(`[{"device":"bus-1","t":1795859999000,"lat":50.45,"lon":30.52}]`)
	ot := []byte(`{"_type":"location","acc":15,"alt":440,"batt":46,"lat":46.0681247,"lon":11.1512805,"tid":"5t","tst":1551874878,"vel":0}`)
	event := []byte(`{"name":"purchase","t":1795859999000,"id":"o-1","props":{"sum":12.5}}`)
	fixes := make([]track.Fix, 0, 16)
	recs := make([]Record, 0, 16)
	names := NewInterner(64)
	tests := map[string]func() int{
		"json":      func() int { f, _, _ := DecodePings(fixes, one, testReceived); return len(f) },
		"array":     func() int { f, _, _ := DecodePings(fixes, array, testReceived); return len(f) },
		"protobuf":  func() int { f, _, _ := DecodePings(fixes, pb, testReceived); return len(f) },
		"feed":      func() int { r, _, _ := DecodeFeed(recs, names, "city", feed, testReceived); return len(r) },
		"owntracks": func() int { f, _, _ := DecodeOwnTracks(fixes, ot, testReceived); return len(f) },
		"event": func() int {
			if CheckPayload(KindEvent, event) != nil {
				return 0
			}
			return 1
		},
		"garbage": func() int {
			if _, _, err := DecodePings(fixes, one[:50], testReceived); err == nil {
				return 0
			}
			return 1
		},
	}
	for name, f := range tests {
		n := 0
		if a := testing.AllocsPerRun(100, func() { n = f() }); a != 0 || n == 0 {
			t.Errorf("%s: %v allocations, %d decoded", name, a, n)
		}
	}
}
