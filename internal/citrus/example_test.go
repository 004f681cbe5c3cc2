package citrus_test

import (
	"fmt"

	"footfall/internal/citrus"
)

// The full day, and what has to come of it.
func ExampleNew() {
	day := citrus.New(citrus.Config{Seed: 1, FarAway: citrus.FarInFull})
	t := day.Totals()
	fmt.Printf("%d people, %d of them enter, %d entries\n", t.People, t.Entered, t.Entries)
	fmt.Printf("%d notices: %.2f %%\n", t.Notices, 100*float64(t.Notices)/float64(t.People))
	fmt.Println("held:", t.Held)
	// Output:
	// 76000 people, 3100 of them enter, 3850 entries
	// 2600 notices: 3.42 %
	// held: map[already_claimed:730 ended:100 not_started:140 opted_out:150 overlap:20 stale:150]
}
