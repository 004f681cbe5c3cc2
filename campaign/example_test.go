package campaign_test

import (
	"fmt"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/fences"
	"footfall/geo"
	"footfall/track"
)

// khreshchatyk is a store of 200 m in Kyiv, as package fences would load it.
func khreshchatyk() *fences.Fence {
	shape, err := geo.NewCircle(geo.Point{Lat: 50.4501, Lng: 30.5234}, 200)
	if err != nil {
		panic(err)
	}
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		panic(err)
	}
	return &fences.Fence{ID: "k01", Name: "Хрещатик", Store: "k01", Tags: []string{"kyiv"}, Zone: "Europe/Kyiv", Location: kyiv, Shape: shape}
}

// enter is a device that comes in at a time.
func enter(f *fences.Fence, at time.Time) *track.Transition {
	ms := at.UnixMilli()
	return &track.Transition{
		Kind: track.Enter, Fence: f, FenceID: f.ID, At: ms, ConfirmedAt: ms, EnteredAt: ms, Confidence: 3, CenterDistanceM: 142, EdgeDistanceM: -58,
		Fix: track.Fix{FixedAt: ms, ReceivedAt: ms, AccuracyM: 12, HasPosition: true},
	}
}

// Load a file of campaigns, decide about an entry and fill the push.
func Example() {
	list, err := campaign.Load("testdata/kyiv.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := campaign.NewSet(list)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := khreshchatyk()
	tr := enter(store, time.Date(2026, 11, 28, 12, 30, 0, 0, store.Location))
	profile := &audience.Profile{Device: "shop.4f2a", Person: "1001", Platform: "ios", Token: "…", Locale: "uk-UA", Tags: map[string]any{"name": "Оксано"}}
	in := campaign.Input{Tr: tr, Profile: profile, Now: time.UnixMilli(tr.At)}

	for _, c := range set.For(nil, tr) {
		d := c.Decide(in, false)
		fmt.Println(d.String())
		fmt.Println(d.Key.Campaign, d.Key.Subject, d.Key.Period)

		content, err := c.Render(profile.Locale, campaign.NewContext(c, in, in.Now))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(content.Title)
		fmt.Println(content.Subtitle)
		fmt.Println(content.Body)
		fmt.Println(content.Link)
	}
	// Output:
	// kyiv-18th-anniversary: propose 2026-11-28 at k01 until 2026-11-28T10:45:00Z
	// kyiv-18th-anniversary p:1001 2026-11-28
	// Нам 18! Святкуйте з нами
	// Хрещатик
	// Оксано, ви зовсім поруч: до каси 142 метри. Знижка 18% на все до 21:00.
	// shop://store/k01?campaign=kyiv-18th-anniversary
}

// Why did this person get no push? The same function answers, with the numbers.
func ExampleCampaign_Decide_explain() {
	list, err := campaign.Load("testdata/kyiv.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	store := khreshchatyk()
	tr := enter(store, time.Date(2026, 11, 28, 9, 40, 0, 0, store.Location))
	profile := &audience.Profile{Device: "shop.4f2a", Platform: "ios", Token: "…", ConsentPush: new(false)}
	d := list[0].Decide(campaign.Input{Tr: tr, Profile: profile, Now: time.UnixMilli(tr.At).Add(2 * time.Second)}, true)
	fmt.Println(d.String())
	for _, c := range d.Checks {
		mark := "ok"
		if !c.OK {
			mark = "NO"
		}
		fmt.Printf("%s %-10s %s\n", mark, c.Rule, c.Detail)
	}
	// Output:
	// kyiv-18th-anniversary: held (not_started)
	// ok trigger    enter at k01; the campaign waits for enter of tag kyiv
	// ok enabled    the campaign is enabled
	// ok paused     the campaign is running
	// ok trusted    the position is not marked as simulated
	// ok fence_edit the device moved, not the fence
	// ok initial    not the first position
	// ok confidence confidence 3 of 3, at least 0 is asked for; -58 m from the edge, accuracy 12 m
	// NO window     it was Sat 2026-11-28 09:40:00 +02:00 (Europe/Kyiv); open from 2026-11-28T10:00:00, to 2026-11-28T21:00:00, sat, 10:00-21:00, store time; it opens Sat 2026-11-28 10:00:00 +02:00, and closed: drop does not wait
	// ok fresh      the fix was 2s old on arrival; at most 10m0s
	// ok ttl        worth showing for 15m0s, until 2026-11-28T09:55:00+02:00; arrived 2026-11-28T09:40:02+02:00
	// NO consent    push: refused, location: not said, so allowed
	// ok token      a token for ios
	// NO claim      once a day of the store, period 2026-11-28, for d:shop.4f2a; not asked for
}

// Everything that is wrong with a file is reported at once, where it is.
func ExampleParse_errors() {
	_, err := campaign.Parse("sale.yaml", []byte(`campaign: autumn-sale
triger: {enter: {fences: {tag: kyiv}}}
window:
  hours: "10:00-25:00"
steps:
  - push: {template: sale}
templates:
  sale:
    locales:
      en: {title: "Hi {{ persn.id }}"}
`))
	for _, e := range campaign.Errors(err) {
		fmt.Printf("%d:%d %s: %s (%s)\n", e.Line, e.Col, e.Code, e.Msg, e.Hint)
	}
	// Output:
	// 1:1 missing: "trigger" is missing (such as trigger: {enter: {fences: {tag: kyiv}}})
	// 2:1 unknown_key: unknown key "triger" in a campaign (did you mean "trigger"?)
	// 4:17 hours: hours: "10:00-25:00" ends with "25:00", which is not a time of day (00:00 to 24:00)
	// 10:26 variable: title: there is no variable "persn" (did you mean "person"?)
}
