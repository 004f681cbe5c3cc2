package wire

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/track"
)

// dataFile finds a file of the shared test data: a folder data, or shared/data beside the repository. It skips the test
// when there is none.
func dataFile(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		p := filepath.Join(dir, "shared", "data", name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
		if dir == filepath.Dir(dir) {
			t.Skipf("no shared/data/%s above this folder", name)
		}
	}
}

// What real apps send: every OwnTracks message comes out as a fix, as ignored, or refused for the right reason.
func TestOwnTracksCorpus(t *testing.T) {
	f, err := os.Open(dataFile(t, "payloads/app_payloads.ndjson.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]map[string]int{}
	byName := map[string]string{}
	const received = 1800000000000 // after every message of the corpus
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var msg struct{ App, Name, Body, Expect string }
		if err := json.Unmarshal(lines.Bytes(), &msg); err != nil {
			t.Fatal(err)
		}
		fixes, errs, err := DecodeOwnTracks(nil, []byte(msg.Body), received)
		if outcomes[msg.App] == nil {
			outcomes[msg.App] = map[string]int{}
		}
		n := outcomes[msg.App]
		n["fix"] += len(fixes)
		for _, e := range errs {
			n[string(e.Code)]++
			byName[msg.Name] = string(e.Code)
		}
		if p, ok := errors.AsType[*PayloadError](err); ok {
			n["payload "+string(p.Code)]++
		}
		if msg.App == "owntracks" && msg.Expect == "a position" && len(fixes) != 1 {
			t.Errorf("%s: no position: %v %v", msg.Name, errs, err)
		}
		// The other door must not fall over either.
		DecodePings(nil, []byte(msg.Body), received)
		DecodeFeed(nil, NewInterner(64), "x", []byte(msg.Body), received)
	}
	want := map[string]map[string]int{
		// 11 fixes: 10 locations (two of them in one array) and a transition.
		"owntracks-android": {"fix": 11, "ignored": 11, "missing_time": 1, "missing_field": 1, "out_of_range": 1},
		"owntracks":         {"fix": 6},
		// Another protocol: JSON without _type, and query strings.
		"osmand": {"fix": 0, "missing_field": 4, "payload malformed": 11},
	}
	if d := cmp.Diff(want, outcomes); d != "" {
		t.Errorf("outcomes (-want +got)\n%s", d)
	}
	for name, code := range map[string]string{"location_empty": "missing_time", "invalid_location_message_zero_timestamp": "out_of_range", "unknown_message": "missing_field"} {
		if byName[name] != code {
			t.Errorf("%s: %q, want %q", name, byName[name], code)
		}
	}
}

func TestDecodeOwnTracks(t *testing.T) {
	const received = 1800000000000
	tests := []struct {
		name, msg string
		want      track.Fix
		code      Code
	}{
		{"location", `{"cog":271,"lon":2.29513,"acc":5,"vel":36,"vac":21,"lat":48.85833,"tst":1497349316,"alt":167,"_type":"location","t":"u"}`,
			track.Fix{FixedAt: 1497349316000, ReceivedAt: received, Lat: 48.85833, Lng: 2.29513, HasPosition: true, AccuracyM: 5, SpeedMPS: 10}, ""},
		{"milliseconds", `{"_type":"location","lon":2,"lat":48,"tst":1505910709000,"vel":-1}`,
			track.Fix{FixedAt: 1505910709000, ReceivedAt: received, Lat: 48, Lng: 2, HasPosition: true, SpeedMPS: -1}, ""},
		{"null is absent", `{"_type":"location","lon":2,"lat":48,"tst":1505910709,"acc":null,"vel":null}`,
			track.Fix{FixedAt: 1505910709000, ReceivedAt: received, Lat: 48, Lng: 2, HasPosition: true, SpeedMPS: -1}, ""},
		{"leave", `{"_type":"transition","acc":3,"desc":"myregion","event":"leave","lat":52.71234,"lon":-1.61234123,"t":"l","tst":1603209966,"wtst":1558351273}`,
			track.Fix{FixedAt: 1603209966000, ReceivedAt: received, Lat: 52.71234, Lng: -1.61234123, HasPosition: true, AccuracyM: 3, SpeedMPS: -1,
				Source: track.SourceOSExit, Fence: "myregion"}, ""},
		{"enter by rid", `{"_type":"transition","rid":"6da9cf","event":"enter","tst":1603209966}`,
			track.Fix{FixedAt: 1603209966000, ReceivedAt: received, SpeedMPS: -1, Source: track.SourceOSEnter, Fence: "6da9cf"}, ""},
		{"transition to nowhere", `{"_type":"transition","event":"enter","tst":1603209966}`, track.Fix{}, CodeMissingFence},
		{"odd event", `{"_type":"transition","desc":"a","event":"dance","tst":1603209966}`, track.Fix{}, CodeBadValue},
		{"lat as text", `{"_type":"location","lon":2,"lat":"48","tst":1505910709}`, track.Fix{}, CodeBadType},
		{"waypoint, whatever its fields", `{"tst":"x","lat":"y","_type":"waypoint"}`, track.Fix{}, CodeIgnored},
		{"encrypted", `{"_type":"encrypted","data":"x"}`, track.Fix{}, CodeIgnored},
		{"type as number", `{"_type":1}`, track.Fix{}, CodeMissingField},
	}
	for _, tt := range tests {
		fixes, errs, err := DecodeOwnTracks(nil, []byte(tt.msg), received)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if tt.code != "" {
			if len(fixes) != 0 || len(errs) != 1 || errs[0].Code != tt.code {
				t.Errorf("%s: %v %v, want %s", tt.name, fixes, errs, tt.code)
			}
		} else if len(fixes) != 1 {
			t.Errorf("%s: %v", tt.name, errs)
		} else if d := cmp.Diff(tt.want, fixes[0]); d != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, d)
		}
	}
}

func FuzzDecodeOwnTracks(f *testing.F) {
	f.Add([]byte(`[{"_type":"location","lat":48.85,"lon":2.295,"tst":1497476456},{"_type":"transition","event":"enter","desc":"a","tst":1}]`))
	f.Add([]byte(`{"_type":null,"tst":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		fixes, errs, err := DecodeOwnTracks(nil, b, testReceived)
		if err != nil && (fixes != nil || errs != nil) {
			t.Fatal("something was taken of a refused payload")
		}
		if err == nil && !json.Valid(b) {
			t.Fatal("accepted what is not JSON")
		}
		for _, x := range fixes {
			if !x.HasPosition && x.Fence == "" || x.ReceivedAt != testReceived {
				t.Fatalf("%+v", x)
			}
		}
	})
}
