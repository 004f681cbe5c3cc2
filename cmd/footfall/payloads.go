package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/push"
	"footfall/push/apns"
	"footfall/push/fcm"
	"footfall/push/hms"
	"footfall/push/inapp"
	"footfall/push/webhook"
	"footfall/push/webpush"
	"footfall/stream"
)

// channel is one way in which a notification can leave, and what it looks like there.
type channel struct {
	name     string
	platform push.Platform
	preview  func(*push.Notification) (payload []byte, reduced bool, err error)
	measure  func(*push.Notification) (push.Size, error)
}

func fcmStyle(s fcm.Style) func(*push.Notification) ([]byte, bool, error) {
	return func(n *push.Notification) ([]byte, bool, error) { return fcm.Preview(n, s) }
}

func fcmSize(s fcm.Style) func(*push.Notification) (push.Size, error) {
	return func(n *push.Notification) (push.Size, error) { return fcm.Measure(n, s) }
}

var channels = []channel{
	{"apns", push.IOS, apns.Preview, apns.Measure},
	{"fcm-ios", push.IOS, fcmStyle(fcm.Display), fcmSize(fcm.Display)},
	{"fcm-display", push.Android, fcmStyle(fcm.Display), fcmSize(fcm.Display)},
	{"fcm-data", push.Android, fcmStyle(fcm.DataOnly), fcmSize(fcm.DataOnly)},
	{"webpush", push.Web, webpush.Preview, webpush.Measure},
	{"hms", push.HMS, hms.Preview, hms.Measure},
	{"webhook", push.IOS, webhook.Preview, webhook.Measure},
	{"inapp", push.IOS, inapp.Preview, inapp.Measure},
}

// sampleNotification addresses content with ids as long as real ones.
func sampleNotification(c *campaign.Campaign, content *campaign.Content, platform push.Platform) *push.Notification {
	n := stream.Notification(content)
	n.MID, n.App, n.Device, n.Platform = "3f0c2b1a-9d7e-4c55-8a10-0123456789ab", "shop", "phone-7", platform
	n.Campaign, n.Fence = c.ID, "store-000001"
	n.ReceiptKey = "AAAAAAAAAAAAAAAAAAAAAA"
	n.ExpiresAt = time.Date(2026, 11, 28, 12, 15, 0, 0, time.UTC)
	return n
}

// checkPayloads measures every template in every language on every channel, filled with sample values, as it would go
// out. What does not fit even without subtitle and data is an error: it would never be sent. For the values of real people
// see longestPayloads.
func checkPayloads(cs []*campaign.Campaign) error {
	var errs []error
	for _, c := range cs {
		for _, ch := range channels {
			for _, content := range c.Samples(string(ch.platform)) {
				if _, _, err := ch.preview(sampleNotification(c, &content, ch.platform)); err != nil {
					what := "campaign "
					if c.Trigger.Journey {
						what = "journey "
					}
					errs = append(errs, &campaign.Error{File: c.File, Line: c.Line, Col: c.Col, Code: campaign.CodePayload,
						Msg: fmt.Sprintf("%s, locale %s: %v", what+c.ID, content.Locale, err), Hint: "shorten the texts and the data"})
				}
			}
		}
	}
	return errors.Join(errs...)
}

// longestPayloads warns of each language of each template that is over the limit of a channel for somebody: with the
// longest values that there can be, in the fences of set (nil: those of a sample), and the dearest characters. It names the
// channel that suffers most, and which values make it so. It takes milliseconds for a campaign, so it is for a check.
func longestPayloads(cs []*campaign.Campaign, set *fences.Set) []*campaign.Error {
	var warnings []*campaign.Error
	fence, places := longestFence(set), campaign.NewPlaces(set)
	for _, c := range cs {
		var worst []payloadCase // by template and language
		for _, ch := range channels {
			size := func(content *campaign.Content) push.Size {
				n := sampleNotification(c, content, ch.platform)
				n.App, n.Device, n.CollapseID = strings.Repeat("x", 64), strings.Repeat("x", 64), strings.Repeat("x", 64)
				n.Fence = cmp.Or(fence, n.Fence)
				s, err := ch.measure(n)
				if err != nil { // the samples were refused with the same words
					return push.Size{}
				}
				return s
			}
			limit := size(&campaign.Content{Title: "x"}).Limit
			list := c.Longest(string(ch.platform), places, func(content *campaign.Content) int { return size(content).Full }, func(n int) bool { return n > limit })
			if worst == nil {
				worst = make([]payloadCase, len(list))
			}
			for i := range list {
				if p := (payloadCase{&list[i], ch.name, size(&list[i].Content)}); p.exceeds() > worst[i].exceeds() || worst[i].longest == nil {
					worst[i] = p
				}
			}
		}
		for _, p := range worst {
			warnings = append(warnings, p.warnings(c)...)
		}
	}
	return warnings
}

func longestFence(set *fences.Set) (id string) {
	if set != nil {
		for i := range set.Len() {
			if f := string(set.At(int32(i)).ID); len(f) > len(id) {
				id = f
			}
		}
	}
	return id
}

// payloadCase is the longest push of a template in a language on a channel.
type payloadCase struct {
	longest *campaign.Longest
	channel string
	size    push.Size
}

// exceeds orders channels by what becomes of the push: not sent, by how much, before sent without subtitle and data.
func (p payloadCase) exceeds() int {
	if p.size.Less > p.size.Limit {
		return 1<<20 + p.size.Less - p.size.Limit
	}
	return p.size.Full - p.size.Limit
}

func (p payloadCase) warnings(c *campaign.Campaign) (list []*campaign.Error) {
	what := "campaign " + c.ID
	if c.Trigger.Journey {
		what = "journey " + c.ID
	}
	if p.longest.Template != "" {
		what += ", template " + p.longest.Template
	}
	what += ", locale " + p.longest.Locale
	warn := func(hint, format string, args ...any) {
		list = append(list, &campaign.Error{File: c.File, Line: c.Line, Col: c.Col, Code: campaign.CodePayload, Warning: true, Msg: what + ": " + fmt.Sprintf(format, args...), Hint: hint})
	}
	if over := p.longest.Over; len(over) > 0 {
		warn(p.hint(0), "%s may have more than 1024 bytes, and is then not sent: %s", strings.Join(over, ", "), p.because())
	}
	switch s := p.size; {
	case s.Less > s.Limit:
		warn(p.hint(s.Full-s.Limit), "worst case %d bytes of %d on %s, and %d without subtitle and data: then it is not sent; %s", s.Full, s.Limit, p.channel, s.Less, p.because())
	case s.Full > s.Limit:
		warn(p.hint(s.Full-s.Limit), "worst case %d bytes of %d on %s: then it goes out without subtitle and data; %s", s.Full, s.Limit, p.channel, p.because())
	}
	return list
}

// hint is what to do about so many bytes too many: maximums for the values that have none, in proportion. 0 is for texts
// that are too long by themselves.
func (p payloadCase) hint(over int) string {
	var adds int
	var values []campaign.LongestValue
	for _, v := range p.longest.Values {
		if v.Unbounded && v.Adds > 0 {
			values, adds = append(values, v), adds+v.Adds
		}
	}
	const names = 64 // of the texts' fields, which are there or not
	if len(values) == 0 || adds < over+names {
		return "shorten the texts, or cut values with max in the template"
	}
	var list []string
	for _, v := range values {
		const name = 40
		n := v.Chars * (adds - over - names) / adds
		if over == 0 {
			n = min(n, name)
		}
		list = append(list, fmt.Sprintf("%s: %d", v.Path, max(n, 1)))
	}
	return "max: {" + strings.Join(list, ", ") + "} in the template cuts what is longer"
}

// because names what makes the push so long.
func (p payloadCase) because() string {
	var parts []string
	for _, v := range p.longest.Values {
		if v.Adds > 0 && len(parts) < 3 {
			parts = append(parts, fmt.Sprintf("%s adds up to %d (%s)", v.Path, v.Adds, v.Most))
		}
	}
	if len(parts) == 0 {
		return "its own texts are that long"
	}
	return strings.Join(parts, ", ")
}
