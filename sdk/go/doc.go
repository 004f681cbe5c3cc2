// Package footfall is the reference client of the Footfall gateway in Go: for bridges, terminals and backends, and for
// those who write a client in another language and want to read one first. It needs nothing but nats.go.
//
//	c, err := footfall.Open(footfall.Config{URL: "nats://127.0.0.1:4222", App: "shop", Device: "d1", Store: store})
//	err = c.Ping(footfall.Ping{At: time.Now(), Lat: 50.4501, Lng: 30.5234, AccuracyM: 10})
//
// What is given to a [Client] goes into its outbox, which a [Store] keeps over a restart, and from there to the gateway
// as a request that is repeated until it is answered. The gateway recognises a repeat, so everything has its effect
// once. The outbox is bounded; what it drops it counts.
//
// The rules are those of docs/protocol.md, and docs/protocol/outbox-vectors.json tests them here and in the other
// clients alike.
package footfall
