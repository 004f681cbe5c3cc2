package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCheckPayload(t *testing.T) {
	pad := func(n int) string {
		return fmt.Sprintf(`{"name":"a","mid":"m","ev":"opened","k":"k","x":"%s"}`, strings.Repeat("x", n))
	}
	fits := MaxPayload - len(pad(0))
	tests := []struct {
		kind    Kind
		payload string
		want    Code
	}{
		{KindEvent, `{"name":"purchase","t":1795859999000,"id":"o-1","props":{"a":[1]},"more":null}`, ""},
		{KindEvent, ` {"name":"\u0061"} `, ""},
		{KindEvent, `{"name":""}`, CodeBadValue},
		{KindEvent, `{"name":null}`, CodeBadType},
		{KindEvent, `{}`, CodeMissingField},
		{KindEvent, `{"name":"a","name":"b"}`, CodeDuplicateField},
		{KindEvent, `{"name":"a","id":""}`, CodeBadValue},
		{KindEvent, `{"name":"a","id":"` + strings.Repeat("i", 129) + `"}`, CodeBadValue},
		{KindEvent, `{"name":"a","t":"2026"}`, CodeBadType},
		{KindEvent, `{"name":"a","props":null}`, CodeBadType},
		{KindEvent, `{"name":"a"}x`, CodeMalformed},
		{KindEvent, `{"name":"a"`, CodeMalformed},
		{KindEvent, `"a"`, CodeBadType},
		{KindEvent, `NaN`, CodeMalformed},
		{KindEvent, ``, CodeEmpty},
		{KindEvent, "\xef\xbb\xbf{}", CodeMalformed},
		{KindEvent, `{"name":"a","x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "}", CodeTooDeep},
		{KindEvent, pad(fits), ""},
		{KindEvent, pad(fits + 1), CodeTooLarge},
		{KindReceipt, pad(fits), ""},
		{KindReceipt, `{"mid":"m","ev":"converted","value":12.5,"currency":"UAH","k":"x","action":"buy","t":1795859999000}`, ""},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","value":1e400}`, CodeOutOfRange},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","value":-1e12}`, ""},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","value":1000000000001}`, CodeOutOfRange},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","currency":"uah"}`, CodeBadValue},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","currency":"hryvnia"}`, CodeBadValue},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","ref":"order-1"}`, ""},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","ref":""}`, CodeBadValue},
		{KindReceipt, `{"mid":"m","ev":"converted","k":"x","ref":1}`, CodeBadType},
		{KindReceipt, `{"mid":"m","ev":"action","k":"x","action":"` + strings.Repeat("a", 65) + `"}`, CodeBadValue},
		{KindReceipt, `{"mid":"m","ev":"opened"}`, CodeMissingField},
		{KindReceipt, `{"mid":"m","ev":"opened","k":""}`, CodeBadValue},
		{KindReceipt, `{"mid":"m","mid":"n","ev":"opened","k":"x"}`, CodeDuplicateField},
		{KindReceipt, `{"mid":"m","ev":"converted","value":"12"}`, CodeBadType},
		{KindReceipt, `{"mid":"m"}`, CodeMissingField},
		{KindReceipt, `{"mid":"","ev":"opened"}`, CodeBadValue},
		{KindReceipt, `{"mid":"m","ev":"opened","k":"x","t":1}`, CodeTimeUnit},
		{KindDevice, `{}`, ""},
		{KindDevice, `{"user":null,"platform":null,"token":null,"env":null,"locale":null,"zone":null,"sdk":null,"os":null,"tags":null,"consent":null}`, ""},
		// Every member alone: a bit shared with another field once refused "user".
		{KindDevice, `{"user":"u"}`, ""}, {KindDevice, `{"platform":"ios"}`, ""}, {KindDevice, `{"token":"t"}`, ""}, {KindDevice, `{"env":"prod"}`, ""},
		{KindDevice, `{"locale":"uk-UA"}`, ""}, {KindDevice, `{"zone":"Europe/Kyiv"}`, ""}, {KindDevice, `{"sdk":"1"}`, ""}, {KindDevice, `{"os":"1"}`, ""},
		{KindDevice, `{"tags":{"a":1}}`, ""}, {KindDevice, `{"consent":{"push":true}}`, ""},
		{KindDevice, `{"user":1}`, CodeBadType},
		{KindDevice, `{"tags":[]}`, CodeBadType},
		{KindDevice, `{"tags":nul}`, CodeMalformed},
		{KindDevice, `{"user":"a","user":null}`, CodeDuplicateField},
	}
	for _, tt := range tests {
		err := CheckPayload(tt.kind, []byte(tt.payload))
		p, _ := errors.AsType[*PayloadError](err)
		if tt.want == "" && err != nil || tt.want != "" && (p == nil || p.Code != tt.want) {
			t.Errorf("%v %.60s: got %v, want %q", tt.kind, tt.payload, err, tt.want)
		}
	}
}

func FuzzCheckPayload(f *testing.F) {
	f.Add(uint8(KindEvent), []byte(`{"name":"purchase","props":{}}`))
	f.Add(uint8(KindDevice), []byte(`{"tags":null,"user":"\ud800"}`))
	f.Add(uint8(KindReceipt), []byte(`{"mid":"m","ev":"opened"}`))
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		if CheckPayload(Kind(kind%3)+KindEvent, payload) != nil {
			return
		}
		// The consumers read it with encoding/json: what passes must be an object to it too.
		var m map[string]json.RawMessage
		if err := json.Unmarshal(payload, &m); err != nil || m == nil {
			t.Fatalf("passed %q: %v", payload, err)
		}
	})
}

// Every reader of a receipt must read the same: names are case-sensitive here as at the door, whatever encoding/json
// would make of them.
func TestParseReceipt(t *testing.T) {
	r, err := ParseReceipt([]byte(`{"MID":"other","EV":"converted","mid":"m\u002d1","ev":"action","k":"key","ref":"r","t":1795859999000.9,"action":"buy","value":12.5,"currency":"UAH","x":[]}`))
	want := Receipt{MID: "m-1", Ev: "action", Key: "key", Ref: "r", At: 1795859999000, Action: "buy", Value: 12.5, Currency: "UAH"}
	if err != nil || r != want {
		t.Errorf("got %+v, %v; want %+v", r, err, want)
	}
	if r, err = ParseReceipt([]byte(`{"mid":"m","ev":"opened","k":"k"}`)); err != nil || r != (Receipt{MID: "m", Ev: "opened", Key: "k"}) {
		t.Errorf("the least: got %+v, %v", r, err)
	}
	if _, err = ParseReceipt([]byte(`{"mid":"m","ev":"opened"}`)); err == nil {
		t.Error("a receipt without k was read")
	}
}
