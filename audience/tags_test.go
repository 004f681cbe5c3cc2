package audience

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"footfall/internal/db"
)

// TestTagsOfPersons goes through every way in which tags, people and devices can meet, beside a plain model.
func TestTagsOfPersons(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	d := openDB(t)
	users := []string{"", "olena", "taras"}
	devices := []string{"shop.a", "shop.b", "shop.c"}
	names := []string{"loyalty", "city", "vip"}
	tags := map[string]map[string]any{} // of subjects
	signed := map[string]string{}       // device -> person
	subject := func(device string) string {
		if p := signed[device]; p != "" {
			return "p:" + p
		}
		return "d:" + device
	}
	set := func(subject, name string, v any) {
		if tags[subject] == nil {
			tags[subject] = map[string]any{}
		}
		if v == nil {
			delete(tags[subject], name)
		} else {
			tags[subject][name] = v
		}
	}
	for step := range 600 {
		device, name := devices[rng.IntN(len(devices))], names[rng.IntN(len(names))]
		var v any
		if rng.IntN(4) > 0 {
			v = fmt.Sprint("v", step)
		}
		patch := map[string]any{}
		switch rng.IntN(4) {
		case 0: // the API, by person
			user := users[1+rng.IntN(2)]
			body, _ := json.Marshal(map[string]any{name: v})
			err := d.Update(t.Context(), func(tx *db.Tx) error { _, err := SetUserTags(tx, "p:"+user, body); return err })
			if err != nil {
				t.Fatal(err)
			}
			set("p:"+user, name, v)
		case 1: // the app says who it is
			user := users[rng.IntN(len(users))]
			patch["user"] = nil
			if user != "" {
				patch["user"] = user
			}
			from := subject(device)
			guest := signed[device] == ""
			signed[device] = user
			if to := subject(device); to != from && guest {
				for n, v := range tags[from] {
					if _, has := tags[to][n]; !has {
						set(to, n, v)
					}
				}
				delete(tags, from)
			}
			if rng.IntN(2) == 0 { // and tags, which are of whoever it is then
				patch["user_tags"] = map[string]any{name: v}
				set(subject(device), name, v)
			}
		default:
			patch["user_tags"] = map[string]any{name: v}
			set(subject(device), name, v)
		}
		if len(patch) > 0 {
			body, _ := json.Marshal(patch)
			err := d.Update(t.Context(), func(tx *db.Tx) error {
				p, _, err := Get(tx, device)
				if err != nil {
					return err
				}
				p.Device = device
				if _, err := Update(tx, &p, body, int64(step)); err != nil {
					return err
				}
				return Put(tx, &p)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err := d.View(func(tx *db.Tx) error {
			for _, device := range devices {
				p, known, err := Get(tx, device)
				if err != nil {
					return err
				}
				if !known {
					continue
				}
				if got, want := len(p.AllTags()), len(tags[subject(device)]); got != want {
					return fmt.Errorf("seed %d, step %d, %s: %d tags, want %d", seed, step, device, got, want)
				}
				for n, v := range tags[subject(device)] {
					if p.AllTags()[n] != v {
						return fmt.Errorf("seed %d, step %d, %s as %s: %s is %v, want %v", seed, step, device, subject(device), n, p.AllTags()[n], v)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestUserTags: a person's tag counts before the device's own of the name, for rules too; what is wrong changes nothing.
func TestUserTags(t *testing.T) {
	d := openDB(t)
	update := func(device, patch string) error {
		return d.Update(t.Context(), func(tx *db.Tx) error {
			p, _, err := Get(tx, device)
			if err != nil {
				return err
			}
			p.Device = device
			if _, err := Update(tx, &p, []byte(patch), 1); err != nil {
				return err
			}
			return Put(tx, &p)
		})
	}
	for _, s := range [][2]string{
		{"shop.a", `{"user":"olena","tags":{"loyalty":"silver","app":"2.1"},"user_tags":{"loyalty":"gold","groups":["press"]}}`},
		{"shop.b", `{"user":"olena","tags":{"app":"1.0"}}`},
		{"shop.c", `{"user":"taras"}`},
	} {
		if err := update(s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	rule, err := ParseRule(`tags.loyalty == "gold" && "press" in tags.groups && tags.app != "3"`)
	if err != nil {
		t.Fatal(err)
	}
	var n Count
	if err := d.View(func(tx *db.Tx) (err error) {
		n, err = CountRule(t.Context(), tx, rule, time.UnixMilli(1), 9)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if n.Fitting != 2 || n.People != 1 || n.Devices != 3 {
		t.Errorf("counted %+v", n)
	}
	for _, patch := range []string{`{"user_tags":7}`, `{"user_tags":{"a":{}}}`, `{"user_tags":{"":1}}`, `{"user_tags":{"loyalty":"iron","x":[1]}}`} {
		if err := update("shop.b", patch); !errors.Is(err, ErrPatch) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	many := map[string]any{}
	for i := range MaxTags {
		many[fmt.Sprint("t", i)] = i
	}
	body, _ := json.Marshal(map[string]any{"user_tags": many})
	if err := update("shop.b", string(body)); !errors.Is(err, ErrPatch) { // with the two that are there
		t.Errorf("%d more: %v", MaxTags, err)
	}
	_ = d.View(func(tx *db.Tx) error {
		p, _, err := Get(tx, "shop.b")
		if err != nil || p.AllTags()["loyalty"] != "gold" || len(p.UserTags) != 2 || p.AllTags()["app"] != "1.0" {
			t.Errorf("%+v, %v", p, err)
		}
		return nil
	})
	// Again is no change; a sign-in with more guest tags than there is room for is no failure.
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		again, err := SetUserTags(tx, "p:olena", json.RawMessage(`{"loyalty":"gold","none":null,"groups":["press"]}`))
		if again {
			t.Error("setting the same again is a change")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := update("shop.d", string(body)); err != nil {
		t.Fatal(err)
	}
	if err := update("shop.d", `{"user":"olena"}`); err != nil {
		t.Fatal(err)
	}
	_ = d.View(func(tx *db.Tx) error {
		p, _, _ := Get(tx, "shop.b")
		if len(p.UserTags) != MaxTags || p.UserTags["loyalty"] != "gold" {
			t.Errorf("%d tags, loyalty %v", len(p.UserTags), p.UserTags["loyalty"])
		}
		if guest, _ := UserTags(tx, "d:shop.d"); guest != nil {
			t.Errorf("the guest still has %d tags", len(guest))
		}
		return nil
	})
}

// TestFitsAsTheProfileSays: the tags of a person are those of the profile that is asked about, for all their devices: one from before
// a change says what was, although the ledger has the change.
func TestFitsAsTheProfileSays(t *testing.T) {
	d := openDB(t)
	rule, err := ParseRule(`tags.loyalty == "gold"`)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		for _, id := range []string{"shop.a", "shop.b"} {
			if err := Put(tx, &Profile{Device: id, Person: "u1"}); err != nil {
				return err
			}
		}
		before, _, err := Get(tx, "shop.a")
		if err != nil {
			return err
		}
		if _, err := SetUserTags(tx, "p:u1", []byte(`{"loyalty":"gold"}`)); err != nil {
			return err
		}
		after, _, err := Get(tx, "shop.a")
		if err != nil {
			return err
		}
		for want, p := range map[bool]*Profile{false: &before, true: &after} {
			if _, fits, err := Fits(tx, rule, p, 0); fits != want || err != nil {
				t.Errorf("with the tags %v: fits %v, %v", p.UserTags, fits, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
