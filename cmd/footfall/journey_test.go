package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestJourneyCommands: a journey from its file through a running gateway, by the command line alone.
func TestJourneyCommands(t *testing.T) {
	path := file(t, "hello.yaml", `segments: {vips: 'tags.vip'}
---
journey: hello
entry: {api: true}
audience: 'not segment("vips")'
window: {to: never}
steps:
  - id: pause
    wait: 1h
  - push: {template: {locales: {en: {body: "{{ entry.word }}"}}}}
`)
	if code, out, errs := runCLI(t, "journey", "check", "--steps", path); code != 0 || !strings.Contains(out, "pause                    wait → 2") || !strings.HasSuffix(out, "1 journey ok\n") {
		t.Fatalf("check: %d, %s%s", code, out, errs)
	}
	bad := file(t, "bad.yaml", "journey: x\nentry: {api: true}\nwindow: {to: never}\nsteps: [{wiat: 1h}]\n")
	if code, out, _ := runCLI(t, "journey", "check", bad); code != 3 || !strings.Contains(out, "bad.yaml:4:10: error unknown_key") {
		t.Errorf("a bad file: %d, %s", code, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listening := &announcement{word: "listening on", text: make(chan string, 1)}
	ended := make(chan int, 1)
	var serveErr bytes.Buffer
	go func() {
		ended <- run(&env{ctx: ctx, in: strings.NewReader(""), out: listening, err: &serveErr}, []string{"serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--campaigns", path})
	}()
	var server string
	select {
	case text := <-listening.text:
		server = regexp.MustCompile(`nats://[0-9.:]+`).FindString(text)
	case code := <-ended:
		t.Fatalf("serve ended with %d: %s", code, &serveErr)
	case <-time.After(time.Minute):
		t.Fatal("serve did not listen")
	}
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"audience count --segment vips", 0, "0 people fit"},
		{"journey list", 0, "hello                    running           0 entered"},
		{"journey enter hello shop.d1 word=Hi --id 1", 0, "shop.d1 is in hello"},
		{"journey enter hello shop.d1 word=Hi --id 1", 1, "not entered: repeated"},
		{"journey show hello", 0, "1 wait"},
		{"journey show hello --device shop.d1", 0, `entered {"word":"Hi"}`},
		{"journey show hello --device shop.d2", 0, "has not been in hello"},
		{"journey show nobody", 1, "no such journey"},
		{"journey pause hello", 0, "hello is paused"},
		{"journey list", 0, "paused"},
		{"journey resume hello", 0, "hello goes on; 0 waits over meanwhile"},
		{"journey migrate hello", 0, "0 runs moved"},
		{"journey stop hello", 0, "hello is stopped; 1 run ended, 0 pushes and calls cancelled"},
		{"journey show hello --device shop.d1", 0, "ended: stopped"},
		{"journey enter hello shop.d2 --id 2", 1, "not entered: stopped"},
		{"journey start hello", 0, "hello takes people in again"},
		{"journey start hello", 0, "hello was not stopped"},
	} {
		code, out, errs := runCLI(t, append(strings.Fields(tt.args), "--server", server)...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: %d, %s%s, want %q", tt.args, code, out, errs, tt.want)
		}
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("serve ended with %d: %s", code, &serveErr)
	}
}
