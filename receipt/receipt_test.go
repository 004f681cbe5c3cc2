package receipt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/internal/db"
	"footfall/internal/dice"
)

func keyring(t testing.TB, secrets ...string) *Keyring {
	t.Helper()
	var s Secrets
	for _, text := range secrets {
		s = append(s, []byte((text + strings.Repeat(".", minSecret))[:minSecret]))
	}
	k, err := NewKeyring(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKey(t *testing.T) {
	k := keyring(t, "one")
	key := k.Key("shop", "d1", "m1")
	if len(key) != 22 || !k.Valid("shop", "d1", "m1", key) {
		t.Fatalf("key %q", key)
	}
	for name, ok := range map[string]bool{
		"another app":     k.Valid("shop2", "d1", "m1", key),
		"another device":  k.Valid("shop", "d2", "m1", key),
		"another message": k.Valid("shop", "d1", "m2", key),
		"cut":             k.Valid("shop", "d1", "m1", key[:21]),
		"empty":           k.Valid("shop", "d1", "m1", ""),
		"another secret":  keyring(t, "two").Valid("shop", "d1", "m1", key),
	} {
		if ok {
			t.Errorf("%s: valid", name)
		}
	}
}

// While one secret replaces another, messages signed with either are accepted; afterwards only those of the new one.
func TestRotation(t *testing.T) {
	k := keyring(t, "old")
	before := k.Key("shop", "d1", "m1")
	both := *keyring(t, "new", "old").secrets.Load()
	if err := k.Set(both); err != nil {
		t.Fatal(err)
	}
	after := k.Key("shop", "d1", "m1")
	if before == after || !k.Valid("shop", "d1", "m1", before) || !k.Valid("shop", "d1", "m1", after) {
		t.Errorf("with both: before %v, after %v", k.Valid("shop", "d1", "m1", before), k.Valid("shop", "d1", "m1", after))
	}
	if err := k.Set(both[:1]); err != nil {
		t.Fatal(err)
	}
	if k.Valid("shop", "d1", "m1", before) || !k.Valid("shop", "d1", "m1", after) {
		t.Error("with the new one alone the old key is still valid, or the new one is not")
	}
	if err := k.Set(nil); !errors.Is(err, ErrSecrets) || !k.Valid("shop", "d1", "m1", after) {
		t.Errorf("setting none: %v", err)
	}
}

func TestParseSecrets(t *testing.T) {
	a, b := strings.Repeat("a", 32), strings.Repeat("\xfb", 40)
	std, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	for _, tt := range []struct {
		text string
		want Secrets
		bad  string // part of the error
	}{
		{text: std([]byte(a)) + "\n", want: Secrets{[]byte(a)}},
		{text: "# new\r\n" + url([]byte(b)) + "\r\n\n  " + std([]byte(a)), want: Secrets{[]byte(b), []byte(a)}},
		{text: "", bad: "there is none"},
		{text: "# nothing\n", bad: "there is none"},
		{text: std([]byte(a[:31])), bad: "line 1 is not base64 of at least 32 bytes"},
		{text: "\ncorrect horse battery staple\n", bad: "line 2 is not base64"},
		{text: std([]byte(a)) + "\n" + std([]byte(a)), bad: "the same"},
		{text: std([]byte(a)) + "\n" + std([]byte(b)) + "\n" + std([]byte(a+b)), bad: "3 are too many"},
	} {
		got, err := ParseSecrets(tt.text)
		if d := cmp.Diff([][]byte(tt.want), [][]byte(got)); d != "" || (err == nil) != (tt.bad == "") {
			t.Errorf("%q: %v, %v", tt.text, err, d)
		}
		if err != nil && (!errors.Is(err, ErrSecrets) || !strings.Contains(err.Error(), tt.bad) || strings.Contains(err.Error(), "horse")) {
			t.Errorf("%q: %v, want %q and no secret", tt.text, err, tt.bad)
		}
		if again, err := ParseSecrets(got.Format()); len(got) > 0 && (err != nil || !cmp.Equal([][]byte(again), [][]byte(got))) {
			t.Errorf("%q does not survive Format: %v", tt.text, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", Secrets{[]byte(a)}, Secrets{[]byte(a)}, Secrets{[]byte(a)}, Secrets{[]byte(a)}); strings.Contains(text, "97") || strings.Contains(text, "aa") {
		t.Errorf("secrets print as %s", text)
	}
}

func TestCode(t *testing.T) {
	k := keyring(t, "one")
	code := k.Code("shop", "m1")
	if len(code) != codeLength || code == k.Code("shop", "m2") || code == k.Code("other", "m1") || code == keyring(t, "two").Code("shop", "m1") {
		t.Fatalf("code %q", code)
	}
	for typed, want := range map[string]string{
		code: code, strings.ToLower(code): code, " " + code[:5] + "-" + code[5:] + " ": code,
		"OIL0000000": "0110000000", "": "", code + "0": "", code[:9]: "", "K7QF3XN2P!": "", strings.Repeat(" ", 1000) + code: "",
	} {
		if got, ok := CleanCode(typed); ok != (want != "") || ok && got != want {
			t.Errorf("%.40q: got %q, %v; want %q", typed, got, ok, want)
		}
	}
}

var update = flag.Bool("update", false, "rewrite docs/protocol/receipt-vectors.json; review the diff")

// Golden values for backends that sign or check by themselves.
func TestReceiptVectors(t *testing.T) {
	const file = "../docs/protocol/receipt-vectors.json"
	secret := []byte("footfall receipt vectors, not for")[:minSecret]
	k, err := NewKeyring(Secrets{secret})
	if err != nil {
		t.Fatal(err)
	}
	cases := []map[string]string{
		{"app": "shop", "device": "d1", "mid": "7f0c2f0e-56a6-5d7e-9a3e-0f6d9f1f2b11"},
		{"app": "shop", "device": "d2", "mid": "7f0c2f0e-56a6-5d7e-9a3e-0f6d9f1f2b11"},
		{"app": "other", "device": "d1", "mid": "7f0c2f0e-56a6-5d7e-9a3e-0f6d9f1f2b11"},
		{"app": "shop", "device": "d1", "mid": "повідомлення|1"},
	}
	for _, c := range cases {
		c["k"], c["code"] = k.Key(c["app"], c["device"], c["mid"]), k.Code(c["app"], c["mid"])
	}
	text, err := json.MarshalIndent(map[string]any{
		"note":   "k is the receipt key of a message to a device, code its code; how they are made is in protocol.md, Receipts. The secret is for these vectors alone.",
		"secret": base64.RawURLEncoding.EncodeToString(secret),
		"cases":  cases,
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), string(got)); d != "" {
		t.Errorf("(-want +file)\n%s", d)
	}
}

func TestClamp(t *testing.T) {
	const made, received = 1_000_000, 2_000_000
	ahead := MaxAhead.Milliseconds()
	for at, want := range map[int64]int64{
		0: received, 1: made, made: made, 1_500_000: 1_500_000, received: received,
		received + ahead: received + ahead, received + ahead + 1: received + ahead, 1 << 60: received + ahead,
	} {
		if got := Clamp(at, made, received); got != want {
			t.Errorf("%d: got %d, want %d", at, got, want)
		}
	}
	if got := Clamp(500, received, made); got != received { // received before it was made: two clocks of ours
		t.Errorf("received before made: %d", got)
	}
}

func ledger(t testing.TB, now func() time.Time) *db.DB {
	t.Helper()
	d, err := db.Open(db.Config{Dir: t.TempDir(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// Facts come to the same row and the same stages whatever their order and however often they come.
func TestOrderAndRepeatsDoNotMatter(t *testing.T) {
	d := ledger(t, nil)
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 60 {
		var facts []Fact
		for range 1 + rng.IntN(25) {
			facts = append(facts, Fact{
				Ev: Stages()[rng.IntN(6)], Ref: []string{"", "a", "b"}[rng.IntN(3)], At: rng.Int64N(4), ReceivedAt: rng.Int64N(3),
				Value: float64(rng.IntN(2)), Currency: []string{"", "UAH"}[rng.IntN(2)], Via: []string{"", "code"}[rng.IntN(2)],
			})
		}
		var first []Fact
		for order := range 4 {
			mid := fmt.Sprintf("m%d.%d", round, order)
			row := slices.Clone(facts)
			for range rng.IntN(20) {
				row = append(row, facts[rng.IntN(len(facts))])
			}
			rng.Shuffle(len(row), func(i, j int) { row[i], row[j] = row[j], row[i] })
			reached, news := map[string]int{}, 0
			for len(row) > 0 { // some in one transaction, some in another
				n := 1 + rng.IntN(len(row))
				err := d.Update(context.Background(), func(tx *db.Tx) error {
					for _, f := range row[:n] {
						c, err := Add(tx, mid, f, time.Hour)
						if err != nil {
							return err
						}
						for _, s := range c.Reached {
							reached[s]++
						}
						if c.New {
							news++
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				row = row[n:]
			}
			var got []Fact
			if err := d.View(func(tx *db.Tx) (err error) { got, err = Facts(tx, mid); return err }); err != nil {
				t.Fatal(err)
			}
			if order == 0 {
				first = got
			}
			if diff := cmp.Diff(first, got); diff != "" {
				t.Fatalf("seed %d, round %d: another order, other facts\n%s", seed, round, diff)
			}
			want := map[string]int{}
			for _, s := range Reached(got) {
				want[s] = 1
			}
			if diff := cmp.Diff(want, reached); diff != "" || news != len(got) {
				t.Fatalf("seed %d, round %d: %d new of %d; stages (-of the row +counted)\n%s", seed, round, news, len(got), diff)
			}
		}
	}
}

func TestReached(t *testing.T) {
	for _, tt := range []struct{ evs, want string }{
		{"", ""},
		{"delivered", "delivered"},
		{"opened", "delivered opened"},
		{"action", "delivered opened action"},
		{"dismissed", "delivered dismissed"},
		{"displayed", "delivered displayed"},
		{"converted", "converted"},
		{"converted opened", "delivered opened converted"},
	} {
		var facts []Fact
		for _, ev := range strings.Fields(tt.evs) {
			facts = append(facts, Fact{Ev: ev})
		}
		if got := strings.Join(Reached(facts), " "); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.evs, got, tt.want)
		}
	}
}

// Whoever holds a key cannot fill the ledger with it.
func TestFactsAreBounded(t *testing.T) {
	d := ledger(t, nil)
	err := d.Update(t.Context(), func(tx *db.Tx) error {
		for i := range 3 * maxFacts {
			_, err := Add(tx, "m", Fact{Ev: Converted, Ref: fmt.Sprint(i)}, time.Hour)
			if full := i >= maxFacts; full != errors.Is(err, ErrTooMany) || !full && err != nil {
				t.Fatalf("fact %d: %v", i, err)
			}
		}
		// What is there already can still be told again, and earlier.
		c, err := Add(tx, "m", Fact{Ev: Converted, Ref: "0", At: -1}, time.Hour)
		if err != nil || c.New {
			t.Errorf("a repeat of a full message: %+v, %v", c, err)
		}
		facts, err := Facts(tx, "m")
		if len(facts) != maxFacts {
			t.Errorf("%d facts", len(facts))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCodesAndTheirEnd(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	d := ledger(t, func() time.Time { return now })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.Update(t.Context(), func(tx *db.Tx) error {
		_, err := Add(tx, "m1", Fact{Ev: Opened}, time.Hour)
		return errors.Join(err, PutCode(tx, "shop", "0123456789", "m1", time.Hour), PutCode(tx, "shop", "0123456789", "m2", time.Hour))
	}))
	look := func() (mid string, facts int) {
		must(d.View(func(tx *db.Tx) error {
			var err, err2 error
			var all []Fact
			mid, _, err = ByCode(tx, "shop", "0123456789")
			all, err2 = Facts(tx, "m1")
			facts = len(all)
			return errors.Join(err, err2)
		}))
		return mid, facts
	}
	if mid, n := look(); mid != "m1" || n != 1 {
		t.Errorf("the code stands for %q, %d facts; want the first message and its one", mid, n)
	}
	now = now.Add(time.Hour + time.Millisecond)
	if mid, n := look(); mid != "" || n != 0 {
		t.Errorf("after its time: %q, %d facts", mid, n)
	}
}
