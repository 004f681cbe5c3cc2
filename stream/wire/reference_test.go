package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/track"
)

// testReceived is the receive time of most tests: 2026-11-28T10:00:00Z.
const testReceived = 1795860000000

// referencePings is DecodePings for JSON written the slow and obvious way over encoding/json. It is the
// oracle for the hand decoder: same fixes, same refusals in the same order.
func referencePings(payload []byte, received int64) ([]track.Fix, []PingError, error) {
	if len(payload) == 0 {
		return nil, nil, errEmpty
	}
	if len(payload) > 256*1024 {
		return nil, nil, errTooLarge
	}
	if !json.Valid(payload) {
		return nil, nil, errJSON
	}
	if referenceDepth(payload) > 32 {
		return nil, nil, errTooDeep
	}
	var records []json.RawMessage
	switch bytes.TrimLeft(payload, " \t\r\n")[0] {
	case '{':
		records = []json.RawMessage{bytes.TrimSpace(payload)}
	case '[':
		if err := json.Unmarshal(payload, &records); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, errJSON
	}
	if len(records) > 1000 {
		return nil, nil, errTooMany
	}
	if len(records) == 0 {
		return nil, nil, errEmpty
	}
	var fixes []track.Fix
	var errs []PingError
	for i, rec := range records {
		if fix, code := referencePing(rec, received); code != "" {
			errs = append(errs, PingError{Index: i, Code: code})
		} else {
			fixes = append(fixes, fix)
		}
	}
	return fixes, errs, nil
}

func referenceDepth(payload []byte) (deepest int) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	for depth := 0; ; {
		tok, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		deepest = max(deepest, depth)
	}
}

func referencePing(rec json.RawMessage, received int64) (fix track.Fix, code Code) {
	if rec[0] != '{' {
		return fix, CodeBadType
	}
	refuse := func(c Code) {
		if code == "" {
			code = c
		}
	}
	seen := map[string]bool{}
	num := map[string]float64{}
	str := map[string]string{}
	mock := false
	src := track.SourceStream

	dec := json.NewDecoder(bytes.NewReader(rec))
	dec.Token() // the brace
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			panic(err)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			panic(err)
		}
		name := key.(string)
		switch name {
		case "t", "lat", "lon", "acc", "spd", "crs", "alt", "age_ms", "src", "mock", "fence":
			if seen[name] {
				refuse(CodeDuplicateField)
			}
			seen[name] = true
		}
		switch name {
		case "t", "lat", "lon", "acc", "spd", "crs", "alt", "age_ms":
			if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
				refuse(CodeBadType)
				continue
			}
			var v float64
			if json.Unmarshal(raw, &v) != nil {
				v = math.Inf(1) // only overflow is left
				if raw[0] == '-' {
					v = math.Inf(-1)
				}
			}
			num[name] = v
		case "src", "fence":
			var v string
			if raw[0] != '"' {
				refuse(CodeBadType)
				continue
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				panic(err)
			}
			str[name] = v
			if name == "src" && code == "" {
				if src, err = track.ParseSource(v); err != nil || v == "" {
					refuse(CodeBadSource)
				}
			}
		case "mock":
			if json.Unmarshal(raw, &mock) != nil || raw[0] == 'n' {
				refuse(CodeBadType)
			}
		}
	}
	if code != "" {
		return fix, code
	}

	fix = track.Fix{ReceivedAt: received, Source: src, Mock: mock, SpeedMPS: -1}
	if seen["t"] {
		switch t := num["t"]; {
		case t <= 0 || t > 1e20:
			refuse(CodeOutOfRange)
		case t < 1e11 || t >= 1e14:
			refuse(CodeTimeUnit)
		default:
			fix.FixedAt = int64(t)
		}
	} else if seen["age_ms"] {
		if num["age_ms"] <= 1e18 {
			fix.FixedAt = received - int64(num["age_ms"])
		}
	} else {
		refuse(CodeMissingTime)
	}
	if age := num["age_ms"]; age < 0 || age > 10*366*86400*1000 {
		refuse(CodeOutOfRange)
	}
	os := strings.HasPrefix(src.String(), "os_")
	switch {
	case seen["lat"] != seen["lon"]:
		refuse(CodeMissingPosition)
	case seen["lat"]:
		if math.Abs(num["lat"]) > 90 || math.Abs(num["lon"]) > 180 {
			refuse(CodeOutOfRange)
		}
		fix.HasPosition, fix.Lat, fix.Lng = true, num["lat"], num["lon"]
	case !os:
		refuse(CodeMissingPosition)
	case !seen["fence"]:
		refuse(CodeMissingFence)
	}
	if num["acc"] < 0 {
		refuse(CodeNegativeAccuracy)
	} else if num["acc"] > 40075017 {
		refuse(CodeOutOfRange)
	}
	fix.AccuracyM = float32(num["acc"])
	if math.Abs(num["spd"]) > 100000 {
		refuse(CodeOutOfRange)
	}
	if seen["spd"] && num["spd"] >= 0 {
		fix.SpeedMPS = float32(num["spd"])
	}
	if math.IsInf(num["crs"], 0) || math.IsInf(num["alt"], 0) {
		refuse(CodeOutOfRange)
	}
	if seen["fence"] && (str["fence"] == "" || len(str["fence"]) > 256) {
		refuse(CodeBadFence)
	}
	if os {
		fix.Fence = str["fence"]
	}
	return fix, code
}

// diffReference compares DecodePings with the reference on a JSON payload.
func diffReference(payload []byte) string {
	got, gotErrs, gotErr := DecodePings(nil, payload, testReceived)
	want, wantErrs, wantErr := referencePings(payload, testReceived)
	if (gotErr != nil) != (wantErr != nil) {
		return fmt.Sprintf("error: got %v, want %v", gotErr, wantErr)
	}
	if gotErr != nil {
		return "" // which of several faults is named first may differ
	}
	for i := range gotErrs {
		if gotErrs[i].Reason == "" {
			return fmt.Sprintf("record %d refused without a reason", gotErrs[i].Index)
		}
		gotErrs[i].Reason = ""
	}
	return cmp.Diff(want, got, cmpBits) + cmp.Diff(wantErrs, gotErrs)
}

// cmpBits tells -0 from 0 and finds equal NaNs equal: values must come through bit for bit.
var cmpBits = cmp.Options{
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
}

// randomPing writes a ping from a vocabulary of good and bad parts, in any order and spacing.
func randomPing(r *rand.Rand) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	ws := func() string { return pick("", "", "", " ", "\n\t", "\r ") }
	number := func() string {
		switch r.IntN(8) {
		case 0:
			return fmt.Sprintf("%d", r.Int64()-math.MaxInt64/2)
		case 1:
			return fmt.Sprintf("%v", math.Float64frombits(r.Uint64()&^(0x7ff<<52)|uint64(r.IntN(0x7ff))<<52))
		case 2:
			return fmt.Sprintf("%.*f", r.IntN(25), r.Float64()*360-180)
		case 3:
			return fmt.Sprintf("%dE%+d", r.IntN(1e9), r.IntN(60)-30)
		case 4:
			return pick("0", "-0", "-0.0", "0e0", "1e400", "-1e400", "1e-400", "90", "-90", "90.0000001", "180", "-180", "181", "540",
				"9007199254740993", "0.1e1", "1E22", "123456789012345678901234567890", "0.000000000000000000000000000001",
				"179.99999999999998579", "50.450100000000000477")
		default:
			return fmt.Sprintf("%.7f", r.Float64()*180-90)
		}
	}
	value := func() string {
		return pick("null", `"41.3"`, "true", "false", "[]", "{}", `[1,{"lat":2}]`, `{"lat":1,"a":[null]}`, `"\u0041\ud83d\ude00\ud800"`, "\"\xff\"", number())
	}
	var m []string
	add := func(p float64, key string, v func() string) {
		for r.Float64() < p {
			if r.IntN(40) == 0 {
				key = strings.Replace(key, "a", `\u0061`, 1)
			}
			x := v()
			if r.IntN(25) == 0 {
				x = value()
			}
			m = append(m, ws()+`"`+key+`"`+ws()+":"+ws()+x+ws())
			p = 0.01 // sometimes twice
		}
	}
	add(0.9, "t", func() string {
		return pick("1795859999000", "1795859999000.5", "1.795859999e12", "1795859999", "1795859999000000", "0", "-5", "4070908800000", number())
	})
	add(0.95, "lat", func() string { return fmt.Sprintf("%.*f", r.IntN(18), r.Float64()*180-90) })
	add(0.95, "lon", func() string { return fmt.Sprintf("%.*f", r.IntN(18), r.Float64()*360-180) })
	add(0.6, "acc", func() string { return pick("0", "5", "12.5", "-1", "65", "1e8", number()) })
	add(0.4, "spd", func() string { return pick("-1", "0", "1.4", "1e6", number()) })
	add(0.2, "crs", func() string { return pick("-1", "270", number()) })
	add(0.2, "alt", func() string { return pick("-3", "179.5", number()) })
	add(0.3, "src", func() string {
		return pick(`"stream"`, `"foreground"`, `"significant"`, `"os_enter"`, `"os_exit"`, `"os_dwell"`, `""`, `"gps"`, `"os\u005fenter"`)
	})
	add(0.2, "mock", func() string { return pick("true", "false", "0") })
	add(0.2, "age_ms", func() string { return pick("0", "1500", "-1", "1e15", number()) })
	add(0.3, "fence", func() string {
		return pick(`"kyiv-1"`, `""`, `"Київ"`, `"\u041a\n"`, "\"\xff\xfe\"", `"`+strings.Repeat("f", 250+r.IntN(10))+`"`)
	})
	add(0.3, pick("x", "LAT", "Lon", "batt", "", "lät"), value)
	r.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
	return ws() + "{" + strings.Join(m, ",") + "}" + ws()
}

func TestDecodePingsEqualsReference(t *testing.T) {
	const seed = 20261128
	r := rand.New(rand.NewPCG(seed, 1))
	good, bad, broken := 0, 0, 0
	docs := 30_000
	if testing.Short() {
		docs = 5_000
	}
	for i := range docs {
		doc := randomPing(r)
		switch r.IntN(6) {
		case 0: // an array, with other things among the pings
			parts := []string{doc}
			for range r.IntN(5) {
				parts = append(parts, randomPing(r))
			}
			if r.IntN(4) == 0 {
				parts = append(parts, []string{"1", "null", "[]", `"x"`, "true"}[r.IntN(5)])
			}
			doc = "[" + strings.Join(parts, ",") + "]"
		case 1: // one byte changed, put in or taken out
			at := r.IntN(len(doc))
			doc = doc[:at] + []string{"", "\x00", "\"", "}", "{", ",", "\\", "e", "-", "0", " ", "\x80"}[r.IntN(12)] + doc[at+r.IntN(2):]
		}
		if doc == "" || !strings.ContainsRune("{[ \t\r\n", rune(doc[0])) {
			continue
		}
		if d := diffReference([]byte(doc)); d != "" {
			t.Fatalf("seed %d, document %d (-want +got)\n%s\n%s", seed, i, doc, d)
		}
		fixes, errs, err := DecodePings(nil, []byte(doc), testReceived)
		good += len(fixes)
		bad += len(errs)
		if err != nil {
			broken++
		}
	}
	// The mix must keep reaching all three outcomes, or the comparison compares nothing.
	if good < docs/10 || bad < docs/10 || broken < docs/30 {
		t.Errorf("mix is off: %d good, %d refused, %d broken", good, bad, broken)
	}
}

func FuzzDecodePingsJSON(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		f.Add([]byte(randomPing(r)))
	}
	f.Add([]byte(`[{"t":1795859999000,"lat":50.45,"lon":30.52},{"lat":"x"},7]`))
	f.Add([]byte(strings.Repeat("[", 40)))
	f.Add([]byte(`{"lat":1e400,"fence":"\ud800\u0041"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 || !strings.ContainsRune("{[ \t\r\n", rune(payload[0])) {
			t.Skip()
		}
		if d := diffReference(payload); d != "" {
			t.Fatal(d)
		}
	})
}
