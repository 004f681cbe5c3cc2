package inapp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"footfall/push"
	"footfall/push/internal/exchange"
)

const (
	// ratePause is used after "rate" without retry_ms.
	ratePause = 30 * time.Second
	// notConnected is the reason when nobody subscribes the device's subject.
	notConnected = "not connected"
	// maxPause bounds what a device may ask for.
	maxPause = 24 * time.Hour
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4096
)

// answer is what a device says.
type answer struct {
	OK      *bool  `json:"ok"`
	ID      string `json:"id"`
	Error   string `json:"error"`
	RetryMS int64  `json:"retry_ms"`
}

// words are the errors of a device that ask for something else than failing.
var words = map[string]push.Class{
	"busy":      push.Retry,
	"rate":      push.DeviceRate,
	"too_large": push.TooLarge,
	"gone":      push.TokenDead,
}

// Classify says what a device's answer means. It is a pure function. What is
// not an answer leaves open whether the message was shown.
func Classify(reply []byte) push.Outcome {
	o := push.Outcome{Sent: true}
	var a answer
	if len(reply) > maxAnswer || json.Unmarshal(reply, &a) != nil || a.OK == nil {
		o.Class, o.Reason = push.InDoubt, "the device's answer is not one"
		return o
	}
	if *a.OK {
		o.Class, o.ProviderID = push.Accepted, exchange.Brief(a.ID)
		return o
	}
	class, known := words[a.Error]
	if !known {
		class = push.Bug
	}
	o.Class = class
	if o.Reason = exchange.Brief(a.Error); o.Reason == "" {
		o.Reason = "refused by the device"
	}
	if class == push.Retry || class == push.DeviceRate {
		// Compared before multiplying, which could overflow.
		o.RetryAfter = time.Duration(min(max(a.RetryMS, 0), int64(maxPause/time.Millisecond))) * time.Millisecond
	}
	if class == push.DeviceRate && o.RetryAfter == 0 {
		o.RetryAfter = ratePause
	}
	return o
}

// failure is the outcome of a request without an answer.
func failure(err error) push.Outcome {
	switch {
	case errors.Is(err, ErrNoResponder):
		return push.Outcome{Class: push.Retry, Reason: notConnected}
	case errors.Is(err, ErrNotSent):
		return push.Outcome{Class: push.Retry, Reason: exchange.Brief(err.Error())}
	case errors.Is(err, context.DeadlineExceeded):
		return push.Outcome{Class: push.InDoubt, Reason: "no answer before the deadline", Sent: true}
	case errors.Is(err, context.Canceled):
		return push.Outcome{Class: push.InDoubt, Reason: "given up while waiting for the answer", Sent: true}
	}
	return push.Outcome{Class: push.InDoubt, Reason: exchange.Brief("connection lost: " + err.Error()), Sent: true}
}

func redact(s, token string) string {
	return strings.ReplaceAll(s, token, push.RedactToken(token))
}
