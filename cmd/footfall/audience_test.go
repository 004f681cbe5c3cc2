package main

import (
	"path/filepath"
	"strings"
	"testing"

	"footfall/audience"
	"footfall/internal/db"
)

// TestAudienceCount reads the ledger of a gateway that is not running.
func TestAudienceCount(t *testing.T) {
	data := t.TempDir()
	d, err := db.Open(db.Config{Dir: filepath.Join(data, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(t.Context(), func(tx *db.Tx) error {
		for _, p := range []audience.Profile{
			{Device: "shop.d1", Person: "u1", Platform: "ios", Token: "t1", Tags: map[string]any{"loyalty": "gold"}},
			{Device: "shop.d2", Person: "u1", Platform: "ios", Tags: map[string]any{"loyalty": "gold"}},
			{Device: "shop.d3", Tags: map[string]any{"loyalty": "none"}},
		} {
			if err := audience.Put(tx, &p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runCLI(t, "audience", "count", "--data", data, `tags.loyalty == "gold"`)
	if want := "1 person fits, on 2 of 3 devices registered; 1 can be reached\n  shop.d1\n  shop.d2\n"; code != 0 || out != want {
		t.Errorf("exit code %d, %q, want %q\n%s", code, out, want, errs)
	}
	code, out, _ = runCLI(t, "audience", "count", "--data", data, "--json", "--sample", "0", `tags.loyalty in ["none"]`)
	if code != 0 || out != `{"devices":3,"fitting":1,"reachable":0,"people":1,"failed":0}`+"\n" {
		t.Errorf("as JSON: %d, %s", code, out)
	}
	if code, _, errs := runCLI(t, "audience", "count", "--data", data, `tags.loyalty == "gold" and tag.x`); code != 2 || !strings.Contains(errs, "unknown name tag") {
		t.Errorf("a mistake: %d, %s", code, errs)
	}
	if code, _, errs := runCLI(t, "audience", "count", "--data", t.TempDir(), `true`); code != 1 || !strings.Contains(errs, "holds no ledger") {
		t.Errorf("no ledger: %d, %s", code, errs)
	}
}
