package citrus

import (
	"encoding/json"
	"time"

	"footfall/geo"
)

// RadiusM is the radius of every store's fence in metres.
const RadiusM = 200

// CampaignID names the campaign of the day.
const CampaignID = "citrus-18"

// App is the app that all phones run.
const App = "citrus"

// Store is one shop: a circle of RadiusM around Center.
type Store struct {
	ID     string
	Center geo.Point
}

// stores are synthetic places in Kyiv, not the addresses of anybody. k03 and k10 are 374 m apart, so that their
// fences overlap by 26 m; all other pairs are at least 507 m apart.
var stores = [...]Store{
	{"k01", geo.Point{Lat: 50.4501, Lng: 30.5234}},
	{"k02", geo.Point{Lat: 50.4420, Lng: 30.5206}},
	{"k03", geo.Point{Lat: 50.4388, Lng: 30.5155}},
	{"k04", geo.Point{Lat: 50.4655, Lng: 30.5152}},
	{"k05", geo.Point{Lat: 50.4836, Lng: 30.4975}},
	{"k06", geo.Point{Lat: 50.4112, Lng: 30.5220}},
	{"k07", geo.Point{Lat: 50.4330, Lng: 30.6260}},
	{"k08", geo.Point{Lat: 50.5120, Lng: 30.4985}},
	{"k09", geo.Point{Lat: 50.3960, Lng: 30.6170}},
	{"k10", geo.Point{Lat: 50.4355, Lng: 30.5165}},
}

const (
	k03 = 2 // index in stores
	k10 = 9
)

// Stores returns the ten stores in the order of their ids. The slice is fresh.
func Stores() []Store { return append([]Store(nil), stores[:]...) }

// Fences is the GeoJSON document of the stores, as a marketer would hand it in.
func Fences() []byte {
	type properties struct {
		Name   string   `json:"name"`
		Store  string   `json:"store"`
		Radius int      `json:"radius"`
		Zone   string   `json:"zone"`
		Tags   []string `json:"tags"`
	}
	type geometry struct {
		Type        string     `json:"type"`
		Coordinates [2]float64 `json:"coordinates"`
	}
	type feature struct {
		Type       string     `json:"type"`
		ID         string     `json:"id"`
		Properties properties `json:"properties"`
		Geometry   geometry   `json:"geometry"`
	}
	doc := struct {
		Type     string    `json:"type"`
		Features []feature `json:"features"`
	}{Type: "FeatureCollection"}
	for _, s := range stores {
		doc.Features = append(doc.Features, feature{
			Type: "Feature", ID: s.ID,
			Properties: properties{Name: "Citrus " + s.ID, Store: s.ID, Radius: RadiusM, Zone: Zone, Tags: []string{"kyiv"}},
			Geometry:   geometry{Type: "Point", Coordinates: [2]float64{s.Center.Lng, s.Center.Lat}},
		})
	}
	data, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		panic("citrus: the stores do not marshal: " + err.Error()) // strings and finite numbers only
	}
	return append(data, '\n')
}

// Zone is the time zone of all stores, and with it of the campaign's hours and of its day.
const Zone = "Europe/Kyiv"

// The campaign's hours: from Opens on, and before Closes. Kyiv is two hours ahead of UTC in November.
var (
	Opens  = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	Closes = time.Date(2026, 11, 28, 19, 0, 0, 0, time.UTC)
)

// Campaign is the campaign file of the day.
const Campaign = `campaign: citrus-18
name: Citrus is 18
trigger:
  enter:
    fences: {tag: kyiv}
window:
  from: 2026-11-28T10:00
  to: 2026-11-28T21:00
  zone: store
once_per: {day: store}
scope: campaign
max_age: 10m
steps:
  - push: {template: anniversary, ttl: 15m}

templates:
  anniversary:
    default_locale: uk
    required: [fence.name]
    sound: default
    image: https://cdn.citrus.example/18/{{ fence.id | url_encode }}.jpg
    link: citrus://store/{{ fence.id | url_encode }}?code={{ message.code }}
    locales:
      uk:
        title: Нам 18! Святкуйте з нами
        subtitle: "{{ fence.name }}"
        body: Покажіть код на касі. Знижка 18% на все до 21:00.
      en:
        title: We are 18! Come and celebrate
        subtitle: "{{ fence.name }}"
        body: Show the code at the till. 18% off everything until 21:00.
`
