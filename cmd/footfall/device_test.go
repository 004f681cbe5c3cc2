package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The token of a device, as a backend would make it; and what is said when there can be none.
func TestDeviceToken(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("token", "operator")
	write("secret", strings.Repeat("d", 32)+"\n")
	write("short", "dddd")
	for name, tt := range map[string]struct{ config, device, out, fails string }{
		"a token":       {"nats: {token_file: token, device_secret_file: secret}", "shop.d1", "shop.d1.", ""},
		"with an end":   {"nats: {token_file: token, device_secret_file: secret}", "--for 90m shop.d1", "shop.d1.", ""},
		"ended":         {"nats: {token_file: token, device_secret_file: secret}", "--for=-1s shop.d1", "", "less than a second"},
		"no device":     {"nats: {token_file: token, device_secret_file: secret}", "d1", "", "APP.DEVICE"},
		"no secret":     {"nats: {token_file: token}", "shop.d1", "", "nats.device_secret_file is not set"},
		"a short one":   {"nats: {token_file: token, device_secret_file: short}", "shop.d1", "", "fewer than 32"},
		"no token file": {"nats: {device_secret_file: secret}", "shop.d1", "", "needs nats.token_file"},
		"another's":     {"nats: {url: 'nats://127.0.0.1:1', token_file: token, device_secret_file: secret}", "shop.d1", "", "embedded server"},
	} {
		t.Run(name, func(t *testing.T) {
			write("footfall.yaml", tt.config)
			var out, errs bytes.Buffer
			code := run(&env{ctx: t.Context(), out: &out, err: &errs}, append([]string{"device", "token", "-c", filepath.Join(dir, "footfall.yaml")}, strings.Fields(tt.device)...))
			if (code == 0) != (tt.fails == "") || !strings.Contains(errs.String(), tt.fails) || !strings.HasPrefix(out.String(), tt.out) {
				t.Errorf("exit code %d, %q, %q", code, out.String(), errs.String())
			}
			if name == "a token" && strings.TrimSpace(out.String()) != "shop.d1.9AXHuLbMNyxClp81le1Xdw" {
				t.Errorf("token %q", out.String())
			}
			if name == "with an end" {
				parts := strings.Split(strings.TrimSpace(out.String()), ".")
				at, err := strconv.ParseInt(parts[2], 10, 64)
				if left := time.Until(time.Unix(at, 0)); err != nil || len(parts) != 4 || left < 80*time.Minute || left > 90*time.Minute {
					t.Errorf("token %q ends in %v", out.String(), left)
				}
			}
		})
	}
}
