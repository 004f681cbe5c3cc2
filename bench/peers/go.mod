module footfall/bench/peers

go 1.26.8

require (
	footfall v0.0.0
	github.com/golang/geo v0.0.0-20260818125358-b200a1149890
	github.com/paulmach/orb v0.12.0
	github.com/tidwall/geojson v1.4.5
	github.com/tidwall/rtree v1.10.0
)

require (
	github.com/tidwall/geoindex v1.7.0 // indirect
	github.com/tidwall/gjson v1.12.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/tidwall/sjson v1.2.4 // indirect
	github.com/uber/h3-go/v4 v4.5.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace footfall => ../..
