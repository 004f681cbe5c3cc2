package outbox

import (
	"context"

	"footfall/internal/db"
)

// Erase removes everything that is stored about a delivery, whatever its state, but for its claim; n is how many rows that
// were. One that is being sent stays (flying), because its outcome would write it anew: wait with Landed, and call again.
func Erase(tx *db.Tx, mid string) (n int, flying bool, err error) {
	d, found, err := Get(tx, mid)
	if err != nil || !found || d.State == StateSending {
		return 0, found && err == nil, err
	}
	n, err = remove(tx, &d)
	return n, false, err
}

// Landed returns when none of these deliveries is being sent by this process, or with ctx's error.
func (o *Outbox) Landed(ctx context.Context, mids []string) error { return o.waitFor(ctx, mids) }
