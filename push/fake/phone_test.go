package fake

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// book is a PhoneBook with a clock that the test moves.
func book(cfg PhoneBookConfig) (*PhoneBook, *time.Time) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	return NewPhoneBook(cfg), &now
}

// titles is a screen in one line, replacements marked: "a b(2)".
func titles(b *PhoneBook, token string) string {
	var s []string
	for _, n := range b.Shown(token) {
		t := n.Title
		if n.Replaced > 0 {
			t += fmt.Sprintf("(%d)", n.Replaced)
		}
		s = append(s, t)
	}
	return strings.Join(s, " ")
}

func apnsPush(title, collapse string) *message {
	return &message{Shown: Shown{Token: "p", Service: serviceAPNs, Title: title, Collapse: collapse}}
}

func fcmPush(title, tag, key string) *message {
	return &message{Shown: Shown{Token: "p", Service: serviceFCM, Title: title, Collapse: tag}, storeKey: key}
}

func sdkPush(title, mid string) *message {
	return &message{Shown: Shown{Token: "p", Service: serviceFCM, Title: title, MID: mid, Collapse: mid}, bySDK: true}
}

func until(m *message, t time.Time) *message { m.expires = t; return m }
func never(m *message) *message              { m.never = true; return m }

func TestPhoneRules(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	soon := start.Add(15 * time.Minute)
	type step struct {
		push *message
		do   string // "offline", "online", "clear", or a duration to wait
	}
	p := func(m *message) step { return step{push: m} }
	do := func(s string) step { return step{do: s} }
	var five []step
	for i := range 5 {
		five = append(five, p(fcmPush(fmt.Sprint(i), "", fmt.Sprint("key", i))))
	}
	var flood []step
	for range 101 {
		flood = append(flood, p(fcmPush("x", "", "")))
	}
	for _, tc := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"APNs without collapse id stacks", []step{p(apnsPush("a", "")), p(apnsPush("b", ""))}, "a b"},
		{"APNs collapse id replaces and comes to the front", []step{p(apnsPush("a", "1")), p(apnsPush("b", "2")), p(apnsPush("A", "1"))}, "b A(1)"},
		{"a swiped one is not replaced", []step{p(apnsPush("a", "1")), do("clear"), p(apnsPush("b", "1"))}, "b"},
		{"APNs stores the newest only", []step{do("offline"), p(apnsPush("a", "1")), p(apnsPush("b", "2")), do("online")}, "b"},
		{"offline shows nothing", []step{do("offline"), p(apnsPush("a", ""))}, ""},
		{"stored until the expiration", []step{do("offline"), p(until(apnsPush("a", ""), soon)), do("15m"), do("online")}, "a"},
		{"and not longer", []step{do("offline"), p(until(apnsPush("a", ""), soon)), do("15m1s"), do("online")}, ""},
		{"expired before it came", []step{do("offline"), do("16m"), p(until(apnsPush("a", ""), soon)), do("online")}, ""},
		{"now or never, online", []step{p(never(apnsPush("a", "")))}, "a"},
		{"now or never, offline", []step{do("offline"), p(never(apnsPush("a", ""))), do("online")}, ""},
		{"shown ones stay after their time", []step{p(until(apnsPush("a", ""), soon)), do("1h")}, "a"},
		{"stored one replaces the shown one", []step{p(apnsPush("a", "1")), do("offline"), p(apnsPush("b", "1")), do("online")}, "b(1)"},
		{"FCM without tag stacks", []step{p(fcmPush("a", "", "k")), p(fcmPush("b", "", "k"))}, "a b"},
		{"FCM tag replaces", []step{p(fcmPush("a", "t", "")), p(fcmPush("b", "t", "")), p(fcmPush("c", "t", ""))}, "c(2)"},
		{"FCM key is not a tag but a store", []step{do("offline"), p(fcmPush("a", "", "k")), p(fcmPush("b", "", "k")), do("online")}, "b"},
		{"FCM stores four keys", append(append([]step{do("offline")}, five...), do("online")), "1 2 3 4"},
		{"a known key needs no room", append(append([]step{do("offline")}, five...), p(fcmPush("new", "", "key4")), do("online")), "1 2 3 new"},
		{"FCM drops everything over a hundred", append(append([]step{do("offline")}, flood...), do("online")), "x"},
		{"SDK ignores a copy", []step{p(sdkPush("a", "m")), p(sdkPush("a", "m"))}, "a"},
		{"SDK ignores a copy of a swiped one", []step{p(sdkPush("a", "m")), do("clear"), p(sdkPush("a", "m"))}, ""},
		{"services do not replace each other's", []step{p(apnsPush("a", "1")), p(fcmPush("b", "1", ""))}, "a b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, now := book(PhoneBookConfig{})
			for _, s := range tc.steps {
				switch s.do {
				case "":
					b.deliver(s.push)
				case "offline":
					b.SetOffline("p")
				case "online":
					b.SetOnline("p")
				case "clear":
					b.Clear("p")
				default:
					d, err := time.ParseDuration(s.do)
					if err != nil {
						t.Fatal(err)
					}
					*now = now.Add(d)
				}
			}
			if got := titles(b, "p"); got != tc.want {
				t.Errorf("screen shows %q, want %q", got, tc.want)
			}
			checkBytes(t, b)
		})
	}
}

// checkBytes recomputes what the book thinks it holds.
func checkBytes(t *testing.T, b *PhoneBook) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for _, p := range b.phones {
		for i := range p.shown {
			n += p.shown[i].size()
		}
		for i := range p.stored {
			n += p.stored[i].size()
		}
	}
	if n != b.bytes {
		t.Errorf("the book counts %d bytes and holds %d", b.bytes, n)
	}
}

func TestPhoneBookIsBounded(t *testing.T) {
	b, _ := book(PhoneBookConfig{MaxPhones: 3, MaxPerPhone: 2, MaxBytes: 5 * 400})
	announced := 0
	b.OnShow(func(Shown) { announced++ })
	for i := range 5 {
		m := apnsPush(fmt.Sprint(i), "")
		m.Token = fmt.Sprint("phone", i%4)
		b.deliver(m)
	}
	if got := titles(b, "phone0"); got != "0 4" {
		t.Errorf("phone0 shows %q", got)
	}
	if s := b.Stats(); s.Phones != 3 || s.Overflow != 1 || s.Shown != 5 || announced != 5 {
		t.Errorf("%+v, %d announced; want 3 phones, 1 overflow, 5 shown and announced", s, announced)
	}
	m := apnsPush("5", "")
	m.Token = "phone0"
	b.deliver(m)
	if got := titles(b, "phone0"); got != "4 5" {
		t.Errorf("a third notification on a screen for two: %q", got)
	}
	big := apnsPush("big", "")
	big.Token, big.Body = "phone1", strings.Repeat("x", 4000)
	b.deliver(big)
	if got := titles(b, "phone1"); got != "1" {
		t.Errorf("over MaxBytes: %q", got)
	}
	checkBytes(t, b)
	var all []string
	b.Each(func(s Shown) bool { all = append(all, s.Title); return true })
	slices.Sort(all)
	if got := strings.Join(all, " "); got != "1 2 4 5" {
		t.Errorf("Each gives %q", got)
	}
}

func TestPhoneBookConcurrently(t *testing.T) {
	b := NewPhoneBook(PhoneBookConfig{MaxPerPhone: 10, MaxBytes: 20_000})
	b.OnShow(func(s Shown) { b.Shown(s.Token) }) // a watcher may ask the book
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				m := fcmPush(fmt.Sprint(i), fmt.Sprint(i%7), fmt.Sprint(i%5))
				m.Token = fmt.Sprint(i % 9)
				switch (w + i) % 5 {
				case 0:
					b.SetOffline(m.Token)
				case 1:
					b.SetOnline(m.Token)
				case 2:
					b.Clear(m.Token)
				}
				b.deliver(m)
				b.Stats()
			}
		})
	}
	wg.Wait()
	checkBytes(t, b)
}

func TestFCMMessageOnAPhone(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, body string
		want       message
	}{
		{"data style", `{"message":{"token":"p","data":{"mid":"m","title":"T","body":"B","img":"i","link":"l"},"android":{"ttl":"60s"}}}`,
			message{Shown: Shown{MID: "m", Title: "T", Body: "B", Image: "i", Link: "l", Collapse: "m"}, bySDK: true, expires: now.Add(time.Minute)}},
		{"our object as text", `{"message":{"token":"p","data":{"g":"{\"mid\":\"m\",\"img\":\"i\",\"link\":\"l\"}"},"notification":{"title":"T"}}}`,
			message{Shown: Shown{MID: "m", Title: "T", Image: "i", Link: "l"}}},
		{"android overrides", `{"message":{"token":"p","notification":{"title":"T","body":"B","image":"i"},"android":{"ttl":"0s","collapse_key":"k","notification":{"title":"T2","tag":"t","click_action":"shop://2"}}}}`,
			message{Shown: Shown{Title: "T2", Body: "B", Image: "i", Link: "shop://2", Collapse: "t"}, storeKey: "k", never: true, expires: now}},
		{"silent", `{"message":{"token":"p","data":{"mid":"m"}}}`, message{Shown: Shown{MID: "m", Collapse: "m"}, bySDK: true, silent: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseFCM([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			got := f.message(now)
			got.Data = nil
			tc.want.Token, tc.want.Service = "p", serviceFCM
			if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", tc.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tc.want)
			}
		})
	}
}

func TestLatency(t *testing.T) {
	draw := func(l Latency) []time.Duration {
		var s sampler
		s.set(l)
		ds := make([]time.Duration, 2001)
		for i := range ds {
			ds[i] = s.next()
		}
		return ds
	}
	for _, tc := range []struct {
		text           string
		lo, median, hi time.Duration // median within a tenth
	}{
		{"0", 0, 0, 0}, {"30ms", 30e6, 30e6, 30e6}, {"10ms-50ms", 10e6, 30e6, 50e6}, {"30ms~0.5", 1, 30e6, time.Minute}, {"1m~10", 1, time.Minute, time.Minute},
	} {
		l, err := ParseLatency(tc.text, 42)
		if err != nil {
			t.Fatal(err)
		}
		a := draw(l)
		if !slices.Equal(a, draw(l)) {
			t.Errorf("%s: the same seed draws differently", tc.text)
		}
		slices.Sort(a)
		if a[0] < min(tc.lo, tc.hi) && tc.text != "1m~10" || a[2000] > tc.hi || tc.text != "1m~10" && (a[1000]-tc.median).Abs() > tc.median/10 {
			t.Errorf("%s: %v .. %v .. %v", tc.text, a[0], a[1000], a[2000])
		}
	}
	for _, bad := range []string{"", "x", "-1s", "5", "2m", "50ms-10ms", "30ms~", "30ms~-1", "30ms~NaN", "30ms~1e9", "1s-", "-"} {
		if _, err := ParseLatency(bad, 1); err == nil {
			t.Errorf("ParseLatency(%q) succeeded", bad)
		}
	}
}

func TestScriptShareIsSeededAndClose(t *testing.T) {
	count := func() (n int) {
		var s script
		s.add([]Rule{{Share: 0.3, Answer: Answer{Reason: "Unregistered"}}})
		for range 10_000 {
			if _, ok := s.match("x"); ok {
				n++
			}
		}
		return n
	}
	n := count()
	if n < 2800 || n > 3200 {
		t.Errorf("a share of 0.3 hit %d of 10,000", n)
	}
	if m := count(); m != n {
		t.Errorf("%d hits, then %d: not seeded", n, m)
	}
}
