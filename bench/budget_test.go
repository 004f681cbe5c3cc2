package bench

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"footfall/geo"
	"footfall/track"
)

// operations are what has a budget. Each prepares its input, the same whatever is
// asked for later, and returns what does the first n operations of it; n is a multiple of
// 128 and at most maxOps.
var operations = map[string]func(tb testing.TB) func(n int){
	"cell/res=9": func(testing.TB) func(int) {
		rng := rand.New(rand.NewPCG(1, 1))
		ps := make([]geo.Point, maxOps)
		for i := range ps {
			ps[i] = geo.Point{Lat: 36 + 24*rng.Float64(), Lng: -9 + 50*rng.Float64()}
		}
		return func(n int) {
			for _, p := range ps[:n] {
				sink += uint64(geo.CellAt(p, 9))
			}
		}
	},
	"match/single/fences=10000": func(testing.TB) func(int) {
		shapes := stores(10_000)
		x, ps := geo.NewIndex(shapes), walkers(shapes, maxOps, 1)
		dst := make([]int32, 0, 64)
		return func(n int) {
			for _, p := range ps[:n] {
				dst = x.Match(dst[:0], p)
				sink += uint64(len(dst))
			}
		}
	},
	"match/batch/fences=10000": func(testing.TB) func(int) {
		shapes := stores(10_000)
		x, ps := geo.NewIndex(shapes), walkers(shapes, maxOps, 1)
		dst := make([]geo.Hit, 0, 1024)
		return func(n int) {
			for i := 0; i < n; i += 128 {
				dst = x.MatchBatch(dst[:0], ps[i:i+128])
				sink += uint64(len(dst))
			}
		}
	},
	"decision/batch/fences=100":   func(tb testing.TB) func(int) { return decision(tb, 100, true) },
	"decision/batch/fences=20000": func(tb testing.TB) func(int) { return decision(tb, 20_000, true) },
	"decision/single/fences=100":  func(tb testing.TB) func(int) { return decision(tb, 100, false) },
}

const maxOps = 1 << 13

var sink uint64

// decision is pings of known devices near fences.
func decision(tb testing.TB, fenceCount int, batch bool) func(int) {
	shapes := stores(fenceCount)
	set, t := fenceSet(tb, shapes), track.New(track.DefaultRules())
	const devices = 1024
	f := &fleet{ids: deviceIDs(devices), at: walkers(shapes, devices, 4), now: 1_764_324_000_000}
	var res track.Result
	res.Transitions = make([]track.Transition, 0, 16)
	each := func(_ int, res *track.Result) { sink += uint64(len(res.Transitions)) }
	t.ApplyBatch(set, f.batch(4*devices), &res, each)
	in := slices.Clone(f.batch(maxOps))
	return func(n int) {
		if batch {
			for i := 0; i < n; i += 128 {
				t.ApplyBatch(set, in[i:i+128], &res, each)
			}
			return
		}
		for k := range in[:n] {
			t.Apply(set, in[k].ID, in[k].Fix, in[k].Pos, &res)
			each(k, &res)
		}
	}
}

// TestMain does operations for countInstructions instead of testing when told to.
func TestMain(m *testing.M) {
	if name, n, ok := strings.Cut(os.Getenv("FOOTFALL_BENCH_OPERATION"), "#"); ok {
		ops, err := strconv.Atoi(n)
		if err != nil || operations[name] == nil {
			fmt.Fprintln(os.Stderr, "bench: no such operation:", name, n)
			os.Exit(2)
		}
		operations[name](&testing.T{})(ops)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type budget struct {
	name         string
	allocations  float64
	instructions int
}

func readBudget(t *testing.T) (out []budget) {
	t.Helper()
	f, err := os.Open("budget.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		var b budget
		if _, err := fmt.Sscan(sc.Text(), &b.name, &b.allocations, &b.instructions); err != nil {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		if operations[b.name] == nil {
			t.Errorf("%s has a budget, and is no operation", b.name)
			continue
		}
		out = append(out, b)
	}
	if len(out) != len(operations) {
		t.Errorf("%d budgets for %d operations", len(out), len(operations))
	}
	return out
}

// TestBudgetDoesNotAllocate holds operations to their allocations. A transition may
// allocate, so a decision's budget is a share.
func TestBudgetDoesNotAllocate(t *testing.T) {
	for _, b := range readBudget(t) {
		run := operations[b.name](t)
		// Once only: what a decision does a second time is to refuse a replay.
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		run(maxOps)
		runtime.ReadMemStats(&after)
		got := float64(after.Mallocs-before.Mallocs) / maxOps
		t.Logf("%s: %.4f allocations", b.name, got)
		if got > b.allocations+20.0/maxOps { // the runtime has some of its own
			t.Errorf("%s: %.4f allocations, budget %v", b.name, got, b.allocations)
		}
	}
}

// TestBudgetInstructions holds operations to their instructions.
func TestBudgetInstructions(t *testing.T) {
	valgrind, err := exec.LookPath("valgrind")
	switch {
	case runtime.GOARCH != "amd64":
		t.Skip("the instruction budget is for amd64")
	case testing.Short():
		t.Skip("instructions are not counted in short mode: valgrind takes half a minute")
	case raceEnabled:
		t.Skip("the race detector's instructions are not ours")
	case err != nil:
		t.Skip("instructions are not counted: valgrind is not installed")
	}
	for _, b := range readBudget(t) {
		few, many := countInstructions(t, valgrind, b.name, maxOps/2), countInstructions(t, valgrind, b.name, maxOps)
		got := (many - few) / (maxOps / 2)
		t.Logf("%s: %d instructions", b.name, got)
		if got > b.instructions {
			t.Errorf("%s: %d instructions, budget %d", b.name, got, b.instructions)
		}
		if got < b.instructions/2 {
			t.Errorf("%s: %d instructions, budget %d: lower it", b.name, got, b.instructions)
		}
	}
}

var collected = regexp.MustCompile(`Collected : (\d+)`)

// countInstructions is all instructions of this program doing n operations: with what
// preparing them takes, which is the same for every n.
func countInstructions(t *testing.T, valgrind, name string, n int) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("FOOTFALL_BENCH_OPERATION=%s#%d", name, n), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	m := collected.FindSubmatch(out)
	if m == nil {
		t.Fatalf("%v: no count in\n%s", cmd, out)
	}
	v, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
