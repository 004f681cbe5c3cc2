package audience

import "log/slog"

// Profile is one app installation on one phone. The zero value with Device set
// is the profile of a device that has sent positions but never registered: it
// has no token, so nothing can be pushed to it.
//
// Consent rule. Both flags are optional and absent means allowed: a token
// exists only after the operating system asked the person about notifications,
// and positions arrive only while the app holds the location permission. An
// explicit false of "push" refuses every push; of "location" it refuses what
// comes of positions of this device: "do not follow me" leaves the news of the
// shop as they are.
//
// Not safe for concurrent use. Tags belongs to the profile.
type Profile struct {
	Device          string         // "<app>.<device>", the key
	Person          string         // the app's user id; "" while nobody is signed in
	Platform        string         // "ios", "android", "web" or "hms"
	Token           string         // push token; personal data, never logged
	Env             string         // "prod" or "sandbox"; "" means prod
	Locale          string         // BCP 47 in canonical form, "uk-UA"
	Zone            string         // IANA zone of the phone
	Tags            map[string]any // values are string, float64, bool or []string
	UserTags        map[string]any // of the subject, likewise; see AllTags. Put does not write them
	ConsentLocation *bool          // nil: not said
	ConsentPush     *bool          // nil: not said
	SDK, OS         string         // versions as the app names them
	TokenAt         int64          // Unix ms: receive time of the update that last changed Token
	UpdatedAt       int64          // Unix ms: receive time of the latest update
	TokenDead       bool           // the provider refused Token for good; a new token clears it
}

// Subject is who a claim counts against: "p:" and the person when known, so that
// two phones of one person get one notice, else "d:" and the device.
func (p *Profile) Subject() string {
	if p.Person != "" {
		return "p:" + p.Person
	}
	return "d:" + p.Device
}

// MayPush reports whether the person has not refused pushes. One that a position
// of the device has caused must also not be [Profile.Withdrawn].
func (p *Profile) MayPush() bool { return !refused(p.ConsentPush) }

// Withdrawn reports whether the person has said that positions of the device are not to be used.
func (p *Profile) Withdrawn() bool { return refused(p.ConsentLocation) }

func refused(c *bool) bool { return c != nil && !*c }

// Reachable reports whether a provider may still accept a push: there is a
// token, the platform that it belongs to is known, and it is not dead.
func (p *Profile) Reachable() bool {
	return p.Token != "" && p.Platform != "" && !p.TokenDead
}

// LogValue keeps personal data out of logs: it shows the device and what kind
// of data is there, never the token, the person or a tag's value.
func (p *Profile) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("device", p.Device),
		slog.Bool("person", p.Person != ""),
		slog.String("platform", p.Platform),
		slog.Bool("reachable", p.Reachable()),
		slog.Int("tags", len(p.Tags)),
	)
}
