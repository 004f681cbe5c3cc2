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
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return g
	}
	g.MID, g.Image, g.Link, g.Key = text(m["mid"]), text(m["img"]), text(m["link"]), text(m["k"])
	return g
}

// text returns a JSON string, "" for anything else.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// parseAPNs reads an APNs payload into what the phone shows, without token,
// collapse id and expiry. It reports false when the payload is not a JSON
// object with an object named aps, in which case a phone shows nothing.
func parseAPNs(body []byte) (*message, bool) {
	var root map[string]json.RawMessage
	if json.Unmarshal(body, &root) != nil {
		return nil, false
	}
	var aps map[string]json.RawMessage
	if json.Unmarshal(root["aps"], &aps) != nil || aps == nil {
		return nil, false
	}
	g := parseGateway(root["g"])
	m := &message{Shown: Shown{Service: serviceAPNs, MID: g.MID, Image: g.Image, Link: g.Link, Key: g.Key}}
	if m.Body = text(aps["alert"]); m.Body == "" {
		var alert map[string]json.RawMessage
		if json.Unmarshal(aps["alert"], &alert) == nil {
			// A phone looks a loc-key up in the app's strings; the key itself is
			// the best that a model without the app can show.
			m.Title = cmp.Or(text(alert["title"]), text(alert["title-loc-key"]))
			m.Subtitle = cmp.Or(text(alert["subtitle"]), text(alert["subtitle-loc-key"]))
			m.Body = cmp.Or(text(alert["body"]), text(alert["loc-key"]))
		}
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
