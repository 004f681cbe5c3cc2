package outbox

import (
	"errors"
	"log/slog"
	"time"

	"footfall/internal/db"
	"footfall/push"
)

// Suppress is the reason not to send a composed delivery after all; "" is "go".
type Suppress string

// CampaignOver is the reason of a delivery whose campaign has ended: it is
// cancelled, not suppressed.
const CampaignOver Suppress = "campaign_stopped"

// Config says where deliveries come from and how fast they may go.
type Config struct {
	// DB holds the deliveries and the claims. Required.
	DB *db.DB
	// Providers maps a lane to what sends its rows. Rows of other lanes wait,
	// and expire with a reason that names the lane. Two lanes may share one.
	Providers map[string]push.Provider
	// Compose renders a delivery: it looks up the token and the templates in
	// a read-only tx. It is called from many goroutines, right before each
	// attempt, and must not keep d. A Suppress ends the delivery. Required.
	Compose func(tx *db.Tx, d *Delivery) (*push.Notification, Suppress)
	// OnOutcome is called in the transaction of every change that an outcome
	// makes: each answer of a provider, and each final state. old is the row
	// before it, d after it. For a row that ends without an answer o has the
	// Reason, and the Class only if one fits (Expired). It may run more than once
	// for one change and must have no effect but through tx. When it fails, the
	// change is tried again; after three failures the change is written without
	// it, counted and logged, because an answer that is not recorded would be
	// sent again.
	OnOutcome func(tx *db.Tx, old, d *Delivery, o push.Outcome) error
	// Another is asked when a token was refused, in the same transaction: which
	// other token of the person is to be tried under the same message id? d is
	// the row with the refused one; d.Tried are those before. Not asked after
	// doubt. A route whose lane does not exist or that was tried is no answer.
	// nil: there is none.
	Another func(tx *db.Tx, d *Delivery, o push.Outcome) (Route, bool, error)

	// Arrived is asked, in the transaction of an outcome that is not an
	// acceptance, whether the phone itself has reported the message meanwhile:
	// then it is accepted, whatever was answered. See Confirm. nil: no.
	Arrived func(tx *db.Tx, mid string) (bool, error)

	// Workers bounds the requests in flight per lane. Default 256.
	Workers int
	// Rate is how many requests per second a lane makes, Burst how many at
	// once after a rest. Default 5,000 (half of FCM's quota) and Rate/10.
	Rate  float64
	Burst int
	// LaneRate overrides Rate for single lanes.
	LaneRate map[string]float64
	// DeviceEvery is how often one device is sent to in the long run, after
	// DeviceBurst messages at once. Default 2 s and 3; negative: no limit.
	DeviceEvery time.Duration
	DeviceBurst int

	// MaxAttempts is after how many attempts a row is dead. Default 8.
	MaxAttempts int
	// AttemptTimeout bounds one request. Default 10 s, less near the expiry.
	AttemptTimeout time.Duration
	// OnDoubt: Resend (default) or Drop; a delivery may say otherwise.
	OnDoubt OnDoubt
	// AuthPause is how long a lane rests whose credentials are refused, before
	// one row finds out whether they work again. Default 60 s.
	AuthPause time.Duration
	// BreakerPause is how long a lane rests after its breaker has opened: at
	// least half of at least 20 answers within 10 s were failures of transport
	// or of the provider. Default 10 s.
	BreakerPause time.Duration
	// KeepFinished is how long final rows can be asked about. Default 7 days.
	KeepFinished time.Duration

	// Now is the clock of all stored times. Default time.Now. Waiting, the
	// bucket and the breaker run on the real clock.
	Now func() time.Time
	// Logger gets alarms: lanes that pause, rows in doubt, claims that could not
	// be settled. nil: none.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.DB == nil || c.Compose == nil {
		return c, errors.New("outbox: Config needs DB and Compose")
	}
	switch c.OnDoubt {
	case "":
		c.OnDoubt = Resend
	case Resend, Drop:
	default:
		return c, errors.New("outbox: OnDoubt is neither resend nor drop: " + string(c.OnDoubt))
	}
	def(&c.Workers, 256)
	def(&c.Rate, 5000)
	def(&c.DeviceEvery, 2*time.Second)
	def(&c.DeviceBurst, 3)
	def(&c.MaxAttempts, 8)
	def(&c.AttemptTimeout, 10*time.Second)
	def(&c.AuthPause, 60*time.Second)
	def(&c.BreakerPause, 10*time.Second)
	def(&c.KeepFinished, 7*24*time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnOutcome == nil {
		c.OnOutcome = func(_ *db.Tx, _, _ *Delivery, _ push.Outcome) error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Workers < 0 || c.Rate < 0 || c.Burst < 0 || c.MaxAttempts < 0 || c.AttemptTimeout < 0 {
		return c, errors.New("outbox: a limit in Config is negative")
	}
	return c, nil
}

func def[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// rate returns the lane's requests per second and burst.
func (c *Config) rate(lane string) (perSecond float64, burst int) {
	perSecond = c.Rate
	if r, ok := c.LaneRate[lane]; ok {
		perSecond = r
	}
	burst = c.Burst
	if burst == 0 {
		burst = max(1, int(perSecond/10))
	}
	return perSecond, burst
}
