package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// MaxReplyErrors is how many refused records one reply lists. The count "refused" is always complete.
const MaxReplyErrors = 20

// AppendOK appends {"ok":true,"n":n}: all n records are stored. No allocation when dst has room.
func AppendOK(dst []byte, n int) []byte {
	dst = append(dst, `{"ok":true,"n":`...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '}')
}

// AppendBusy appends {"ok":false,"busy":true,"retry_ms":…}: nothing was stored, send the same again
// after retry (rounded up to a millisecond). No allocation when dst has room.
func AppendBusy(dst []byte, retry time.Duration) []byte {
	dst = append(dst, `{"ok":false,"busy":true,"retry_ms":`...)
	dst = strconv.AppendInt(dst, max(0, int64((retry+time.Millisecond-1)/time.Millisecond)), 10)
	return append(dst, '}')
}

// AppendRefused appends the reply to a payload whose bad records were refused one by one: accepted of them
// are stored, errs (at least one) are not and never will be. A sender must not send either part again.
func AppendRefused(dst []byte, accepted int, errs []PingError) []byte {
	if len(errs) == 0 {
		return AppendOK(dst, accepted)
	}
	dst = append(dst, `{"ok":false,"error":`...)
	dst = appendPingError(dst, &errs[0])
	dst = append(dst, `,"accepted":`...)
	dst = strconv.AppendInt(dst, int64(accepted), 10)
	dst = append(dst, `,"refused":`...)
	dst = strconv.AppendInt(dst, int64(len(errs)), 10)
	if len(errs) > 1 {
		dst = append(dst, `,"errors":[`...)
		for i := range errs[:min(len(errs), MaxReplyErrors)] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendPingError(dst, &errs[i])
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// AppendError appends the reply to a payload that was refused whole. For a *PayloadError and for ErrSubject and
// ErrToken the sender learns code and reason; any other error is ours and is answered as CodeInternal
// without its text.
func AppendError(dst []byte, err error) []byte {
	p, ok := errors.AsType[*PayloadError](err)
	switch {
	case ok:
	case errors.Is(err, ErrSubject), errors.Is(err, ErrToken):
		p = errBadSubject
	default:
		p = errInternal
	}
	dst = append(dst, `{"ok":false,"error":{"code":`...)
	dst = appendText(dst, string(p.Code))
	dst = append(dst, `,"reason":`...)
	dst = appendText(dst, p.Reason)
	return append(dst, `},"accepted":0}`...)
}

func appendPingError(dst []byte, e *PingError) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendText(dst, string(e.Code))
	dst = append(dst, `,"reason":`...)
	dst = appendText(dst, e.Reason)
	dst = append(dst, `,"index":`...)
	dst = strconv.AppendInt(dst, int64(e.Index), 10)
	return append(dst, '}')
}

// appendText appends s as a JSON string. Codes and our own reasons are plain ASCII and take the short way.
func appendText(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			b, err := json.Marshal(s)
			if err != nil {
				return append(dst, `""`...) // json.Marshal of a string does not fail
			}
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// Reply is a parsed reply, for SDKs and tools in Go. See AppendOK, AppendBusy, AppendRefused, AppendError.
type Reply struct {
	OK       bool         `json:"ok"`
	N        int          `json:"n,omitzero"`
	Busy     bool         `json:"busy,omitzero"`
	RetryMS  int64        `json:"retry_ms,omitzero"`
	Error    *ReplyError  `json:"error,omitzero"`
	Accepted int          `json:"accepted,omitzero"`
	Refused  int          `json:"refused,omitzero"`
	Errors   []ReplyError `json:"errors,omitzero"` // the first MaxReplyErrors, when more than one was refused
}

// ReplyError is one refusal in a Reply. Index is nil when the whole payload was refused.
type ReplyError struct {
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
	Index  *int   `json:"index,omitzero"`
}

// ParseReply reads a reply. Unknown members are ignored, so that an older SDK understands a newer gateway.
func ParseReply(b []byte) (Reply, error) {
	var r Reply
	if err := json.Unmarshal(b, &r); err != nil {
		return Reply{}, errors.New("wire: reply is not JSON of the protocol")
	}
	return r, nil
}

// Done reports whether the sender may forget the payload: it was stored, or refused for good.
// False means: keep it and send it again, after RetryMS when Busy.
func (r *Reply) Done() bool { return r.OK || r.Error != nil }
