package geo

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// dataFile opens a file of the shared test data, unpacked, or skips the test.
func dataFile(t testing.TB, name string) io.Reader {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		for _, root := range []string{"shared/data", "data"} {
			f, err := os.Open(filepath.Join(dir, root, name))
			if err != nil {
				continue
			}
			t.Cleanup(func() { f.Close() })
			z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
			if err != nil {
				t.Fatal(err)
			}
			return z
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skipf("no test data: shared/data/%s is not in a folder above", name)
		}
		dir = up
	}
}

// dataRows reads a CSV file of the test data, header left out.
func dataRows(t testing.TB, name string) [][]string {
	t.Helper()
	rows, err := csv.NewReader(dataFile(t, name)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

func num(t testing.TB, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
