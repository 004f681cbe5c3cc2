package voucher

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
	"footfall/internal/dice"
)

func open(t *testing.T) *db.DB {
	t.Helper()
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func update(t *testing.T, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		typed, want string
		ok          bool
	}{
		{"kyiv-7q4f 3xn2", "KYIV7Q4F3XN2", true}, {"AB.1_", "AB.1_", true}, {"abc", "", false}, {"a-b-c", "", false}, {"", "", false},
		{"ab,cd", "", false}, {"знижка", "", false}, {strings.Repeat("A", 64), strings.Repeat("A", 64), true}, {strings.Repeat("A", 65), "", false},
	} {
		got, ok := Clean(tt.typed)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("Clean(%q) = %q, %v; want %q, %v", tt.typed, got, ok, tt.want, tt.ok)
		}
	}
	for i := range len(Alphabet) {
		if strings.ContainsRune("0O1IL2Z5S8B", rune(Alphabet[i])) || strings.Count(Alphabet, Alphabet[i:i+1]) != 1 {
			t.Errorf("%c is in the alphabet", Alphabet[i])
		}
	}
}

func TestReadCSV(t *testing.T) {
	lines, err := ReadCSV(strings.NewReader("\ufeffname,Code\nx, AB-12 \n\ny,cd34\n"))
	if err != nil || len(lines) != 2 || lines[0] != (Line{2, "AB-12"}) || lines[1] != (Line{4, "cd34"}) {
		t.Fatalf("%v, %v", lines, err)
	}
	for file, want := range map[string][]string{
		"":                           {"line 1: the file is empty"},
		"codes\nABCD\n":              {"line 1: no column code"},
		"code\n":                     {"no codes"},
		"code\nAB-12\nab12\nx\nOK99": {"line 3: ab12 is the code of line 2", `line 4: "x" cannot be a code`},
		"a,code\nx,ABCD\ny\n":        {"line 3: there is no code"},
		"code\n\"AB\n":               {"line"},
	} {
		lines, err := ReadCSV(strings.NewReader(file))
		for _, w := range want {
			if err == nil || lines != nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, %v; want %q", file, lines, err, w)
			}
		}
	}
}

func TestAddIsIdempotent(t *testing.T) {
	d := open(t)
	for i, want := range []int{2, 1, 0} {
		update(t, d, func(tx *db.Tx) error {
			p, added, err := Add(tx, "a", []string{"AAAA", "BB-BB", "CCCC"}[:min(2+i, 3)], nil)
			if added != want || p.Free != int64(min(2+i, 3)) {
				t.Errorf("time %d: %d added, %+v", i, added, p)
			}
			return err
		})
	}
	for _, codes := range [][]string{{"dddd", "aaaa"}, {"B-BBB"}, {"x"}} {
		pool := map[bool]string{true: "a", false: "b"}[codes[0] == "B-BBB"]
		err := d.Update(t.Context(), func(tx *db.Tx) error { _, _, err := Add(tx, pool, codes, nil); return err })
		if err == nil || codes[0] != "x" && !errors.Is(err, ErrTaken) {
			t.Errorf("%v into %s: %v", codes, pool, err)
		}
	}
	update(t, d, func(tx *db.Tx) error {
		list, err := Pools(tx)
		if len(list) != 1 || list[0].Total() != 3 {
			t.Errorf("%+v", list)
		}
		return err
	})
}

// TestAgainstModel: a random run of everything that can happen to a pool agrees with a map of who has what. No code is ever
// with two, none is given again that somebody may have seen, and the counts add up.
func TestAgainstModel(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	d := open(t)
	const codes = 40
	update(t, d, func(tx *db.Tx) error {
		var list []string
		for i := range codes {
			list = append(list, fmt.Sprintf("code-%02d", i))
		}
		_, _, err := Add(tx, "p", list, nil)
		return err
	})
	has := map[string]string{}    // mid -> code
	redeemed := map[string]bool{} // code
	for i := range 1500 {
		mid := fmt.Sprintf("m%d", rng.IntN(60))
		op := rng.IntN(10)
		update(t, d, func(tx *db.Tx) error {
			switch {
			case op < 5:
				c, p, err := Reserve(tx, "p", mid, "shop", fmt.Sprint("k", rng.IntN(3)))
				if errors.Is(err, ErrEmpty) {
					if len(has)+unheld(has, redeemed) != codes || p.Free != 0 {
						t.Errorf("%d: empty with %d held", i, len(has))
					}
					return nil
				}
				if err != nil {
					return err
				}
				if old := has[mid]; old != "" && old != c.Code {
					t.Errorf("%d: %s had %s and got %s", i, mid, old, c.Code)
				}
				for other, code := range has {
					if code == c.Code && other != mid {
						t.Errorf("%d: %s and %s both have %s", i, mid, other, code)
					}
				}
				if redeemed[c.Code] && has[mid] == "" {
					t.Errorf("%d: %s was redeemed and is given again", i, c.Code)
				}
				has[mid] = c.Code
			case op < 8:
				back, err := GiveBack(tx, mid)
				if err != nil {
					return err
				}
				if want := has[mid] != "" && !redeemed[has[mid]]; back != want {
					t.Errorf("%d: give back %s: %v, want %v", i, mid, back, want)
				}
				if back {
					delete(has, mid)
				}
			case op < 9 && rng.IntN(20) == 0:
				code := fmt.Sprintf("code-%02d", rng.IntN(codes))
				_, what, err := Redeem(tx, strings.ToUpper(code), tx.Now().UnixMilli(), i%2 == 0)
				if want := map[bool]string{true: Used, false: Redeemed}[redeemed[code]]; what != want {
					t.Errorf("%d: redeem %s: %s, want %s", i, code, what, want)
				}
				redeemed[code] = true
				return err
			}
			return nil
		})
		if t.Failed() {
			return
		}
	}
	update(t, d, func(tx *db.Tx) error {
		p, err := Get(tx, "p")
		given := int64(0)
		for _, code := range has {
			if !redeemed[code] {
				given++
			}
		}
		var by Tally
		for _, tally := range p.By {
			by.Given, by.Redeemed, by.Purchases = by.Given+tally.Given, by.Redeemed+tally.Redeemed, by.Purchases+tally.Purchases
			if tally.Given < 0 || tally.Purchases > tally.Redeemed {
				t.Errorf("campaigns %+v", p.By)
			}
		}
		if by.Given != p.Given || by.Redeemed+p.Ungiven != p.Redeemed {
			t.Errorf("the campaigns have %+v of %+v", by, p)
		}
		if p.Total() != codes || p.Given != given || p.Redeemed != int64(len(redeemed)) {
			t.Errorf("%+v, want %d given and %d redeemed", p, given, len(redeemed))
		}
		seen := map[string]bool{}
		for after := uint64(0); err == nil; {
			var list []Code
			if list, after, err = Page(tx, "p", after, 7); after == 0 && err == nil {
				break
			}
			for _, c := range list {
				if seen[c.Code] {
					t.Errorf("%s is listed twice", c.Code)
				}
				seen[c.Code] = true
			}
		}
		return err
	})
}

// unheld counts the codes that are used up without a push that has them.
func unheld(has map[string]string, redeemed map[string]bool) int {
	n := len(redeemed)
	for _, code := range has {
		if redeemed[code] {
			n--
		}
	}
	return n
}

// TestRetake: a push that is sent again gets a code again, and whoever is forgotten leaves a code that nobody gets.
func TestRetake(t *testing.T) {
	d := open(t)
	update(t, d, func(tx *db.Tx) error {
		if _, _, err := Add(tx, "p", []string{"AAAA", "BBBB"}, nil); err != nil {
			return err
		}
		if err := Retake(tx, "never", "shop", "x"); err != nil {
			return err
		}
		if _, ok, _ := Of(tx, "never"); ok {
			t.Error("one that never had a code has one")
		}
		first, _, _ := Reserve(tx, "p", "m1", "shop", "x")
		if _, err := GiveBack(tx, "m1"); err != nil {
			return err
		}
		if err := Retake(tx, "m1", "shop", "x"); err != nil {
			return err
		}
		again, ok, err := Of(tx, "m1")
		if !ok || again.Code == first.Code {
			t.Errorf("retook %+v, %v after %s", again, ok, first.Code)
		}
		if n, err := Forget(tx, []string{"m1", "m2"}); n != 1 || err != nil {
			t.Errorf("forgot %d, %v", n, err)
		}
		if _, ok, _ := Of(tx, "m1"); ok {
			t.Error("the forgotten push still has its code")
		}
		if c, _, err := Reserve(tx, "p", "m3", "shop", "x"); err != nil || c.Code != first.Code {
			t.Errorf("%+v, %v", c, err)
		}
		if _, _, err := Reserve(tx, "p", "m4", "shop", "x"); !errors.Is(err, ErrEmpty) {
			t.Errorf("the forgotten one's code was given again: %v", err)
		}
		if _, _, err := Reserve(tx, "q", "m4", "shop", "x"); !errors.Is(err, ErrNoPool) {
			t.Errorf("no pool: %v", err)
		}
		return err
	})
}

// TestExpiryAndDrop: a pool that has ended gives nothing and redeems nothing, a code's own time runs from when it was given, both
// can be changed; a pool that is dropped leaves no row, also when it is cut off in between, and its name and codes are free again.
func TestExpiryAndDrop(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	d, err := db.Open(db.Config{InMemory: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	end := now.Add(48 * time.Hour)
	set := func(terms Terms) (p Pool) {
		update(t, d, func(tx *db.Tx) (err error) {
			p, _, err = Add(tx, "p", []string{"AAAA", "BBBB", "CCCC", "DDDD"}, &terms)
			return err
		})
		return p
	}
	reserve := func(mid string, want error) {
		t.Helper()
		err := d.Update(t.Context(), func(tx *db.Tx) error { _, _, err := Reserve(tx, "p", mid, "shop", "x"); return err })
		if !errors.Is(err, want) || GivesNone(err) != (want != nil) {
			t.Errorf("%s at %v: %v, want %v", mid, now, err, want)
		}
	}
	redeem := func(code string, at time.Time, want string) {
		t.Helper()
		update(t, d, func(tx *db.Tx) error {
			_, what, err := Redeem(tx, code, at.UnixMilli(), true)
			if what != want {
				t.Errorf("%s shown at %v: %s, want %s", code, at, what, want)
			}
			return err
		})
	}
	terms := Terms{Low: 1, Expires: end.UnixMilli(), Life: time.Hour.Milliseconds()}
	p := set(terms)
	for at, want := range map[time.Time]string{now: "", end.Add(-24 * time.Hour): "expires_soon", end.Add(-time.Millisecond): "expires_soon", end: "expired"} {
		if got := p.Alarm(at.UnixMilli()); got != want || (p.Advice(at.UnixMilli()) == "") != (want == "") {
			t.Errorf("alarm at %v: %q, want %q", at, got, want)
		}
	}
	reserve("m1", nil)
	reserve("m2", nil)
	redeem("AAAA", now.Add(time.Hour), Expired)
	redeem("AAAA", now.Add(time.Hour-time.Millisecond), Redeemed)
	now = end
	reserve("m3", ErrExpired)
	redeem("DDDD", now, Expired)
	redeem("BBBB", now, Expired)
	terms.Expires, terms.Life = 0, 0
	set(terms)
	redeem("BBBB", now, Redeemed)
	reserve("m3", nil)
	update(t, d, func(tx *db.Tx) error { // m3's comes back, and lies behind the last
		_, err := GiveBack(tx, "m3")
		return err
	})
	reserve("m4", nil)
	drop := func(n int, want int64) {
		t.Helper()
		update(t, d, func(tx *db.Tx) error {
			left, err := Drop(tx, "p", n)
			if left != want {
				t.Errorf("%d left, want %d", left, want)
			}
			return err
		})
	}
	drop(2, 3)
	reserve("m5", ErrDropping)
	redeem("CCCC", now, Unknown)
	if err := d.Update(t.Context(), func(tx *db.Tx) error { _, _, err := Add(tx, "p", []string{"EEEE"}, nil); return err }); !errors.Is(err, ErrDropping) {
		t.Errorf("added while it is dropped: %v", err)
	}
	update(t, d, func(tx *db.Tx) error {
		list, next, err := Page(tx, "p", 0, 10)
		if len(list) != 2 || next != 0 {
			t.Errorf("page %v, %d", list, next)
		}
		return err
	})
	drop(10, 0)
	reserve("m5", ErrNoPool)
	update(t, d, func(tx *db.Tx) error { // what remains says only that m3 once had a code
		if n, err := Forget(tx, []string{"m3", "m1"}); n != 1 || err != nil {
			t.Errorf("forgot %d, %v", n, err)
		}
		for _, space := range []db.Space{poolSpace, slotSpace, codeSpace, midSpace} {
			if err := tx.Scan(space.Prefix(), nil, func(key, val []byte) (bool, error) {
				t.Errorf("row %q %q stays", key, val)
				return true, nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if p := set(Terms{}); p.Free != 4 || p.Total() != 4 || p.Dropping {
		t.Errorf("made anew: %+v", p)
	}
}
