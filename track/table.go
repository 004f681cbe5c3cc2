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
//	index ─▶ record, 32 B, in chunks ─▶ node, 24 B, in chunks: only of devices at a fence, in doubt or out of the ordinary
//	 5 B      │ └▶ long names, in chunks: only names of more than 16 bytes packed
//	          └▶ tail, 8 B, in a chunk beside the chunk of records of a family with names of 9 to 16 bytes packed: UUIDs
//
// Two devices can never share a record: the index compares hashes only to skip, and the packed name decides.

// MaxDeviceIDLen is the longest DeviceID a Tracker takes, in bytes; a wire id
// has at most 129. Apply refuses a longer one as malformed.
const MaxDeviceIDLen = 255

// MaxDevices is how many devices a Tracker can hold, less up to a thousand for each app and form of name. Apply panics at one more.
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
	// withdrawn: positions of the device are not to be used, and nothing but pos is known of it. See Tracker.Withdraw.
	withdrawn bool
	q         quarantine
	visits    []visit // ordered by fence id
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

// record is what is kept of every device: 32 bytes, so that one never lies in two cache lines. It is exact: what does not
// fit in its numbers, such as a log position of the sixteenth epoch or a time of last year, is in nodes.
//
//	word  the packed name, or its first 8 bytes; of a long one where it is, and 32 bits of its hash
//	acc   the accuracy of place; with recMore the first node, which has the accuracy
//	at    lastAt - bases.time, its lower 32 bits
//	what  log position 40 bits · its upper 24 as a number in epochs 4 · recLive… 4 · gen - bases.gen 12 · the upper 4 bits of at
type record struct {
	word     uint64
	lat, lng int32
	acc      uint32
	at       uint32
	what     uint64
}

const (
	recLive   = 1 << (44 + iota) // of a device, not a free record
	recPlaced                    // place is of lastAt (posLag is 0); without recMore: else there is none
	recDirty                     // changed since MarkClean
	recMore                      // acc is a node

	posBits   = 40
	posMask   = 1<<posBits - 1
	epochMask = 15
	wideEpoch = epochMask                    // log position, lastAt and gen are in nodes
	recNew    = recLive | wideEpoch<<posBits // until its state is saved
	genBit    = 48
	genMask   = 1<<12 - 1
	timeBit   = 60
	timeBits  = 36 // 2.2 years
	timeMask  = 1<<timeBits - 1

	familyLong = 1 // of names that are not Short; 0 is none
)

// since is lastAt - bases.time.
func (r *record) since() uint64 { return uint64(r.at) | r.what>>timeBit<<32 }

// node is one of a list of what a device has beside its record: what does not fit in it, a quarantined fix, visits. Some
// take two, the second being a nodeRest.
//
//	kind              a                        b         and its nodeRest: a      b
//	of a visit        since 42 · shapeGen 22   fence     none
//	the same + large  since                    fence     seenAt                   shapeGen
//	nodeWide          pos                      gen       lastAt
//	nodeQuarantine    at                       accuracy  lat and lng
//	nodeLag                                    posLag
//	nodeUnseen        lastAt                   1: withdrawn
type node struct {
	a       uint64
	b       uint32
	next    uint32 // number plus 1
	acc     uint32 // of the first of a list: accuracy of place
	reason  Reason
	kind    visitState
	visited visitFlags
}

const (
	nodeLag visitState = 100 + iota
	nodeUnseen
	nodeWide
	nodeQuarantine
	nodeRest

	nodeLarge = 16 // added to the state of a visit
	sinceBits = 42 // until 2109
	sinceMask = 1<<sinceBits - 1
)

const (
	chunkRecords = 1024 // 32 KiB and 8 of tails, whole numbers of the runtime's pages
	chunkNodes   = 1024 // 24 KiB
)

// family is what the names of many devices have in common, so that a record needs 8 bits for it.
type family struct {
	app  uint32
	form Form
	free uint32 // number plus 1 of its first free record; at is the next
	next uint32 // of its last chunk: the record that was never used; a multiple of chunkRecords when there is none
}

// bases are what a record's lastAt and gen are counted from.
type bases struct {
	time int64
	gen  uint32
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

	chunks []chunk
	bases  bases

	nodes    []*[chunkNodes]node
	nodeUsed uint32
	freeNode uint32 // number plus 1

	apps     []*app
	byApp    map[string]uint32
	lastApp  uint32 // that was looked up
	families []family
	epochs   []uint32 // upper bits of log positions

	long keyArena

	// Where chunks come from.
	newRecords slab[[chunkRecords]record]
	newTails   slab[[chunkRecords]uint64]
	newNodes   slab[[chunkNodes]node]
}

// chunk is some records of one family, and the bytes 8 to 15 of their names; without tails none of them has any.
type chunk struct {
	recs   *[chunkRecords]record
	tails  *[chunkRecords]uint64
	family uint8
}

func newTable() table {
	return table{
		index: newIndex(), seed: [2]uint64{hashSeed(), hashSeed() | 1},
		byApp: map[string]uint32{}, families: make([]family, 2), epochs: make([]uint32, 0, wideEpoch),
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
	w := t.rec(i).word
	if f := t.family(i); f != familyLong {
		return t.hashShort(f, w, t.tail(i))
	}
	return t.hashLong(t.long.at(uint32(w)))
}

func (t *table) rec(i uint32) *record { return &t.chunks[i/chunkRecords].recs[i%chunkRecords] }

// family is that of record i.
func (t *table) family(i uint32) uint8 { return t.chunks[i/chunkRecords].family }

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
	w := t.rec(i).word
	if t.family(i) != k.family {
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
	var buf [MaxDeviceIDLen]byte
	var k key
	t.keyOf(&k, id, buf[:])
	if k.family == 0 {
		t.addFamily(&k, id.App())
	}
	if k.family == familyLong {
		k.word, k.tail = uint64(t.long.add(k.app, k.form, k.name))|k.hash<<32, 0
	}
	i := t.newRecord(k.family)
	*t.rec(i) = record{word: k.word, what: recNew}
	if tails := t.chunks[i/chunkRecords].tails; tails != nil {
		tails[i%chunkRecords] = k.tail
	}
	t.index.add(t, k.hash, i)
	return i
}

// newRecord is a record for a name of a family.
func (t *table) newRecord(family uint8) uint32 {
	f := &t.families[family]
	i := f.free - 1
	if f.free != 0 {
		f.free = t.rec(i).at
		return i
	}
	if i = f.next; i%chunkRecords == 0 {
		c := chunk{recs: t.newRecords.next(len(t.chunks)), family: family}
		if family != familyLong && f.form.Bytes() > 8 {
			c.tails = t.newTails.next(len(t.chunks))
		}
		i = uint32(len(t.chunks)) * chunkRecords
		if i > MaxDevices-chunkRecords {
			panic(fmt.Sprintf("track: more than %d devices", MaxDevices))
		}
		t.chunks = append(t.chunks, c)
	}
	f.next = i + 1
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
		t.families = append(t.families, family{app: a, form: k.form})
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
	if r.what&recMore != 0 {
		t.freeList(r.acc)
	}
	if t.family(i) == familyLong {
		t.long.drop(uint32(r.word))
	}
	f := &t.families[t.family(i)]
	*r = record{at: f.free}
	f.free = i + 1
	if t.long.wasteful() {
		t.packLong()
	}
}

// packLong rewrites the long names without those of erased devices.
func (t *table) packLong() {
	old := t.long
	t.long = keyArena{}
	t.each(func(i uint32, r *record) {
		if t.family(i) == familyLong {
			r.word = r.word>>32<<32 | uint64(t.long.add(old.at(uint32(r.word))))
		}
	})
}

// each calls fn for every device, in the order of their records.
func (t *table) each(fn func(i uint32, r *record)) {
	for c := range t.chunks {
		for k := range t.chunks[c].recs {
			if r := &t.chunks[c].recs[k]; r.what&recLive != 0 {
				fn(uint32(c*chunkRecords+k), r)
			}
		}
	}
}

// id is the id of record i.
func (t *table) id(i uint32) DeviceID {
	w := t.rec(i).word
	var buf [MaxDeviceIDLen]byte
	f := t.family(i)
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
		if r.what&recDirty != 0 {
			dst = append(dst, t.id(i))
		}
	})
	return dst
}

func (t *table) markClean(i uint32) {
	t.rec(i).what &^= recDirty
}

// epoch is the number of the upper bits of a log position, or wideEpoch.
func (t *table) epoch(pos uint64) uint64 {
	e := uint32(pos >> posBits)
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

// fits reports whether a record has room for the time and the generation of d.
func (t *table) fits(d *state) bool {
	return !d.seen || uint64(d.lastAt-t.bases.time) <= timeMask && (d.posLag == noPosition || d.gen-t.bases.gen <= genMask)
}

// makeRoom moves the bases when a time or a generation is beyond what fits, so that it does, and half of what had been before it still
// does; what does not any more gets nodes. That happens once a year, or in 2,048 edits of the fences, and takes some 50 ns for each
// device. Times that no fix has are left to nodes.
func (t *table) makeRoom(lastAt int64, gen uint32) {
	old := t.bases
	moved := old
	if lastAt > old.time+timeMask && lastAt <= sinceMask {
		moved.time = lastAt - timeMask/2
	}
	if uint64(gen) > uint64(old.gen)+genMask {
		moved.gen = gen - genMask/2
	}
	if moved == old {
		return
	}
	var d state
	t.each(func(i uint32, r *record) {
		if r.what == recNew {
			return
		}
		t.bases = old
		t.load(i, &d)
		t.bases = moved
		t.put(i, &d, r.what&recDirty)
	})
	t.bases = moved
}

// load takes the state of record i out of the table. It reuses d.visits.
func (t *table) load(i uint32, d *state) {
	r := t.rec(i)
	what := r.what
	*d = state{
		lastAt: t.bases.time + int64(r.since()), gen: t.bases.gen + uint32(what>>genBit&genMask), place: place{r.lat, r.lng, math.Float32frombits(r.acc)},
		seen: true, posLag: noPosition, visits: d.visits[:0],
	}
	if e := what >> posBits & epochMask; e != wideEpoch {
		d.pos = uint64(t.epochs[e])<<posBits | what&posMask
	}
	if what&recPlaced != 0 {
		d.posLag = 0
	}
	if what&recMore != 0 {
		t.loadMore(r, d)
	}
	if d.posLag == noPosition {
		d.gen = 0 // it is of the position
	}
}

// loadMore takes what is in nodes.
func (t *table) loadMore(r *record, d *state) {
	d.place.acc = math.Float32frombits(t.node(r.acc).acc)
	for at := r.acc; at != 0; {
		n := t.node(at)
		at = n.next
		switch n.kind {
		case nodeLag:
			d.posLag = n.b
		case nodeUnseen:
			d.seen, d.lastAt, d.withdrawn = false, int64(n.a), n.b == 1
		case nodeWide:
			d.pos, d.gen = n.a, n.b
			rest := t.node(at)
			d.lastAt, at = int64(rest.a), rest.next
		case nodeQuarantine:
			rest := t.node(at)
			d.hasQ = true
			d.q = quarantine{int64(n.a), place{int32(rest.a), int32(rest.a >> 32), math.Float32frombits(n.b)}}
			at = rest.next
		default:
			v := visit{since: int64(n.a), fence: n.b, reason: n.reason, state: n.kind &^ nodeLarge, flags: n.visited}
			if n.kind&nodeLarge == 0 {
				v.since, v.shapeGen = int64(n.a&sinceMask), uint32(n.a>>sinceBits)
			} else {
				rest := t.node(at)
				v.seenAt, v.shapeGen, at = int64(rest.a), rest.b, rest.next
			}
			d.visits = append(d.visits, v)
		}
	}
}

// save puts the state of record i back. dirty says that it is to be stored.
func (t *table) save(i uint32, d *state, dirty bool) {
	if !t.fits(d) {
		t.makeRoom(d.lastAt, d.gen)
	}
	what := uint64(0)
	if dirty {
		what = recDirty
	}
	t.put(i, d, what)
}

// put is save with the bases as they are; what is recDirty or 0.
func (t *table) put(i uint32, d *state, what uint64) {
	r := t.rec(i)
	list := nodeList{t: t}
	if r.what&recMore != 0 {
		list.old = r.acc
	}
	if epoch := t.epoch(d.pos); epoch != wideEpoch && t.fits(d) {
		if d.seen {
			since := uint64(d.lastAt - t.bases.time)
			r.at = uint32(since)
			what |= since >> 32 << timeBit
		}
		if d.posLag != noPosition {
			what |= uint64(d.gen-t.bases.gen) << genBit
		}
		what |= epoch<<posBits | d.pos&posMask
	} else {
		what |= wideEpoch << posBits
		list.add(node{kind: nodeWide, a: d.pos, b: d.gen})
		list.add(node{kind: nodeRest, a: uint64(d.lastAt)})
	}
	if !d.seen {
		n := node{kind: nodeUnseen, a: uint64(d.lastAt)}
		if d.withdrawn {
			n.b = 1
		}
		list.add(n)
	}
	if d.posLag != 0 && d.posLag != noPosition {
		list.add(node{kind: nodeLag, b: d.posLag})
	}
	if d.hasQ {
		list.add(node{kind: nodeQuarantine, a: uint64(d.q.at), b: math.Float32bits(d.q.acc)})
		list.add(node{kind: nodeRest, a: uint64(uint32(d.q.lat)) | uint64(uint32(d.q.lng))<<32})
	}
	for k := range d.visits {
		v := &d.visits[k]
		n := node{a: uint64(v.since) | uint64(v.shapeGen)<<sinceBits, b: v.fence, reason: v.reason, kind: v.state, visited: v.flags}
		if v.seenAt == 0 && uint64(v.since) <= sinceMask && v.shapeGen < 1<<(64-sinceBits) {
			list.add(n)
			continue
		}
		n.a = uint64(v.since)
		n.kind |= nodeLarge
		list.add(n)
		list.add(node{kind: nodeRest, a: uint64(v.seenAt), b: v.shapeGen})
	}
	list.end()

	what |= recLive
	if d.posLag == 0 {
		what |= recPlaced
	}
	r.lat, r.lng, r.acc = d.place.lat, d.place.lng, math.Float32bits(d.place.acc)
	if list.first != 0 {
		what |= recMore
		t.node(list.first).acc = r.acc
		r.acc = list.first
	}
	r.what = what
}

// nodeList writes a list of nodes over an old one.
type nodeList struct {
	t           *table
	old         uint32 // not yet written over
	first, last uint32
}

// add makes one more node.
func (l *nodeList) add(x node) {
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
	*l.t.node(n) = x
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
// with a piece for each chunk, and 5.0 with these. At most a 32nd of the chunks, and 63, are made before they are needed.
type slab[T any] struct{ rest []T }

// next makes one chunk more, zero; there are have of them.
func (s *slab[T]) next(have int) *T {
	if len(s.rest) == 0 {
		s.rest = make([]T, min(1+have/32, 64))
	}
	c := &s.rest[0]
	s.rest = s.rest[1:]
	return c
}
