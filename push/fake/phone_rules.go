package fake

import (
	"slices"
	"time"
)

// message is one accepted push on its way to a phone.
type message struct {
	Shown              // content; At and Replaced are still empty
	silent   bool      // nothing to show
	bySDK    bool      // drawn by our SDK, which ignores a known message id
	never    bool      // now or never: not stored for an offline phone
	expires  time.Time // zero: the service's own limit, which no test outlives
	storeKey string    // FCM collapse_key, "" for none; APNs ignores it
}

// expired reports whether the service would have thrown m away by now. The
// instant of expiry itself is still in time.
func (m *message) expired(now time.Time) bool {
	return !m.expires.IsZero() && now.After(m.expires)
}

// deliver hands an accepted push to its phone, or to the service's store while
// the phone is offline, and tells the watcher what has appeared.
func (b *PhoneBook) deliver(m *message) {
	b.mu.Lock()
	now := b.cfg.Now()
	p := b.phone(m.Token)
	if p != nil && p.offline {
		b.store(p, m, now)
		b.mu.Unlock()
		return
	}
	// An expired push still reaches a phone that is online: the services try
	// once, at once, whatever the expiry says.
	s, ok := b.show(p, m, now)
	b.mu.Unlock()
	if ok {
		b.announce(s)
	}
}

// show puts m on the screen of p, nil for a phone that the book has no room
// for. It reports what appeared, if anything did. Callers hold b.mu.
func (b *PhoneBook) show(p *phone, m *message, now time.Time) (Shown, bool) {
	if m.silent {
		b.stats.Silent++
		return Shown{}, false
	}
	s := m.Shown
	s.At = now
	if p == nil {
		b.stats.Shown++
		b.stats.Overflow++
		return s, true
	}
	if m.bySDK && s.MID != "" {
		if slices.Contains(p.seen, s.MID) {
			b.stats.Duplicates++
			return Shown{}, false
		}
		if len(p.seen) == sdkRemembers {
			p.seen = slices.Delete(p.seen, 0, 1)
		}
		p.seen = append(p.seen, s.MID)
	}
	b.stats.Shown++
	if s.Collapse != "" {
		i := slices.IndexFunc(p.shown, func(o Shown) bool {
			return o.Collapse == s.Collapse && o.Service == s.Service
		})
		if i >= 0 {
			b.stats.Replaced++
			s.Replaced = p.shown[i].Replaced + 1
			b.bytes -= p.shown[i].size()
			p.shown = slices.Delete(p.shown, i, i+1)
		}
	}
	if b.bytes+s.size() > b.cfg.MaxBytes {
		b.stats.Overflow++
		return s, true
	}
	if len(p.shown) >= b.cfg.MaxPerPhone {
		b.bytes -= p.shown[0].size()
		p.shown = slices.Delete(p.shown, 0, 1)
	}
	p.shown = append(p.shown, s)
	b.bytes += s.size()
	return s, true
}

// store keeps m for an offline phone as its service would. Callers hold b.mu.
func (b *PhoneBook) store(p *phone, m *message, now time.Time) {
	if m.never || m.expired(now) {
		b.stats.Expired++
		return
	}
	if m.Service == serviceAPNs {
		// One per bundle id, and a token belongs to one bundle id.
		b.unstore(p, func(o *message) bool { return o.Service == serviceAPNs })
	} else if m.storeKey != "" {
		b.unstore(p, func(o *message) bool { return o.storeKey == m.storeKey })
		if keys := b.count(p, func(o *message) bool { return o.storeKey != "" }); keys >= fcmCollapseKeys {
			oldest := true
			b.unstore(p, func(o *message) bool {
				hit := oldest && o.storeKey != ""
				oldest = oldest && !hit
				return hit
			})
		}
	} else if b.count(p, isPlainFCM) >= fcmStoredPlain {
		b.unstore(p, isPlainFCM)
	}
	if b.bytes+m.size() > b.cfg.MaxBytes {
		b.stats.Overflow++
		return
	}
	b.stats.Stored++
	b.bytes += m.size()
	p.stored = append(p.stored, *m)
}

func isPlainFCM(m *message) bool { return m.Service == serviceFCM && m.storeKey == "" }

// count says how many stored messages of p satisfy f.
func (b *PhoneBook) count(p *phone, f func(*message) bool) (n int) {
	for i := range p.stored {
		if f(&p.stored[i]) {
			n++
		}
	}
	return n
}

// unstore drops the stored messages of p that satisfy f; f is called once for
// each, oldest first.
func (b *PhoneBook) unstore(p *phone, f func(*message) bool) {
	p.stored = slices.DeleteFunc(p.stored, func(o message) bool {
		if !f(&o) {
			return false
		}
		b.bytes -= o.size()
		b.stats.Superseded++
		return true
	})
}
