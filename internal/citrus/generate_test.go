package citrus

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/campaign"
	"footfall/fences"
	"footfall/geo"
)

// TestTable counts the people and sums of the day against the scenario's table, typed in again here.
func TestTable(t *testing.T) {
	day := New(Config{Seed: 1, FarAway: 50})
	want := map[Group]int{
		G1: 1900, G2: 300, G3: 150, G4: 100, G5: 80, G6: 50, G7: 20,
		N1: 400, N2: 200, N3: 150, N4: 100, N5: 100, N6: 150, N7: 100, Far: 50,
	}
	got, notices := map[Group]int{}, map[Group]int{}
	platforms := map[string]int{}
	for i := range day.People {
		p := &day.People[i]
		got[p.Group]++
		platforms[p.Platform]++
		if n := p.Want.Notices(); n != 0 && n != 1 {
			t.Errorf("%s has %d notices coming", p.Device, n)
		}
		notices[p.Group] += p.Want.Notices()
	}
	for g, n := range want {
		coming := 0
		if g[0] == 'G' {
			coming = n
		}
		if got[g] != n || notices[g] != coming {
			t.Errorf("%s: %d people and %d notices, want %d and %d", g, got[g], notices[g], n, coming)
		}
	}
	if len(day.People) != 3800+50 || FarInFull+3800 != 76_000 {
		t.Errorf("%d people, want 3,850", len(day.People))
	}
	if d := platforms["ios"] - platforms["android"]; d < -1 || d > 1 {
		t.Errorf("platforms %v, want half and half", platforms)
	}
	s := day.Totals()
	if s.Notices != 2600 || s.Entries != 3850 || s.Entered != 3100 || s.Begun != 40 || s.Held["already_claimed"] != 730 || s.Held["overlap"] != 20 {
		t.Errorf("totals %+v", s)
	}
}

// TestSameSeedSameDay: the same bytes again, another seed another day, and more people far away change nothing for
// those near by.
func TestSameSeedSameDay(t *testing.T) {
	a, b := New(Config{Seed: 1, FarAway: 20}), New(Config{Seed: 1, FarAway: 20})
	if !slices.EqualFunc(a.Messages, b.Messages, sameMessage) {
		t.Error("the same seed makes another day")
	}
	if slices.EqualFunc(a.Messages, New(Config{Seed: 2, FarAway: 20}).Messages, sameMessage) {
		t.Error("another seed makes the same day")
	}
	more := New(Config{Seed: 1, FarAway: 40})
	near := func(d *Day) []Message {
		return slices.DeleteFunc(slices.Clone(d.Messages), func(m Message) bool { return d.People[m.Person].Group == Far })
	}
	if !slices.EqualFunc(near(a), near(more), sameMessage) {
		t.Error("the number of people far away changes the day of the others")
	}
	if !slices.IsSortedFunc(a.Messages, func(a, b Message) int { return a.SendAt.Compare(b.SendAt) }) {
		t.Error("the messages are not in the order of their send times")
	}
}

func sameMessage(a, b Message) bool {
	return a.SendAt.Equal(b.SendAt) && a.Person == b.Person && a.Subject == b.Subject && bytes.Equal(a.Payload, b.Payload) && a.Refused == b.Refused
}

// seenPing is a position with when it was sent.
type seenPing struct {
	ping
	sent time.Time
	at   geo.Point
}

// tracks reads the pings of every person back from the payloads.
func tracks(t *testing.T, day *Day) [][]seenPing {
	t.Helper()
	out := make([][]seenPing, len(day.People))
	for _, m := range day.Messages {
		if !strings.HasPrefix(m.Subject, "ping.") {
			continue
		}
		var fs []ping
		data := m.Payload
		if data[0] != '[' {
			data = slices.Concat([]byte("["), data, []byte("]"))
		}
		if err := json.Unmarshal(data, &fs); err != nil {
			t.Fatalf("%s: %v", m.Payload, err)
		}
		for _, f := range fs {
			out[m.Person] = append(out[m.Person], seenPing{f, m.SendAt, geo.Point{Lat: f.Lat, Lng: f.Lon}})
		}
	}
	return out
}

// insideOf lists the stores that contain a place, by the geodesic distance.
func insideOf(p geo.Point) (in []string) {
	for _, s := range stores {
		if geo.DistanceM(p, s.Center) <= RadiusM {
			in = append(in, s.ID)
		}
	}
	return in
}

// TestBehaviour reads the payloads of every person and checks that they do what their group is about, without the
// planner's own account of it.
func TestBehaviour(t *testing.T) {
	day := New(Config{Seed: 7, FarAway: 300})
	wall := func(ms int64) time.Time { return time.UnixMilli(ms) }
	open := func(f seenPing) bool { at := wall(f.T); return !at.Before(Opens) && at.Before(Closes) }
	overlapOnce, overlapWalk, begunInside := 0, 0, 0
	for i, fs := range tracks(t, day) {
		p := &day.People[i]
		if len(fs) == 0 {
			t.Fatalf("%s sends no position", p.Device)
		}
		bad := func(format string, args ...any) { t.Errorf(p.Device+": "+format, args...) }
		var inside []seenPing // fixes inside a store
		crossings := 0        // from outside all stores to inside one
		visited := map[string]bool{}
		for k, f := range fs {
			in := insideOf(f.at)
			if len(in) > 0 {
				inside = append(inside, f)
				if k > 0 && len(insideOf(fs[k-1].at)) == 0 {
					crossings++
				}
			}
			for _, s := range in {
				visited[s] = true
			}
			late := f.sent.Sub(wall(f.T))
			switch p.Group {
			case G6:
				if late < 4*time.Minute || late > 9*time.Minute {
					bad("a fix is uploaded after %v", late)
				}
			case N3:
				if late < 2*time.Hour+59*time.Minute || late > 3*time.Hour+3*time.Minute {
					bad("a fix is uploaded after %v", late)
				}
			default:
				if late < 0 || late > 2*time.Second {
					bad("a fix is sent after %v", late)
				}
			}
			if k > 0 {
				dt, d := float64(f.T-fs[k-1].T)/1000, geo.DistanceM(f.at, fs[k-1].at)
				if dt < 0 || d > 20*max(dt, 0.001) && d > 1 {
					bad("%.0f m in %.0f s", d, dt)
				}
			}
			if f.Mock != (p.Group == N7) {
				bad("mock is %v", f.Mock)
			}
			if poor := f.Acc > 100; poor != (p.Group == N4 || p.Group == G5 && p.Want.Note != "" && wall(f.T).Before(Opens)) {
				bad("accuracy %.0f m", f.Acc)
			}
		}
		entry := seenPing{}
		if len(inside) > 0 {
			entry = inside[0]
		}
		switch p.Group {
		case G1, G6, N6, N7:
			if crossings != 1 || len(visited) != 1 || !open(entry) {
				bad("%d entries into %v, first at %v", crossings, visited, wall(entry.T))
			}
		case G2:
			if crossings != 3 || len(visited) != 1 {
				bad("%d entries into %v", crossings, visited)
			}
		case G3:
			if len(visited) != 2 {
				bad("visits %v", visited)
			}
			if visited["k03"] && visited["k10"] && crossings == 1 {
				if len(insideOf(entry.at)) == 2 {
					overlapOnce++
				} else {
					overlapWalk++
				}
			}
		case G4:
			if len(fs) != 20 || len(inside) != 10 || fs[0].T == entry.T {
				bad("%d fixes, %d inside", len(fs), len(inside))
			}
			for _, f := range fs {
				if d := nearestM(f.at); math.Abs(d-190) > 0.1 && math.Abs(d-215) > 0.1 || f.Acc < 15 || f.Acc > 30 {
					bad("a fix at %.1f m, accuracy %.1f m", d, f.Acc)
				}
			}
		case G5:
			if len(inside) != len(fs) || !open(fs[len(fs)-1]) {
				bad("%d of %d fixes inside", len(inside), len(fs))
			}
			if wall(entry.T).Equal(clock(9, 40)) && entry.Acc < 100 {
				begunInside++
			}
		case G7:
			if crossings != 1 || len(fs)%2 != 0 {
				bad("%d entries, %d fixes", crossings, len(fs))
			}
			for k := 0; k < len(fs); k += 2 {
				if fs[k].ping != fs[k+1].ping {
					bad("%+v is followed by %+v", fs[k].ping, fs[k+1].ping)
				}
			}
		case N1:
			if last := fs[len(fs)-1]; len(inside) > 0 || nearestM(last.at) < 204.99 || nearestM(last.at) > 260.01 || last.Acc != 10 {
				bad("last seen at %.2f m, accuracy %.0f m", nearestM(last.at), last.Acc)
			}
		case N2:
			for _, f := range inside {
				if open(f) {
					bad("inside at %v", wall(f.T))
				}
			}
			if crossings != 1 {
				bad("%d entries", crossings)
			}
		case N3:
			if crossings != 1 || !open(entry) || !open(inside[len(inside)-1]) {
				bad("%d entries, first at %v", crossings, wall(entry.T))
			}
		case N4:
			for _, f := range fs {
				if len(insideOf(f.at)) != 1 || f.Acc < 800 || f.Acc > 3000 {
					bad("a fix in %v with accuracy %.0f m", insideOf(f.at), f.Acc)
				}
			}
		case N5:
			through := 0
			for k := 1; k < len(fs); k++ {
				d, dt := geo.DistanceM(fs[k].at, fs[k-1].at), float64(fs[k].T-fs[k-1].T)/1000
				if kmh := d / dt * 3.6; math.Abs(kmh-60) > 0.5 {
					bad("drives at %.1f km/h", kmh)
				}
				for _, s := range stores {
					circle, err := geo.NewCircle(s.Center, RadiusM)
					if err != nil {
						t.Fatal(err)
					}
					if circle.Crosses(fs[k-1].at, fs[k].at) {
						through++
					}
				}
			}
			if len(inside) > 0 || through == 0 {
				bad("%d fixes inside, %d fences crossed", len(inside), through)
			}
		case Far:
			for _, f := range fs {
				if nearestM(f.at) < 5000 {
					bad("%.0f m from a store", nearestM(f.at))
				}
			}
		}
	}
	if overlapOnce != 20 || overlapWalk != 10 {
		t.Errorf("%d people are in k03 and k10 with one fix and %d one after the other, want 20 and 10", overlapOnce, overlapWalk)
	}
	if begunInside != 40 {
		t.Errorf("%d people are known to be inside at 09:40, want 40", begunInside)
	}
}

func nearestM(p geo.Point) float64 {
	best := math.Inf(1)
	for _, s := range stores {
		best = min(best, geo.DistanceM(p, s.Center))
	}
	return best
}

// TestOffset: the plane is good for what the scenario asks of it.
func TestOffset(t *testing.T) {
	for _, s := range stores {
		for dir := 0.0; dir < 360; dir += 7 {
			for _, m := range []float64{1, 200, 420, 1000} {
				if d := geo.DistanceM(s.Center, offset(s.Center, dir, m)); math.Abs(d-m) > 0.05 {
					t.Fatalf("offset by %g m at %g° is %.3f m away", m, dir, d)
				}
			}
		}
	}
}

// TestFilesAreGood: the stores and the campaign pass the checks of their packages. The only finding is the overlap
// that the scenario wants.
func TestFilesAreGood(t *testing.T) {
	fs, findings := fences.Parse("stores.geojson", Fences(), fences.Options{})
	if len(fs) != len(stores) {
		t.Errorf("%d fences, want %d", len(fs), len(stores))
	}
	if len(findings) != 1 || findings[0].Severity != fences.SeverityWarning || !strings.Contains(findings[0].Message, "by 26 m") {
		t.Errorf("findings %v, want one warning about the overlap of 26 m", findings)
	}
	for i, a := range stores {
		for _, b := range stores[i+1:] {
			d := geo.DistanceM(a.Center, b.Center)
			if overlap := a.ID == "k03" && b.ID == "k10"; overlap && math.Abs(d-374) > 1 || !overlap && d < 507 {
				t.Errorf("%s and %s are %.0f m apart", a.ID, b.ID, d)
			}
		}
	}
	cs, err := campaign.Parse("campaign.yaml", []byte(Campaign))
	if err != nil {
		t.Fatal(err)
	}
	if len(cs) != 1 || cs[0].ID != CampaignID {
		t.Fatalf("campaigns %v, want %s", cs, CampaignID)
	}
	kyiv, err := time.LoadLocation(Zone)
	if err != nil {
		t.Fatal(err)
	}
	if w := cs[0].Window; !w.From.In(kyiv).Equal(Opens) || !w.To.In(kyiv).Equal(Closes) {
		t.Errorf("the campaign's hours are %s, want %s to %s", w.String(), Opens, Closes)
	}
}
