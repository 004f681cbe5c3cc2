package fake

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
)

// The names in Shown.Service.
const (
	serviceAPNs = "apns"
	serviceFCM  = "fcm"
)

// gateway is our own object in a payload, named g. Unknown members, and
// members of an unexpected type, are ignored: the phone of a person does not
// fail on them either.
type gateway struct {
	MID, Image, Link, Key string
}

func parseGateway(raw []byte) (g gateway) {
	if !json.Valid(raw) {
		return g
	}
	return gatewayOf(raw)
}

// gatewayOf is parseGateway for what is known to be JSON.
func gatewayOf(raw []byte) (g gateway) {
	members(raw, func(name string, val []byte) {
		switch name {
		case "mid":
			g.MID = text(val)
		case "img":
			g.Image = text(val)
		case "link":
			g.Link = text(val)
		case "k":
			g.Key = text(val)
		}
	})
	return g
}

// parseAPNs reads an APNs payload into what the phone shows, without token,
// collapse id and expiry. It reports false when the payload is not a JSON
// object with an object named aps, in which case a phone shows nothing.
func parseAPNs(body []byte) (*message, bool) {
	if !json.Valid(body) {
		return nil, false
	}
	var aps, own, alert []byte
	members(body, func(name string, val []byte) { // the last one of a name counts
		switch name {
		case "aps":
			aps = val
		case "g":
			own = val
		}
	})
	if !members(aps, func(name string, val []byte) {
		if name == "alert" {
			alert = val
		}
	}) {
		return nil, false
	}
	g := gatewayOf(own)
	m := &message{Shown: Shown{Service: serviceAPNs, MID: g.MID, Image: g.Image, Link: g.Link, Key: g.Key}}
	if m.Body = text(alert); m.Body == "" {
		// A phone looks a loc-key up in the app's strings; the key itself is
		// the best that a model without the app can show.
		var title, subtitle, body string
		members(alert, func(name string, val []byte) {
			switch name {
			case "title":
				m.Title = text(val)
			case "subtitle":
				m.Subtitle = text(val)
			case "body":
				m.Body = text(val)
			case "title-loc-key":
				title = text(val)
			case "subtitle-loc-key":
				subtitle = text(val)
			case "loc-key":
				body = text(val)
			}
		})
		m.Title, m.Subtitle, m.Body = cmp.Or(m.Title, title), cmp.Or(m.Subtitle, subtitle), cmp.Or(m.Body, body)
	}
	m.silent = m.Title == "" && m.Subtitle == "" && m.Body == ""
	return m, true
}

// message turns an FCM message into what an Android phone shows.
func (f *fcmMessage) message(now time.Time) *message {
	m := &message{Shown: Shown{
		Token: f.Token, Service: serviceFCM, Data: f.Data,
		MID: f.Data["mid"], Image: cmp.Or(f.Data["image"], f.Data["img"]), Link: f.Data["link"],
	}}
	if raw := f.Data["g"]; raw != "" {
		g := parseGateway([]byte(raw))
		m.MID, m.Image, m.Link, m.Key = cmp.Or(m.MID, g.MID), cmp.Or(m.Image, g.Image), cmp.Or(m.Link, g.Link), g.Key
	}
	m.MID = cmp.Or(m.MID, f.Data["g.mid"])
	if f.Notification == nil && f.androidNotification() == nil {
		// Data only: the SDK draws what it finds, and a re-send of the same
		// message id is not drawn again.
		m.bySDK = true
		m.Title, m.Subtitle, m.Body = f.Data["title"], f.Data["subtitle"], f.Data["body"]
		m.Collapse = cmp.Or(f.Data["tag"], m.MID)
	}
	if n := f.Notification; n != nil {
		m.Title, m.Body, m.Image = n.Title, n.Body, cmp.Or(n.Image, m.Image)
	}
	if n := f.androidNotification(); n != nil {
		m.Title, m.Body = cmp.Or(n.Title, m.Title, n.TitleLocKey), cmp.Or(n.Body, m.Body, n.BodyLocKey)
		m.Image, m.Collapse = cmp.Or(n.Image, m.Image), n.Tag
		if m.Link == "" && strings.Contains(n.ClickAction, "://") {
			m.Link = n.ClickAction
		}
	}
	m.silent = m.Title == "" && m.Subtitle == "" && m.Body == ""
	if a := f.Android; a != nil {
		m.storeKey = a.CollapseKey
		if ttl, ok := parseTTL(a.TTL); ok && a.TTL != "" {
			m.expires = now.Add(ttl)
			m.never = ttl == 0
		}
	}
	return m
}
