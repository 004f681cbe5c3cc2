package fake

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// apnsRequest is a whole request as the rules see it.
type apnsRequest struct {
	method, path, auth                              string
	id, topic, collapse, priority, pushType, expiry string
	duplicate                                       bool // a header was there twice
	body                                            []byte
	bodyLen                                         int // may exceed len(body), which is cut
}

// Limits from Apple's documentation.
const (
	maxPayload     = 4096
	maxPayloadVoIP = 5120
	maxCollapseID  = 64
	maxDeviceToken = 200 // hex digits; Apple asks not to assume 64
)

// apnsStatus is the status that comes with each documented reason.
var apnsStatus = map[string]int{
	"BadCollapseId": 400, "BadDeviceToken": 400, "BadExpirationDate": 400, "BadMessageId": 400,
	"BadPriority": 400, "BadTopic": 400, "DeviceTokenNotForTopic": 400, "DuplicateHeaders": 400,
	"IdleTimeout": 400, "InvalidPushType": 400, "MissingDeviceToken": 400, "MissingTopic": 400,
	"PayloadEmpty": 400, "TopicDisallowed": 400,
	"BadCertificate": 403, "BadCertificateEnvironment": 403, "ExpiredProviderToken": 403, "Forbidden": 403,
	"InvalidProviderToken": 403, "MissingProviderToken": 403, "UnrelatedKeyIdInToken": 403,
	"BadEnvironmentKeyIdInToken": 403, "BadEnvironmentKeyInToken": 403,
	"BadPath": 404, "MethodNotAllowed": 405, "ExpiredToken": 410, "Unregistered": 410, "PayloadTooLarge": 413,
	"TooManyProviderTokenUpdates": 429, "TooManyRequests": 429,
	"InternalServerError": 500, "ServiceUnavailable": 503, "Shutdown": 503,
}

// topicSuffix is what each push type appends to the bundle id.
var topicSuffix = map[string]string{
	"": "", "alert": "", "background": "", "mdm": "",
	"location": ".location-query", "voip": ".voip", "complication": ".complication",
	"fileprovider": ".pushkit.fileprovider", "liveactivity": ".push-type.liveactivity",
	"pushtotalk": ".voip-ptt", "widgets": ".push-type.widgets", "controls": ".push-type.controls",
}

// deviceToken returns the token in the request's path, "" when there is none,
// and false when the path is not that of a push at all.
func (r *apnsRequest) deviceToken() (string, bool) {
	return strings.CutPrefix(r.path, "/3/device/")
}

// check applies everything that can be said about a request without its
// provider token and without knowing the device: method, path, headers,
// payload size. It returns "" or the first reason to refuse.
func (r *apnsRequest) check(bundle string) string {
	token, ok := r.deviceToken()
	switch {
	case r.method != "POST":
		return "MethodNotAllowed"
	case !ok && r.path != "/3/device":
		return "BadPath"
	case token == "":
		return "MissingDeviceToken"
	case r.duplicate:
		return "DuplicateHeaders"
	case r.id != "" && !isUUID(r.id):
		return "BadMessageId"
	case len(r.collapse) > maxCollapseID:
		return "BadCollapseId"
	}
	if _, ok := parseExpiry(r.expiry); !ok {
		return "BadExpirationDate"
	}
	suffix, ok := topicSuffix[r.pushType]
	if !ok {
		return "InvalidPushType"
	}
	switch r.priority {
	case "", "10", "5", "1":
	default:
		return "BadPriority"
	}
	// Apple: a background push with priority 10 is an error. A missing
	// priority means 10, and Apple lets that pass.
	if r.pushType == "background" && r.priority == "10" {
		return "BadPriority"
	}
	switch {
	case r.topic == "":
		return "MissingTopic"
	case !isTopic(r.topic):
		return "BadTopic"
	case r.topic == bundle+suffix:
	case strings.HasPrefix(r.topic, bundle+".") || r.topic == bundle:
		return "BadTopic" // our app, wrong suffix for the push type
	default:
		return "TopicDisallowed"
	}
	limit := maxPayload
	if r.pushType == "voip" {
		limit = maxPayloadVoIP
	}
	switch {
	case r.bodyLen == 0:
		return "PayloadEmpty"
	case r.bodyLen > limit:
		return "PayloadTooLarge"
	case !isDeviceToken(token):
		return "BadDeviceToken"
	}
	return ""
}

// parseExpiry reads apns-expiration: Unix seconds. "" gives the zero time,
// which means that the header was absent.
func parseExpiry(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil {
		return time.Time{}, false
	}
	// Years beyond time's range would compare wrongly; 2^40 s is the year
	// 36812, which is as good as never.
	return time.Unix(int64(min(n, 1<<40)), 0), true
}

// isUUID reports the canonical 8-4-4-4-12 form, either case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDeviceToken(s string) bool {
	if len(s) < 64 || len(s) > maxDeviceToken || len(s)%2 != 0 {
		return false
	}
	for i := range len(s) {
		if !isHex(s[i]) {
			return false
		}
	}
	return true
}

// isTopic reports whether s could be a bundle id with a suffix.
func isTopic(s string) bool {
	if len(s) > 255 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// DeviceToken makes a well-formed APNs device token (64 hex digits) out of any
// name; the same name gives the same token.
func DeviceToken(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}
