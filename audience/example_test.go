package audience_test

import (
	"fmt"

	"footfall/audience"
)

// A phone registers, then sends only what changes.
func ExampleProfile_Merge() {
	p := audience.Profile{Device: "shop.4f2a"}
	fmt.Println(p.Subject(), p.Reachable())

	err := p.Merge([]byte(`{"user":"1001","platform":"ios","token":"c0ffee","locale":"uk_UA","tags":{"loyalty":"gold","visits":3}}`), 1_795_000_000_000)
	fmt.Println(err, p.Subject(), p.Reachable(), p.Locale, p.Tags)

	err = p.Merge([]byte(`{"tags":{"visits":4,"loyalty":null},"consent":{"push":false}}`), 1_795_000_060_000)
	fmt.Println(err, p.Tags, p.MayPush())

	fmt.Println(p.Merge([]byte(`{"platform":"iphone"}`), 1_795_000_120_000))
	// Output:
	// d:shop.4f2a false
	// <nil> p:1001 true uk-UA map[loyalty:gold visits:3]
	// <nil> map[visits:4] false
	// platform: not allowed: "iphone"; allowed: ios, android, web or hms
}
