// Command ping is the smallest client of a Footfall gateway: it registers a phone and walks it into a store.
//
//	go run ./examples/ping -server nats://127.0.0.1:4222 -device me -lat 50.4501 -lon 30.5234
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	server := flag.String("server", nats.DefaultURL, "NATS address of the gateway")
	app := flag.String("app", "shop", "app")
	device := flag.String("device", "me", "device")
	lat := flag.Float64("lat", 50.4501, "latitude in degrees")
	lon := flag.Float64("lon", 30.5234, "longitude in degrees")
	flag.Parse()

	nc, err := nats.Connect(*server)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	// A registration is sent once, and again when something in it changes.
	ask(nc, "device."+*app+"."+*device, map[string]any{"platform": "ios", "token": fmt.Sprintf("%064x", *device), "locale": "en"})

	// Two positions: 300 m north of the place a minute ago, and the place itself now.
	now := time.Now()
	ask(nc, "ping."+*app+"."+*device, []map[string]any{
		{"t": now.Add(-time.Minute).UnixMilli(), "lat": *lat + 0.0027, "lon": *lon, "acc": 10},
		{"t": now.UnixMilli(), "lat": *lat, "lon": *lon, "acc": 10},
	})
}

// ask sends a request and repeats it until the gateway has stored it: then it survives a crash of the gateway, and
// sending it twice has no effect.
func ask(nc *nats.Conn, subject string, payload any) {
	data, err := json.Marshal(payload)
	if err != nil {
		log.Fatal(err)
	}
	for try := 0; try < 5; try++ {
		m, err := nc.Request(subject, data, 2*time.Second)
		if err != nil {
			log.Printf("%s: %v, trying again", subject, err)
			time.Sleep(time.Second)
			continue
		}
		var answer struct {
			OK      bool  `json:"ok"`
			RetryMS int64 `json:"retry_ms"`
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			log.Fatalf("%s answered %q", subject, m.Data)
		}
		fmt.Printf("%s %s\n", subject, m.Data)
		if answer.OK {
			return
		}
		if answer.RetryMS == 0 {
			log.Fatal("refused")
		}
		time.Sleep(time.Duration(answer.RetryMS) * time.Millisecond)
	}
	log.Fatal("gave up after five tries")
}
