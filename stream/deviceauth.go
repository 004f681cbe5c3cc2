package stream

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"footfall/stream/wire"
	"footfall/track"
)

// DeviceToken is the NATS token that confines a client of the embedded server to one device's subjects:
//
//	<app>.<device>.<base64url, without padding, of the first 16 bytes of HMAC-SHA256(secret, "footfall device v1|" + app + "|" + device)>
//
// Whoever has the secret, such as the backend that the app signs in to, can make one; nothing is stored.
func DeviceToken(secret, app, device string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("footfall device v1|" + app + "|" + device))
	return app + "." + device + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// deviceAuth lets clients in to the embedded server: with the gateway's token to everything, with a device's token to
// the subjects of that device.
type deviceAuth struct{ token, secret string }

// replyWindow is how long a device may answer a message that it got on down.<app>.<device>.
const replyWindow = time.Minute

// Check implements server.Authentication. MQTT has no token: it comes as the password.
func (a deviceAuth) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	given := cmp.Or(o.Token, o.Password)
	if subtle.ConstantTimeCompare([]byte(given), []byte(a.token)) == 1 {
		return true
	}
	name := given[:max(0, strings.LastIndexByte(given, '.'))]
	app, device, ok := wire.SplitDevice(track.DeviceID(name))
	if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(DeviceToken(a.secret, app, device))) != 1 {
		return false
	}
	var own []string
	for _, kind := range []string{"ping", "event", "device", "receipt"} {
		own = append(own, kind+"."+app+"."+device)
	}
	c.RegisterUser(&server.User{Username: app + "." + device, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: own},
		Subscribe: &server.SubjectPermission{Allow: []string{"down." + app + "." + device, "_INBOX_" + device + ".>"}},
		Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: replyWindow},
	}})
	return true
}
