package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of a raw object.
const (
	// MaxRaw is how many bytes of JSON it may have.
	MaxRaw = 2048
	// MaxRawDepth is how deep objects and lists may stand in each other.
	MaxRawDepth = 8
)

// rawOwned are the keys that Notification.Raw cannot have, by platform, each
// with what to use instead. What addresses, replaces, expires or proves a
// message is the gateway's; what a member of Notification says is said there,
// where it is checked. The paths are those of what the raw object is merged
// into: Apple's payload, the message of FCM HTTP v1, Huawei's message, and
// [footfall/push/webpush.Message].
var rawOwned = map[Platform]map[string]string{
	IOS: {
		"g":                      "it is the gateway's own object",
		"aps.alert.title":        "write title in the locale",
		"aps.alert.subtitle":     "write subtitle in the locale",
		"aps.alert.body":         "write body in the locale",
		"aps.badge":              "write badge in the template",
		"aps.sound":              "write sound in the template",
		"aps.thread-id":          "write thread in the template",
		"aps.category":           "write category in the template",
		"aps.interruption-level": "write importance in the template",
		"aps.relevance-score":    "write relevance in the template",
		"aps.mutable-content":    "it is always set, for the image and for receipts",
		"aps.content-state":      notLive,
		"aps.event":              notLive,
		"aps.timestamp":          notLive,
		"aps.stale-date":         notLive,
		"aps.dismissal-date":     notLive,
		"aps.attributes":         notLive,
		"aps.attributes-type":    notLive,
		"aps.input-push-token":   notLive,
		"aps.input-push-channel": notLive,
	},
	Android: {
		"name":                            "the gateway addresses the message",
		"token":                           "the gateway addresses the message",
		"topic":                           "the gateway addresses the message",
		"condition":                       "the gateway addresses the message",
		"apns":                            "write it under ios",
		"webpush":                         "write it under web",
		"data":                            "write data in the template",
		"fcm_options":                     "the label is the campaign's id",
		"notification":                    "write title, body and image in the locale",
		"android.collapse_key":            "it is the campaign; write collapse in the template for what replaces on the phone",
		"android.ttl":                     "write ttl in the push or the template",
		"android.priority":                "it follows from kind",
		"android.data":                    "write data in the template",
		"android.fcm_options":             "the label is the campaign's id",
		"android.notification.title":      "write title in the locale",
		"android.notification.body":       "write body in the locale",
		"android.notification.image":      "write image in the locale",
		"android.notification.tag":        "write collapse in the template",
		"android.notification.channel_id": "write channel under android",
		"android.notification.sound":      "write sound under android",
		"android.notification.color":      "write color under android",
		"android.notification.icon":       "write icon under android",
		"android.notification.visibility": "write visibility under android",
		"android.notification.notification_count":    "write badge in the template",
		"android.notification.notification_priority": "write importance in the template",
	},
	HMS: {
		"token":                               "the gateway addresses the message",
		"topic":                               "the gateway addresses the message",
		"condition":                           "the gateway addresses the message",
		"data":                                "write data in the template",
		"notification":                        "write it under android.notification, or title and body in the locale",
		"android.collapse_key":                "the gateway tells its messages apart by tag",
		"android.ttl":                         "write ttl in the push or the template",
		"android.data":                        "write data in the template",
		"android.notification.title":          "write title in the locale",
		"android.notification.body":           "write body in the locale",
		"android.notification.image":          "write image in the locale",
		"android.notification.notify_summary": "write subtitle in the locale",
		"android.notification.tag":            "write collapse in the template",
		"android.notification.channel_id":     "write channel under hms",
		"android.notification.sound":          "write sound under hms",
		"android.notification.default_sound":  "write sound under hms",
		"android.notification.color":          "write color under hms",
		"android.notification.icon":           "write icon under hms",
		"android.notification.visibility":     "write visibility under hms",
		"android.notification.importance":     "write importance in the template",
		"android.notification.badge.set_num":  "write badge in the template",
	},
	Web: {
		"g":                  "it is the gateway's own object",
		"tag":                "write collapse in the template",
		"expires":            "write ttl in the push or the template",
		"background":         "write kind in the template",
		"title":              "write title in the locale",
		"subtitle":           "write subtitle in the locale",
		"body":               "write body in the locale",
		"image":              "write image in the locale",
		"silent":             "write sound: none in the template",
		"thread":             "write thread in the template",
		"category":           "write category in the template",
		"actions":            "write actions in the template",
		"badge":              "write badge in the template",
		"requireInteraction": "write sticky under web",
		"data":               "write data in the template",
	},
}

const notLive = "Live Activities have a push type and tokens of their own, which this version does not send to"

// RawKey says what to do instead of giving Notification.Raw the key at path
// (names joined by dots) on a platform; "" when the key may be given. object
// is whether its value is an object: anything else in the place of one that
// holds owned keys would replace them with it.
func RawKey(p Platform, path string, object bool) (fix string) {
	if p == Android {
		path = snake(path)
	}
	if fix = rawOwned[p][path]; fix != "" || object {
		return fix
	}
	for _, owned := range slices.Sorted(maps.Keys(rawOwned[p])) {
		if rest, below := strings.CutPrefix(owned, path+"."); below {
			return "give it an object: it holds " + rest + ", which the gateway writes"
		}
	}
	return ""
}

// snake writes collapseKey as collapse_key: Google takes either for the same.
func snake(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Errors of a raw object.
var (
	errRawObject = errors.New("raw is not one JSON object")
	errRawLarge  = fmt.Errorf("raw has more than %d bytes", MaxRaw)
	errRawDeep   = fmt.Errorf("raw is more than %d levels deep", MaxRawDepth)
)

// MergeRaw adds raw to built, the decoded JSON of a payload: objects are merged,
// anything else takes the place of what was there. Neither is changed. An error
// says which key cannot be in raw; campaigns are checked for the same before they
// are loaded. Numbers of raw are json.Number.
func MergeRaw(p Platform, built map[string]any, raw json.RawMessage) (map[string]any, error) {
	if len(raw) > MaxRaw {
		return nil, errRawLarge
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var add map[string]any
	if dec.Decode(&add) != nil || add == nil || dec.More() {
		return nil, errRawObject
	}
	if err := checkRaw(p, "", add, 1); err != nil {
		return nil, err
	}
	return merge(built, add), nil
}

// checkRaw looks at what stands at path; an object or list there is the depth-th.
func checkRaw(p Platform, path string, v any, depth int) error {
	switch v := v.(type) {
	case nil:
		return fmt.Errorf("raw: %s is null", strings.TrimSuffix(path, "."))
	case []any:
		if depth > MaxRawDepth {
			return errRawDeep
		}
		for _, item := range v {
			if err := checkRaw("", path, item, depth+1); err != nil { // owned keys are no members of lists
				return err
			}
		}
	case map[string]any:
		if depth > MaxRawDepth {
			return errRawDeep
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			_, object := v[name].(map[string]any)
			if fix := RawKey(p, path+name, object); fix != "" {
				return fmt.Errorf("raw: %s cannot be set (%s)", path+name, fix)
			}
			if err := checkRaw(p, path+name+".", v[name], depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func merge(old, add map[string]any) map[string]any {
	out := maps.Clone(old)
	if out == nil {
		out = make(map[string]any, len(add))
	}
	for k, v := range add {
		if object, ok := v.(map[string]any); ok {
			below, _ := out[k].(map[string]any)
			v = merge(below, object)
		}
		out[k] = v
	}
	return out
}
