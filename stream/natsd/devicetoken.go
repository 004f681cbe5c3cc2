package natsd

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"footfall/stream/wire"
)

// DeviceToken is the NATS token that confines a client of the embedded server to one device's subjects, until a time
// in whole seconds, or (zero) without an end:
//
//	<name>.<base64url, without padding, of the first 16 bytes of HMAC-SHA256(secret, "footfall device v1|" + parts of name, joined by "|")>
//
// where name is <app>.<device> or <app>.<device>.<Unix seconds>. Whoever has the secret, such as the backend that the
// app signs in to, can make one; nothing is stored.
func DeviceToken(secret, app, device string, until time.Time) string {
	name := app + "." + device
	if !until.IsZero() {
		name += "." + strconv.FormatInt(until.Unix(), 10)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("footfall device v1|" + strings.ReplaceAll(name, ".", "|")))
	return name + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// readDeviceToken returns what a token allows, when it is one that DeviceToken makes with secret. Its end may have
// passed.
func readDeviceToken(secret, token string) (app, device string, until time.Time, ok bool) {
	parts := strings.Split(token, ".")
	switch len(parts) {
	case 3:
	case 4:
		at, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil {
			return "", "", time.Time{}, false
		}
		until = time.Unix(at, 0)
	default:
		return "", "", time.Time{}, false
	}
	app, device = parts[0], parts[1]
	ok = wire.ValidToken(app) && wire.ValidToken(device) &&
		subtle.ConstantTimeCompare([]byte(token), []byte(DeviceToken(secret, app, device, until))) == 1
	return app, device, until, ok
}

// deviceAuth lets clients in to the embedded server: with the gateway's token to everything, with a device's token to
// the subjects of that device.
type deviceAuth struct {
	token, secret string
	ownTracksApp  string // the app of OwnTracks phones
}

// replyWindow is how long a device may answer a message that it got on down.<app>.<device>.
const replyWindow = time.Minute

// Check implements server.Authentication. MQTT has no token: it comes as the password. A connection ends with its
// token.
func (a deviceAuth) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	given := cmp.Or(o.Token, o.Password)
	if subtle.ConstantTimeCompare([]byte(given), []byte(a.token)) == 1 {
		return true
	}
	app, device, until, ok := readDeviceToken(a.secret, given)
	if !ok || !until.IsZero() && !time.Now().Before(until) {
		return false
	}
	var own []string
	for _, kind := range []string{"ping", "event", "device", "receipt", "near", "here"} {
		own = append(own, kind+"."+app+"."+device)
	}
	if app == a.ownTracksApp {
		if user, phone, ok := wire.SplitOwnTracks(device); ok {
			own = append(own, "owntracks."+user+"."+phone, "owntracks."+user+"."+phone+".event")
		}
	}
	c.RegisterUser(&server.User{
		Username:           app + "." + device,
		ConnectionDeadline: until,
		Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: own},
			Subscribe: &server.SubjectPermission{Allow: []string{"down." + app + "." + device, "_INBOX." + app + "." + device + ".>"}},
			Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: replyWindow},
		},
	})
	return true
}
