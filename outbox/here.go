package outbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"footfall/internal/db"
)

// InApp is the provider of lanes whose messages only the app itself gets: when
// the device is not there, they wait for it to come. See Outbox.Here.
const InApp = "inapp"

// waiting says what waits for a device, whatever its time: device, mid -> nothing.
// There is an entry for each row of a lane of InApp that is not final.
var waiting = db.Register(0x1a, "deliveries waiting for apps", 1)

const (
	// maxHere bounds the devices that have come and are not looked after yet.
	maxHere = 1 << 14
	// herePage is for how many of them one look is made.
	herePage = 256
)

// MostWaiting is how much of what waits for one device is looked at when it
// comes: more than an app would show at a time.
const MostWaiting = 256

// waits reports whether rows of a lane wait for their device to come.
func waits(lane string) bool {
	provider, _, _ := strings.Cut(lane, "/")
	return provider == InApp
}

func waitingKey(d *Delivery) []byte { return waiting.Key([]byte(d.Device), []byte(d.MID)) }

// putWaiting brings the entry of a row up to date; old is nil for a new row.
func putWaiting(tx *db.Tx, old, d *Delivery) error {
	was := old != nil && !old.State.Final() && waits(old.Lane)
	is := !d.State.Final() && waits(d.Lane)
	if was && (!is || old.Device != d.Device) {
		if err := tx.Delete(waitingKey(old)); err != nil {
			return err
		}
	}
	if is && (!was || old.Device != d.Device) {
		return tx.Set(waitingKey(d), nil)
	}
	return nil
}

// Waiting counts what waits for a device and needs nothing but the device, up to
// MostWaiting: not what is to be sent at a later time.
func Waiting(tx *db.Tx, device string) (n int, err error) {
	now := tx.Now().UnixMilli()
	err = eachWaiting(tx, device, func(d *Delivery) error {
		if d.State != StatePending || d.NextAt <= now {
			n++
		}
		return nil
	})
	return n, err
}

// eachWaiting calls fn, which may change it, for what waits for a device, up to
// MostWaiting, until it returns an error. A row that is being sent is as it was before.
func eachWaiting(tx *db.Tx, device string, fn func(*Delivery) error) error {
	var mids []string
	err := tx.Scan(waiting.Key([]byte(device)), nil, func(key, _ []byte) (bool, error) {
		parts, ok := waiting.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("outbox: bad key % x of what waits for apps", key)
		}
		mids = append(mids, string(parts[1]))
		return len(mids) < MostWaiting, nil
	})
	for _, mid := range mids {
		d, found, e := read(tx, mid)
		if e != nil || !found || d.State.Final() {
			continue // one that cannot be read is its lane's to report
		}
		if e := fn(&d); e != nil {
			return e
		}
	}
	return err
}

// Here says that the app of a device is there and may show what waits for it:
// that is due now, and not only when the device would be asked again. It returns
// at once and writes nothing that must be remembered: what a crash takes, the
// device says again. false: too many have come at the same time; say it again later.
func (o *Outbox) Here(device string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.here[device]; !ok && len(o.here) >= maxHere {
		return false
	}
	o.here[device] = struct{}{}
	o.pokeHere()
	return true
}

func (o *Outbox) pokeHere() {
	select {
	case o.hereWake <- struct{}{}:
	default: // it will look anyway
	}
}

// takeHere takes some of those who have come.
func (o *Outbox) takeHere() (devices []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for device := range o.here {
		devices = append(devices, device)
		delete(o.here, device)
		if len(devices) == herePage {
			break
		}
	}
	return devices
}

// again says that what a device waits for could not be made due: the device has
// still to be looked after. It may go over maxHere by what the lanes hold.
func (o *Outbox) again(devices ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, device := range devices {
		o.here[device] = struct{}{}
	}
	o.pokeHere()
}

// seeHere looks after devices that have come, until ctx ends.
func (o *Outbox) seeHere(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.hereWake:
		}
		for devices := o.takeHere(); len(devices) > 0 && ctx.Err() == nil; devices = o.takeHere() {
			if err := o.makeDue(ctx, devices); err != nil && ctx.Err() == nil {
				o.cfg.Logger.Error("what waits for apps that have come cannot be made due", "devices", len(devices), "err", err)
				o.again(devices...)
				pause.Reset(time.Second)
				select {
				case <-ctx.Done():
				case <-pause.C:
				}
			}
		}
	}
}

// makeDue makes due what waits for these devices, in one commit, or none when
// nothing does.
func (o *Outbox) makeDue(ctx context.Context, devices []string) error {
	err := o.cfg.DB.View(func(tx *db.Tx) error {
		devices = slices.DeleteFunc(devices, func(device string) bool {
			none := true
			_ = tx.Scan(waiting.Key([]byte(device)), nil, func(_, _ []byte) (bool, error) { // an error shows below
				none = false
				return false, nil
			})
			return none
		})
		return nil
	})
	if err != nil || len(devices) == 0 {
		return err
	}
	// Read where outcomes are written: an earlier look could show a row as it was
	// before its answer, although it is no longer being sent.
	var changes []*change
	var left []string
	err = o.cfg.DB.Update(ctx, func(tx *db.Tx) error {
		changes, left = changes[:0], left[:0]
		for i, device := range devices {
			if len(changes) >= sweepPage { // the rest with the next commit
				left = append(left, devices[i:]...)
				return nil
			}
			err := eachWaiting(tx, device, func(d *Delivery) error {
				if o.ifFlying(d.MID, device) {
					return nil
				}
				c := o.dueNow(d)
				if c == nil {
					return nil
				}
				changes = append(changes, c)
				return o.apply(tx, c)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range changes {
		o.recorded(c)
		if c.refused != nil { // leased at this moment
			left = append(left, c.old.Device)
		} else if l := o.lanes[c.old.Lane]; l != nil {
			l.queueOf(c.old).poke()
		}
	}
	if len(left) > 0 {
		o.again(left...)
	}
	return nil
}

// dueNow is the change of a row that waited for its device to one that is due;
// nil when it is due, or waits for its time and not for the device.
func (o *Outbox) dueNow(d *Delivery) *change {
	now := min(o.nowMS(), d.ExpiresAt)
	if d.State == StatePending || d.NextAt <= now {
		return nil
	}
	row := *d
	c := &change{old: &row, new: row}
	c.new.NextAt = now
	return c
}

// ifFlying reports whether a row is being sent, and if so has its device looked
// after once more when that has ended: it may be the answer from before it came.
func (o *Outbox) ifFlying(mid, device string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, flying := o.inFlight[mid]
	if flying {
		o.came[mid] = device
	}
	return flying
}

// late is the reason of a row whose time ended in its lane.
func late(d *Delivery) string {
	if waits(d.Lane) && cmp.Or(d.Redos, d.Attempts) > 0 {
		return "the app was not there in time"
	}
	return "waited too long in lane " + d.Lane
}
