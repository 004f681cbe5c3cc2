package stream

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"footfall/fences"
	"footfall/geo"
	"footfall/stream/wire"
	"footfall/track"
)

// TestCoarsePositionsCoverTheTrueOne: wherever on Earth, the accuracy that a coarse position comes with reaches to where the
// phone was, and two phones in one cell are not told apart.
func TestCoarsePositionsCoverTheTrueOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 2))
	for res := MinCoarse; res <= MaxCoarse; res++ {
		p := Positions{Mode: PositionsCoarse, Resolution: res}
		farthest := 0.0
		for range 4_000 {
			was := geo.Point{Lat: math.Asin(2*rng.Float64()-1) * 180 / math.Pi, Lng: 360*rng.Float64() - 180}
			f := track.Fix{HasPosition: true, Lat: was.Lat, Lng: was.Lng, AccuracyM: 7, SpeedMPS: 1}
			if code := p.Reduce(&f); code != "" {
				t.Fatal(code)
			}
			at := geo.Point{Lat: f.Lat, Lng: f.Lng}
			off := geo.DistanceM(was, at)
			if farthest = max(farthest, off); off > float64(f.AccuracyM)-7 {
				t.Fatalf("resolution %d: %v became %v ±%.0f m, %.0f m away", res, was, at, f.AccuracyM, off)
			}
			if geo.CellAt(at, res) != geo.CellAt(was, res) || f.SpeedMPS >= 0 {
				t.Fatalf("resolution %d: %v became %+v", res, was, f)
			}
		}
		if bound := geo.CellRadiusM(res); farthest < 0.7*bound {
			t.Errorf("resolution %d: nothing was farther than %.0f m; %.0f m is too careful", res, farthest, bound)
		}
	}
}

// TestPositionsStayOut: in no file of the gateway is there a position that privacy.positions does not allow, and campaigns
// go on by what phones report. With exact positions the same search finds it, in the log and in the ledger.
func TestPositionsStayOut(t *testing.T) {
	const lat, lng = 50.4503217, 30.5231893 // in k01
	for _, mode := range []PositionMode{PositionsExact, PositionsCoarse, PositionsNone} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.tune = func(c *Config) { c.Ingest.Positions = Positions{Mode: mode, Resolution: 9} }
			r.start()
			r.register("d1")
			answer := r.ask("ping.shop.d1", ping(noon, lat, lng))
			if refused := strings.Contains(answer, string(wire.CodeNoPositions)); refused != (mode == PositionsNone) {
				t.Errorf("a position was answered %s", answer)
			}
			if mode != PositionsExact { // 200 m is too small for a coarse position, so nobody is pushed before the phone says so
				r.settle()
				if n := len(r.provider.pushes()); n != 0 {
					t.Errorf("%d pushes", n)
				}
				word := ping(noon.Add(2e9), lat, lng)
				word["src"], word["fence"] = "os_enter", "k01"
				r.mustAsk("ping.shop.d1", word)
			}
			r.await("the push", func() bool { return len(r.provider.pushes()) == 1 })
			if mode == PositionsNone {
				ex, err := r.gw.Explain(t.Context(), "shop.d1", 0, 0)
				if err != nil || len(ex.Decisions) != 1 || ex.Decisions[0].Fix.Cell != "" || len(ex.Decisions[0].Candidates) != 0 || ex.Decisions[0].Fence != fences.ID("k01") {
					t.Errorf("%+v, %v", ex.Decisions, err)
				}
				if n := r.gw.Status().Stats.Refused[string(wire.CodeNoPositions)]; n != 1 {
					t.Errorf("%d positions counted as refused", n)
				}
			}
			r.halt()
			latE7, lngE7 := track.RoundE7(lat, lng)
			pattern := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(latE7)), uint32(lngE7))
			found := map[string]bool{}
			err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := os.ReadFile(path)
				if bytes.Contains(data, pattern) || bytes.Contains(data, []byte("50.450321")) || bytes.Contains(data, []byte("30.523189")) {
					part, _, _ := strings.Cut(strings.TrimPrefix(path, r.dir+"/"), "/")
					found[part] = true
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := mode == PositionsExact; found["nats"] != want || found["ledger"] != want {
				t.Errorf("the position is in %v", found)
			}
		})
	}
}
