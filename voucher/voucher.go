// Package voucher keeps pools of codes of which each push gets its own: a code is reserved in the transaction that makes
// the push, given back when that certainly reached nobody, and redeemed once. All of it is rows of the ledger; nothing here
// has a clock or draws a code.
//
//	free ──Reserve──▶ given ──Redeem──▶ redeemed
//	  ▲────GiveBack────┘
//	  └──Redeem (shown before it was given to anybody)──▶ redeemed
//
// A pool may have an end, and its codes a time that they are good for: what has expired is neither given nor redeemed.
// A pool is a queue: codes are given in the order in which they came, and one that is given back goes to the end. Giving one
// costs a few reads and writes, however many there are.
package voucher

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"footfall/internal/db"
)

var (
	poolSpace = db.Register(0x50, "voucher pools", 1)  // pool -> Pool
	slotSpace = db.Register(0x51, "voucher slots", 1)  // pool, number -> code as Clean returns it
	codeSpace = db.Register(0x52, "voucher codes", 1)  // code as Clean returns it -> Code
	midSpace  = db.Register(0x53, "voucher pushes", 1) // mid -> code as Clean returns it
)

// Limits.
const (
	MaxPools     = 1000
	MaxCodes     = 10_000_000 // of one pool
	MaxPage      = 2000       // codes that one transaction adds
	minCodeBytes = 4
	maxCodeBytes = 64
	maxPoolBytes = 64
)

// Alphabet is what codes are drawn from: 25 letters and digits, without those that are taken for one another when they are
// read out or typed (0 O, 1 I L, 2 Z, 5 S, 8 B).
const Alphabet = "34679ACDEFGHJKMNPQRTUVWXY"

// DefaultLength of a code that is drawn: with a million given, one guess in 95 million finds one.
const DefaultLength = 10

var (
	// ErrNoPool: there is no pool of the name.
	ErrNoPool = errors.New("voucher: no such pool")
	// ErrEmpty: the pool has no code left to give.
	ErrEmpty = errors.New("voucher: the pool is empty")
	// ErrFull: the pool, or the number of pools, is at its limit.
	ErrFull = errors.New("voucher: full")
	// ErrExpired: the pool has expired, and gives no code any more.
	ErrExpired = errors.New("voucher: the pool has expired")
	// ErrDropping: the pool is being dropped.
	ErrDropping = errors.New("voucher: the pool is being dropped; footfall voucher drop ends it")
	// ErrTaken: a code belongs to another pool, or is written in another way.
	ErrTaken = errors.New("voucher: there is such a code already")
)

// Pool is how a pool stands. Free, Given and Redeemed add up to the codes that were ever put in. Times are Unix ms.
type Pool struct {
	Name     string `json:"name"`
	Free     int64  `json:"free"`
	Given    int64  `json:"given"` // on their way or with somebody, and not redeemed
	Redeemed int64  `json:"redeemed"`
	Ungiven  int64  `json:"ungiven,omitempty"` // of Redeemed: nobody had been given them
	Terms

	// By is whom codes were given to, by campaign: Given and Redeemed of all of them, and Ungiven, add up to those of the pool.
	// The campaigns after the first maxTallies share one, under "".
	By map[string]Tally `json:"by,omitempty"`

	Head    uint64 `json:"head"` // the slot that is given next
	Tail    uint64 `json:"tail"` // the slot behind the last
	Dropped uint64 `json:"dropped,omitempty"`
	// Dropping: the pool is on its way out, and gives and takes nothing any more; the slots before Dropped are gone.
	Dropping bool `json:"dropping,omitempty"`
}

// Terms are what an operator says about a pool.
type Terms struct {
	// Low is how few free codes are an alarm; 0 is a tenth of all.
	Low int64 `json:"low,omitempty"`
	// Expires is when the pool ends, and every code of it; 0: never.
	Expires int64 `json:"expires,omitempty"`
	// Life is for how many ms a code is good after it was given; 0: as long as the pool is.
	Life int64 `json:"life,omitempty"`
}

// Tally counts the codes that were given to the pushes of one campaign, and not given back.
type Tally struct {
	Given     int64 `json:"given"` // and not redeemed
	Redeemed  int64 `json:"redeemed"`
	Purchases int64 `json:"purchases"` // of Redeemed: by a purchase
}

// maxTallies bounds the row of a pool, which each code that is given writes anew.
const maxTallies = 64

// count changes a campaign's tally.
func (p *Pool) count(campaign string, change func(*Tally)) {
	t, known := p.By[campaign]
	if !known && len(p.By) >= maxTallies {
		campaign = ""
		t = p.By[campaign]
	}
	if p.By == nil {
		p.By = map[string]Tally{}
	}
	change(&t)
	p.By[campaign] = t
}

// Total is how many codes were ever put in.
func (p *Pool) Total() int64 { return p.Free + p.Given + p.Redeemed }

// Expired reports whether the pool has ended at a time in Unix ms; its end is not before it.
func (p *Pool) Expired(at int64) bool { return p.Expires != 0 && at >= p.Expires }

// Left is how many codes can still be given at a time in Unix ms.
func (p *Pool) Left(at int64) int64 {
	if p.Dropping || p.Expired(at) {
		return 0
	}
	return p.Free
}

// Mark is how few free codes are an alarm.
func (p *Pool) Mark() int64 {
	if p.Low > 0 {
		return p.Low
	}
	return p.Total() / 10
}

// soon is how long before its end a pool that still has codes is an alarm, in ms.
const soon = 24 * 60 * 60 * 1000

// Alarm is "dropping", "expired", "empty", "low", "expires_soon", or "", at a time in Unix ms. See Advice.
func (p *Pool) Alarm(at int64) string {
	switch {
	case p.Dropping:
		return "dropping"
	case p.Expired(at):
		return "expired"
	case p.Free == 0:
		return "empty"
	case p.Free <= p.Mark():
		return "low"
	case p.Expired(at + soon):
		return "expires_soon"
	}
	return ""
}

// Advice says what an alarm is about and what to do, "" without one.
func (p *Pool) Advice(at int64) string {
	const more = "put more in with footfall voucher import or generate"
	switch p.Alarm(at) {
	case "dropping":
		return fmt.Sprintf("a drop of pool %s was cut off; footfall voucher drop %s ends it", p.Name, p.Name)
	case "expired":
		return fmt.Sprintf("pool %s has expired: none of its codes is given or redeemed; footfall voucher set %s --expires gives it more time, footfall voucher drop %s removes it", p.Name, p.Name, p.Name)
	case "empty":
		return fmt.Sprintf("pool %s is empty: all of its %d codes are given or redeemed; %s", p.Name, p.Total(), more)
	case "low":
		return fmt.Sprintf("pool %s has %d of %d codes left; %s", p.Name, p.Free, p.Total(), more)
	case "expires_soon":
		return fmt.Sprintf("pool %s expires within a day (codes left: %d); footfall voucher set %s --expires gives it more time", p.Name, p.Free, p.Name)
	}
	return ""
}

// Code is one code. Times are Unix ms.
type Code struct {
	Pool     string `json:"p"`
	Code     string `json:"c"` // as it was written
	Slot     uint64 `json:"s"`
	MID      string `json:"m,omitempty"` // of the push that has it; "" when that is forgotten
	App      string `json:"a,omitempty"`
	Campaign string `json:"k,omitempty"`
	Given    int64  `json:"g,omitempty"` // 0: free
	Redeemed int64  `json:"r,omitempty"`
}

// Until is when a code of the pool ends; 0: never.
func (c *Code) Until(p *Pool) int64 {
	end := p.Expires
	if p.Life > 0 && c.Given != 0 && (end == 0 || c.Given+p.Life < end) {
		end = c.Given + p.Life
	}
	return end
}

// State is "free", "given", "redeemed" or "expired", at a time in Unix ms. What was redeemed does not expire.
func (c *Code) State(p *Pool, at int64) string {
	end := c.Until(p)
	switch {
	case c.Redeemed != 0:
		return "redeemed"
	case end != 0 && at >= end:
		return "expired"
	case c.Given != 0:
		return "given"
	}
	return "free"
}

// Clean is a code as it is compared: in capitals, without spaces and hyphens. ok is false for what cannot be a code: fewer
// than 4 or more than 64 characters, or others than letters, digits, space, hyphen, full stop and underscore.
func Clean(typed string) (code string, ok bool) {
	if len(typed) > 2*maxCodeBytes {
		return "", false
	}
	code = strings.NewReplacer(" ", "", "-", "").Replace(strings.ToUpper(typed))
	for i := range len(code) {
		if b := code[i]; (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '.' && b != '_' {
			return "", false
		}
	}
	return code, len(code) >= minCodeBytes && len(code) <= maxCodeBytes
}

// ValidPool reports whether a pool may have this name: 1 to 64 of A-Z a-z 0-9 _ -.
func ValidPool(name string) bool {
	return name != "" && len(name) <= maxPoolBytes && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

func slotKey(pool string, n uint64) []byte {
	return slotSpace.Key([]byte(pool), binary.BigEndian.AppendUint64(nil, n))
}

// Get returns a pool; ErrNoPool.
func Get(tx *db.Tx, name string) (p Pool, err error) {
	found, err := read(tx, poolSpace.Key([]byte(name)), &p)
	if err == nil && !found {
		err = fmt.Errorf("%w: %q", ErrNoPool, name)
	}
	return p, err
}

// Pools lists all, by name.
func Pools(tx *db.Tx) (list []Pool, err error) {
	err = tx.Scan(poolSpace.Prefix(), nil, func(_, val []byte) (bool, error) {
		var p Pool
		if err := json.Unmarshal(val, &p); err != nil {
			return false, fmt.Errorf("voucher: damaged pool: %w", err)
		}
		list = append(list, p)
		return true, nil
	})
	return list, err
}

// Find returns a code that was cleaned.
func Find(tx *db.Tx, code string) (c Code, ok bool, err error) {
	ok, err = read(tx, codeSpace.Key([]byte(code)), &c)
	return c, ok, err
}

// Of returns the code of a push.
func Of(tx *db.Tx, mid string) (c Code, ok bool, err error) {
	if c, ok, err = last(tx, mid); c.MID != mid {
		ok = false
	}
	return c, ok, err
}

// last is the code that a push has or has given back.
func last(tx *db.Tx, mid string) (c Code, ok bool, err error) {
	code, err := tx.Get(midSpace.Key([]byte(mid)))
	if errors.Is(err, db.ErrNotFound) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	return Find(tx, string(code))
}

// Check says what keeps codes from being added to a pool, one ErrTaken for each code that stands in its way, and how many of
// them the pool does not have yet. It reads only. A code that the pool has, in whatever state, stands in nobody's way.
func Check(tx *db.Tx, name string, codes []string) (p Pool, fresh int, err error) {
	p, err = Get(tx, name)
	if errors.Is(err, ErrNoPool) {
		p, err = Pool{Name: name}, nil
	}
	if err != nil {
		return p, 0, err
	}
	if p.Dropping {
		return p, 0, fmt.Errorf("%w: %s", ErrDropping, name)
	}
	var faults []error
	for _, written := range codes {
		code, ok := Clean(written)
		if !ok {
			faults = append(faults, fmt.Errorf("voucher: %q cannot be a code", written))
			continue
		}
		c, found, err := Find(tx, code)
		switch {
		case err != nil:
			return p, 0, err
		case found && c.Pool != name:
			faults = append(faults, fmt.Errorf("%w: %s is in pool %s", ErrTaken, written, c.Pool))
		case found && c.Code != written:
			faults = append(faults, fmt.Errorf("%w: %s is in the pool as %s", ErrTaken, written, c.Code))
		case !found:
			fresh++
		}
	}
	if p.Total()+int64(fresh) > MaxCodes {
		faults = append(faults, fmt.Errorf("%w: pool %s has %d codes, and at most %d", ErrFull, name, p.Total(), MaxCodes))
	}
	return p, fresh, errors.Join(faults...)
}

// Add puts codes into a pool, which it makes when there is none, and sets its terms unless terms is nil. A code that the
// pool has stays as it is, so adding again changes nothing. After an error, such as those of Check, nothing has changed.
func Add(tx *db.Tx, name string, codes []string, terms *Terms) (p Pool, added int, err error) {
	if p, _, err = Check(tx, name, codes); err != nil {
		return p, 0, err
	}
	if p.Tail == 0 {
		list, err := Pools(tx)
		if err != nil {
			return p, 0, err
		}
		if len(list) >= MaxPools {
			return p, 0, fmt.Errorf("%w: there are %d pools", ErrFull, len(list))
		}
	}
	if terms != nil {
		p.Terms = *terms
	}
	for _, written := range codes {
		code, _ := Clean(written)
		_, found, err := Find(tx, code)
		if err != nil {
			return p, added, err
		}
		if found {
			continue
		}
		added++
		if err := push(tx, &p, code, &Code{Pool: name, Code: written}); err != nil {
			return p, added, err
		}
	}
	return p, added, put(tx, poolSpace.Key([]byte(name)), &p)
}

// push puts a free code at the end of its pool's queue. The caller writes p.
func push(tx *db.Tx, p *Pool, code string, c *Code) error {
	c.Slot = p.Tail
	p.Tail++
	p.Free++
	if err := tx.Set(slotKey(p.Name, c.Slot), []byte(code)); err != nil {
		return err
	}
	return put(tx, codeSpace.Key([]byte(code)), c)
}

// Reserve gives the next code of a pool to a push. One that has a code keeps it, so that reserving again changes nothing.
// ErrNoPool, ErrEmpty, ErrExpired, ErrDropping: nothing has changed.
func Reserve(tx *db.Tx, pool, mid, app, campaign string) (c Code, p Pool, err error) {
	if p, err = Get(tx, pool); err != nil {
		return c, p, err
	}
	c, found, err := Of(tx, mid)
	now := tx.Now().UnixMilli()
	switch {
	case err != nil || found:
		return c, p, err
	case p.Dropping:
		return c, p, fmt.Errorf("%w: %s", ErrDropping, pool)
	case p.Expired(now):
		return c, p, fmt.Errorf("%w: %s", ErrExpired, pool)
	}
	for ; p.Head < p.Tail; p.Head++ {
		code, err := tx.Get(slotKey(pool, p.Head))
		if err != nil {
			return c, p, fmt.Errorf("voucher: slot %d of %s: %w", p.Head, pool, err)
		}
		c, found, err := Find(tx, string(code))
		if err != nil {
			return c, p, err
		}
		if !found || c.Given != 0 || c.Redeemed != 0 || c.Slot != p.Head { // redeemed before it was given
			continue
		}
		c.MID, c.App, c.Campaign, c.Given = mid, app, campaign, now
		p.Head++
		p.Free--
		p.Given++
		p.count(campaign, func(t *Tally) { t.Given++ })
		return c, p, errors.Join(
			put(tx, codeSpace.Key(code), &c), tx.Set(midSpace.Key([]byte(mid)), code), put(tx, poolSpace.Key([]byte(pool)), &p),
		)
	}
	return Code{}, p, fmt.Errorf("%w: %s", ErrEmpty, pool)
}

// GiveBack returns the code of a push that certainly reached nobody to its pool; see Retake. back is false when the push has none, or
// somebody has redeemed it.
func GiveBack(tx *db.Tx, mid string) (back bool, err error) {
	c, found, err := Of(tx, mid)
	if err != nil || !found || c.Redeemed != 0 {
		return false, err
	}
	p, err := Get(tx, c.Pool)
	if err != nil {
		return false, err
	}
	code, _ := Clean(c.Code)
	p.Given--
	p.count(c.Campaign, func(t *Tally) { t.Given-- })
	if err := push(tx, &p, code, &Code{Pool: c.Pool, Code: c.Code}); err != nil {
		return false, err
	}
	return true, put(tx, poolSpace.Key([]byte(p.Name)), &p)
}

// Retake gives a push that has given its code back another one of the same pool. One that never had a code gets none, and
// so does one whose pool gives none.
func Retake(tx *db.Tx, mid, app, campaign string) error {
	c, found, err := last(tx, mid)
	if err != nil || !found || c.MID == mid {
		return err
	}
	if _, _, err = Reserve(tx, c.Pool, mid, app, campaign); GivesNone(err) {
		return nil
	}
	return err
}

// GivesNone reports whether Reserve failed because the pool has no code for anybody now.
func GivesNone(err error) bool {
	return errors.Is(err, ErrEmpty) || errors.Is(err, ErrNoPool) || errors.Is(err, ErrExpired) || errors.Is(err, ErrDropping)
}

// What Redeem says.
const (
	Redeemed = "redeemed"
	Used     = "used"    // it was redeemed before: nothing has changed
	Expired  = "expired" // it, or its pool, had ended when it was shown: nothing has changed
	Unknown  = "unknown" // it is no code of any pool
)

// Redeem marks a code as used, once, that was shown at a time in Unix ms. One that was not given to anybody is used up all the
// same, and given to nobody. purchase says that it was shown with a purchase.
func Redeem(tx *db.Tx, typed string, at int64, purchase bool) (c Code, what string, err error) {
	code, ok := Clean(typed)
	if !ok {
		return c, Unknown, nil
	}
	c, found, err := Find(tx, code)
	switch {
	case err != nil || !found:
		return c, Unknown, err
	case c.Redeemed != 0:
		return c, Used, nil
	}
	p, err := Get(tx, c.Pool)
	if err != nil {
		return c, Unknown, err
	}
	switch {
	case p.Dropping:
		return c, Unknown, nil
	case c.State(&p, at) == "expired":
		return c, Expired, nil
	case c.Given != 0:
		p.Given--
		p.count(c.Campaign, func(t *Tally) {
			t.Given--
			t.Redeemed++
			if purchase {
				t.Purchases++
			}
		})
	default:
		p.Free--
		p.Ungiven++
	}
	p.Redeemed++
	c.Redeemed = tx.Now().UnixMilli()
	return c, Redeemed, errors.Join(put(tx, codeSpace.Key([]byte(code)), &c), put(tx, poolSpace.Key([]byte(p.Name)), &p))
}

// Page lists codes of a pool in the order of their slots, from slot after on, at most n of them; next is where the following
// page begins, 0 behind the last.
func Page(tx *db.Tx, pool string, after uint64, n int) (list []Code, next uint64, err error) {
	p, err := Get(tx, pool)
	if err != nil {
		return nil, 0, err
	}
	for slot := max(after, p.Dropped); slot < p.Tail; slot++ {
		if len(list) == n {
			return list, slot, nil
		}
		code, err := tx.Get(slotKey(pool, slot))
		if err != nil {
			return nil, 0, fmt.Errorf("voucher: slot %d of %s: %w", slot, pool, err)
		}
		c, found, err := Find(tx, string(code))
		if err != nil {
			return nil, 0, err
		}
		if found && c.Slot == slot { // else it was given back, and comes later
			list = append(list, c)
		}
	}
	return list, 0, nil
}

// Drop removes up to n codes of a pool, and with the last of them the pool; left says how many slots remain. From the first
// call on the pool gives and takes nothing. A drop that was cut off is ended by calling Drop again. ErrNoPool: there is none.
func Drop(tx *db.Tx, name string, n int) (left int64, err error) {
	p, err := Get(tx, name)
	if err != nil {
		return 0, err
	}
	p.Dropping = true
	for ; n > 0 && p.Dropped < p.Tail; n-- {
		key := slotKey(name, p.Dropped)
		code, err := tx.Get(key)
		if err != nil {
			return 0, fmt.Errorf("voucher: slot %d of %s: %w", p.Dropped, name, err)
		}
		if err := tx.Delete(key); err != nil {
			return 0, err
		}
		c, found, err := Find(tx, string(code))
		if err != nil {
			return 0, err
		}
		if found && c.Slot == p.Dropped { // else it was given back, and goes with its last slot
			if err := tx.Delete(codeSpace.Key(code)); err != nil {
				return 0, err
			}
			if c.MID != "" {
				if err := tx.Delete(midSpace.Key([]byte(c.MID))); err != nil {
					return 0, err
				}
			}
		}
		p.Dropped++
	}
	if p.Dropped == p.Tail {
		return 0, tx.Delete(poolSpace.Key([]byte(name)))
	}
	return int64(p.Tail - p.Dropped), put(tx, poolSpace.Key([]byte(name)), &p)
}

// Forget takes the messages out of their codes, which stay given. It returns how many had one.
func Forget(tx *db.Tx, mids []string) (n int, err error) {
	for _, mid := range mids {
		key := midSpace.Key([]byte(mid))
		if _, err := tx.Get(key); errors.Is(err, db.ErrNotFound) {
			continue
		}
		c, found, err := last(tx, mid)
		if err != nil {
			return n, err
		}
		n++
		if found && c.MID == mid { // else it was given back, or its pool was dropped
			code, _ := Clean(c.Code)
			c.MID = ""
			if err := put(tx, codeSpace.Key([]byte(code)), &c); err != nil {
				return n, err
			}
		}
		if err := tx.Delete(key); err != nil {
			return n, err
		}
	}
	return n, nil
}

func read(tx *db.Tx, key []byte, v any) (found bool, err error) {
	row, err := tx.Get(key)
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(row, v)
	}
	if err != nil {
		return false, fmt.Errorf("voucher: row %x: %w", bytes.Clone(key), err)
	}
	return true, nil
}

func put(tx *db.Tx, key []byte, v any) error {
	row, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("voucher: %w", err)
	}
	return tx.Set(key, row)
}
