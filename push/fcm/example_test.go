package fcm_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"footfall/push"
	"footfall/push/fake"
	"footfall/push/fcm"
)

// One push to one Android phone. The fake stands in for Google; with the real
// thing the configuration is CredentialsFile alone.
func Example() {
	google, err := fake.StartFCM(fake.FCMConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer google.Close()

	p, err := fcm.New(fcm.Config{
		CredentialsJSON: google.CredentialsJSON(), Endpoint: google.Endpoint(), RootCAs: google.RootCAs,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	token := fake.DeviceToken("olena")
	o := p.Send(context.Background(), &push.Notification{
		MID:       "3f0c2b1a-9d7e-4c55-8a10-0123456789ab",
		Token:     token,
		Campaign:  "anniversary",
		Title:     "Знижка 20 %",
		Body:      "Лише сьогодні",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	})
	fmt.Println(o.Class, o.Status)
	fmt.Println(google.Phones().Shown(token)[0].Title)
	// Output:
	// accepted 200
	// Знижка 20 %
}
