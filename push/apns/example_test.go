package apns_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fake"
)

// One push to one iPhone. The fake stands in for Apple; with the real thing
// the configuration is KeyFile, KeyID, TeamID and Topic alone.
func Example() {
	apple, err := fake.StartAPNs(fake.APNsConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer apple.Close()

	p, err := apns.New(apns.Config{
		KeyPEM: apple.KeyPEM, KeyID: apple.KeyID, TeamID: apple.TeamID, Topic: apple.Topic,
		Host: apple.URL(), RootCAs: apple.RootCAs,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	token := fake.DeviceToken("olena")
	o := p.Send(context.Background(), &push.Notification{
		MID:       "3f0c2b1a-9d7e-4c55-8a10-0123456789ab",
		Token:     token,
		Title:     "Знижка 20 %",
		Body:      "Лише сьогодні",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	})
	fmt.Println(o.Class, o.Status)
	fmt.Println(apple.Phones().Shown(token)[0].Title)
	// Output:
	// accepted 200
	// Знижка 20 %
}
