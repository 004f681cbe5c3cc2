// Package push says what a push notification is, what a provider must promise
// about sending one, and how the answer of a provider is expressed.
//
// It holds types only and imports nothing of this module, so that the outbox
// can speak about sending without knowing a wire format, and a provider can be
// written without knowing a queue. Providers live below it: push/apns and
// push/fcm are the real ones, [Log] prints, push/fake plays Apple's and
// Google's side. push/pushtest holds the suite that every provider passes.
package push

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Platform is the kind of device or browser that a token belongs to. It
// selects the lane, and with it the provider, that a notification goes through.
type Platform string

// The platforms that a device record may name.
const (
	IOS     Platform = "ios"
	Android Platform = "android"
	Web     Platform = "web"
	HMS     Platform = "hms"
)

// Environments of [Notification.Env]. Apple keeps two token spaces, and a
// token of one is a bad token in the other. Empty means production.
const (
	EnvProd    = "prod"
	EnvSandbox = "sandbox"
)

// Notification is one push to one token, already rendered: a provider adds
// its wire format and nothing else. A provider neither changes nor keeps it.
type Notification struct {
	// MID is the message id: UUID text, deterministic from the claim, so that
	// a re-send carries the id of the first attempt. It becomes the apns-id and
	// part of the payload, where the SDK uses it to drop a duplicate.
	MID string
	// App and Device name the addressee, as in the NATS subjects.
	App, Device string
	// Token is the device token of APNs or the registration token of FCM. It is
	// a credential: it appears in no log line and no error (see RedactToken).
	Token string
	// Env is EnvProd or EnvSandbox; empty is EnvProd. APNs only.
	Env      string
	Platform Platform

	// Campaign and Fence are ids for tracing and for the payload.
	Campaign, Fence string
	// Revision names the state of the campaign that the text comes from. It is
	// sent to nobody: the outbox judges by it what a provider thinks of a text.
	Revision string

	Title, Subtitle, Body string
	// Image is an https URL; Link is a deep link or an https URL. Empty: none.
	Image, Link string
	// Sound is a sound file in the app; "" and "default" are the system's sound
	// and "none" is no sound.
	Sound string
	// Thread groups notifications on the phone (store or brand).
	Thread string
	// Category names the set of buttons that the app has registered.
	Category string
	// Alt describes the image, for those who do not see it.
	Alt string
	// Actions are buttons that the SDK draws, at most MaxActions. Providers that
	// have buttons of their own (browsers) show them as such.
	Actions []Action
	// Badge is the number on the app's icon, 0 removes it. Nil leaves it.
	Badge *int
	// Counted: Badge is what the gateway counts as unread on this device. Phones
	// that count their notifications by themselves (Android) are not told it.
	Counted bool
	// Importance is how much the notification may disturb; empty is Active.
	Importance Importance
	// Relevance, 0 to 1, orders the notifications of one app in a summary (iOS).
	Relevance float64
	// Style overrides who draws the notification on Android: "display" or
	// "data"; empty is the provider's setting.
	Style string
	// Channel is the notification channel on Android and Huawei phones; empty is
	// the provider's setting.
	Channel string
	// Color (#rrggbb) and Icon (a resource of the app) tint and mark it on
	// Android. Visibility on its lock screen is "private", "public" or "secret".
	Color, Icon, Visibility string
	// Sticky keeps the notification of a browser until the person acts on it.
	Sticky bool
	// Data is passed to the app next to the gateway's own object.
	Data map[string]string
	// Raw is a JSON object in the words of Platform, merged into what the
	// provider builds; see MergeRaw. Empty: nothing. The webhook hands it on, the
	// app itself (push/inapp) does not get it.
	Raw json.RawMessage

	// CollapseID makes a later notification replace an earlier one on the
	// phone instead of stacking. Empty: derived from MID, so that a re-send
	// after doubt replaces the first copy.
	CollapseID string
	// ExpiresAt is when the message loses its worth. It bounds storage at the
	// provider and is checked before sending. Zero: no expiry is known, and the
	// provider is told to deliver now or never.
	ExpiresAt time.Time
	// ReceiptKey proves a receipt: the SDK returns it with every report.
	ReceiptKey string
	// Silent asks for a background push: nothing is shown, the app is woken.
	Silent bool

	// Call makes this a call of another system instead of a notification: JSON
	// that push/webhook posts as it is. It needs none of the above but MID and
	// ExpiresAt. Nil: a notification.
	Call []byte
}

// Size is how large a notification is on a channel, in bytes as its service
// counts them.
type Size struct {
	Full int // with all that it says
	Less int // without subtitle and data, which are left out when Full is over Limit
	// Limit is what the service takes. What is over it even as Less is not sent.
	Limit int
}

// MaxActions is how many buttons a notification may have: browsers and phones
// show two or three.
const MaxActions = 3

// Action is one button.
type Action struct {
	ID    string `json:"id"` // of the app's choosing; it comes back in a receipt
	Label string `json:"label"`
	Link  string `json:"link,omitempty"`
	// Foreground opens the app, Destructive marks the label as a warning.
	Foreground  bool `json:"foreground,omitempty"`
	Destructive bool `json:"destructive,omitempty"`
}

// Importance is how much a notification may disturb.
type Importance string

const (
	// Passive goes to the list without sound or light.
	Passive Importance = "passive"
	// Active is the ordinary notification.
	Active Importance = "active"
	// TimeSensitive breaks through a focus mode; Apple asks for an entitlement,
	// and without it treats it as Active.
	TimeSensitive Importance = "time_sensitive"
	// Critical sounds through do-not-disturb. It needs an entitlement that
	// Apple grants to few; a provider that is not told of one sends it as
	// TimeSensitive.
	Critical Importance = "critical"
)

// LogValue describes n without its content and without its token, because
// logs are read by more people than the campaign was written for.
func (n *Notification) LogValue() slog.Value {
	if n == nil {
		return slog.StringValue("<nil>")
	}
	return slog.GroupValue(
		slog.String("mid", n.MID),
		slog.String("app", n.App),
		slog.String("device", n.Device),
		slog.String("platform", string(n.Platform)),
		slog.String("token", RedactToken(n.Token)),
		slog.String("campaign", n.Campaign),
		slog.String("fence", n.Fence),
	)
}

// RedactToken returns enough of a token to recognise it in a log and too
// little to use it: the last four characters of a token of 16 or more, else
// only that there is one. Tokens are compared by their end because many begin
// alike.
func RedactToken(token string) string {
	switch {
	case token == "":
		return ""
	case len(token) < 16:
		return "…"
	}
	return "…" + token[len(token)-4:]
}

// Class is what an answer means for the queue: each one asks for a different
// action. The set is closed; a provider maps anything unknown by its status.
type Class string

const (
	// Accepted: the provider has taken the message. That is not "delivered".
	Accepted Class = "accepted"
	// TokenDead: the token is gone for good. Delete it if it was registered
	// before Outcome.InvalidSince (zero: no time was given, delete it).
	TokenDead Class = "token_dead"
	// TokenBad: the provider does not know this token. Perhaps the other
	// environment does; else as TokenDead, unless it is Outcome.Unproven.
	TokenBad Class = "token_bad"
	// TokenForeign: the token belongs to another sender. Stop using it here.
	TokenForeign Class = "token_foreign"
	// Config: our configuration is wrong (topic, project). Nothing is wrong with
	// the token; alarm the lane, fail the row.
	Config Class = "config"
	// Auth: the provider refuses our credentials. Pause the lane and alarm.
	Auth Class = "auth"
	// Bug: we built a request that the provider cannot accept. Never retried.
	Bug Class = "bug"
	// Refused: the system that a journey calls does not take the call. Never
	// retried. Unproven: it does not say whether the fault is the call's or its
	// own.
	Refused Class = "refused"
	// TooLarge: the payload does not fit even after the provider shrank it.
	TooLarge Class = "too_large"
	// Retry: try again later, with back-off and not before RetryAfter.
	Retry Class = "retry"
	// RetryNow: the message was not accepted and the cause lay in a connection
	// or a provider token that has been replaced. Try again at once; no attempt
	// is spent.
	RetryNow Class = "retry_now"
	// Away: the device is not there, or its app is not looked at, and there is no
	// push service behind it. Send again when it comes, and now and then until
	// then; no attempt is spent. With Outcome.Doubt it has the message and did not
	// answer.
	Away Class = "away"
	// DeviceRate: too many messages for this device. Others are not affected.
	DeviceRate Class = "device_rate"
	// LaneRate: too many messages of ours. The whole lane slows down.
	LaneRate Class = "lane_rate"
	// InDoubt: the request may or may not have been acted on. A re-send must
	// carry the same ids.
	InDoubt Class = "in_doubt"
	// Expired: ExpiresAt has passed (or less than a useful rest of it is left);
	// nothing was sent.
	Expired Class = "expired"
)

// Classes lists every class in the order of their declaration, for metrics
// and for exhaustive tests. The slice is fresh.
func Classes() []Class {
	return []Class{Accepted, TokenDead, TokenBad, TokenForeign, Config, Auth, Bug, Refused, TooLarge,
		Retry, RetryNow, Away, DeviceRate, LaneRate, InDoubt, Expired}
}

// Outcome is what is known after one Send.
type Outcome struct {
	Class Class
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int
	// Reason is the provider's own word ("BadDeviceToken", "UNREGISTERED"), or,
	// without an answer, a short description of what happened. It contains no
	// token and no text of the message.
	Reason string
	// Unknown reports that the answer is none that the provider documents, so
	// that Class follows from Status alone. Count it: Apple and Google invent
	// reasons, and each wants a line in the provider's table.
	Unknown bool
	// RetryAfter is the provider's wish, or the class's floor. Zero: none given.
	RetryAfter time.Duration
	// InvalidSince is when the provider learned that the token was gone.
	// Only with TokenDead, and zero when not told.
	InvalidSince time.Time
	// ProviderID is the provider's id of an accepted message.
	ProviderID string
	// Sent reports that the request may have reached the provider. False is a
	// proof that it did not: no attempt is spent and the claim may be released.
	// True with InDoubt is the state in which nobody knows.
	//
	//	Sent   Class                 the phone has it
	//	false  any                   no
	//	true   Accepted              if the provider keeps its word
	//	true   InDoubt               perhaps
	//	true   any other             no: the provider has refused it (but see Doubt)
	Sent bool
	// Unproven, with TokenBad: the provider's words would fit a wrong message as
	// well as a wrong token. The outbox takes the mark off when the same text
	// was accepted for another token; a token is not deleted on an unproven word.
	// With Refused see there.
	Unproven bool
	// Doubt reports that the person may have the message whatever Class says: another channel was tried first and
	// gave no answer. The claim is then not released.
	Doubt bool
}

// Provider sends notifications to one push service.
//
// Implementations are safe for concurrent use; Send is called from many
// goroutines and Close may be called at any time, more than once.
type Provider interface {
	// Name is the lane's name in logs and metrics: "apns", "fcm". Constant.
	Name() string

	// Send makes at most one attempt and reports what is known about it.
	//
	// One Send is exactly one HTTP request that a provider's application can
	// have seen. It never retries by itself: a hidden retry is a duplicate on
	// someone's phone. The one exception is invisible to the application: a
	// request that the peer has promised not to have processed (refused
	// stream, GOAWAY below its id) moves to another connection.
	//
	// It makes no request at all, and returns Sent = false, when ExpiresAt has
	// passed (Expired), when the payload is too large (TooLarge), when n cannot
	// be expressed (Bug), or when there is no connection before ctx ends (Retry).
	//
	// Every answer is an Outcome; there is no error. When the connection is cut,
	// ctx ends, or the answer is unreadable after the request may have been
	// written, the class is InDoubt and Sent is true: the message may be on the
	// phone. A re-send carries the same MID and CollapseID, so that the phone
	// shows one.
	//
	// ctx bounds the attempt. A ctx without a deadline is given one by the
	// provider, because push services are known to leave streams unanswered.
	// Accepted says that the service queued the message: neither delivery nor
	// order is promised, and two accepted messages may arrive swapped.
	//
	// n is not changed and not kept after Send returns.
	Send(ctx context.Context, n *Notification) Outcome

	// Close releases connections and waits for what the provider started.
	// Sends in flight end as they would after a cut; later ones return Retry
	// with Sent = false. A second Close does nothing and returns nil.
	Close() error
}

// Rotator is a Provider whose credentials are files that may be replaced while
// it sends.
type Rotator interface {
	// CredentialFiles names the files to watch. None: the credentials were given
	// as values, and Rotate changes nothing.
	CredentialFiles() []string

	// Rotate reads the files again. When they hold other credentials, every Send
	// that begins afterwards uses those, and changed is true. Requests under way
	// end with the old ones; an old one that is refused because of that is
	// RetryNow, so no notification is lost and no lane pauses. On an error,
	// which says what is wrong and what to do, nothing has changed. Nothing is
	// sent. It may be called at any time, from any goroutine.
	Rotate() (changed bool, err error)
}
