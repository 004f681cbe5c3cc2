package geo

import (
	"encoding/json"
	"fmt"
	"testing"
)

// feature is a polygonal feature of a test file.
type feature struct {
	id    string
	polys []Polygon
}

// dataAreas reads the polygons of a GeoJSON file of the test data.
func dataAreas(t testing.TB, name string) []feature {
	t.Helper()
	var doc struct {
		Features []struct {
			ID       any
			Geometry struct {
				Type        string
				Coordinates json.RawMessage
			}
		}
	}
	if err := json.NewDecoder(dataFile(t, name)).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	var out []feature
	for i, f := range doc.Features {
		var raw [][][][]float64
		switch f.Geometry.Type {
		case "Polygon":
			raw = make([][][][]float64, 1)
			if err := json.Unmarshal(f.Geometry.Coordinates, &raw[0]); err != nil {
				t.Fatal(err)
			}
		case "MultiPolygon":
			if err := json.Unmarshal(f.Geometry.Coordinates, &raw); err != nil {
				t.Fatal(err)
			}
		default:
			continue
		}
		ft := feature{id: fmt.Sprint(i, " ", f.ID)}
		for _, rings := range raw {
			var poly Polygon
			for _, ring := range rings {
				var r []Point
				for _, c := range ring {
					r = append(r, Point{c[1], c[0]})
				}
				poly = append(poly, r)
			}
			ft.polys = append(ft.polys, poly)
		}
		out = append(out, ft)
	}
	return out
}
