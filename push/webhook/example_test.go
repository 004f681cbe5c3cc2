package webhook_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"footfall/push"
	"footfall/push/webhook"
)

// A receiver that would call the retailer's own push vendor. It verifies
// before it reads, takes each message once, and answers 2xx for a repetition.
func ExampleVerify() {
	text := webhook.NewSecret() // configured on both sides
	secret, err := webhook.ParseSecret(text)
	if err != nil {
		log.Fatal(err)
	}
	var seen sync.Map // a database in earnest: ids are kept for a day
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			return
		}
		id, err := webhook.Verify([]webhook.Secret{secret}, r.Header, body, time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		event, err := webhook.Parse(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if _, again := seen.LoadOrStore(id, true); again || event.Type != webhook.TypePush {
			return
		}
		p := event.Push
		if p.Device == "left-us" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, `{"error":{"class":"token_dead","reason":"unsubscribed"}}`)
			return
		}
		fmt.Printf("send %q to %s, until %s\n", p.Title, p.Device, p.ExpiresAt.Format("15:04"))
		io.WriteString(w, `{"id":"vendor-42"}`)
	}))
	defer receiver.Close()

	provider, err := webhook.New(webhook.Config{URL: receiver.URL, Secrets: []string{text}})
	if err != nil {
		log.Fatal(err)
	}
	defer provider.Close()
	n := push.Notification{
		MID: "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", App: "shop", Device: "phone-7", Title: "Знижка 20 %",
		ExpiresAt: time.Date(2100, 1, 1, 9, 30, 0, 0, time.UTC),
	}
	for range 2 { // the second is a re-send after doubt
		o := provider.Send(context.Background(), &n)
		fmt.Println(o.Class, o.ProviderID)
	}
	n.MID, n.Device = "6a1d5f0e-1111-4222-8333-444455556666", "left-us"
	o := provider.Send(context.Background(), &n)
	fmt.Println(o.Class, o.Reason)
	// Output:
	// send "Знижка 20 %" to phone-7, until 09:30
	// accepted vendor-42
	// accepted 3f0c2b1a-9d7e-4c55-8a10-0123456789ab
	// token_dead unsubscribed
}
