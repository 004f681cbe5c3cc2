package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
)

// maxSubscription bounds the token. Real ones are under 700 bytes.
const maxSubscription = 4096

// Errors of parseSubscription. None shows any of the subscription.
var (
	errSubscription = errors.New(`not a subscription {"endpoint","keys":{"p256dh","auth"}}`)
	errEndpoint     = errors.New("the subscription's endpoint is not an https URL")
	errKeys         = errors.New("the subscription's keys are not a P-256 point and 16 bytes")
)

// subscription is what a browser gave to the site.
type subscription struct {
	endpoint *url.URL
	origin   string // scheme, host and port: the audience of a VAPID token
	key      *ecdh.PublicKey
	auth     []byte
}

// parseSubscription reads a subscription as PushSubscription.toJSON makes it.
// Other members are ignored.
func parseSubscription(s string) (*subscription, error) {
	var j struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256DH string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if len(s) > maxSubscription || json.Unmarshal([]byte(s), &j) != nil || j.Endpoint == "" {
		return nil, errSubscription
	}
	u, err := url.Parse(j.Endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" ||
		strings.ContainsAny(u.Host, "\"\\ ,") {
		return nil, errEndpoint
	}
	u.Fragment, u.RawFragment = "", ""
	raw, err1 := fromBase64(j.Keys.P256DH)
	auth, err2 := fromBase64(j.Keys.Auth)
	if err1 != nil || err2 != nil || len(auth) != 16 || len(raw) != 65 {
		return nil, errKeys
	}
	key, err := ecdh.P256().NewPublicKey(raw) // refuses points off the curve
	if err != nil {
		return nil, errKeys
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, ":443")
	return &subscription{endpoint: u, origin: "https://" + host, key: key, auth: auth}, nil
}

// fromBase64 reads both alphabets, padded or not: browsers' libraries differ.
func fromBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	return base64.RawURLEncoding.DecodeString(s)
}
