package geo_test

import (
	"fmt"

	"footfall/geo"
)

func ExampleNewCircle() {
	store, err := geo.NewCircle(geo.Point{Lat: 50.4501, Lng: 30.5234}, 200)
	if err != nil {
		fmt.Println(err)
		return
	}
	phone := geo.Point{Lat: 50.4512, Lng: 30.5234}
	fmt.Println(store.Contains(phone))
	fmt.Printf("%.1f m from the centre, %.1f m to the edge\n", store.CenterDistanceM(phone), store.EdgeDistanceM(phone))
	// Output:
	// true
	// 122.4 m from the centre, -77.6 m to the edge
}

func ExampleNewPolygons() {
	ring := func(lat0, lng0, lat1, lng1 float64) []geo.Point {
		return []geo.Point{{Lat: lat0, Lng: lng0}, {Lat: lat0, Lng: lng1}, {Lat: lat1, Lng: lng1}, {Lat: lat1, Lng: lng0}, {Lat: lat0, Lng: lng0}}
	}
	mall, err := geo.NewPolygons([]geo.Polygon{{
		ring(50.450, 30.520, 50.454, 30.526), // outline
		ring(50.451, 30.522, 50.453, 30.524), // courtyard
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mall.Contains(geo.Point{Lat: 50.4505, Lng: 30.521}))
	fmt.Println(mall.Contains(geo.Point{Lat: 50.4520, Lng: 30.523}))
	fmt.Println(mall.Contains(geo.Point{Lat: 50.4520, Lng: 30.522})) // on the courtyard's edge
	// Output:
	// true
	// false
	// true
}

func ExampleIndex_Match() {
	var shapes []*geo.Shape
	for _, c := range []struct {
		at     geo.Point
		radius float64
	}{
		{geo.Point{Lat: 50.4501, Lng: 30.5234}, 200},
		{geo.Point{Lat: 50.4501, Lng: 30.5300}, 200},
		{geo.Point{Lat: 50.4501, Lng: 30.5234}, 5000},
	} {
		s, err := geo.NewCircle(c.at, c.radius)
		if err != nil {
			fmt.Println(err)
			return
		}
		shapes = append(shapes, &s)
	}
	index := geo.NewIndex(shapes)

	dst := make([]int32, 0, 8) // reused: Match does not allocate while it has room
	dst = index.Match(dst[:0], geo.Point{Lat: 50.4503, Lng: 30.5240})
	fmt.Println(dst)
	fmt.Println(index.MayContain(geo.Point{Lat: 48.8566, Lng: 2.3522}))
	// Output:
	// [0 2]
	// false
}

func ExampleCheckPolygon() {
	bowTie := geo.Polygon{{{Lat: 0, Lng: 0}, {Lat: 1, Lng: 1}, {Lat: 0, Lng: 1}, {Lat: 1, Lng: 0}, {Lat: 0, Lng: 0}}}
	for _, p := range geo.CheckPolygon(bowTie, 10) {
		if p.Kind.Ambiguous() {
			fmt.Printf("%v: %s\n", p.Kind, p.Detail)
		}
	}
	// Output:
	// self-crossing: the ring crosses itself at 0.5, 0.5 (after positions 0 and 2)
}

func ExampleCellAt() {
	cell := geo.CellAt(geo.Point{Lat: 55.7558, Lng: 37.6173}, 9)
	fmt.Println(cell, cell.Resolution(), cell.Parent(7))
	// Output:
	// 8911aa7abd3ffff 9 8711aa7abffffff
}

func ExampleDistanceM() {
	kyiv, lviv := geo.Point{Lat: 50.4501, Lng: 30.5234}, geo.Point{Lat: 49.8397, Lng: 24.0297}
	fmt.Printf("%.0f km\n", geo.DistanceM(kyiv, lviv)/1000)
	// Output:
	// 469 km
}

func ExampleShape_Crosses() {
	store, err := geo.NewCircle(geo.Point{Lat: 41.2995, Lng: 69.2401}, 200)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Two fixes 600 m apart, both outside: a drive past the door.
	a, b := geo.Point{Lat: 41.2995, Lng: 69.2365}, geo.Point{Lat: 41.2995, Lng: 69.2437}
	fmt.Println(store.Contains(a), store.Contains(b), store.Crosses(a, b))
	// Output:
	// false false true
}
