package audience

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"footfall/internal/db"
	"footfall/internal/dice"
)

func openDB(t *testing.T) *db.DB {
	t.Helper()
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func update(t *testing.T, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestLedgerRoundTrip(t *testing.T) {
	d := openDB(t)
	want := Profile{
		Device: "shop.d1", Person: "u1", Platform: "android", Token: "tok", Env: "sandbox", Locale: "uk-UA", Zone: "Europe/Kyiv",
		Tags:            map[string]any{"s": "x", "n": 0.1, "b": false, "l": []string{"a", "b"}, "empty": []string{}},
		ConsentLocation: new(true), ConsentPush: new(false), SDK: "1", OS: "16", TokenAt: 1_795_000_000_123, UpdatedAt: 1_795_000_000_456, TokenDead: true,
	}
	update(t, d, func(tx *db.Tx) error { return Put(tx, &want) })
	err := d.View(func(tx *db.Tx) error {
		got, ok, err := Get(tx, "shop.d1")
		if err != nil || !ok {
			return fmt.Errorf("found %v: %w", ok, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, ok, err := Get(tx, "shop.d2"); ok || err != nil {
			t.Errorf("a device that is not there: %v %v", ok, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	update(t, d, func(tx *db.Tx) error {
		if err := Put(tx, &Profile{}); err == nil {
			t.Error("a profile without a device was stored")
		}
		return nil
	})
}

func TestLedgerRefusesWhatItCannotRead(t *testing.T) {
	d := openDB(t)
	for name, row := range map[string][]byte{"empty": {}, "newer": {2, '{', '}'}, "damaged": {1, '{'}, "wrong tag": append([]byte{1}, `{"g":{"a":[1]}}`...)} {
		update(t, d, func(tx *db.Tx) error { return tx.Set(profileSpace.Key([]byte("shop.d1")), row) })
		err := d.View(func(tx *db.Tx) error {
			_, ok, err := Get(tx, "shop.d1")
			if ok {
				t.Errorf("%s: found", name)
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "shop.d1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDevicesOfAgainstModel: whatever is put and erased, in whatever order, the
// lists of devices are those that a scan of the profiles gives. Names are such
// that one is the beginning of another.
func TestDevicesOfAgainstModel(t *testing.T) {
	d := openDB(t)
	seed := dice.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 7))
	people := []string{"", "u", "u1", "u1\x00", "u11"}
	devices := []string{"shop.d", "shop.d1", "shop.d11", "shop2.d1"}
	model := map[string]string{} // device -> person
	for range 400 {
		dev, person := devices[rnd.IntN(len(devices))], people[rnd.IntN(len(people))]
		erase := rnd.IntN(4) == 0
		undo := rnd.IntN(5) == 0
		errUndo := errors.New("undo")
		err := d.Update(context.Background(), func(tx *db.Tx) error {
			var err error
			if erase {
				err = Erase(tx, dev)
			} else {
				err = Put(tx, &Profile{Device: dev, Person: person})
			}
			if err == nil && undo {
				return errUndo
			}
			return err
		})
		switch {
		case undo && errors.Is(err, errUndo):
		case err != nil:
			t.Fatal(err)
		case erase:
			delete(model, dev)
		default:
			model[dev] = person
		}
		err = d.View(func(tx *db.Tx) error {
			for _, person := range people[1:] {
				var want []string
				for dev, p := range model {
					if p == person {
						want = append(want, dev)
					}
				}
				slices.Sort(want)
				got, err := DevicesOf(tx, person)
				if err != nil {
					return err
				}
				if !slices.Equal(got, want) {
					return fmt.Errorf("devices of %q: %v, want %v", person, got, want)
				}
			}
			for _, dev := range devices {
				p, ok, err := Get(tx, dev)
				if want, there := model[dev]; err != nil || ok != there || p.Person != want {
					return fmt.Errorf("%s: %v %q %w, want %v %q", dev, ok, p.Person, err, there, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
