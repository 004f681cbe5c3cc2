package db

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func init() { childRoles["quiet"] = quietGateway }

// quietGateway is the child of TestQuietFootprint: some use, then silence.
func quietGateway() {
	d, err := Open(Config{Dir: os.Getenv("FOOTFALL_DB_DIR"), MinFree: 1, NoSync: true})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := range uint64(200) {
		err := d.Update(context.Background(), func(tx *Tx) error {
			for j := range uint64(250) {
				key := testSpace.Key(binary.BigEndian.AppendUint64(nil, (i*250+j)*0x9E3779B97F4A7C15))
				if err := tx.SetUntil(key, make([]byte, 60), tx.Now().Add(time.Hour)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Println(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")))
		}
	}
	os.Exit(0)
}

// The database's share of a quiet gateway, after 50,000 claims: well below the
// 120 MB that the whole process may take.
func TestQuietFootprint(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory is several times the database's")
	}
	_, out := child(t, "quiet", t.TempDir())
	out.Scan()
	kb, err := strconv.Atoi(out.Text())
	if err != nil {
		t.Fatalf("child says %q", out.Text())
	}
	t.Logf("resident: %d MB", kb/1000)
	if kb > 100_000 {
		t.Errorf("%d MB resident", kb/1000)
	}
}
