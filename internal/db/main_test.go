package db

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"
)

// Spaces of the tests; their prefixes are far from those of the product.
var (
	testSpace  = Register(0xF1, "test", 1)
	otherSpace = RegisterSince(0xF2, "other", 3, 2)
)

// childRoles are what the test binary can be started as, see child.
var childRoles = map[string]func(){"writer": crashWriter, "holder": lockHolder}

// TestMain lets the test binary play the child process of the crash, lock and
// footprint tests.
func TestMain(m *testing.M) {
	if role, ok := childRoles[os.Getenv("FOOTFALL_DB_CHILD")]; ok {
		role()
		return
	}
	os.Exit(m.Run())
}

func tkey(s string) []byte { return testSpace.Key([]byte(s)) }

// mustOpen opens a database that the test closes.
func mustOpen(t testing.TB, cfg Config) *DB {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	d, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func set(t testing.TB, d *DB, key, val string) {
	t.Helper()
	if err := d.Update(context.Background(), func(tx *Tx) error { return tx.Set(tkey(key), []byte(val)) }); err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

// get returns the value, and "(absent)" for none.
func get(t testing.TB, d *DB, key string) string {
	t.Helper()
	got := "(absent)"
	err := d.View(func(tx *Tx) error {
		val, err := tx.Get(tkey(key))
		if err == ErrNotFound {
			return nil
		}
		got = string(val)
		return err
	})
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return got
}

// clock is a settable clock.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }
