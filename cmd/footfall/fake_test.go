package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"footfall/push"
	"footfall/push/fake"
)

// TestFakeCommands starts each fake, takes the configuration that it prints, and pushes through it with the provider
// that `serve` would open from it.
func TestFakeCommands(t *testing.T) {
	for _, tt := range []struct {
		name, lane string
		push       push.Notification
	}{
		{"apns", laneAPNs, push.Notification{Platform: push.IOS, Token: fake.DeviceToken("d1")}},
		{"fcm", laneFCM, push.Notification{Platform: push.Android, Token: "fcm-token-of-d1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			out := new(growing)
			e, stop := testEnv(t, out)
			ended := make(chan int, 1)
			lines, say := io.Pipe()
			e.in = lines
			defer say.Close()
			go func() {
				ended <- run(e, []string{"fake", tt.name, "--dir", filepath.Join(dir, "fake"), "--lines",
					"--answer", "503 retry-after=7s times=1", "--answer", "cut times=1"})
			}()
			yaml := regexp.MustCompile(`(?s)\npush:\n.*?\n\n`)
			for deadline := time.Now().Add(time.Minute); !yaml.MatchString(out.String()); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("no configuration after 20 s:\n%s", out)
				}
			}
			path := filepath.Join(dir, "footfall.yaml")
			if err := os.WriteFile(path, []byte("data_dir: "+dir+yaml.FindString(out.String())), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := loadConfig(path, nil)
			if err != nil {
				t.Fatalf("what the fake prints is not a configuration: %v", err)
			}
			p, err := openProviders(&cfg, out, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			n := tt.push
			n.MID, n.App, n.Device, n.Title = "e5133745-bdc3-8e22-9c09-3ff2964918bd", "shop", "shop.d1", "Hello"
			n.ExpiresAt = time.Now().Add(time.Minute)
			send := func(want push.Class) push.Outcome {
				t.Helper()
				o := p.lanes[tt.lane].Send(t.Context(), &n)
				if o.Class != want {
					t.Fatalf("sent: %+v, want %s", o, want)
				}
				return o
			}
			if o := send(push.Retry); o.Status != 503 || o.RetryAfter != 7*time.Second {
				t.Errorf("%+v", o)
			}
			send(push.InDoubt)
			send(push.Accepted)
			// The second write is taken when all of the first has been read and is in force.
			line := func(text string) { fmt.Fprintln(say, text); fmt.Fprintln(say) }
			line("often\n401")
			send(push.Auth)
			if !strings.Contains(out.String(), `"often" is no status`) {
				t.Errorf("a line that is no rule: %s", out)
			}
			line("clear")
			send(push.Accepted)
			stop()
			if code := <-ended; code != 0 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range []string{"SHOWN", "Hello", `"Accepted":3`} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("want %q in:\n%s", want, out)
				}
			}
		})
	}
	for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"--latency", "soon"}, {"--answer", "soon"}} {
		if code, _, errs := runCLI(t, append([]string{"fake", "apns", "--dir", t.TempDir()}, args...)...); code != exitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
	if code, _, _ := runCLI(t, "fake", "fcm", "--dir", fmt.Sprint(file(t, "x", ""), "/y")); code != exitFailed {
		t.Errorf("a folder that cannot be made: exit code %d", code)
	}
}

// growing is output that is read while it is being written.
type growing struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// testEnv is an environment whose context ends with stop, as Ctrl-C ends it.
func testEnv(t *testing.T, out *growing) (e *env, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return &env{ctx: ctx, in: strings.NewReader(""), out: out, err: out}, cancel
}
