package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The secret is made at the first start and stays; a rotation puts a new one before it and keeps the old one for what is
// under way; neither is ever printed.
func TestReceiptSecrets(t *testing.T) {
	dir := t.TempDir()
	cfg := defaultConfig()
	cfg.DataDir = dir
	first, err := openKeyring(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "receipt-secrets")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	before := first.Key("shop", "d1", "m1")
	again, err := openKeyring(&cfg)
	if err != nil || !again.Valid("shop", "d1", "m1", before) {
		t.Errorf("a second start has another secret: %v", err)
	}
	var out, errs bytes.Buffer
	rotate := func() int {
		return run(&env{ctx: t.Context(), out: &out, err: &errs}, []string{"receipts", "rotate", "--data", dir})
	}
	if code := rotate(); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line[0] != '#' && strings.Contains(out.String()+errs.String(), line) {
			t.Error("a secret was printed")
		}
	}
	rotated, err := openKeyring(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	after := rotated.Key("shop", "d1", "m1")
	if after == before || !rotated.Valid("shop", "d1", "m1", before) || !rotated.Valid("shop", "d1", "m1", after) {
		t.Error("after a rotation the old key must hold beside the new one")
	}
	if code := rotate(); code != 0 {
		t.Fatal(errs.String())
	}
	if last, err := openKeyring(&cfg); err != nil || last.Valid("shop", "d1", "m1", before) || !last.Valid("shop", "d1", "m1", after) {
		t.Errorf("after the next one the first is gone: %v", err)
	}
	// A file of the operator's own must be there and right.
	cfg.Receipts.SecretFile = filepath.Join(dir, "own")
	if _, err := openKeyring(&cfg); err == nil || !strings.Contains(err.Error(), "receipts.secret_file") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(cfg.Receipts.SecretFile, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeyring(&cfg); err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad file: %v", err)
	}
}

// A running gateway takes a new secret over.
func TestReceiptSecretsAreWatched(t *testing.T) {
	cfg := defaultConfig()
	cfg.DataDir = t.TempDir()
	keys, err := openKeyring(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{cfg: &cfg, keys: keys, log: newLogger(&env{err: t.Output()}, cfg.Log)}
	before := keys.Key("shop", "d1", "m1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.watchReceiptSecrets(ctx) }()
	if code := run(&env{ctx: ctx, out: t.Output(), err: t.Output()}, []string{"receipts", "rotate", "--data", cfg.DataDir}); code != 0 {
		t.Fatal(code)
	}
	for deadline := time.After(time.Minute); keys.Key("shop", "d1", "m1") == before; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("the new secret was not taken over")
		}
	}
	if !keys.Valid("shop", "d1", "m1", before) {
		t.Error("the old key does not hold any more")
	}
	cancel()
	if err := <-done; err != nil && ctx.Err() == nil {
		t.Error(err)
	}
}
