// Command example is a device that stands at a door: it registers, sends one position, shows the message that comes of it
// and reports that it was opened. Copy it and go on from there.
//
//	go run ./example nats://127.0.0.1:4222 shop demo-1
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	footfall "footfall/sdk/go"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: example URL APP DEVICE")
	}
	store, err := footfall.OpenFileStore(filepath.Join(os.TempDir(), "footfall-"+os.Args[3]+".outbox"))
	if err != nil {
		log.Fatal(err)
	}
	messages := make(chan footfall.Message, 1)
	c, err := footfall.Open(footfall.Config{
		URL: os.Args[1], App: os.Args[2], Device: os.Args[3], Store: store, Logger: slog.Default(),
		OnMessage: func(m footfall.Message) bool {
			fmt.Printf("%s\n%s\n", m.Title, m.Body)
			select {
			case messages <- m:
			default:
			}
			return true
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	// At every start: the gateway may have forgotten the device, and consent may have changed.
	check(c.Register(footfall.Device{
		Platform: "android", Token: "token-of-the-push-service", Locale: "en",
		Consent: &footfall.Consent{Location: new(true), Push: new(true)},
	}))
	check(c.Ping(footfall.Ping{At: time.Now(), Lat: 50.4501, Lng: 30.5234, AccuracyM: 10, Source: "foreground"}))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	select {
	case m := <-messages:
		check(c.Receipt(footfall.Receipt{Push: m.Push, Ev: footfall.Opened})) // when the person taps it
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		fmt.Println("nothing came; ask the gateway why: footfall explain " + os.Args[2] + "." + os.Args[3])
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	check(c.Flush(wait)) // what is not sent by then waits in the file for the next start
}

func check(err error) {
	if err != nil {
		log.Print(err)
	}
}
