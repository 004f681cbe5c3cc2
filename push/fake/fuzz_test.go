package fake

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http2"
)

func FuzzAPNsPayload(f *testing.F) {
	for _, s := range []string{hello, `{"aps":{}}`, `{"aps":{"alert":"x"},"g":[]}`, `{"aps":null}`, `{"aps":{"alert":{"title":1}}}`, `[]`, "\xff", `null`,
		" {\t\"aps\" :{\"alert\":\"a\", \"alert\" : {\"loc-key\":\"k\\\"\",\"title\":[{\"}\":\"]\"}],\"\\u0074itle\":\"t\"}}\r,\"g\":{\"mid\":\"\xff\",\"k\":-1e9}}\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, ok := parseAPNs(body)
		if want, wantOK := plainAPNs(body); ok != wantOK || ok && !reflect.DeepEqual(m, want) {
			t.Fatalf("%q became %+v, %v; by encoding/json %+v, %v", body, m, ok, want, wantOK)
		}
		if !ok {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted %q, which is not JSON", body)
		}
		if m.silent != (m.Title == "" && m.Subtitle == "" && m.Body == "") || !utf8.ValidString(m.Title+m.Body+m.MID) {
			t.Fatalf("%q became %+v", body, m)
		}
	})
}

// plainAPNs is parseAPNs by encoding/json alone.
func plainAPNs(body []byte) (*message, bool) {
	object := func(raw []byte) (m map[string]json.RawMessage, ok bool) {
		return m, json.Unmarshal(raw, &m) == nil && m != nil
	}
	word := func(m map[string]json.RawMessage, name string) (s string) {
		if json.Unmarshal(m[name], &s) != nil {
			return ""
		}
		return s
	}
	root, ok := object(body)
	if !ok {
		return nil, false
	}
	aps, ok := object(root["aps"])
	if !ok {
		return nil, false
	}
	g, _ := object(root["g"])
	m := &message{Shown: Shown{Service: serviceAPNs, MID: word(g, "mid"), Image: word(g, "img"), Link: word(g, "link"), Key: word(g, "k")}}
	if m.Body = word(aps, "alert"); m.Body == "" {
		alert, _ := object(aps["alert"])
		m.Title = cmp.Or(word(alert, "title"), word(alert, "title-loc-key"))
		m.Subtitle = cmp.Or(word(alert, "subtitle"), word(alert, "subtitle-loc-key"))
		m.Body = cmp.Or(word(alert, "body"), word(alert, "loc-key"))
	}
	m.silent = m.Title == "" && m.Subtitle == "" && m.Body == ""
	return m, true
}

func FuzzFCMMessage(f *testing.F) {
	for _, s := range []string{
		`{"message":{"token":"a","data":{"mid":"m"},"android":{"ttl":"3.5s","priority":"HIGH","notification":{"tag":"t","notificationCount":"3","bodyLocArgs":["x"]}}}}`,
		`{"validate_only":true,"message":{"condition":"'a' in topics","apns":{"payload":{"aps":{}}}}}`, `{"message":{"token":"a","android":{"notification":{"sticky":1}}}}`,
		`{"message":{"token":"a","data":{"g":"{"}}}`, `null`, `{"message":null}`, `{"message":{"token":"a","notification":null}}`,
	} {
		f.Add([]byte(s))
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseFCM(body)
		if err != nil {
			if a := fcmBadField(&fieldError{"x", err.Error()}); !json.Valid([]byte(a.body)) {
				t.Fatalf("the answer to %q is not JSON: %s", body, a.body)
			}
			return
		}
		m.tooBig()
		if msg := m.message(now); msg.Token != m.Token || msg.expires.Before(now) && !msg.expires.IsZero() || msg.expires.After(now.Add(maxTTL)) {
			t.Fatalf("%q became %+v", body, msg)
		}
	})
}

func FuzzAPNsRules(f *testing.F) {
	f.Add("POST", "/3/device/"+phone1, "123E4567-E89B-12D3-A456-426614174000", "com.example.footfall", "c", "10", "alert", "0", uint16(10))
	f.Add("GET", "/3/device/", "", "", "", "", "", "99999999999999999999", uint16(0))
	f.Add("POST", "/3/device/%00", "x", "com.example.footfall.voip", "", "5", "voip", "-0", uint16(5121))
	f.Fuzz(func(t *testing.T, method, path, id, topic, collapse, priority, pushType, expiry string, size uint16) {
		n := int(size)
		r := apnsRequest{method: method, path: path, id: id, topic: topic, collapse: collapse, priority: priority, pushType: pushType, expiry: expiry, bodyLen: n}
		reason := r.check("com.example.footfall")
		if reason != "" {
			if apnsStatus[reason] == 0 {
				t.Fatalf("reason %q has no status", reason)
			}
			return
		}
		tok, _ := r.deviceToken()
		e, ok := parseExpiry(expiry)
		if len(tok) < 64 || !ok || e.Before(time.Unix(0, 0)) && expiry != "" || n < 1 || n > maxPayloadVoIP || len(collapse) > 64 || !strings.HasPrefix(topic, "com.example.footfall") {
			t.Fatalf("accepted %+v", r)
		}
	})
}

func FuzzJWT(f *testing.F) {
	a := startAPNs(f, APNsConfig{TokenUpdateInterval: -1})
	good := signES256(f, a.KeyPEM, a.KeyID, a.TeamID, time.Now())
	f.Add("bearer " + good)
	f.Add("bearer ..")
	f.Add("bearer e30.e30.AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		// The key never leaves the process, so only the one good token passes,
		// in whatever case the scheme is written.
		if r := a.auth.check(s, time.Now()); r == "" && !strings.HasSuffix(s, " "+good) {
			t.Fatalf("accepted %q", s)
		} else if r != "" && apnsStatus[r] != 403 && r != "TooManyProviderTokenUpdates" {
			t.Fatalf("reason %q", r)
		}
	})
}

func FuzzLatency(f *testing.F) {
	for _, s := range []string{"0", "30ms", "10ms-50ms", "30ms~0.5", "1m~10"} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, s string, seed uint64) {
		l, err := ParseLatency(s, seed)
		if err != nil {
			return
		}
		var d sampler
		d.set(l)
		for range 10 {
			if v := d.next(); v < 0 || v > maxLatency {
				t.Fatalf("%q draws %v", s, v)
			}
		}
	})
}

// FuzzAPNsFrames throws bytes at a connection after a good handshake. Whatever
// they are, the fake ends the connection or goes on, never hangs in Close, and
// serves the next client.
func FuzzAPNsFrames(f *testing.F) {
	frame := func(typ http2.FrameType, flags http2.Flags, id uint32, payload string) []byte {
		var b strings.Builder
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		fr.WriteRawFrame(typ, flags, id, []byte(payload))
		return []byte(b.String())
	}
	settings := frame(http2.FrameSettings, 0, 0, "")
	f.Add(settings)
	f.Add(append(settings, frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\x83\x87\x84")...))
	f.Add(append(settings, frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, "\x82\x87\x84")...))
	f.Add(append(settings, frame(http2.FrameData, http2.FlagDataEndStream, 1, "x")...))
	f.Add(append(settings, frame(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff")...))
	f.Add(append(settings, frame(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08")...))
	f.Add(append(settings, frame(http2.FrameContinuation, 0, 1, "")...))
	f.Add(frame(http2.FramePing, 0, 0, "12345678"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	ln := NewMemListener()
	a := startAPNs(f, APNsConfig{Listener: ln})
	f.Fuzz(func(t *testing.T, in []byte) {
		nc, err := ln.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(time.Minute))
		tc := tls.Client(nc, &tls.Config{RootCAs: a.RootCAs, ServerName: "localhost", NextProtos: []string{"h2"}})
		tc.Write([]byte(http2.ClientPreface))
		tc.Write(in)
		tc.CloseWrite()
		if _, err := io.Copy(io.Discard, tc); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("the fake neither answered nor closed")
		}
	})
}
