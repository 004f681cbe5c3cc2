package citrus

import (
	"testing"
	"time"

	"footfall/push/fake"
)

// phones are the phones of all people behind the fakes of both push services. They outlive a gateway.
type phones struct {
	book *fake.PhoneBook
	apns *fake.APNs
	fcm  *fake.FCM
}

// newPhones starts the fakes. What the phones show follows the virtual clock. What the services say of provider
// tokens follows the machine's, which is the one the tokens are dated by; and because the provider renews its
// token by the virtual clock, many times an hour, the twenty minutes that Apple asks for are not enforced.
func newPhones(t testing.TB, now func() time.Time) *phones {
	t.Helper()
	p := &phones{book: fake.NewPhoneBook(fake.PhoneBookConfig{Now: now})}
	var err error
	if p.apns, err = fake.StartAPNs(fake.APNsConfig{Phones: p.book, TokenUpdateInterval: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.apns.Close() })
	if p.fcm, err = fake.StartFCM(fake.FCMConfig{Phones: p.book}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.fcm.Close() })
	return p
}

// settings tells a gateway in dir how to reach the fakes.
func (p *phones) settings(dir string) *settings {
	return &settings{
		Dir: dir, APNsURL: p.apns.URL(), APNsKeyID: p.apns.KeyID, APNsTeamID: p.apns.TeamID, APNsTopic: p.apns.Topic,
		APNsKey: p.apns.KeyPEM, APNsCA: p.apns.CAPEM,
		FCMEndpoint: p.fcm.Endpoint(), FCMCredentials: p.fcm.CredentialsJSON(), FCMCA: p.fcm.CAPEM,
	}
}
