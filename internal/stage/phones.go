package stage

import (
	"errors"
	"time"

	"footfall/push/fake"
)

// Phones are the phones of all people behind the fakes of both push services. They outlive a gateway.
type Phones struct {
	Book *fake.PhoneBook
	APNs *fake.APNs
	FCM  *fake.FCM
}

// StartPhones starts the fakes. What the phones show follows the scenario's clock. What the services say of provider
// tokens follows the machine's, which is the one the tokens are dated by; and because the provider renews its
// token by the scenario's clock, many times an hour, the twenty minutes that Apple asks for are not enforced.
func StartPhones(now func() time.Time) (p *Phones, err error) {
	p = &Phones{Book: fake.NewPhoneBook(fake.PhoneBookConfig{Now: now})}
	if p.APNs, err = fake.StartAPNs(fake.APNsConfig{Phones: p.Book, TokenUpdateInterval: -1}); err != nil {
		return nil, err
	}
	if p.FCM, err = fake.StartFCM(fake.FCMConfig{Phones: p.Book}); err != nil {
		return nil, errors.Join(err, p.APNs.Close())
	}
	return p, nil
}

// Close ends the fakes.
func (p *Phones) Close() error { return errors.Join(p.APNs.Close(), p.FCM.Close()) }

// Settings tells a gateway in dir how to reach the fakes.
func (p *Phones) Settings(dir string) *Settings {
	return &Settings{
		Dir: dir, APNsURL: p.APNs.URL(), APNsKeyID: p.APNs.KeyID, APNsTeamID: p.APNs.TeamID, APNsTopic: p.APNs.Topic,
		APNsKey: p.APNs.KeyPEM, APNsCA: p.APNs.CAPEM,
		FCMEndpoint: p.FCM.Endpoint(), FCMCredentials: p.FCM.CredentialsJSON(), FCMCA: p.FCM.CAPEM,
	}
}
