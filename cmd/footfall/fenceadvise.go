package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/geo"
	"footfall/internal/trace"
	"footfall/stream/wire"
	"footfall/track"
)

type fenceAdviseCmd struct {
	Fences     string          `arg:"" help:"GeoJSON file or folder."`
	Trace      string          `arg:"" optional:"" help:"Recorded positions: CSV (device,ts,lat,lon[,accuracy_m]), NDJSON pings or GPX, also gzip."`
	Recorded   bool            `help:"Go by the input log of the gateway, the running one or that of --data."`
	Radius     []float64       `help:"Radii of circles to try, in metres; a fence's own is always among them." default:"50,100,150,200,300" placeholder:"M"`
	MinStay    []time.Duration `help:"min_stay to try; 0s and a fence's own are always among them." default:"0s,1m,3m" placeholder:"TIME"`
	Stay       time.Duration   `help:"Who was inside the fence as it is drawn for so long is a visitor, who was seen to leave sooner a passer-by." default:"5m" placeholder:"TIME"`
	Keep       string          `help:"The share of buyers, or of visitors where no purchases are known, that must not be lost." default:"95%" placeholder:"SHARE"`
	Enough     int             `help:"Fewer buyers or visitors than this give no advice." default:"20" placeholder:"N"`
	Event      string          `help:"The customer event by which a buyer is known, in the recorded log and in --events." default:"purchase" placeholder:"NAME"`
	Events     string          `help:"Customer events beside a trace: CSV (device,ts[,event][,store])." placeholder:"FILE"`
	Within     time.Duration   `help:"For how long after entering a fence a purchase makes a buyer there." default:"2h" placeholder:"TIME"`
	Fence      []string        `help:"Only these fences, by id." placeholder:"ID"`
	FenceFlags fenceFlags      `embed:""`
	Config     string          `short:"c" help:"The gateway's configuration file: its rules." env:"FOOTFALL_CONFIG" placeholder:"FILE"`
	Gateway    gatewayFlags    `embed:""`
	JSON       bool            `name:"json" help:"Print the advice as JSON."`
}

func (c *fenceAdviseCmd) Run(e *env) error {
	keep, err := c.check()
	if err != nil {
		return err
	}
	cfg, err := loadConfig(c.Config, e.environ)
	if err != nil {
		return err
	}
	set, err := c.FenceFlags.loadFenceSet(e.err, c.Fences)
	if err != nil {
		return err
	}
	drawn, err := c.chosen(set)
	if err != nil {
		return err
	}
	a, err := newAdvisor(cfg.rules(), drawn, c.Radius, c.MinStay, c.Stay)
	if err != nil {
		return err
	}
	records, err := positionsOf(e, c.Trace, &c.Gateway)
	if err != nil {
		return err
	}
	if a.purchases, err = c.bought(records); err != nil {
		return err
	}
	a.within = c.Within.Milliseconds()
	for i := range records {
		if i&0xfff == 0 && e.ctx.Err() != nil {
			return e.ctx.Err()
		}
		if records[i].Kind == wire.KindPing {
			a.apply(&records[i], uint64(i+1))
		}
	}
	if a.positions == 0 {
		return errors.New("there are no positions that can be used; a gateway keeps them for retention.positions (15 minutes, unless it is told otherwise)")
	}
	report := a.report(keep, c.Enough, c.Event)
	if c.JSON {
		return printJSON(e.out, report)
	}
	return report.print(e.out)
}

// check refuses what cannot be meant, and reads --keep.
func (c *fenceAdviseCmd) check() (keep float64, err error) {
	if (c.Trace == "") != c.Recorded {
		return 0, usage("give a trace, or --recorded for the input log of the gateway")
	}
	if c.Events != "" && c.Recorded {
		return 0, usage("--events goes with a trace; the input log has events of its own")
	}
	for _, r := range c.Radius {
		if !(r >= fences.DefaultMinRadiusM && r <= fences.DefaultMaxRadiusM) { // written so that NaN is refused
			return 0, usage("--radius: %v is not between %d and %d metres", r, fences.DefaultMinRadiusM, fences.DefaultMaxRadiusM)
		}
	}
	const longest = 7 * 24 * time.Hour // as of a fence
	for _, d := range c.MinStay {
		if d < 0 || d > longest {
			return 0, usage("--min-stay: %v is not between 0s and 7 days", d)
		}
	}
	for _, d := range []struct {
		flag string
		time.Duration
	}{{"stay", c.Stay}, {"within", c.Within}} {
		if d.Duration <= 0 || d.Duration > longest {
			return 0, usage("--%s: %v is not above 0s and at most 7 days", d.flag, d.Duration)
		}
	}
	if c.Enough < 1 {
		return 0, usage("--enough: %d is not 1 or more", c.Enough)
	}
	text, percent := strings.CutSuffix(strings.TrimSpace(c.Keep), "%")
	if keep, err = strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && percent {
		keep /= 100
	}
	if err != nil || !(keep > 0 && keep <= 1) {
		return 0, usage("--keep: %q is no share such as 95%% or 0.95", c.Keep)
	}
	return keep, nil
}

// chosen are the fences of a set that advice is asked for.
func (c *fenceAdviseCmd) chosen(set *fences.Set) ([]fences.Fence, error) {
	var out []fences.Fence
	for i := range int32(set.Len()) {
		if f := set.At(i); len(c.Fence) == 0 || slices.Contains(c.Fence, string(f.ID)) {
			out = append(out, *f)
		}
	}
	for _, id := range c.Fence {
		if !has(set, fences.ID(id)) {
			return nil, usage("--fence: %s has no fence %q", c.Fences, id)
		}
	}
	return out, nil
}

// purchase is a customer event by which its device's person is a buyer.
type purchase struct {
	at    int64
	store string // the fence or store that it names; "": it may have been at any
}

// bought are the purchases of each device, the earliest first; nil when none are known.
func (c *fenceAdviseCmd) bought(records []wire.Record) (map[track.DeviceID][]purchase, error) {
	out := map[track.DeviceID][]purchase{}
	for i := range records {
		rec := &records[i]
		if rec.Kind != wire.KindEvent {
			continue
		}
		var ev struct {
			Name  string
			T     float64
			Props struct{ Store any }
		}
		// The collector has checked it. Of props anything is accepted, so a store that is no text is none.
		if err := json.Unmarshal(rec.Payload, &ev); err != nil || ev.Name != c.Event {
			continue
		}
		store, _ := ev.Props.Store.(string)
		out[rec.Device] = append(out[rec.Device], purchase{min(cmp.Or(int64(ev.T), rec.ReceivedAt), rec.ReceivedAt), store})
	}
	if c.Events != "" {
		if err := c.readEvents(out); err != nil {
			return nil, err
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b purchase) int { return cmp.Compare(a.at, b.at) })
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// readEvents adds the purchases of --events. Unlike a position among thousands, each of them counts: a row that cannot be read refuses
// the file.
func (c *fenceAdviseCmd) readEvents(out map[track.DeviceID][]purchase) error {
	f, err := os.Open(c.Events)
	if err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("--events: %s is empty; it needs a header line such as device,ts", c.Events)
	}
	if err != nil {
		return fmt.Errorf("--events: %s: %w", c.Events, err)
	}
	col := map[string]int{}
	for i, name := range head {
		col[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i + 1
	}
	for _, name := range []string{"device", "ts"} {
		if col[name] == 0 {
			return fmt.Errorf("--events: %s:1: no column %s; the header has: %s", c.Events, name, strings.Join(head, ", "))
		}
	}
	n := 0
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("--events: %s: %w", c.Events, err)
		}
		get := func(name string) string {
			if i := col[name]; i > 0 {
				return strings.TrimSpace(row[i-1])
			}
			return ""
		}
		if cmp.Or(get("event"), c.Event) != c.Event {
			continue
		}
		line, _ := r.FieldPos(0)
		at, err := trace.ParseStamp(get("ts"))
		id := track.DeviceID(get("device"))
		if _, _, ok := wire.SplitDevice(id); !ok && err == nil {
			id, err = wire.JoinDevice(traceApp, string(id))
		}
		if err != nil {
			return fmt.Errorf("--events: %s:%d: %w", c.Events, line, err)
		}
		out[id] = append(out[id], purchase{at, get("store")})
		n++
	}
	if n == 0 {
		return fmt.Errorf("--events: %s holds no %s", c.Events, c.Event)
	}
	return nil
}

// maxAdviceCells is how many cells a grid may have: a comer has a bit for each.
const maxAdviceCells = 64

// advisor judges recorded positions by fences as they are drawn and by the same fences with other radii and stays, each with a
// tracker of the gateway's. Its memory is that of the trackers, about 37 bytes a device in each cell of the grid,
// and some 200 bytes for each device at each fence that it came to.
type advisor struct {
	rules  track.Rules
	stay   int64           // ms
	radii  []float64       // the first stands for a fence's own
	stays  []time.Duration // the first stands for a fence's own, the second is 0
	fences []*advisedFence
	index  map[fences.ID]int32
	// cells has the one by which visitors are known first: fences as they are drawn, without a min_stay.
	cells []adviceTracker

	purchases map[track.DeviceID][]purchase // nil: none are known
	within    int64

	comers  map[comerKey]*comer
	waiting map[track.DeviceID][]int32 // fences that the device has entered since its last position
	res     track.Result

	positions, refused, words int
	from, to                  int64
	devices                   map[track.DeviceID]struct{}
	gaps                      histogram // seconds from one position of a device to its next
	accuracies                histogram // metres
	vague                     int       // positions without an accuracy
}

type adviceTracker struct {
	cell    int
	moved   bool // of other radii than those drawn
	set     *fences.Set
	tracker *track.Tracker
}

// advisedFence is a fence, or all circles together.
type advisedFence struct {
	fence fences.Fence // as it is drawn
	stay  time.Duration
	// at says which cell has the counts of a radius and a stay of the grid, so that a radius which is the fence's own
	// is not tried twice; -1: none.
	at    []int
	cells []adviceCounts
	gaps  []int64 // ms from each enter to the next position of the device; notHeard stands for none

	circles                                     int // of which it is made
	mixedRadii, mixedStays                      bool
	entrants, visitors, passers, untold, buyers int
}

const notHeard = math.MaxInt64

type adviceCounts struct{ entries, devices, stayed, visitors, passers, buyers int }

func (c *adviceCounts) add(o *adviceCounts) {
	c.entries += o.entries
	c.stayed += o.stayed
	c.visitors += o.visitors
	c.passers += o.passers
	c.buyers += o.buyers
}

type comerKey struct {
	fence  int32
	device track.DeviceID
}

// comer is a device at a fence.
type comer struct {
	in   uint64 // the cells that have it inside
	open int    // the day of the visit to the fence as it is drawn that is going on; -1: none
	days []comerDay
}

// comerDay is what a device did at a fence in visits that began on a day of the store's clock.
type comerDay struct {
	day             string
	entered, bought uint64 // cells that made an enter; a purchase followed on it
	stayed          bool
	untold          int // visits of which it is not known whether they were shorter than the stay
}

func (c *comer) on(day string) int {
	for i := len(c.days) - 1; i >= 0; i-- {
		if c.days[i].day == day {
			return i
		}
	}
	c.days = append(c.days, comerDay{day: day})
	return len(c.days) - 1
}

func newAdvisor(rules track.Rules, drawn []fences.Fence, radii []float64, stays []time.Duration, stay time.Duration) (*advisor, error) {
	a := &advisor{
		stay: stay.Milliseconds(), index: map[fences.ID]int32{},
		comers: map[comerKey]*comer{}, waiting: map[track.DeviceID][]int32{}, devices: map[track.DeviceID]struct{}{},
		gaps: newHistogram(86_400), accuracies: newHistogram(5_000),
	}
	a.radii = append([]float64{0}, sortedSet(radii)...)
	a.stays = append([]time.Duration{-1}, sortedSet(append([]time.Duration{0}, stays...))...)
	if n := len(a.radii) * len(a.stays); n > maxAdviceCells {
		return nil, usage("the grid has %d cells with the fences' own radius and min_stay; %d at most: give fewer of --radius or --min-stay", n, maxAdviceCells)
	}
	for i := range drawn {
		f := &drawn[i]
		a.index[f.ID] = int32(i)
		af := &advisedFence{fence: *f, stay: rules.MinStay, circles: 1}
		if f.MinStay > 0 {
			af.stay = f.MinStay
		}
		if !f.Shape.IsCircle() {
			af.circles = 0
		}
		a.lay(af)
		a.fences = append(a.fences, af)
	}
	// Every fence says its stay itself. A silence ends a visit with an exit, on which no decision depends.
	rules.MinStay, rules.Dwell, rules.Crossed, rules.InferExit = 0, stay, false, true
	a.rules = rules
	for ro, radius := range a.radii {
		for so := range a.stays {
			cell := a.cell(ro, so)
			var list []fences.Fence
			for _, af := range a.fences {
				if af.at[cell] != cell {
					continue
				}
				f := af.fence
				f.MinStay, f.Dwell, f.Crossed = a.stayOf(af, so), stay, false
				if ro > 0 {
					var err error
					if f.Shape, err = geo.NewCircle(f.Shape.Center(), radius); err != nil {
						return nil, err
					}
				}
				list = append(list, f)
			}
			if len(list) == 0 && cell != a.drawn() {
				continue
			}
			set, err := fences.NewSet(list, nil)
			if err != nil {
				return nil, err
			}
			a.cells = append(a.cells, adviceTracker{cell, ro > 0, set, track.New(rules)})
		}
	}
	first := slices.IndexFunc(a.cells, func(c adviceTracker) bool { return c.cell == a.drawn() })
	a.cells[0], a.cells[first] = a.cells[first], a.cells[0]
	return a, nil
}

func sortedSet[T cmp.Ordered](list []T) []T {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func (a *advisor) cell(radius, stay int) int { return radius*len(a.stays) + stay }

// drawn is the cell of fences as they are drawn, without a min_stay.
func (a *advisor) drawn() int { return a.cell(0, 1) }

// now is the cell of a fence as it is.
func (a *advisor) now(f *advisedFence) int { return f.at[a.cell(0, 0)] }

func (a *advisor) radiusOf(f *advisedFence, ro int) float64 {
	if ro == 0 {
		return f.fence.Shape.RadiusM()
	}
	return a.radii[ro]
}

func (a *advisor) stayOf(f *advisedFence, so int) time.Duration {
	if so == 0 {
		return f.stay
	}
	return a.stays[so]
}

// lay says which cells of the grid a fence has.
func (a *advisor) lay(f *advisedFence) {
	n := len(a.radii) * len(a.stays)
	f.at, f.cells = make([]int, n), make([]adviceCounts, n)
	for ro := range a.radii {
		for so := range a.stays {
			r, s := ro, so
			if ro > 0 && !f.mixedRadii && a.radii[ro] == f.fence.Shape.RadiusM() {
				r = 0
			}
			if so == 0 && !f.mixedStays {
				s = max(0, slices.Index(a.stays, f.stay))
			}
			f.at[a.cell(ro, so)] = a.cell(r, s)
			if ro > 0 && f.circles == 0 {
				f.at[a.cell(ro, so)] = -1
			}
		}
	}
}

// apply judges a position by the whole grid.
func (a *advisor) apply(rec *wire.Record, pos uint64) {
	fix := rec.Fix
	if track.CheckFix(&fix, &a.rules) != "" {
		a.refused++
		return
	}
	if fix.Source.OS() {
		a.words++
	}
	for k := range a.cells {
		c, f := &a.cells[k], fix
		if c.moved && f.Source.OS() {
			// What a phone's own system says is of the circle that it was given.
			if !f.HasPosition {
				continue
			}
			f.Source, f.Fence = track.SourceSignificant, ""
		}
		c.tracker.Apply(c.set, rec.Device, f, pos, &a.res)
		if k == 0 {
			a.heard(rec.Device, &f)
		}
		for i := range a.res.Transitions {
			a.happened(k, rec.Device, &a.res.Transitions[i])
		}
	}
}

// heard counts a position that was believed.
func (a *advisor) heard(device track.DeviceID, f *track.Fix) {
	if !f.HasPosition {
		return
	}
	a.positions++
	a.devices[device] = struct{}{}
	if a.from == 0 || f.FixedAt < a.from {
		a.from = f.FixedAt
	}
	a.to = max(a.to, f.FixedAt)
	if f.AccuracyM > 0 {
		a.accuracies.add(int64(math.Ceil(float64(f.AccuracyM))))
	} else {
		a.vague++
	}
	if a.res.Verdict != track.Accepted || a.res.PrevFixedAt == 0 {
		return
	}
	gap := f.FixedAt - a.res.PrevFixedAt
	a.gaps.add((gap + 500) / 1000)
	if list, ok := a.waiting[device]; ok {
		for _, i := range list {
			a.fences[i].gaps = append(a.fences[i].gaps, gap)
		}
		delete(a.waiting, device)
	}
}

// happened takes a transition that the tracker of cell k made.
func (a *advisor) happened(k int, device track.DeviceID, tr *track.Transition) {
	i := a.index[tr.FenceID]
	f, cell, drawn := a.fences[i], a.cells[k].cell, k == 0
	key, bit := comerKey{i, device}, uint64(1)<<cell
	c := a.comers[key]
	if c == nil {
		c = &comer{open: -1}
		a.comers[key] = c
	}
	switch {
	case tr.Kind == track.Enter:
		// A visit to the smaller or larger circle is of the day of that to the fence as it is drawn, if there is one: midnight parts
		// none of them.
		day := c.open
		if drawn || day < 0 {
			id, _ := dedupe.Period{Kind: dedupe.PeriodDay}.At(time.UnixMilli(tr.At), f.fence.Location)
			day = c.on(id)
		}
		c.in |= bit
		f.cells[cell].entries++
		cells, d := bit, &c.days[day]
		if drawn {
			c.open, cells = day, c.in
			d.untold++
			a.waiting[device] = append(a.waiting[device], i)
		}
		d.entered |= cells
		if a.buys(device, &f.fence, tr.At) {
			d.bought |= cells
		}
	case c.in&bit == 0: // first seen inside, and the fence asks for no enter then
	case tr.Kind == track.Dwell:
		if tr.At-tr.EnteredAt < a.stay {
			return // the phone's own, after a time of its own
		}
		f.cells[cell].stayed++
		if drawn {
			c.days[c.open].stayed = true
			c.days[c.open].untold--
		}
	case tr.Kind == track.Exit:
		c.in &^= bit
		if !drawn {
			return
		}
		if !tr.Reason.Has(track.Inferred) && tr.At-tr.EnteredAt < a.stay {
			c.days[c.open].untold--
		}
		c.open = -1
	}
}

// buys reports whether a device buys at a fence that it entered at a time.
func (a *advisor) buys(device track.DeviceID, f *fences.Fence, at int64) bool {
	list := a.purchases[device]
	i, _ := slices.BinarySearchFunc(list, at, func(p purchase, at int64) int { return cmp.Compare(p.at, at) })
	for ; i < len(list) && list[i].at <= at+a.within; i++ {
		if s := list[i].store; s == "" || s == string(f.ID) || s == string(f.Store) {
			return true
		}
	}
	return false
}

// count sums up what the comers did, once everything is applied.
func (a *advisor) count() {
	for _, list := range a.waiting {
		for _, i := range list {
			a.fences[i].gaps = append(a.fences[i].gaps, notHeard)
		}
	}
	clear(a.waiting)
	drawn := uint64(1) << a.drawn()
	for key, c := range a.comers {
		f := a.fences[key.fence]
		var ever uint64
		for i := range c.days {
			d := &c.days[i]
			ever |= d.entered
			f.count(d, drawn)
		}
		each(ever, func(cell int) { f.cells[cell].devices++ })
	}
}

// count counts a day. drawn is the bit of the cell by which visitors are known.
func (f *advisedFence) count(d *comerDay, drawn uint64) {
	if d.bought != 0 {
		f.buyers++
		each(d.bought, func(cell int) { f.cells[cell].buyers++ })
	}
	if d.entered&drawn == 0 {
		return
	}
	f.entrants++
	switch {
	case d.stayed:
		f.visitors++
		each(d.entered, func(cell int) { f.cells[cell].visitors++ })
	case d.bought != 0:
	case d.untold > 0:
		f.untold++
	default:
		f.passers++
		each(d.entered, func(cell int) { f.cells[cell].passers++ })
	}
}

// each calls fn with the number of every bit that is set.
func each(mask uint64, fn func(int)) {
	for ; mask != 0; mask &= mask - 1 {
		fn(bits.TrailingZeros64(mask))
	}
}

// all are the circles together, as one fence; nil when fewer than two of them were entered.
func (a *advisor) all() *advisedFence {
	t := &advisedFence{}
	entered := 0
	for _, f := range a.fences {
		if f.circles == 0 {
			continue
		}
		if t.circles == 0 {
			t.fence.Shape, t.stay = f.fence.Shape, f.stay
		}
		t.circles++
		t.mixedRadii = t.mixedRadii || f.fence.Shape.RadiusM() != t.fence.Shape.RadiusM()
		t.mixedStays = t.mixedStays || f.stay != t.stay
		if f.entrants > 0 {
			entered++
		}
	}
	if entered < 2 {
		return nil
	}
	a.lay(t)
	for _, f := range a.fences {
		if f.circles == 0 {
			continue
		}
		for cell, at := range t.at {
			if at == cell {
				t.cells[cell].add(&f.cells[f.at[cell]])
			}
		}
		t.gaps = append(t.gaps, f.gaps...)
		t.entrants += f.entrants
		t.visitors += f.visitors
		t.passers += f.passers
		t.untold += f.untold
		t.buyers += f.buyers
	}
	devices := map[track.DeviceID]uint64{}
	for key, c := range a.comers {
		f := a.fences[key.fence]
		if f.circles == 0 {
			continue
		}
		var ever uint64
		for i := range c.days {
			ever |= c.days[i].entered
		}
		for cell, at := range t.at {
			if at == cell && ever>>f.at[cell]&1 != 0 {
				devices[key.device] |= 1 << cell
			}
		}
	}
	for _, mask := range devices {
		each(mask, func(cell int) { t.cells[cell].devices++ })
	}
	return t
}

// histogram counts whole numbers up to a largest one, which stands for all beyond.
type histogram struct {
	n      int
	counts []int
}

func newHistogram(largest int) histogram { return histogram{counts: make([]int, largest+1)} }

func (h *histogram) add(x int64) {
	h.n++
	h.counts[min(max(x, 0), int64(len(h.counts)-1))]++
}

// quantile is the smallest number that a share of all do not exceed.
func (h *histogram) quantile(q float64) int64 {
	left := int(math.Ceil(q * float64(h.n)))
	for x, n := range h.counts {
		if left -= n; left <= 0 {
			return int64(x)
		}
	}
	return int64(len(h.counts) - 1)
}
