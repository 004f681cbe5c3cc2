package fake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fcmMessage is a message that passed validation, as far as the fake needs it.
type fcmMessage struct {
	Token        string
	Data         map[string]string
	Notification *struct{ Title, Body, Image string }
	Android      *struct {
		CollapseKey  string `json:"collapse_key"`
		TTL          string
		Data         map[string]string
		Notification *fcmAndroidNotification
	}
	validateOnly bool
}

type fcmAndroidNotification struct {
	Title, Body, Image, Tag string
	ClickAction             string `json:"click_action"`
	TitleLocKey             string `json:"title_loc_key"`
	BodyLocKey              string `json:"body_loc_key"`
}

func (f *fcmMessage) androidNotification() *fcmAndroidNotification {
	if f.Android == nil {
		return nil
	}
	return f.Android.Notification
}

// fieldError is a fault of one field; the service names both in BadRequest.
type fieldError struct{ field, description string }

func (e *fieldError) Error() string { return e.description }

// Kinds of values in the message; an object is a schema of its own.
type fcmKind uint8

const (
	kString   fcmKind = iota // a string
	kBool                    // true or false
	kInt                     // a whole number, also as a string (proto3 JSON)
	kStrings                 // an object with strings only
	kTexts                   // a list of strings
	kAny                     // an object that the fake does not look into
	kDuration                // "3.5s", 0 to 28 days
	kPriority                // android.priority
)

type fcmSchema map[string]any // snake_case name to fcmKind or fcmSchema

var fcmOptions = fcmSchema{"analytics_label": kString}

// fcmRequest is the body of messages:send (FCM HTTP v1 reference).
var fcmRequest = fcmSchema{
	"validate_only": kBool,
	"message": fcmSchema{
		"name": kString, "data": kStrings, "token": kString, "topic": kString, "condition": kString,
		"fcm_options": fcmOptions, "webpush": kAny, "apns": kAny,
		"notification": fcmSchema{"title": kString, "body": kString, "image": kString},
		"android": fcmSchema{
			"collapse_key": kString, "priority": kPriority, "ttl": kDuration, "restricted_package_name": kString,
			"data": kStrings, "fcm_options": fcmOptions, "direct_boot_ok": kBool,
			"bandwidth_constrained_ok": kBool, "restricted_satellite_ok": kBool,
			"notification": fcmSchema{
				"title": kString, "body": kString, "icon": kString, "color": kString, "sound": kString, "tag": kString,
				"click_action": kString, "body_loc_key": kString, "body_loc_args": kTexts, "title_loc_key": kString,
				"title_loc_args": kTexts, "channel_id": kString, "ticker": kString, "sticky": kBool, "event_time": kString,
				"local_only": kBool, "notification_priority": kString, "default_sound": kBool,
				"default_vibrate_timings": kBool, "default_light_settings": kBool, "vibrate_timings": kTexts,
				"visibility": kString, "notification_count": kInt, "light_settings": kAny, "image": kString,
				"bypass_proxy_notification": kBool, "proxy": kString,
			},
		},
	},
}

const (
	maxTTL      = 28 * 24 * time.Hour
	maxFCMBytes = 4096
)

// parseFCM reads and validates the body of messages:send. Faults of a field
// come back as *fieldError.
func parseFCM(body []byte) (*fcmMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var raw map[string]any
	if err := dec.Decode(&raw); err != nil || raw == nil {
		//lint:ignore ST1005 the words of the service, which go into its answer as they are
		return nil, errors.New("Invalid JSON payload received. Expected an object.")
	}
	if _, err := dec.Token(); err != io.EOF {
		//lint:ignore ST1005 the words of the service, which go into its answer as they are
		return nil, errors.New("Invalid JSON payload received. Unexpected token after the object.")
	}
	norm, err := fcmRequest.check("", raw)
	if err != nil {
		return nil, err
	}
	msg, ok := norm["message"].(map[string]any)
	if !ok {
		return nil, &fieldError{"message", "The message is missing."}
	}
	targets := 0
	for _, k := range []string{"token", "topic", "condition"} {
		if s, _ := msg[k].(string); s != "" {
			targets++
		}
	}
	if targets != 1 {
		return nil, &fieldError{"message", "Exactly one of token, topic and condition is required."}
	}
	// The checked tree holds only what the struct can take, so going through
	// JSON once more cannot fail.
	j, err := json.Marshal(msg)
	if err != nil {
		return nil, err
	}
	m := new(fcmMessage)
	if err := json.Unmarshal(j, m); err != nil {
		return nil, err
	}
	if m.Android != nil && m.Android.Data != nil {
		m.Data = m.Android.Data // overrides message.data as a whole
	}
	m.validateOnly, _ = norm["validate_only"].(bool)
	return m, nil
}

// check validates an object and returns it with snake_case names; proto3 JSON
// accepts either spelling.
func (s fcmSchema) check(path string, in map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(in))
	for _, name := range sortedKeys(in) { // in order, so that the same body gets the same error
		v := in[name]
		key := snake(name)
		kind, known := s[key]
		if !known {
			at := ""
			if path != "" {
				at = " at '" + path + "'"
			}
			return nil, &fieldError{path, fmt.Sprintf("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", clip(name, 100), at)}
		}
		if v == nil {
			continue // null is absent
		}
		if _, twice := out[key]; twice {
			return nil, &fieldError{join(path, key), "Invalid JSON payload received. The field is set twice."}
		}
		var err error
		if out[key], err = checkValue(join(path, key), kind, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func checkValue(path string, kind, v any) (any, error) {
	bad := func(typ string) (any, error) {
		return nil, &fieldError{path, fmt.Sprintf("Invalid value at '%s' (%s)", path, typ)}
	}
	sub, isObject := kind.(fcmSchema)
	if isObject {
		m, ok := v.(map[string]any)
		if !ok {
			return bad("an object is expected")
		}
		return sub.check(path, m)
	}
	switch kind.(fcmKind) {
	case kString:
		if _, ok := v.(string); !ok {
			return bad("TYPE_STRING")
		}
	case kBool:
		if _, ok := v.(bool); !ok {
			return bad("TYPE_BOOL")
		}
	case kInt:
		if _, err := strconv.ParseInt(fmt.Sprint(v), 10, 32); err != nil {
			return bad("TYPE_INT32")
		}
	case kStrings:
		return checkData(path, v)
	case kTexts:
		l, ok := v.([]any)
		if !ok {
			return bad("a list is expected")
		}
		for _, e := range l {
			if _, ok := e.(string); !ok {
				return bad("TYPE_STRING")
			}
		}
	case kAny:
		if _, ok := v.(map[string]any); !ok {
			return bad("an object is expected")
		}
	case kDuration:
		s, ok := v.(string)
		if !ok {
			return bad("type.googleapis.com/google.protobuf.Duration")
		}
		if d, ok := parseTTL(s); !ok || s == "" || d > maxTTL {
			return bad("type.googleapis.com/google.protobuf.Duration): seconds from 0s to 2419200s, such as 3.5s")
		}
	case kPriority:
		s, ok := v.(string)
		if !ok || !slices.Contains([]string{"NORMAL", "HIGH"}, strings.ToUpper(s)) {
			return bad("type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority")
		}
	}
	return v, nil
}

// checkData checks data: strings only, and none of the keys that the service
// keeps for itself.
func checkData(path string, v any) (any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, &fieldError{path, fmt.Sprintf("Invalid value at '%s' (an object is expected)", path)}
	}
	for i, k := range sortedKeys(m) {
		if _, ok := m[k].(string); !ok {
			return nil, &fieldError{fmt.Sprintf("%s[%d].value", path, i), fmt.Sprintf("Invalid value at '%s[%d].value' (TYPE_STRING), key %q", path, i, clip(k, 100))}
		}
		if k == "from" || k == "message_type" || k == "collapse_key" || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "gcm") {
			return nil, &fieldError{fmt.Sprintf("%s[%d].key", path, i), "Invalid data payload key: " + clip(k, 100)}
		}
	}
	return m, nil
}

// parseTTL reads proto3 JSON's duration, seconds with an s: "0s", "3.5s".
// "" is no duration, and fine.
func parseTTL(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	num, ok := strings.CutSuffix(s, "s")
	whole, frac, _ := strings.Cut(num, ".")
	if !ok || whole == "" || len(whole) > 9 || len(frac) > 9 || strings.HasSuffix(num, ".") {
		return 0, false
	}
	sec, err := strconv.ParseUint(whole, 10, 64)
	nano, err2 := strconv.ParseUint((frac + "000000000")[:9], 10, 64)
	if err != nil || err2 != nil {
		return 0, false
	}
	return time.Duration(sec)*time.Second + time.Duration(nano), true
}

// tooBig applies the limit of 4096 bytes to what travels to the phone: data
// and notification texts.
func (f *fcmMessage) tooBig() bool {
	n := 0
	for k, v := range f.Data {
		n += len(k) + len(v)
	}
	if m := f.Notification; m != nil {
		n += len(m.Title) + len(m.Body) + len(m.Image)
	}
	if m := f.androidNotification(); m != nil {
		n += len(m.Title) + len(m.Body) + len(m.Image) + len(m.Tag) + len(m.ClickAction)
	}
	return n > maxFCMBytes
}

// snake turns collapseKey into collapse_key.
func snake(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			b.WriteByte(c - 'A' + 'a')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func sortedKeys(m map[string]any) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}
