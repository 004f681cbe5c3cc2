package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
)

// TestVoucherAndTagCommands: codes go from a file into the pool of a running gateway, a file with a mistake changes nothing, neither
// does the same file again, and list and export say what there is. The same of people's tags.
func TestVoucherAndTagCommands(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listening := &announcement{word: "listening on", text: make(chan string, 1)}
	ended := make(chan int, 1)
	var serveErr bytes.Buffer
	data := t.TempDir()
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
	codes := file(t, "codes.csv", "code\nAB-12\nCD-34\n")
	for _, tt := range []struct {
		code int
		out  string
		args []string
	}{
		{3, "bad.csv: line 3: ab12 is the code of line 2 as well\n", []string{"import", "bday", file(t, "bad.csv", "code\nAB-12\nab12\n"), "--server", server}},
		{0, "no pools\n", []string{"list", "--server", server}},
		{0, "2 codes ok, 2 of them new\n", []string{"import", "bday", codes, "--check", "--server", server}},
		{0, "no pools\n", []string{"list", "--server", server}},
		{0, "2 codes added, 0 known already; pool bday has 2 free\n", []string{"import", "bday", codes, "--low", "2", "--server", server}},
		{0, "0 codes added, 2 known already; pool bday has 2 free\n", []string{"import", "bday", codes, "--server", server}},
		{3, "codes.csv: lines 2 to 3: bad query: there is such a code already: AB-12 is in pool bday; there", []string{"import", "other", codes, "--server", server}},
		{0, "3 codes drawn; pool own has 3 free\n", []string{"generate", "own", "3", "--length", "8", "--server", server}},
		{0, "0 codes drawn; pool own has 3 free\n", []string{"generate", "own", "3", "--server", server}},
		{0, "bday                                2 free             0 given             0 redeemed  low\nown ", []string{"list", "--server", server}},
		{0, "pool bday ends at 2031-01-02T03:04:05.000Z; its codes are good for 2d after they are given; 2 left are an alarm\n",
			[]string{"set", "bday", "--expires", "2031-01-02T03:04:05Z", "--life", "48h", "--server", server}},
		{0, "  until 2031-01-02T03:04:05.000Z\nown ", []string{"list", "--server", server}},
		{0, "\npool bday has 2 of 2 codes left; put more in with footfall voucher import or generate\n", []string{"list", "--server", server}},
		{0, "code,state,campaign,mid,given_at,redeemed_at,expires_at\nAB-12,free,,,,,2031-01-02T03:04:05.000Z\nCD-34,free,,,,,2031-", []string{"export", "bday", "--server", server}},
		{0, "pool bday has no end; its codes are good for 2d after they are given;", []string{"set", "bday", "--expires", "never", "--server", server}},
		{1, "", []string{"set", "none", "--low", "3", "--server", server}},
		{2, "", []string{"set", "own", "--server", server}},
		{2, "", []string{"set", "own", "--expires", "tomorrow", "--server", server}},
		{0, "pool own is gone\n", []string{"drop", "own", "--server", server}},
		{1, "", []string{"drop", "own", "--server", server}},
		{1, "", []string{"export", "none", "--server", server}},
		{2, "", []string{"import", "a b", codes, "--server", server}},
		{2, "", []string{"generate", "own", "0", "--server", server}},
	} {
		code, out, errs := runCLI(t, append([]string{"voucher"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out, tt.out) {
			t.Errorf("voucher %v: %d, %q%s; want %d, %q", tt.args, code, out, errs, tt.code, tt.out)
		}
	}
	tags := file(t, "tags.jsonl", `{"user":"olena","tags":{"loyalty":"silver","visits":3}}`+"\n"+`{"user":"taras","tags":{"loyalty":"gold"}}`+"\n")
	for _, tt := range []struct {
		code int
		out  string
		args []string
	}{
		{0, "no tags\n", []string{"show", "olena", "--server", server}},
		{3, "bad.jsonl: line 2: tags.a: an object;", []string{"import", file(t, "bad.jsonl", `{"user":"olena","tags":{"a":1}}`+"\n"+`{"user":"olena","tags":{"a":{}}}`+"\n"), "--server", server}},
		{1, "", []string{"import", file(t, "worse.jsonl", "loyalty=gold\n"), "--server", server}},
		{0, "2 lines ok\n", []string{"import", tags, "--check", "--server", server}},
		{0, "no tags\n", []string{"show", "olena", "--server", server}},
		{0, "2 lines stored, 2 changed\n", []string{"import", tags, "--server", server}},
		{0, "2 lines stored, 0 changed\n", []string{"import", tags, "--server", server}},
		{0, "olena changed\n", []string{"set", "olena", "loyalty=gold", "visits=null", "vip=true", `groups=["press"]`, "--server", server}},
		{0, "olena changed\n", []string{"set", "olena", "born:date=1990-05-17", "app:version=2.10.1", "spent:price=129.90", "code:string=007", "groups:list=press|vip", "visits:integer=null", "--server", server}},
		{0, "app=\"2.10.1\"\nborn=\"1990-05-17\"\ncode=\"007\"\ngroups=[\"press\",\"vip\"]\nloyalty=\"gold\"\nspent=129.9\nvip=true\n", []string{"show", "olena", "--server", server}},
		{2, "", []string{"set", "olena", "visits:integer=many", "--server", server}},
		{2, "", []string{"set", "olena", "visits:whole=3", "--server", server}},
		{2, "", []string{"set", "olena", "vip=true", "vip:boolean=false", "--server", server}},
		{0, "olena changed\n", []string{"set", "olena", "born=null", "app=null", "spent=null", "code=null", `groups=["press"]`, "--server", server}},
		{0, "olena is so already\n", []string{"set", "olena", "vip=true", "--server", server}},
		{0, "groups=[\"press\"]\nloyalty=\"gold\"\nvip=true\n", []string{"show", "olena", "--server", server}},
		{1, "", []string{"set", "olena", `a={"b":1}`, "--server", server}},
		{1, "", []string{"show", "--device", "shop.nobody", "--server", server}},
		{2, "", []string{"show", "--device", "nobody", "--server", server}},
		{2, "", []string{"set", "olena", "loyalty", "--server", server}},
	} {
		code, out, errs := runCLI(t, append([]string{"tag"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out, tt.out) {
			t.Errorf("tag %v: %d, %q%s; want %d, %q", tt.args, code, out, errs, tt.code, tt.out)
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Fatalf("serve ended with %d: %s", code, &serveErr)
	}
}
