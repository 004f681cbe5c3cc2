package load

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"footfall/geo"
)

func testConfig(t testing.TB, profile string, change func(*Config)) Config {
	t.Helper()
	c := Config{Profile: profile, Seed: 7, Rate: 2_000, Devices: 1_500, Duration: 4 * time.Second}
	if change != nil {
		change(&c)
	}
	c, err := c.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testPlan(t testing.TB, c Config) *Plan {
	t.Helper()
	p, err := NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var planned = []string{"city", "citrus", "jitter", "catchup", "worst"}

func TestSameSeedSamePlan(t *testing.T) {
	for _, profile := range planned {
		t.Run(profile, func(t *testing.T) {
			a, b := testPlan(t, testConfig(t, profile, nil)), testPlan(t, testConfig(t, profile, nil))
			if !reflect.DeepEqual(a, b) {
				t.Error("two plans of one seed differ")
			}
			other := testPlan(t, testConfig(t, profile, func(c *Config) { c.Seed = 8 }))
			if reflect.DeepEqual(a.Pings, other.Pings) {
				t.Error("another seed made the same positions")
			}
		})
	}
}

// What a plan promises about itself, whatever the options: rates, order of times, no ping that a gateway would doubt.
func TestPlanHoldsItsPromises(t *testing.T) {
	for _, profile := range planned {
		for _, arrival := range []string{"fixed", "poisson"} {
			for _, shape := range []string{"steady", "ramp", "step", "burst"} {
				t.Run(profile+"/"+arrival+"/"+shape, func(t *testing.T) {
					cfg := testConfig(t, profile, func(c *Config) { c.Arrival, c.Shape = arrival, shape })
					p := testPlan(t, cfg)
					sum := p.Sum()
					if want := cfg.Rate * cfg.Duration.Seconds(); math.Abs(float64(sum.Pings)-want) > 0.12*want {
						t.Errorf("%d pings, want about %.0f", sum.Pings, want)
					}
					if sum.Enters == 0 || sum.Pushes == 0 {
						t.Errorf("expects %d entries and %d pushes", sum.Enters, sum.Pushes)
					}
					last := map[int32]Ping{}
					for i, m := range p.Messages {
						if i > 0 && m.At < p.Messages[i-1].At {
							t.Fatalf("message %d is sent before the one in front of it", i)
						}
						if m.At > cfg.Duration+time.Second {
							t.Fatalf("message %d is sent at %s", i, m.At)
						}
						if profile == "citrus" && i > 0 && m.First == p.Messages[i-1].First { // sent twice
							continue
						}
						for _, ping := range p.Pings[m.First : m.First+m.N] {
							before, ok := last[m.Device]
							last[m.Device] = ping
							if ping.T > m.At.Milliseconds() {
								t.Fatalf("message %d of %s holds a position of %d ms", i, m.At, ping.T)
							}
							if !ok || ping.T == before.T && ping == before {
								continue
							}
							if ping.T <= before.T {
								t.Fatalf("message %d: time %d after %d", i, ping.T, before.T)
							}
							moved := geodesicM(before.Lat, before.Lng, ping.Lat, ping.Lng) - float64(before.Acc+ping.Acc)
							if speed := moved / float64(ping.T-before.T) * 1000; speed > 90 {
								t.Fatalf("message %d: %.0f m/s", i, speed)
							}
						}
					}
				})
			}
		}
	}
}

// The whole Citrus day has its 2,600 notices, and every group that must not get one stays without.
func TestCitrusHasItsNotices(t *testing.T) {
	cfg, err := Config{Profile: "citrus"}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s := testPlan(t, cfg).Sum()
	if s.Pushes != 2600 {
		t.Errorf("%d notices, want 2,600", s.Pushes)
	}
	for reason, atLeast := range map[string]int{"stale": 150, "opted_out": 150, "overlap": 75, "already_claimed": 50} {
		if s.Held[reason] < atLeast {
			t.Errorf("held for %s: %d, want at least %d", reason, s.Held[reason], atLeast)
		}
	}
}

// The oracle's own geometry against the product's, which a run holds against each other.
func TestGeodesicAgreesWithTheProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 20_000 {
		lat, lng := -89+178*rng.Float64(), -180+360*rng.Float64()
		lat2, lng2 := away(lat, lng, math.Pow(10, 4.3*rng.Float64()), 2*math.Pi*rng.Float64())
		if math.Abs(lat2) > 89.9 {
			continue
		}
		got, want := geodesicM(lat, lng, lat2, lng2), geo.DistanceM(geo.Point{Lat: lat, Lng: lng}, geo.Point{Lat: lat2, Lng: math.Remainder(lng2, 360)})
		if math.Abs(got-want) > 0.002+1e-7*want {
			t.Fatalf("%v,%v to %v,%v: %.5f m, the product says %.5f m", lat, lng, lat2, lng2, got, want)
		}
	}
	for _, c := range []struct{ lat1, lng1, lat2, lng2, want float64 }{
		{0, 0, 0, 0, 0},
		{50, 10, 50, 10, 0},
		{0, 179.9995, 0, -179.9995, 111.319},   // over the antimeridian, along the equator
		{-0.0005, 20, 0.0005, 20, 110.574},     // over the equator
		{48.5, 31, 48.5 + 1e-7, 31, 0.0111193}, // a step of the payload's last digit
	} {
		if got := geodesicM(c.lat1, c.lng1, c.lat2, c.lng2); math.Abs(got-c.want) > 0.001 {
			t.Errorf("%v: %.4f m, want %.4f", c, got, c.want)
		}
	}
}

// The scan passes over circles that are too far north, south, east or west; it must find the same as measuring all.
func TestOracleMissesNoCircle(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var circles []Circle
	for i := range 400 {
		circles = append(circles, Circle{ID: fmt.Sprint(i), Lat: -84 + 168*rng.Float64(), Lng: -180 + 360*rng.Float64(), RadiusM: math.Pow(10, 1+4*rng.Float64())})
	}
	circles[0].Lng, circles[1].Lng, circles[2].Lat = 179.9999, -179.9999, 89.99
	o := newOracle(circles)
	found := 0
	for i := range 4000 {
		c := circles[i%len(circles)]
		lat, lng := away(c.Lat, c.Lng, 1.3*c.RadiusM*rng.Float64(), 2*math.Pi*rng.Float64())
		lng = math.Remainder(lng, 360)
		if math.Abs(lat) > 90 {
			continue
		}
		got := map[int32]bool{}
		for _, n := range o.around(nil, lat, lng) {
			got[n.circle] = true
		}
		for k := range circles {
			want := geodesicM(lat, lng, circles[k].Lat, circles[k].Lng) <= circles[k].farM()
			if want {
				found++
			}
			if got[int32(k)] != want {
				t.Fatalf("%v,%v: circle %v found %v, want %v", lat, lng, circles[k], got[int32(k)], want)
			}
		}
	}
	if found < 3000 {
		t.Errorf("only %d hits were compared", found)
	}
}

func TestRulesOfTheOracle(t *testing.T) {
	world := []Circle{{ID: "a", Lat: 50, Lng: 30, RadiusM: 200}}
	rules := DefaultRules()
	type fix struct{ d, acc float64 }
	tests := []struct {
		name  string
		fixes []fix
		want  string
	}{
		{"on the edge is inside", []fix{{200, 5}}, "enter "},
		{"beyond it is not", []fix{{200.01, 5}}, ""},
		{"too vague to enter", []fix{{10, 101}}, ""},
		{"just good enough", []fix{{10, 100}}, "enter "},
		{"leaves past the margin", []fix{{10, 5}, {224.9, 5}, {225.1, 5}}, "enter exit "},
		{"a poor accuracy widens the margin", []fix{{10, 5}, {300, 100}, {320.5, 100}}, "enter exit "},
		{"up to a cap", []fix{{10, 5}, {370.5, 400}}, "enter exit "},
		{"jitter is one visit", []fix{{190, 15}, {215, 15}, {190, 20}, {215, 30}, {190, 15}}, "enter "},
		{"comes again", []fix{{10, 5}, {300, 5}, {10, 5}}, "enter exit enter "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p presence
			got := ""
			for _, f := range tt.fixes {
				p.step(world, &rules, []near{{0, f.d}}, f.acc, func(k Kind, _ int32) { got += k.String() + " " })
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{Profile: "town"}, "there is no profile"},
		{Config{Profile: "city", Rate: -1}, "negative"},
		{Config{Profile: "city", Rate: 1e6, Devices: 10}, "use 2500 devices or more"},
		{Config{Profile: "city", Batch: 1001}, "may hold 1000"},
		{Config{Profile: "city", Encoding: "xml"}, "encoding"},
		{Config{Profile: "city", Arrival: "late"}, "arrival"},
		{Config{Profile: "city", Shape: "round"}, "shape"},
		{Config{Profile: "city", Duration: time.Second, Warmup: time.Second}, "warm-up"},
		{Config{Profile: "city", Rate: 1e6, Devices: 1e6, Duration: time.Hour}, "too many"},
		{Config{Profile: "city", RunID: "a.b"}, "run id"},
		{Config{Profile: "city", Entries: 0.5}, "entries"},
	} {
		if _, err := tt.c.WithDefaults(); err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) {
			t.Errorf("%+v: %v, want something about %q", tt.c, err, tt.want)
		}
	}
}

func TestReplayKeepsOrderAndLeavesOutWhatIsUnclear(t *testing.T) {
	circles := []Circle{{ID: "a", Lat: 50, Lng: 30, RadiusM: 200}}
	north, _ := degreesPerM(50)
	at := func(m float64) float64 { return 50 + m*north }
	rows := []Position{
		{"x", 1000, at(500), 30, 0}, {"y", 1500, at(100), 30, 0}, {"x", 2000, at(100), 30, 0},
		{"x", 2000, at(90), 30, 0},         // the same time again
		{"y", 3000, at(200.000001), 30, 0}, // on the edge to the last digit
		{"x", 4000, at(300), 30, 0}, {"y", 5000, at(300), 30, 0},
	}
	cfg := testConfig(t, "replay", func(c *Config) { c.Devices, c.Rate, c.Arrival = 0, 100, "fixed" })
	p, err := NewReplay(cfg, ReplayWorld(circles), rows)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Sum(); s.Pings != 5 || s.Enters != 2 || s.Exits != 2 || s.Pushes != 2 || p.Left != 2 {
		t.Errorf("%+v, %d left out", s, p.Left)
	}
	if _, err := NewReplay(cfg, ReplayWorld(circles), nil); err == nil {
		t.Error("a trace without positions was planned")
	}
}
