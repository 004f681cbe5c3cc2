package fences_test

import (
	"fmt"
	"os"

	"footfall/fences"
	"footfall/geo"
)

func ExampleParse() {
	text := `{"type":"FeatureCollection","features":[
  {"type":"Feature","id":"gulliver","properties":{"name":"Gulliver","radius":200,"tags":"kyiv,mall"},
   "geometry":{"type":"Point","coordinates":[30.5234,50.4387]}},
  {"type":"Feature","id":"arena","properties":{"radus":-200},
   "geometry":{"type":"Point","coordinates":[30.5214,50.4339]}}
]}`
	fs, findings := fences.Parse("stores.geojson", []byte(text), fences.Options{})
	fences.WriteText(os.Stdout, findings)
	fmt.Println(fences.Summarize(fs, findings))
	// Output:
	// stores.geojson:4:3: error E08: the Point has no radius; add "radius" in metres to its properties, or set a default radius   (arena)
	// stores.geojson:4:48: info I02: property "radus" is kept and not used; was "radius" meant?
	//     fix: Rename to radius
	// 1 fence (1 circle, 0 areas): 1 error, 0 warnings, 1 note; 1 can be fixed with --fix
}

func ExampleNewSet() {
	text := `{"type":"Feature","id":"gulliver","properties":{"radius":200},"geometry":{"type":"Point","coordinates":[30.5234,50.4387]}}`
	fs, _ := fences.Parse("stores.geojson", []byte(text), fences.Options{})
	set, err := fences.NewSet(fs, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range set.Match(nil, geo.Point{Lat: 50.4390, Lng: 30.5236}) {
		fmt.Println("inside", set.At(i).ID)
	}
	// Output: inside gulliver
}
