package stream

import (
	"slices"
	"testing"

	"footfall/internal/db"
)

// Whom the rows of a key space name.
const (
	// named: a device or a person. TestForget leaves a row in each of them, and none may be left.
	named = "named"
	// passing: likewise, for moments only, so that no test can wait for one.
	passing = "passing"
	// linked: a message, and so whom it was for until the delivery is gone.
	linked = "linked"
	nobody = "nobody"
)

// spaces says of every key space whether it holds personal data. Whoever adds one decides here, and erases and exports what is
// named or linked.
var spaces = map[string]string{
	"stream.progress":     nobody,
	"stream.presence":     named,
	"stream.withdrawn":    named,
	"stream.erasures":     passing,
	"profiles":            named,
	"claims":              named,
	"deliveries":          named,
	"finished deliveries": linked, "delivery ready index": named, "delivery leases": linked, "damaged delivery leases": linked, "deliveries waiting for apps": named,
	"stream.events":         passing, // until EVENTS has them
	"stream.decisions":      named,
	"stream.catalogue":      nobody, // of fences
	"person devices":        named,
	"stream.funnel":         nobody,
	"stream.seen":           nobody, // hashes of events
	"stream.stopped":        nobody,
	"stream.badges":         named,
	"receipts":              linked,
	"receipt codes":         linked,
	"sends":                 named,
	"visits":                named,
	"customer events":       named,
	"stream.plans":          named, // how far an announcement has come
	"journey runs":          named,
	"journey timers":        named,
	"journey parked":        named,
	"journey versions":      nobody,
	"journey counts":        nobody,
	"stream.journeys":       nobody,
	"segment members":       named,
	"segment watches":       named, // how far a first look has come
	"segment checks":        passing,
	"journey versions used": nobody,
	"voucher pools":         nobody,
	"voucher slots":         nobody,
	"voucher codes":         linked,
	"voucher pushes":        linked,
	"open hours":            named,
	"reach":                 nobody, // see docs/privacy.md
	"reach days":            nobody,
	"reach key":             nobody,
	"person tags":           named,
	"forecasts":             nobody,
	"report entries":        named,
	"report outcomes":       linked,
	"subscriptions":         named,
}

func TestEverySpaceSaysWhomItNames(t *testing.T) {
	var there []string
	for _, s := range db.Spaces() {
		there = append(there, s.Name())
		if spaces[s.Name()] == "" {
			t.Errorf("does %q hold personal data? Say so here; if it does, Forget erases it and Export has it", s.Name())
		}
	}
	for name := range spaces {
		if !slices.Contains(there, name) {
			t.Errorf("there is no space %q", name)
		}
	}
}

// wantTraces checks that something of somebody is in each space that names people, and in no other one.
func (r *rig) wantTraces(words ...string) {
	r.t.Helper()
	for _, s := range db.Spaces() {
		found := false
		err := r.db.View(func(tx *db.Tx) error {
			return tx.Scan(s.Prefix(), nil, func(key, val []byte) (bool, error) {
				found = found || holds(key, words) || holds(val, words)
				return !found, nil
			})
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if class := spaces[s.Name()]; class == named && !found || (class == linked || class == nobody) && found {
			r.t.Errorf("%q, which is said to be %s: somebody is named: %v", s.Name(), class, found)
		}
	}
}
