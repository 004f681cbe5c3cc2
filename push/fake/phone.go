package fake

import "time"

// Shown is one notification on the screen of one phone.
type Shown struct {
	Token    string // device token
	Service  string // "apns" or "fcm"
	MID      string // message id from the payload, "" if it carries none
	Title    string
	Subtitle string
	Body     string
	Image    string
	Link     string
	Collapse string            // apns-collapse-id, or the Android tag
	Data     map[string]string // FCM data; nil for APNs. Read only.
	At       time.Time         // when the phone showed this content
	Replaced int               // how many earlier contents it took the place of
}

// PhoneBookConfig configures a PhoneBook; the zero value is ready to use.
type PhoneBookConfig struct {
	Now         func() time.Time // clock for expiry and At; default time.Now
	MaxPhones   int              // default 200,000
	MaxPerPhone int              // notifications kept per phone, default 50
}

// PhoneBook models the phones. Safe for concurrent use.
type PhoneBook struct{ cfg PhoneBookConfig }

// NewPhoneBook returns an empty book.
func NewPhoneBook(cfg PhoneBookConfig) *PhoneBook { return &PhoneBook{cfg} }

// Shown returns what is on the screen of the phone, oldest first.
func (b *PhoneBook) Shown(token string) []Shown { return nil }

// OnShow sets the function called for everything that appears on a screen.
func (b *PhoneBook) OnShow(fn func(Shown)) {}

// SetOffline takes the phone off the network.
func (b *PhoneBook) SetOffline(token string) {}

// SetOnline brings it back.
func (b *PhoneBook) SetOnline(token string) {}

// Clear swipes everything away.
func (b *PhoneBook) Clear(token string) {}

// PhoneStats counts what happened on all phones.
type PhoneStats struct {
	Phones, Shown, Replaced, Duplicates, Silent, Stored, Expired, Superseded, Overflow int64
}

// Stats returns the counts so far.
func (b *PhoneBook) Stats() PhoneStats { return PhoneStats{} }
