package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"footfall/stream/natsd"
)

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"nats://127.0.0.1:4222":           "nats://127.0.0.1:4222",
		"nats://bob:hunter2@h:1":          "nats://bob:xxxxx@h:1",
		"nats://hunter2@h:1":              "nats://xxxxx@h:1",
		"hunter2@h:1":                     "nats://xxxxx@h:1",
		" tls://a:hunter2@h , hunter2@i/": "tls://a:xxxxx@h,nats://xxxxx@i",
		"nats://a:hunter2 @h":             "(an address that cannot be read)",
		"nats://hunter2@":                 "(an address that cannot be read)",
		"nats://h:hunter2":                "(an address that cannot be read)",
	} {
		if got := redactURL(in); got != want {
			t.Errorf("%q prints as %q, want %q", in, got, want)
		}
	}
	cause := errors.New("refused")
	err := redacted(fmt.Errorf("connect to nats://a:hunter2@h,hunter2@i: %w", cause), "nats://a:hunter2@h,hunter2@i")
	if strings.Contains(err.Error(), "hunter2") || !errors.Is(err, cause) || !strings.HasSuffix(err.Error(), ": refused") {
		t.Errorf("got %v", err)
	}
	if err := redacted(cause, "nats://h"); err != cause {
		t.Errorf("an error that shows nothing became %v", err)
	}
}

// guarded is a NATS server that asks for a token.
func guarded(t *testing.T) (addr string) {
	t.Helper()
	s, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0", Token: "hunter2", StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return strings.TrimPrefix(s.ClientURL(), "nats://")
}

// TestSecretsAreNotPrinted: no address that a command prints shows the secret in it.
func TestSecretsAreNotPrinted(t *testing.T) {
	addr := guarded(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"serve listens", []string{"serve", "--nats", "nats://hunter2@" + addr}, 0, "listening on nats://xxxxx@" + addr},
		{"serve cannot connect", []string{"serve", "--nats", "nats://bob:hunter2@127.0.0.1:1"}, 1, "nats://bob:xxxxx@127.0.0.1:1"},
		{"serve without credentials", []string{"serve", "--nats", "nats://hunter2@127.0.0.1:1", "--config", file(t, "c.yaml", "nats: {creds: nowhere}\n")}, 1, "nats://xxxxx@127.0.0.1:1"},
		{"serve cannot read it", []string{"serve", "--nats", "nats://bob:hunter2 @h"}, 1, "nats.url"},
		{"explain without gateway", []string{"explain", "shop.d1", "--server", "hunter2@127.0.0.1:1"}, 1, "no gateway at nats://xxxxx@127.0.0.1:1"},
		{"explain cannot read it", []string{"explain", "shop.d1", "--server", "nats://bob:hunter2 @h"}, 2, "--server"},
		{"explain finds no gateway", []string{"explain", "shop.d1", "--server", "nats://hunter2@" + addr}, 1, "no Footfall gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.args[0] == "serve" {
				tt.args = append(tt.args, "--data", t.TempDir())
			}
			code, out, errs := runEither(t, tt.args...)
			if code != tt.code || !strings.Contains(out+errs, tt.says) || strings.Contains(out+errs, "hunter2") {
				t.Errorf("exit code %d, want %d, %q and no secret in:\n%s%s", code, tt.code, tt.says, out, errs)
			}
		})
	}
}

// TestExplainToken: a server that asks for a token says so, and --token-file gives it.
func TestExplainToken(t *testing.T) {
	server := "nats://" + guarded(t)
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"none", nil, "asks for a token"},
		{"wrong", []string{"--token-file", file(t, "token", "letmein")}, "refuses the token in "},
		{"right", []string{"--token-file", file(t, "token", "hunter2\n")}, "no Footfall gateway"},
		{"empty file", []string{"--token-file", file(t, "token", " \n")}, "is empty"},
		{"no file", []string{"--token-file", "nowhere"}, "--token-file: open nowhere"},
	} {
		code, _, errs := runCLI(t, append([]string{"explain", "shop.d1", "--server", server}, tt.args...)...)
		if code != exitFailed || !strings.Contains(errs, tt.says) || strings.Contains(errs, "letmein") {
			t.Errorf("%s: exit code %d, want %d and %q in:\n%s", tt.name, code, exitFailed, tt.says, errs)
		}
	}
}
