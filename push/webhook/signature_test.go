package webhook

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func secrets(t testing.TB, texts ...string) []Secret {
	t.Helper()
	var out []Secret
	for _, s := range texts {
		p, err := ParseSecret(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// The example that the Standard Webhooks libraries are tested with.
func TestStandardVector(t *testing.T) {
	s := secrets(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	got := sign(s, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

const stamp = 1795859999

func signed(t testing.TB, id string, at int64, body []byte, with ...string) http.Header {
	ts := strconv.FormatInt(at, 10)
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", ts)
	h.Set("webhook-signature", sign(secrets(t, with...), id, ts, body))
	return h
}

func TestVerify(t *testing.T) {
	body := []byte(`{"id":"m1"}`)
	now := time.Unix(stamp, 0)
	mod := func(k, v string) http.Header {
		h := signed(t, "m1", stamp, body, secretA)
		h.Set(k, v)
		return h
	}
	double := signed(t, "m1", stamp, body, secretA)
	double.Add("webhook-timestamp", strconv.Itoa(stamp))
	good := signed(t, "m1", stamp, body, secretA).Get("webhook-signature")
	for _, tt := range []struct {
		name string
		h    http.Header
		body string
		now  time.Time
		want error
	}{
		{"good", signed(t, "m1", stamp, body, secretA), string(body), now, nil},
		{"rotation: the new secret first", signed(t, "m1", stamp, body, secretB, secretA), string(body), now, nil},
		{"rotation: the new secret last", signed(t, "m1", stamp, body, secretA, secretB), string(body), now, nil},
		{"a signature of a later version beside it", mod("webhook-signature", "v1a,AAAA "+good), string(body), now, nil},
		{"at the end of the window", signed(t, "m1", stamp, body, secretA), string(body), now.Add(Tolerance), nil},
		{"clock behind", signed(t, "m1", stamp, body, secretA), string(body), now.Add(-Tolerance), nil},
		{"replayed", signed(t, "m1", stamp, body, secretA), string(body), now.Add(Tolerance + time.Second), ErrTimestamp},
		{"from the future", signed(t, "m1", stamp, body, secretA), string(body), now.Add(-Tolerance - time.Second), ErrTimestamp},
		{"replayed with a new time", mod("webhook-timestamp", strconv.Itoa(stamp+1)), string(body), now, ErrSignature},
		{"other id", mod("webhook-id", "m2"), string(body), now, ErrSignature},
		{"other body", signed(t, "m1", stamp, body, secretA), `{"id":"m2"}`, now, ErrSignature},
		{"other secret", signed(t, "m1", stamp, body, secretB), string(body), now, ErrSignature},
		{"cut signature", mod("webhook-signature", good[:20]), string(body), now, ErrSignature},
		{"empty signature", mod("webhook-signature", "v1,"), string(body), now, ErrSignature},
		{"without version", mod("webhook-signature", strings.TrimPrefix(good, "v1,")), string(body), now, ErrSignature},
		{"too many", mod("webhook-signature", strings.Repeat("v1,AAAA ", maxSignatures)+good), string(body), now, ErrSignature},
		{"no headers", http.Header{}, string(body), now, ErrHeaders},
		{"no id", mod("webhook-id", ""), string(body), now, ErrHeaders},
		{"id with a dot", signed(t, "m.1", stamp, body, secretA), string(body), now, ErrHeaders},
		{"time with a plus", mod("webhook-timestamp", "+1795859999"), string(body), now, ErrHeaders},
		{"time is no number", mod("webhook-timestamp", "now"), string(body), now, ErrHeaders},
		{"two times", double, string(body), now, ErrHeaders},
	} {
		id, err := Verify(secrets(t, secretA), tt.h, []byte(tt.body), tt.now)
		if !errors.Is(err, tt.want) || (err == nil) != (id == "m1") {
			t.Errorf("%s: got %q, %v; want %v", tt.name, id, err, tt.want)
		}
	}
	// A receiver without secrets, or with a forgotten one, takes nothing.
	forged := signed(t, "m1", stamp, body, secretA)
	forged.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(Secret{}.mac("m1", strconv.Itoa(stamp), body)))
	for _, s := range [][]Secret{nil, {{}}} {
		if _, err := Verify(s, forged, body, now); !errors.Is(err, ErrSignature) {
			t.Errorf("with %v: %v", s, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b {
		t.Error("two new secrets are the same")
	}
	if s := secrets(t, a)[0]; len(s.key) != 32 {
		t.Errorf("%d bytes", len(s.key))
	}
	// Padding does not matter, as in the libraries.
	if x, y := secrets(t, secretB)[0], secrets(t, strings.TrimRight(secretB, "="))[0]; !bytes.Equal(x.key, y.key) {
		t.Error("padding matters")
	}
}

func FuzzVerify(f *testing.F) {
	body := []byte(`{"id":"m1"}`)
	h := signed(f, "m1", stamp, body, secretA)
	f.Add(h.Get("webhook-id"), h.Get("webhook-timestamp"), h.Get("webhook-signature"), body)
	f.Add("m1", "1795859999", "v1, v1,= v2,AAAA", body)
	f.Add("m1.1795859999", "1", "v1,"+strings.Repeat("A", 44), []byte{})
	s := secrets(f, secretA)
	f.Fuzz(func(t *testing.T, id, ts, sig string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {ts}, "Webhook-Signature": {sig}}
		got, err := Verify(s, h, body, time.Unix(stamp, 0))
		if err != nil {
			return
		}
		// What is accepted carries the one right signature.
		if got != id || !slices.Contains(strings.Fields(sig), sign(s, id, ts, body)) {
			// Base64 tolerates line ends; nothing else may differ.
			if !strings.ContainsAny(sig, "\r\n") {
				t.Errorf("accepted %q %q %q", id, ts, sig)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"m","type":"push.send","created_at":"2026-11-28T12:00:00Z","push":{"title":"t","data":{"a":"b"}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if e, err := Parse(body); err == nil && (e.ID == "" || e.Type == "") {
			t.Errorf("%+v", e)
		}
	})
}
