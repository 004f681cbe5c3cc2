package fcm

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"

	"footfall/push"
	"footfall/push/internal/exchange"
)

// raw is what a campaign adds to one message: the SDK's types do not have all
// of Google's fields.
type raw struct {
	platform push.Platform
	add      json.RawMessage
}

// rawOf is the raw object of n as it goes out. What the system would draw is
// left out of a message that it does not draw: it would make a notification of
// it, next to that of the SDK.
func rawOf(n *push.Notification, style Style) (raw, error) {
	r := raw{push.Android, n.Raw}
	if n.Platform == push.IOS {
		r.platform = push.IOS
	}
	if len(n.Raw) == 0 {
		return r, nil
	}
	checked, err := push.MergeRaw(r.platform, nil, n.Raw)
	if err != nil || r.platform == push.IOS || style != DataOnly && !n.Silent {
		return r, err
	}
	if android, ok := checked["android"].(map[string]any); ok {
		android = maps.Clone(android)
		delete(android, "notification")
		checked["android"] = android
	}
	r.add, err = exchange.PlainJSON(checked)
	return r, err
}

// merge adds r to a message, in its JSON form.
func (r *raw) merge(message map[string]any) (map[string]any, error) {
	if len(r.add) == 0 {
		return message, nil
	}
	if r.platform != push.IOS {
		return push.MergeRaw(r.platform, message, r.add)
	}
	apns, _ := message["apns"].(map[string]any)
	payload, _ := apns["payload"].(map[string]any)
	if payload == nil {
		return nil, errors.New("the message has no payload for Apple")
	}
	merged, err := push.MergeRaw(r.platform, payload, r.add)
	if err != nil {
		return nil, err
	}
	apns, message = maps.Clone(apns), maps.Clone(message)
	apns["payload"], message["apns"] = merged, apns
	return message, nil
}

// payload is Apple's payload with r in it.
func (r *raw) payload(text []byte) ([]byte, error) {
	object, err := decode(text)
	if err == nil {
		object, err = push.MergeRaw(r.platform, object, r.add)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(object)
}

// message is m in its JSON form, with r in it.
func (r *raw) message(m any) (map[string]any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	object, err := decode(text)
	if err != nil {
		return nil, err
	}
	return r.merge(object)
}

// decode keeps numbers as they are written.
func decode(text []byte) (object map[string]any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&object)
	return object, err
}
