package stream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/internal/db"
)

// The input logs of one NATS account belong to one ledger: a second gateway with a ledger of its own would decide
// everything again and push it twice. Until partitions are leased one by one, the whole account has one owner,
// named in a key that the owner renews and that vanishes when it has died.
const (
	ownerBucket = "FOOTFALL_OWNER"
	ownerKey    = "gateway"
	ownerTTL    = 15 * time.Second
	ownerRenew  = 5 * time.Second
)

// ErrNotOwner is returned when another gateway works on the logs of this NATS account.
var ErrNotOwner = errors.New("stream: another gateway works on this NATS account")

var ledgerIDKey = progressSpace.Key([]byte("ledger"))

// ledgerID is the name that a ledger keeps for life.
func ledgerID(ctx context.Context, d *db.DB) (id string, err error) {
	err = d.Update(ctx, func(tx *db.Tx) error {
		old, err := tx.Get(ledgerIDKey)
		if err == nil {
			id = string(old)
			return nil
		}
		if !errors.Is(err, db.ErrNotFound) {
			return err
		}
		id = hex.EncodeToString(randomBytes(8))
		return tx.Set(ledgerIDKey, []byte(id))
	})
	return id, err
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// owner is the place that this gateway holds.
type owner struct {
	kv  jetstream.KeyValue
	id  string
	rev uint64
}

// own takes the place of the account's gateway. It is free when nobody holds it, or when this ledger does: from an
// earlier life that ended without giving it back.
func own(ctx context.Context, js jetstream.JetStream, d *db.DB) (*owner, error) {
	id, err := ledgerID(ctx, d)
	if err != nil {
		return nil, err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: ownerBucket, TTL: ownerTTL, Storage: jetstream.MemoryStorage, Description: "which Footfall ledger works on the logs of this account",
	})
	if err != nil {
		return nil, fmt.Errorf("stream: %s: %w", ownerBucket, err)
	}
	o := &owner{kv: kv, id: id}
	return o, o.take(ctx)
}

func (o *owner) take(ctx context.Context) (err error) {
	if o.rev, err = o.kv.Create(ctx, ownerKey, []byte(o.id)); !errors.Is(err, jetstream.ErrKeyExists) {
		return err
	}
	e, err := o.kv.Get(ctx, ownerKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) { // it has just vanished
		o.rev, err = o.kv.Create(ctx, ownerKey, []byte(o.id))
		return err
	}
	if err != nil {
		return err
	}
	if string(e.Value()) != o.id {
		return fmt.Errorf("%w: ledger %s, and this one is %s; both would push everything. Stop the other, or give this one a NATS account of its own. The place of a gateway that died is free after %s",
			ErrNotOwner, e.Value(), o.id, ownerTTL)
	}
	o.rev, err = o.kv.Update(ctx, ownerKey, []byte(o.id), e.Revision())
	return err
}

// hold renews the place until ctx ends, or returns ErrNotOwner when somebody else has it. A server that does not
// answer is no reason to give up: without it there is no input either.
func (o *owner) hold(ctx context.Context) error {
	tick := time.NewTicker(ownerRenew)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		try, cancel := context.WithTimeout(ctx, ownerRenew)
		rev, err := o.kv.Update(try, ownerKey, []byte(o.id), o.rev)
		if err == nil {
			o.rev = rev
		} else if err = o.take(try); errors.Is(err, ErrNotOwner) {
			cancel()
			return err
		}
		cancel()
	}
}

// release gives the place back, if it is still held.
func (o *owner) release(ctx context.Context) {
	_ = o.kv.Delete(ctx, ownerKey, jetstream.LastRevision(o.rev))
}
