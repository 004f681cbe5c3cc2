package hms_test

import (
	"context"
	"log"
	"time"

	"footfall/push"
	"footfall/push/hms"
)

// One push to one Huawei phone.
func Example() {
	p, err := hms.New(hms.Config{
		ClientID:         "101234567",
		ClientSecretFile: "/etc/footfall/huawei.secret",
		Category:         "SUBSCRIPTION",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	o := p.Send(context.Background(), &push.Notification{
		MID:       "3f0c2b1a-9d7e-4c55-8a10-0123456789ab",
		Token:     "IQAAAACy…",
		Title:     "Знижка 20 %",
		Body:      "Лише сьогодні",
		ExpiresAt: time.Now().Add(15 * time.Minute),
	})
	log.Println(o.Class, o.Reason)
}
