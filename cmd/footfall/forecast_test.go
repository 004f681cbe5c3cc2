package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/forecast"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/reach"
)

// TestForecastCommand asks a stopped gateway's ledger about a draft, and about a day that is over.
func TestForecastCommand(t *testing.T) {
	data := t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(db.Config{Dir: filepath.Join(data, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	today := funnel.DayOf(time.Now().UnixMilli(), 0)
	day := today - 3 // of which the report counts
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		came := []reach.Entry{{Fence: "khreshchatyk", Day: int32(day) - 60, Hour: 12, Subject: "first"}}
		for week := 1; week <= 5; week++ {
			for i := range 90 + 5*week {
				came = append(came, reach.Entry{Fence: "khreshchatyk", Day: int32(day) - 7*int32(week), Hour: 12 + i%3, Subject: fmt.Sprint(week, "-", i)})
			}
		}
		for i := range 100 {
			device := fmt.Sprintf("shop.d%d", i)
			e := funnel.Entry{Campaign: "draft", At: int64(day)*86_400_000 + 10*3_600_000, ID: device, Kind: "enter", Fence: "khreshchatyk", Device: device, Subject: "d:" + device, MID: "m" + device, Lead: true}
			if err := funnel.PutEntry(tx, &e, funnel.KeepFacts); err != nil {
				return err
			}
		}
		p := audience.Profile{Device: "shop.d1", Platform: "ios", Token: "t"}
		if err := audience.Put(tx, &p); err != nil {
			return err
		}
		return reach.Put(tx, came, reach.Keep)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "draft.yaml")
	draft := "campaign: draft\ntrigger: {enter: {fences: {id: khreshchatyk}}}\nsteps: [{push: {ttl: 15m, template: {locales: {en: {body: hello}}}}}]\n"
	if err := os.WriteFile(file, []byte(draft), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"campaign", "forecast", file, "--data", data, "--fences", "../../examples/stores.geojson"}
	code, out, errs := runCLI(t, append(args, "--as-of", day.String(), "--to", day.String())...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{"known who came: 5", "campaign draft, 1 fence", "once_per", "95 times out of 100, from 5 past times", "counted afterwards            100", "inside the interval", "khreshchatyk", "13:00", ", counted 100"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	code, out, _ = runCLI(t, append(args, "--json")...)
	var f forecast.Forecast
	if err := json.Unmarshal([]byte(out), &f); code != 0 || err != nil || f.From != f.AsOf || f.To != f.From+6 || f.Campaigns[0].Enough {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	for _, wrong := range [][]string{{"--to", "yesterday"}, {"--from", "2026-01-02", "--to", "2026-01-01"}, {"--as-of", "2026-01-02", "--from", "2026-01-01"}} {
		if code, _, errs := runCLI(t, append(args[:len(args):len(args)], wrong...)...); code != 2 || errs == "" {
			t.Errorf("%v: exit code %d, %s", wrong, code, errs)
		}
	}
	if code, _, errs := runCLI(t, "campaign", "forecast", file, "--data", data); code != 2 || !strings.Contains(errs, "--fences") {
		t.Errorf("without --fences: exit code %d, %s", code, errs)
	}
}
