package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the want, reply and note of docs/protocol/vectors.json; review the diff")

const vectorsFile = "../../docs/protocol/vectors.json"

// vectors is docs/protocol/vectors.json, which SDKs run too.
type vectors struct {
	Version  int      `json:"version"`
	Note     string   `json:"note"`
	Received int64    `json:"received"` // the gateway's clock, Unix ms
	Cases    []vector `json:"cases"`
}

// vector is one message and what becomes of it.
type vector struct {
	Name    string       `json:"name"`
	Subject string       `json:"subject"`
	Payload string       `json:"payload,omitzero"`
	Hex     string       `json:"payload_hex,omitzero"`
	Want    []vectorPing `json:"want"`  // pings taken, in order
	Reply   string       `json:"reply"` // to a request, when the gate behind the decoder refuses none
}

// vectorPing is a ping as the gateway understood it.
type vectorPing struct {
	Device  string   `json:"device"`
	FixedMS int64    `json:"fixed_ms"`
	Lat     *float64 `json:"lat,omitzero"`
	Lon     *float64 `json:"lon,omitzero"`
	Acc     float32  `json:"acc"`
	Spd     float32  `json:"spd"`
	Src     string   `json:"src"`
	Mock    bool     `json:"mock,omitzero"`
	Fence   string   `json:"fence,omitzero"`
}

const vectorsNote = "Each case is a message (payload as text, or payload_hex) on a subject; want lists the pings taken from it, and reply is what a request is answered. " +
	"Codes and indexes in reply are part of the protocol, reasons are not. Received is the gateway's clock. Unknown members may be added."

// run does what a collector does with the message.
func (v *vector) run(t *testing.T, received int64) (pings []vectorPing, reply string) {
	payload := []byte(v.Payload)
	if v.Hex != "" {
		var err error
		if payload, err = hex.DecodeString(v.Hex); err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
	}
	pings = []vectorPing{}
	s, err := ParseSubject(v.Subject)
	var errs []PingError
	var recs []Record
	n := 0
	if err == nil {
		switch s.Class {
		case ClassPing, ClassOwnTracks:
			decode, id := DecodePings, s.App+"."+s.Device
			if s.Class == ClassOwnTracks {
				ot, idErr := OwnTracksDevice("owntracks", s.App, s.Device)
				if idErr != nil {
					t.Fatal(idErr)
				}
				decode, id = DecodeOwnTracks, string(ot)
			}
			fixes, fixErrs, fixErr := decode(nil, payload, received)
			errs, err = fixErrs, fixErr
			for _, f := range fixes {
				recs = append(recs, Record{Fix: f})
				recs[len(recs)-1].Device = NewInterner(1).Device([]byte(id))
			}
		case ClassFeed:
			recs, errs, err = DecodeFeed(nil, NewInterner(64), s.App, payload, received)
		case ClassEvent:
			n, err = 1, CheckPayload(KindEvent, payload)
		case ClassDevice:
			n, err = 1, CheckPayload(KindDevice, payload)
		case ClassReceipt:
			n, err = 1, CheckPayload(KindReceipt, payload)
		}
	}
	for _, r := range recs {
		p := vectorPing{Device: string(r.Device), FixedMS: r.Fix.FixedAt, Acc: r.Fix.AccuracyM, Spd: r.Fix.SpeedMPS,
			Src: r.Fix.Source.String(), Mock: r.Fix.Mock, Fence: r.Fix.Fence}
		if r.Fix.HasPosition {
			p.Lat, p.Lon = new(r.Fix.Lat), new(r.Fix.Lng)
		}
		pings = append(pings, p)
	}
	if err != nil {
		return pings, string(AppendError(nil, err))
	}
	return pings, string(AppendRefused(nil, n+len(pings), errs))
}

func loadVectors(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file vectors
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestVectors(t *testing.T) {
	file := loadVectors(t)
	if *update {
		file.Version, file.Note, file.Received = 1, vectorsNote, testReceived
		for i := range file.Cases {
			v := &file.Cases[i]
			v.Want, v.Reply = v.run(t, file.Received)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if file.Version != 1 || file.Received != testReceived || len(file.Cases) < 50 {
		t.Fatalf("version %d, received %d, %d cases", file.Version, file.Received, len(file.Cases))
	}
	for _, v := range file.Cases {
		want, reply := v.run(t, file.Received)
		if d := cmp.Diff(v.Want, want); d != "" {
			t.Errorf("%s (-file +got)\n%s", v.Name, d)
		}
		if reply != v.Reply {
			t.Errorf("%s:\n got %s\nwant %s", v.Name, reply, v.Reply)
		}
		// The names say what is refused, so that a wrong -update is seen.
		r, err := ParseReply([]byte(reply))
		if refusal := strings.Contains(v.Name, "refused: "); err != nil || refusal == r.OK {
			t.Errorf("%s: %s, %v", v.Name, reply, err)
		}
	}
}
