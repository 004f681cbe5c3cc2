// Package audience keeps what is known about devices and the people behind
// them: the registration an app sends (push token, locale, zone, tags, consent)
// and, later, segments over it. It decides nothing and sends nothing.
//
// A Profile is changed only by [Profile.Merge], the partial update that the
// subject device.<app>.<device> carries, and by the outbox when a provider says
// that a token is dead. Profiles live in the ledger ([Get], [Put], [Erase]).
package audience

// Profile is one app installation on one phone. The zero value (with Device
// set) is the profile of a device that has sent positions but never registered:
// it has no token, so nothing can be pushed to it.
//
// Consent rule: both flags are optional. An absent consent.push means allowed,
// because the operating system has already asked the person before it handed
// out a token; an absent consent.location means allowed as well, because
// positions only arrive when the app holds that permission. An explicit false
// in either refuses: without location consent an entry must not lead to a push
// even when the app keeps sending positions. See [Profile.MayPush].
//
// Not safe for concurrent use. Tags is owned by the profile.
type Profile struct {
	Device          string         // "<app>.<device>", the key
	Person          string         // the app's user id; "" when nobody is signed in
	Platform        string         // "ios", "android", "web" or "hms"
	Token           string         // push token of the platform; personal data
	Env             string         // "prod" or "sandbox"; "" means prod
	Locale          string         // BCP 47, in canonical form ("uk-UA")
	Zone            string         // IANA zone of the phone
	Tags            map[string]any // string, float64, bool or []string
	ConsentLocation *bool          // nil: not said
	ConsentPush     *bool          // nil: not said
	SDK, OS         string         // versions, as the app names them
	TokenAt         int64          // Unix ms: receive time of the update that last changed Token
	UpdatedAt       int64          // Unix ms: receive time of the last update
	TokenDead       bool           // the provider refused Token for good; a new token clears it
}

// Subject is who a claim counts against: the person when known, so that two
// phones of one person get one notice, else the device.
func (p *Profile) Subject() string {
	if p.Person != "" {
		return "p:" + p.Person
	}
	return "d:" + p.Device
}

// MayPush reports whether the person's consent permits a push caused by a
// position. See the rule at [Profile].
func (p *Profile) MayPush() bool {
	refused := func(c *bool) bool { return c != nil && !*c }
	return !refused(p.ConsentPush) && !refused(p.ConsentLocation)
}

// Reachable reports whether there is a token that a provider may still accept.
func (p *Profile) Reachable() bool { return p.Token != "" && !p.TokenDead }
