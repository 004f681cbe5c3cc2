package campaign

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// readBody reads a body as a journey's step would.
func readBody(t *testing.T, text string) (*Body, error) {
	t.Helper()
	lib, err := ParseLibrary("body.yaml", []byte("journey: j\nbody: "+text+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	var b *Body
	d := lib.Journeys[0]
	d.Keys("a journey", []string{"journey", "body"}, nil, func(f Field) {
		if f.Name() == "body" {
			b = f.JourneyBody(&Campaign{ID: "j", Name: "J"}, nil, "entry")
		}
	})
	return b, d.Err()
}

// TestBody: a text that is one variable is the value, others stay texts; the rest is as it is written, in its order.
func TestBody(t *testing.T) {
	b, err := readBody(t, `{z: "{{ person.id }}", a: ["{{ entry.amount }}", 2, true, null, "{{entry.amount}} UAH"], tags: "{{ tags.groups }}", none: "{{ tags.none }}", who: {deep: "{{ device.app }}/{{ campaign.id }}"}}`)
	if err != nil {
		t.Fatal(err)
	}
	rc := RenderContext{
		Person: map[string]any{"id": `Ol"ena`, "tags": map[string]any{"groups": []string{"a", "b"}}}, Device: map[string]any{"app": "shop"},
		Campaign: map[string]any{"id": "j"}, Entry: map[string]any{"amount": 12.5}, Now: time.Unix(0, 0),
	}
	got, err := b.Fill(rc)
	const want = `{"z":"Ol\"ena","a":[12.5,2,true,null,"12.5 UAH"],"tags":["a","b"],"none":null,"who":{"deep":"shop/j"}}`
	if err != nil || string(got) != want || !json.Valid(got) {
		t.Errorf("%s %v\nwant %s", got, err, want)
	}
	rc.Entry["amount"] = strings.Repeat("x", MaxBodyBytes)
	if got, err := b.Fill(rc); !errors.Is(err, ErrBody) {
		t.Errorf("too large: %.40s %v", got, err)
	}
	for _, tt := range []struct{ text, want string }{
		{"[" + strings.Repeat("1,", maxBodyParts) + "1]", "more than 200 values"},
		{strings.Repeat("{a: ", maxBodyDepth) + "1" + strings.Repeat("}", maxBodyDepth), "more than 8 deep"},
		{"{a: '" + strings.Repeat("x", 5000) + "'}", "at most 1024"},
		{"{a: '{{ voucher }}'}", "only a push has"},
		{"{a: '{{ fence.name }}'}", "nothing that the journey is entered by has it"},
	} {
		if _, err := readBody(t, tt.text); err == nil || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%.40s: %v, want %q", tt.text, err, tt.want)
		}
	}
}
