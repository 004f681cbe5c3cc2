package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"footfall/bench/measure"
)

// operation is something of which every repetition costs the same. It prepares its
// input, the same whatever is asked for later, and returns what does the first n
// operations of it; n is a multiple of 128 and at most maxOps.
type operation func(tb testing.TB) func(n int)

// operations are what has a budget and, named h3go/ and so on, the twins that a budget
// compares with. A file for each part of the path adds to them.
var operations = merged(geoOperations, decisionOperations, campaignOperations)

func merged(groups ...map[string]operation) map[string]operation {
	all := map[string]operation{}
	for _, g := range groups {
		for name, op := range g {
			if all[name] != nil {
				panic("bench: two operations are named " + name)
			}
			all[name] = op
		}
	}
	return all
}

const maxOps = 1 << 13

var sink uint64

// TestMain does operations for countInstructions instead of testing when told to, and
// prints the table of goals after benchmarks.
func TestMain(m *testing.M) {
	if name, n, ok := strings.Cut(os.Getenv(operationVar), "#"); ok {
		ops, err := strconv.Atoi(n)
		if err != nil || operations[name] == nil {
			fmt.Fprintln(os.Stderr, "bench: no such operation:", name, n)
			os.Exit(2)
		}
		run := operations[name](&testing.T{})
		runtime.LockOSThread() // counting begins and ends by thread
		counted(run, ops)
		os.Exit(0)
	}
	measure.Main(m)
}

// counted is the function whose instructions valgrind counts, with those of all that it calls.
//
//go:noinline
func counted(run func(int), ops int) { run(ops) }

// operationVar is the environment variable that names an operation and how often to do it.
const operationVar = "FOOTFALL_BENCH_OPERATION"

// budget is a line of budget.txt.
type budget struct {
	name         string
	allocations  float64
	instructions int
	twin         string // or -
	quotient     float64
}

func readBudget(t *testing.T) (out []budget) {
	t.Helper()
	f, err := os.Open("budget.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") || strings.TrimSpace(sc.Text()) == "" {
			continue
		}
		b := budget{twin: "-"}
		fields := []any{&b.name, &b.allocations, &b.instructions, &b.twin, &b.quotient}
		if n, err := fmt.Sscan(sc.Text(), fields...); err != nil && n != 3 {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		for _, name := range []string{b.name, b.twin} {
			if name != "-" && operations[name] == nil {
				t.Fatalf("budget.txt speaks of %s, which is no operation", name)
			}
		}
		out = append(out, b)
	}
	for name := range operations {
		if !slices.ContainsFunc(out, func(b budget) bool { return b.name == name || b.twin == name }) {
			t.Errorf("budget.txt has no line for %s", name)
		}
	}
	return out
}

// TestBudgetDoesNotAllocate holds operations to their allocations. A transition may
// allocate, so a decision's budget is a share.
func TestBudgetDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's allocations are not ours")
	}
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

// TestBudgetInstructions holds operations to their instructions, and to a share of the
// instructions of their twins.
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
	budgets := readBudget(t)
	// Built anew: a program that "go test" builds to run at once has no names of functions.
	program := filepath.Join(t.TempDir(), "bench.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the program to count in: %v\n%s", err, out)
	}
	counts := map[string]func() int{} // waits for the count, which runs beside the others
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, b := range budgets {
		for _, name := range []string{b.name, b.twin} {
			if name == "-" || counts[name] != nil {
				continue
			}
			done := make(chan int, 1)
			go func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				done <- instructions(t, valgrind, program, name)
			}()
			counts[name] = sync.OnceValue(func() int { return <-done })
		}
	}
	for _, b := range budgets {
		got := counts[b.name]()
		if got == 0 {
			continue // and reported
		}
		measure.AtMost(t, "instructions: "+b.name, float64(got), float64(b.instructions), "")
		t.Logf("%s: %d instructions", b.name, got)
		if got > b.instructions {
			t.Errorf("%s: %d instructions, budget %d", b.name, got, b.instructions)
		}
		if 4*got < 3*b.instructions {
			t.Errorf("%s: %d instructions, budget %d: lower it, so that it stays", b.name, got, b.instructions)
		}
		if b.twin == "-" {
			continue
		}
		twin := counts[b.twin]()
		if twin == 0 {
			continue
		}
		q := float64(got) / float64(twin)
		measure.AtMost(t, "instructions: "+b.name+" / "+b.twin, q, b.quotient, "")
		t.Logf("%s: %.4f of the %d of %s", b.name, q, twin, b.twin)
		if q > b.quotient {
			t.Errorf("%s: %.4f of the instructions of %s, budget %v", b.name, q, b.twin, b.quotient)
		}
	}
}

// instructions is what one operation takes; 0 after an error, which is reported.
func instructions(t *testing.T, valgrind, program, name string) int {
	n, err := countInstructions(t.Context(), valgrind, program, name)
	if err == nil && n < maxOps {
		err = fmt.Errorf("%s: valgrind counted %d instructions: does it see the function's name?", name, n)
	}
	if err != nil {
		t.Error(err)
		return 0
	}
	return n / maxOps
}

var collected = regexp.MustCompile(`Collected : (\d+)`)

// countInstructions lets program, which is this one, do maxOps operations in valgrind.
func countInstructions(ctx context.Context, valgrind, program, name string) (int, error) {
	cmd := exec.CommandContext(ctx, valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null",
		"--toggle-collect=footfall/bench.counted", program)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s#%d", operationVar, name, maxOps), "GOMAXPROCS=1", "GOGC=off",
		// Without rdtscp, by which the runtime tells how long it waits for a lock: valgrind
		// 3.19 does not know the instruction.
		"GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off")

	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	m := collected.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%v: no count in\n%s", cmd, out)
	}
	return strconv.Atoi(string(m[1]))
}
