package crashtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/push/fake"
	"footfall/stream"
)

const gift = `campaign: gift
trigger: {enter: {fences: {all: true}}}
once_per: campaign
steps:
  - push: {ttl: 15m, voucher: bday, template: {locales: {en: {body: "{{ voucher }}"}}}}
`

// TestKilledVouchers: a gateway that is killed while pushes with codes go out gives no code twice and loses none: each
// phone shows one code that no other shows, and what the pool has left is what nobody has.
func TestKilledVouchers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills the gateway 4 times; not in -short")
	}
	t.Parallel() // most of it is waiting
	kills := killsWanted(t, 4)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, kills)
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t)
	s.write("campaign.yaml", gift)
	s.start()
	nc, err := nats.Connect("nats://"+s.addr, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const perKill = 25
	people := perKill * kills
	spare := 7
	ask := func(subject string, q, answer any) {
		t.Helper()
		data, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		m, err := nc.Request(subject, data, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if text := m.Header.Get("Nats-Service-Error"); text != "" || json.Unmarshal(m.Data, answer) != nil {
			t.Fatalf("%s: %s %s", subject, text, m.Data)
		}
	}
	var a stream.VoucherAnswer
	ask(stream.VoucherAddSubject, stream.VoucherRequest{Pool: "bday", Fill: int64(people + spare)}, &a)
	p := &phones{nc: nc}
	for k := range kills {
		for i := range perKill {
			p.wg.Go(func() {
				name := fmt.Sprintf("d%03d", k*perKill+i)
				p.send("device.shop."+name, fmt.Appendf(nil, `{"platform":"ios","token":%q,"locale":"en"}`, fake.DeviceToken(name)))
				p.send("ping.shop."+name, fmt.Appendf(nil, `{"t":%d,"lat":50.4501,"lon":30.5234,"acc":8}`, time.Now().UnixMilli()))
			})
		}
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		s.kill()
		s.start()
	}
	p.wg.Wait()
	s.awaitPushes("gift", int64(people))
	shown := map[string]string{}
	for d := range people {
		name := fmt.Sprintf("d%03d", d)
		on := s.apns.Phones().Shown(fake.DeviceToken(name))
		if len(on) != 1 {
			t.Errorf("phone %s shows %d pushes, want 1", name, len(on))
			continue
		}
		if other := shown[on[0].Body]; other != "" || on[0].Body == "" {
			t.Errorf("phones %s and %s both show the code %q", other, name, on[0].Body)
		}
		shown[on[0].Body] = name
	}
	var list stream.VoucherCodes
	ask(stream.VoucherCodesSubject, stream.VoucherRequest{Pool: "bday"}, &list)
	free := 0
	for _, c := range list.Codes {
		switch {
		case c.State(&list.Pool, list.At) == "free" && shown[c.Code] != "":
			t.Errorf("%s shows %s, which the pool would give again", shown[c.Code], c.Code)
		case c.State(&list.Pool, list.At) == "free":
			free++
		case shown[c.Code] == "":
			t.Errorf("%s is given, and no phone shows it", c.Code)
		}
	}
	if len(list.Codes) != people+spare || free != spare {
		t.Errorf("the pool lists %d codes, %d of them free; want %d and %d", len(list.Codes), free, people+spare, spare)
	}
	s.stop()
}
