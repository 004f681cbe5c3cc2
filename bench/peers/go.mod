module footfall/bench/peers

go 1.26.8

require (
	footfall v0.0.0
	github.com/golang/geo v0.0.0-20260818125358-b200a1149890
	github.com/nats-io/nats.go v1.55.0
	github.com/paulmach/orb v0.12.0
	github.com/tidwall/geojson v1.4.5
	github.com/tidwall/rtree v1.10.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

require (
	github.com/jackc/pgx/v5 v5.7.6
	github.com/tidwall/geoindex v1.7.0 // indirect
	github.com/tidwall/gjson v1.12.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/tidwall/sjson v1.2.4 // indirect
	github.com/uber/h3-go/v4 v4.5.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace footfall => ../..
