package stream

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"footfall/stream/wire"
)

// TestNear: a device learns which fences are near and how far all others are, by the fences of the moment, and nothing of its question
// becomes input.
func TestNear(t *testing.T) {
	r := newRig(t)
	r.start()
	defer r.halt()
	near := func(subject, payload string) (a wire.NearReply, text string) {
		t.Helper()
		m, err := r.nc.Request(subject, []byte(payload), patience)
		if err != nil || json.Unmarshal(m.Data, &a) != nil {
			t.Fatalf("%s: %v, %v", subject, m, err)
		}
		return a, string(m.Data)
	}
	all := r.gw.Fences().Len()
	a, text := near("near.shop.d1", fmt.Sprintf(`{"lat":50.4501,"lon":30.5234,"n":%d}`, max(all, 1)))
	if !a.OK || len(a.Fences) != all || a.OthersM != nil || a.Revision != r.gw.Fences().Revision() {
		t.Fatalf("with %d fences: %s", all, text)
	}
	one, text := near("near.shop.d1", `{"lat":50.4501,"lon":30.5234,"n":1}`)
	if len(one.Fences) != 1 || one.Fences[0] != a.Fences[0] || one.OthersM == nil || *one.OthersM > a.Fences[1].DistanceM || *one.OthersM < a.Fences[1].DistanceM-0.1 {
		t.Errorf("the nearest: %s; of all %+v", text, a)
	}
	if f := r.gw.Fences().At(0); a.Fences[0].ID != string(f.ID) || a.Fences[0].RadiusM != f.Shape.RadiusM() || a.Fences[0].DistanceM > 0 || a.Fences[0].Around {
		t.Errorf("in the fence: %+v", a.Fences[0])
	}
	for payload, code := range map[string]string{`{"lat":91,"lon":0}`: "out_of_range", `no`: "malformed"} {
		if _, text := near("near.shop.d1", payload); !strings.Contains(text, `"ok":false,"error":{"code":"`+code+`"`) {
			t.Errorf("%s: %s", payload, text)
		}
	}
	if _, text := near("near.sh%op.d1", `{"lat":0,"lon":0}`); !strings.Contains(text, "bad_subject") {
		t.Errorf("no token: %s", text)
	}
	for range nearQuestions {
		near("near.shop.eager", `{"lat":0,"lon":0}`)
	}
	if _, text := near("near.shop.eager", `{"lat":0,"lon":0}`); !strings.Contains(text, `"busy":true,"retry_ms":`) || r.gw.Status().Stats.Dropped["flood"] != 1 {
		t.Errorf("one too many: %s, dropped %v", text, r.gw.Status().Stats.Dropped)
	}
	r.settle()
	if s := r.gw.Status().Stats; s.Messages != 0 || s.Batches != 0 {
		t.Errorf("questions became input: %+v", s)
	}
}
