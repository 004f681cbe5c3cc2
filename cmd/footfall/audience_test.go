package main

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
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
	segments := file(t, "segments.yaml", "segments: {gold: 'tags.loyalty == \"gold\"', rest: 'not segment(\"gold\")'}")
	code, out, errs = runCLI(t, "audience", "count", "--data", data, "--campaigns", segments, "--segment", "rest")
	if want := "1 person fits, on 1 of 3 devices registered; 0 can be reached\n  shop.d3\n"; code != 0 || out != want {
		t.Errorf("a segment: exit code %d, %q, want %q\n%s", code, out, want, errs)
	}
	if code, _, errs := runCLI(t, "audience", "count", "--data", data, "--campaigns", segments, "--segment", "gone"); code != 2 || !strings.Contains(errs, "there are gold, rest") {
		t.Errorf("no such segment: %d, %s", code, errs)
	}
	if code, _, errs := runCLI(t, "audience", "count", "--data", t.TempDir(), `true`); code != 1 || !strings.Contains(errs, "holds no ledger") {
		t.Errorf("no ledger: %d, %s", code, errs)
	}
}

// announcement hands over what is written with word in it, once.
type announcement struct {
	word string
	text chan string
}

func (a *announcement) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(a.word)) {
		select {
		case a.text <- string(p):
		default:
		}
	}
	return len(p), nil
}

// TestAudienceImportAndExport: a file goes through a running gateway into its ledger, one with a mistake changes
// nothing, and what is exported afterwards is the same again.
func TestAudienceImportAndExport(t *testing.T) {
	data := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listening := &announcement{word: "listening on", text: make(chan string, 1)}
	ended := make(chan int, 1)
	var serveErr bytes.Buffer
	go func() {
		ended <- run(&env{ctx: ctx, in: strings.NewReader(""), out: listening, err: &serveErr}, []string{"serve", "--listen", "127.0.0.1:0", "--data", data})
	}()
	var server string
	select {
	case text := <-listening.text:
		server = regexp.MustCompile(`nats://[0-9.:]+`).FindString(text)
	case code := <-ended:
		t.Fatalf("serve ended with %d: %s", code, &serveErr)
	}
	const good = "device,user,platform,token,tags.loyalty,tags.age:integer\nd1,u1,ios,secret,gold,42\nd2,,android,secret2,none,\n"
	path := file(t, "people.csv", good)
	if code, out, errs := runCLI(t, "audience", "import", file(t, "bad.csv", good+"d3,,symbian,,,x\n"), "--app", "shop", "--server", server); code != 3 || !strings.Contains(out, "bad.csv: line 4, column 6: age") {
		t.Errorf("a bad file: %d, %s%s", code, out, errs)
	}
	if code, out, _ := runCLI(t, "audience", "import", path, "--app", "shop", "--check"); code != 0 || out != "2 lines ok\n" {
		t.Errorf("only a check: %d, %s", code, out)
	}
	for range 2 {
		if code, out, errs := runCLI(t, "audience", "import", path, "--app", "shop", "--server", server); code != 0 || out != "2 lines stored\n" {
			t.Fatalf("import: %d, %s%s", code, out, errs)
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Fatalf("serve ended with %d: %s", code, &serveErr)
	}
	code, out, errs := runCLI(t, "audience", "export", "--app", "shop", "--data", data, `tags.loyalty == "gold"`)
	want := "device,user,platform,env,locale,zone,sdk,os,consent.push,consent.location,tags.age:integer,tags.loyalty:string\nd1,u1,ios,,,,,,,,42,gold\n"
	if code != 0 || out != want {
		t.Errorf("export: %d, %q, want %q\n%s", code, out, want, errs)
	}
	to := filepath.Join(t.TempDir(), "all.csv")
	if code, _, errs := runCLI(t, "audience", "export", "--app", "shop", "--data", data, "--tokens", "--out", to); code != 0 {
		t.Fatalf("export: %d, %s", code, errs)
	}
	if code, out, _ := runCLI(t, "audience", "import", to, "--app", "shop", "--check"); code != 0 || out != "2 lines ok\n" {
		t.Errorf("what was exported: %d, %s", code, out)
	}
}
