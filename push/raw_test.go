package push_test

import (
	"encoding/json"
	"strings"
	"testing"

	"footfall/push"
)

func TestMergeRaw(t *testing.T) {
	built := func() map[string]any {
		return map[string]any{"aps": map[string]any{"alert": map[string]any{"title": "t"}, "sound": "default"}, "g": "ours", "k": "old"}
	}
	for _, tt := range []struct {
		name     string
		platform push.Platform
		raw      string
		want     string // JSON, or the error when it begins with "raw"
	}{
		{"adds beside and below", push.IOS, `{"aps":{"alert":{"loc-key":"A"},"target-content-id":"7"},"shop":[1,{"g":2}]}`,
			`{"aps":{"alert":{"loc-key":"A","title":"t"},"sound":"default","target-content-id":"7"},"g":"ours","k":"old","shop":[1,{"g":2}]}`},
		{"takes the place of a value", push.IOS, `{"k":{"now":1e3}}`,
			`{"aps":{"alert":{"title":"t"},"sound":"default"},"g":"ours","k":{"now":1e3}}`},
		{"large numbers", push.IOS, `{"k":9007199254740993}`,
			`{"aps":{"alert":{"title":"t"},"sound":"default"},"g":"ours","k":9007199254740993}`},
		{"owned", push.IOS, `{"g":{}}`, "raw: g cannot be set (it is the gateway's own object)"},
		{"owned below", push.IOS, `{"aps":{"interruption-level":"critical"}}`, "raw: aps.interruption-level cannot be set (write importance in the template)"},
		{"in the place of what holds owned keys", push.IOS, `{"aps":{"alert":"text"}}`, "raw: aps.alert cannot be set (give it an object: it holds body, which the gateway writes)"},
		{"Google's other spelling", push.Android, `{"android":{"collapseKey":"x"}}`, "raw: android.collapseKey cannot be set (it is the campaign; write collapse in the template for what replaces on the phone)"},
		{"another addressee", push.Android, `{"token":"x"}`, "raw: token cannot be set (the gateway addresses the message)"},
		{"null", push.Web, `{"icon":null}`, "raw: icon is null"},
		{"a list", push.Web, `[{}]`, "raw is not one JSON object"},
		{"two values", push.Web, `{} {}`, "raw is not one JSON object"},
		{"deep", push.Web, `{"a":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}`, "raw is more than 8 levels deep"},
		{"large", push.Web, `{"a":"` + strings.Repeat("x", push.MaxRaw) + `"}`, "raw has more than 2048 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := built()
			got, err := push.MergeRaw(tt.platform, old, json.RawMessage(tt.raw))
			text, _ := json.Marshal(got)
			if err != nil {
				text = []byte(err.Error())
			}
			if string(text) != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
			before, _ := json.Marshal(built())
			if after, _ := json.Marshal(old); string(after) != string(before) {
				t.Errorf("what was built has changed: %s", after)
			}
		})
	}
}

func TestRawKeyKnowsWhatItHolds(t *testing.T) {
	for _, p := range []push.Platform{push.IOS, push.Android, push.HMS, push.Web} {
		if push.RawKey(p, "shop", false) != "" || push.RawKey(p, "shop.id", true) != "" {
			t.Errorf("%s: a free key is refused", p)
		}
	}
	for _, tt := range []struct {
		p    push.Platform
		path string
	}{{push.IOS, "aps"}, {push.IOS, "aps.alert"}, {push.Android, "android"}, {push.Android, "android.notification"}, {push.HMS, "android.notification.badge"}} {
		if push.RawKey(tt.p, tt.path, true) != "" || push.RawKey(tt.p, tt.path, false) == "" {
			t.Errorf("%s %s: an object is refused, or something else is not", tt.p, tt.path)
		}
	}
}
