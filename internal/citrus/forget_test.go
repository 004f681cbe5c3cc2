package citrus

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/internal/db"
	"footfall/internal/stage"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

// erasedAs says of each part of an export under which kinds the receipt of an erasure lists it.
var erasedAs = map[string][]string{
	"devices":       {"profiles", "presence", "visits", "hours of opens"},
	"decisions":     {"decisions"},
	"deliveries":    {"deliveries and their indexes", "receipts and codes"},
	"claims":        {"claims"},
	"sends":         {"pushes sent, for caps"},
	"entries":       {"entries of reports", "outcomes of reports"},
	"subscriptions": {"subscriptions, which lose their name"},
}

// forgetOne starts the gateway of a day that has been played again, and forgets one who came, was notified, opened and bought: the
// export has what the receipt then lists (so it is there before), and neither the ledger nor EVENTS nor the log names them any more, not even by the
// id of a push.
func forgetOne(t *testing.T, r *result, set *stage.Settings, clock *stage.Clock) {
	t.Helper()
	i := slices.IndexFunc(r.stored, buyer)
	if i < 0 {
		t.Fatal("nobody was notified and bought")
	}
	p := &r.day.People[i]
	g, err := stage.Open(set, clock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	who := stream.Someone{Person: p.User}
	words := [][]byte{[]byte(p.Device), []byte(p.User), []byte(p.Token)}
	kinds := map[string]bool{}
	for _, part := range stream.ExportParts() {
		var x stream.Export
		err := g.DB.View(func(tx *db.Tx) (err error) {
			x, err = stream.ExportFrom(tx, track.DefaultRules(), stream.ExportRequest{Someone: who, Part: part})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if x.Rows(part) > 0 {
			for _, kind := range erasedAs[part] {
				kinds[kind] = true
			}
		} else if erasedAs[part] != nil {
			t.Errorf("the export has no %s", part)
		}
		for _, d := range x.Deliveries {
			words = append(words, []byte(d.MID))
		}
	}
	f, err := g.Forget(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v", p.User, f.Summary())
	for kind := range kinds {
		if f.Erased[kind] == 0 {
			t.Errorf("the export had what is %q on a receipt, and this one has none: %v", kind, f.Erased)
		}
	}
	for kind := range f.Erased { // what the receipt lists the export had, but for where it merely passes
		if !kinds[kind] && !slices.Contains([]string{"events", "log batches"}, kind) {
			t.Errorf("%q was erased, and nothing of it was in the export", kind)
		}
	}
	if left := traces(t, g, words); len(left) > 0 {
		t.Errorf("%s is still named in %v", p.User, left)
	}
}

// buyer reports whether somebody's push was opened and followed by a purchase.
func buyer(e stream.Explanation) bool {
	for _, d := range e.Deliveries {
		opened, bought := false, false
		for _, f := range d.Receipts {
			opened, bought = opened || f.Ev == "opened", bought || f.Ev == "converted"
		}
		if opened && bought {
			return true
		}
	}
	return false
}

// traces counts where one of the words stands: in rows of a key space, in messages of a stream.
func traces(t *testing.T, g *stage.Gateway, words [][]byte) map[string]int {
	t.Helper()
	found := map[string]int{}
	has := func(data []byte) bool {
		return slices.ContainsFunc(words, func(w []byte) bool { return bytes.Contains(data, w) })
	}
	err := g.DB.View(func(tx *db.Tx) error {
		for _, s := range db.Spaces() {
			err := tx.Scan(s.Prefix(), nil, func(key, val []byte) (bool, error) {
				if has(key) || has(val) {
					found[s.Name()]++
				}
				return true, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	nc, other := g.Server.Connect("traces")
	if err = errors.Join(err, other); err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	streams := []string{wire.EventsStream}
	for p := range stream.Partitions {
		streams = append(streams, wire.LogStream(p))
	}
	for _, name := range streams {
		err := readStream(ctx, js, name, func(m jetstream.Msg) error {
			if has(m.Data()) || has([]byte(m.Subject())) {
				found[name]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
