package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"footfall/campaign"
)

func campaignText(id string) string {
	return fmt.Sprintf(`campaign: %s
trigger: {enter: {fences: {all: true}}}
window: {to: never}
once_per: campaign
steps:
  - push: {ttl: 15m, template: {default_locale: en, locales: {en: {title: Hello, body: Come in}}}}
`, id)
}

// TestCampaignFilesAreThoseThatAreRead ties what is watched to what campaign.Load reads.
func TestCampaignFilesAreThoseThatAreRead(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a.yaml", "b.yml", "C.YAML", ".hidden.yaml", ".#a.yaml", "a.yaml~", "notes.txt", "d.yaml.bak", "yaml", ".yaml", "e.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(campaignText(fmt.Sprint("c", i))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cs, err := campaign.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, c := range cs {
		read = append(read, c.File)
	}
	listed, err := campaign.Files(dir)
	slices.Sort(read)
	slices.Sort(listed)
	if err != nil || !slices.Equal(read, listed) || len(read) != 3 {
		t.Errorf("watched %q, read %q, %v", listed, read, err)
	}
	one := filepath.Join(dir, "notes.txt")
	if listed, err := campaign.Files(one); err != nil || !slices.Equal(listed, []string{one}) {
		t.Errorf("one file: %q, %v", listed, err)
	}
	if _, err := campaign.Files(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a path that is not there is no error")
	}
}

// TestServeBesideAnEditor: the lock that Emacs puts beside an edited campaign is a link to nowhere.
func TestServeBesideAnEditor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(campaignText("c")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("me@host.1234:56", filepath.Join(dir, ".#c.yaml")); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runUntilListening(t, "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--campaigns", dir)
	if code != 0 || !strings.Contains(out, "campaigns 1") {
		t.Errorf("exit code %d:\n%s%s", code, out, errs)
	}
}

// TestImportInfobip: what is imported passes the checks, and nothing that is there is replaced.
func TestImportInfobip(t *testing.T) {
	dir := t.TempDir()
	args := []string{"campaign", "import", "infobip", "../../campaign/infobip/testdata/citrus.json", "--zone", "Europe/Kyiv", "--out", dir}
	code, out, errs := runCLI(t, args...)
	if code != 0 || !strings.Contains(out, "citrus.yaml: 3 campaigns") || !strings.Contains(out, "citrus.geojson: 2 fences") || !strings.Contains(out, "note: inApp is not") {
		t.Fatalf("exit code %d:\n%s%s", code, out, errs)
	}
	if code, out, errs := runCLI(t, "campaign", "check", "--fences", filepath.Join(dir, "citrus.geojson"), filepath.Join(dir, "citrus.yaml")); code != 0 {
		t.Errorf("the check ends with %d:\n%s%s", code, out, errs)
	}
	if code, _, errs := runCLI(t, args...); code != 1 || !strings.Contains(errs, "is there already") {
		t.Errorf("a second time: %d, %s", code, errs)
	}
	bad := file(t, "x.json", `{"internalData":{"messageType":"default"}}`)
	if code, out, _ := runCLI(t, "campaign", "import", "infobip", bad, "--zone", "Europe/Kyiv"); code != 3 || !strings.Contains(out, "/internalData/messageType") {
		t.Errorf("a bad file: %d, %s", code, out)
	}
}
