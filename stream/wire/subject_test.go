package wire

import (
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"footfall/track"
)

func TestParseSubject(t *testing.T) {
	long := strings.Repeat("a", 64)
	tests := []struct {
		in   string
		want Subject
		err  error
	}{
		{"ping.shop.d1", Subject{ClassPing, "shop", "d1"}, nil},
		{"event.shop.d1", Subject{ClassEvent, "shop", "d1"}, nil},
		{"device.A-_9.z", Subject{ClassDevice, "A-_9", "z"}, nil},
		{"receipt.shop.d1", Subject{ClassReceipt, "shop", "d1"}, nil},
		{"down.shop.d1", Subject{ClassDown, "shop", "d1"}, nil},
		{"feed.shop", Subject{ClassFeed, "shop", ""}, nil},
		{"owntracks.bob.phone", Subject{ClassOwnTracks, "bob", "phone"}, nil},
		{"owntracks.bob.phone.event", Subject{ClassOwnTracks, "bob", "phone"}, nil},
		{"owntracks.bob.event", Subject{}, ErrSubject}, // no device
		{"owntracks.bob.phone.cmd", Subject{}, ErrSubject},
		{"owntracks.bob.my//phone", Subject{}, ErrToken}, // "my.phone" in MQTT
		{"ping." + long + "." + long, Subject{ClassPing, long, long}, nil},
		{"ping." + long + "a.d", Subject{}, ErrToken},
		{"ping.shop." + long + "a", Subject{}, ErrToken},
		{"ping..d1", Subject{}, ErrToken},
		{"ping.shop.", Subject{}, ErrToken},
		{"ping.shop.д", Subject{}, ErrToken},
		{"ping.shop.a b", Subject{}, ErrToken},
		{"ping.*.d1", Subject{}, ErrToken},
		{"ping.shop.>", Subject{}, ErrToken},
		{"ping.shop", Subject{}, ErrSubject},
		{"ping.shop.d1.x", Subject{}, ErrSubject},
		{"feed.shop.d1", Subject{}, ErrSubject},
		{"feed.", Subject{}, ErrToken},
		{"ping", Subject{}, ErrSubject},
		{"pings.shop.d1", Subject{}, ErrSubject},
		{"", Subject{}, ErrSubject},
	}
	for _, tt := range tests {
		got, err := ParseSubject(tt.in)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ParseSubject(%q) = %+v, %v; want %+v, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
	for c := ClassPing; c <= ClassDown; c++ {
		s := DeviceSubject(c, "shop.d1")
		if got, err := ParseSubject(s); err != nil || got != (Subject{c, "shop", "d1"}) {
			t.Errorf("ParseSubject(DeviceSubject(%v)) = %+v, %v", c, got, err)
		}
	}
	if s := DeviceSubject(ClassFeed, "shop.d1"); s != "" {
		t.Errorf("DeviceSubject(ClassFeed) = %q, want nothing", s)
	}
}

func TestLogSubjects(t *testing.T) {
	for n := range MaxPartitions {
		if got, err := ParseLogSubject(LogSubject(n)); err != nil || got != n {
			t.Errorf("ParseLogSubject(LogSubject(%d)) = %d, %v", n, got, err)
		}
	}
	if LogSubject(3) != "log.03" || LogStream(15) != "LOG_15" {
		t.Errorf("got %s, %s", LogSubject(3), LogStream(15))
	}
	for _, s := range []string{"log.3", "log.003", "log.xx", "log.", "log.0/", "LOG.03", ""} {
		if _, err := ParseLogSubject(s); !errors.Is(err, ErrSubject) {
			t.Errorf("ParseLogSubject(%q): %v, want ErrSubject", s, err)
		}
	}
}

func TestEventSubjects(t *testing.T) {
	tests := []struct {
		subject string
		want    Event
	}{
		{TransitionSubject("shop", "enter", "kyiv-1"), Event{"shop", "enter", "kyiv-1", ""}},
		{TransitionSubject("shop", "exit", "node/12 3"), Event{"shop", "exit", "node=2F12=203", ""}},
		{TransitionSubject("shop", "dwell", ""), Event{"shop", "dwell", "=", ""}},
		{PushSubject("shop", "sale.2026", "accepted"), Event{"shop", "push", "sale=2E2026", "accepted"}},
	}
	for _, tt := range tests {
		if got, err := ParseEvent(tt.subject); err != nil || got != tt.want {
			t.Errorf("ParseEvent(%q) = %+v, %v; want %+v", tt.subject, got, err, tt.want)
		}
	}
	for _, s := range []string{"", "ev", "ev.shop", "ev.shop.enter", "ev.shop.enter.", "ev.shop.enter.a.b", "ev.shop.push.a", "ev.shop.push.a.b.c", "ev..enter.a", "x.shop.enter.a"} {
		if e, err := ParseEvent(s); !errors.Is(err, ErrSubject) {
			t.Errorf("ParseEvent(%q) = %+v, %v; want ErrSubject", s, e, err)
		}
	}
}

func TestEncodeID(t *testing.T) {
	for id, want := range map[string]string{
		"kyiv-1_A": "kyiv-1_A", "": "=", "=": "=3D", "a.b": "a=2Eb", "*": "=2A", ">": "=3E", "Київ": "=D0=9A=D0=B8=D1=97=D0=B2", "\x00\xff": "=00=FF",
	} {
		if got := EncodeID(id); got != want {
			t.Errorf("EncodeID(%q) = %q, want %q", id, got, want)
		}
	}
	for _, s := range []string{"", "a=", "a=2", "a=2f", "a=41", "a.b", "==", "a=G0", "é"} {
		if got, err := DecodeID(s); err == nil {
			t.Errorf("DecodeID(%q) = %q, want an error: EncodeID never writes it", s, got)
		}
	}
}

// Any id comes back, is one token to NATS, and no second text decodes to it.
func FuzzEncodeID(f *testing.F) {
	f.Add("node/1")
	f.Add("=2F")
	f.Fuzz(func(t *testing.T, s string) {
		tok := EncodeID(s)
		if back, err := DecodeID(tok); err != nil || back != s {
			t.Fatalf("DecodeID(%q) = %q, %v; want %q", tok, back, err, s)
		}
		if !encodedToken(tok) {
			t.Fatalf("%q is not a token", tok)
		}
		if id, err := DecodeID(s); err == nil && EncodeID(id) != s {
			t.Fatalf("%q and %q decode to the same id", s, EncodeID(id))
		}
	})
}

func TestDeviceIDs(t *testing.T) {
	id, err := JoinDevice("shop", "d1")
	if app, dev, ok := SplitDevice(id); err != nil || !ok || app != "shop" || dev != "d1" {
		t.Errorf("round trip of %q: %q %q %v %v", id, app, dev, ok, err)
	}
	for _, s := range []track.DeviceID{"", ".", "a.", ".b", "ab", "a.b.c", "a.b c"} {
		if _, _, ok := SplitDevice(s); ok {
			t.Errorf("SplitDevice(%q) is ok", s)
		}
	}
	if _, err := JoinDevice("a.b", "c"); !errors.Is(err, ErrToken) {
		t.Errorf("JoinDevice accepted a dot: %v", err)
	}
}

// Two OwnTracks devices must never become one: with plain joining, a_b/c and a/b_c would share pushes.
func TestOwnTracksDeviceIsInjective(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[ab_-]{1,5}`)
		u1, d1 := name.Draw(rt, "u1"), name.Draw(rt, "d1")
		u2, d2 := name.Draw(rt, "u2"), name.Draw(rt, "d2")
		a, err1 := OwnTracksDevice("ot", u1, d1)
		b, err2 := OwnTracksDevice("ot", u2, d2)
		if err1 != nil || err2 != nil {
			rt.Fatal(err1, err2)
		}
		if (a == b) != (u1 == u2 && d1 == d2) {
			rt.Fatalf("%s/%s and %s/%s: %q, %q", u1, d1, u2, d2, a, b)
		}
		if user, device, ok := SplitOwnTracks(strings.TrimPrefix(string(a), "ot.")); !ok || user != u1 || device != d1 {
			rt.Fatalf("%q is read back as %q, %q, %v", a, user, device, ok)
		}
	})
	for _, token := range []string{"", "bob", "bob_", "_-phone", "bob_-", "b_ob_-phone", "bob_-my.phone"} {
		if user, device, ok := SplitOwnTracks(token); ok {
			t.Errorf("%q is taken for %q and %q", token, user, device)
		}
	}
	if id, err := OwnTracksDevice("ot", "bob", "phone"); err != nil || id != "ot.bob_-phone" {
		t.Errorf("got %q, %v", id, err)
	}
	if _, err := OwnTracksDevice("ot", strings.Repeat("u", 40), strings.Repeat("d", 40)); !errors.Is(err, ErrToken) {
		t.Errorf("a name of 82 bytes: %v, want ErrToken", err)
	}
}

func TestPartitionEqualsFNV(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const letters = "ABCXYZabcxyz0189_-"
	token := func() string {
		b := make([]byte, 1+r.IntN(64))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	for range 2000 {
		app, dev := token(), token()
		h := fnv.New32a()
		h.Write([]byte(app))
		h.Write([]byte(dev))
		for _, n := range []int{1, 2, 16, 64, 100} {
			if got, want := Partition(track.DeviceID(app+"."+dev), n), int(h.Sum32()%uint32(n)); got != want {
				t.Fatalf("Partition(%s.%s, %d) = %d, want %d", app, dev, n, got, want)
			}
		}
	}
}

func TestSubjectsDoNotAllocate(t *testing.T) {
	skipUnderRace(t)
	subjects := []string{"ping.shop.d1", "owntracks.bob.phone.event", "feed.shop", "nonsense", "ping.shop.a b"}
	n := 0
	if a := testing.AllocsPerRun(100, func() {
		for _, s := range subjects {
			if _, err := ParseSubject(s); err == nil {
				n++
			}
		}
		if _, err := ParseEvent("ev.shop.push.c.accepted"); err == nil {
			n += Partition("shop.d1", 16)
		}
		if _, err := DecodeID("kyiv-1"); err == nil {
			n++
		}
	}); a != 0 || n == 0 {
		t.Errorf("%v allocations", a)
	}
}

func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{"ping.a.b", "feed.a", "owntracks.a.b.event", "ev.a.enter.x", "log.07"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParseSubject(s); err == nil {
			parts := []string{p.Class.String(), p.App, p.Device}
			if p.Class == ClassFeed {
				parts = parts[:2]
			}
			if joined := strings.Join(parts, "."); joined != s && joined+".event" != s {
				t.Fatalf("%q parsed as %+v", s, p)
			}
			if !ValidToken(p.App) || p.Class != ClassFeed && !ValidToken(p.Device) {
				t.Fatalf("%q parsed to bad tokens %+v", s, p)
			}
		}
		if n, err := ParseLogSubject(s); err == nil && LogSubject(n) != s {
			t.Fatalf("log subject %q is %d", s, n)
		}
		if e, err := ParseEvent(s); err == nil && strings.Count(s, ".") > 4 {
			t.Fatalf("%q parsed as %+v", s, e)
		}
	})
}
