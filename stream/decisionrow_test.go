package stream

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"footfall/internal/dice"
)

// TestDecisionRows: what is packed is what comes out, plain rows of earlier versions are read, and a damaged row is an error.
func TestDecisionRows(t *testing.T) {
	seed := dice.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		var d, want Decision
		scramble(reflect.ValueOf(&d).Elem(), r)
		text, err := d.appendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		packed := packDecision([]byte("before "), text)
		for name, row := range map[string][]byte{"packed": packed[len("before "):], "plain": text} {
			if got, err := unpackDecision(row); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: %s: %v\n got %+v\nwant %+v", seed, name, err, got, want)
			}
		}
		row := packDecision(nil, text)
		for range 20 {
			cut := row[:r.IntN(len(row))]
			if got, err := unpackDecision(cut); err == nil {
				t.Fatalf("seed %d: a row cut from %d to %d bytes is %+v", seed, len(row), len(cut), got)
			}
		}
	}
}

// packedOnce is a row as it was written when rows were first packed: a dictionary that is changed cannot read it.
const packedOnce = "AaIGDQB8MDBmMGI1YTFjZWIxMTFmNzBiZWNjYmZjMDczOGJjNmFCawcEZDFmbQcIazAxPnAHFFN0b3JlIAkZam4HKDk1ODYwMDAwMDAwQlcHFRwANAUA9mIH" +
	"ADhqYQcoNjM4NGEyZmZmZmaKbAcMNjMuNC4EBwwzNi42SnMHWvoGFHdlbGNvbcnf9QE8NjIwMzFiODE4YzlmN2VlYvERFQBTCGswMdoUB7FDFQCbYUMVACcIfV19"

// TestDecisionRowOfOld reads it.
func TestDecisionRowOfOld(t *testing.T) {
	row, err := base64.StdEncoding.DecodeString(packedOnce)
	if err != nil {
		t.Fatal(err)
	}
	d, err := unpackDecision(row)
	if err != nil || d.Device != "shop.d1" || len(d.Campaigns) != 1 || d.Campaigns[0].Checks[0].Detail != "enter at k01; the campaign waits for enter of any fence" {
		t.Fatalf("%v, %+v", err, d)
	}
	if text, err := d.appendJSON(nil); err != nil || 2*len(row) > len(text) || !strings.Contains(string(text), `"rule":"window"`) {
		t.Errorf("%d bytes of row, %d of JSON, %v", len(row), len(text), err)
	}
}
