package track

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
)

// hashSeed differs from process to process, so that nobody can choose device
// names that share a slot. It decides where a row lies and nothing else.
func hashSeed() uint64 { return maphash.String(maphash.MakeSeed(), "") }

// This file is the memory of a Tracker and the only place that knows its layout; the rest works with a state, which load
// takes out of the table and save puts back. What the collector sees is some chunks without pointers:
//
//	index ─▶ record, 36 B, in chunks ─▶ node, 40 B, in chunks: only of devices at a fence or in doubt
//	 5 B      │ └▶ long names, in chunks: only names of more than 16 bytes packed
//	          └▶ tail, 8 B, in a chunk beside the chunk of records if one of these has a name of 9 to 16 bytes packed: UUIDs
//
// Two devices can never share a record: the index compares hashes only to skip, and the packed name decides.

// MaxDeviceIDLen is the longest DeviceID a Tracker takes, in bytes; a wire id
// has at most 129. Apply refuses a longer one as malformed.
const MaxDeviceIDLen = 255

// MaxDevices is how many devices a Tracker can hold. Apply panics at one more.
const MaxDevices = 1<<recordBits - 1

// state is all that is known of a device.
type state struct {
	pos    uint64 // log position of the last input of any verdict
	lastAt int64  // fix time of the last accepted input, Unix ms
	place  place  // the last accepted position; see posLag
	gen    uint32 // fences.Set.Gen with which place was evaluated
	posLag uint32 // ms from place to lastAt, at most maxPosLag, or noPosition
	seen   bool   // an input was accepted: lastAt means something
	hasQ   bool   // q is in doubt
	q      quarantine
	visits []visit // ordered by fence id
}

const (
	noPosition = ^uint32(0)     // no position was accepted yet
	maxPosLag  = noPosition - 1 // 49 days; longer counts as that
)

// place is a position to 1e-7 degrees (11 mm) with its accuracy in metres.
// Two fixes closer than that are one place to the duplicate rule.
type place struct {
	lat, lng int32
	acc      float32
}

// quarantine is a fix that implied an implausible move.
type quarantine struct {
	at int64
	place
}

// visit is what is kept of a device at one fence.
type visit struct {
	since    int64 // first fix inside, Unix ms
	seenAt   int64 // in stateUnknown: last sign of life before the silence; with visitAway: first fix outside; else 0
	fence    uint32
	shapeGen uint32 // Fence.ShapeGen in which the device was last seen inside
	reason   Reason // of the enter or exit to come, while it waits
	state    visitState
	flags    visitFlags
}

type visitState uint8

const (
	// The numbers are stored in rows.
	stateNear    visitState = iota + 1 // inside with too poor an accuracy; remembered so that it is noted once
	statePending                       // inside, min stay running
	stateInside
	stateUnknown // was inside, then silent for PresenceTTL
	visitStateEnd
)

type visitFlags uint8

const (
	// The bits are stored in rows.
	visitDwelled visitFlags = 1 << iota
	notedAccuracy
	notedPending
	notedMargin
	notedBlind
	notedAway
	visitAway // in stateInside: seen clearly outside, min away running
	visitFlagsEnd
)

// visitingSince reports whether the device is inside a fence that it entered at t or before.
func (d *state) visitingSince(at int64) bool {
	for i := range d.visits {
		if v := &d.visits[i]; v.state == stateInside && v.since <= at {
			return true
		}
	}
	return false
}

// record is what is kept of every device: 36 bytes, of which pairs of words are numbers of 64 bits that would
// otherwise be aligned to 40.
//
//	word  the packed name, or its first 8 bytes; of a long one where it is, and 32 bits of its hash
//	what  log position 48 bits · its upper 16 as a number in epochs 4 · recSeen… 4 · family 8
//	when  lastAt 42 bits (until 2109) · gen 22
//	acc   the accuracy of place; with recMore the first node, which has the accuracy
//
// What does not fit, such as a log position of the sixteenth epoch, is in a node.
type record struct {
	word     [2]uint32
	lat, lng int32
	what     [2]uint32
	when     [2]uint32
	acc      uint32
}

const (
	recSeen   = 1 << (52 + iota)
	recPlaced // place is of lastAt (posLag is 0); without recMore: else there is none
	recDirty  // changed since MarkClean
	recMore   // acc is a node

	posBits    = 48
	posMask    = 1<<posBits - 1
	epochMask  = 15
	wideEpoch  = epochMask // log position, lastAt and gen are in a node
	familyBit  = 56
	familyLong = 1 // of names that are not Short; families: 0 a free record
	timeBits   = 42
	timeMask   = 1<<timeBits - 1
	genBits    = 64 - timeBits
)

func get64(p *[2]uint32) uint64    { return uint64(p[0]) | uint64(p[1])<<32 }
func put64(p *[2]uint32, v uint64) { p[0], p[1] = uint32(v), uint32(v>>32) }

// node is one of a list of what a device has beside its record: what does not fit in it, a quarantined fix, visits.
// The first has what the record's place had to make room for.
type node struct {
	a, b    int64  // visit: since, seenAt; quarantine: at, lat and lng; wide: lastAt, pos
	c       uint32 // visit: fence; quarantine: accuracy; wide: gen
	d       uint32 // visit: shapeGen
	acc     uint32 // of the first: accuracy of place
	lag     uint32 // of the first: posLag
	next    uint32 // number plus 1
	reason  Reason
	kind    visitState // of a visit its state
	visited visitFlags
}

const (
	nodeBare visitState = 100 + iota // nothing but what the first has
	nodeWide
	nodeQuarantine
)

const (
	chunkRecords = 2048 // 72 KiB and 16 of tails, whole numbers of the runtime's pages
	chunkNodes   = 1024 // 40 KiB
)

// family is what the names of many devices have in common, so that a record needs 8 bits for it.
type family struct {
	app  uint32
	form Form
}

// app is an app that devices have.
type app struct {
	name     string
	families [256]uint8 // by form; 0 for none yet
}

// table maps device ids to records.
type table struct {
	index
	seed [2]uint64

	chunks  []chunk
	used    uint32 // records ever used
	freeRec uint32 // number plus 1 of the first free one; word[0] is the next

	nodes    []*[chunkNodes]node
	nodeUsed uint32
	freeNode uint32 // like freeRec

	apps     []*app
	byApp    map[string]uint32
	lastApp  uint32 // that was looked up
	families []family
	epochs   []uint16 // upper bits of log positions

	long keyArena

	// Where chunks come from.
	newRecords slab[[chunkRecords]record]
	newTails   slab[[chunkRecords]uint64]
	newNodes   slab[[chunkNodes]node]
}

// chunk is some records, and the bytes 8 to 15 of their names; without tails none of them has any.
type chunk struct {
	recs  *[chunkRecords]record
	tails *[chunkRecords]uint64
}

func newTable() table {
	return table{
		index: newIndex(), seed: [2]uint64{hashSeed(), hashSeed() | 1},
		byApp: map[string]uint32{}, families: make([]family, 2), epochs: make([]uint16, 0, wideEpoch),
	}
}

// key is a device id to be looked up.
type key struct {
	hash   uint64
	word   uint64 // these as in Input
	tail   uint64
	family uint8  // 0: no device has this app and form yet
	app    uint32 // of a long one
	form   Form
	name   []byte // packed
}

// keyOf makes k, a zero key, that of an id; buf is room for its name.
func (t *table) keyOf(k *key, id DeviceID, buf []byte) {
	a, name, ok := t.lastApp, "", false
	if int(a) < len(t.apps) {
		name, ok = id.of(t.apps[a].name)
	}
	if !ok {
		var app string
		app, name = id.cut()
		if a, ok = t.byApp[app]; ok {
			t.lastApp = a
		}
	}
	// Fast path: a name of 16 hexadecimal digits is packed into a register, 150 instructions less than by way of buf.
	if ok && len(name) == 16 {
		lo, hi := loadEight(name), loadEight(name[8:])
		if f := t.apps[a].families[16]; f > familyLong && eightHex(lo) && eightHex(hi) {
			k.word, k.family, k.app, k.form = uint64(packEight(lo))|uint64(packEight(hi))<<32, f, a, 16
			k.hash = t.hashShort(f, k.word, 0)
			return
		}
	}
	k.name, k.form = packName(buf[:0], id, name)
	if !ok {
		return
	}
	k.app = a
	if k.family = t.apps[a].families[k.form]; k.family != 0 {
		k.word, k.tail = k.form.words(k.name)
		t.setHash(k)
	}
}

func (t *table) setHash(k *key) {
	if k.family == familyLong {
		k.hash = t.hashLong(k.app, k.form, k.name)
	} else {
		k.hash = t.hashShort(k.family, k.word, k.tail)
	}
}

// hashShort is two multiplications of 64 by 64 bits, folded, the first with a secret on either side. One alone takes four
// instructions less and lets names that count up fall into few tables with every tenth seed (TestHashSpreads).
func (t *table) hashShort(family uint8, word, tail uint64) uint64 {
	hi, lo := bits.Mul64(word^t.seed[0], tail^uint64(family)<<40^t.seed[1])
	hi, lo = bits.Mul64(hi^lo, hashOdd)
	return hi ^ lo
}

const hashOdd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio

func (t *table) hashLong(app uint32, form Form, name []byte) uint64 {
	h := t.seed[0] ^ uint64(app)<<16 ^ uint64(form)<<8 ^ uint64(len(name))
	for len(name) > 0 {
		n := min(len(name), 8)
		hi, lo := bits.Mul64(h^word(name[:n]), t.seed[1])
		h = hi ^ lo
		name = name[n:]
	}
	hi, lo := bits.Mul64(h^t.seed[1], t.seed[0]|1)
	return hi ^ lo
}

// hashOf is the hash of record i.
func (t *table) hashOf(i uint32) uint64 {
	r := t.rec(i)
	w := get64(&r.word)
	if f := uint8(get64(&r.what) >> familyBit); f != familyLong {
		return t.hashShort(f, w, t.tail(i))
	}
	return t.hashLong(t.long.at(uint32(w)))
}

func (t *table) rec(i uint32) *record { return &t.chunks[i/chunkRecords].recs[i%chunkRecords] }

// tail is the bytes 8 to 15 of the name of record i; 0 when it is no longer than 8 bytes.
func (t *table) tail(i uint32) uint64 {
	if tails := t.chunks[i/chunkRecords].tails; tails != nil {
		return tails[i%chunkRecords]
	}
	return 0
}

func (t *table) node(n uint32) *node { n--; return &t.nodes[n/chunkNodes][n%chunkNodes] }

// is reports whether record i has the key.
func (t *table) is(i uint32, k *key) bool {
	r := t.rec(i)
	w := get64(&r.word)
	if uint8(r.what[1]>>(familyBit-32)) != k.family {
		return false
	}
	if k.family != familyLong {
		return w == k.word && t.tail(i) == k.tail
	}
	if uint32(w>>32) != uint32(k.hash) {
		return false
	}
	app, form, name := t.long.at(uint32(w))
	return app == k.app && form == k.form && string(name) == string(k.name)
}

// find returns the record of a device.
func (t *table) find(k *key) (uint32, bool) {
	if k.family == 0 {
		return 0, false
	}
	slots := t.sub(k.hash).slots
	for s := home(k.hash, len(slots)); s < len(slots); {
		slot := slots[s]
		if slot == 0 {
			return 0, false
		}
		if slot^uint32(k.hash) <= recordMask {
			if i := slot&recordMask - 1; t.is(i, k) {
				return i, true
			}
		}
		if s++; s == len(slots) {
			s = 0
		}
	}
	return 0, false // an empty table
}

func (t *table) findID(id DeviceID) (uint32, bool) {
	var buf [MaxDeviceIDLen]byte
	if len(id) > MaxDeviceIDLen {
		return 0, false
	}
	var k key
	t.keyOf(&k, id, buf[:])
	return t.find(&k)
}

// insert makes the record of a device that find did not find.
func (t *table) insert(id DeviceID) uint32 {
	if t.n == MaxDevices {
		panic(fmt.Sprintf("track: more than %d devices", MaxDevices))
	}
	var buf [MaxDeviceIDLen]byte
	var k key
	t.keyOf(&k, id, buf[:])
	if k.family == 0 {
		t.addFamily(&k, id.App())
	}
	i := t.freeRec - 1
	if t.freeRec != 0 {
		t.freeRec = t.rec(i).word[0]
	} else {
		i = t.used
		if i%chunkRecords == 0 {
			t.chunks = append(t.chunks, chunk{recs: t.newRecords.next(len(t.chunks))})
		}
		t.used++
	}
	r := t.rec(i)
	*r = record{}
	if k.family == familyLong {
		k.word, k.tail = uint64(t.long.add(k.app, k.form, k.name))|k.hash<<32, 0
	}
	c := &t.chunks[i/chunkRecords]
	if c.tails == nil && k.tail != 0 {
		c.tails = t.newTails.next(len(t.chunks))
	}
	if c.tails != nil {
		c.tails[i%chunkRecords] = k.tail
	}
	put64(&r.word, k.word)
	put64(&r.what, uint64(k.family)<<familyBit)
	t.index.add(t, k.hash, i)
	return i
}

// addFamily gives the app of k a number and its names a family.
func (t *table) addFamily(k *key, name string) {
	a, ok := t.byApp[name]
	if !ok {
		a = uint32(len(t.apps))
		t.apps = append(t.apps, &app{name: name})
		t.byApp[name] = a
	}
	k.app, k.family = a, familyLong
	if k.form.Short() && len(t.families) < 256 {
		k.family = uint8(len(t.families))
		t.families = append(t.families, family{a, k.form})
	}
	t.apps[a].families[k.form] = k.family
	k.word, k.tail = k.form.words(k.name)
	t.setHash(k)
}

// remove erases a device. Its record and nodes are reused later.
func (t *table) remove(id DeviceID) {
	i, ok := t.findID(id)
	if !ok {
		return
	}
	t.index.drop(t, t.hashOf(i), i)
	r := t.rec(i)
	t.freeNodes(r)
	if get64(&r.what)>>familyBit == familyLong {
		t.long.drop(r.word[0])
	}
	*r = record{word: [2]uint32{t.freeRec}}
	t.freeRec = i + 1
	if t.long.wasteful() {
		t.packLong()
	}
}

// packLong rewrites the long names without those of erased devices.
func (t *table) packLong() {
	old := t.long
	t.long = keyArena{}
	t.each(func(_ uint32, r *record) {
		if get64(&r.what)>>familyBit == familyLong {
			r.word[0] = t.long.add(old.at(r.word[0]))
		}
	})
}

// each calls fn for every device, in the order of their records.
func (t *table) each(fn func(i uint32, r *record)) {
	for i := range t.used {
		if r := t.rec(i); get64(&r.what)>>familyBit != 0 {
			fn(i, r)
		}
	}
}

// id is the id of record i.
func (t *table) id(i uint32) DeviceID {
	r := t.rec(i)
	w := get64(&r.word)
	var buf [MaxDeviceIDLen]byte
	f := uint8(get64(&r.what) >> familyBit)
	if f == familyLong {
		app, form, name := t.long.at(uint32(w))
		return DeviceID(Unpack(buf[:0], t.apps[app].name, form, name))
	}
	fam := t.families[f]
	var name [16]byte
	binary.LittleEndian.PutUint64(name[:], w)
	binary.LittleEndian.PutUint64(name[8:], t.tail(i))
	return DeviceID(Unpack(buf[:0], t.apps[fam.app].name, fam.form, name[:fam.form.Bytes()]))
}

// appendDirty appends the ids of changed devices.
func (t *table) appendDirty(dst []DeviceID) []DeviceID {
	t.each(func(i uint32, r *record) {
		if get64(&r.what)&recDirty != 0 {
			dst = append(dst, t.id(i))
		}
	})
	return dst
}

func (t *table) markClean(i uint32) {
	r := t.rec(i)
	put64(&r.what, get64(&r.what)&^recDirty)
}

// epoch is the number of the upper bits of a log position, or wideEpoch.
func (t *table) epoch(pos uint64) uint64 {
	e := uint16(pos >> posBits)
	for i := len(t.epochs) - 1; i >= 0; i-- { // the newest is the likeliest
		if t.epochs[i] == e {
			return uint64(i)
		}
	}
	if len(t.epochs) == wideEpoch {
		return wideEpoch
	}
	t.epochs = append(t.epochs, e)
	return uint64(len(t.epochs) - 1)
}

// load takes the state of record i out of the table. It reuses d.visits.
func (t *table) load(i uint32, d *state) {
	r := t.rec(i)
	what, when := get64(&r.what), get64(&r.when)
	*d = state{
		lastAt: int64(when & timeMask), gen: uint32(when >> timeBits), place: place{r.lat, r.lng, math.Float32frombits(r.acc)},
		seen: what&recSeen != 0, posLag: noPosition, visits: d.visits[:0],
	}
	if e := what >> posBits & epochMask; e != wideEpoch && int(e) < len(t.epochs) {
		d.pos = uint64(t.epochs[e])<<posBits | what&posMask
	}
	if what&recPlaced != 0 {
		d.posLag = 0
	}
	if what&recMore == 0 {
		return
	}
	first := t.node(r.acc)
	d.place.acc, d.posLag = math.Float32frombits(first.acc), first.lag
	for at := r.acc; at != 0; {
		n := t.node(at)
		switch n.kind {
		case nodeBare:
		case nodeWide:
			d.lastAt, d.pos, d.gen = n.a, uint64(n.b), n.c
		case nodeQuarantine:
			d.hasQ = true
			d.q = quarantine{n.a, place{int32(n.b), int32(n.b >> 32), math.Float32frombits(n.c)}}
		default:
			d.visits = append(d.visits, visit{n.a, n.b, n.c, n.d, n.reason, n.kind, n.visited})
		}
		at = n.next
	}
}

// save puts the state of record i back. dirty says that it is to be stored.
func (t *table) save(i uint32, d *state, dirty bool) {
	r := t.rec(i)
	what := get64(&r.what)
	list := nodeList{t: t}
	if what&recMore != 0 {
		list.old = r.acc
	}
	epoch := t.epoch(d.pos)
	wide := epoch == wideEpoch || uint64(d.lastAt) > timeMask || d.gen >= 1<<genBits
	if wide {
		epoch = wideEpoch
		*list.add() = node{kind: nodeWide, a: d.lastAt, b: int64(d.pos), c: d.gen}
	}
	if d.hasQ {
		*list.add() = node{kind: nodeQuarantine, a: d.q.at, b: int64(uint32(d.q.lat)) | int64(d.q.lng)<<32, c: math.Float32bits(d.q.acc)}
	}
	for k := range d.visits {
		v := &d.visits[k]
		*list.add() = node{a: v.since, b: v.seenAt, c: v.fence, d: v.shapeGen, reason: v.reason, kind: v.state, visited: v.flags}
	}
	if list.first == 0 && d.posLag != 0 && d.posLag != noPosition {
		*list.add() = node{kind: nodeBare}
	}
	list.end()

	what = what>>familyBit<<familyBit | epoch<<posBits | d.pos&posMask
	if d.seen {
		what |= recSeen
	}
	if d.posLag == 0 {
		what |= recPlaced
	}
	if dirty {
		what |= recDirty
	}
	r.lat, r.lng, r.acc = d.place.lat, d.place.lng, math.Float32bits(d.place.acc)
	if list.first != 0 {
		what |= recMore
		first := t.node(list.first)
		first.acc, first.lag = r.acc, d.posLag
		r.acc = list.first
	}
	put64(&r.what, what)
	put64(&r.when, uint64(d.lastAt)&timeMask|uint64(d.gen)<<timeBits)
}

// nodeList writes a list of nodes over an old one.
type nodeList struct {
	t           *table
	old         uint32 // not yet written over
	first, last uint32
}

// add makes one more node. It is linked by end.
func (l *nodeList) add() *node {
	n := l.old
	if n != 0 {
		l.old = l.t.node(n).next
	} else if n = l.t.freeNode; n != 0 {
		l.t.freeNode = l.t.node(n).next
	} else {
		if l.t.nodeUsed%chunkNodes == 0 {
			l.t.nodes = append(l.t.nodes, l.t.newNodes.next(len(l.t.nodes)))
		}
		l.t.nodeUsed++
		n = l.t.nodeUsed
	}
	if l.first == 0 {
		l.first = n
	} else {
		l.t.node(l.last).next = n
	}
	l.last = n
	return l.t.node(n)
}

// end ends the list and frees what is left of the old one.
func (l *nodeList) end() {
	if l.last != 0 {
		l.t.node(l.last).next = 0
	}
	l.t.freeList(l.old)
}

func (t *table) freeList(n uint32) {
	for n != 0 {
		x := t.node(n)
		next := x.next
		*x = node{next: t.freeNode}
		t.freeNode, n = n, next
	}
}

func (t *table) freeNodes(r *record) {
	if get64(&r.what)&recMore != 0 {
		t.freeList(r.acc)
	}
}

// keyArena holds names that do not fit in a record: app u32, form, length, bytes.
type keyArena struct {
	chunks [][]byte
	live   int // bytes
	total  int // of live and dead ones
}

const (
	chunkBits = 20 // chunks of 1 MiB: 4 GiB in all
	chunkSize = 1 << chunkBits
	keyHead   = 6
)

func (a *keyArena) add(app uint32, form Form, name []byte) uint32 {
	size := keyHead + len(name)
	n := len(a.chunks)
	if n == 0 || len(a.chunks[n-1])+size > chunkSize {
		if n == 1<<(32-chunkBits) {
			panic("track: more than 4 GiB of device ids")
		}
		// The first chunk grows as needed so that a small tracker stays small.
		c := []byte(nil)
		if n > 0 {
			c = make([]byte, 0, chunkSize)
		}
		a.chunks = append(a.chunks, c)
		n++
	}
	c := a.chunks[n-1]
	off := len(c)
	c = binary.LittleEndian.AppendUint32(c, app)
	c = append(c, byte(form), byte(len(name)))
	a.chunks[n-1] = append(c, name...)
	a.live += size
	a.total += size
	return uint32((n-1)<<chunkBits | off)
}

func (a *keyArena) at(ref uint32) (app uint32, form Form, name []byte) {
	c := a.chunks[ref>>chunkBits][ref&(chunkSize-1):]
	return binary.LittleEndian.Uint32(c), Form(c[4]), c[keyHead : keyHead+int(c[5])]
}

func (a *keyArena) drop(ref uint32) {
	_, _, name := a.at(ref)
	a.live -= keyHead + len(name)
}

// wasteful reports whether dead names take more room than living ones.
func (a *keyArena) wasteful() bool {
	dead := a.total - a.live
	return dead > chunkSize && dead > a.live
}

// slab makes chunks, many in one piece of memory: what a collection takes is sweeping, by the piece. With 10,000,000 devices it took 9.7 ms
// with a piece for each chunk, and 5.0 with these. At most a 32nd of the chunks, and 31, are made before they are needed.
type slab[T any] struct{ rest []T }

// next makes one chunk more, zero; there are have of them.
func (s *slab[T]) next(have int) *T {
	if len(s.rest) == 0 {
		s.rest = make([]T, min(1+have/32, 32))
	}
	c := &s.rest[0]
	s.rest = s.rest[1:]
	return c
}
