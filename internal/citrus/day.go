package citrus

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"footfall/geo"
	"footfall/internal/stage"
)

// Group is a kind of behaviour on the day.
type Group string

// The groups; doc.go has the table of what comes of each.
const (
	G1  Group = "G1"  // one clean entry
	G2  Group = "G2"  // the same store three times, with real exits
	G3  Group = "G3"  // two stores; 30 people through the overlap of k03 and k10
	G4  Group = "G4"  // inside, but jumping about the edge: 190 and 215 m, accuracy 15-30 m, 20 fixes
	G5  Group = "G5"  // inside since 09:40
	G6  Group = "G6"  // the visit is uploaded 6 minutes late, as one batch
	G7  Group = "G7"  // every ping is sent twice
	N1  Group = "N1"  // passes at 205-260 m, accuracy 10 m
	N2  Group = "N2"  // inside only before 10:00 or after 21:00
	N3  Group = "N3"  // the visit is uploaded 3 hours late
	N4  Group = "N4"  // inside by position, accuracy 800-3,000 m
	N5  Group = "N5"  // drives past the door at 60 km/h, with no fix inside
	N6  Group = "N6"  // enters, but has refused pushes
	N7  Group = "N7"  // enters with positions that the phone marks as simulated
	Far Group = "far" // never within five kilometres of a store
)

// FarInFull is how many people stay far away in the full day: 76,000 in all.
const FarInFull = 72_200

// near lists the groups that come near a store, with the number of people in each.
var near = []struct {
	Group  Group
	People int
	Plan   func(*planner)
}{
	{G1, 1900, (*planner).cleanEntry},
	{G2, 300, (*planner).threeVisits},
	{G3, 150, (*planner).twoStores},
	{G4, 100, (*planner).jitter},
	{G5, 80, (*planner).insideBeforeOpening},
	{G6, 50, (*planner).lateBatch},
	{G7, 20, (*planner).everythingTwice},
	{N1, 400, (*planner).closeBy},
	{N2, 200, (*planner).outOfHours},
	{N3, 150, (*planner).muchTooLate},
	{N4, 100, (*planner).poorAccuracy},
	{N5, 100, (*planner).driveBy},
	{N6, 150, (*planner).optedOut},
	{N7, 100, (*planner).simulated},
}

// Message is one publish of one phone. Person is an index in Day.People.
type Message = stage.Message

// Person is one person with one phone.
type Person struct {
	Group    Group
	Device   string // the device part of the subjects
	User     string // who is signed in on it
	Platform string // "ios" or "android", half and half
	Token    string // push token
	Want     Want
}

// Want is what has to come of one person's day.
type Want struct {
	// Entries is the number of enter transitions.
	Entries int
	// Held counts by reason the entries that led to no notice.
	Held map[string]int
	// Begun is 1 when the notice comes not from an entry but from being inside when the campaign begins.
	Begun int
	// Initial: the entry is that of a phone first seen inside.
	Initial bool
	// Late is how long after the fix the entry arrived; 0 for within the minute.
	Late time.Duration
	// Note is the kind of the one note that explains why an inside position was no entry; "" for none.
	Note string
	// Duplicates is the number of pings that repeat the one before them.
	Duplicates int
	// Refused is the code with which every ping is refused.
	Refused string
	// Nearest is the store nearest to the last position, and NearestM its centre's distance in metres; "" when
	// no position is accepted.
	Nearest  string
	NearestM float64
}

// Notices is the number of notices that the person's phone has to show, 0 or 1: one for each entry that is not
// held.
func (w *Want) Notices() int {
	n := w.Entries + w.Begun
	for _, held := range w.Held {
		n -= held
	}
	return n
}

// Config says which day to make.
type Config struct {
	Seed uint64
	// FarAway is how many people stay far away; FarInFull for the whole day. The groups near the stores always
	// have their full size.
	FarAway int
}

// Day is the input of the scenario.
type Day struct {
	// Begins is when the first phone registers, in the evening before.
	Begins time.Time
	People []Person
	// Messages are in the order in which they are sent; those of one person are never out of order.
	Messages []Message
}

// New makes the day. Every person is drawn from a random source of their own, so the day of one does not depend
// on how many others there are.
func New(cfg Config) *Day {
	d := &Day{Begins: Opens.Add(-15 * time.Hour)}
	add := func(g Group, i int, plan func(*planner)) {
		n := len(d.People)
		device := fmt.Sprintf("%s-%05d", g, i)
		p := planner{
			day: d, index: i, person: n, store: i % len(stores),
			rng:  rand.New(rand.NewPCG(cfg.Seed, uint64(n))),
			self: Person{Group: g, Device: device, User: "user-" + device, Platform: "ios"},
		}
		sum := sha256.Sum256([]byte(fmt.Sprintf("citrus %d %s", cfg.Seed, device)))
		p.self.Token = hex.EncodeToString(sum[:])
		if n%2 == 1 {
			p.self.Platform, p.self.Token = "android", "fcm-"+p.self.Token
		}
		p.consent = true
		plan(&p)
		p.register()
		d.People = append(d.People, p.self)
	}
	for _, g := range near {
		for i := range g.People {
			add(g.Group, i, g.Plan)
		}
	}
	for i := range cfg.FarAway {
		add(Far, i, (*planner).farAway)
	}
	slices.SortStableFunc(d.Messages, func(a, b Message) int {
		return cmp.Or(a.SendAt.Compare(b.SendAt), cmp.Compare(a.Person, b.Person))
	})
	return d
}

// Totals are the sums of all Wants.
type Totals struct {
	People     int
	Notices    int // on the phones, and people who have one
	Entered    int // people who entered
	Entries    int // enter transitions
	Begun      int // notices that came without an entry, when the campaign began
	Duplicates int // pings that repeat the one before them
	Refused    int // messages refused at the door
	Held       map[string]int
	Notes      map[string]int
}

// Totals adds up what has to come of the day.
func (d *Day) Totals() Totals {
	t := Totals{People: len(d.People), Held: map[string]int{}, Notes: map[string]int{}}
	for i := range d.People {
		w := &d.People[i].Want
		t.Notices += w.Notices()
		t.Entries += w.Entries
		t.Begun += w.Begun
		t.Duplicates += w.Duplicates
		if w.Entries > 0 {
			t.Entered++
		}
		for reason, n := range w.Held {
			t.Held[reason] += n
		}
		if w.Note != "" {
			t.Notes[w.Note]++
		}
	}
	for i := range d.Messages {
		if d.Messages[i].Refused != "" {
			t.Refused++
		}
	}
	return t
}

// ping is a position as it stands in a payload.
type ping struct {
	T    int64   `json:"t"`
	Lat  float64 `json:"lat"`
	Lon  float64 `json:"lon"`
	Acc  float64 `json:"acc"`
	Src  string  `json:"src,omitempty"`
	Mock bool    `json:"mock,omitempty"`
}

// fixAt makes a ping. Accuracies are sent with one decimal.
func fixAt(at time.Time, p geo.Point, accuracyM float64) ping {
	return ping{T: at.UnixMilli(), Lat: p.Lat, Lon: p.Lng, Acc: float64(int(accuracyM*10)) / 10, Src: "foreground"}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("citrus: a payload does not marshal: " + err.Error()) // strings and finite numbers only
	}
	return data
}
