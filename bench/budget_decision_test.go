package bench

import (
	"testing"

	"footfall/bench/world"
	"footfall/fences"
)

// The decision for pings of known devices near fences, from the bytes in which they come.
var decisionOperations = map[string]operation{
	"decision/compact/fences=100":   func(tb testing.TB) func(int) { return known(newCompact(walking(tb, 100))) },
	"decision/compact/fences=20000": func(tb testing.TB) func(int) { return known(newCompact(walking(tb, 20_000))) },
	"decision/compact/uuid": func(tb testing.TB) func(int) {
		set, f := walking(tb, 100)
		return known(newCompact(set, newFleet(uuids(len(f.ids)), f.at)))
	},
	// One fence in a hundred may be crossed: only pings about those pay for them.
	"decision/compact/crossed": func(tb testing.TB) func(int) {
		shapes := world.Stores(20_000)
		fs := fenceList(shapes)
		for i := range fs {
			fs[i].Crossed = i%100 == 0
		}
		set, err := fences.NewSet(fs, nil)
		if err != nil {
			tb.Fatal(err)
		}
		return known(newCompact(set, newFleet(deviceIDs(budgetDevices), world.Walkers(shapes, budgetDevices, 1+maxOps/budgetDevices))))
	},
	"decision/json/fences=100": func(tb testing.TB) func(int) {
		set, f := walking(tb, 100)
		return known(newSingle(set, f.withJSON()))
	},
}

// Such that the table has the load that tables have on average, 0.75.
const budgetDevices = 1536

func walking(tb testing.TB, fenceCount int) (*fences.Set, *fleet) {
	shapes := world.Stores(fenceCount)
	return fenceSet(tb, shapes), newFleet(deviceIDs(budgetDevices), world.Walkers(shapes, budgetDevices, 1+maxOps/budgetDevices))
}

// known makes every device known.
func known(d interface{ run(n int) }) func(int) {
	d.run(budgetDevices)
	return d.run
}
