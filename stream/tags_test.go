package stream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"footfall/internal/db"
)

// tagsOf are the tags of a person, by the service.
func (r *rig) tagsOf(who TagRow) string {
	r.t.Helper()
	var got Tags
	if err := r.db.View(func(tx *db.Tx) (err error) { got, err = TagsOf(tx, who); return err }); err != nil {
		r.t.Fatal(err)
	}
	text, _ := json.Marshal(got.Tags)
	return string(text)
}

// TestTags: what a person is tagged with, by an app, over NATS or over HTTP, holds on all their devices, through a restart,
// decides about campaigns and fills templates; a wrong row is named and the others are stored; again changes nothing; and it
// is exported and forgotten with the person.
func TestTags(t *testing.T) {
	r := newRig(t)
	r.yaml = `campaign: hello
trigger: {enter: {fences: {all: true}}}
once_per: {day: store}
audience: 'tags.loyalty == "gold"'
steps: [{push: {ttl: 15m, template: {locales: {en: {body: "{{ person.tags.city }}"}}}}}]
`
	r.start()
	for _, d := range []string{"phone", "tablet"} {
		r.owns("olena", d, true)
	}
	r.register("guest")
	r.mustAsk("device.shop.guest", map[string]any{"user_tags": map[string]any{"loyalty": "gold", "city": "Lviv"}})
	r.mustAsk("device.shop.tablet", map[string]any{"tags": map[string]any{"app": "2.1"}, "user_tags": map[string]any{"city": "Odesa"}})
	r.settle()

	ask := func(q TagRequest) (a TagAnswer) {
		t.Helper()
		if err := json.Unmarshal([]byte(r.ask(TagSetSubject, q)), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	rows := []TagRow{
		{User: "olena", Tags: json.RawMessage(`{"loyalty":"gold","city":"Kyiv"}`)},
		{User: "nobody-yet", Tags: json.RawMessage(`{"loyalty":"silver"}`)},
		{User: "olena", App: "shop", Device: "phone", Tags: json.RawMessage(`{}`)},
		{App: "shop", Device: "unknown", Tags: json.RawMessage(`{"a":1}`)},
		{User: "olena", Tags: json.RawMessage(`{"bad":{}}`)},
		{App: "shop", Device: "phone", Tags: json.RawMessage(`{"vip":true}`)},
	}
	if a := ask(TagRequest{Rows: rows, Check: true}); a.N != 3 || a.Changed != 0 || len(a.Errors) != 3 || r.tagsOf(TagRow{User: "olena"}) != `{"city":"Odesa"}` {
		t.Errorf("checked: %+v, %s", a, r.tagsOf(TagRow{User: "olena"}))
	}
	a := ask(TagRequest{Rows: rows})
	if a.N != 3 || a.Changed != 3 || len(a.Errors) != 3 || a.Errors[0].Index != 2 || a.Errors[1].Index != 3 || !strings.Contains(a.Errors[2].Reason, "tags.bad: an object") {
		t.Errorf("stored: %+v", a)
	}
	if a := ask(TagRequest{Rows: rows}); a.N != 3 || a.Changed != 0 {
		t.Errorf("again: %+v", a)
	}
	if got := r.tagsOf(TagRow{App: "shop", Device: "tablet"}); got != `{"city":"Kyiv","loyalty":"gold","vip":true}` {
		t.Errorf("on the tablet: %s", got)
	}

	// Over HTTP, with the token and as JSON only.
	srv := httptest.NewServer(r.gw.TagsHandler("secret"))
	defer srv.Close()
	post := func(token, kind, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", kind)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(text))
	}
	good := `{"rows":[{"user":"taras","tags":{"loyalty":"gold","city":"Dnipro"}}]}`
	for _, tt := range []struct {
		token, kind, body string
		status            int
		answer            string
	}{
		{"", "application/json", good, 401, "nats.token_file"},
		{"wrong", "application/json", good, 401, "nats.token_file"},
		{"secret", "text/plain", good, 415, "Content-Type"},
		{"secret", "application/json", `[]`, 400, "malformed"},
		{"secret", "application/json", `{"rows":[]}`, 400, "0 rows"},
		{"secret", "application/json", `{"rows":[` + strings.Repeat(" ", maxTagBytes) + `]}`, 413, "too_large"},
		{"secret", "application/json", good, 200, `{"n":1,"changed":1}`},
		{"secret", "application/json; charset=utf-8", good, 200, `{"n":1,"changed":0}`},
		{"secret", "application/json", `{"rows":[{"tags":{}}]}`, 422, `"errors":[{"index":0,`},
	} {
		if status, answer := post(tt.token, tt.kind, tt.body); status != tt.status || !strings.Contains(answer, tt.answer) {
			t.Errorf("%q %s %.40s: %d %s, want %d %s", tt.token, tt.kind, tt.body, status, answer, tt.status, tt.answer)
		}
	}

	r.halt()
	r.start()
	defer r.halt()
	r.owns("taras", "watch", true) // tagged before it was heard of
	for _, d := range []string{"phone", "guest", "watch"} {
		r.enter(d, r.clock.now())
	}
	r.settle()
	r.await("three pushes", func() bool { return r.gw.Status().Funnel["hello"]["push.accepted"] == 3 })
	got := map[string]string{}
	for _, n := range r.provider.pushes() {
		got[n.Device] = n.Body
	}
	if fmt.Sprint(got) != "map[guest:Lviv phone:Kyiv watch:Dnipro]" {
		t.Errorf("pushes %v", got)
	}

	var x Export
	err := r.db.View(func(tx *db.Tx) (err error) {
		x, err = ExportFrom(tx, r.gw.cfg.Rules, ExportRequest{Someone: Someone{Person: "nobody-yet"}, Part: "devices"})
		return err
	})
	if err != nil || x.Tags["loyalty"] != "silver" {
		t.Errorf("export %+v, %v", x, err)
	}
	for _, who := range []struct {
		who   Someone
		words []string
	}{
		{Someone{Person: "nobody-yet"}, []string{"nobody-yet", "silver"}},
		{Someone{Person: "olena"}, []string{"olena"}},
		{Someone{App: "shop", Device: "guest"}, []string{"guest", "Lviv"}},
	} {
		if found := r.forgetAndSearch(who.who, who.words...); len(found) > 0 {
			t.Errorf("of %+v there is left %v", who.who, found)
		}
	}
}
