package main

import (
	"errors"
	"fmt"
	"time"

	"footfall/campaign"
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
}

func fcmStyle(s fcm.Style) func(*push.Notification) ([]byte, bool, error) {
	return func(n *push.Notification) ([]byte, bool, error) { return fcm.Preview(n, s) }
}

var channels = []channel{
	{"apns", push.IOS, apns.Preview},
	{"fcm-ios", push.IOS, fcmStyle(fcm.Display)},
	{"fcm-display", push.Android, fcmStyle(fcm.Display)},
	{"fcm-data", push.Android, fcmStyle(fcm.DataOnly)},
	{"webpush", push.Web, webpush.Preview},
	{"hms", push.HMS, hms.Preview},
	{"webhook", push.IOS, webhook.Preview},
	{"inapp", push.IOS, inapp.Preview},
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
// out. What does not fit even without subtitle and data is an error: it would never be sent. The values of real people
// may be longer; then the same limit holds when it is sent.
func checkPayloads(cs []*campaign.Campaign) error {
	var errs []error
	for _, c := range cs {
		for _, ch := range channels {
			for _, content := range c.Samples(string(ch.platform)) {
				if _, _, err := ch.preview(sampleNotification(c, &content, ch.platform)); err != nil {
					errs = append(errs, fmt.Errorf("%s:%d: campaign %s, locale %s: %w", c.File, c.Line, c.ID, content.Locale, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}
