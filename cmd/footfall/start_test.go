package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
)

// childArgs makes the test binary play the command: its value is the command line, one argument a line.
const childArgs = "CHILD_ARGS"

// TestMain lets the test binary be the footfall process that a test kills.
func TestMain(m *testing.M) {
	if args := os.Getenv(childArgs); args != "" {
		os.Exit(run(&env{ctx: context.Background(), in: os.Stdin, out: os.Stdout, err: os.Stderr}, strings.Split(args, "\n")))
	}
	os.Exit(m.Run())
}

// serveChild starts `footfall serve` as a process of its own, waits until it listens, and returns its address.
func serveChild(t *testing.T, args ...string) (cmd *exec.Cmd, url string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childArgs+"="+strings.Join(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...), "\n"))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for s := bufio.NewScanner(out); s.Scan(); {
		if _, url, ok := strings.Cut(s.Text(), "listening on "); ok {
			return cmd, url
		}
	}
	t.Fatal("the gateway ended before it listened")
	return nil, ""
}

// runUntilListening runs a `serve` command line in this process and stops it, as Ctrl-C does, once it listens.
func runUntilListening(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stdout, stderr := &stopWriter{word: "listening on", stop: cancel}, new(bytes.Buffer)
	code = run(&env{ctx: ctx, in: strings.NewReader(""), out: stdout, err: stderr}, append([]string{"serve"}, args...))
	return code, stdout.String(), stderr.String()
}

// runEither runs a command line to its end, or serve until it listens.
func runEither(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	if args[0] == "serve" {
		return runUntilListening(t, args[1:]...)
	}
	return runCLI(t, args...)
}

// stopWriter calls stop when word is written.
type stopWriter struct {
	bytes.Buffer
	word string
	stop func()
}

func (w *stopWriter) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if bytes.Contains(p, []byte(w.word)) {
		w.stop()
	}
	return n, err
}

// TestStartFailures: whatever keeps a gateway from starting is one plain message and exit code 1.
func TestStartFailures(t *testing.T) {
	used := t.TempDir()
	ledger, err := db.Open(db.Config{Dir: filepath.Join(used, "ledger"), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	notOurs := t.TempDir()
	if err := os.WriteFile(filepath.Join(notOurs, "nats"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	noKey := file(t, "key", "hello")
	config := func(text string) []string {
		return []string{"--data", t.TempDir(), "--config", file(t, "c.yaml", text+"\n")}
	}
	for _, tt := range []struct {
		name string
		args []string
		says []string
	}{
		{"data directory in use", []string{"--data", used}, []string{"directory in use", used, "stop it"}},
		{"data directory is a file", []string{"--data", file(t, "data", "")}, []string{"data_dir", "not a directory"}},
		{"NATS folder is a file", []string{"--data", notOurs}, []string{"store directory", "not a directory"}},
		{"port taken", []string{"--data", t.TempDir(), "--listen", taken.Addr().String()}, []string{"address already in use", "--listen"}},
		{"no such address", []string{"--data", t.TempDir(), "--listen", "127.0.0.1:99999"}, []string{"nats.listen", "99999"}},
		{"NATS unreachable", []string{"--data", t.TempDir(), "--nats", "nats://127.0.0.1:1"}, []string{"connect to nats://127.0.0.1:1"}},
		{"max_store too small", []string{"--data", t.TempDir(), "--config", file(t, "c.yaml", "nats: {max_store: 1GiB}\n")},
			[]string{"nats.max_store", "retention.log_bytes", "retention.event_bytes", "5GiB"}},
		{"token file missing", []string{"--data", t.TempDir(), "--config", file(t, "c.yaml", "nats: {token_file: nowhere}\n")}, []string{"nats.token_file"}},
		{"APNs key missing", config("push: {apns: {key_file: nowhere.p8, key_id: ABC123DEFG, team_id: TEAM123456, topic: com.example.shop}}"), []string{"apns", "nowhere.p8"}},
		{"APNs key is none", config("push: {apns: {key_file: " + noKey + ", key_id: ABC123DEFG, team_id: TEAM123456, topic: com.example.shop}}"), []string{"apns", noKey}},
		{"FCM account missing", config("push: {fcm: {credentials_file: nowhere.json}}"), []string{"fcm", "nowhere.json"}},
		{"FCM account is none", config("push: {fcm: {credentials_file: " + noKey + "}}"), []string{"fcm", noKey}},
		{"VAPID key is none", config("push: {webpush: {key_file: " + noKey + ", subject: 'mailto:a@example.com'}}"), []string{"webpush", noKey}},
		{"two at once", config("push: {fcm: {credentials_file: nowhere.json}, apns: {key_file: nowhere.p8, key_id: ABC123DEFG, team_id: TEAM123456, topic: com.example.shop}}"), []string{"nowhere.p8", "nowhere.json"}},
		{"campaigns missing", []string{"--data", t.TempDir(), "--campaigns", "nowhere"}, []string{"nowhere"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"serve", "--listen", "127.0.0.1:0"}, tt.args...)
			code, out, errs := runCLI(t, args...)
			if code != exitFailed || out != "" || strings.Contains(errs, "panic") || strings.Contains(errs, "goroutine") {
				t.Errorf("exit code %d, want %d and a plain message:\n%s%s", code, exitFailed, out, errs)
			}
			if n := strings.Count(errs, "footfall: "); n != 1 {
				t.Errorf("%d messages, want one:\n%s", n, errs)
			}
			for _, s := range tt.says {
				if !strings.Contains(errs, s) {
					t.Errorf("want %q in:\n%s", s, errs)
				}
			}
		})
	}
}

// TestStoreSizesThatJustFit: the check refuses exactly what the server would refuse.
func TestStoreSizesThatJustFit(t *testing.T) {
	for _, tt := range []struct {
		maxStore string
		code     int
	}{{"48MiB", 0}, {"47MiB", exitFindings}} {
		path := file(t, "c.yaml", "nats: {max_store: "+tt.maxStore+", listen: '127.0.0.1:0'}\nretention: {log_bytes: 2MiB, event_bytes: 16MiB}\ndata_dir: data\n")
		if code, out, _ := runCLI(t, "config", "check", path); code != tt.code {
			t.Errorf("max_store %s: exit code %d, want %d: %s", tt.maxStore, code, tt.code, out)
		}
		if tt.code != 0 {
			continue
		}
		if code, out, errs := runUntilListening(t, "--config", path); code != 0 || !strings.Contains(out, "listening on") {
			t.Errorf("serve: exit code %d:\n%s%s", code, out, errs)
		}
	}
	// Somebody else's server has limits of its own.
	if code, out, _ := runCLI(t, "config", "check", file(t, "c.yaml", "nats: {max_store: 1GiB, url: 'nats://nats.internal:4222'}\n")); code != 0 {
		t.Errorf("an external server: exit code %d: %s", code, out)
	}
}

// TestOnlyTheCauseIsReported: when one part fails, what the others say about being stopped is no news.
func TestOnlyTheCauseIsReported(t *testing.T) {
	cfg := defaultConfig()
	cfg.DataDir, cfg.NATS.Listen = t.TempDir(), ""
	for _, tt := range []struct {
		name  string
		cause error
	}{{"a part fails", errors.New("the watch broke")}, {"stopped at once", nil}} {
		p, err := openProviders(&cfg, t.Output(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		n, err := openNode(&cfg, newLogger(&env{err: t.Output()}, cfg.Log), p)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if tt.cause == nil {
			cancel()
		}
		err = n.run(ctx, func(context.Context) error { return tt.cause })
		cancel()
		n.close()
		if got := errors.Join(tt.cause); (err == nil) != (got == nil) || err != nil && err.Error() != got.Error() {
			t.Errorf("%s: run returned %v, want %v", tt.name, err, tt.cause)
		}
	}
}
