package measure

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
)

// RowsFile names the environment variable that holds the file to which Main writes the
// rows instead of printing them: for a benchmark that runs the tests of another module and
// takes their rows over with Import.
const RowsFile = "FOOTFALL_BENCH_ROWS"

// row is a line of the table of goals. Values of a run that was repeated stand side by
// side; the table shows their median.
type row struct {
	What  string    `json:"what"`
	Got   []float64 `json:"got"`
	Unit  string    `json:"unit,omitempty"`
	Goal  float64   `json:"goal"`
	Least bool      `json:"least,omitempty"` // the goal is a floor, not a ceiling
	Bare  bool      `json:"bare,omitempty"`  // there is no goal
}

var table struct {
	sync.Mutex
	rows []*row
}

// AtMost adds a measured value with its ceiling to the table that Main prints. A miss
// does not fail tb: time is not for failing on, see the budgets for what is.
// what says what is compared with what; unit may be empty, for a quotient.
func AtMost(tb testing.TB, what string, got, goal float64, unit string) {
	add(tb, row{What: what, Got: []float64{got}, Unit: unit, Goal: goal})
}

// AtLeast is AtMost with a floor.
func AtLeast(tb testing.TB, what string, got, goal float64, unit string) {
	add(tb, row{What: what, Got: []float64{got}, Unit: unit, Goal: goal, Least: true})
}

// Tell adds a measured value that has no goal.
func Tell(tb testing.TB, what string, got float64, unit string) {
	add(tb, row{What: what, Got: []float64{got}, Unit: unit, Bare: true})
}

func add(tb testing.TB, r row) {
	tb.Helper()
	for _, v := range r.Got {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			tb.Errorf("measure: %s: %v is no figure", r.What, v)
			return
		}
	}
	table.Lock()
	defer table.Unlock()
	for _, have := range table.rows {
		if have.What == r.What {
			have.Got = append(have.Got, r.Got...)
			return
		}
	}
	table.rows = append(table.rows, &r)
}

// Main is the body of TestMain: it runs the tests and benchmarks and prints the table, if
// they put anything in it. With -benchtime 1x, which only tries the benchmarks, it does
// not: one round says nothing. It does not return.
func Main(m *testing.M) {
	code := m.Run()
	table.Lock()
	rows := table.rows
	table.Unlock()
	if name := os.Getenv(RowsFile); name != "" {
		text, err := json.Marshal(rows)
		if err == nil {
			err = os.WriteFile(name, text, 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "measure:", err)
			code = max(code, 1)
		}
	} else if len(rows) > 0 && flag.Lookup("test.benchtime").Value.String() != "1x" {
		printTable(os.Stdout, rows)
	}
	os.Exit(code)
}

// Import takes over the rows that another process wrote to the file of RowsFile.
func Import(tb testing.TB, name string) {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	for _, r := range rows {
		add(tb, r)
	}
}

func printTable(w io.Writer, rows []*row) {
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "what\tmeasured\tgoal\tverdict")
	for _, r := range rows {
		got := Median(r.Got)
		if r.Bare {
			fmt.Fprintf(tw, "%s\t%s\t\t\n", r.What, figure(got, r.Unit))
			continue
		}
		sign, met := "≤", got <= r.Goal
		if r.Least {
			sign, met = "≥", got >= r.Goal
		}
		verdict := "met"
		if !met {
			verdict = "MISSED"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s %s\t%s\n", r.What, figure(got, r.Unit), sign, figure(r.Goal, r.Unit), verdict)
	}
	tw.Flush()
}

// figure is v with three digits that count.
func figure(v float64, unit string) string {
	s := strconv.FormatFloat(v, 'g', 3, 64)
	if a := math.Abs(v); a >= 1000 {
		s = strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	}
	if unit != "" {
		s += " " + unit
	}
	return s
}
