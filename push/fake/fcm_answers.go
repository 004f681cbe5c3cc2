package fake

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Answers of FCM for Answer.Reason.
const (
	FCMUnregistered      = "UNREGISTERED"           // 404 with FcmError: the token is dead
	FCMNotFound          = "NOT_FOUND"              // 404 without: the project or the address is wrong
	FCMInvalidToken      = "INVALID_TOKEN"          // 400 with FcmError INVALID_ARGUMENT
	FCMInvalidField      = "INVALID_FIELD"          // 400 with BadRequest
	FCMTooBig            = "MESSAGE_TOO_BIG"        // 400, over 4096 bytes
	FCMQuotaExceeded     = "QUOTA_EXCEEDED"         // 429 with FcmError
	FCMDeviceQuota       = "DEVICE_QUOTA_EXCEEDED"  // 429 with FcmError and a QuotaFailure that names the device
	FCMResourceExhausted = "RESOURCE_EXHAUSTED"     // 429 with ErrorInfo of the project's quota, without FcmError
	FCMUnavailable       = "UNAVAILABLE"            // 503
	FCMInternal          = "INTERNAL"               // 500
	FCMThirdPartyAuth    = "THIRD_PARTY_AUTH_ERROR" // 401 with FcmError
	FCMSenderIDMismatch  = "SENDER_ID_MISMATCH"     // 403 with FcmError
	FCMUnauthenticated   = "UNAUTHENTICATED"        // 401 without FcmError
	FCMPermissionDenied  = "PERMISSION_DENIED"      // 403 without FcmError
)

// Types in the details of an error (google.rpc and FCM's own).
const (
	typeFcmError     = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	typeBadRequest   = "type.googleapis.com/google.rpc.BadRequest"
	typeErrorInfo    = "type.googleapis.com/google.rpc.ErrorInfo"
	typeQuotaFailure = "type.googleapis.com/google.rpc.QuotaFailure"
)

// fcmAnswer is an answer ready to be written.
type fcmAnswer struct {
	status      int
	label       string // in the counts by reason
	body        string
	contentType string // default JSON
	retryAfter  string
	delay       time.Duration
}

func (a *fcmAnswer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", jsonType+"; charset=UTF-8")
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	if a.retryAfter != "" {
		h.Set("Retry-After", a.retryAfter)
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// detail is one member of error.details.
type detail map[string]any

func fcmCode(code string) detail { return detail{"@type": typeFcmError, "errorCode": code} }

// fcmError builds the JSON form of a google.rpc.Status.
func fcmError(status int, code, label, text string, details ...detail) fcmAnswer {
	e := map[string]any{"code": status, "message": text, "status": code}
	if len(details) > 0 {
		e["details"] = details
	}
	j, _ := json.MarshalIndent(map[string]any{"error": e}, "", "  ") // strings and numbers only
	return fcmAnswer{status: status, label: label, body: string(j)}
}

// fcmForms makes each documented answer; project and token go into those that
// name them.
var fcmForms = map[string]func(project, token string) fcmAnswer{
	FCMUnregistered: func(_, _ string) fcmAnswer {
		return fcmError(404, "NOT_FOUND", FCMUnregistered, "Requested entity was not found.", fcmCode("UNREGISTERED"))
	},
	FCMNotFound: func(_, _ string) fcmAnswer {
		return fcmError(404, "NOT_FOUND", FCMNotFound, "Requested entity was not found.")
	},
	FCMInvalidToken: func(_, _ string) fcmAnswer {
		return fcmError(400, "INVALID_ARGUMENT", FCMInvalidToken,
			"The registration token is not a valid FCM registration token", fcmCode("INVALID_ARGUMENT"))
	},
	FCMInvalidField: func(_, _ string) fcmAnswer {
		return fcmBadField(&fieldError{"message.android.ttl", "Invalid value at 'message.android.ttl' (type.googleapis.com/google.protobuf.Duration)"})
	},
	FCMTooBig: func(_, _ string) fcmAnswer { return fcmTooBig() },
	FCMQuotaExceeded: func(_, _ string) fcmAnswer {
		return fcmError(429, "RESOURCE_EXHAUSTED", FCMQuotaExceeded, "Sending limit exceeded for the message target.",
			fcmCode("QUOTA_EXCEEDED"))
	},
	FCMDeviceQuota: func(_, token string) fcmAnswer {
		return fcmError(429, "RESOURCE_EXHAUSTED", FCMDeviceQuota, "Message rate exceeded for this device.",
			fcmCode("QUOTA_EXCEEDED"), detail{"@type": typeQuotaFailure, "violations": []detail{
				{"subject": "device:" + token, "description": "The rate of messages to a particular device is too high."},
			}})
	},
	FCMResourceExhausted: func(project, _ string) fcmAnswer {
		return fcmError(429, "RESOURCE_EXHAUSTED", FCMResourceExhausted,
			"Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' of service 'fcm.googleapis.com' for consumer 'projects/"+project+"'.",
			detail{"@type": typeErrorInfo, "reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com", "metadata": map[string]string{
				"service": "fcm.googleapis.com", "consumer": "projects/" + project, "quota_limit": "SendRequestsPerMinutePerProject",
			}})
	},
	FCMUnavailable: func(_, _ string) fcmAnswer {
		return fcmError(503, "UNAVAILABLE", FCMUnavailable, "The service is currently unavailable.", fcmCode("UNAVAILABLE"))
	},
	FCMInternal: func(_, _ string) fcmAnswer {
		return fcmError(500, "INTERNAL", FCMInternal, "Internal error encountered.", fcmCode("INTERNAL"))
	},
	FCMThirdPartyAuth: func(_, _ string) fcmAnswer {
		return fcmError(401, "UNAUTHENTICATED", FCMThirdPartyAuth, "Auth error from APNS or Web Push Service", fcmCode("THIRD_PARTY_AUTH_ERROR"))
	},
	FCMSenderIDMismatch: func(_, _ string) fcmAnswer {
		return fcmError(403, "PERMISSION_DENIED", FCMSenderIDMismatch, "SenderId mismatch", fcmCode("SENDER_ID_MISMATCH"))
	},
	FCMUnauthenticated: func(_, _ string) fcmAnswer {
		return fcmError(401, "UNAUTHENTICATED", FCMUnauthenticated,
			"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
	},
	FCMPermissionDenied: func(_, _ string) fcmAnswer {
		return fcmError(403, "PERMISSION_DENIED", FCMPermissionDenied,
			"Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).",
			detail{"@type": typeErrorInfo, "reason": "IAM_PERMISSION_DENIED", "domain": "cloudresourcemanager.googleapis.com"})
	},
}

func fcmBadField(e *fieldError) fcmAnswer {
	return fcmError(400, "INVALID_ARGUMENT", FCMInvalidField, e.description,
		detail{"@type": typeBadRequest, "fieldViolations": []detail{{"field": e.field, "description": e.description}}})
}

func fcmTooBig() fcmAnswer {
	return fcmError(400, "INVALID_ARGUMENT", FCMTooBig, "Android message is too big", fcmCode("INVALID_ARGUMENT"))
}

// fcmScripted builds a scripted answer.
func fcmScripted(s *Answer, project, token string, now time.Time) fcmAnswer {
	a := fcmAnswer{status: s.Status, label: s.Reason}
	if form := fcmForms[s.Reason]; form != nil {
		a = form(project, token)
	} else if s.Reason != "" {
		status := s.Status
		if status == 0 {
			status = 500
		}
		a = fcmError(status, s.Reason, s.Reason, s.Reason)
	}
	if s.Status != 0 {
		a.status = s.Status
	}
	if s.Body != "" {
		a.body, a.contentType = s.Body, s.contentType()
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.label == "" {
		a.label = "status " + strconv.Itoa(a.status)
	}
	a.retryAfter = s.retryAfter(now)
	return a
}

// fcmName is the body of a 200.
func fcmName(project, id string) string {
	return `{"name":"projects/` + project + `/messages/` + id + `"}`
}

// notFound is what an address that does not exist gets: HTML, as at Google.
func notFound(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title><p>The requested URL was not found on this server.")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
