// Servers plays one trace to a gateway and to servers that answer the same question, all
// started by the user, and prints points a second:
//
//	go run ./servers -footfall nats://127.0.0.1:4222 -tile38 127.0.0.1:9851 -postgis 'dbname=bench'
//
// See servers.sh beside it, which starts and stops what is installed. No speed is
// printed before the events of a server, which device entered and left which fence, in
// the order of each device, are those of a scan of the trace.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"footfall/bench/world"
	"footfall/geo"
)

// ping is a position of a device. Trace times run from before now.
type ping struct {
	device string
	at     geo.Point
	ms     int64
}

// event is what a server says of a device and a fence.
type event struct {
	device, fence string
	enter         bool
}

// trace is what is played, and what must come of it.
type trace struct {
	fences []*geo.Shape
	pings  []ping
	want   map[string][]event // by device
	events int
}

func fenceID(i int32) string { return fmt.Sprintf("s%07d", i) }

// newTrace leaves out positions within 1.5 m of an edge, which a sphere and the ellipsoid
// may put on different sides of it.
func newTrace(fences, devices, rounds int) *trace {
	const stepMS = 30_000
	t := &trace{fences: world.Stores(fences), want: map[string][]event{}}
	x := geo.NewIndex(t.fences)
	start := time.Now().UnixMilli() - int64(rounds)*stepMS
	inside := map[string][]int32{}
	var near []int32
	for i, p := range world.Walkers(t.fences, devices, rounds) {
		near = x.Candidates(near[:0], p)
		if slices.ContainsFunc(near, func(f int32) bool {
			return math.Abs(world.HaversineM(p, t.fences[f].Center())-world.FenceM) < 1.5
		}) {
			continue
		}
		d := fmt.Sprintf("d%06d", i%devices)
		t.pings = append(t.pings, ping{d, p, start + int64(i/devices)*stepMS})
		now := x.Match(nil, p)
		t.note(d, inside[d], now)
		if len(now) > 0 || len(inside[d]) > 0 {
			inside[d] = now
		}
	}
	for _, es := range t.want {
		sortEvents(es)
		t.events += len(es)
	}
	return t
}

func (t *trace) note(device string, was, is []int32) {
	for _, f := range was {
		if !slices.Contains(is, f) {
			t.want[device] = append(t.want[device], event{device, fenceID(f), false})
		}
	}
	for _, f := range is {
		if !slices.Contains(was, f) {
			t.want[device] = append(t.want[device], event{device, fenceID(f), true})
		}
	}
}

// sortEvents brings the events of a device into one order by fence; those of one fence
// keep theirs.
func sortEvents(es []event) {
	slices.SortStableFunc(es, func(a, b event) int { return cmp.Compare(a.fence, b.fence) })
}

// check compares the events of a server with those of the trace.
func (t *trace) check(got []event) error {
	by := map[string][]event{}
	for _, e := range got {
		by[e.device] = append(by[e.device], e)
	}
	for d, es := range by {
		sortEvents(es)
		if !slices.Equal(es, t.want[d]) {
			return fmt.Errorf("%s: events %v, want %v", d, es, t.want[d])
		}
	}
	if len(got) != t.events {
		return fmt.Errorf("%d events, want %d", len(got), t.events)
	}
	return nil
}

// player plays the trace once, with the stopwatch running while it does, and returns the events.
type player func(*trace, *stopwatch) ([]event, error)

type subject struct {
	name string
	play player
	pid  int // of the server, 0 when not known
}

func main() {
	fences := flag.Int("fences", 10_000, "circles of 200 m")
	devices := flag.Int("devices", 10_000, "walkers near them")
	rounds := flag.Int("rounds", 20, "positions of each")
	repeat := flag.Int("repeat", 5, "times that everything is played, in turn")
	footfall := flag.String("footfall", "", "NATS `URL` of a gateway that was started with -write's files")
	tile38 := flag.String("tile38", "", "`ADDRESS` of a Tile38")
	postgis := flag.String("postgis", "", "`DSN` of a PostgreSQL database with the extension postgis; table bench_fences is dropped and made")
	footfallPID := flag.Int("footfall-pid", 0, "the gateway's process, to tell the processor time that it takes")
	tile38PID := flag.Int("tile38-pid", 0, "Tile38's")
	only := flag.String("only", "", "play to subjects with this `WORD` in their names only, and to Tile38")
	write := flag.String("write", "", "write fences.geojson and footfall.yaml for the gateway to this `FOLDER` and stop")
	flag.Parse()
	if err := run(*fences, *devices, *rounds, *repeat, *footfall, *tile38, *postgis, *only, *write, *footfallPID, *tile38PID); err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
		os.Exit(1)
	}
}

func run(fences, devices, rounds, repeat int, footfall, tile38, postgis, only, write string, footfallPID, tile38PID int) error {
	if write != "" {
		return writeGateway(write, world.Stores(fences))
	}
	var subjects []subject
	if footfall != "" {
		for _, s := range []struct {
			name   string
			encode encoder
			pings  int
		}{
			{"footfall, JSON x1", jsonPing, 1}, {"footfall, JSON x1, feed", jsonFeedOne, 1},
			{"footfall, JSON x10", jsonFeed, 10}, {"footfall, protobuf x10", protoFeed, 10},
		} {
			subjects = append(subjects, subject{s.name, gateway(footfall, s.encode, s.pings), footfallPID})
		}
	}
	if tile38 != "" {
		subjects = append(subjects, subject{"Tile38, SET pipelined x500", tile38Player(tile38), tile38PID})
	}
	if postgis != "" {
		subjects = append(subjects, subject{"PostGIS, ST_DWithin pipelined x500", postgisPlayer(postgis), 0})
	}
	subjects = slices.DeleteFunc(subjects, func(s subject) bool {
		return !strings.Contains(s.name, only) && !strings.HasPrefix(s.name, "Tile38")
	})
	rates := make([][]float64, len(subjects))
	processor := make([][]float64, len(subjects)) // us a point
	for round := range repeat {
		for k := range subjects {
			i := (k + round) % len(subjects)
			// Made anew: times are near now, as in life.
			t := newTrace(fences, devices, rounds)
			watch := stopwatch{pid: subjects[i].pid}
			got, err := subjects[i].play(t, &watch)
			if err == nil {
				err = t.check(got)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", subjects[i].name, err)
			}
			rates[i] = append(rates[i], float64(len(t.pings))/watch.took.Seconds())
			processor[i] = append(processor[i], watch.processor.Seconds()*1e6/float64(len(t.pings)))
			fmt.Printf("%-36s %9.0f points/s, %d points, %d events as expected\n", subjects[i].name, rates[i][round], len(t.pings), len(got))
		}
	}
	fmt.Printf("\n%d fences, %d devices, %d rounds; medians of %d\n", fences, devices, rounds, repeat)
	var base []float64
	for i, s := range subjects {
		if tile38 != "" && strings.HasPrefix(s.name, "Tile38") {
			base = rates[i]
		}
	}
	for i, s := range subjects {
		fmt.Printf("%-36s %9.0f points/s", s.name, median(rates[i]))
		if base != nil {
			q := make([]float64, repeat)
			for r := range q {
				q[r] = rates[i][r] / base[r]
			}
			fmt.Printf("  %5.2f of Tile38", median(q))
		}
		if own := median(processor[i]); own > 0 {
			fmt.Printf("  %5.2f us of processor time a point", own)
		}
		fmt.Println()
	}
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
