package fake

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Shown is one notification on the screen of one phone.
type Shown struct {
	Token    string            // device token
	Service  string            // "apns" or "fcm"
	MID      string            // message id from the payload, "" if it carries none
	Title    string            //
	Subtitle string            // iOS only
	Body     string            //
	Image    string            // URL
	Link     string            // deep link or https
	Key      string            // receipt key from the payload
	Collapse string            // apns-collapse-id, or the Android tag
	Data     map[string]string // FCM data, nil for APNs; shared, do not write to it
	At       time.Time         // when the phone showed this content
	Replaced int               // how many earlier contents it took the place of
}

// PhoneBookConfig configures a [PhoneBook]; the zero value is ready to use.
type PhoneBookConfig struct {
	// Now is the clock for expiry and for Shown.At; default time.Now.
	Now func() time.Time
	// MaxPhones bounds how many phones are remembered, default 200,000. A
	// push to one more phone is announced to OnShow, not kept, and counted in
	// PhoneStats.Overflow.
	MaxPhones int
	// MaxPerPhone bounds the notifications on one screen, default 50; the
	// oldest goes, as it does on a real phone.
	MaxPerPhone int
	// MaxBytes bounds the text kept for all phones, default 256 MiB. Beyond
	// it new notifications are treated as with MaxPhones.
	MaxBytes int64
}

// PhoneBook models the phones behind the fakes: what each of them shows, and
// what the service stores for those that are offline. Phones need not be
// declared; a token that gets its first push is a phone that is online.
//
// Rules applied, by service:
//
//   - APNs: a shown notification with the same collapse id is replaced in
//     place of a second one. While a phone is offline one notification is
//     stored, the newest, and only until its expiration; expiration 0 (or a
//     past time) means now or never. Background pushes show nothing.
//   - FCM, drawn by the system (message.notification present): a shown one
//     with the same tag is replaced; no tag stacks. Nothing looks at the
//     message id, so two copies without a tag are two notifications.
//   - FCM, drawn by the app's SDK (data only): the SDK ignores a message id
//     it has shown before, even when it has been swiped away since.
//   - FCM offline: one message per collapse key, at most 4 keys (the service
//     does not say which go; here the oldest), at most 100 messages without a
//     key (then all of those are dropped), each until its ttl.
//
// A notification that is on the screen stays there when its time to live ends.
// Safe for concurrent use.
type PhoneBook struct {
	cfg    PhoneBookConfig
	onShow atomic.Pointer[func(Shown)]

	mu     sync.Mutex
	phones map[string]*phone
	bytes  int64
	stats  PhoneStats
}

// PhoneStats counts what happened on all phones.
type PhoneStats struct {
	Phones     int64 // phones remembered
	Shown      int64 // contents that appeared, replacements included
	Replaced   int64 // of those, how many took the place of an earlier one
	Duplicates int64 // ignored by the SDK: message id seen before
	Silent     int64 // pushes without anything to show
	Stored     int64 // kept by the service for an offline phone
	Expired    int64 // time to live ended before the phone could show it
	Superseded int64 // stored, then displaced by a newer one
	Overflow   int64 // shown but not kept: a bound of the book was reached
}

// phone is one device. The zero value is online with an empty screen.
type phone struct {
	offline bool
	shown   []Shown
	stored  []message // oldest first
	seen    []string  // message ids the SDK has shown, oldest first
}

// Bounds of one phone that follow the services, not the configuration.
const (
	fcmCollapseKeys = 4   // stored per device
	fcmStoredPlain  = 100 // stored per device without a collapse key
	sdkRemembers    = 64  // message ids an SDK keeps to recognise copies
)

// shownOverhead is what a Shown weighs besides its text.
const shownOverhead = 256

// NewPhoneBook returns an empty book.
func NewPhoneBook(cfg PhoneBookConfig) *PhoneBook {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MaxPhones = cmp.Or(cfg.MaxPhones, 200_000)
	cfg.MaxPerPhone = cmp.Or(cfg.MaxPerPhone, 50)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 256<<20)
	return &PhoneBook{cfg: cfg, phones: make(map[string]*phone)}
}

// Shown returns a copy of what is on the screen of the phone, oldest first;
// nil when there is nothing.
func (b *PhoneBook) Shown(token string) []Shown {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.phones[token]
	if p == nil {
		return nil
	}
	return slices.Clone(p.shown)
}

// Each calls fn for every notification on every screen, phones in no
// particular order, until fn returns false. It works on a copy, so fn may call
// the book.
func (b *PhoneBook) Each(fn func(Shown) bool) {
	b.mu.Lock()
	var all []Shown
	for _, p := range b.phones {
		all = append(all, p.shown...)
	}
	b.mu.Unlock()
	for _, s := range all {
		if !fn(s) {
			return
		}
	}
}

// OnShow sets the function called for everything that appears on a screen, nil
// for none. It runs on a goroutine of the fake, before the sender has its
// answer, possibly on several at once, and must be quick; it may call the book
// but must not close the fake.
func (b *PhoneBook) OnShow(fn func(Shown)) {
	if fn == nil {
		b.onShow.Store(nil)
		return
	}
	b.onShow.Store(&fn)
}

// SetOffline takes the phone off the network: pushes are stored or dropped as
// the service does. A phone that the full book cannot remember stays online.
func (b *PhoneBook) SetOffline(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.phone(token); p != nil {
		p.offline = true
	}
}

// SetOnline brings the phone back; what the service stored and what has not
// expired is shown before SetOnline returns.
func (b *PhoneBook) SetOnline(token string) {
	b.mu.Lock()
	p := b.phones[token]
	if p == nil {
		b.mu.Unlock()
		return
	}
	p.offline = false
	stored := p.stored
	p.stored = nil
	now := b.cfg.Now()
	var news []Shown
	for i := range stored {
		m := &stored[i]
		b.bytes -= m.size()
		if m.expired(now) {
			b.stats.Expired++
			continue
		}
		if s, ok := b.show(p, m, now); ok {
			news = append(news, s)
		}
	}
	b.mu.Unlock()
	b.announce(news...)
}

// Clear swipes everything off the screen. A later push with a collapse id that
// was on it is a new notification.
func (b *PhoneBook) Clear(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.phones[token]; p != nil {
		for i := range p.shown {
			b.bytes -= p.shown[i].size()
		}
		p.shown = nil
	}
}

// Stats returns the counts so far.
func (b *PhoneBook) Stats() PhoneStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Phones = int64(len(b.phones))
	return s
}

// phone returns the entry of a token, made when there is room, else nil.
// Callers hold b.mu.
func (b *PhoneBook) phone(token string) *phone {
	p := b.phones[token]
	if p == nil && len(b.phones) < b.cfg.MaxPhones {
		p = new(phone)
		b.phones[token] = p
	}
	return p
}

// announce tells the watcher. Never called with a lock held.
func (b *PhoneBook) announce(news ...Shown) {
	fn := b.onShow.Load()
	if fn == nil {
		return
	}
	for _, s := range news {
		(*fn)(s)
	}
}

// size is what a notification counts towards MaxBytes.
func (s *Shown) size() int64 {
	n := shownOverhead + len(s.Token) + len(s.MID) + len(s.Title) + len(s.Subtitle) + len(s.Body) +
		len(s.Image) + len(s.Link) + len(s.Collapse)
	for k, v := range s.Data {
		n += len(k) + len(v) + 64
	}
	return int64(n)
}
