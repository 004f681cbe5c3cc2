package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/uber/h3-go/v4"

	"footfall/bench/measure"
	"footfall/bench/world"
	"footfall/geo"
)

// h3Map is the naive twin: a built-in map by H3 cell of resolution 9, then haversine.
func h3Map(shapes []*geo.Shape) func(geo.Point) int {
	cells := map[h3.Cell][]int32{}
	for i, s := range shapes {
		for _, c := range geo.Cover(s) {
			cells[h3.Cell(c.Cell)] = append(cells[h3.Cell(c.Cell)], int32(i))
		}
	}
	return func(p geo.Point) (n int) {
		c, err := h3.LatLngToCell(h3.LatLng{Lat: p.Lat, Lng: p.Lng}, 9)
		if err != nil {
			return 0
		}
		for _, i := range cells[c] {
			if world.HaversineM(p, shapes[i].Center()) <= world.FenceM {
				n++
			}
		}
		return n
	}
}

// BenchmarkContainment is the question which fences contain a point, for devices that
// walk near fences and for the taxis of San Francisco among 1,000 of their own haunts.
func BenchmarkContainment(b *testing.B) {
	for _, c := range []struct{ fences, devices int }{{10_000, 10_000}, {100_000, 10_000}, {100_000, 100_000}} {
		b.Run(fmt.Sprintf("fences=%d/devices=%d", c.fences, c.devices), func(b *testing.B) {
			shapes := world.Stores(c.fences)
			ps := world.ClearOfEdges(world.Walkers(shapes, c.devices, 400_000/c.devices), shapes)
			r := world.Containment(b, shapes, ps, world.Peer{Name: "h3map", Count: h3Map(shapes)})
			if c.fences == 100_000 && c.devices == 100_000 {
				measure.AtMost(b, "containment, 100,000 fences, in batches / h3-go + map + haversine", r.Of("batch", "h3map"), 0.02, "")
				measure.AtMost(b, "containment, 100,000 fences, one at a time / h3-go + map + haversine", r.Of("single", "h3map"), 0.02, "")
			}
		})
	}
	b.Run("cabs/fences=1000", func(b *testing.B) {
		ps := world.Cabs(b)
		at := make([]geo.Point, 1000)
		for i := range at {
			at[i] = ps[i*len(ps)/len(at)]
		}
		shapes := world.Circles(at)
		world.Containment(b, shapes, world.ClearOfEdges(ps, shapes), world.Peer{Name: "h3map", Count: h3Map(shapes)})
	})
}

// BenchmarkPeers runs the benchmarks of ./peers, a module of its own, and takes over
// their rows of the table. It is skipped where its modules cannot be had.
func BenchmarkPeers(b *testing.B) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		b.Skip("the peers are not measured: there is no go command")
	}
	rows := filepath.Join(b.TempDir(), "rows")
	test := filepath.Join(b.TempDir(), "peers.test")
	build := exec.CommandContext(b.Context(), goTool, "test", "-c", "-o", test, ".")
	build.Dir = "peers"
	if out, err := build.CombinedOutput(); err != nil {
		b.Skipf("the peers are not measured: %v: %v\n%s", build, err, out)
	}
	for b.Loop() {
		run := exec.CommandContext(b.Context(), test, "-test.run", "^$", "-test.bench", ".", "-test.benchtime", flag.Lookup("test.benchtime").Value.String())
		run.Dir = "peers"
		run.Env = append(os.Environ(), measure.RowsFile+"="+rows)
		run.Stdout, run.Stderr = os.Stdout, os.Stderr
		if err := run.Run(); err != nil {
			b.Fatal(err)
		}
		measure.Import(b, rows)
	}
	b.ReportMetric(0, "ns/op")
}
