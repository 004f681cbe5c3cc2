package load

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// World is what a gateway has to have for a plan: the stores' fences and the campaign.
type World struct {
	Circles  []Circle
	Rules    Rules
	Fences   []byte // GeoJSON
	Campaign []byte // YAML
	// RulesYAML is the rules section that the gateway's configuration needs; nil for the defaults.
	RulesYAML []byte
}

// CampaignID names the campaign of every profile. It pushes once to each device, ever, so that a run that lasts over
// midnight expects the same as any other.
const CampaignID = "bench"

const campaignYAML = `campaign: bench
name: Footfall bench
trigger: {enter: {fences: {all: true}}}
window: {to: never}
once_per: campaign
steps:
  - push: {template: welcome, ttl: 15m}
templates:
  welcome:
    default_locale: en
    link: shop://store/{{ fence.id | url_encode }}
    locales:
      en: {title: "Welcome to {{ fence.name }}", body: "Show this at the till for 10% off."}
      uk: {title: "Вітаємо в {{ fence.name }}", body: "Покажіть це на касі й отримайте знижку 10%."}
`

// plainRules is how a recorded trace is judged: a device is where its position is.
const plainRules = `max_speed: 0
presence_ttl: 100000h
max_age: 100000h
exit_margin: 0
exit_margin_ratio: 0
exit_accuracy_cap: 0
exit_blind: 0
enter_accuracy: 100000000
`

func newWorld(circles []Circle, rules Rules) *World {
	type feature struct {
		Type       string         `json:"type"`
		ID         string         `json:"id"`
		Properties map[string]any `json:"properties"`
		Geometry   map[string]any `json:"geometry"`
	}
	doc := struct {
		Type     string    `json:"type"`
		Features []feature `json:"features"`
	}{Type: "FeatureCollection", Features: make([]feature, len(circles))}
	for i, c := range circles {
		doc.Features[i] = feature{"Feature", c.ID, map[string]any{"name": "Store " + c.ID, "radius": c.RadiusM, "zone": "Europe/Kyiv"},
			map[string]any{"type": "Point", "coordinates": [2]float64{c.Lng, c.Lat}}}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		panic("load: fences do not marshal: " + err.Error()) // strings and finite numbers only
	}
	return &World{Circles: circles, Rules: rules, Fences: append(data, '\n'), Campaign: []byte(campaignYAML)}
}

// kyiv are the ten stores of the Citrus day. The third and the last are 374 m apart, so that their fences overlap.
var kyiv = [][2]float64{
	{50.4501, 30.5234}, {50.4420, 30.5206}, {50.4388, 30.5155}, {50.4655, 30.5152}, {50.4836, 30.4975},
	{50.4112, 30.5220}, {50.4330, 30.6260}, {50.5120, 30.4985}, {50.3960, 30.6170}, {50.4355, 30.5165},
}

// cities are the centres of the thirteen cities of the city profile and how many of the 51 stores each has.
var cities = []struct {
	lat, lng float64
	stores   int
}{
	{50.4501, 30.5234, 10}, {49.9935, 36.2304, 6}, {46.4825, 30.7233, 6}, {48.4647, 35.0462, 5}, {49.8397, 24.0297, 5},
	{47.8388, 35.1396, 4}, {47.9105, 33.3918, 3}, {49.2331, 28.4682, 3}, {49.5883, 34.5514, 2}, {51.4982, 31.2893, 2},
	{50.9077, 34.7981, 2}, {49.4229, 26.9871, 2}, {50.2547, 28.6587, 1},
}

const storeRadiusM = 200

func kyivWorld() *World {
	circles := make([]Circle, len(kyiv))
	for i, at := range kyiv {
		circles[i] = Circle{ID: fmt.Sprintf("k%02d", i+1), Lat: at[0], Lng: at[1], RadiusM: storeRadiusM}
	}
	return newWorld(circles, DefaultRules())
}

// cityWorld draws the stores of each city within 5 km of its centre and 1.2 km apart.
func cityWorld(seed uint64) *World {
	rng := rand.New(rand.NewPCG(seed, 51))
	var circles []Circle
	for n, city := range cities {
		first := len(circles)
		for len(circles)-first < city.stores {
			lat, lng := away(city.lat, city.lng, 5000*math.Sqrt(rng.Float64()), 2*math.Pi*rng.Float64())
			free := true
			for _, c := range circles[first:] {
				free = free && geodesicM(lat, lng, c.Lat, c.Lng) > 1200
			}
			if free {
				circles = append(circles, Circle{ID: fmt.Sprintf("c%02d-s%02d", n+1, len(circles)-first+1), Lat: round7(lat), Lng: round7(lng), RadiusM: storeRadiusM})
			}
		}
	}
	return newWorld(circles, DefaultRules())
}

// gridWorld is a thousand stores, 900 m apart.
func gridWorld() *World {
	north, east := degreesPerM(48.5)
	circles := make([]Circle, 0, 1000)
	for i := range 1000 {
		circles = append(circles, Circle{ID: fmt.Sprintf("w%03d", i), Lat: round7(48.5 + float64(i/32)*900*north), Lng: round7(31 + float64(i%32)*900*east), RadiusM: storeRadiusM})
	}
	return newWorld(circles, DefaultRules())
}

// ReplayWorld is the world of a trace against circles of the user's own: positions count as they are.
func ReplayWorld(circles []Circle) *World {
	w := newWorld(circles, Rules{EnterAccuracyM: 1e8, MaxAgeMS: math.MaxInt64})
	w.RulesYAML = []byte(plainRules)
	return w
}

// IdleWorld is for a gateway that has nothing to do.
func IdleWorld() *World { return kyivWorld() }

// away moves a position by metres in a direction (radians from north); good to a few centimetres in a kilometre,
// which is all that a plan needs: what counts is measured afterwards.
func away(lat, lng, m, bearing float64) (float64, float64) {
	north, east := degreesPerM(lat)
	sin, cos := math.Sincos(bearing)
	return lat + m*cos*north, lng + m*sin*east
}

// Indent is YAML text moved right by n spaces.
func Indent(text []byte, n int) string {
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		b.WriteString(strings.Repeat(" ", n))
		b.WriteString(line)
	}
	return b.String()
}
