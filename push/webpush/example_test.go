package webpush_test

import (
	"context"
	"fmt"
	"log"

	"footfall/push"
	"footfall/push/webpush"
)

// A key pair is made once. The private key goes into the configuration, the
// public one into the page that subscribes.
func Example() {
	private, public, err := webpush.GenerateKey()
	if err != nil {
		log.Fatal(err)
	}
	p, err := webpush.New(webpush.Config{PrivateKey: private, PublicKey: public, Subject: "mailto:ops@shop.example"})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	fmt.Println("the page uses this key:", p.PublicKey() == public)

	// What a stranger registers is not called if it leads into this network.
	o := p.Send(context.Background(), &push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", Title: "Знижка 20 %",
		Token: `{"endpoint":"https://169.254.169.254/latest","keys":{
			"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
			"auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`,
	})
	fmt.Println(o.Class, o.Sent, o.Reason)
	// Output:
	// the page uses this key: true
	// token_bad false the subscription's endpoint is not a public address
}
