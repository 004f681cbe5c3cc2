package fences

import (
	"path/filepath"
	"testing"
)

// BenchmarkParse reads real files: bytes of text per second, checks included.
func BenchmarkParse(b *testing.B) {
	dir := dataDir(b, "fences")
	for _, name := range []string{"us_target", "sf_neighborhoods", "nyc_taxi_zones", "osm_buildings_li_bayreuth", "world_cities_points", "world_countries_10m"} {
		b.Run("file="+name, func(b *testing.B) {
			data, err := read(filepath.Join(dir, name+".geojson.gz"), 1<<30)
			if err != nil {
				b.Fatal(err)
			}
			o := Options{DefaultRadiusM: 200, IDKey: IDKeyIndex, SkipInvalid: true}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if fs, _ := Parse(name, data, o); len(fs) == 0 {
					b.Fatal("no fences")
				}
			}
		})
	}
}
