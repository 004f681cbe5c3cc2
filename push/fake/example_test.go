package fake_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"footfall/push/fake"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
)

// Any APNs client will do; it needs the address, the CA and the key.
func Example() {
	apns, err := fake.StartAPNs(fake.APNsConfig{Topic: "com.example.shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apns.Close()
	apns.Phones().OnShow(func(s fake.Shown) { fmt.Printf("phone shows: %s / %s\n", s.Title, s.Body) })

	key, err := token.AuthKeyFromBytes(apns.KeyPEM)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: apns.KeyID, TeamID: apns.TeamID})
	c.Host = apns.URL()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: apns.RootCAs}, ForceAttemptHTTP2: true}
	c.HTTPClient.Transport = tr

	phone := fake.DeviceToken("Olena's phone")
	push := &apns2.Notification{DeviceToken: phone, Topic: apns.Topic, CollapseID: "visit-1",
		Payload: []byte(`{"aps":{"alert":{"title":"Welcome","body":"Lunch is 20% off"}}}`)}
	for range 2 { // the copy takes the place of the first
		res, err := c.Push(push)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.StatusCode)
	}
	fmt.Println("on the screen:", len(apns.Phones().Shown(phone)))
	// Output:
	// phone shows: Welcome / Lunch is 20% off
	// 200
	// phone shows: Welcome / Lunch is 20% off
	// 200
	// on the screen: 1
}

// A script makes the service misbehave for as long as a test needs it.
func ExampleAPNs_Script() {
	apns, err := fake.StartAPNs(fake.APNsConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer apns.Close()
	apns.Script(
		// The next two requests are told to come back in half a minute,
		fake.Rule{Times: 2, Answer: fake.Answer{Reason: "TooManyRequests", RetryAfter: 30 * time.Second}},
		// the third is accepted, and the connection cut before the answer,
		fake.Rule{Times: 1, Answer: fake.Answer{Fault: fake.FaultCut}},
		// and of all others 30 % hear that the phone is gone.
		fake.Rule{Share: 0.3, Answer: fake.Answer{Reason: "Unregistered", Since: time.Now().Add(-time.Hour)}},
	)
	fmt.Println(apns.Stats().Requests, "requests so far")
	// Output: 0 requests so far
}

// Time to live and the stores of the services apply while a phone is offline.
func ExamplePhoneBook() {
	phones := fake.NewPhoneBook(fake.PhoneBookConfig{})
	// One book for both services: pass it as Phones to StartAPNs and StartFCM.
	phones.SetOffline("registration-token-1")
	phones.SetOnline("registration-token-1")
	fmt.Println(len(phones.Shown("registration-token-1")))
	// Output: 0
}
