package measure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table.rows = nil
	t.Cleanup(func() { table.rows = nil })
	for _, v := range []float64{0.09, 0.07, 0.0777} {
		AtMost(t, "cell / peer", v, 0.08, "")
	}
	AtLeast(t, "rate", 1234.4, 2000, "pings/s")
	file := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(file, []byte(`[{"what":"index","got":[1.25],"unit":"ms","bare":true}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	Import(t, file)
	var out strings.Builder
	printTable(&out, table.rows)
	const want = `
what         measured      goal            verdict
cell / peer  0.0777        ≤ 0.08          met
rate         1234 pings/s  ≥ 2000 pings/s  MISSED
index        1.25 ms                       
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRatios(t *testing.T) {
	r := Ratios{names: []string{"own", "peer"}, times: [][]float64{{1, 2, 9}, {2, 8, 9}}}
	if got := r.Of("own", "peer"); got != 0.5 {
		t.Errorf("own / peer = %v, want 0.5", got)
	}
	if got := r.NS("peer"); got != 8 {
		t.Errorf("peer takes %v, want 8", got)
	}
	if Median(nil) != 0 {
		t.Error("the median of nothing is not 0")
	}
}
