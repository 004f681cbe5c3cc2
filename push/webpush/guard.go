package webpush

import (
	"errors"
	"net/netip"
)

var errNotPublic = errors.New("the address is not public")

// special are ranges that are not the public internet, or that lead somewhere
// else than they say (RFC 6890 and the IANA registries). What netip knows by
// itself (private, loopback, link-local, multicast) is not repeated.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),   // shared by carriers; cloud metadata in places
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("::/96"),           // IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: an IPv4 address of any kind inside
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),      // discard
	netip.MustParsePrefix("2001::/23"),     // Teredo and other assignments
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4: an IPv4 address of any kind inside
	netip.MustParsePrefix("fec0::/10"),     // site-local, deprecated
}

// public refuses every address that is not of the public internet.
func public(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return errNotPublic
	}
	for _, p := range special {
		if p.Contains(a) {
			return errNotPublic
		}
	}
	return nil
}
