package outbox

import (
	"math/rand/v2"
	"testing"
	"time"

	"footfall/internal/dice"
	"footfall/push"
)

// TestSentAgainIsBounded: however answers and crashes follow each other, the requests that a person may have seen come to at
// most MaxAttempts and one for each crash, none is made close to the expiry, and the row ends. Answers by which the
// provider has certainly not taken the message are not among them.
func TestSentAgainIsBounded(t *testing.T) {
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	reached := map[int]int{} // by MaxAttempts: lives that came to the bound
	for range 5000 {
		now := time.UnixMilli(1_800_000_000_000)
		o := &Outbox{cfg: Config{MaxAttempts: 1 + rng.IntN(8), OnDoubt: Resend, Now: func() time.Time { return now }}}
		d := Delivery{MID: "m", State: StatePending, CreatedAt: now.UnixMilli(), NextAt: now.UnixMilli(),
			ExpiresAt: now.Add(time.Duration(1+rng.IntN(3600)) * time.Second).UnixMilli()}
		crashes, shown, steps := 0, 0, 0
		for ; !d.State.Final(); steps++ {
			if steps > 100_000 {
				t.Fatalf("no end: %+v", d)
			}
			now = time.UnixMilli(max(now.UnixMilli()+1, d.NextAt))
			d.State = StateSending
			var c *change
			switch rng.IntN(8) {
			case 0, 1:
				crashes++
				shown++
				c = o.leftBehind(&d)
			case 2, 3:
				shown++
				c = o.answered(&d, push.Outcome{Class: push.InDoubt, Sent: true})
			case 4:
				c = o.answered(&d, push.Outcome{Class: push.Retry, Status: 503, Sent: true})
			case 5:
				c = o.answered(&d, push.Outcome{Class: push.LaneRate, Status: 429, Sent: true, RetryAfter: time.Second})
			case 6:
				c = o.answered(&d, push.Outcome{Class: push.RetryNow})
			case 7:
				if rng.IntN(4) > 0 {
					c = o.answered(&d, push.Outcome{Class: push.DeviceRate, Status: 429, Sent: true})
					break
				}
				shown++
				c = o.answered(&d, push.Outcome{Class: push.Accepted, Sent: true})
			}
			if d = c.new; !d.State.Final() && d.NextAt >= d.ExpiresAt-expiryMargin.Milliseconds() {
				t.Fatalf("tried again %d ms before its expiry", d.ExpiresAt-d.NextAt)
			}
		}
		if shown > o.cfg.MaxAttempts+crashes || d.Attempts > o.cfg.MaxAttempts {
			t.Fatalf("a person may have seen %d requests with %d attempts and %d crashes; %+v", shown, o.cfg.MaxAttempts, crashes, d)
		}
		if shown > crashes && d.State != StateAccepted && !d.Doubt {
			t.Fatalf("in doubt, and forgotten: %+v", d)
		}
		if shown-crashes == o.cfg.MaxAttempts {
			reached[o.cfg.MaxAttempts]++
		}
	}
	// Eight doubtful answers before the expiry are rare.
	for attempts := 1; attempts <= 3; attempts++ {
		if reached[attempts] == 0 {
			t.Errorf("no life of %d attempts came to its bound: %v", attempts, reached)
		}
	}
	t.Log("lives that came to their bound, by attempts:", reached)
}
